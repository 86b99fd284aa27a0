"""Intervals on the scale on which a score's standard error does not depend on the score.

- ``fisher``: correlations, whose errors shrink towards 1.
- ``attenuated``: a correlation over its ceiling: Fisher's z of the correlation, with the standard
  error of the quotient, over the ceiling.
- ``logit``: shares.
- ``growing``: what grows with the differences between units, such as the bits by which people
  predict one another. Its error does as that of a variance does: with n - 1 degrees of
  freedom a variance v has the standard error ``v sqrt(2 / (n - 1))`` for normal and ``v / sqrt(n)``
  or so for bounded values, beside what answers add, so that ``SE^2 = a^2 + g x^2 / df``; the
  interval is symmetric in ``asinh(x sqrt(g / df) / a)``. With many units this is the plain t.
- ``kappa``: a share of what chance leaves, which grows likewise from the least that it can be, L,
  and ends at 1. So does an intraclass correlation of k answers, L = -1 / (k - 1), whose squared
  standard error is ``2 (1 - x)^2 (x - L)^2 / ((1 - L) n)`` in n normal trials (Fisher 1925,
  *Statistical Methods for Research Workers*, chapter 7): ``SE = (1 - x) sqrt(a^2 + b^2 (x - L)^2)``
  with ``b^2 = g / ((1 - L) df)``, and not below Fisher's where trials are few. In
  ``u = 1 / (1 - x)`` and ``s^2 = a^2 + b^2 (1 - L)^2`` the integral of ``dx / SE`` is
  ``asinh((s^2 u - b^2 (1 - L)) / (a b)) / s``, and the interval symmetric in that, about a middle
  that is half the slope of SE higher: an unbiased x is on average so much too low in a function
  whose slope is 1 / SE. df are fewer where few units carry the variance (`Spread.uneven_df`).
- ``ratio``: Fieller's interval (1954, *J. Royal Statistical Society B* 16, 175-185): the shares c
  that a t test of ``top - c bottom`` does not reject. It has no bound where the bottom is not told
  from zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy import special

from imi_bench.stats.jackknife import Jackknife, Spread

__all__ = ["Z95", "between", "fieller", "reach", "symmetric", "z_difference"]

Z95 = float(special.ndtri(0.975))
"""Standard errors to each side of a 95 % interval of the normal law."""

_LEAST_NOISE = 0.1  # of the variance, which answers are taken to add at least
_FAR = 1e6
_FAR_SINH = 700.0  # the largest whose sinh is a number

Interval = tuple[float, float]


def reach(spread: Spread, level: float) -> float:
    """How far a t interval reaches to either side.

    Parameters
    ----------
    spread : Spread
    level : float

    Examples
    --------
    >>> import numpy as np
    >>> none = np.zeros(0)
    >>> round(reach(Spread(np.ones(2), none, none, np.zeros(2, dtype=np.int64)), 0.5), 6)
    1.414214
    """
    return float(special.stdtrit(spread.df, (1 + level) / 2)) * math.sqrt(spread.variance)


def symmetric(value: float, spread: Spread, level: float, found: Jackknife) -> Interval:
    """Interval around a value, symmetric on the scale of its score.

    Parameters
    ----------
    value : float
    spread : Spread
        Of the score itself, not of its transform.
    level : float
    found : Jackknife
        Tells the scale, and holds the ceiling of an attenuated correlation.
    """
    far, scale = reach(spread, level), found.score.scale
    if scale == "fisher" and abs(value) < 1:
        middle, half = math.atanh(value), far / (1 - value * value)
        return math.tanh(middle - half), math.tanh(middle + half)
    if scale == "attenuated":
        most = found.made_of[1].value
        r = value * most
        if abs(r) < 1:
            middle, half = math.atanh(r), far * most / (1 - r * r)
            return math.tanh(middle - half) / most, math.tanh(middle + half) / most
    if scale == "logit" and 0 < value < 1:
        middle, half = float(special.logit(value)), far / (value * (1 - value))
        return float(special.expit(middle - half)), float(special.expit(middle + half))
    if scale == "growing":
        return _growing(value, spread, level, found)
    if scale == "kappa":
        return _of_kappa(value, spread, level, found)
    return value - far, value + far


def _growing(value: float, spread: Spread, level: float, found: Jackknife) -> Interval:
    away = value - found.score.origin
    share = found.score.growth / spread.df
    if away:
        share = min(share, (1 - _LEAST_NOISE) * spread.variance / away**2)
    noise, root = math.sqrt(spread.variance - share * away**2), math.sqrt(share)
    middle = math.asinh(away * root / noise)
    half = float(special.stdtrit(spread.df, (1 + level) / 2)) * root
    ends = (math.sinh(middle + side * half) * noise / root for side in (-1, 1))
    low, high = (found.score.origin + end for end in ends)
    return low, high


def _of_kappa(value: float, spread: Spread, level: float, found: Jackknife) -> Interval:
    seen, least = found.value, found.least
    if value >= 1:  # what few units push it by reaches beyond the end
        value = (1 + seen) / 2
    away, room = value - least, 1 - least
    growth = found.score.growth / room
    variance = max(spread.variance / (1 - seen) ** 2, growth * away**2 / found.trials)
    share = growth / spread.uneven_df
    if away:
        share = min(share, (1 - _LEAST_NOISE) * variance / away**2)
    noise, error = variance - share * away**2, math.sqrt(variance)
    total, both = noise + share * room**2, math.sqrt(noise * share)
    slope = (1 - value) * share * away / error - error
    root = math.sqrt(total)
    middle = math.asinh((total / (1 - value) - share * room) / both) + root * slope / 2
    half = float(special.stdtrit(spread.uneven_df, (1 + level) / 2)) * root
    ends = []
    for side in (-1, 1):
        at = min(max(middle + side * half, -_FAR_SINH), _FAR_SINH)
        left = (math.sinh(at) * both + share * room) / total  # 1 / (1 - x)
        ends.append(1 - 1 / max(left, 0.5))
    return ends[0], ends[1]


def z_difference(
    first: Jackknife, second: Jackknife, level: float
) -> tuple[Spread, float, Interval] | None:
    """Difference of two correlations on Fisher's scale, and its interval on their own.

    Parameters
    ----------
    first, second : Jackknife
        On the same clusters; perhaps each over a ceiling.
    level : float

    Returns
    -------
    spread, z : Spread, float
        Of the difference of Fisher's z.
    interval : tuple of float
        Of the difference of correlations: both are moved from the mean of their z by what the
        interval of z allows, so that it holds zero exactly where the test does not reject.

    None where a correlation is 1 or -1.
    """
    most = [one.made_of[1].value if one.made_of else 1.0 for one in (first, second)]
    r = [one.value * top for one, top in zip((first, second), most, strict=True)]
    if max(map(abs, r)) >= 1:
        return None
    scaled = [
        one.spread.times(top / (1 - x * x))
        for one, top, x in zip((first, second), most, r, strict=True)
    ]
    spread = scaled[0].minus(scaled[1])
    if not math.isfinite(spread.variance):
        return None
    z = [math.atanh(x) for x in r]
    ends = between(z[0], z[1], reach(spread, level), over=(most[0], most[1]))
    return spread, z[0] - z[1], ends


def between(
    first: float, second: float, far: float, *, over: tuple[float, float] = (1.0, 1.0)
) -> Interval:
    """Interval of the difference of two correlations, from that of their Fisher's z.

    Both are moved from the mean of their z, as far as `far` allows.

    Parameters
    ----------
    first, second : float
        Fisher's z.
    far : float
        How far the interval of the difference of z reaches to either side.
    over : tuple of float
        Their ceilings.

    Examples
    --------
    >>> [round(end, 6) for end in between(1.0, 0.0, 1.0)]
    [0.0, 1.367265]
    """
    middle, apart = (first + second) / 2, first - second
    low, high = (
        math.tanh(middle + d / 2) / over[0] - math.tanh(middle - d / 2) / over[1]
        for d in (apart - far, apart + far)
    )
    return low, high


def fieller(
    top: float, bottom: float, of_top: Spread, of_bottom: Spread, level: float
) -> Interval | None:
    """Interval of a ratio; None where it has no bound.

    Parameters
    ----------
    top, bottom : float
    of_top, of_bottom : Spread
        On the same clusters.
    level : float

    Examples
    --------
    >>> import numpy as np
    >>> none = np.zeros(0)
    >>> noise = Spread(np.array([0.1, -0.1, 0.0]), none, none, np.zeros(3, dtype=np.int64))
    >>> same = fieller(1.0, 2.0, noise, noise.times(2.0), 0.95)
    >>> [round(end, 6) for end in same]
    [0.5, 0.5]
    """
    if abs(bottom) <= reach(of_bottom, level):
        return None
    ratio = top / bottom

    def beyond(share: float) -> float:
        spread = of_top.minus(of_bottom.times(share))
        return abs(top - share * bottom) - (reach(spread, level) if spread.variance > 0 else 0.0)

    low, high = _crossing(beyond, ratio, -1), _crossing(beyond, ratio, 1)
    return None if low is None or high is None else (low, high)


def _crossing(beyond: Callable[[float], float], start: float, side: int) -> float | None:
    """First value to one side at which a function that is not above zero becomes so."""
    step = 1e-9 * (1 + abs(start))
    if beyond(start + side * step) > 0:
        return start
    inside = step
    while beyond(start + side * step) <= 0:
        inside, step = step, 2 * step
        if step > _FAR * (1 + abs(start)):
            return None
    from scipy import optimize  # slow to load, for ratios alone

    return start + side * float(
        optimize.brentq(lambda far: beyond(start + side * far), inside, step)
    )
