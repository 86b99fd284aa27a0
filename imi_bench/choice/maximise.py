"""Climbing the likelihood of the psychometric function."""

from __future__ import annotations

import numpy as np

from imi_bench.arrays import Floats
from imi_bench.choice import likelihood
from imi_bench.choice.likelihood import BinomialRows
from imi_bench.choice.scoring import Maximum, maximise
from imi_bench.stats.links import Link

__all__ = ["LAPSE_MAX", "STEEPEST", "climb"]


LAPSE_MAX = 0.95
STEEPEST = 12.5
"""Largest slope, in units of 1 / (link'(0) * root mean square evidence): a step function."""
_LAPSE_STARTS = (0.02, 0.3)
_BINS = 200


def climb(
    rows: BinomialRows,
    link: Link,
    *,
    groups: int,
    steepest: float,
    lapse: float | None,
) -> Maximum:
    """Find the highest point, from several starts.

    Parameters
    ----------
    rows : BinomialRows
        Evidence of root mean square 1.
    link : Link
    groups : int
        The first columns of the design, whose coefficients are slopes.
    steepest : float
        Largest absolute slope; 0 holds the slopes at 0.
    lapse : float, optional
        Hold the lapse here; otherwise it is free between 0 and `LAPSE_MAX`.

    Notes
    -----
    The likelihood can have two maxima, with a small and a large lapse. With many rows both are
    looked for on `_BINS` rows of pooled evidence first, and climbed to the top on all rows.
    """
    size = rows.design.shape[1] + 1
    high = np.full(size, STEEPEST / link.first_peak)
    high[:groups] = steepest
    low = -high
    low[-1], high[-1] = (0.0, LAPSE_MAX) if lapse is None else (lapse, lapse)
    starts = []
    for first_lapse in _LAPSE_STARTS if lapse is None else (lapse,):
        starts.append(np.append(np.zeros(size - 1), first_lapse))
    if len(starts) > 1 and len(rows.trials) > 4 * _BINS:
        few = _binned(rows)
        ends = [_maximise(few, link, s, low=low, high=high, tolerance=1e-4) for s in starts]
        starts = _distinct([end.theta for end in ends])
    found = [_maximise(rows, link, start, low=low, high=high) for start in starts]
    return max(found, key=lambda maximum: maximum.value)


def _maximise(
    rows: BinomialRows,
    link: Link,
    start: Floats,
    *,
    low: Floats,
    high: Floats,
    tolerance: float = 1e-12,
) -> Maximum:
    return maximise(
        lambda theta: likelihood.log_likelihood(theta, rows, link),
        lambda theta: likelihood.scoring_step(theta, rows, link),
        start=start,
        low=low,
        high=high,
        tolerance=tolerance,
    )


def _binned(rows: BinomialRows) -> BinomialRows:
    """Neighbours in evidence summed up: few rows, whose maxima are close to those of all."""
    order = np.lexsort(rows.design.T)
    first = np.linspace(0, len(order), _BINS, endpoint=False).astype(np.int64)
    trials = np.add.reduceat(rows.trials[order], first)
    design = np.add.reduceat((rows.design * rows.trials[:, None])[order], first)
    successes = np.add.reduceat(rows.successes[order], first)
    return BinomialRows(design / trials[:, None], successes, trials)


def _distinct(points: list[Floats]) -> list[Floats]:
    kept: list[Floats] = []
    for point in points:
        if not any(np.allclose(point, other, rtol=1e-3, atol=1e-3) for other in kept):
            kept.append(point)
    return kept
