"""Panel 11: observers beside people, unit by unit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from imi_bench.report.paper.data import PaperData
from imi_bench.report.paper.panel import Panel, asks, counted, drawing, look, network_label
from imi_bench.report.style import INK, MUTED
from imi_bench.tables import MODES, DecisionVariables
from imi_bench.tables.align import rows_of
from imi_bench.text import plural

__all__ = ["machines"]


@asks(11, "machines", "Does a machine read the units that people read?")
def machines(data: PaperData) -> Panel:
    """11: the same figure for each observer, and its difference from people."""
    if not data.decisions:
        return Panel(
            "Not asked: no run of an observer was given (decisions=, --decisions).", "no observer"
        )
    tables, plots, said = {}, [], []
    for place, one in enumerate(data.decisions):
        table = _beside(data, one)
        tables[f"observer_{place + 1}"] = table
        plots += (
            [
                drawing(
                    data,
                    f"11-machine-{place + 1}",
                    f"{one.observer}: proportion correct (filled) beside people (hollow), easiest "
                    "queries. Right: difference, paired over units (95%, t)."
                    + (" Crosses: people's true proportions." if data.true else ""),
                    lambda grid, table=table: _draw(grid, data, table),
                    columns=2,
                    size=(6.6, 1.3 + 0.3 * len(table)),
                    sharey=True,
                )
            ]
            if len(table)
            else []
        )
        if table.empty:
            said.append(f"{one.observer} answered none of people's easiest trials")
            continue
        gap = table["difference"].mean()
        apart = int(((table["low"] > 0) | (table["high"] < 0)).sum())
        r = (
            stats.spearmanr(table["people"], table["machine"]).statistic
            if len(table) > 2
            else np.nan
        )
        rank = f"; conditions rank alike with rho = {r:.2f}" if np.isfinite(r) else ""
        said.append(
            f"{one.observer} is {100 * gap:+.1f} points from people on average; {apart} of "
            f"{plural(len(table), 'condition has', 'conditions have')} an interval without "
            f"zero{rank}"
        )
    found = data.effects
    notes = [data.refused] if data.refused else []
    if found is not None:
        for other in found.observers:
            real = [d.key for d in other.differences if d.p_holm < 0.05]
            notes.append(
                f"{other.effects.who}: effects that differ from people's after adjustment: "
                f"{', '.join(real) or 'none'}."
            )
    return Panel(
        answer="; ".join(said) + ".",
        n=counted(data),
        plots=tuple(plots),
        tables=tables,
        notes=tuple(notes),
    )


def _beside(data: PaperData, decisions: DecisionVariables) -> pd.DataFrame:
    index = data.study.trials
    row = rows_of(decisions.trial_id, among=index.trial_id)
    used = row >= 0
    shown = (
        index.take(row[used])
        .to_frame()
        .assign(unit_id=index.unit_id[row[used]], credit=decisions.credit[used])
    )
    keys = ["network", "mode", "difficulty", "unit_id"]
    machine = shown.groupby(keys)["credit"].mean()
    people = data.units.set_index(keys)["p"]
    true = data.units.set_index(keys)["true"]
    both = pd.concat({"machine": machine, "people": people, "true": true}, axis=1)
    both = both.dropna(subset=["machine", "people"]).reset_index()
    rows = []
    for (network, mode), part in both[both["difficulty"] == "easy"].groupby(["network", "mode"]):
        gap = (part["machine"] - part["people"]).to_numpy(float)
        half = stats.t.ppf(0.975, len(gap) - 1) * stats.sem(gap) if len(gap) > 1 else np.nan
        rows.append(
            {
                "network": network,
                "mode": mode,
                "people": part["people"].mean(),
                "true_people": part["true"].mean(),
                "machine": part["machine"].mean(),
                "difference": gap.mean(),
                "low": gap.mean() - half,
                "high": gap.mean() + half,
                "units": len(gap),
            }
        )
    table = pd.DataFrame(rows)
    if table.empty:
        return table
    order = {name: place for place, name in enumerate(data.networks())}
    return table.sort_values(
        ["mode", "network"], key=lambda c: c.map({**order, **{m: i for i, m in enumerate(MODES)}})
    ).reset_index(drop=True)


def _draw(grid: Any, data: PaperData, table: pd.DataFrame) -> None:
    left, right = grid[0]
    for place, row in enumerate(table.itertuples()):
        colour, marker = look(data, str(row.network))
        left.plot([row.people, row.machine], [place, place], color=MUTED, linewidth=0.8)
        left.plot(row.people, place, marker, color=colour, markersize=6, markerfacecolor="none")
        left.plot(row.true_people, place - 0.25, "x", color=INK, markersize=4.5)
        left.plot(row.machine, place, marker, color=colour, markersize=6)
        right.plot([row.low, row.high], [place, place], color=colour, linewidth=1.4)
        right.plot(row.difference, place, marker, color=colour, markersize=5)
    left.axvline(0.5, color=MUTED, linestyle="--", linewidth=0.8)
    right.axvline(0, color=MUTED, linestyle="--", linewidth=0.8)
    labels = [f"{network_label(str(r.network))}, {r.mode}" for r in table.itertuples()]
    left.set_yticks(range(len(table)), labels)
    left.set_ylim(len(table) - 0.5, -0.5)
    left.set_xlabel("proportion correct")
    right.set_xlabel("machine minus people")
