"""Scores as functions of totals: sums over units, and over human answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from imi_bench.arrays import Floats, Ints

__all__ = ["OverPlaces", "Placed", "Score", "Sums", "Totals", "renumbered"]

Totals = Mapping[str, Floats]
Scale = Literal[
    "identity",
    "fisher",
    "attenuated",
    "logit",
    "growing",
    "kappa",
    "ratio",
    "drawn",
    "drawn fisher",
]

_SPARSE = 20


def renumbered(codes: Ints) -> tuple[Ints, Ints]:
    """The distinct codes, rising, and for each code which of them it is.

    As `numpy.unique` with its inverse, by counting where the codes are not far apart.

    Examples
    --------
    >>> [part.tolist() for part in renumbered(np.array([7, 2, 7]))]
    [[2, 7], [1, 0, 1]]
    """
    if not len(codes) or codes.min() < 0 or codes.max() > _SPARSE * len(codes):
        distinct, inverse = np.unique(codes, return_inverse=True)
        return distinct, inverse.astype(np.int64)
    there = np.bincount(codes) > 0
    return np.flatnonzero(there), (np.cumsum(there) - 1)[codes]


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
        pair, code = renumbered(self.place * width + group)
        squared = [np.bincount(code, column) ** 2 for column in self.values.T]
        place = pair // width
        return np.column_stack([np.bincount(place, s, minlength=self.count) for s in squared])

    def take(self, rows: Ints) -> Placed:
        """Some of the answers."""
        return Placed(self.place[rows], self.values[rows], self.count)

    def entries(self, group: Ints) -> tuple[Ints, Ints, Floats]:
        """The sums over each group that are not of nothing: their group, place, and (E, m) sums."""
        pair, code = renumbered(group * self.count + self.place)
        columns = [np.bincount(code, column, minlength=len(pair)) for column in self.values.T]
        return pair // self.count, pair % self.count, np.column_stack(columns)

    def sums(self, group: Ints, groups: int) -> Floats:
        """(groups, count, m) sums over each group of answers."""
        cell, cells = group * self.count + self.place, groups * self.count
        columns = [np.bincount(cell, column, minlength=cells) for column in self.values.T]
        return np.asarray(np.stack(columns, axis=-1).reshape(groups, self.count, -1), np.float64)


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
class OverPlaces:
    """A score of one table: what each of its places gives is added up, and the sums make the score.

    A group of answers lies in few places, so that leaving it out changes few terms.

    Attributes
    ----------
    table : str
    part : callable
        What a place gives: its totals (…, m) to (…, k).
    of : callable
        The k sums over places (…, k) to the score (…).
    """

    table: str
    part: Callable[[Floats], Floats]
    of: Callable[[Floats], Floats]

    def __call__(self, totals: Totals) -> Floats:
        """The score of totals."""
        return self.of(self.part(totals[self.table]).sum(axis=-2))

    def without(self, table: Placed, group: Ints, groups: int) -> Floats:
        """(groups,) the score without each group of answers."""
        everything = table.sums(np.zeros_like(group), 1)[0]
        whole = self.part(everything)
        of_group, place, taken = table.entries(group)
        change = self.part(everything[place] - taken) - whole[place]
        moved = [np.bincount(of_group, column, minlength=groups) for column in change.T]
        return self.of(whole.sum(axis=0) + np.column_stack(moved))


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
        Where the interval is symmetric: ``identity``; ``fisher`` for scores from -1 to 1,
        ``attenuated`` for those over a ceiling; ``logit`` for shares of cases that are either so or
        not; ``growing`` for scores whose standard error grows with them, ``kappa`` for those whose
        error also vanishes at 1; ``ratio`` for quotients of
        two (see `imi_bench.stats.scales`). ``drawn`` scores, and ``drawn fisher`` by their Fisher's
        z, are far from linear in their totals, and have intervals from draws (see
        `imi_bench.stats.intervals`).
    settled : callable, optional
        Of a score by draws: a table's totals (k, m) and the noise of draws (B, k, m) to totals
        without as much variation as that noise has, to which it is then added.
    no_interval : str
        Why no interval of this score holds, and no test of a difference; empty where one does.
    origin, growth : float
        Of a ``growing`` score: where its error is smallest, and how fast its variance grows.
    least, trials : callable, optional
        Of a ``kappa``: the totals to the least that it could be with as many correct answers, -1 by
        default, and to the trials that its variance is of, less conditions, where each has several
        answers.
    ends : tuple of float
        Between what the score lies by its definition; an interval is cut there.
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
    settled: Callable[[Floats, Floats], Floats] | None = None
    no_interval: str = ""
    curved: bool = False
    origin: float = 0.0
    growth: float = 1.0
    least: Callable[[Totals], Floats] | None = None
    trials: Callable[[Totals], Floats] | None = None
    ends: tuple[float, float] = (-math.inf, math.inf)
