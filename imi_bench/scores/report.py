"""All scores of one observer against people, with ceilings, strata and what can be resolved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from imi_bench.arguments import checked, checked_level, refuse_idle
from imi_bench.arrays import Floats
from imi_bench.choice.calibrate import Calibration, CalibrationLike, calibration_for
from imi_bench.choice.folds import FoldsBy
from imi_bench.errors import UnknownNameError
from imi_bench.plots import Interval, forest
from imi_bench.release.study_files import AnswersLike, read_answers
from imi_bench.results import Record, Result
from imi_bench.scores import agreement, ceiling, consistency, likelihood, recalibration
from imi_bench.scores.alignment import AlignedAnswers, align_answers
from imi_bench.scores.likelihood import ReliabilityDiagram, reliability_diagram
from imi_bench.scores.strata import levels, read_columns, stratum_labels
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.intervals import estimate, resolvable_difference
from imi_bench.stats.jackknife import Jackknife, combined, jackknives
from imi_bench.stats.sums import Score, Sums
from imi_bench.tables import DecisionsLike, DecisionVariables
from imi_bench.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "HEADLINE",
    "SHARE_OF_CEILING",
    "ScoreLine",
    "ScoreReport",
    "leave_out",
    "score",
    "share_of",
]


HEADLINE = (
    "proportion_correct",
    "unit_pearson",
    "unit_pearson_corrected",
    "unit_spearman",
    "unit_spearman_corrected",
    "network_pearson",
    "network_kendall",
    "bits",
    "share_of_ceiling",
    "brier",
    "ece",
    "calibration_bias",
    "calibration_slope",
    "error_consistency",
    "pooled_error_consistency",
    "side_bias",
    "coverage",
)
"""The observer's scores, in the order they are shown."""
CEILING_OF = {
    "unit_pearson": "unit_ceiling",
    "unit_spearman": "unit_ceiling",
    "bits": "left_out_bits",
    "brier": "left_out_brier",
    "error_consistency": "human_consistency",
    "pooled_error_consistency": "pooled_human_consistency",
}
_LOWER_IS_BETTER = ("brier", "ece")


@dataclass(frozen=True, repr=False)
class ScoreLine(Record):
    """A score beside what limits it.

    Attributes
    ----------
    estimate : Estimate
    resolvable : float
        Smallest difference between two observers that these data would show (80 % power, two-sided
        5 %; see `resolvable_difference`).
    ceiling : Estimate or None
        What people reach on the same scale, where that is defined.
    """

    estimate: Estimate
    resolvable: float
    ceiling: Estimate | None = None
    lower_is_better: bool = False

    @property
    def above_ceiling(self) -> bool:
        """Whether the score is better than its ceiling. Shown, never cut."""
        if self.ceiling is None:
            return False
        gap = self.estimate.value - self.ceiling.value
        return bool(gap < 0 if self.lower_is_better else gap > 0)

    def to_json(self) -> dict[str, Any]:
        """JSON object: every field, and ``above_ceiling``."""
        return {**super().to_json(), "above_ceiling": self.above_ceiling}


@dataclass(frozen=True, eq=False, repr=False)
class ScoreReport(Result):
    """Every score of one observer.

    Attributes
    ----------
    observer : str
    calibration : str
        Label of the calibration; ``uncalibrated`` for the identity.
    calibration_hash, study_hash : str
        What was used, and on which humans.
    simulated : bool
    source : str
        Of the answers.
    trials, answers, units : int
        Scored main trials, human answers to them, and units.
    left_out : int
        Main trials with human answers that the observer was not shown.
    unanswered : int
        Scored trials on which the observer gave no answer; each counts one half.
    scores : mapping of str to ScoreLine
        Keys are `HEADLINE`.
    ceilings : mapping of str to Estimate
        ``human_proportion_correct``, ``split_half_reliability``, ``binomial_reliability``,
        ``unit_ceiling`` (root of the split-half reliability), ``left_out_bits``,
        ``left_out_brier``, ``human_consistency``.
    strata : mapping of str to mapping of str to mapping of str to ScoreLine
        By stratum (``mode`` …), then level (``natural`` …), then score.
    reliability : ReliabilityDiagram
    conditions : DataFrame
        One row a condition; see `AlignedAnswers.by_condition`.
    level : float
    n_resamples, seed : int
    """

    observer: str
    calibration: str
    calibration_hash: str
    study_hash: str
    simulated: bool
    source: str
    trials: int
    answers: int
    units: int
    left_out: int
    scores: Mapping[str, ScoreLine]
    ceilings: Mapping[str, Estimate]
    strata: Mapping[str, Mapping[str, Mapping[str, ScoreLine]]]
    reliability: ReliabilityDiagram
    conditions: pd.DataFrame
    level: float
    n_resamples: int
    seed: int
    unanswered: int = 0

    shown_columns = ("by", "stratum", "score", "value", "low", "high", "ceiling", "reason")

    @property
    def calibrated(self) -> bool:
        """Whether the evidence was fitted to people before it was scored."""
        return self.calibration != Calibration.identity().label

    @property
    def title(self) -> str:
        """Whose scores these are, how calibrated, and on how much."""
        made_up = "simulated " if self.simulated else ""
        lost = f", {self.unanswered} without an answer of the observer" if self.unanswered else ""
        unseen = (
            f", {plural(self.left_out, 'more trial')} never shown to it" if self.left_out else ""
        )
        return (
            f"{self.observer}, {self.calibration}: {plural(self.trials, 'trial')}{lost}, "
            f"{plural(self.answers, f'{made_up}answer')}, {plural(self.units, 'unit')}{unseen}"
        )

    def __getitem__(self, name: str) -> ScoreLine:
        UnknownNameError.unless_among(name, self.scores, kind="score")
        return self.scores[name]

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the scores with their intervals; a tick marks each ceiling."""
        lines = [(name, line) for name, line in self.scores.items() if name != "coverage"]
        rows = [
            Interval(
                f"{name.replace('_', ' ')} ({line.estimate.unit})",
                line.estimate.value,
                line.estimate.low,
                line.estimate.high,
            )
            for name, line in lines
        ]
        ax = forest(rows, xlabel="score; | its ceiling", title=self.title, ax=ax)
        for place, (_, line) in enumerate(lines):
            if line.ceiling is not None and np.isfinite(line.ceiling.value):
                ax.plot([line.ceiling.value], [place], "|", color="0.3", markersize=12)
        return ax

    def to_frame(self) -> pd.DataFrame:
        """One row a score and stratum (``all`` for the whole)."""
        rows = [("all", "all", name, line) for name, line in self.scores.items()]
        for by, split in self.strata.items():
            for level, lines in split.items():
                rows += [(by, level, name, line) for name, line in lines.items()]
        return pd.DataFrame(
            [
                {
                    "observer": self.observer,
                    "calibration": self.calibration,
                    "by": by,
                    "stratum": level,
                    "score": name,
                    "value": line.estimate.value,
                    "low": line.estimate.low,
                    "high": line.estimate.high,
                    "unit": line.estimate.unit,
                    "n": line.estimate.n,
                    "clusters": line.estimate.clusters,
                    "method": line.estimate.method,
                    "reason": line.estimate.reason,
                    "resolvable": line.resolvable,
                    "ceiling": np.nan if line.ceiling is None else line.ceiling.value,
                    "above_ceiling": line.above_ceiling,
                }
                for by, level, name, line in rows
            ]
        )


@checked
def score(
    decisions: DecisionsLike,
    study: AnswersLike,
    *,
    calibration: CalibrationLike | None = None,
    uncalibrated: bool = False,
    calibrate_by: FoldsBy = "unit",
    by: Sequence[str] = ("mode", "difficulty"),
    columns: str | Path | pd.DataFrame | None = None,
    seed: int = 0,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> ScoreReport:
    """Score an observer against people, on main trials that both answered.

    Parameters
    ----------
    decisions : DecisionVariables, or what `DecisionVariables.read` takes
        A run, its folder, or a table.
    study : Study, or what `imi_bench.release.study_files.read_answers` takes
        The people's answers: ``"imi"``, a path, or a table.
    calibration : Calibration, str or Path, optional
        Turns evidence into predictions, each from a fit that never saw the trial's unit. By
        default fitted to these people, out of fold.
    uncalibrated : bool
        Fit nothing to people: slope 1, no lapse. The report then says ``uncalibrated``.
    calibrate_by : {"unit", "network"}
        What a fold of the default calibration keeps together.
    by : sequence of str
        Strata: ``mode``, ``difficulty``, ``network``, or columns of `columns`.
    columns : str or Path or DataFrame, optional
        What is known of layers or units, such as ``type`` and ``depth``; see
        `imi_bench.scores.strata.stratum_labels`.
    seed : int
        Of folds, split halves and draws.
    n_resamples : int
        Draws behind the intervals of scores that are not smooth: the correlations of network
        conditions. All others are by jackknife.
    level : float

    Returns
    -------
    ScoreReport

    Raises
    ------
    NotComparableError
        No trial in common, or the calibration is another observer's.
    LeakageError
        A trial would be scored by a fit that saw its unit.

    Examples
    --------
    >>> from imi_bench.simulation.demo import demo_data
    >>> from imi_bench.observers.reference import ideal
    >>> trials, people = demo_data(n_networks=1, n_batches=1, n_scenes=200, size=16)
    >>> best = ideal(trials, trials.blind(seed=0).key)
    >>> score(best, people, by=(), n_resamples=0)["proportion_correct"].estimate.value
    1.0
    """
    checked_level(level)
    fitted = calibration is None and not uncalibrated
    refuse_idle(
        "calibrate_by", calibrate_by, free="unit", unless=fitted, do="leave the calibration out"
    )
    decisions, study = DecisionVariables.read(decisions), read_answers(study)
    columns = columns if columns is None else read_columns(columns)
    used = calibration_for(
        decisions, study, calibration, uncalibrated=uncalibrated, by=calibrate_by, seed=seed
    )
    matched = align_answers(decisions, study, calibration=used)
    settings: dict[str, Any] = {"seed": seed, "n_resamples": n_resamples, "level": level}
    scores, ceilings = _score_all(matched, **settings)
    strata: dict[str, dict[str, Mapping[str, ScoreLine]]] = {}
    for name in by:
        labels = stratum_labels(matched.index, name, columns=columns)
        strata[name] = {
            part: _score_all(matched.take(labels == part), **settings)[0] for part in levels(labels)
        }
    return ScoreReport(
        observer=decisions.observer,
        calibration=used.label,
        calibration_hash=used.hash,
        study_hash=study.hash,
        simulated=study.responses.simulated,
        source=study.responses.source,
        trials=len(matched.index),
        answers=len(matched.trial),
        units=matched.n_units,
        left_out=matched.left_out,
        scores=scores,
        ceilings=ceilings,
        strata=strata,
        reliability=reliability_diagram(matched),
        conditions=matched.by_condition(),
        unanswered=int((~matched.answered).sum()),
        **settings,
    )


def leave_out(matched: AlignedAnswers, *, seed: int, n_draws: int) -> dict[str, Jackknife]:
    """Every score and ceiling on the data and without each cluster, the derived ones included.

    Derived: ``unit_ceiling``, the root of the split-half reliability; both unit correlations over
    it; and bits as a share of those that people predict of one another.
    """
    sums = Sums(
        units={
            **agreement.trial_sums(matched),
            **agreement.unit_sums(matched),
            **ceiling.split_half_sums(matched, seed=seed),
            **ceiling.binomial_sums(matched),
            **ceiling.pair_sums(matched),
        },
        answers={
            **consistency.consistency_answers(matched),
            **agreement.network_answers(matched),
            **likelihood.likelihood_answers(matched),
            **likelihood.reliability_answers(matched),
            **recalibration.recalibration_answers(matched),
            **ceiling.left_out_answers(matched),
        },
        unit_of_answer=matched.unit[matched.trial],
        participant=matched.participant,
        stratum=matched.network_of_unit,
    )
    scores = (
        *agreement.TRIALS,
        *agreement.unit_scores(matched),
        *agreement.NETWORKS,
        *consistency.CONSISTENCY,
        *likelihood.LIKELIHOOD,
        *likelihood.CALIBRATION_ERROR,
        *recalibration.RECALIBRATION,
        *ceiling.CEILINGS,
        *ceiling.LEFT_OUT,
    )
    found = jackknives(sums, scores, n_draws=n_draws, seed=seed)
    return found | _derived(found)


def _derived(found: Mapping[str, Jackknife]) -> dict[str, Jackknife]:
    no_ceiling = "people's proportions are not reliable: the ceiling is 0"
    root = combined(
        _line("unit_ceiling", "r", no_ceiling, ends=(0.0, 1.0)),
        lambda r: np.sqrt(np.where(r > 0, r, np.nan)),
        found["split_half_reliability"],
    )
    more = {"unit_ceiling": root}
    for name, unit in (("unit_pearson", "r"), ("unit_spearman", "rho")):
        line = _line(f"{name}_corrected", f"{unit} / ceiling", no_ceiling, scale="attenuated")
        more[line.name] = combined(line, np.divide, found[name], root)
    more[SHARE_OF_CEILING.name] = combined(
        SHARE_OF_CEILING, share_of, found["bits"], found["left_out_bits"]
    )
    return more


def share_of(score: Floats, most: Floats) -> Floats:
    """A score over its ceiling; NaN where the ceiling is not above zero."""
    return np.asarray(score / np.where(most > 0, most, np.nan))


def _line(name: str, unit: str, undefined: str, **facts: Any) -> Score:
    return Score(name, unit, lambda t: t[name], undefined=undefined, **facts)


SHARE_OF_CEILING = _line(
    "share_of_ceiling",
    "proportion",
    "people do not predict one another better than chance",
    scale="ratio",
)
"""Bits as a share of those that people predict of one another."""


def _score_all(
    matched: AlignedAnswers, *, seed: int, n_resamples: int, level: float
) -> tuple[dict[str, ScoreLine], dict[str, Estimate]]:
    found = leave_out(matched, seed=seed, n_draws=n_resamples)
    of_trials = ("proportion_correct", "coverage", "side_bias")

    def made(name: str) -> Estimate:
        return estimate(
            found[name],
            n=len(matched.index) if name in of_trials else len(matched.trial),
            clusters=matched.n_units,
            level=level,
        )

    ceilings = {name: made(name) for name in found if name not in HEADLINE}
    lines = {
        name: ScoreLine(
            made(name),
            resolvable_difference(found[name]),
            ceilings[CEILING_OF[name]] if name in CEILING_OF else None,
            name in _LOWER_IS_BETTER,
        )
        for name in HEADLINE
    }
    return lines, ceilings
