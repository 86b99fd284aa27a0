"""Panel 3: networks' levels against what is known of their size, data, accuracy, year, likeness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from imi_bench.effects.effect import Effect, Effects
from imi_bench.effects.scale import PROPERTIES, smallest_effect
from imi_bench.errors import NotEnoughDataError
from imi_bench.glmm.between import regress
from imi_bench.release.published import Condition, published
from imi_bench.report.paper.data import PaperData
from imi_bench.report.paper.pairs import STAGE
from imi_bench.report.paper.panel import (
    BLUE,
    GHOST,
    Panel,
    asks,
    beside_truth,
    drawing,
    listed,
    look,
    network_key,
    shown_modes,
    stacked,
    whose,
)
from imi_bench.report.style import INK
from imi_bench.stats.multiplicity import holm
from imi_bench.stats.scales import Z95
from imi_bench.text import plural

__all__ = ["by_scale"]


@asks(3, "scale", "Are larger, better, newer or more human-like networks easier to read?")
def by_scale(data: PaperData) -> Panel | str:
    """3: networks' levels against what is known of their size, data, accuracy, year, likeness."""
    found = data.effects
    if found is None or len(found.properties) < 3:
        return data.refused or "there are fewer than three networks"
    modes = [mode for mode in shown_modes(data) if STAGE[mode] in found.stages]
    columns = [one.name for one in PROPERTIES if found.properties[one.name].notna().any()]
    likeness = {n: k.human_likeness_mean_rank for n, k in published().networks.items()}
    rank = pd.Series(likeness).reindex(found.properties.index)
    tested = _likeness(found, rank, modes)
    if rank.notna().sum() > 2:
        columns.append("likeness")
    if not columns or not modes:
        return "size, data, accuracy, year and human-likeness of these networks are not known"

    def draw(grid: Any) -> None:
        for row, name in zip(grid, columns, strict=True):
            for axes, mode in zip(row, modes, strict=True):
                _line(axes, data, found, name, mode, rank)
                if name == columns[0] or stacked(axes):
                    axes.set_title(f"{mode} references", loc="left")
        shown = [name for name in data.networks() if name in found.properties.index]
        network_key(grid[0, 0].figure, data, shown, columns=2 * len(modes) + 1)

    caption = (
        "Networks' levels in the mixed model (log-odds, 95%), the line of the second stage (REML, "
        "Knapp-Hartung) with its 95% band. Grey wedge: slopes smaller than the smallest effect of "
        "interest. Human-likeness: published mean rank, 1 the most alike."
        + (beside_truth(data) + " Dotted: the line through them." if data.true else "")
    )
    plot = drawing(
        data,
        "3-scale",
        caption,
        draw,
        rows=len(columns),
        columns=len(modes),
        size=(2.8 * len(modes) + 0.4, 1.9 * len(columns) + 0.6),
        sharey="col",
    )
    scale = [e for e in found.effects if e.topic == "scale"]
    return Panel(
        answer=_answer(scale),
        n=f"{plural(len(found.properties), 'network')}; {found.n:,} answers of {whose(data)}",
        plots=(plot,),
        tables={"effects": found.to_frame().drop(columns="who"), "likeness": tested},
        notes=tuple(
            f"{e.question} {e.sentence}"
            + (f" True slope of the simulation: {e.truth:+.3f}." if np.isfinite(e.truth) else "")
            for e in scale
        ),
    )


def _answer(scale: Sequence[Effect]) -> str:
    """How many effects of scale survive, and how many are shown to be small."""
    asked = [e for e in scale if np.isfinite(e.p_holm)]
    if not asked:
        return (
            "None of the effects of scale could be asked: these networks do not differ in what is "
            "known of them."
        )
    real = [e for e in asked if e.shown]
    none = [e for e in asked if e.bounded and not e.shown]
    unasked = len(scale) - len(asked)
    named = [f"{e.step} with {e.exemplars} references ({e.test.estimate:+.2f})" for e in real]
    return (
        f"{len(real)} of {len(asked)} effects of scale survive the adjustment"
        + (f": {listed(named)}" if named else "")
        + f", and {len(none)} {'is' if len(none) == 1 else 'are'} shown to be smaller than the "
        "smallest effect of interest; about the others these networks cannot tell"
        + (f" ({unasked} could not be asked)" if unasked else "")
        + "."
    )


def _likeness(found: Effects, rank: pd.Series, modes: list[str]) -> pd.DataFrame:
    rows = []
    for mode in modes:
        stage = found.stages[STAGE[mode]]
        x = rank.reindex(list(stage.levels)).to_numpy(dtype=float)
        keep = np.isfinite(x)
        try:
            fit = regress(
                stage.estimate[keep], stage.covariance[np.ix_(keep, keep)], {"rank": x[keep]}
            )
        except NotEnoughDataError:
            continue
        test = fit.test("rank")
        rows.append(
            {
                "mode": mode,
                "slope": test.estimate,
                "low": test.low,
                "high": test.high,
                "df": test.df,
                "p": test.p,
                "networks": int(keep.sum()),
            }
        )
    table = pd.DataFrame(rows)
    if len(table):
        table["p_holm"] = holm(table["p"].tolist(), ["likeness"] * len(table))
    return table


def _count(value: float, _: object = None) -> str:
    """A count for an axis.

    >>> _count(1e6), _count(2e9), _count(3.0)
    ('1 M', '2 G', '3')
    """
    for power, letter in ((9, " G"), (6, " M"), (3, " k")):
        if value >= 10**power:
            return f"{value / 10**power:g}{letter}"
    return f"{value:g}"


def _line(
    axes: Any, data: PaperData, found: Effects, name: str, mode: str, rank: pd.Series
) -> None:
    stage = found.stages[STAGE[mode]]
    column = rank if name == "likeness" else found.properties[name]
    raw = column.reindex(list(stage.levels)).to_numpy(dtype=float)
    one = next((p for p in PROPERTIES if p.name == name), None)
    x = raw if one is None else one.transformed(raw)
    keep = np.isfinite(x)
    se = np.sqrt(np.diag(stage.covariance))
    for place in np.flatnonzero(keep):
        colour, marker = look(data, stage.levels[place])
        axes.errorbar(
            raw[place],
            stage.estimate[place],
            yerr=Z95 * se[place],
            fmt=marker,
            color=colour,
            markersize=5,
            linewidth=1,
        )
    words = {
        "parameters": "parameters",
        "training_images": "training images",
        "top1": "ImageNet accuracy",
        "year": "year",
        "likeness": "human-likeness, mean rank",
    }
    true = _true_levels(data, list(stage.levels), mode)
    axes.plot(raw[keep], true[keep], "x", color=INK, markersize=4.5)
    axes.set_xlabel(words[name])
    axes.set_ylabel("log-odds")
    axes.grid(visible=False)
    if name in ("parameters", "training_images"):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(_count)
        axes.xaxis.set_minor_formatter("")
    if name == "year":
        axes.locator_params(axis="x", integer=True, nbins=3)
    if keep.sum() < 3 or np.ptp(x[keep]) == 0:
        return
    y, cov = stage.estimate[keep], stage.covariance[np.ix_(keep, keep)]
    fit = regress(y, cov, {"x": x[keep]})
    line = np.linspace(x[keep].min(), x[keep].max(), 50)
    back = np.interp(line, np.sort(x[keep]), np.sort(raw[keep]))
    if name in ("parameters", "training_images"):
        back = 10.0**line
    basis = np.column_stack([np.ones_like(line), line])
    middle = basis @ fit.estimate
    if np.isfinite(true[keep]).all():
        slope, start = np.polyfit(x[keep], true[keep], 1)
        axes.plot(back, start + slope * line, color=INK, linestyle=":", linewidth=1)
    half = stats.t.ppf(0.975, fit.df) * np.sqrt(
        np.einsum("ij,jk,ik->i", basis, fit.covariance, basis)
    )
    if one is not None:
        reach = smallest_effect(one) * (line - x[keep].mean())
        centre = float(fit.estimate[0] + fit.estimate[1] * x[keep].mean())
        axes.fill_between(back, centre - reach, centre + reach, color=GHOST, alpha=0.25, lw=0)
    axes.fill_between(back, middle - half, middle + half, color=BLUE, alpha=0.13, lw=0)
    axes.plot(back, middle, color=BLUE, linewidth=1.3)


def _true_levels(data: PaperData, networks: list[str], mode: str) -> Any:
    known = {} if data.true is None else data.true.log_odds
    return np.array([known.get(Condition(name, mode), np.nan) for name in networks])
