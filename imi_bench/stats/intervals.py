"""Intervals and tests of scores and of their differences, from what each cluster moves them by.

Student's t with the jackknife's two-way variance (`imi_bench.stats.jackknife`), on the scale on
which the score has no end; elsewhere around the score less what few units push it by (the
jackknife's bias), so that an interval of few units need not lie evenly about its score. Two kinds
of score are not smooth and have intervals from draws:

- ``drawn``: correlations of a few network conditions. Percentiles of the draws, moved by the
  bootstrap's estimate of bias.
- ``folded``: a sum of absolute values, such as a calibration error, which noise pushes away from
  zero. The test is inverted along the ray from zero through the parts found: the interval holds
  the sizes under which a score like the one observed is not in the outer 2.5% on either side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, special, stats

from imi_bench.arrays import Floats
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.jackknife import Jackknife, Spread

__all__ = ["Gap", "estimate", "gap", "resolvable_difference", "t_test"]

_EXACT = 1e-12


def estimate(found: Jackknife, *, n: int, clusters: int, level: float = 0.95) -> Estimate:
    """Interval of a score.

    A proportion of 0 or 1 in every unit gets the exact binomial interval with every unit counted
    once, since units that are all alike show no spread.

    Parameters
    ----------
    found : Jackknife
    n, clusters : int
        Answers (or trials) and units behind it.
    level : float
    """
    score = found.score
    facts: dict[str, Any] = {"n": n, "clusters": clusters, "unit": score.unit, "level": level}
    if math.isnan(found.value):
        return Estimate.undefined(score.undefined, **facts)
    if clusters < 2:
        return Estimate(found.value, reason="one unit is no sample of units", **facts)
    spread = found.spread
    if score.scale == "logit" and found.value in (0.0, 1.0):
        exact = stats.binomtest(round(found.value) * clusters, clusters).proportion_ci(level)
        method = "exact binomial, each unit counting once (all units are alike)"
        return Estimate(found.value, float(exact.low), float(exact.high), method=method, **facts)
    if score.scale in ("drawn", "folded"):
        return _of_draws(found, facts)
    if not math.isfinite(spread.variance):
        missing = int(np.isnan(found.without_unit).sum())
        why = f"undefined without {'one' if missing == 1 else f'any one of {missing}'} of its units"
        return Estimate(found.value, reason=why, **facts)
    if math.sqrt(spread.variance) <= _EXACT * (1 + abs(found.value)):
        why = "the same in every unit, so that units show no spread"
        return Estimate(found.value, reason=why, **facts)
    centre = found.value
    if score.scale == "identity":
        centre, spread = found.value - found.bias, found.corrected_spread
    if not math.isfinite(spread.variance):
        return Estimate(found.value, reason="undefined without any two of its units", **facts)
    low, high = _t_interval(centre, spread, level, score.scale)
    return Estimate(found.value, low, high, method=_method(found, spread), **facts)


def _method(found: Jackknife, spread: Spread) -> str:
    scale = {"fisher": " of Fisher's z", "logit": " of the logit"}.get(found.score.scale, "")
    return f"jackknife over {found.clusters}, t({spread.df:.0f}){scale}"


def _t_interval(value: float, spread: Spread, level: float, scale: str) -> tuple[float, float]:
    """Interval on the scale, and back."""
    reach = float(stats.t.ppf((1 + level) / 2, spread.df)) * math.sqrt(spread.variance)
    if scale == "fisher" and abs(value) < 1 - _EXACT:
        middle, half = math.atanh(value), reach / (1 - value * value)
        return math.tanh(middle - half), math.tanh(middle + half)
    if scale == "logit" and 0 < value < 1:
        middle, half = float(special.logit(value)), reach / (value * (1 - value))
        return float(special.expit(middle - half)), float(special.expit(middle + half))
    return value - reach, value + reach


def _of_draws(found: Jackknife, facts: dict[str, Any]) -> Estimate:
    draws, level = found.draws, facts["level"]
    if not len(draws):
        return Estimate(found.value, reason="no draws asked for", **facts)
    if found.score.scale == "folded":
        low, high = _folded(found.parts, draws - found.parts, level)
        method = f"inverted test over {found.clusters} ({len(draws)} draws)"
        return Estimate(found.value, low, high, method=method, **facts)
    defined = draws[np.isfinite(draws)]
    if len(defined) < 0.9 * len(draws):
        why = f"undefined in {len(draws) - len(defined)} of {len(draws)} draws"
        return Estimate(found.value, reason=why, **facts)
    push = float(defined.mean()) - found.value
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]) - push
    method = f"recentred draws over {found.clusters} ({len(draws)})"
    return Estimate(
        found.value, max(-1.0, float(low)), min(1.0, float(high)), method=method, **facts
    )


def _folded(parts: Floats, noise: Floats, level: float) -> tuple[float, float]:
    """Interval of the sum of absolute parts, by the test along the ray from zero through them."""
    seen, tail = float(np.abs(parts).sum()), (1 - level) / 2

    def share_below(size: float) -> float:
        return float((np.abs(size * parts + noise).sum(axis=1) <= seen).mean())

    def size(wanted: float) -> float:
        """Largest multiple of the parts at which the share below what was seen is that."""
        if share_below(0.0) <= wanted:
            return 0.0
        return float(optimize.brentq(lambda c: share_below(c) - wanted, 0.0, 20.0, xtol=1e-4))

    return size(1 - tail) * seen, size(tail) * seen


@dataclass(frozen=True)
class Gap:
    """A difference of two scores on the same clusters.

    Attributes
    ----------
    estimate : Estimate
    p : float
        Two-sided t; NaN where undefined, 1 where the two are the same throughout.
    resolvable : float
        Smallest true difference these clusters would show (80% power, two-sided 5%).
    """

    estimate: Estimate
    p: float
    resolvable: float


def gap(first: Jackknife, second: Jackknife, *, n: int, clusters: int, level: float = 0.95) -> Gap:
    """Difference of two scores, its interval and test, paired by cluster."""
    facts: dict[str, Any] = {
        "n": n,
        "clusters": clusters,
        "unit": first.score.unit,
        "level": level,
    }
    value = first.value - second.value
    if math.isnan(value):
        why = f"{first.score.name} is undefined for one of them"
        return Gap(Estimate.undefined(why, **facts), math.nan, math.nan)
    spread = first.spread.minus(second.spread)
    if clusters < 2 or not math.isfinite(spread.variance):
        why = "one unit is no sample of units" if clusters < 2 else "undefined without a unit"
        return Gap(Estimate(value, reason=why, **facts), math.nan, math.nan)
    low, high = _t_interval(value, spread, level, "identity")
    method = f"paired jackknife over {first.clusters}, t({spread.df:.0f})"
    made = Estimate(value, low, high, method=method, **facts)
    error = math.sqrt(spread.variance)
    return Gap(made, t_test(value, spread), _shown(spread.df) * error)


def t_test(value: float, spread: Spread) -> float:
    """Two-sided p of a value being zero."""
    tiny = _EXACT * (1 + abs(value))
    error = math.sqrt(spread.variance)
    if error <= tiny:
        return 1.0 if abs(value) <= tiny else 0.0
    return float(2 * stats.t.sf(abs(value) / error, spread.df))


def resolvable_difference(found: Jackknife, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """Smallest true difference between two observers that data like these would show.

    ``sqrt(2) * (t_(1-alpha/2) + t_power) * SE``: two observers with standard error SE each, told
    apart at two-sided `alpha` with `power`, their errors taken as independent. Observers on the
    same trials err alike, so `imi_bench.scores.compare` resolves less than this.
    """
    spread = found.spread
    if not math.isfinite(spread.variance) or spread.df < 1:
        return math.nan
    error = math.sqrt(2 * spread.variance)
    return _shown(spread.df, power=power, alpha=alpha) * error


def _shown(df: float, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """How many standard errors a difference must be to be shown."""
    return float(stats.t.ppf(1 - alpha / 2, df) + stats.t.ppf(power, df))
