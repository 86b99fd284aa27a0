"""Z, factor by factor: products with it and its transpose, without ever forming it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from imi_bench.arrays import Floats
from imi_bench.glmm.pattern import Pattern
from imi_bench.results import Brief


@dataclass(frozen=True, repr=False)
class RandomDesign(Brief):
    """Z, factor by factor in the order of the pattern.

    Attributes
    ----------
    pattern : Pattern
    values : tuple of ndarray of float64 or None
        For each factor, float64 (n, width), or None for a lone intercept.
    """

    pattern: Pattern
    values: tuple[Floats | None, ...]

    def column(self, factor: int, index: int) -> Floats | None:
        """Return one column of the factor's model matrix; None stands for ones."""
        values = self.values[factor]
        return None if values is None else values[:, index]

    def split(self, vector: Floats) -> list[Floats]:
        """Cut a vector of random effects into one (levels, width) array for each factor."""
        parts, start = [], 0
        for count, width in zip(self.pattern.levels, self.pattern.widths, strict=True):
            parts.append(vector[start : start + count * width].reshape(count, width))
            start += count * width
        return parts

    def spread(self, effects: Sequence[Floats]) -> Floats:
        """Return Z b, shape (n,), for effects given as (levels, width) arrays."""
        plain, pattern = {}, self.pattern
        total: Floats | None = None
        for factor, effect in enumerate(effects):
            codes = pattern.codes[factor]
            for index in range(effect.shape[1]):
                column = self.column(factor, index)
                level = np.ascontiguousarray(effect[:, index])
                if column is None:
                    plain[pattern.own[factor]] = level
                    continue
                rows = level.take(codes)
                rows *= column
                total = rows if total is None else np.add(total, rows, out=total)
        for rows in self._gathered(plain):
            total = rows if total is None else np.add(total, rows, out=total)
        return np.zeros(len(pattern.codes[0])) if total is None else total

    def _gathered(self, plain: dict[int, Floats]) -> Iterator[Floats]:
        """Yield values of classes of rows, row by row; coarse ones are added to finer ones."""
        routes = self.pattern.routes
        plain = dict(plain)
        for index in sorted(plain, key=lambda k: (routes[k].size, -k)):
            route = routes[index]
            if route.step is not None and route.finer in plain:
                plain[route.finer] = plain[route.finer] + plain.pop(index).take(route.step)
        for index, values in plain.items():
            yield values.take(routes[index].of_row)

    def _sums(self, rows: Floats, index: int, known: dict[int, Floats]) -> Floats:
        """Return the sums of rows over the pairs of one meeting; `known` has those at hand."""
        if index not in known:
            route = self.pattern.routes[index]
            finer = route.finer
            if finer is not None and (
                finer in known or self.pattern.routes[finer].starts is not None
            ):
                known[index] = route.from_finer(self._sums(rows, finer, known))
            else:
                known[index] = route.direct(rows)
        return known[index]

    def collect(self, rows: Floats) -> list[Floats]:
        """Return Z' v as one (levels, width) array for each factor, for v of shape (n,)."""
        parts: list[Floats] = []
        plain: dict[int, Floats] = {}
        for factor, count in enumerate(self.pattern.levels):
            own, width = self.pattern.own[factor], self.pattern.widths[factor]
            sums = np.empty((count, width))
            for index in range(width):
                column = self.column(factor, index)
                known: dict[int, Floats] = plain if column is None else {}
                weights = rows if column is None else column * rows
                sums[:, index] = self._sums(weights, own, known)
            parts.append(sums)
        return parts

    def gram(self, weight: Floats) -> list[Floats]:
        """Return Z' W Z: one (pairs, width, width) array for each meeting."""
        plain: dict[int, Floats] = {}
        order = sorted(
            range(len(self.pattern.meetings)), key=lambda k: -self.pattern.meetings[k].size
        )
        made = {k: self._meeting_gram(weight, k, plain) for k in order}
        return [made[k] for k in range(len(order))]

    def own_gram(self, weight: Floats, factor: int) -> Floats:
        """Return the diagonal block of Z' W Z of one factor, (levels, width, width)."""
        return self._meeting_gram(weight, self.pattern.own[factor], {})

    def _meeting_gram(self, weight: Floats, index: int, plain: dict[int, Floats]) -> Floats:
        meeting = self.pattern.meetings[index]
        wide, high = (self.pattern.widths[k] for k in (meeting.first, meeting.second))
        block = np.empty((meeting.size, wide, high))
        for a in range(wide):
            left = self.column(meeting.first, a)
            for b in range(high):
                if meeting.first == meeting.second and b < a:
                    block[:, a, b] = block[:, b, a]
                    continue
                right = self.column(meeting.second, b)
                known = plain if left is None and right is None else {}
                product = _times(_times(weight, left), right)
                block[:, a, b] = self._sums(product, index, known)
        return block

    def quadratic(self, blocks: Sequence[Floats]) -> Floats:
        """Return the diagonal of Z K Z', shape (n,), for K given as one block for each meeting."""
        total: Floats | None = None
        plain = {}
        for index, (meeting, block) in enumerate(zip(self.pattern.meetings, blocks, strict=True)):
            twice = 1.0 if meeting.first == meeting.second else 2.0
            for a in range(block.shape[1]):
                left = self.column(meeting.first, a)
                for b in range(block.shape[2]):
                    right = self.column(meeting.second, b)
                    values = np.ascontiguousarray(twice * block[:, a, b])
                    if left is None and right is None:
                        plain[index] = values
                        continue
                    rows = _times(_times(values.take(meeting.of_row), left), right)
                    total = rows if total is None else np.add(total, rows, out=total)
        for rows in self._gathered(plain):
            total = rows if total is None else np.add(total, rows, out=total)
        return np.zeros(len(self.pattern.codes[0])) if total is None else total


def _times(rows: Floats, column: Floats | None) -> Floats:
    return rows if column is None else rows * column
