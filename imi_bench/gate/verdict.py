"""The gate: whether a new observer is no worse than a baseline on the same trials.

A non-inferiority test, paired by trial and clustered by unit. Let *drop* be the baseline's score
minus the new one's. With the one-sided confidence level 1 - alpha:

* **pass** if the upper bound of the drop lies below the margin,
* **worse** if its lower bound lies above the margin,
* **cannot tell** otherwise, with the number of trials that would settle it.

Strata (``by``) can only make it stricter: a stratum is worse by the same test with Holm's
correction over strata, or falls below its floor. References: Piaggio et al., JAMA 308:2594
(2012) for non-inferiority; the cluster-robust variance of a mean is CR1 (Cameron & Miller,
J. Human Resources 50:317, 2015), with t quantiles on clusters - 1 degrees of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from imi_bench.arrays import Floats
from imi_bench.errors import (
    InputError,
    NotComparableError,
    NotEnoughDataError,
    UnknownNameError,
)
from imi_bench.plots import Interval, forest
from imi_bench.release.study_files import AnswersLike, read_answers
from imi_bench.results import Brief, Result
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.multiplicity import holm
from imi_bench.stimuli.trial_table import HasTrials, TrialsLike, read_index
from imi_bench.tables import DecisionsLike, DecisionVariables, Responses, TrialIndex

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Verdict = Literal["pass", "worse", "cannot tell"]
SCORES = {
    "accuracy": "proportion of trials answered correctly, ties and missing answers one half",
    "human-agreement": "probability of agreeing with a randomly drawn human answer on the trial",
}
STRATA = ("mode", "difficulty", "network", "layer")
EXIT_CODES: Mapping[str, int] = {"pass": 0, "worse": 1, "cannot tell": 3}


@dataclass(frozen=True, repr=False)
class Comparison(Brief):
    """One paired comparison: of all trials, or of one stratum.

    Attributes
    ----------
    stratum : str
        ``all``, or ``difficulty=hard95`` and the like.
    baseline, new : Estimate
        Scores of the two, with two-sided intervals at 1 - 2 alpha.
    drop : Estimate
        Baseline minus new, interval at 1 - 2 alpha: its ends are the two one-sided bounds.
    p_worse : float
        One-sided p value of "the drop exceeds the margin".
    verdict : str
    trials_to_settle : int or None
        For ``cannot tell``: trials (same units drawn anew, same number a unit) at which a new
        observer that truly equals the baseline passes with 80% power.
    floor : float or None
        Lowest score allowed in this stratum.
    reason : str
        Why this verdict.
    """

    stratum: str
    baseline: Estimate
    new: Estimate
    drop: Estimate
    p_worse: float
    verdict: Verdict
    trials_to_settle: int | None
    floor: float | None
    reason: str


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
    """

    verdict: Verdict
    comparisons: tuple[Comparison, ...]
    score: str
    new: str
    baseline: str
    max_drop: float
    alpha: float

    shown_columns = ("stratum", "baseline", "new", "drop", "low", "high", "verdict")

    @property
    def exit_code(self) -> int:
        """0 pass, 1 worse, 3 cannot tell."""
        return EXIT_CODES[self.verdict]

    @property
    def passed(self) -> bool:
        """Whether the verdict is ``pass``; False where the data cannot tell."""
        return self.verdict == "pass"

    @property
    def sentence(self) -> str:
        """The verdict in one line, by the comparison that decides it."""
        agreeing = [c for c in self.comparisons if c.verdict == self.verdict]
        deciding = agreeing[0] if agreeing else self.comparisons[0]
        place = "" if deciding.stratum == "all" else f" in {deciding.stratum}"
        line = (
            f"{self.verdict}{place}: {self.score} of '{self.new}' against "
            f"'{self.baseline}': {deciding.reason} (confidence {1 - self.alpha:.0%}, one-sided)"
        )
        if deciding.trials_to_settle is not None:
            line += f"; about {deciding.trials_to_settle:,} trials would settle it"
        return line

    @property
    def title(self) -> str:
        """The verdict in one line."""
        return self.sentence

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
                    "p_worse": c.p_worse,
                    "verdict": c.verdict,
                    "trials": c.drop.n,
                    "units": c.drop.clusters,
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
        ax = forest(
            rows,
            xlabel=f"drop in {self.score} (dashed: tolerated)",
            title=f"{self.new} against {self.baseline}: {self.verdict}",
            reference=0.0,
            ax=ax,
        )
        ax.axvline(self.max_drop, color="0.3", linestyle="--", linewidth=0.8)
        return ax

    def to_json(self) -> dict[str, Any]:
        """JSON object with every number of the comparison."""
        rows = [
            {
                **{n: getattr(c, n) for n in ("stratum", "verdict", "p_worse", "reason", "floor")},
                "trials_to_settle": c.trials_to_settle,
                **{n: getattr(c, n).to_json() for n in ("baseline", "new", "drop")},
            }
            for c in self.comparisons
        ]
        names = ("verdict", "score", "new", "baseline", "max_drop", "alpha")
        return {**{name: getattr(self, name) for name in names}, "comparisons": rows}


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
) -> GateResult:
    """Compare a new observer with a baseline on the same trials.

    Parameters
    ----------
    new, against : DecisionVariables, or what `DecisionVariables.read` takes
        Runs, their folders or tables; the same trials, in any order.
    trials : TrialIndex, Trials, str or Path, optional
        Gives unit (the cluster) and strata of each trial; catch trials are left out. By default
        the trials of the new run, or those in its folder.
    score : str
        A name in `SCORES`.
    max_drop : float
        Margin in the score's unit; a drop up to it is tolerated.
    alpha : float
        One-sided error rate of each bound.
    by : str, optional
        Also compare within each value of ``mode``, ``difficulty``, ``network`` or ``layer``.
    floors : mapping, optional
        Lowest score allowed in each value of `by`.
    responses : Responses, or what `imi_bench.release.study_files.read_answers` takes, optional
        Needed by ``human-agreement``.

    Raises
    ------
    NotComparableError
        If the two did not answer the same trials.
    NotEnoughDataError
        With fewer than two units.
    InputError
        Unknown score or stratum, a margin that is negative, a floor without its stratum.

    Examples
    --------
    >>> from imi_bench.simulation.world import build
    >>> world = build(seed=0)
    >>> from imi_bench.observers.reference import ideal
    >>> ideal_answers = ideal(world.trials, world.trials.blind(seed=0).key)
    >>> gate(ideal_answers, against=ideal_answers, trials=world.trials.index).verdict
    'pass'
    """
    source = new
    new, against = DecisionVariables.read(new), DecisionVariables.read(against)
    shown = read_index(_trials_of(source) if trials is None else trials)
    people = _responses(responses)
    _check_arguments(score, max_drop, alpha, by, floors, people)
    index = _shared_trials(new, against, shown)
    scores = [_per_trial(d, index, score, people) for d in (against, new)]
    kept = ~np.isnan(scores[0])
    strata: list[tuple[str, NDArray[np.bool_], float | None]] = [("all", kept, None)]
    if by is not None:
        column = getattr(index, by).astype(str)
        present = list(dict.fromkeys(column[kept].tolist()))
        if absent := sorted(set(floors or {}) - set(present)):
            raise InputError(f"floor for a {by} without trials", found=absent, wanted=present)
        strata += [(f"{by}={v}", kept & (column == v), (floors or {}).get(v)) for v in present]
    comparisons = [
        _compare(
            name,
            baseline=scores[0][mask],
            new=scores[1][mask],
            unit=index.unit_id[mask],
            margin=(max_drop, alpha, floor),
        )
        for name, mask, floor in strata
    ]
    comparisons[1:] = _surviving(comparisons[1:], alpha)
    return GateResult(
        _overall(comparisons),
        tuple(comparisons),
        score,
        new.observer,
        against.observer,
        max_drop,
        alpha,
    )


def _trials_of(new: DecisionsLike) -> TrialsLike:
    """The trials that a run carries or that lie in its folder."""
    if isinstance(new, str | Path):
        return new
    if isinstance(new, HasTrials):
        return new.trials
    raise InputError(
        "bare decisions do not say what the trials are about",
        found=type(new).__name__,
        wanted="a run or its folder",
        do="give trials=…",
    )


def _responses(responses: Responses | AnswersLike | None) -> Responses | None:
    if responses is None or isinstance(responses, Responses):
        return responses
    return read_answers(responses).responses


def _check_arguments(
    score: str,
    max_drop: float,
    alpha: float,
    by: str | None,
    floors: Mapping[str, float] | None,
    responses: Responses | None,
) -> None:
    if score not in SCORES:
        raise UnknownNameError.among(score, SCORES, kind="score")
    if by is not None and by not in STRATA:
        raise UnknownNameError.among(by, STRATA, kind="stratum")
    if not 0 <= max_drop < 1:
        raise InputError("margin out of range", found=max_drop, wanted="at least 0, below 1")
    if not 0 < alpha < 0.5:
        raise InputError("alpha out of range", found=alpha, wanted="between 0 and 0.5")
    if floors and by is None:
        raise InputError("a floor needs its stratum", do="add --by")
    if score == "human-agreement" and responses is None:
        raise InputError("score 'human-agreement' needs human answers", do="add --responses")


def _shared_trials(
    new: DecisionVariables, against: DecisionVariables, trials: TrialIndex
) -> TrialIndex:
    ours, theirs = set(new.trial_id.tolist()), set(against.trial_id.tolist())
    if ours != theirs:
        raise NotComparableError(
            "the two did not answer the same trials",
            where=f"'{new.observer}' against '{against.observer}'",
            found=f"{len(theirs - ours)} trials only in the baseline, "
            f"{len(ours - theirs)} only in the new one, {len(ours & theirs)} in both",
            do="run both on one trial table",
        )
    known = np.isin(trials.trial_id.astype(str), new.trial_id.astype(str))
    if known.sum() != len(ours):
        raise NotComparableError(
            "answers to trials that are not in the trial table",
            found=f"{len(ours) - int(known.sum())} of {len(ours)} trials unknown",
            do="give the table both were run on",
        )
    return trials.take(known & ~trials.catch)


def _per_trial(
    decisions: DecisionVariables, index: TrialIndex, score: str, responses: Responses | None
) -> Floats:
    rows = pd.Index(decisions.trial_id).get_indexer(pd.Index(index.trial_id))
    credit: Floats = decisions.credit[rows]
    if responses is None or score == "accuracy":
        return credit
    humans = pd.Series(responses.correct.astype(float)).groupby(responses.trial_id).mean()
    correct = humans.reindex(index.trial_id).to_numpy(dtype=np.float64)
    agreement: Floats = credit * correct + (1 - credit) * (1 - correct)
    return agreement


def _compare(
    stratum: str,
    *,
    baseline: Floats,
    new: Floats,
    unit: NDArray[np.object_],
    margin: tuple[float, float, float | None],
) -> Comparison:
    max_drop, alpha, floor = margin
    drop, error, clusters = _clustered_mean(baseline - new, unit, stratum)
    t = stats.t(df=clusters - 1)
    low, high = drop - t.ppf(1 - alpha) * error, drop + t.ppf(1 - alpha) * error
    if error > 0:
        p_worse = float(t.sf((drop - max_drop) / error))
    else:
        p_worse = 0.0 if drop > max_drop else 1.0
    estimates = [_estimate(values, unit, stratum, alpha) for values in (baseline, new)]
    verdict, reason = _verdict(low, high, max_drop)
    if floor is not None and verdict != "worse":
        verdict, reason = _floor_verdict(estimates[1], floor, verdict, reason)
    settle = None
    if verdict == "cannot tell" and max_drop > 0:
        quantiles = stats.norm.ppf(1 - alpha) + stats.norm.ppf(0.8)
        settle = math.ceil(len(new) * (quantiles * error / max_drop) ** 2)
    return Comparison(
        stratum=stratum,
        baseline=estimates[0],
        new=estimates[1],
        drop=Estimate(
            drop, low, high, level=1 - 2 * alpha, method=_METHOD, n=len(new), clusters=clusters
        ),
        p_worse=p_worse,
        verdict=verdict,
        trials_to_settle=settle,
        floor=floor,
        reason=reason,
    )


_METHOD = "cluster-robust by unit (CR1, t)"


def _clustered_mean(
    values: Floats, unit: NDArray[np.object_], stratum: str
) -> tuple[float, float, int]:
    names, codes = np.unique(unit.astype(str), return_inverse=True)
    clusters = len(names)
    if clusters < 2:
        raise NotEnoughDataError(
            "too few units to compare", where=stratum, found=clusters, wanted="at least 2"
        )
    mean = float(values.mean())
    sums = np.bincount(codes, weights=values - mean)
    variance = clusters / (clusters - 1) * float(sums @ sums) / len(values) ** 2
    return mean, math.sqrt(variance), clusters


def _estimate(values: Floats, unit: NDArray[np.object_], stratum: str, alpha: float) -> Estimate:
    mean, error, clusters = _clustered_mean(values, unit, stratum)
    half = float(stats.t.ppf(1 - alpha, clusters - 1)) * error
    return Estimate(
        mean,
        mean - half,
        mean + half,
        level=1 - 2 * alpha,
        method=_METHOD,
        n=len(values),
        clusters=clusters,
    )


def _verdict(low: float, high: float, max_drop: float) -> tuple[Verdict, str]:
    if high < max_drop or (low == high == max_drop):
        return "pass", f"the drop is below {max_drop:g}: at most {high:.4f}"
    if low > max_drop:
        return "worse", f"the drop exceeds {max_drop:g}: at least {low:.4f}"
    return "cannot tell", f"the drop lies between {low:.4f} and {high:.4f}, margin {max_drop:g}"


def _floor_verdict(
    new: Estimate, floor: float, verdict: Verdict, reason: str
) -> tuple[Verdict, str]:
    if new.high < floor:
        return "worse", f"below its floor {floor:g}: at most {new.high:.4f}"
    if new.low < floor:
        return "cannot tell", f"floor {floor:g} lies in [{new.low:.4f}, {new.high:.4f}]"
    return verdict, reason


def _surviving(strata: list[Comparison], alpha: float) -> list[Comparison]:
    """A stratum stays "worse" by its drop only if it survives Holm's correction over strata."""
    adjusted = holm([c.p_worse for c in strata])
    below_floor = [c.floor is not None and c.new.high < c.floor for c in strata]
    return [
        replace(c, verdict="cannot tell", reason=f"{c.reason}; not after Holm's correction")
        if c.verdict == "worse" and p > alpha and not under
        else c
        for c, p, under in zip(strata, adjusted, below_floor, strict=True)
    ]


def _overall(comparisons: list[Comparison]) -> Verdict:
    """Worse anywhere is worse; a floor not shown to hold, or the whole undecided, is undecided."""
    if any(c.verdict == "worse" for c in comparisons):
        return "worse"
    undecided_floor = any(c.floor is not None and c.new.low < c.floor for c in comparisons)
    return "cannot tell" if undecided_floor else comparisons[0].verdict
