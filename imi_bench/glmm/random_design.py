"""Z, factor by factor: products with it and its transpose, without ever forming it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imi_bench.arrays import Floats
from imi_bench.glmm.pattern import Meeting, Pattern
from imi_bench.results import Brief

__all__ = ["RandomDesign"]


@dataclass(frozen=True, repr=False)
class RandomDesign(Brief):
    """Z, factor by factor in the order of the pattern.

    Attributes
    ----------
    pattern : symbolic structure.
    values : for each factor, float64 (n, width), or None for a lone intercept.
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
        total = np.zeros(len(self.pattern.codes[0]))
        for factor, effect in enumerate(effects):
            codes = self.pattern.codes[factor]
            for index in range(effect.shape[1]):
                rows = np.ascontiguousarray(effect[:, index]).take(codes)
                column = self.column(factor, index)
                total += rows if column is None else column * rows
        return total

    def collect(self, rows: Floats) -> list[Floats]:
        """Return Z' v as one (levels, width) array for each factor, for v of shape (n,)."""
        parts = []
        for factor, count in enumerate(self.pattern.levels):
            codes = self.pattern.codes[factor]
            sums = []
            for index in range(self.pattern.widths[factor]):
                column = self.column(factor, index)
                weights = rows if column is None else column * rows
                sums.append(np.bincount(codes, weights=weights, minlength=count))
            parts.append(np.stack(sums, axis=1).astype(np.float64, copy=False))
        return parts

    def gram(self, weight: Floats) -> list[Floats]:
        """Return Z' W Z: one (pairs, width, width) array for each meeting."""
        return [self._meeting_gram(weight, meeting) for meeting in self.pattern.meetings]

    def own_gram(self, weight: Floats, factor: int) -> Floats:
        """Return the diagonal block of Z' W Z of one factor, (levels, width, width)."""
        meetings = self.pattern.meetings
        own = next(m for m in meetings if m.first == m.second == factor)
        return self._meeting_gram(weight, own)

    def _meeting_gram(self, weight: Floats, meeting: Meeting) -> Floats:
        wide, high = (self.pattern.widths[k] for k in (meeting.first, meeting.second))
        block = np.empty((meeting.size, wide, high))
        for a in range(wide):
            left = _times(weight, self.column(meeting.first, a))
            for b in range(high):
                if meeting.first == meeting.second and b < a:
                    block[:, a, b] = block[:, b, a]
                    continue
                product = _times(left, self.column(meeting.second, b))
                block[:, a, b] = np.bincount(
                    meeting.of_row, weights=product, minlength=meeting.size
                )
        return block

    def quadratic(self, blocks: Sequence[Floats]) -> Floats:
        """Return the diagonal of Z K Z', shape (n,), for K given as one block for each meeting."""
        total = np.zeros(len(self.pattern.codes[0]))
        for meeting, block in zip(self.pattern.meetings, blocks, strict=True):
            twice = 1.0 if meeting.first == meeting.second else 2.0
            for a in range(block.shape[1]):
                for b in range(block.shape[2]):
                    rows = np.ascontiguousarray(twice * block[:, a, b]).take(meeting.of_row)
                    rows = _times(rows, self.column(meeting.first, a))
                    total += _times(rows, self.column(meeting.second, b))
        return total


def _times(rows: Floats, column: Floats | None) -> Floats:
    return rows if column is None else rows * column
