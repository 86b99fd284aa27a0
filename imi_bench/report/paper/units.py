"""Panel 7: how units differ, and the units at either end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from imi_bench.provenance import generator
from imi_bench.report.paper.clusters import people_factor
from imi_bench.report.paper.data import PaperData
from imi_bench.report.paper.panel import (
    MODE_COLOURS,
    Panel,
    asks,
    drawing,
    network_label,
    shown_modes,
    whose,
)
from imi_bench.report.paper.spread import UnitSpread, unit_spread
from imi_bench.report.style import INK, MUTED
from imi_bench.text import plural

__all__ = ["distribution", "extremes", "shares"]

CHANCE, CEILING = 0.55, 0.90
"""A unit is at chance if its true proportion is below the one, near ceiling above the other.

Higher than 0.90 the share hangs on what the shape of the tail is taken to be: 30 answers cannot
tell a unit at 0.95 from one at 0.99.
"""


def spread_of(part: pd.DataFrame, data: PaperData) -> UnitSpread:
    """The distribution of true proportions of one mode's units."""
    mode = str(part["mode"].iloc[0])
    found = unit_spread(
        part["hits"].to_numpy(float),
        part["answers"].to_numpy(float),
        part["network"].astype(str).tolist(),
        rng=generator(data.seed, "paper, units", mode),
    )
    if data.who != "people":
        return found
    rows = data.frame
    own = (rows["mode"].astype(str) == mode) & (rows["difficulty"].astype(str) == "easy")
    return found.counting_people(people_factor(rows[own]))


def extremes(data: PaperData, count: int = 10) -> pd.DataFrame:
    """The hardest and the easiest units with natural references, by their shrunken proportions.

    A unit's proportion is drawn towards its network's by what is noise in it (posterior mean): the
    highest of many raw proportions is mostly luck. Of fewer than twice `count` units, half each.
    """
    units = data.easy
    mode = "natural" if (units["mode"] == "natural").any() else "synthetic"
    part = units[units["mode"] == mode].reset_index(drop=True)
    names = ["end", "network", "unit_id", "mode", "hits", "answers", "p", "shrunken", "true"]
    if len(part) < 2 or (part["answers"] < 2).all():
        return pd.DataFrame(columns=names)
    shrunk = spread_of(part, data).shrunken(
        part["hits"].to_numpy(float), part["answers"].to_numpy(float), part["network"].tolist()
    )
    table = part.assign(shrunken=shrunk).sort_values("shrunken", kind="stable")
    count = min(count, len(table) // 2)
    ends = [table.head(count).assign(end="hardest"), table.tail(count)[::-1].assign(end="easiest")]
    both = pd.concat(ends)
    both = both.assign(network=[network_label(str(n)) for n in both["network"]])
    return both[names].reset_index(drop=True)


def shares(part: pd.DataFrame, found: UnitSpread, data: PaperData | None = None) -> dict[str, Any]:
    """Shares at chance and near ceiling with intervals, and the noise in observed variance."""
    row: dict[str, Any] = {"sd_log_odds": found.sd}
    true = None if data is None else data.true
    mode = str(part["mode"].iloc[0])
    for name, threshold, above in (("chance", CHANCE, False), ("ceiling", CEILING, True)):
        value, low, high = found.share(threshold, above=above)
        row |= {name: value, f"{name}_low": low, f"{name}_high": high}
        row[f"{name}_truth"] = np.nan if true is None else true.share(mode, threshold, above=above)
    observed = float(part["p"].var(ddof=1))
    answers = part["answers"].to_numpy(float)
    p = part["p"].to_numpy(float)
    noise = float((p * (1 - p) / np.maximum(answers - 1, 1)).mean())
    row["noise"] = noise / observed if observed > 0 else np.nan
    row["noise_truth"] = np.nan if true is None else true.noise(mode, answers)
    return row


@asks(7, "units", "How much do units differ, and how many are at chance or near ceiling?")
def distribution(data: PaperData) -> Panel | str:
    """7: how units differ, with the part that is binomial noise taken away."""
    units = data.easy
    modes = [mode for mode in shown_modes(data) if (units["mode"] == mode).sum() > 1]
    if not modes:
        return "fewer than two units were shown with the easiest queries"
    again = [m for m in modes if (units.loc[units["mode"] == m, "answers"] > 1).any()]
    if not again:
        return "each unit has one answer, which cannot tell how units differ"
    single = [
        f"With {mode} references each unit has one answer." for mode in modes if mode not in again
    ]
    modes = again
    parts = {mode: units[units["mode"] == mode].reset_index(drop=True) for mode in modes}
    fits = {mode: spread_of(part, data) for mode, part in parts.items()}
    rows = [{"mode": m, "units": len(parts[m]), **shares(parts[m], fits[m], data)} for m in modes]
    plot = drawing(
        data,
        "7-units",
        "Bars: units as observed. Line: their true proportions (logit-normal within networks, one "
        "spread for all), binomial noise taken away. Dashed: chance."
        + (" Dotted: the simulation's true proportions." if data.true else ""),
        lambda grid: _draw(grid[0], data, parts, fits),
        columns=len(modes),
        size=(3.2 * len(modes), 2.7),
        sharey=True,
    )
    said = [
        f"with {r['mode']} references {_percent(r, 'chance')} of units are at chance (true "
        f"proportion below {CHANCE:.2f}) and {_percent(r, 'ceiling')} near ceiling (above "
        f"{CEILING:.2f})"
        for r in rows
    ]
    text = "; ".join(said)
    return Panel(
        answer=f"{text[0].upper()}{text[1:]}.",
        n=f"{plural(sum(map(len, parts.values())), 'unit')} in {plural(len(modes), 'kind')} of "
        f"references, {whose(data)}",
        plots=(plot,),
        tables={"shares": pd.DataFrame(rows)},
        notes=_notes(rows, data, single),
    )


def _notes(rows: list[dict[str, Any]], data: PaperData, single: list[str]) -> tuple[str, ...]:
    noise = [f"{100 * r['noise']:.0f}% ({r['mode']})" for r in rows if np.isfinite(r["noise"])]
    notes = [
        (
            f"Binomial noise makes up {' and '.join(noise)} of the variance of observed "
            "proportions. "
            if noise
            else ""
        )
        + "Intervals: posterior over networks' levels and the spread"
        + (", levels as uncertain as units and people make them" if data.who == "people" else "")
        + "; networks count as fixed, each by its units."
        + (
            " What lies under 1% is the end of a tail that the model's shape draws: its interval "
            "counts how far units spread, not whether that shape holds so far out."
            if any(r[name] < 0.01 for r in rows for name in ("chance", "ceiling"))
            else ""
        ),
        *single,
    ]
    if data.true is not None:
        true = [
            f"{r['mode']}: {100 * r['chance_truth']:.1f}% at chance, "
            f"{100 * r['ceiling_truth']:.1f}% near ceiling, noise {100 * r['noise_truth']:.0f}%"
            for r in rows
        ]
        notes.append(f"True values of the simulation: {'; '.join(true)}.")
    return tuple(notes)


def _draw(
    grid: Any, data: PaperData, parts: dict[str, pd.DataFrame], fits: dict[str, UnitSpread]
) -> None:
    x = np.linspace(0.02, 0.995, 300)
    bins = np.linspace(0.0, 1.0, 31)
    top = 0.0
    for axes, (mode, part) in zip(grid, parts.items(), strict=True):
        drawn = axes.hist(part["p"], bins, density=True, color=MODE_COLOURS[mode], alpha=0.35)
        line = fits[mode].density(x)
        top = max(top, float(drawn[0].max()), min(float(line.max()), 12.0))
        axes.plot(x, line, color=MODE_COLOURS[mode], linewidth=1.8)
        if data.true is not None:
            frame = data.true.population
            true = frame.loc[frame["mode"] == mode, "p"]
            high, edges = np.histogram(true, np.linspace(0, 1, 61), density=True)
            axes.plot((edges[1:] + edges[:-1]) / 2, high, ":", color=INK, linewidth=1.2)
        axes.axvline(0.5, color=MUTED, linestyle="--", linewidth=0.8)
        axes.set_xlim(max(0.0, float(part["p"].min()) - 0.05), 1.0)
        axes.set_xlabel("proportion correct")
        axes.set_title(f"{mode} references", loc="left")
    for axes in grid:
        axes.set_ylim(0, 1.08 * top)
    grid[0].set_ylabel("density over units")


def _percent(row: dict[str, Any], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    places = 0 if row[name] >= 0.02 else 1
    return f"{100 * row[name]:.{places}f}% [{100 * low:.{places}f}, {100 * high:.{places}f}]"
