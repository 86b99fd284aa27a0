"""The table of observers: every number with its interval, references beside machines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from imi_bench.report.contents import ObserverRun, ReportData
from imi_bench.report.figures import PANEL
from imi_bench.report.summary import Stratum, Summary
from imi_bench.stats.estimate import Estimate
from imi_bench.text import plural

# Score, heading, unit, and the ceiling that people reach on it.
_AGAINST_PEOPLE = (
    ("unit_pearson", "Agreement on units", "r over conditions", "unit_ceiling"),
    ("bits", "Prediction of answers", "bits/answer above chance", "left_out_bits"),
    ("calibration_slope", "Calibration slope", "1 is right, below 1 too sure", None),
    ("error_consistency", "Same errors", "Cohen's κ", "human_consistency"),
)
_NOTES = {
    "ideal": "reads the activations",
    "chance": "guesses",
    "one-side": "always the first query",
    "one-side?side=second": "always the second query",
}
_EVERYTHING = Stratum()


def observer_table(exhibit: ReportData, summary: Summary) -> dict[str, Any]:
    """Columns, groups of rows, and remarks, for the template."""
    known = {run.name: run for run in exhibit.machines}
    machines = [known[name] for name in summary.best_first(known)]
    panel = [_panel_row(exhibit, summary)] if exhibit.study is not None else []
    references = panel + [_row(exhibit, run, summary) for run in exhibit.references]
    groups = [
        {"title": "Machine observers", "rows": [_row(exhibit, run, summary) for run in machines]},
        {"title": "References", "rows": references},
    ]
    return {
        "lead": _lead(exhibit, summary, machines),
        "caption": _caption(exhibit, summary),
        "columns": _columns(summary),
        "groups": [group for group in groups if group["rows"]],
        "remarks": _remarks(exhibit, summary, machines),
    }


def _strata(summary: Summary) -> list[Stratum]:
    """Columns of proportions correct: all trials, and modes or difficulties where several."""
    shown = [_EVERYTHING]
    if len(summary.values("mode")) > 1:
        shown += [Stratum(mode=mode) for mode in summary.values("mode")]
    if not summary.scores and len(summary.values("difficulty")) > 1:
        shown += [Stratum(difficulty=level) for level in summary.values("difficulty")]
    return shown


def _columns(summary: Summary) -> list[dict[str, str]]:
    columns = [{"title": "Observer", "unit": ""}]
    for stratum in _strata(summary):
        place = {stratum.mode, stratum.difficulty} - {"all"}
        title = place.pop().capitalize() if place else "Correct"
        columns.append({"title": title, "unit": "proportion"})
    if summary.scores:
        columns += [{"title": title, "unit": unit} for _, title, unit, _ in _AGAINST_PEOPLE]
    return columns


def _row(exhibit: ReportData, run: ObserverRun, summary: Summary) -> dict[str, Any]:
    cells = [_cell(summary.correct[run.name, stratum]) for stratum in _strata(summary)]
    if summary.scores:
        lines = summary.scores[run.name].scores
        cells += [_cell(lines[name].estimate) for name, *_ in _AGAINST_PEOPLE]
    return {"name": exhibit.labels[run.name], "note": _note(run), "cells": cells}


def _panel_row(exhibit: ReportData, summary: Summary) -> dict[str, Any]:
    cells = [_cell(summary.correct[PANEL, stratum]) for stratum in _strata(summary)]
    ceilings = next(iter(summary.scores.values())).ceilings
    cells += [
        _cell(ceilings[ceiling]) if ceiling else _nothing("the panel predicts no probabilities")
        for *_, ceiling in _AGAINST_PEOPLE
    ]
    return {
        "name": exhibit.panel_name,
        "note": "its members on one another",
        "cells": cells,
    }


def _cell(estimate: Estimate) -> dict[str, str]:
    if math.isnan(estimate.value):
        return _nothing(estimate.reason)
    interval = f"[{_number(estimate.low)}, {_number(estimate.high)}]"
    if math.isnan(estimate.low):
        interval = "no interval"
    return {"value": _number(estimate.value), "interval": interval, "reason": estimate.reason}


def _number(value: float) -> str:
    """Three decimals with a true minus sign, and no minus before zero."""
    return f"{value:z.3f}".replace("-", "\N{MINUS SIGN}")


def _nothing(reason: str) -> dict[str, str]:
    return {"value": "", "interval": "", "reason": reason}


def _note(run: ObserverRun) -> str:
    base = run.name.partition("?")[0]
    if note := _NOTES.get(run.name, _NOTES.get(base, "")):
        return note
    described = _mapping(_mapping(run.record.get("observer")).get("description"))
    start = described.get("weights")
    return "random weights, untrained" if "random" in str(start).lower() else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _lead(exhibit: ReportData, summary: Summary, machines: list[ObserverRun]) -> str:
    if not machines:
        return "Only reference observers answered these trials."
    best = summary.correct[machines[0].name, _EVERYTHING]
    name = exhibit.labels[machines[0].name]
    verb = f"{name} is right most often, with" if len(machines) > 1 else f"{name} has"
    text = (
        f"{verb} a proportion correct of {best} over {plural(best.n, 'trial')} of "
        f"{plural(best.clusters, 'unit')}."
    )
    if exhibit.study is not None:
        panel = summary.correct[PANEL, _EVERYTHING]
        text += (
            f" The {exhibit.panel_name.lower()} reaches {panel} over {plural(panel.n, 'answer')}."
        )
    return text


def _caption(exhibit: ReportData, summary: Summary) -> str:
    some = summary.correct[exhibit.runs[0].name, _EVERYTHING]
    text = (
        f"Values with 95% intervals in brackets. n = {plural(some.n, 'main trial')} of "
        f"{plural(some.clusters, 'unit')}; "
        "intervals by jackknife over units."
    )
    if exhibit.study is not None:
        study = exhibit.study
        people = len(set(study.responses.participant.tolist()))
        kind = "simulated participant" if study.responses.simulated else "participant"
        text += (
            f" Against {plural(len(study.responses), 'answer')} of {plural(people, kind)}, "
            "each predicted by "
            "a choice model fitted without the unit."
        )
    return text


def _coverage(exhibit: ReportData) -> str:
    """Who left trials open, and how these count."""
    open_ = {
        exhibit.labels[run.name]: (
            int((run.decisions.status == "tie").sum()),
            int((~run.decisions.answered).sum()),
        )
        for run in exhibit.runs
    }
    told = [
        f"{name} ({ties:,} ties, {missing:,} without an answer)"
        for name, (ties, missing) in open_.items()
        if ties or missing
    ]
    if not told:
        return (
            f"Every observer decided all {plural(len(exhibit.trials), 'trial')}; "
            f"there were no ties."
        )
    return f"Trials left open count one half, what a guess earns: {'; '.join(told)}."


def _remarks(exhibit: ReportData, summary: Summary, machines: list[ObserverRun]) -> list[str]:
    remarks = [_coverage(exhibit)]
    if exhibit.study is None:
        remarks.append(
            "No human answers were given, so nothing here says how alike observer and people are "
            "(`imi-bench report RUN --responses FILE`)."
        )
    if summary.scores and machines:
        lines = summary.scores[machines[0].name].scores
        remarks.append(
            "What these data can resolve (80% power, two-sided 5%): two observers differ if their "
            f"proportions correct are {lines['proportion_correct'].resolvable:.3f} apart, their "
            f"bits an answer {lines['bits'].resolvable:.3f}. On the same trials a paired "
            "comparison resolves less."
        )
        remarks.append(
            "In the row of the panel, agreement is its ceiling (root of the split-half "
            "reliability), prediction is what the other participants tell of one left out, and "
            "same errors are those of two participants. Ceilings are estimates: an observer can "
            "stand above one."
        )
    return remarks
