"""Heads fitted at several shrinkages, averaged instead of chosen among.

Which shrinkage predicts best is hardly told by some forty units: choosing one costs more than any
of them gains. So the predictions of all are averaged, with the shares under which the inner folds'
predictions of people are likeliest (stacking of predictive distributions; Yao, Vehtari, Simpson and
Gelman, Bayesian Analysis 13:917, 2018), drawn a little towards equal shares:

    maximise  (1 / D) sum_i log sum_k share_k P_k(answer i)  +  sum_k log share_k,

with shares that add up to 1. Answers to a unit are alike, and tell less than as many answers to
different units: D is their design effect, the variance of log P_k less its mean over k as units
are drawn, over that as answers are (at least 1). Few units leave the shares nearly equal; many
single out what predicts best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import softmax

from imi_bench.arrays import Floats, Strings
from imi_bench.measure.head import Head, HeadRows

_PER_HEAD = ("weights", "gamma", "beta", "lapse")
_ARRAYS = (
    *("scales", "weights", "centres", "spreads", "gamma"),
    *("covariate_centres", "covariate_spreads", "beta"),
)


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


def stacked_shares(told: Floats, rows: HeadRows, units: Strings) -> Floats:
    """Shares of K heads, from what they predict for units that they were not fitted to.

    Parameters
    ----------
    told : (K, T) float64
        Probability of a correct answer.
    rows : HeadRows
    units : (T,) str

    Returns
    -------
    (K,) float64

    Examples
    --------
    >>> none, many = np.empty((2, 0)), np.array([9e5, 1e5])
    >>> rows = HeadRows(none, none, none, many, np.full(2, 1e6))
    >>> told = np.array([[0.9, 0.1], [0.5, 0.5]])
    >>> stacked_shares(told, rows, np.array(["one", "other"])).round(2).tolist()
    [1.0, 0.0]
    """
    hits, misses = rows.successes, rows.answers - rows.successes
    weight = 1 / design_effect(told, rows, units)

    def loss(free: Floats) -> tuple[float, Floats]:
        shares = softmax(free)
        mean = shares @ told
        value = weight * (hits @ np.log(mean) + misses @ np.log1p(-mean)) + np.log(shares).sum()
        slope = weight * (told @ (hits / mean) - told @ (misses / (1 - mean))) + 1 / shares
        return -float(value), -shares * (slope - shares @ slope)

    from scipy.optimize import minimize  # slow to load, and only where something is learnt

    found = minimize(loss, np.zeros(len(told)), jac=True, method="L-BFGS-B")
    return np.asarray(softmax(found.x))


def design_effect(told: Floats, rows: HeadRows, units: Strings) -> float:
    """How many answers of one unit tell heads apart no better than one answer of its own."""
    hits, misses = rows.successes, rows.answers - rows.successes
    right, wrong = (log - log.mean(axis=0) for log in (np.log(told), np.log1p(-told)))
    total = right * hits + wrong * misses
    mean = total.sum(axis=1, keepdims=True) / rows.answers.sum()
    alone = ((right - mean) ** 2 @ hits + (wrong - mean) ** 2 @ misses).sum()
    code = np.unique(units.astype(str), return_inverse=True)[1]
    together = sum((np.bincount(code, one) ** 2).sum() for one in total - mean * rows.answers)
    return max(1.0, float(together / alone)) if alone > 0 else 1.0


def _head(record: Mapping[str, Any]) -> Head:
    arrays: dict[str, Any] = {name: np.array(record[name], dtype=np.float64) for name in _ARRAYS}
    return Head(**arrays, lapse=float(record["lapse"]), linear=bool(record["linear"]))
