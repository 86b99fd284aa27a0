"""Heads fitted at several shrinkages, averaged instead of chosen among.

Which shrinkage predicts best is hardly told by some forty units: choosing one costs more than any
of them gains. So the predictions of all are averaged, with the shares under which the inner folds'
predictions of people are likeliest (stacking of predictive distributions; Yao, Vehtari, Simpson and
Gelman, Bayesian Analysis 13:917, 2018), drawn a little towards equal shares:

    maximise  sum_i log sum_k share_k P_k(answer i)  +  sum_k log share_k,   sum_k share_k = 1.

Few answers leave the shares nearly equal; many single out what predicts best. The climb is
expectation and maximisation, which keeps shares positive and never falls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from imi_bench.arrays import Floats
from imi_bench.measure.head import Head, HeadRows

__all__ = ["Mixture", "joined", "stacked_shares"]

_PER_HEAD = ("weights", "gamma", "beta", "lapse")
_ARRAYS = (
    *("scales", "weights", "centres", "spreads", "gamma"),
    *("covariate_centres", "covariate_spreads", "beta"),
)
_ROUNDS, _STILL = 500, 1e-6


@dataclass(frozen=True, eq=False)
class Mixture:
    """The average of heads with one squash.

    Attributes
    ----------
    heads : tuple of Head
        K, fitted to the same rows: scales, centres and spreads are common to all.
    shares : (K,) float64
        Positive; their sum is 1.
    """

    heads: tuple[Head, ...]
    shares: Floats

    def probability(self, rows: HeadRows) -> Floats:
        """(T,) probability that a person is correct."""
        return np.asarray(self.shares @ np.stack([one.probability(rows) for one in self.heads]))

    @property
    def weights(self) -> Floats:
        """(J,) mean weights."""
        return np.asarray(self.shares @ np.stack([one.weights for one in self.heads]))

    def standardised(self, evidence: Floats) -> Floats:
        """(T, J) squashed evidence."""
        return self.heads[0].standardised(evidence)

    def to_json(self) -> dict[str, Any]:
        """Fields of a head; weights, gamma, beta and lapse have one row a head."""
        found: dict[str, Any] = dict(vars(self.heads[0]))
        for name in _PER_HEAD:
            found[name] = np.array([getattr(one, name) for one in self.heads])
        found["converged"] = all(one.converged for one in self.heads)
        return {**found, "shares": self.shares}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Mixture:
        """Read what `to_json` gave, or the fields of a single head."""
        if "shares" not in record:
            return cls((_head(record),), np.ones(1))
        shares = np.array(record["shares"], dtype=np.float64)
        own = [
            {**record, **{name: record[name][k] for name in _PER_HEAD}} for k in range(len(shares))
        ]
        return cls(tuple(map(_head, own)), shares)


def joined(heads: Sequence[Head], shares: Floats) -> Mixture:
    """The mixture of heads; of linear ones a single head with the mean weights.

    A weighted sum stays one in that way, which the average of logistic functions is not.
    """
    found = Mixture(tuple(heads), shares)
    if not heads[0].linear:
        return found
    means: dict[str, Any] = {
        name: np.tensordot(shares, np.array([getattr(one, name) for one in heads]), axes=1)
        for name in _PER_HEAD
    }
    means["lapse"] = float(means["lapse"])
    means["converged"] = all(one.converged for one in heads)
    whole = replace(heads[0], **means)
    return Mixture((whole,), np.ones(1))


def stacked_shares(told: Floats, rows: HeadRows) -> Floats:
    """Shares of K heads, from what they predict for units that they were not fitted to.

    Parameters
    ----------
    told : (K, T) float64
        Probability of a correct answer.
    rows : HeadRows
        The T trials.

    Returns
    -------
    (K,) float64

    Examples
    --------
    >>> none, many = np.empty((2, 0)), np.array([9e5, 1e5])
    >>> rows = HeadRows(none, none, none, many, np.full(2, 1e6))
    >>> stacked_shares(np.array([[0.9, 0.1], [0.5, 0.5]]), rows).round(3).tolist()
    [1.0, 0.0]
    """
    shares = np.full(len(told), 1 / len(told))
    for _ in range(_ROUNDS):
        mean = shares @ told
        hits, misses = rows.successes / mean, (rows.answers - rows.successes) / (1 - mean)
        counts = shares * (told @ hits + (1 - told) @ misses) + 1
        new = counts / counts.sum()
        still = bool(np.abs(new - shares).max() < _STILL)
        shares = new
        if still:
            break
    return shares


def _head(record: Mapping[str, Any]) -> Head:
    arrays: dict[str, Any] = {name: np.array(record[name], dtype=np.float64) for name in _ARRAYS}
    return Head(**arrays, lapse=float(record["lapse"]), linear=bool(record["linear"]))
