"""Which figures a report has, drawn from its numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from imi_bench.release.published import published
from imi_bench.report.contents import ReportData
from imi_bench.report.figures import (
    MOST_OBSERVERS,
    PANEL,
    PUBLISHED,
    Dot,
    Figure,
    Pairs,
    dots,
    looks_of,
    scatter,
)
from imi_bench.report.summary import Stratum, Summary
from imi_bench.scores.report import ScoreReport
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.proportions import proportion, wilson
from imi_bench.text import plural

_INTERVALS = (
    "Whiskers: 95% intervals, jackknife over units{people}. Dashed: chance, 0.5. Ties and "
    "missing answers count one half."
)
_MOST_UNITS = 40


def draw_figures(exhibit: ReportData, summary: Summary) -> list[Figure]:
    """All figures of a report, in reading order.

    Observers beyond the first `MOST_OBSERVERS` are in the table alone; the page says so.
    """
    names = drawn_observers(exhibit, summary)
    labels = {
        **exhibit.labels,
        PANEL: exhibit.panel_name,
        PUBLISHED: "People, as published",
        "natural": "natural references",
        "synthetic": "synthetic references",
        "": "",
    }
    figures = [_by_network(exhibit, summary, names, labels)]
    if len(summary.values("difficulty")) > 1:
        figures.append(_by_difficulty(exhibit, summary, names, labels))
    if exhibit.study is None:
        if len(set(exhibit.trials.index.unit_id)) <= _MOST_UNITS:
            figures.append(_by_unit(exhibit, names, labels))
        return figures
    scores = {name: summary.scores[name] for name in names}
    figures.append(_agreement(scores, labels))
    figures.append(_against_panel(scores, labels))
    figures.append(_reliability(scores, labels))
    return figures


def drawn_observers(exhibit: ReportData, summary: Summary) -> list[str]:
    """Names of the observers in figures, best first: machines, or references if there are none."""
    runs = exhibit.machines or exhibit.runs
    return summary.best_first(run.name for run in runs)[:MOST_OBSERVERS]


def _series(exhibit: ReportData, names: list[str]) -> list[str]:
    return [PANEL, *names] if exhibit.study is not None else names


def _intervals(exhibit: ReportData) -> str:
    people = "; for the panel, over units and participants" if exhibit.study is not None else ""
    return _INTERVALS.format(people=people)


def _correct(exhibit: ReportData, summary: Summary, names: list[str], part: str) -> list[Dot]:
    """Proportions correct by network, or by difficulty, in each mode."""
    return [
        Dot(name, value, mode, summary.correct[name, stratum])
        for mode in summary.values("mode")
        for value in summary.values(part)
        for name in _series(exhibit, names)
        if (stratum := Stratum(mode=mode, **{part: value})) in summary.strata
    ]


def _by_network(
    exhibit: ReportData, summary: Summary, names: list[str], labels: Mapping[str, str]
) -> Figure:
    points = _correct(exhibit, summary, names, "network")
    known = _published(points)
    return dots(
        points + known,
        name="network",
        title="Proportion correct by network and mode",
        caption=f"{_intervals(exhibit)} {_sizes(points)}"
        + (" Grey: the published experiment, over its own units and easy trials." if known else ""),
        alt="Dots with intervals: proportion correct of each observer in each network, by mode.",
        axis="proportion correct",
        labels=labels,
        looks=looks_of(names),
        limits=_limits(points),
    )


def _published(points: list[Dot]) -> list[Dot]:
    """The published means of the networks in the figure that the experiment had."""
    known, dots_ = published().networks, []
    for network, mode in dict.fromkeys((point.row, point.facet) for point in points):
        mean = getattr(known[network], mode) if network in known else None
        if mean is not None:
            method = "published, bootstrap over units"
            found = Estimate(mean.value, mean.low, mean.high, method=method)
            dots_.append(Dot(PUBLISHED, network, mode, found))
    return dots_


def _by_difficulty(
    exhibit: ReportData, summary: Summary, names: list[str], labels: Mapping[str, str]
) -> Figure:
    points = _correct(exhibit, summary, names, "difficulty")
    return dots(
        points,
        name="difficulty",
        title="Proportion correct by difficulty",
        caption="Easy queries are as extreme as the references; hard95 and hard85 come from "
        "around the 95th and 85th percentile of the unit's activations (and the mirrored ones). "
        f"{_intervals(exhibit)} {_sizes(points)}",
        alt="Dots with intervals: proportion correct of each observer by difficulty and mode.",
        axis="proportion correct",
        labels=labels,
        looks=looks_of(names),
        limits=_limits(points),
    )


def _by_unit(exhibit: ReportData, names: list[str], labels: Mapping[str, str]) -> Figure:
    index = exhibit.trials.index
    points = []
    for unit in dict.fromkeys(index.unit_id.tolist()):
        keep = (index.unit_id == unit) & ~index.catch
        for run in exhibit.runs:
            if run.name in names and keep.any():
                credit = run.decisions.credit[exhibit.rows_of(run)][keep]
                points.append(Dot(run.name, unit, "", proportion(float(credit.sum()), len(credit))))
    return dots(
        points,
        name="unit",
        title="Proportion correct by unit",
        caption="Whiskers: Wilson 95% intervals over a unit's trials. Dashed: chance, 0.5. "
        + _sizes(points, of="trials a unit"),
        alt="Dots with intervals: proportion correct of each observer on each unit.",
        axis="proportion correct",
        labels={**labels, **_short_units(exhibit)},
        looks=looks_of(names),
        limits=(-0.03, 1.03),
        legend=len(names) > 1,
    )


def _short_units(exhibit: ReportData) -> dict[str, str]:
    """Units without the network's name where there is one network."""
    units, networks = exhibit.trials.index.unit_id.tolist(), set(exhibit.trials.index.network)
    return {unit: unit.partition("/")[2] for unit in units} if len(networks) == 1 else {}


def _agreement(scores: Mapping[str, ScoreReport], labels: Mapping[str, str]) -> Figure:
    best_first = sorted(scores, key=lambda name: -np.nan_to_num(_r(scores[name]).value, nan=-1))
    ceiling = scores[best_first[0]].ceilings["unit_ceiling"]
    points = [Dot(name, name, "", _r(scores[name])) for name in best_first]
    known = not np.isnan(ceiling.low)
    return dots(
        points,
        name="agreement",
        title="Agreement with the panel on which units are hard",
        caption="Pearson correlation, over conditions (unit, mode, difficulty), of the calibrated "
        "prediction with the panel's proportion correct. Whiskers: 95% intervals, jackknife "
        "over units. Dashed: 0. "
        + (f"Shaded: the ceiling, {ceiling}, what the panel's own noise allows. " if known else "")
        + f"{plural(len(scores[best_first[0]].conditions), 'condition')}, "
        f"{_r(scores[best_first[0]]).n:,} "
        f"answers, {_r(scores[best_first[0]]).clusters} units.",
        alt="Dots with intervals: correlation of each observer with the panel, beside its ceiling.",
        axis="Pearson r with the panel",
        labels=labels,
        looks=looks_of(list(scores)),
        reference=0.0,
        band={"": (ceiling.low, ceiling.high)} if known else None,
        legend=False,
    )


def _r(report: ScoreReport) -> Estimate:
    return report.scores["unit_pearson"].estimate


def _against_panel(scores: Mapping[str, ScoreReport], labels: Mapping[str, str]) -> Figure:
    panes, answers = [], 1.0
    for name, report in scores.items():
        weighted = report.conditions.assign(
            human=lambda frame: frame["human"] * frame["answers"],
            observer=lambda frame: frame["observer"] * frame["answers"],
        )
        sums = weighted.groupby(["unit_id", "mode"])[["human", "observer", "answers"]].sum()
        means = sums[["human", "observer"]].div(sums["answers"], axis=0).to_numpy()
        answers = float(sums["answers"].median())
        note = f"r = {np.corrcoef(means.T)[0, 1]:.2f}" if means.std(axis=0).all() else "r undefined"
        panes.append(Pairs(name, means[:, 1], means[:, 0], note=note))
    return scatter(
        panes,
        name="units",
        title="Observer against panel, unit by unit",
        caption="One point a unit and mode: the panel's proportion correct against the observer's "
        "calibrated prediction, from a fit that never saw the unit. Shaded: where 95% of points "
        f"would lie if the prediction were the truth (median of {answers:.0f} answers a point). "
        "r over these points; the interval over conditions is in the figure before.",
        alt="Panes of points, one for each observer: panel against calibrated prediction by unit.",
        axes_labels=("predicted proportion correct", "panel: proportion correct"),
        looks=looks_of(list(scores)),
        labels=labels,
        answers=answers,
    )


def _reliability(scores: Mapping[str, ScoreReport], labels: Mapping[str, str]) -> Figure:
    panes = []
    for name, report in scores.items():
        diagram = report.reliability
        some = diagram.answers > 0
        hits = np.round(diagram.observed[some] * diagram.answers[some])
        low, high = wilson(hits, diagram.answers[some])
        ece = report.scores["ece"].estimate
        panes.append(
            Pairs(
                name,
                diagram.predicted[some],
                diagram.observed[some],
                low,
                high,
                note=f"error {ece.value:.3f}",
            )
        )
    total = next(iter(scores.values())).answers
    return scatter(
        panes,
        name="reliability",
        title="Are the calibrated predictions to be trusted?",
        caption="Reliability diagram: answers in bins of the predicted probability that a person "
        "is correct; on the dashed line prediction and panel agree. Bars: Wilson 95% intervals "
        "that take answers as independent. A prediction is below one half where the observer leans "
        "to the wrong query; people can be right there all the same. Above each pane the expected "
        f"calibration error, which noise makes larger. {plural(total, 'answer')} in each pane.",
        alt="Panes of points, one for each observer: observed against predicted proportion.",
        axes_labels=("predicted probability correct", "panel: proportion correct"),
        looks=looks_of(list(scores)),
        labels=labels,
        joined=True,
    )


def _limits(points: list[Dot]) -> tuple[float, float]:
    lows = [p.estimate.low for p in points if not np.isnan(p.estimate.low)]
    return min([0.4, *(low - 0.02 for low in lows)]), 1.02


def _sizes(points: list[Dot], *, of: str = "trials a dot") -> str:
    """How many trials stand behind a dot."""
    counts = sorted({p.estimate.n for p in points if p.series not in (PANEL, PUBLISHED)})
    answers = sorted({p.estimate.n for p in points if p.series == PANEL})
    people = f", {_range(answers)} answers of the panel" if answers else ""
    return f"{_range(counts)} {of}{people}."


def _range(counts: list[int]) -> str:
    return f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
