"""Intervals and tests of scores and of their differences, from what each cluster moves them by.

Student's t with the jackknife's two-way variance (`imi_bench.stats.jackknife`), on the scale on
which the score has no end; elsewhere around the score less what few units push it by (the
jackknife's bias), so that an interval of few units need not lie evenly about its score.
Correlations of a few network conditions have intervals from draws: percentiles, moved by the
bootstrap's estimate of bias (``drawn``); or of Fisher's z, their deviations from the mean reflected
(``drawn fisher``). A score of which no interval holds has none, and says why.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from imi_bench.arrays import Floats
from imi_bench.stats.estimate import Estimate, too_few_draws
from imi_bench.stats.jackknife import Jackknife, Spread
from imi_bench.stats.scales import between, fieller, reach, symmetric, z_difference
from imi_bench.text import plural

_EXACT = 1e-12
_LARGEST = 1 - 1e-9
_NO_BOUND = "the ceiling is not told from zero, so that a share of it has no bound"


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
    if score.no_interval:
        return Estimate(found.value, reason=score.no_interval, **facts)
    if clusters < 2:
        return Estimate(found.value, reason="one unit is no sample of units", **facts)
    spread = found.spread
    if score.scale == "logit" and found.value in (0.0, 1.0):
        from scipy.stats import binomtest  # a third of a second, for a case that is rare

        exact = binomtest(round(found.value) * clusters, clusters).proportion_ci(level)
        method = "exact binomial, each unit counting once (all units are alike)"
        return Estimate(found.value, float(exact.low), float(exact.high), method=method, **facts)
    if score.scale in ("drawn", "drawn fisher"):
        return _of_draws(found, facts)
    if not math.isfinite(spread.variance):
        missing = int(np.isnan(found.without_unit).sum())
        why = f"undefined without {'one' if missing == 1 else f'any one of {missing}'} of its units"
        return Estimate(found.value, reason=why, **facts)
    if math.sqrt(spread.variance) <= _EXACT * (1 + abs(found.value)):
        why = "the same in every unit, so that units show no spread"
        return Estimate(found.value, reason=why, **facts)
    if score.scale == "kappa" and found.value >= 1:
        why = "the most it can be, where its error vanishes"
        return Estimate(found.value, reason=why, **facts)
    if score.scale == "ratio":
        return _of_ratio(found, facts)
    centre = found.value
    if score.scale in ("identity", "growing", "kappa"):
        centre, spread = found.value - found.bias, found.corrected_spread
    if score.scale == "attenuated":
        spread = found.corrected_spread
    if not math.isfinite(spread.variance):
        return Estimate(found.value, reason="undefined without any two of its units", **facts)
    ends = symmetric(centre, spread, level, found)
    return _within(ends, score.ends, found.value, _method(found, spread), facts)


def _within(
    interval: tuple[float, float],
    ends: tuple[float, float],
    value: float,
    method: str,
    facts: dict[str, Any],
) -> Estimate:
    """Cut an interval where the score ends, which says so; what is true lies within."""
    low, high = interval
    if low >= ends[1] or high <= ends[0]:
        end = ends[int(low >= ends[1])]
        why = f"too few units: the interval lies beyond {end:g}, where the score ends"
        return Estimate(value, reason=why, **facts)
    beyond = (low < ends[0], high > ends[1])
    cut = [f"{end:g}" for end, is_beyond in zip(ends, beyond, strict=True) if is_beyond]
    if cut:
        method += f", cut at {' and '.join(cut)}"
    return Estimate(value, max(low, ends[0]), min(high, ends[1]), method=method, **facts)


_SCALES = {
    "fisher": " of Fisher's z",
    "attenuated": " of Fisher's z",
    "logit": " of the logit",
    "growing": " with an error that grows with the score",
    "kappa": " with an error that grows with the score and ends at 1",
}


def _method(found: Jackknife, spread: Spread) -> str:
    scale = _SCALES.get(found.score.scale, "")
    df = spread.uneven_df if found.score.scale == "kappa" else spread.df
    return f"jackknife over {found.clusters}, t({df:.0f}){scale}"


def _of_ratio(found: Jackknife, facts: dict[str, Any]) -> Estimate:
    top, bottom = found.made_of
    ends = fieller(top.value, bottom.value, top.spread, bottom.spread, facts["level"])
    if ends is None:
        return Estimate(found.value, reason=_NO_BOUND, **facts)
    method = f"Fieller's, jackknife over {found.clusters}, t({bottom.spread.df:.0f})"
    return Estimate(found.value, *ends, method=method, **facts)


def _of_draws(found: Jackknife, facts: dict[str, Any]) -> Estimate:
    draws, level = found.draws, facts["level"]
    if not len(draws):
        return Estimate(found.value, reason="no draws asked for", **facts)
    defined = draws[np.isfinite(draws)]
    if len(defined) < 0.9 * len(draws):
        why = f"undefined in {len(draws) - len(defined)} of {plural(len(draws), 'draw')}"
        return Estimate(found.value, reason=why, **facts)
    if why := too_few_draws(len(defined), level):
        return Estimate(found.value, reason=why, **facts)
    tails = [(1 - level) / 2, (1 + level) / 2]
    method = f"recentred draws over {found.clusters} ({len(draws)})"
    if found.score.scale == "drawn fisher":
        z = _fisher(defined)
        low, high = np.tanh(_fisher(found.value) + z.mean() - np.quantile(z, tails)[::-1])
        method += " of Fisher's z"
    else:
        low, high = np.quantile(defined, tails) - defined.mean() + found.value
    return Estimate(
        found.value, max(-1.0, float(low)), min(1.0, float(high)), method=method, **facts
    )


def _fisher(r: Floats | float) -> Floats:
    return np.asarray(np.arctanh(np.clip(r, -_LARGEST, _LARGEST)))


@dataclass(frozen=True)
class Gap:
    """A difference of two scores on the same clusters.

    Attributes
    ----------
    estimate : Estimate
    p : float
        Two-sided t; NaN where undefined or no test holds, 1 where the two are the same throughout.
    resolvable : float
        Smallest true difference these clusters would show (80% power, two-sided 5%).
    """

    estimate: Estimate
    p: float
    resolvable: float


def gap(first: Jackknife, second: Jackknife, *, n: int, clusters: int, level: float = 0.95) -> Gap:
    """Difference of two scores, its interval and test, paired by cluster."""
    score = first.score
    facts: dict[str, Any] = {"n": n, "clusters": clusters, "unit": score.unit, "level": level}
    value = first.value - second.value
    if math.isnan(value):
        why = f"{score.name} is undefined for one of them"
        return Gap(Estimate.undefined(why, **facts), math.nan, math.nan)
    if why := score.no_interval or ("one unit is no sample of units" if clusters < 2 else ""):
        return Gap(Estimate(value, reason=why, **facts), math.nan, math.nan)
    if len(first.draws) and first.draws.shape == second.draws.shape:
        return _drawn_gap(first, second, facts)
    spread = first.spread.minus(second.spread)
    if not math.isfinite(spread.variance):
        why = "undefined without a unit"
        return Gap(Estimate(value, reason=why, **facts), math.nan, math.nan)
    low, high = value - reach(spread, level), value + reach(spread, level)
    p, error, scale = t_test(value, spread), math.sqrt(spread.variance), score.scale
    method = f"paired jackknife over {first.clusters}, t({spread.df:.0f})"
    on_z = scale in ("fisher", "attenuated") and z_difference(first, second, level)
    if on_z and error > _EXACT:
        of_z, apart, (low, high) = on_z
        p, method = t_test(apart, of_z), f"{method} of Fisher's z"
    if scale == "ratio" and first.made_of[1].value == second.made_of[1].value:
        top, bottom = first.made_of[0].spread.minus(second.made_of[0].spread), first.made_of[1]
        apart = first.made_of[0].value - second.made_of[0].value
        p, method = t_test(apart, top), f"Fieller's, {method}"
        ends = fieller(apart, bottom.value, top, bottom.spread, level)
        if ends is None:
            made = Estimate(value, reason=_NO_BOUND, **facts)
            return Gap(made, p, _shown(spread.df) * error)
        low, high = ends
    span = score.ends[1] - score.ends[0]
    made = _within((low, high), (-span, span), value, method, facts)
    return Gap(made, p, _shown(spread.df) * error)


def _drawn_gap(first: Jackknife, second: Jackknife, facts: dict[str, Any]) -> Gap:
    """Of scores by draws: the same noise added to both, so that what both share goes."""
    on_z = first.score.scale == "drawn fisher"
    scaled = _fisher if on_z else np.asarray
    value = first.value - second.value
    apart = scaled(first.draws) - scaled(second.draws)
    apart = apart[np.isfinite(apart)]
    if len(apart) < 0.9 * len(first.draws):
        why = f"undefined in {len(first.draws) - len(apart)} of {plural(len(first.draws), 'draw')}"
        return Gap(Estimate(value, reason=why, **facts), math.nan, math.nan)
    if why := too_few_draws(len(apart), facts["level"]):
        return Gap(Estimate(value, reason=why, **facts), math.nan, math.nan)
    error = float(apart.std(ddof=1))
    far = float(special.ndtri((1 + facts["level"]) / 2)) * error
    method = f"standard error of paired draws over {first.clusters} ({len(apart)})"
    seen, steep, ends = value, 1.0, (value - far, value + far)
    if on_z:
        one, other = float(_fisher(first.value)), float(_fisher(second.value))
        seen, steep, method = one - other, 1 - math.tanh((one + other) / 2) ** 2, f"{method} of z"
        ends = between(one, other, far)
    made = Estimate(value, *ends, method=method, **facts)
    if error <= _EXACT:
        return Gap(made, 1.0 if abs(value) <= _EXACT else 0.0, 0.0)
    p = 2 * float(special.ndtr(-abs(seen) / error))
    return Gap(made, p, _shown(math.inf) * error * steep)


def t_test(value: float, spread: Spread) -> float:
    """Two-sided p of a value being zero."""
    tiny = _EXACT * (1 + abs(value))
    error = math.sqrt(spread.variance)
    if error <= tiny:
        return 1.0 if abs(value) <= tiny else 0.0
    return 2 * float(special.stdtr(spread.df, -abs(value) / error))


def resolvable_difference(found: Jackknife) -> float:
    """Smallest true difference between two observers that data like these would show.

    ``sqrt(2) * (t_0.975 + t_0.8) * SE``: two observers with standard error SE each, told apart at
    two-sided 5% with 80% power, their errors taken as independent. Observers on the same trials
    err alike, so `imi_bench.scores.compare` resolves less than this.
    """
    spread = found.spread
    if found.score.no_interval or not math.isfinite(spread.variance) or spread.df < 1:
        return math.nan
    return _shown(spread.df) * math.sqrt(2 * spread.variance)


def _shown(df: float) -> float:
    """How many standard errors a difference must be to be shown (80% power, two-sided 5%)."""
    return float(special.stdtrit(df, 1 - 0.05 / 2) + special.stdtrit(df, 0.8))
