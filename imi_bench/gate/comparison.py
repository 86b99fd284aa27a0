"""One comparison of the gate: all trials, or one stratum."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from imi_bench.arrays import Floats
from imi_bench.gate.bounds import Moments, UnitSums, interval, p_at_least, p_at_most
from imi_bench.results import NOT_IN_JSON, Record
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.multiplicity import holm
from imi_bench.tables import ANSWERED, Strings, codes

__all__ = ["Comparison", "Rules", "Verdict", "compare", "judge"]

Verdict = Literal["pass", "worse", "cannot tell"]
METHOD = "by unit: CR2 with Bell-McCaffrey t, exact for rare changes"
_POWER_80 = 0.8416212335729143
_MOST_GROWTH = 1e6
_ONE_UNIT = "one unit is no sample of units"


@dataclass(frozen=True)
class Rules:
    """What is asked of a comparison.

    Attributes
    ----------
    max_drop, alpha, least_coverage : float
        As in `imi_bench.gate.verdict.gate`.
    largest : float
        Largest difference that one trial can show, in the score's unit.
    share : bool
        The score of a trial lies between 0 and 1.
    unit : str
        Unit of the score.
    """

    max_drop: float
    alpha: float
    least_coverage: float
    largest: float = 1.0
    share: bool = True
    unit: str = "proportion"


@dataclass(frozen=True, repr=False)
class Comparison(Record):
    """One paired comparison: of all trials, or of one stratum.

    Attributes
    ----------
    stratum : str
        ``all``, or ``difficulty=hard95`` and the like.
    baseline, new : Estimate
        Scores of the two, with two-sided intervals at 1 - 2 alpha.
    drop : Estimate
        Baseline minus new, interval at 1 - 2 alpha: its ends are the two one-sided bounds.
    p_pass, p_worse : float
        One-sided p values of "the drop is at least the margin" and "at most the margin", not
        adjusted; NaN in a stratum of one unit.
    coverage_baseline, coverage_new : float
        Share of the trials that each answered; a trial without an answer earns what a guess does.
    lost_baseline, lost_new : mapping of str to int
        Trials without an answer by status: ``refused``, ``filtered``, ``unparsed``, ``truncated``,
        ``option missing``, ``error``.
    floor : float or None
        Lowest score allowed in this stratum.
    p_held, p_below : float
        One-sided p values of "the new score is below its floor" and "is not"; NaN without a floor.
    verdict : str
    reason : str
        Why this verdict.
    trials_to_settle : int or None
        For ``cannot tell``: trials (units drawn anew, as many trials a unit) at which a drop as
        large as the one seen would be told, four times in five; None where no number would do.
    """

    stratum: str
    baseline: Estimate
    new: Estimate
    drop: Estimate
    p_pass: float
    p_worse: float
    coverage_baseline: float
    coverage_new: float
    lost_baseline: Mapping[str, int] = field(default_factory=dict)
    lost_new: Mapping[str, int] = field(default_factory=dict)
    floor: float | None = None
    p_held: float = math.nan
    p_below: float = math.nan
    verdict: Verdict = "cannot tell"
    reason: str = ""
    trials_to_settle: int | None = None
    moments: tuple[Moments, Moments] | None = field(
        default=None, repr=False, compare=False, metadata=NOT_IN_JSON
    )

    @property
    def held(self) -> bool:
        """Whether there is no floor, or it is shown to hold at the interval's level."""
        return self.floor is None or self.p_held <= (1 - self.drop.level) / 2

    def to_json(self) -> dict[str, Any]:
        """JSON object; NaN is null."""
        record = super().to_json()
        lost = {one: record.pop(f"lost_{one}") for one in ("baseline", "new")}
        return {**record, "unanswered": lost}

    @classmethod
    def _as_fields(cls, found: Mapping[str, Any]) -> dict[str, Any]:
        lost = {f"lost_{one}": found["unanswered"][one] for one in ("baseline", "new")}
        return {**found, **lost}


def compare(
    stratum: str,
    *,
    scores: tuple[Floats, Floats],
    status: tuple[Strings, Strings],
    unit: Strings,
    floor: float | None,
    rules: Rules,
) -> Comparison:
    """Compare two runs on some trials; the verdict is `judge`'s.

    Parameters
    ----------
    stratum : str
    scores, status : pair of (T,) float64, pair of (T,) str
        Of baseline and new run.
    unit : (T,) str
    floor : float or None
    rules : Rules
    """
    code = codes(unit)
    facts: dict[str, Any] = {
        "level": 1 - 2 * rules.alpha,
        "n": len(code),
        "clusters": int(code.max()) + 1,
        "unit": rules.unit,
    }
    answered = [np.isin(one.astype(str), ANSWERED) for one in status]
    coverage = float(answered[0].mean()), float(answered[1].mean())
    lost_baseline, lost_new = (
        _counts(one[~mask]) for one, mask in zip(status, answered, strict=True)
    )
    if facts["clusters"] < 2:
        old, new, drop = (
            Estimate(float(v.mean()), reason=_ONE_UNIT, **facts)
            for v in (*scores, scores[0] - scores[1])
        )
        nan = math.nan
        return Comparison(
            stratum,
            old,
            new,
            drop,
            nan,
            nan,
            *coverage,
            lost_baseline=lost_baseline,
            lost_new=lost_new,
            floor=floor,
            reason=_ONE_UNIT,
        )
    size = 1.0 if rules.share else max(1.0, *(float(np.abs(s).max()) for s in scores))
    sums = [UnitSums.of(s, code, largest=size, signed=not rules.share) for s in scores]
    sums.append(UnitSums.of(scores[0] - scores[1], code, largest=rules.largest))
    old, new, drop = (
        Estimate(float(one.mean), *interval(one, rules.alpha), method=METHOD, **facts)
        for one in sums
    )
    change, loss = sums[2].moments, _shortfall(sums[1], rules).moments
    allowed = None if floor is None else _allowed(floor, rules)
    return Comparison(
        stratum,
        old,
        new,
        drop,
        float(p_at_least(change, rules.max_drop)),
        float(p_at_most(change, rules.max_drop)),
        *coverage,
        lost_baseline=lost_baseline,
        lost_new=lost_new,
        floor=floor,
        p_held=math.nan if allowed is None else float(p_at_least(loss, allowed)),
        p_below=math.nan if allowed is None else float(p_at_most(loss, allowed)),
        moments=(change, loss),
    )


def _counts(status: Strings) -> dict[str, int]:
    names, counts = np.unique(status.astype(str), return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def _shortfall(new: UnitSums, rules: Rules) -> UnitSums:
    """The new score counted from its best value, 1, downwards."""
    return new.flipped(1.0) if rules.share else new.flipped()


def _allowed(floor: float, rules: Rules) -> float:
    """The floor on the scale of `_shortfall`."""
    return 1 - floor if rules.share else -floor


def judge(comparisons: Sequence[Comparison], rules: Rules) -> list[Comparison]:
    """Give each comparison its verdict.

    A comparison where either run left too many trials unanswered is "cannot tell" before all else.
    All tests of "worse", of all trials, of strata and of floors, are one family under Holm's
    correction. "Pass" needs none: it is said only where everything asked is shown.
    """
    raw = [p for c in comparisons for p in (c.p_worse, c.p_below)]
    adjusted = holm(raw).reshape(-1, 2)
    tests = int(np.isfinite(raw).sum())
    return [
        _judged(c, rules, float(drop), float(floor), tests)
        for c, (drop, floor) in zip(comparisons, adjusted, strict=True)
    ]


def _judged(c: Comparison, rules: Rules, p_worse: float, p_below: float, tests: int) -> Comparison:
    if (short := _short_of_answers(c, rules)) is not None:
        return replace(c, reason=short)
    margin, alpha = rules.max_drop, rules.alpha
    fallen = f"the drop exceeds {margin:g}: at least {c.drop.low:.4f}"
    below = f"below its floor {_number(c.floor)}: at most {c.new.high:.4f}"
    if p_worse <= alpha or p_below <= alpha:
        return replace(c, verdict="worse", reason=fallen if p_worse <= alpha else below)
    if math.isnan(c.p_worse):
        return c
    if c.p_worse <= alpha or c.p_below <= alpha:
        what = fallen if c.p_worse <= alpha else below
        return _unsettled(c, f"{what}; not after Holm's correction for {tests} tests", rules)
    if c.p_pass > alpha:
        ends = f"between {c.drop.low:.4f} and {c.drop.high:.4f}"
        return _unsettled(c, f"the drop lies {ends}, margin {margin:g}", rules)
    if not c.held:
        ends = f"[{c.new.low:.4f}, {c.new.high:.4f}]"
        return _unsettled(c, f"floor {_number(c.floor)} lies in {ends}", rules)
    reason = f"the drop is below {margin:g}: at most {c.drop.high:.4f}"
    return replace(c, verdict="pass", reason=reason)


def _short_of_answers(c: Comparison, rules: Rules) -> str | None:
    """Why too few trials have an answer for any verdict; None where enough have.

    Judged before all else: what a run refuses it does not lose, and what it answers in its place it
    does not win.
    """
    share = min(c.coverage_baseline, c.coverage_new)
    if share >= rules.least_coverage:
        return None
    who = "the baseline" if c.coverage_baseline < rules.least_coverage else "the new run"
    said = (c.lost_baseline if who == "the baseline" else c.lost_new) or {}
    listed = ", ".join(f"{count:,} {status}" for status, count in said.items())
    return f"{who} answered {share:.1%} of the trials, less than {rules.least_coverage:.0%}" + (
        f" ({listed})" if listed else ""
    )


def _number(floor: float | None) -> str:
    return "" if floor is None else f"{floor:g}"


def _unsettled(c: Comparison, reason: str, rules: Rules) -> Comparison:
    if c.moments is None:
        return replace(c, reason=reason)
    drop, loss = c.moments
    needed = [] if c.p_pass <= rules.alpha else [_to_settle(drop, rules.max_drop, rules.alpha)]
    if c.floor is not None and not c.held:
        needed.append(_to_settle(loss, _allowed(c.floor, rules), rules.alpha))
    settle = None if None in needed or not needed else max(n for n in needed if n is not None)
    return replace(c, reason=reason, trials_to_settle=settle)


def _to_settle(seen: Moments, value: float, alpha: float) -> int | None:
    """Trials at which a mean like the one seen is told from `value` with 80 % power."""
    gap = value - float(seen.mean)
    test, side = (p_at_least, 1.0) if gap > 0 else (p_at_most, -1.0)

    def told(factor: float) -> bool:
        least = abs(float(seen.mean)) / float(seen.trials) * seen.largest
        error = math.sqrt(max(float(seen.variance), least) / factor)
        shift = side * _POWER_80 * error
        p = float(test(seen.grown(factor, shift=shift), value))
        return abs(shift) < abs(gap) and p <= alpha

    if gap == 0:
        return None
    few, many = 1.0, 2.0
    while not told(many):
        few, many = many, 2 * many
        if many > _MOST_GROWTH:
            return None
    while many / few > 1.001:
        middle = math.sqrt(few * many)
        few, many = (few, middle) if told(middle) else (middle, many)
    return math.ceil(many * float(seen.trials))
