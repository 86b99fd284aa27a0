"""Rank intervals and tie groups from one paired cluster bootstrap.

Every submission is scored on the same resampled units, so that what is common to all of them
cancels. A rank interval is the range of ranks a submission takes over the resamples; a tie group
holds the submissions that a paired test with Holm's correction over all pairs cannot tell from the
group's leader. Source: Hall & Miller, Annals of Statistics 37:3929 (2009), for bootstrapped ranks;
Holm, Scand. J. Statist. 6:65 (1979).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from imi_bench.arrays import Floats, Ints
from imi_bench.stats.multiplicity import holm


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
    """

    rank: Ints
    low: Ints
    high: Ints
    group: Ints
    p_leader: Floats
    level: float


def rank(scores: Floats, *, resampled: Floats, level: float = 0.95, alpha: float = 0.05) -> Ranking:
    """Order submissions by score.

    Parameters
    ----------
    scores : (S,) float64
        On all units; higher is better. NaN ranks last.
    resampled : (B, S) float64
        The same scores on each resample, all submissions on the same units.
    level : float
        Of the rank intervals.
    alpha : float
        Family-wise error rate of the pairwise tests.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> common = rng.normal(size=(999, 1))
    >>> scores = np.array([3.0, 1.0, 0.99])
    >>> resampled = scores + common + rng.normal(scale=0.1, size=(999, 3))
    >>> rank(scores, resampled=resampled).group.tolist()
    [1, 2, 2]
    """
    filled = np.where(np.isnan(scores), -np.inf, scores)
    own = stats.rankdata(-filled, method="min").astype(np.int64)
    each = stats.rankdata(-np.nan_to_num(resampled, nan=-np.inf), method="average", axis=1)
    tail = (1 - level) / 2
    low, high = np.quantile(each, [tail, 1 - tail], axis=0, method="closest_observation")
    low = np.minimum(np.floor(low).astype(np.int64), own)
    high = np.maximum(np.ceil(high).astype(np.int64), own)
    group, p_leader = _tie_groups(filled, resampled, alpha)
    return Ranking(own, low, high, group, p_leader, level)


def _tie_groups(scores: Floats, resampled: Floats, alpha: float) -> tuple[Ints, Floats]:
    order = np.argsort(-scores, kind="stable")
    adjusted = _pairwise_p(scores, resampled)
    group = np.zeros(len(scores), dtype=np.int64)
    p_leader = np.ones(len(scores))
    leader, number = -1, 0
    for row in order:
        if leader < 0 or adjusted[leader, row] <= alpha:
            leader, number = int(row), number + 1
        group[row] = number
        p_leader[row] = 1.0 if row == leader else adjusted[leader, row]
    return group, p_leader


def _pairwise_p(scores: Floats, resampled: Floats) -> Floats:
    """Holm-adjusted two-sided p values of every paired difference, (S, S)."""
    count = len(scores)
    if count < 2:
        return np.ones((count, count))
    finite = np.isfinite(scores)
    covariance = np.atleast_2d(np.cov(np.nan_to_num(resampled), rowvar=False))
    variance = np.add.outer(np.diag(covariance), np.diag(covariance)) - 2 * covariance
    error = np.sqrt(np.maximum(variance, 0))
    safe = np.where(finite, scores, 0)
    difference = np.abs(np.subtract.outer(safe, safe))
    tiny = 1e-12 * (1 + np.abs(safe).max())
    z = np.where(error > tiny, difference / np.maximum(error, tiny), 0)
    p = np.where(error > tiny, 2 * stats.norm.sf(z), np.where(difference > tiny, 0.0, 1.0))
    one_missing = np.logical_xor.outer(finite, finite)
    p = np.where(one_missing, 0.0, p)
    upper = np.triu_indices(count, 1)
    adjusted = np.ones((count, count))
    adjusted[upper] = holm(p[upper])
    return np.minimum(adjusted, adjusted.T)
