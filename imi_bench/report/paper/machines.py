"""Panels 11 and 12: observers beside people, and what could not be reproduced."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from imi_bench.release.published import published
from imi_bench.report.paper.data import PaperData
from imi_bench.report.paper.panel import Panel, code, counted, drawing, look, network_label
from imi_bench.report.style import MUTED
from imi_bench.tables import MODES, DecisionVariables
from imi_bench.tables.align import rows_of

__all__ = ["machines", "missing"]


def machines(data: PaperData) -> Panel:
    """11: the same figure for each observer, and its difference from people."""
    question = "Does a machine read the units that people read?"
    if not data.decisions:
        why = "no run of an observer was given (`--decisions`)"
        return Panel(11, "machines", question, f"Not asked: {why}.", "")
    tables, plots, said = {}, [], []
    for place, one in enumerate(data.decisions):
        table = _beside(data, one)
        tables[f"observer_{place + 1}"] = table
        plots.append(
            drawing(
                data,
                f"11-machine-{place + 1}",
                f"{one.observer}: proportion correct (filled) beside people (hollow), easiest "
                "queries. Right: difference, paired over units (95%, t).",
                lambda grid, table=table: _draw(grid, data, table),
                columns=2,
                size=(6.6, 1.3 + 0.3 * len(table)),
                sharey=True,
            )
        )
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
            f"{len(table)} conditions have an interval without zero{rank}"
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
        11,
        "machines",
        question,
        "; ".join(said) + ".",
        counted(data),
        tuple(plots),
        tables,
        code(data, "machines", "machines").replace('")', '", decisions=["RUN"])', 1),
        tuple(notes),
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
    both = pd.concat({"machine": machine, "people": people}, axis=1).dropna().reset_index()
    rows = []
    for (network, mode), part in both[both["difficulty"] == "easy"].groupby(["network", "mode"]):
        gap = (part["machine"] - part["people"]).to_numpy(float)
        half = stats.t.ppf(0.975, len(gap) - 1) * stats.sem(gap) if len(gap) > 1 else np.nan
        rows.append(
            {
                "network": network,
                "mode": mode,
                "people": part["people"].mean(),
                "machine": part["machine"].mean(),
                "difference": gap.mean(),
                "low": gap.mean() - half,
                "high": gap.mean() + half,
                "units": len(gap),
            }
        )
    table = pd.DataFrame(rows)
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


def missing(data: PaperData) -> Panel:
    """12: every published number that this page cannot compute again, with the reason."""
    if data.forerunner is not None:
        return _forerunner(data)
    facts = published()
    shown = {(m.condition.network, m.condition.mode, m.condition.difficulty) for m in data.means}
    rows = [
        {
            "number": f"mean of {network.label}, {mode}",
            "published": f"{getattr(network, mode).value:.4f}",
            "reason": "this table has no such answers",
        }
        for key, network in facts.networks.items()
        for mode in MODES
        if getattr(network, mode) is not None and (key, mode, "easy") not in shown
    ]
    if data.released is None:
        rows.append(
            {
                "number": "exclusions: counts by criterion",
                "published": "rules as in the paper",
                "reason": "no rejected assignments in this table",
            }
        )
    units = data.frame["unit_id"].nunique()
    if units != facts.dataset["units"]:
        rows.append(
            {
                "number": "number of units",
                "published": str(facts.dataset["units"]),
                "reason": f"this table has {units}",
            }
        )
    rows += [
        {
            "number": "means with harder queries",
            "published": "in a figure only",
            "reason": "their values are not among the published facts kept here",
        },
        {
            "number": "human-likeness of the networks",
            "published": "mean ranks",
            "reason": "taken as published: another benchmark's data",
        },
        {
            "number": "machine interpretability score",
            "published": f"alpha {facts.mis['slope_on_dreamsim']}",
            "reason": "needs images and an observer's decisions, not answers",
        },
    ]
    table = pd.DataFrame(rows)
    return Panel(
        12,
        "missing",
        "What could we not reproduce?",
        f"{len(table)} published numbers or groups of them cannot be computed from this table."
        if not data.simulated
        else f"These answers are simulated and reproduce nothing; besides, {len(table)} published "
        "numbers or groups of them cannot be computed from such a table.",
        f"{len(table)} entries",
        (),
        {"missing": table},
    )


def _forerunner(data: PaperData) -> Panel:
    """Of the forerunner's numbers those that its tables do not give."""
    rows = [
        ("values in figures and appendix", "no list of them was at hand to compare with"),
        ("exemplars and queries", "the table names images that are not in its repository"),
        ("anything about several networks", "InceptionV1 alone was shown"),
    ]
    table = pd.DataFrame(rows, columns=["number", "reason"])
    return Panel(
        12,
        "missing",
        "What could we not reproduce?",
        "The percentages of the abstract that belong to this table come out again (question 1); "
        f"{len(table)} kinds of other numbers cannot be compared.",
        f"{len(table)} entries",
        (),
        {"missing": table},
    )
