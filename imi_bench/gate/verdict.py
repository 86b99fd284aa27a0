"""The gate: whether a new observer is no worse than a baseline on the same trials.

A non-inferiority test, paired by trial and clustered by unit. Let *drop* be the baseline's score
minus the new one's. With the one-sided confidence level 1 - alpha:

* **pass** if the drop is shown to be below the margin,
* **worse** if it is shown to be above the margin,
* **cannot tell** otherwise, with the number of trials that would settle it, if any would; and,
  before all else, where more than 2 % of the trials (of all or of a stratum) have no answer.

Strata (``by``) and floors can only make it stricter: "worse" is said of all trials, of a stratum
or of a floor after Holm's correction over all of them. The tests are those of
`imi_bench.gate.bounds`; their error rates are in ``docs/gate.md``. Reference for non-inferiority:
Piaggio et al., JAMA 308:2594 (2012).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from imi_bench.arguments import checked
from imi_bench.arrays import Bools
from imi_bench.errors import InputError, NotComparableError, NotEnoughDataError, UnknownNameError
from imi_bench.gate.comparison import Comparison, Rules, Verdict, compare, judge
from imi_bench.gate.runs import GivenRun, given_run
from imi_bench.gate.trial_scores import SCORES, trial_scores
from imi_bench.plots import Interval, forest
from imi_bench.release.study_files import AnswersLike, read_answers
from imi_bench.results import Result
from imi_bench.stimuli.trial_table import TrialsLike, read_index
from imi_bench.tables import (
    DecisionsLike,
    DecisionVariables,
    Responses,
    Strings,
    Study,
    TrialIndex,
    names_apart,
)
from imi_bench.tables.align import rows_of
from imi_bench.text import one_line, plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["EXIT_CODES", "SCORES", "STRATA", "Comparison", "GateResult", "Verdict", "gate"]

STRATA = ("mode", "difficulty", "network", "layer")
EXIT_CODES: Mapping[str, int] = {"pass": 0, "worse": 1, "cannot tell": 3}
LEAST_COVERAGE = 0.98
_FEWEST_BITS = -40.0


@dataclass(frozen=True, repr=False)
class GateResult(Result):
    """The gate's answer.

    Attributes
    ----------
    verdict : str
        ``pass``, ``worse`` or ``cannot tell``.
    comparisons : tuple of Comparison
        All trials first, then the strata.
    score, new, baseline : str
        Name of the score and of the two observers.
    max_drop, alpha : float
        Margin and one-sided error rate.
    least_coverage : float
        Share of the trials that each run must have answered for any verdict.
    simulated : bool or None
        Whether the trials (or the people) are made up; None where no run says.
    calibration : str
        How decision variables became predictions of people; ``none`` where they did not have to.
    calibration_hashes : tuple of str
        Of baseline and new run; empty without calibration.
    """

    verdict: Verdict
    comparisons: tuple[Comparison, ...]
    score: str
    new: str
    baseline: str
    max_drop: float
    alpha: float
    least_coverage: float = LEAST_COVERAGE
    simulated: bool | None = None
    calibration: str = "none"
    calibration_hashes: tuple[str, ...] = ()

    shown_columns = ("stratum", "baseline", "new", "drop", "low", "high", "verdict")

    @property
    def exit_code(self) -> int:
        """0 pass, 1 worse, 3 cannot tell."""
        return EXIT_CODES[self.verdict]

    @property
    def passed(self) -> bool:
        """Whether the verdict is ``pass``; "cannot tell" is none."""
        return self.verdict == "pass"

    @property
    def sentence(self) -> str:
        """The verdict in one line, by the comparison that decides it."""
        deciding = self._deciding
        place = "" if deciding.stratum == "all" else f" in {deciding.stratum}"
        line = (
            f"{self.verdict}{place}: {self.score} of '{self.new}' against '{self.baseline}': "
            f"{deciding.reason} (confidence {1 - self.alpha:.0%}, one-sided)"
        )
        if self.verdict == "cannot tell" and deciding.drop.clusters > 1:
            if deciding.trials_to_settle is not None:
                line += f"; about {plural(deciding.trials_to_settle, 'trial')} would settle it"
            elif self._answered_enough(deciding):
                line += "; no number of trials would settle it"
        if self.simulated:
            line += " [simulated data]"
        return one_line(line)

    @property
    def title(self) -> str:
        """The verdict in one line."""
        return self.sentence

    @property
    def _deciding(self) -> Comparison:
        """What the verdict rests on: for "cannot tell", the whole or an open floor."""
        if self.verdict != "cannot tell":
            return next(c for c in self.comparisons if c.verdict == self.verdict)
        whole = self.comparisons[0]
        if whole.verdict != "pass":
            return whole
        return next(c for c in self.comparisons if not c.held or not self._answered_enough(c))

    def _answered_enough(self, c: Comparison) -> bool:
        return min(c.coverage_baseline, c.coverage_new) >= self.least_coverage

    def to_frame(self) -> pd.DataFrame:
        """One row a comparison."""
        return pd.DataFrame(
            [
                {
                    "stratum": c.stratum,
                    "baseline": c.baseline.value,
                    "new": c.new.value,
                    "drop": c.drop.value,
                    "low": c.drop.low,
                    "high": c.drop.high,
                    "p_pass": c.p_pass,
                    "p_worse": c.p_worse,
                    "verdict": c.verdict,
                    "trials": c.drop.n,
                    "units": c.drop.clusters,
                    "coverage_baseline": c.coverage_baseline,
                    "coverage_new": c.coverage_new,
                    "unanswered_baseline": sum(c.lost_baseline.values()),
                    "unanswered_new": sum(c.lost_new.values()),
                    "trials_to_settle": c.trials_to_settle,
                    "floor": c.floor,
                    "reason": c.reason,
                }
                for c in self.comparisons
            ]
        )

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw each drop with its interval, and the margin."""
        rows = [
            Interval(c.stratum, c.drop.value, c.drop.low, c.drop.high) for c in self.comparisons
        ]
        made_up = " (simulated data)" if self.simulated else ""
        ax = forest(
            rows,
            xlabel=f"drop in {self.score} (dashed: tolerated){made_up}",
            title=f"{self.new} against {self.baseline}: {self.verdict}",
            reference=0.0,
            ax=ax,
        )
        ax.axvline(self.max_drop, color="0.3", linestyle="--", linewidth=0.8)
        return ax


@checked
def gate(
    new: DecisionsLike,
    *,
    against: DecisionsLike,
    trials: TrialsLike | None = None,
    score: str = "accuracy",
    max_drop: float = 0.01,
    alpha: float = 0.05,
    by: str | None = None,
    floors: Mapping[str, float] | None = None,
    responses: Responses | AnswersLike | None = None,
    least_coverage: float = LEAST_COVERAGE,
) -> GateResult:
    """Compare a new observer with a baseline on the same trials.

    Parameters
    ----------
    new, against : DecisionsLike
        Run, folder of a run, or DecisionVariables
        The same trials, in any order.
    trials : TrialIndex, Trials, str or Path, optional
        Gives unit (the cluster) and strata of each trial; catch trials are left out. By default
        those that the new run (or else the baseline) carries.
    score : str
        A name in `SCORES`.
    max_drop : float
        Margin in the score's unit; a drop up to it is tolerated.
    alpha : float
        One-sided error rate of "pass" and of "worse".
    by : str, optional
        Also compare within each value of ``mode``, ``difficulty``, ``network`` or ``layer``.
    floors : mapping, optional
        Lowest score allowed in each value of `by`.
    responses : Responses, or what `imi_bench.release.study_files.read_answers` takes, optional
        Needed by ``human-agreement`` and ``bits``.
    least_coverage : float
        Share of the trials, of all and of each stratum, that each run must have answered; with
        fewer the verdict is "cannot tell" before drops are looked at. A trial without an answer
        (refused, filtered, unparsed, truncated, option missing, error) counts as a guess in the
        score, so two runs that answer nothing are equal and show nothing.

    Raises
    ------
    NotComparableError
        If the two did not answer the same trials.
    NotEnoughDataError
        With fewer than two units.
    InputError
        Unknown score or stratum, a margin or a floor out of range, a floor without its stratum,
        no trials.

    Examples
    --------
    >>> from imi_bench.simulation.world import build
    >>> world = build(seed=0)
    >>> from imi_bench.observers.reference import ideal
    >>> ideal_answers = ideal(world.trials, world.trials.blind(seed=0).key)
    >>> gate(ideal_answers, against=ideal_answers, trials=world.trials.index, max_drop=0.1).verdict
    'pass'
    """
    _check_arguments(score, max_drop, alpha, by, least_coverage)
    _check_floors(floors or {}, by, score)
    runs = given_run(against), given_run(new)
    people = _people(responses)
    index = _shared_trials(runs, None if trials is None else read_index(trials))
    decisions = runs[0].decisions, runs[1].decisions
    found = trial_scores(score, decisions, index, people)
    kept = ~np.isnan(found.baseline) & ~np.isnan(found.new)
    rules = Rules(
        max_drop,
        alpha,
        least_coverage,
        largest=found.largest,
        share=score != "bits",
        unit="bits/answer" if score == "bits" else "proportion",
    )
    status = tuple(_status(run, index) for run in decisions)
    strata = _strata(index, kept, by, floors or {})
    if len(np.unique(index.unit_id[kept].astype(str))) < 2:
        raise NotEnoughDataError(
            "too few units to compare",
            where="all",
            found=len(np.unique(index.unit_id[kept].astype(str))),
            wanted="at least 2 with trials that the score is defined on",
        )
    comparisons = judge(
        [
            compare(
                name,
                scores=(found.baseline[mask], found.new[mask]),
                status=(status[0][mask], status[1][mask]),
                unit=index.unit_id[mask],
                floor=floor,
                rules=rules,
            )
            for name, mask, floor in strata
        ],
        rules,
    )
    names = [one.observer for one in decisions]
    baseline, newer = names_apart(names, (against, new), otherwise=("baseline", "new"))
    return GateResult(
        verdict=_overall(comparisons, least_coverage),
        comparisons=tuple(comparisons),
        score=score,
        new=newer,
        baseline=baseline,
        max_drop=max_drop,
        alpha=alpha,
        least_coverage=least_coverage,
        simulated=_simulated(runs, people),
        calibration=found.calibration,
        calibration_hashes=found.calibration_hashes,
    )


def _people(responses: Responses | AnswersLike | None) -> Study | Responses | None:
    if responses is None or isinstance(responses, Responses):
        return responses
    return read_answers(responses)


def _check_arguments(
    score: str, max_drop: float, alpha: float, by: str | None, least_coverage: float
) -> None:
    UnknownNameError.unless_among(score, SCORES, kind="score")
    if by is not None and by not in STRATA:
        raise UnknownNameError.among(by, STRATA, kind="stratum")
    if not 0 <= max_drop < 1:
        raise InputError("margin out of range", found=max_drop, wanted="at least 0, below 1")
    if not 0 < alpha < 0.5:
        raise InputError("alpha out of range", found=alpha, wanted="between 0 and 0.5")
    if not 0 < least_coverage <= 1:
        raise InputError(
            "least coverage out of range", found=least_coverage, wanted="above 0, at most 1"
        )


def _check_floors(floors: Mapping[str, float], by: str | None, score: str) -> None:
    if floors and by is None:
        raise InputError("a floor needs its stratum", do="add by=")
    lowest = _FEWEST_BITS if score == "bits" else 0.0
    for name, floor in floors.items():
        if not (math.isfinite(floor) and lowest <= floor <= 1):
            raise InputError(
                "floor out of range", where=name, found=floor, wanted=f"{lowest:g} to 1"
            )


def _strata(
    index: TrialIndex, kept: Bools, by: str | None, floors: Mapping[str, float]
) -> list[tuple[str, Bools, float | None]]:
    strata: list[tuple[str, Bools, float | None]] = [("all", kept, None)]
    if by is None:
        return strata
    column = getattr(index, by).astype(str)
    present = list(dict.fromkeys(column[kept].tolist()))
    if absent := sorted(set(floors) - set(present)):
        raise InputError(f"floor for a {by} without trials", found=absent, wanted=present)
    return strata + [(f"{by}={v}", kept & (column == v), floors.get(v)) for v in present]


def _shared_trials(runs: tuple[GivenRun, GivenRun], trials: TrialIndex | None) -> TrialIndex:
    against, new = (run.decisions for run in runs)
    if trials is None:
        trials = runs[1].index if runs[1].index is not None else runs[0].index
    if trials is None:
        raise InputError(
            "no trial table",
            where=f"'{new.observer}'",
            wanted="the table both were run on",
            do="give trials=",
        )
    ours, theirs = set(new.trial_id.tolist()), set(against.trial_id.tolist())
    if ours != theirs:
        raise NotComparableError(
            "the two did not answer the same trials",
            where=f"'{new.observer}' against '{against.observer}'",
            found=f"{plural(len(theirs - ours), 'trial')} only in the baseline, "
            f"{len(ours - theirs)} only in the new one, {len(ours & theirs)} in both",
            do="run both on one trial table",
        )
    known = np.isin(trials.trial_id.astype(str), new.trial_id.astype(str))
    if known.sum() != len(ours):
        raise NotComparableError(
            "answers to trials that are not in the trial table",
            found=f"{len(ours) - int(known.sum())} of {plural(len(ours), 'trial')} unknown",
            do="give the table both were run on",
        )
    return trials.take(known & ~trials.catch)


def _status(run: DecisionVariables, index: TrialIndex) -> Strings:
    return run.status[rows_of(index.trial_id, among=run.trial_id)]


def _simulated(runs: tuple[GivenRun, GivenRun], responses: Study | Responses | None) -> bool | None:
    people = responses.responses if isinstance(responses, Study) else responses
    said = [run.simulated for run in runs] + [None if people is None else people.simulated]
    known = [one for one in said if one is not None]
    return any(known) if known else None


def _overall(comparisons: list[Comparison], least: float) -> Verdict:
    """What the comparisons say together.

    Worse anywhere is worse, since it is said only where enough trials have an answer; a floor not
    shown to hold, too few answers in any stratum, or the whole undecided, is undecided.
    """
    if any(c.verdict == "worse" for c in comparisons):
        return "worse"
    enough = all(min(c.coverage_baseline, c.coverage_new) >= least for c in comparisons)
    if enough and comparisons[0].verdict == "pass" and all(c.held for c in comparisons):
        return "pass"
    return "cannot tell"
