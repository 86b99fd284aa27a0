"""Rank intervals and tie groups from all paired differences.

A rank interval counts the submissions that are surely better and surely worse: those whose
difference exceeds a critical value that the largest |t| of the submission's differences stays
below in `level` of cases. It covers the true rank with at least that probability however close
the scores lie, which the range of bootstrapped ranks does not (Mogstad, Romano, Shaikh & Wilhelm,
Review of Economic Studies 91:476, 2024). A tie group holds the submissions that a t test with
Holm's correction over all pairs cannot tell from the group's leader (Holm, Scand. J. Statist.
6:65, 1979). Standard errors are those of `imi_bench.stats.pairs`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from imi_bench.arrays import Floats, Ints
from imi_bench.stats.jackknife import Spread
from imi_bench.stats.multiplicity import holm
from imi_bench.stats.pairs import Pairs


@dataclass(frozen=True, eq=False)
class Ranking:
    """The order of S submissions, higher scores first.

    Attributes
    ----------
    rank : (S,) int64
        1 is best; equal scores share the better rank.
    low, high : (S,) int64
        Ends of the rank interval at `level`, best and worst rank.
    group : (S,) int64
        Tie group, 1 is best. A group's leader is the best submission not in a better group.
    p_leader : (S,) float64
        Holm-adjusted p value against the leader of the group; 1 for the leader itself.
    level : float
    resolvable : float
        Median over pairs of the smallest true difference shown with 80% power at two-sided 5%; NaN
        with fewer than two.
    """

    rank: Ints
    low: Ints
    high: Ints
    group: Ints
    p_leader: Floats
    level: float
    resolvable: float


def rank(
    scores: Floats,
    *,
    spreads: Sequence[Spread | None],
    paired: bool,
    seed: int = 0,
    n_draws: int = 2000,
    level: float = 0.95,
    alpha: float = 0.05,
) -> Ranking:
    """Order submissions by score.

    Parameters
    ----------
    scores : (S,) float64
        On all units; higher is better. NaN ranks last.
    spreads : sequence of S Spread
        What each cluster moves each score by; None where the score is NaN.
    paired : bool
        All submissions are on the same units; otherwise each has its own.
    seed, n_draws : int
        Of the critical values.
    level : float
        Of the rank intervals.
    alpha : float
        Family-wise error rate of the pairwise tests.

    Examples
    --------
    >>> rng, none = np.random.default_rng(0), np.zeros(0)
    >>> common = rng.normal(size=40)
    >>> moved = [(common + rng.normal(scale=0.1, size=40)) / 40 for _ in range(3)]
    >>> spreads = [Spread(m, none, none, np.zeros(40, dtype=np.int64)) for m in moved]
    >>> rank(np.array([3.0, 1.0, 0.99]), spreads=spreads, paired=True).group.tolist()
    [1, 2, 2]
    """
    count = len(scores)
    known = np.isfinite(scores)
    own = stats.rankdata(-np.where(known, scores, -np.inf), method="min").astype(np.int64)
    low, high = own.copy(), own.copy()
    p = np.where(np.logical_xor.outer(known, known), 0.0, 1.0)
    resolvable = float("nan")
    rows = np.flatnonzero(known)
    spread = [one for one in spreads if one is not None]
    if len(rows) > 1:
        pairs = Pairs.of(spread, paired=paired)
        t = pairs.statistics(scores[rows])
        critical = pairs.critical(level=level, n_draws=n_draws, seed=seed)[:, None]
        low[rows] = np.minimum(1 + (t < -critical).sum(axis=1), own[rows])
        high[rows] = np.maximum(len(rows) - (t > critical).sum(axis=1), own[rows])
        p[np.ix_(rows, rows)] = pairs.p_values(scores[rows])
        above = np.triu_indices(len(rows), 1)
        factor = stats.t.ppf(0.975, pairs.df[above]) + stats.t.ppf(0.8, pairs.df[above])
        resolvable = float(np.median(factor * pairs.error[above]))
    high[~known] = count
    group, p_leader = _tie_groups(np.where(known, scores, -np.inf), _adjusted(p), alpha)
    return Ranking(own, low, high, group, p_leader, level, resolvable)


def _tie_groups(scores: Floats, adjusted: Floats, alpha: float) -> tuple[Ints, Floats]:
    order = np.argsort(-scores, kind="stable")
    group = np.zeros(len(scores), dtype=np.int64)
    p_leader = np.ones(len(scores))
    leader, number = -1, 0
    for row in order:
        if leader < 0 or adjusted[leader, row] <= alpha:
            leader, number = int(row), number + 1
        group[row] = number
        p_leader[row] = 1.0 if row == leader else adjusted[leader, row]
    return group, p_leader


def _adjusted(p: Floats) -> Floats:
    """Holm over all pairs, (S, S)."""
    upper = np.triu_indices(len(p), 1)
    adjusted = np.ones_like(p)
    adjusted[upper] = holm(p[upper])
    return np.minimum(adjusted, adjusted.T)
