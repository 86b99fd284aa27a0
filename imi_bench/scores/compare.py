"""Observers against one another: paired differences on the same trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from imi_bench.arguments import checked, checked_level, refuse_idle
from imi_bench.choice.calibrate import CalibrationLike, calibration_for
from imi_bench.choice.folds import FoldsBy
from imi_bench.errors import InputError, NotComparableError, UnknownNameError
from imi_bench.plots import Interval, forest
from imi_bench.release.study_files import AnswersLike, read_answers
from imi_bench.results import Record, Result
from imi_bench.scores.alignment import AlignedAnswers, align_answers
from imi_bench.scores.report import HEADLINE, leave_out
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.intervals import gap
from imi_bench.stats.jackknife import Jackknife
from imi_bench.stats.multiplicity import holm
from imi_bench.tables import DecisionsLike, DecisionVariables, names_apart
from imi_bench.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes


COMPARED = (
    "proportion_correct",
    "unit_pearson",
    "unit_spearman",
    "bits",
    "brier",
    "error_consistency",
)
"""The scores compared by default."""


@dataclass(frozen=True, repr=False)
class Difference(Record):
    """One observer's score less another's.

    Attributes
    ----------
    score, first, second : str
    values : tuple of float
        The two scores.
    difference : Estimate
        First less second, with the interval of the paired difference (not adjusted).
    p : float
        Two-sided, by t with the two-way cluster-robust jackknife's standard error (see
        `imi_bench.stats.jackknife`); NaN where the difference is undefined.
    p_holm : float
        Adjusted by Holm's method over all pairs of observers, each score a family of its own.
    resolvable : float
        Smallest true difference these data would show for this pair (80 % power, two-sided 5 %).
    """

    score: str
    first: str
    second: str
    values: tuple[float, float]
    difference: Estimate
    p: float
    p_holm: float
    resolvable: float


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Result):
    """All pairs of some observers.

    Attributes
    ----------
    differences : tuple of Difference
    trials, answers, units : int
        What all observers and people have in common.
    simulated : bool
    study_hash : str
    calibrations, calibration_hashes : mapping of str to str
        How each observer's evidence was turned into predictions: label and hash of its
        calibration, by observer; ``uncalibrated`` for none.
    n_resamples, seed : int
    unanswered : mapping of str to int
        Shared trials on which an observer gave no answer, by observer; each counts one half.
    """

    differences: tuple[Difference, ...]
    trials: int
    answers: int
    units: int
    simulated: bool
    study_hash: str
    calibrations: Mapping[str, str]
    calibration_hashes: Mapping[str, str]
    n_resamples: int
    seed: int
    unanswered: Mapping[str, int] = field(default_factory=dict)

    shown_columns = ("score", "first", "second", "difference", "low", "high", "p_holm")

    @property
    def title(self) -> str:
        """How much is compared, and how it was calibrated."""
        labels = sorted(set(self.calibrations.values()))
        each = "; ".join(f"{name}: {label}" for name, label in self.calibrations.items())
        made_up = "simulated " if self.simulated else ""
        lost = ", ".join(f"{n} of {name}" for name, n in self.unanswered.items() if n)
        missing = f"; without an answer: {lost}" if lost else ""
        return (
            f"{plural(self.trials, 'shared trial')}, "
            f"{plural(self.answers, f'{made_up}answer')}, {plural(self.units, 'unit')}; "
            f"calibration: {labels[0] if len(labels) == 1 else each}{missing}"
        )

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw every paired difference with its interval."""
        rows = [
            Interval(
                f"{one.score.replace('_', ' ')}: {one.first} - {one.second}",
                one.difference.value,
                one.difference.low,
                one.difference.high,
            )
            for one in self.differences
        ]
        return forest(rows, xlabel="difference", title=self.title, reference=0.0, ax=ax)

    def to_json(self) -> dict[str, Any]:
        """JSON object; the differences come last."""
        record = super().to_json()
        differences = record.pop("differences")
        return {**record, "differences": differences}

    def to_frame(self) -> pd.DataFrame:
        """One row a difference."""
        return pd.DataFrame(
            [
                {
                    "score": found.score,
                    "first": found.first,
                    "second": found.second,
                    "first_value": found.values[0],
                    "second_value": found.values[1],
                    "difference": found.difference.value,
                    "low": found.difference.low,
                    "high": found.difference.high,
                    "p": found.p,
                    "p_holm": found.p_holm,
                    "resolvable": found.resolvable,
                }
                for found in self.differences
            ]
        )


@checked
def compare(
    decisions: Sequence[DecisionsLike],
    study: AnswersLike,
    *,
    calibrations: Mapping[str, CalibrationLike] | None = None,
    uncalibrated: bool = False,
    calibrate_by: FoldsBy = "unit",
    scores: Sequence[str] = COMPARED,
    seed: int = 0,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> Comparison:
    """Compare every pair of observers on the trials that all of them and people answered.

    A difference's standard error is that of what each unit (and participant, for scores over single
    answers) moves it by, so what makes a unit hard for both cancels.

    Parameters
    ----------
    decisions : sequence of DecisionVariables, or of what `DecisionVariables.read` takes
        Two or more observers; versions of one observer are named by their folders, or by their
        place in the list.
    study : Study, or what `imi_bench.release.study_files.read_answers` takes
    calibrations : mapping of str to Calibration, str or Path, optional
        By observer's name; for the others one is fitted to these people, out of fold.
    uncalibrated : bool
        Fit nothing to people; the result then says ``uncalibrated``.
    calibrate_by : {"unit", "network"}
        What a fold of the default calibration keeps together.
    scores : sequence of str
        Names of `imi_bench.scores.report.HEADLINE`.
    seed, n_resamples : int
        Of folds, split halves and draws, as in `imi_bench.scores.report.score`.
    level : float

    Raises
    ------
    InputError
        Fewer than two observers.
    UnknownNameError
        No such score; a calibration of an observer that is not compared.
    NotComparableError
        No main trial with human answers was shown to all of them.

    Examples
    --------
    >>> import dataclasses
    >>> from imi_bench.observers.reference import ideal
    >>> from imi_bench.simulation.demo import demo_data
    >>> trials, people = demo_data(n_networks=1, n_batches=1, n_scenes=200, size=16)
    >>> best = ideal(trials, trials.blind(seed=0).key)
    >>> twin = dataclasses.replace(best, observer="twin")
    >>> found = compare([best, twin], people, scores=["bits"], n_resamples=20)
    >>> found.differences[0].difference.value
    0.0
    """
    checked_level(level)
    read = [DecisionVariables.read(one) for one in decisions]
    labels = names_apart([one.observer for one in read], decisions)
    compared = [replace(one, observer=name) for one, name in zip(read, labels, strict=True)]
    study = read_answers(study)
    names = [one.observer for one in compared]
    if len(names) < 2:
        raise InputError(
            "cannot compare these observers",
            found=", ".join(names) or "none",
            wanted="two or more",
        )
    if not scores:
        raise InputError("no score to compare", found="none", wanted="one or more")
    scores = tuple(dict.fromkeys(scores))  # asked twice, it is one question for Holm's adjustment
    for name in scores:
        UnknownNameError.unless_among(name, HEADLINE, kind="score")
    given = dict(calibrations or {})
    fitted = not uncalibrated and not {*names} <= {*given}
    refuse_idle(
        "calibrate_by", calibrate_by, free="unit", unless=fitted, do="leave the calibrations out"
    )
    for name in given:
        UnknownNameError.unless_among(name, names, kind="observer with a calibration")
    used = {
        one.observer: calibration_for(
            one,
            study,
            given.get(one.observer),
            uncalibrated=uncalibrated,
            by=calibrate_by,
            seed=seed,
        )
        for one in compared
    }
    matched = [align_answers(one, study, calibration=used[one.observer]) for one in compared]
    shared = _on_shared_trials(matched)
    left_out = [leave_out(one, seed=seed, n_draws=n_resamples) for one in shared]
    found = [
        _difference(
            name, (names[i], names[j]), (left_out[i][name], left_out[j][name]), shared[i], level
        )
        for i, j in combinations(range(len(names)), 2)
        for name in scores
    ]
    return Comparison(
        differences=_adjusted(found),
        trials=len(shared[0].index),
        answers=len(shared[0].trial),
        units=shared[0].n_units,
        simulated=study.responses.simulated,
        study_hash=study.hash,
        calibrations={name: one.label for name, one in used.items()},
        calibration_hashes={name: one.hash for name, one in used.items()},
        n_resamples=n_resamples,
        seed=seed,
        unanswered={
            name: int((~one.answered).sum()) for name, one in zip(names, shared, strict=True)
        },
    )


def _on_shared_trials(matched: Sequence[AlignedAnswers]) -> list[AlignedAnswers]:
    common = set.intersection(*(set(one.index.trial_id.tolist()) for one in matched))
    if not common:
        raise NotComparableError(
            "no trial in common",
            where=" and ".join(f"'{one.observer}'" for one in matched),
            wanted="main trials with human answers, shown to each observer",
        )
    return [one.take(np.isin(one.index.trial_id.astype(str), sorted(common))) for one in matched]


def _difference(
    name: str,
    observers: tuple[str, str],
    pair: tuple[Jackknife, Jackknife],
    shared: AlignedAnswers,
    level: float,
) -> Difference:
    found = gap(*pair, n=len(shared.trial), clusters=shared.n_units, level=level)
    values = (pair[0].value, pair[1].value)
    nan = float("nan")
    return Difference(
        name, *observers, values, found.estimate, p=found.p, p_holm=nan, resolvable=found.resolvable
    )


def _adjusted(found: Sequence[Difference]) -> tuple[Difference, ...]:
    """Holm within each score."""
    adjusted = holm([one.p for one in found], [one.score for one in found]).tolist()
    return tuple(replace(one, p_holm=p) for one, p in zip(found, adjusted, strict=True))
