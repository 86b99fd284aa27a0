"""Sums of rows by class, each by the shortest way.

Rows are classed by level of a factor, or by pair of levels. Where the rows of a class follow each
other, they are summed as they stand; where one classing coarsens another (a unit belongs to one
network), the finer sums are summed. Nothing but the order of additions changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imi_bench.arrays import Floats, Indices
from imi_bench.results import Brief

_FINEST = 4


@dataclass(frozen=True, repr=False)
class Route(Brief):
    """How rows are summed by class.

    Attributes
    ----------
    of_row : (n,) intp
        Class of each row.
    size : int
        Number of classes.
    starts : ndarray of intp or None
        Where each class begins, if the rows stand in the order of their classes.
    finer : int or None
        Position of a finer classing among the routes, or None.
    step : (classes of the finer one,) intp or None
        The class here of each class there.
    """

    of_row: Indices
    size: int
    starts: Indices | None
    finer: int | None
    step: Indices | None

    def direct(self, rows: Floats) -> Floats:
        """Return the sums, shape (size,), of rows of shape (n,)."""
        if self.starts is not None:
            return np.asarray(np.add.reduceat(rows, self.starts))
        return np.asarray(np.bincount(self.of_row, weights=rows, minlength=self.size), dtype=float)

    def from_finer(self, sums: Floats) -> Floats:
        """Return the sums from those of the finer classing."""
        if self.step is None:
            raise ValueError("no finer classing")
        return np.asarray(np.bincount(self.step, weights=sums, minlength=self.size), dtype=float)


def lay_routes(classings: Sequence[tuple[Indices, int]]) -> tuple[Route, ...]:
    """Find for each classing whether rows stand in its order, and which other one refines it.

    Parameters
    ----------
    classings : sequence of (ndarray of intp, int)
        Class of each row, and number of classes, each of which has a row.

    Examples
    --------
    >>> unit, network = np.array([2, 0, 1, 1, 0, 2] * 4), np.array([1, 0, 0, 0, 0, 1] * 4)
    >>> lay_routes([(unit, 3), (network, 2)])[1].step.tolist()
    [0, 0, 1]
    """
    order = sorted(range(len(classings)), key=lambda k: (classings[k][1], -k))
    routes = []
    for index, (of_row, size) in enumerate(classings):
        finer, step = None, None
        for other in order[order.index(index) + 1 :]:
            if classings[other][1] * _FINEST > len(of_row):
                break
            step = _step(classings[other], of_row)
            if step is not None:
                finer = other
                break
        routes.append(Route(of_row, size, _starts(of_row, size), finer, step))
    return tuple(routes)


def _starts(of_row: Indices, size: int) -> Indices | None:
    rise = np.diff(of_row)
    if not len(of_row) or of_row[0] != 0 or of_row[-1] != size - 1:
        return None
    if rise.size and (rise.min() < 0 or rise.max() > 1):
        return None
    return np.concatenate([[0], np.flatnonzero(rise) + 1])


def _step(finer: tuple[Indices, int], of_row: Indices) -> Indices | None:
    """Return the class of each finer class, or None where one of them falls into two."""
    codes, size = finer
    step = np.zeros(size, dtype=np.intp)
    for few in (slice(0, 1_000), slice(None)):
        step[codes[few]] = of_row[few]
        if not np.array_equal(step[codes[few]], of_row[few]):
            return None
    return step
