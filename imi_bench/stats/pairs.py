"""Standard errors of all pairwise differences of many scores at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from imi_bench.arrays import Floats
from imi_bench.errors import InputError
from imi_bench.provenance import generator
from imi_bench.stats.jackknife import Spread

_AT_ONCE = 128  # draws, so that what is worked on stays in the cache


@dataclass(frozen=True, eq=False)
class Pairs:
    """Differences of every two of S scores.

    Attributes
    ----------
    error : (S, S) float64
        Standard error of each difference; 0 where the two are the same throughout.
    df : (S, S) float64
        Degrees of freedom of its t.
    moved : (S, n) float64
        What each unit moves each score by; other rows' units are zero where units are not shared.
    """

    error: Floats
    df: Floats
    moved: Floats

    @classmethod
    def of(cls, spreads: Sequence[Spread], *, paired: bool) -> Pairs:
        """From what clusters move the scores by.

        Parameters
        ----------
        spreads : sequence of Spread
            One or more.
        paired : bool
            All scores are on the same clusters. Otherwise each has units of its own, and errors
            are independent (Welch 1947 for the degrees of freedom).

        Raises
        ------
        InputError
            Paired scores of different numbers of clusters.
        """
        if not paired:
            return cls._apart(spreads)
        if len({(len(s.by_unit), len(s.by_participant), len(s.by_cell)) for s in spreads}) > 1:
            raise InputError("scores to be paired are not on the same units and participants")
        by_unit = np.stack([s.by_unit for s in spreads])
        unit = _distances(by_unit)
        people = _distances(np.stack([s.by_participant for s in spreads]))
        more = np.maximum(0, people - _distances(np.stack([s.by_cell for s in spreads])))
        units = len(spreads[0].by_unit) - len(np.unique(spreads[0].stratum))
        count = max(len(spreads[0].by_participant) - 1, 1)
        total = unit + more
        with np.errstate(invalid="ignore", divide="ignore"):
            df = total**2 / (unit**2 / units + more**2 / count)
        return cls(np.sqrt(total), np.where(total > 0, df, units), by_unit)

    @classmethod
    def _apart(cls, spreads: Sequence[Spread]) -> Pairs:
        each = np.array([s.variance for s in spreads])
        own = np.array([s.df for s in spreads])
        total = np.add.outer(each, each)
        of_df = np.where(each > 0, each**2 / np.maximum(own, 1), 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            df = total**2 / np.add.outer(of_df, of_df)
        np.fill_diagonal(total, 0)
        df = np.where(np.isfinite(df), df, np.add.outer(own, own))
        return cls(np.sqrt(total), df, np.diag(np.sqrt(each)))

    def statistics(self, scores: Floats) -> Floats:
        """(S, S) t of row less column; infinite where a difference has no error, 0 for none."""
        difference = np.subtract.outer(scores, scores)
        tiny = 1e-12 * (1 + np.abs(scores).max(initial=0))
        safe = np.where(self.error > tiny, self.error, 1.0)
        certain = np.where(np.abs(difference) > tiny, np.copysign(np.inf, difference), 0.0)
        return np.asarray(np.where(self.error > tiny, difference / safe, certain))

    def p_values(self, scores: Floats) -> Floats:
        """(S, S) two-sided p of each difference, unadjusted."""
        return np.asarray(2 * special.stdtr(self.df, -np.abs(self.statistics(scores))))

    def critical(self, *, level: float, n_draws: int, seed: int) -> Floats:
        """(S,) what the largest of a row's |t| exceeds with probability 1 - level.

        From normal weights on units, so that the correlation of a row's differences counts; df is
        the median one's.
        """
        weights = generator(seed, "ranks").standard_normal((n_draws, self.moved.shape[1]))
        drawn = weights @ self.moved.T
        df = float(np.median(self.df))
        shrunk = np.sqrt(2 * special.gammaincinv(df / 2, (np.arange(n_draws) + 0.5) / n_draws) / df)
        drawn /= generator(seed, "scale").permutation(shrunk)[:, None]
        return np.asarray(np.quantile(_largest(drawn, self.moved), level, axis=1, method="higher"))


def _largest(drawn: Floats, moved: Floats) -> Floats:
    """(S, B) largest |t| of each score's difference from any other, in each draw (B, S)."""
    error = np.sqrt(_distances(moved))
    np.fill_diagonal(error, 0.0)
    precision = np.divide(1.0, error, out=np.zeros_like(error), where=error > 0)
    found = np.zeros(drawn.T.shape)
    for start in range(0, len(drawn), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        values = np.ascontiguousarray(drawn[part].T)
        t = np.empty_like(values)
        for row in range(len(values)):
            np.subtract(values, values[row], out=t)
            np.abs(t, out=t)
            t *= precision[row][:, None]
            t.max(axis=0, out=found[row, part])
    return found


def _distances(rows: Floats) -> Floats:
    """(S, S) squared distances; what rounding leaves of equal rows is 0."""
    gram = rows @ rows.T
    squares = np.diag(gram)
    found = np.add.outer(squares, squares) - 2 * gram
    scale = np.add.outer(squares, squares)
    return np.asarray(np.where(found > 1e-13 * scale, found, 0.0))
