"""The binomial likelihood of the psychometric function, with its exact derivatives.

Model of one row (a trial in one order of its queries, answered by n people)::

    eta = X @ beta                              evidence times slope, plus bias
    p   = lapse/2 + (1 - lapse) * link(eta)     probability of a success
    successes ~ Binomial(n, p)

Parameters travel as one vector ``theta = (*beta, lapse)`` of length q + 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from imi_bench.arrays import Floats
from imi_bench.stats.links import LOGIT, Link

__all__ = [
    "BinomialRows",
    "log_likelihood",
    "log_probability",
    "observed_information",
    "row_scores",
    "scoring_step",
]


_TINY = 1e-300


@dataclass(frozen=True, eq=False)
class BinomialRows:
    """Aggregated answers.

    Attributes
    ----------
    design : (R, q) float64
        One column a coefficient: evidence (by group, where slopes differ) and, with a bias, ones.
    successes, trials : (R,) float64
        0 <= successes <= trials.
    """

    design: Floats
    successes: Floats
    trials: Floats


@dataclass(frozen=True, eq=False)
class _Point:
    """Each row's evidence in link units, and probabilities of a success and of a failure."""

    eta: Floats
    value: Floats
    other: Floats
    p: Floats
    q: Floats

    @classmethod
    def at(cls, theta: Floats, rows: BinomialRows, link: Link) -> Self:
        eta, lapse = rows.design @ theta[:-1], theta[-1]
        value, other = link.value(eta), link.value(-eta)
        p, q = (np.maximum(lapse / 2 + (1 - lapse) * v, _TINY) for v in (value, other))
        return cls(eta, value, other, p, q)

    def first(self, link: Link) -> Floats:
        """The link's first derivative; the logistic function's is at hand."""
        return self.value * self.other if link is LOGIT else link.first(self.eta)


def log_probability(eta: Floats, lapse: float, link: Link) -> Floats:
    """``log(lapse/2 + (1 - lapse) * link(eta))``, without underflow."""
    if lapse == 0:
        return np.asarray(link.log_value(eta))
    return np.asarray(np.log(lapse / 2 + (1 - lapse) * link.value(eta)))


def log_likelihood(theta: Floats, rows: BinomialRows, link: Link) -> float:
    """Sum of ``k log p + (n - k) log(1 - p)``, without the binomial coefficient, in nats."""
    eta, lapse = rows.design @ theta[:-1], float(theta[-1])
    hits, misses = log_probability(eta, lapse, link), log_probability(-eta, lapse, link)
    return float(rows.successes @ hits + (rows.trials - rows.successes) @ misses)


def _jacobian(theta: Floats, rows: BinomialRows, link: Link, at: _Point) -> Floats:
    """(R, q + 1) derivative of each row's p by theta."""
    jacobian = np.empty((len(at.eta), len(theta)))
    jacobian[:, :-1] = rows.design * ((1 - theta[-1]) * at.first(link))[:, None]
    jacobian[:, -1] = 0.5 - at.value
    return jacobian


def row_scores(theta: Floats, rows: BinomialRows, link: Link) -> Floats:
    """(R, q + 1) derivative of each row's log-likelihood by theta; their sum is the gradient."""
    at = _Point.at(theta, rows, link)
    pull = rows.successes / at.p - (rows.trials - rows.successes) / at.q
    return pull[:, None] * _jacobian(theta, rows, link, at)


def scoring_step(theta: Floats, rows: BinomialRows, link: Link) -> tuple[Floats, Floats]:
    """Gradient (q + 1,) and expected information (q + 1, q + 1) at theta."""
    at = _Point.at(theta, rows, link)
    pull = rows.successes / at.p - (rows.trials - rows.successes) / at.q
    jacobian = _jacobian(theta, rows, link, at)
    information = (jacobian * (rows.trials / (at.p * at.q))[:, None]).T @ jacobian
    return pull @ jacobian, information


def observed_information(theta: Floats, rows: BinomialRows, link: Link) -> Floats:
    """(q + 1, q + 1) negative second derivative of the log-likelihood at theta."""
    at = _Point.at(theta, rows, link)
    misses = rows.trials - rows.successes
    pull = rows.successes / at.p - misses / at.q
    jacobian = _jacobian(theta, rows, link, at)
    information = (jacobian * (rows.successes / at.p**2 + misses / at.q**2)[:, None]).T @ jacobian
    curve = pull * (1 - theta[-1]) * link.second(at.eta)
    information[:-1, :-1] -= (rows.design * curve[:, None]).T @ rows.design
    mixed = rows.design.T @ (pull * at.first(link))
    information[:-1, -1] += mixed
    information[-1, :-1] += mixed
    return np.asarray(information)
