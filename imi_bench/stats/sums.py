"""Scores as functions of totals: sums over units, and over human answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from imi_bench.arrays import Floats, Ints

__all__ = ["Placed", "Score", "Sums", "Totals"]

Totals = Mapping[str, Floats]
Scale = Literal["identity", "fisher", "logit", "drawn", "folded"]


@dataclass(frozen=True, eq=False)
class Placed:
    """Human answers that are summed into the cells of a table.

    Attributes
    ----------
    place : (R,) int64
        Cell of each answer, 0 to `count` - 1.
    values : (R, m) float64
    count : int
        Cells of the table; the sums are (count, m).
    """

    place: Ints
    values: Floats
    count: int

    @cached_property
    def residuals(self) -> Placed:
        """The values less the mean of their cell."""
        size = np.bincount(self.place, minlength=self.count)
        mean = self.sums(np.zeros_like(self.place), 1)[0] / np.maximum(size, 1)[:, None]
        return Placed(self.place, self.values - mean[self.place], self.count)

    def squares(self, group: Ints) -> Floats:
        """(count, m) sums over groups of the squared sum of each group."""
        width = int(group.max(initial=-1)) + 1
        pair, code = np.unique(self.place * width + group, return_inverse=True)
        summed = np.column_stack([np.bincount(code, column) for column in self.values.T])
        found = np.zeros((self.count, self.values.shape[1]))
        np.add.at(found, pair // width, summed**2)
        return found

    def take(self, rows: Ints) -> Placed:
        """Some of the answers."""
        return Placed(self.place[rows], self.values[rows], self.count)

    def sums(self, group: Ints, groups: int) -> Floats:
        """(groups, count, m) sums over each group of answers."""
        table = np.zeros((groups, self.count, self.values.shape[1]))
        np.add.at(table, (group, self.place), self.values)
        return table


@dataclass(frozen=True, eq=False)
class Sums:
    """What scores are computed from.

    Attributes
    ----------
    units : mapping of str to (U, …) float64
        Sums over each unit's trials or conditions.
    answers : mapping of str to (R,) float64 or Placed
        One number a human answer, to be summed, or summed into a table.
    unit_of_answer, participant : (R,) int64
        Codes of the two clusters each answer belongs to.
    stratum : (U,) int64
        Code of each unit's network.
    """

    units: Mapping[str, Floats]
    answers: Mapping[str, Floats | Placed]
    unit_of_answer: Ints
    participant: Ints
    stratum: Ints

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.stratum)

    def take(self, rows: Ints) -> Sums:
        """Some of the answers, and no sums over units."""
        taken = {
            name: column.take(rows) if isinstance(column, Placed) else column[rows]
            for name, column in self.answers.items()
        }
        return Sums({}, taken, self.unit_of_answer[rows], self.participant[rows], self.stratum)

    def by(self, group: Ints, groups: int) -> dict[str, Floats]:
        """Sums of the answers over groups of them, each (groups, …)."""
        return {
            name: column.sums(group, groups)
            if isinstance(column, Placed)
            else np.bincount(group, column, minlength=groups).astype(np.float64)
            for name, column in self.answers.items()
        }


@dataclass(frozen=True)
class Score:
    """A number computed from totals.

    Attributes
    ----------
    name : str
    unit : str
        Unit of the number, for its `Estimate`.
    of : callable
        Totals, each (B, …), to (B,) float64; NaN where undefined. The totals of `Sums` and
        ``weights`` (B, U) are there.
    over_people : bool
        The score uses nothing but totals of answers, so participants are left out as well.
    undefined : str
        Why the value is NaN where it is.
    scale : str
        Where the interval is symmetric: ``identity``; ``fisher`` for scores from -1 to 1; ``logit``
        for shares of cases that are either so or not. ``drawn`` and ``folded`` scores are not
        smooth, and have intervals from draws (see `imi_bench.stats.intervals`).
    parts : callable, optional
        Of a ``folded`` score: totals to (B, k), whose absolute values sum to the score.
    curved : bool
        Products of averages over the same few units enter the score, such as chance agreement or
        a variance: few units push it, and correcting for that costs precision, which leaving out
        pairs of units measures.
    """

    name: str
    unit: str
    of: Callable[[Totals], Floats]
    over_people: bool = False
    undefined: str = "no variation to compute it from"
    scale: Scale = "identity"
    parts: Callable[[Totals], Floats] | None = None
    curved: bool = False
