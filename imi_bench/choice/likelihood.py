"""The binomial likelihood of the psychometric function, with its exact derivatives.

Model of one row (a trial in one order of its queries, answered by n people)::

    eta = X @ beta                              evidence times slope, plus bias
    p   = lapse/2 + (1 - lapse) * link(eta)     probability of a success
    successes ~ Binomial(n, p)

Parameters travel as one vector ``theta = (*beta, lapse)`` of length q + 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imi_bench.choice.links import Link

__all__ = [
    "BinomialRows",
    "log_likelihood",
    "log_probability",
    "observed_information",
    "row_scores",
    "scoring_step",
]

Floats = NDArray[np.float64]

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


def _probabilities(theta: Floats, rows: BinomialRows, link: Link) -> tuple[Floats, Floats, Floats]:
    eta, lapse = rows.design @ theta[:-1], theta[-1]
    p = lapse / 2 + (1 - lapse) * link.value(eta)
    q = lapse / 2 + (1 - lapse) * link.value(-eta)
    return eta, np.maximum(p, _TINY), np.maximum(q, _TINY)


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


def _jacobian(theta: Floats, rows: BinomialRows, link: Link, eta: Floats) -> Floats:
    """(R, q + 1) derivative of each row's p by theta."""
    by_eta = (1 - theta[-1]) * link.first(eta)
    by_lapse = 0.5 - link.value(eta)
    return np.column_stack([rows.design * by_eta[:, None], by_lapse])


def row_scores(theta: Floats, rows: BinomialRows, link: Link) -> Floats:
    """(R, q + 1) derivative of each row's log-likelihood by theta; their sum is the gradient."""
    eta, p, q = _probabilities(theta, rows, link)
    pull = rows.successes / p - (rows.trials - rows.successes) / q
    return pull[:, None] * _jacobian(theta, rows, link, eta)


def scoring_step(theta: Floats, rows: BinomialRows, link: Link) -> tuple[Floats, Floats]:
    """Gradient (q + 1,) and expected information (q + 1, q + 1) at theta."""
    eta, p, q = _probabilities(theta, rows, link)
    pull = rows.successes / p - (rows.trials - rows.successes) / q
    jacobian = _jacobian(theta, rows, link, eta)
    information = (jacobian * (rows.trials / (p * q))[:, None]).T @ jacobian
    return pull @ jacobian, information


def observed_information(theta: Floats, rows: BinomialRows, link: Link) -> Floats:
    """(q + 1, q + 1) negative second derivative of the log-likelihood at theta."""
    eta, p, q = _probabilities(theta, rows, link)
    misses = rows.trials - rows.successes
    pull = rows.successes / p - misses / q
    jacobian = _jacobian(theta, rows, link, eta)
    information = (jacobian * (rows.successes / p**2 + misses / q**2)[:, None]).T @ jacobian
    curve = pull * (1 - theta[-1]) * link.second(eta)
    information[:-1, :-1] -= (rows.design * curve[:, None]).T @ rows.design
    mixed = rows.design.T @ (pull * link.first(eta))
    information[:-1, -1] += mixed
    information[-1, :-1] += mixed
    return np.asarray(information)
