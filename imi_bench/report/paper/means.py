"""Panels 1 and 6: proportion correct by network and mode, and with harder queries."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from imi_bench.release.borowski_results import published_beside
from imi_bench.report.paper.clusters import clustered_variance, of_units
from imi_bench.report.paper.data import ORDERS, PaperData
from imi_bench.report.paper.panel import (
    GHOST,
    Panel,
    asks,
    beside_truth,
    counted,
    drawing,
    listed,
    look,
    network_label,
    shown_modes,
    whiskers,
    whose,
)
from imi_bench.report.style import INK, MUTED
from imi_bench.tables import DIFFICULTIES, MODES
from imi_bench.text import plural

__all__ = ["by_difficulty", "by_network", "means_table"]


def means_table(data: PaperData) -> pd.DataFrame:
    """One row a condition: mean, intervals, published, deviation, truth of a simulation.

    `low` and `high` are the authors' bootstrap over units; `low_both` and `high_both` take people
    for a sample as well.
    """
    rows = []
    both = _both(data)
    for one in data.means:
        known = one.published
        c = one.condition
        half = both.get((c.network, c.mode, c.difficulty), np.nan)
        rows.append(
            {
                "network": c.network,
                "mode": c.mode,
                "difficulty": c.difficulty,
                "mean": one.mean.value,
                "low": one.mean.low,
                "high": one.mean.high,
                "low_both": np.maximum(one.mean.value - half, 0.0),
                "high_both": np.minimum(one.mean.value + half, 1.0),
                "units": one.units,
                "answers": one.mean.n,
                "published": known.value if known else np.nan,
                "published_low": known.low if known else np.nan,
                "published_high": known.high if known else np.nan,
                "standard_errors_off": one.standard_errors_off,
                "truth": data.truth.get(c, np.nan),
            }
        )
    return pd.DataFrame(rows)


def _both(data: PaperData) -> dict[tuple[str, str, str], float]:
    """Half widths that count people and units, of the mean of units' proportions."""
    found = {}
    keys = ["network", "mode", "difficulty"]
    for key, part in data.frame.groupby(keys, observed=True):
        rows = part.reset_index(drop=True)
        variance, df = clustered_variance(of_units(rows), rows)
        if df > 0:
            found[str(key[0]), str(key[1]), str(key[2])] = float(
                stats.t.ppf(0.975, df) * np.sqrt(variance)
            )
    return found


@asks(1, "networks", "How well do people read each network, and is it what was published?")
def by_network(data: PaperData) -> Panel | str:
    """1: proportion correct by network and mode, published values behind, in three orders."""
    table = means_table(data)
    easy = table[table["difficulty"] == "easy"]
    if easy.empty:
        return "no unit was shown with the easiest queries"
    modes = [mode for mode in MODES if (easy["mode"] == mode).any()]
    several = data.effects is not None and len(data.networks()) > 1
    plots = []
    for order in ORDERS if several and data.who == "people" else ORDERS[:1]:
        names = data.networks(order)

        def draw(grid: Any, names: list[str] = names) -> None:
            for axes, mode in zip(grid[0], modes, strict=True):
                _dots(axes, data, easy[easy["mode"] == mode].set_index("network"), names)
                axes.set_title(f"{mode} references", loc="left")

        words = {"paper": "as in the paper", "accuracy": "by accuracy", "year": "by year"}[order]
        thin = " Thin: people are a sample too." if data.who == "people" else ""
        ghosts = " Grey diamonds: published means with their intervals."
        caption = (
            f"Networks {words}. Mean over units, 95% bootstrap over units (BCa).{thin}"
            + (ghosts if easy["published"].notna().any() else "")
            + " Dashed: chance."
            + beside_truth(data)
        )
        plots.append(
            drawing(
                data,
                f"1-networks-{order}",
                caption,
                draw,
                columns=len(modes),
                size=(2.2 * len(modes) + 1.1, 1.1 + 0.31 * len(names)),
                sharey=True,
            )
        )
    return Panel(
        answer=_beside_published(data, easy),
        n=counted(data),
        plots=tuple(plots),
        tables={"means": table},
        notes=_together(data),
    )


def _together(data: PaperData) -> tuple[str, ...]:
    """What the page's numbers mix, where people were shown different numbers of references."""
    if not data.together:
        return ()
    return (
        f"The figure, and every number of this page but the published ones, takes the answers with "
        f"{listed(data.together)} references together (1 and 9: of the strongly activating side "
        "alone). Apart they stand in imi-bench data info.",
    )


def _beside_published(data: PaperData, easy: pd.DataFrame) -> str:
    known = easy.dropna(subset=["published"])
    off = known["standard_errors_off"].dropna().abs()
    if data.forerunner is not None:
        again = published_beside([data.forerunner])
        same = int(again["same"].sum())
        parts = [
            f"{r.mean:.1f} ± {r.half:.1f}% for {r.published} ± {r.published_half}% "
            f"({str(r.what).split(', ', 1)[1].replace(', 1 references', ', 1 reference')})"
            for r in again.itertuples()
        ]
        return (
            f"{same} of {len(again)} published percentages come out again, mean over people: "
            f"{listed(parts)}."
        )
    if len(off):
        worst = known.loc[off.index].iloc[int(off.to_numpy().argmax())]
        without = len(known) - len(off)
        return (
            f"{int((off < 1.96).sum())} of {len(off)} published means lie within 1.96 standard "
            f"errors of these; the largest deviation is {worst['standard_errors_off']:+.1f} "
            f"({network_label(worst['network'])}, {worst['mode']})"
            + (f"; {plural(without, 'mean')} without an interval not compared" if without else "")
            + "."
        )
    parts = [f"{r.mean:.3f} ({network_label(str(r.network))}, {r.mode})" for r in easy.itertuples()]
    why = "have no interval to compare" if len(known) else "was published"
    subject = "these means" if len(known) else "none of these means"
    return f"Proportion correct is {listed(parts)}; {subject} {why}."


def _dots(axes: Any, data: PaperData, table: pd.DataFrame, names: list[str]) -> None:
    for place, name in enumerate(names):
        if name not in table.index:
            axes.text(0.51, place, "not shown", va="center", color=MUTED, fontsize=8)
            continue
        row, (colour, marker) = table.loc[name], look(data, name)
        ghost = (row["published_low"], row["published_high"])
        axes.plot(ghost, [place + 0.22] * 2, color=GHOST, linewidth=2.5, alpha=0.45)
        axes.plot(row["published"], place + 0.22, "D", color=GHOST, markersize=4, alpha=0.7)
        if data.who == "people":
            thin = (row["low_both"], row["high_both"])
            axes.plot(thin, [place] * 2, color=colour, linewidth=0.6)
        axes.plot((row["low"], row["high"]), [place] * 2, color=colour, linewidth=1.8)
        axes.plot(row["mean"], place, marker, color=colour, markersize=6)
        axes.plot(row["truth"], place - 0.2, "x", color=INK, markersize=4.5)
    axes.axvline(0.5, color=MUTED, linestyle="--", linewidth=0.8)
    axes.set_yticks(range(len(names)), [network_label(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    ends = table[["mean", "low", "high", "low_both", "high_both", "published_low"]]
    axes.set_xlim(min(0.48, float(np.nanmin(ends.to_numpy())) - 0.02), 1.01)
    axes.set_xlabel("proportion correct")


@asks(6, "difficulty", "How fast do people lose a unit when queries get less extreme?")
def by_difficulty(data: PaperData) -> Panel | str:
    """6: harder queries, for the networks that were shown them."""
    table = means_table(data)
    hard = table[table["difficulty"] != "easy"]
    if hard.empty:
        return "all queries were the most extreme"
    kinds = table.groupby(["network", "mode"])["difficulty"].nunique()
    both = set(kinds.index[kinds > 1].get_level_values("network"))
    names = [name for name in data.networks() if name in both]
    if not names:
        return "no network was shown with queries of two kinds"
    plot = drawing(
        data,
        "6-difficulty",
        "Mean over units, 95% bootstrap over units; dotted: synthetic references. Dashed: chance."
        + beside_truth(data),
        lambda grid: _falls(grid[0, 0], data, table, names),
    )
    found = data.effects
    keys = ("hard99", "hard95", "hard85")
    mine = [] if found is None else [e for e in found.effects if e.key in keys]
    mine = [e for e in mine if np.isfinite(e.test.estimate)]
    parts = [
        f"{e.key.removeprefix('hard')}th {e.test.estimate:+.2f} [{e.test.low:+.2f}, "
        f"{e.test.high:+.2f}]"
        for e in mine
        if e.shown
    ]
    none = [f"{e.key.removeprefix('hard')}th" for e in mine if not e.shown]
    if not mine:
        reason = data.refused or "no network was shown both"
        answer = f"Against the most extreme queries nothing can be said: {reason}."
    elif parts:
        verb = (
            "log-odds change"
            if any(e.test.estimate > 0 for e in mine if e.shown)
            else "log-odds fall"
        )
        answer = (
            f"With natural references {verb} with the percentile of the queries: {listed(parts)} "
            "against the most extreme ones (adjusted p < 0.05)"
            + (f"; not shown for the {listed(none)}" if none else "")
            + "."
        )
    else:
        answer = "No effect of difficulty survives the adjustment for its family."
    true = [f"{e.key.removeprefix('hard')}th {e.truth:+.2f}" for e in mine if np.isfinite(e.truth)]
    return Panel(
        answer=answer,
        n=f"{plural(len(names), 'network')}; "
        f"{plural(int(hard['answers'].sum()), 'answer')} to harder "
        f"queries, {whose(data)}",
        plots=(plot,),
        tables={"means": table[table["network"].isin(names)]},
        notes=(f"True values of the simulation, log-odds: {listed(true)}.",) if true else (),
    )


def _falls(axes: Any, data: PaperData, table: pd.DataFrame, names: list[str]) -> None:
    for name in names:
        colour, marker = look(data, name)
        for mode in shown_modes(data):
            part = table[(table["network"] == name) & (table["mode"] == mode)]
            part = part.set_index("difficulty").reindex(DIFFICULTIES)
            if part["mean"].notna().sum() < 2:
                continue
            x = np.flatnonzero(part["mean"].notna()) + 0.05 * names.index(name)
            line = marker + ("-" if mode == "natural" else ":")
            label = f"{network_label(name)}, {mode}"
            part = part.dropna(subset=["mean"])
            whiskers(axes, x, part, look=(line, colour), aside=0.07, label=label)
    axes.axhline(0.5, color=MUTED, linestyle="--", linewidth=0.8)
    axes.set_xticks(range(4), ["easy", "99", "95", "85"])
    axes.set_xlabel("percentile of the queries")
    axes.set_ylabel("proportion correct")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)
