"""Panel 4: natural against synthetic references, network by network and unit by unit."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from imi_bench.arrays import Floats, Ints
from imi_bench.provenance import generator
from imi_bench.report.paper.clusters import clustered_variance
from imi_bench.report.paper.data import PaperData
from imi_bench.report.paper.panel import (
    Panel,
    asks,
    drawing,
    look,
    network_key,
    network_label,
    whose,
)
from imi_bench.report.style import INK, MUTED
from imi_bench.tables import MODES
from imi_bench.text import plural

__all__ = ["by_mode", "mode_numbers", "natural_lead"]

_DRAWS, _ENOUGH = 1000, 5


@asks(4, "modes", "Are units that are clear in natural images clear in synthetic ones?")
def by_mode(data: PaperData) -> Panel | str:
    """4: natural against synthetic references, network by network and unit by unit."""
    units = data.easy
    wide = units.pivot_table(
        index=["network", "unit_id"],
        columns="mode",
        values=["p", "answers", "true"],
        observed=True,
        dropna=False,
    )
    wide = wide.dropna(subset=[c for c in wide.columns if c[0] != "true"])
    if wide.empty or wide["p"].shape[1] < 2:
        return "no unit was shown with both kinds of references"
    if len(wide) < _ENOUGH:
        shown = plural(len(wide), "unit was", "units were")
        return f"only {shown} shown with both kinds of references"
    rng = generator(data.seed, "paper, modes")
    numbers = mode_numbers(wide, rng)
    numbers.loc["lead"] = natural_lead(data.frame)
    networks = wide.index.get_level_values("network")
    gap = wide["p"]["natural"] - wide["p"]["synthetic"]
    by = gap.groupby(level="network", observed=True).agg(["mean", "sem", "size"])
    true = pd.DataFrame({m: wide["true", m] for m in MODES if ("true", m) in wide}).dropna()

    plot = drawing(
        data,
        "4-modes",
        "Proportion correct with natural against synthetic references; colours and markers as in "
        "every figure. Dashed: equally clear."
        + (" Crosses: true means of these units." if len(true) else ""),
        partial(_draw, data=data, wide=wide, true=true, rng=rng),
        columns=2,
        size=(6.2, 3.6),
    )
    table = by.rename(columns={"mean": "difference", "sem": "se", "size": "units"}).reset_index()
    tables = {"difference": table, "numbers": _beside_true(numbers, data, true)}
    several = networks.nunique() > 1
    within = " within networks" if several else ""
    return Panel(
        answer=_sentence(numbers, several),
        n=f"{len(wide):,} units of {plural(networks.nunique(), 'network')}, {whose(data)}",
        plots=(plot,),
        tables=tables,
        notes=(
            f"Correlation of units' proportions{within}; corrected: over the "
            "root of the product of both reliabilities (binomial). Intervals: units drawn anew"
            f"{within} ({_DRAWS}, bias-corrected percentile), of the lead "
            "over people and units. Corrected values can lie above 1 where reliabilities are low.",
            *_true_note(tables["numbers"]),
        ),
    )


def _draw(
    grid: Any, *, data: PaperData, wide: pd.DataFrame, true: pd.DataFrame, rng: np.random.Generator
) -> None:
    """Networks' means to the left, units to the right; natural across, synthetic up."""
    left, right = grid[0]
    means = wide["p"].groupby(level="network", observed=True).mean()
    for name, row in means.iterrows():
        colour, marker = look(data, str(name))
        left.plot(row["natural"], row["synthetic"], marker, color=colour, markersize=7)
        if len(true):
            at = true[true.index.get_level_values("network") == name].mean().to_numpy(float)
            left.plot(at[0], at[1], "x", color=INK, markersize=4.5)
        part = wide["p"].xs(name, level="network")
        right.plot(
            part["natural"],
            part["synthetic"] + rng.uniform(-0.008, 0.008, len(part)),
            marker,
            color=colour,
            markersize=2.6,
            alpha=0.55,
            markeredgewidth=0,
            label=network_label(str(name)),
        )
    lowest = (
        min(0.5, float(means.to_numpy().min()) - 0.02),
        min(0.1, float(wide["p"].to_numpy().min()) - 0.05),
    )
    for axes, title, least, most in zip(
        (left, right), ("networks", "units"), lowest, (1, 1.03), strict=True
    ):
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle="--")
        axes.set_title(title, loc="left")
        axes.set_xlabel("natural references")
        axes.set_xlim(least, most)
        axes.set_ylim(least, most)
    left.set_ylabel("synthetic references")
    network_key(left.figure, data, [n for n in data.networks() if n in set(means.index)])


def mode_numbers(wide: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Correlation of units between modes, corrected for reliability, and natural's lead.

    Parameters
    ----------
    wide : DataFrame
        Indexed by network and unit; columns ``p`` and ``answers`` by mode.
    rng : numpy.random.Generator
        Of the bootstrap over units within networks.

    Returns
    -------
    DataFrame
        Rows ``correlation``, ``corrected``, ``lead``: `value`, `low`, `high`.
    """
    table = np.column_stack([wide[k][m].to_numpy(float) for k in ("p", "answers") for m in MODES])
    network = pd.factorize(wide.index.get_level_values("network"))[0]
    groups = [np.flatnonzero(network == k) for k in range(network.max() + 1)]
    found = _numbers(table, network)
    draws = []
    for _ in range(_DRAWS):
        rows = np.concatenate([rng.choice(g, len(g)) for g in groups])
        draws.append(_numbers(table[rows], network[rows]))
    ends = [
        _bias_corrected(one, value) for one, value in zip(np.array(draws).T, found, strict=True)
    ]
    low, high = np.array(ends).T
    names = ["correlation", "corrected", "lead"]
    return pd.DataFrame({"value": found, "low": low, "high": high}, index=names)


def _bias_corrected(draws: Floats, value: float) -> tuple[float, float]:
    """Bias-corrected percentile interval (Efron 1987); NaN where draws are too often undefined.

    Dividing by an uncertain reliability draws the corrected correlation upwards, in the sample and
    once more in units drawn anew: plain percentiles lie too high.
    """
    known = draws[np.isfinite(draws)]
    if np.isnan(value) or len(known) < 0.95 * len(draws):
        return np.nan, np.nan
    below = ((known < value).sum() + 0.5 * (known == value).sum() + 0.5) / (len(known) + 1)
    places = stats.norm.cdf(2 * stats.norm.ppf(below) + stats.norm.ppf([0.025, 0.975]))
    low, high = np.quantile(known, places)
    return float(low), float(high)


def natural_lead(frame: pd.DataFrame) -> tuple[float, float, float]:
    """Mean over units of natural's less synthetic's proportion, 95% over people and units.

    Parameters
    ----------
    frame : DataFrame
        One row an answer; units that were not shown in both modes are left out, as are harder
        queries.
    """
    easy = frame[frame["difficulty"] == "easy"]
    both = easy.groupby("unit_id", observed=True)["mode"].nunique()
    rows = easy[easy["unit_id"].isin(both.index[both > 1])].reset_index(drop=True)
    by = rows.groupby(["unit_id", "mode"], observed=True)["correct"]
    size = by.transform("size").to_numpy(float)
    natural = (rows["mode"] == "natural").to_numpy()
    sign = np.where(natural, 1.0, -1.0) / (size * rows["unit_id"].nunique())
    correct = rows["correct"].to_numpy(float)
    lead = float((sign * correct).sum())
    middle = {m: float((np.abs(sign) * correct)[k].sum()) for m, k in ((1, natural), (0, ~natural))}
    influence = sign * (correct - np.where(natural, middle[1], middle[0]))
    variance, df = clustered_variance(influence, rows)
    half = float(stats.t.ppf(0.975, df) * np.sqrt(variance)) if df > 0 else np.nan
    return lead, lead - half, lead + half


def _numbers(table: Floats, network: Ints) -> Floats:
    """Of columns p natural, p synthetic, answers natural, answers synthetic."""
    p, answers = table[:, :2], table[:, 2:]
    size = np.bincount(network)
    inside = p - np.stack([np.bincount(network, x) / size for x in p.T], axis=1)[network]
    df = max(len(p) - int((size > 0).sum()), 1)
    cov = inside.T @ inside / df
    r = cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1]) if cov[0, 0] * cov[1, 1] > 0 else np.nan
    noise = (p * (1 - p) / np.maximum(answers - 1, 1)).mean(axis=0)
    kept = 1 - noise / np.where(np.diag(cov) > 0, np.diag(cov), np.nan)
    whole = r / np.sqrt(kept.prod()) if (kept > 0).all() else np.nan
    return np.array([r, whole, float((p[:, 0] - p[:, 1]).mean())])


def _ends(row: Any) -> str:
    """An interval in brackets, where there is one."""
    if np.isnan(row["low"]):
        return " (no interval: too often undefined in units drawn anew)"
    return f" [{row['low']:.2f}, {row['high']:.2f}]"


def _sentence(numbers: pd.DataFrame, several: bool) -> str:
    r, c, lead = (numbers.loc[name] for name in ("correlation", "corrected", "lead"))
    where = "Within networks units" if several else "Units"
    first = (
        f"{where} correlate r = {r['value']:.2f}{_ends(r)}"
        if np.isfinite(r["value"])
        else f"{where} do not vary in one of the modes, so they have no correlation"
    )
    if np.isfinite(c["value"]) and np.isfinite(c["low"]):
        holds = "includes" if c["low"] <= 0 <= c["high"] else "excludes"
        second = (
            f", and {c['value']:.2f} [{c['low']:.2f}, {c['high']:.2f}] once corrected for "
            f"reliability, which {holds} 0"
        )
    elif np.isfinite(c["value"]):
        second = (
            f", and {c['value']:.2f} once corrected for reliability (no interval: in too many of "
            "the samples drawn anew units of one mode differ by noise alone)"
        )
    else:
        second = ", which cannot be corrected: in one of the modes units differ by noise alone"
    points = 100 * lead[["value", "low", "high"]]
    shown = lead["low"] > 0 or lead["high"] < 0
    ahead = "natural" if points["value"] > 0 else "synthetic"
    if np.isnan(lead["low"]):
        return (
            f"{first}{second}; natural minus synthetic is {points['value']:+.1f} points (no "
            "interval: one source of answers, or too few units)."
        )
    third = (
        f"{ahead} references are ahead by {abs(points['value']):.1f} points on average"
        if shown
        else "neither kind of references is shown to be ahead"
    )
    return (
        f"{first}{second}; {third} "
        f"(natural minus synthetic {points['value']:+.1f} [{points['low']:+.1f}, "
        f"{points['high']:+.1f}])."
    )


def _beside_true(numbers: pd.DataFrame, data: PaperData, true: pd.DataFrame) -> pd.DataFrame:
    known = {"correlation": np.nan, "corrected": np.nan, "lead": np.nan}
    if data.true is not None and len(true):
        known["corrected"] = data.true.correlation
        known["lead"] = float((true["natural"] - true["synthetic"]).mean())
    return numbers.assign(truth=pd.Series(known)).reset_index(names="number")


def _true_note(table: pd.DataFrame) -> list[str]:
    known = table.set_index("number")["truth"]
    if known.isna().all():
        return []
    return [
        f"True values of the simulation: correlation {known['corrected']:.2f} without noise, "
        f"natural ahead by {100 * known['lead']:.1f} points."
    ]
