"""Intervals of binomial proportions: answers that are independent of one another."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from imi_bench.arrays import Floats
from imi_bench.stats.estimate import Estimate


def wilson(hits: ArrayLike, count: ArrayLike, *, level: float = 0.95) -> tuple[Floats, Floats]:
    """Ends of Wilson's score interval.

    Parameters
    ----------
    hits : array_like of float
        Correct answers; halves are fine.
    count : array_like of float
        Answers. Where it is 0 both ends are NaN.
    level : float
        Nominal coverage.

    Returns
    -------
    low, high : float64, of the common shape

    Notes
    -----
    Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the
    American Statistical Association 22 (1927), 209-212, the two roots of his quadratic.
    ``statsmodels.stats.proportion.proportion_confint`` gives the same and is the reference of the
    tests; importing it would double what `imi-bench run` loads. ``scipy.stats.binomtest`` takes
    no halves.

    Examples
    --------
    >>> low, high = wilson([2.5, 0], [4, 0])
    >>> low.round(3).tolist(), high.round(3).tolist()
    ([0.219, nan], [0.908, nan])
    """
    hits, count = np.broadcast_arrays(np.asarray(hits, float), np.asarray(count, float))
    n = np.where(count > 0, count, np.nan)
    share, z = hits / n, -special.ndtri((1 - level) / 2)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return np.clip(centre - half, 0.0, 1.0), np.clip(centre + half, 0.0, 1.0)


def proportion(hits: float, count: int, *, level: float = 0.95) -> Estimate:
    """A proportion with Wilson's interval; undefined without answers.

    Examples
    --------
    >>> print(proportion(2.5, 4))
    0.625 [0.219, 0.908]
    >>> print(proportion(0, 0))
    undefined (no answers)
    """
    if not count:
        return Estimate.undefined("no answers", level=level)
    low, high = map(float, wilson(hits, count, level=level))
    value = float(hits) / count
    return Estimate(
        value, min(low, value), max(high, value), level, method="Wilson", n=count, clusters=count
    )
