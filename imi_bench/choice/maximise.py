"""Climbing the likelihood of the psychometric function."""

from __future__ import annotations

import numpy as np

from imi_bench.arrays import Floats, Ints
from imi_bench.choice import likelihood
from imi_bench.choice.likelihood import BinomialRows, Point
from imi_bench.choice.scoring import Maximum, maximise_each
from imi_bench.stats.links import Link

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
    steepest: Floats,
    lapse: Floats,
    least_lapse: float = 0.0,
) -> list[Maximum]:
    """Find the highest point of each of F fits, from several starts.

    Parameters
    ----------
    rows : BinomialRows
        Of F fits, (F, q, R) and (F, R); evidence of root mean square 1. Rows without answers
        count for nothing.
    link : Link
    groups : int
        The first columns, whose coefficients are slopes.
    steepest : (F,) float64
        Largest absolute slope; 0 holds the slopes at 0.
    lapse : (F,) float64
        Hold the lapse here; NaN where it is free between `least_lapse` and `LAPSE_MAX`.
    least_lapse : float

    Notes
    -----
    The likelihood can have two maxima, with a small and a large lapse. With many rows both are
    looked for on `_BINS` rows of pooled evidence first, and climbed to the top on all rows.
    """
    fits, size = len(lapse), rows.columns.shape[-2] + 1
    free = np.isnan(lapse)
    high = np.full((fits, size), STEEPEST / link.first_peak)
    high[:, :groups] = steepest[:, None]
    low = -high
    low[:, -1], high[:, -1] = np.where(free, least_lapse, lapse), np.where(free, LAPSE_MAX, lapse)
    starts = [
        [np.append(np.zeros(size - 1), at) for at in (_LAPSE_STARTS if one != one else (one,))]
        for one in lapse.tolist()
    ]
    many = np.flatnonzero(free & (np.count_nonzero(rows.trials, axis=1) > 4 * _BINS))
    if many.size:
        few = _stacked([_binned(rows.take(many[[i]])) for i in range(len(many))])
        ends = _from_starts(
            few, link, [starts[fit] for fit in many], low[many], high[many], tolerance=1e-4
        )
        for fit, found in zip(many.tolist(), ends, strict=True):
            starts[fit] = _distinct([end.theta for end in found])
    tops = _from_starts(rows, link, starts, low, high)
    return [max(found, key=lambda maximum: maximum.value) for found in tops]


def _from_starts(
    rows: BinomialRows,
    link: Link,
    starts: list[list[Floats]],
    low: Floats,
    high: Floats,
    *,
    tolerance: float = 1e-12,
) -> list[list[Maximum]]:
    """Each fit's maximum from each of its starts."""
    fit = np.repeat(np.arange(len(starts)), [len(one) for one in starts])
    ends = maximise_each(
        _Likelihoods(rows, link, fit),
        start=np.array([theta for one in starts for theta in one]),
        low=low[fit],
        high=high[fit],
        tolerance=tolerance,
    )
    first = np.cumsum([0] + [len(one) for one in starts])
    return [ends[first[f] : first[f + 1]] for f in range(len(starts))]


class _Likelihoods:
    """The log-likelihoods of several climbs, each on the rows of one of the fits.

    What a value was computed from is kept for the step that follows it.
    """

    def __init__(self, rows: BinomialRows, link: Link, fit: Ints) -> None:
        self._rows, self._link, self._fit = rows, link, fit
        self._taken: tuple[Ints, BinomialRows] = (np.arange(len(rows.trials)), rows)
        self._last: tuple[Floats, Ints, Point] | None = None

    def value(self, theta: Floats, which: Ints) -> Floats:
        rows = self._of(which)
        at = Point.at(theta, rows, self._link)
        self._last = theta, which, at
        return likelihood.log_likelihood(theta, rows, self._link, at=at)

    def step(self, theta: Floats, which: Ints) -> tuple[Floats, Floats]:
        at = None
        if self._last is not None:
            last, of, point = self._last
            at = point if np.array_equal(of, which) and np.array_equal(last, theta) else None
        return likelihood.scoring_step(theta, self._of(which), self._link, at=at)

    def _of(self, which: Ints) -> BinomialRows:
        fits = self._fit[which]
        if not np.array_equal(fits, self._taken[0]):
            self._taken = fits, self._rows.take(fits)
        return self._taken[1]


def _binned(rows: BinomialRows) -> BinomialRows:
    """Neighbours in evidence summed up: few rows, whose maxima are close to those of all."""
    used = np.flatnonzero(rows.trials[0])
    columns, successes, trials = (
        part[0][..., used] for part in (rows.columns, rows.successes, rows.trials)
    )
    if len(columns) > 1 or (np.diff(columns[0]) < 0).any():
        order = np.lexsort(columns)
        columns, successes, trials = columns[:, order], successes[order], trials[order]
    first = np.linspace(0, len(trials), _BINS, endpoint=False).astype(np.int64)
    pooled = np.add.reduceat(trials, first)
    evidence = np.add.reduceat(columns * trials, first, axis=1) / pooled
    return BinomialRows(evidence[None], np.add.reduceat(successes, first)[None], pooled[None])


def _stacked(parts: list[BinomialRows]) -> BinomialRows:
    names = ("columns", "successes", "trials")
    return BinomialRows(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


def _distinct(points: list[Floats]) -> list[Floats]:
    kept: list[Floats] = []
    for point in points:
        if not any(np.allclose(point, other, rtol=1e-3, atol=1e-3) for other in kept):
            kept.append(point)
    return kept
