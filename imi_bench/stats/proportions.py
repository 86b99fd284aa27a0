"""Intervals of binomial proportions: answers that are independent of one another."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from imi_bench.arrays import Floats
from imi_bench.stats.estimate import Estimate

__all__ = ["proportion", "wilson"]


def wilson(hits: ArrayLike, count: ArrayLike, *, level: float = 0.95) -> tuple[Floats, Floats]:
    """Ends of Wilson's score interval, by ``statsmodels``.

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
    American Statistical Association 22 (1927), 209-212.

    Examples
    --------
    >>> low, high = wilson([2.5, 0], [4, 0])
    >>> low.round(3).tolist(), high.round(3).tolist()
    ([0.219, nan], [0.908, nan])
    """
    from statsmodels.stats.proportion import proportion_confint

    hits, count = np.broadcast_arrays(np.asarray(hits, float), np.asarray(count, float))
    safe = np.where(count > 0, count, 1.0)
    ends = proportion_confint(np.where(count > 0, hits, 0.0), safe, 1 - level, method="wilson")
    low, high = (np.where(count > 0, np.clip(end, 0.0, 1.0), np.nan) for end in ends)
    return low, high


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
