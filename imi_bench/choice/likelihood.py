"""The binomial likelihood of the psychometric function, with its exact derivatives.

Model of one row (a trial in one order of its queries, answered by n people)::

    eta = beta @ X                              evidence times slope, plus bias
    p   = lapse/2 + (1 - lapse) * link(eta)     probability of a success
    successes ~ Binomial(n, p)

Parameters travel as one vector ``theta = (*beta, lapse)`` of length q + 1. Any number of axes may
stand before those that are named: several fits at once, each with rows and parameters of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from imi_bench.arrays import Floats, Ints
from imi_bench.stats.links import LOGIT, Link

_TINY = 1e-300


@dataclass(frozen=True, eq=False)
class BinomialRows:
    """Aggregated answers.

    Attributes
    ----------
    columns : (..., q, R) float64
        One a coefficient: evidence (by group, where slopes differ) and, with a bias, ones.
    successes, trials : (..., R) float64
        0 <= successes <= trials.
    """

    columns: Floats
    successes: Floats
    trials: Floats

    @cached_property
    def misses(self) -> Floats:
        """(..., R) trials that are no successes."""
        return np.asarray(self.trials - self.successes)

    def take(self, fits: Ints) -> BinomialRows:
        """Some of several fits' rows."""
        return BinomialRows(self.columns[fits], self.successes[fits], self.trials[fits])


@dataclass(frozen=True, eq=False)
class Point:
    """Each row's evidence in link units, and probabilities of a success and of a failure."""

    eta: Floats
    value: Floats
    other: Floats
    p: Floats
    q: Floats

    @classmethod
    def at(cls, theta: Floats, rows: BinomialRows, link: Link) -> Self:
        """Where the parameters put the rows."""
        lapse = theta[..., -1:]
        eta = (theta[..., None, :-1] @ rows.columns)[..., 0, :]
        value, other = _both(eta, link)
        p, q = (np.maximum(lapse / 2 + (1 - lapse) * v, _TINY) for v in (value, other))
        return cls(eta, value, other, p, q)

    def first(self, link: Link) -> Floats:
        """The link's first derivative; the logistic function's is at hand."""
        return self.value * self.other if link is LOGIT else np.asarray(link.first(self.eta))

    def second(self, link: Link) -> Floats:
        """The link's second derivative."""
        if link is LOGIT:
            return self.value * self.other * (self.other - self.value)
        return np.asarray(link.second(self.eta))

    def pull(self, rows: BinomialRows) -> Floats:
        """Derivative of each row's log-likelihood by its p."""
        return np.asarray(rows.successes / self.p - rows.misses / self.q)


def _both(eta: Floats, link: Link) -> tuple[Floats, Floats]:
    """The link at eta and at -eta; of the logistic function both come from one exponential."""
    if link is not LOGIT:
        return np.asarray(link.value(eta)), np.asarray(link.value(-eta))
    tail = np.exp(-np.abs(eta))
    large = 1 / (1 + tail)
    small, right = tail * large, eta >= 0
    return np.where(right, large, small), np.where(right, small, large)


def log_probability(eta: Floats, lapse: float, link: Link) -> Floats:
    """``log(lapse/2 + (1 - lapse) * link(eta))``, without underflow."""
    if lapse == 0:
        return np.asarray(link.log_value(eta))
    return np.asarray(np.log(lapse / 2 + (1 - lapse) * link.value(eta)))


def log_likelihood(
    theta: Floats, rows: BinomialRows, link: Link, *, at: Point | None = None
) -> Floats:
    """Sum of ``k log p + (n - k) log(1 - p)``, without the binomial coefficient, in nats."""
    at = at or Point.at(theta, rows, link)
    hits, misses = np.log(at.p), np.log(at.q)
    sure = theta[..., -1] == 0
    if sure.any():  # where there is no lapse, probabilities may underflow, their logarithms not
        hits[sure], misses[sure] = link.log_value(at.eta[sure]), link.log_value(-at.eta[sure])
    summed = np.einsum("...r,...r->...", rows.successes, hits)
    return np.asarray(summed + np.einsum("...r,...r->...", rows.misses, misses))


def _jacobian(theta: Floats, rows: BinomialRows, link: Link, at: Point) -> Floats:
    """(..., q + 1, R) derivative of each row's p by theta."""
    jacobian = np.empty((*at.eta.shape[:-1], theta.shape[-1], at.eta.shape[-1]))
    rise = (1 - theta[..., -1:]) * at.first(link)
    np.multiply(rows.columns, rise[..., None, :], out=jacobian[..., :-1, :])
    np.subtract(0.5, at.value, out=jacobian[..., -1, :])
    return jacobian


def row_scores(theta: Floats, rows: BinomialRows, link: Link) -> Floats:
    """(..., q + 1, R) derivative of each row's log-likelihood; the gradient is their sum."""
    at = Point.at(theta, rows, link)
    return np.asarray(at.pull(rows)[..., None, :] * _jacobian(theta, rows, link, at))


def scoring_step(
    theta: Floats, rows: BinomialRows, link: Link, *, at: Point | None = None
) -> tuple[Floats, Floats]:
    """Gradient (..., q + 1) and expected information (..., q + 1, q + 1) at theta."""
    at = at or Point.at(theta, rows, link)
    jacobian = _jacobian(theta, rows, link, at)
    gradient = (jacobian @ at.pull(rows)[..., None])[..., 0]
    weight = rows.trials / (at.p * at.q)
    return gradient, (jacobian * weight[..., None, :]) @ jacobian.swapaxes(-1, -2)


def observed_information(theta: Floats, rows: BinomialRows, link: Link) -> Floats:
    """(..., q + 1, q + 1) negative second derivative of the log-likelihood at theta."""
    at = Point.at(theta, rows, link)
    pull = at.pull(rows)
    jacobian = _jacobian(theta, rows, link, at)
    weight = rows.successes / at.p / at.p + rows.misses / at.q / at.q
    information = (jacobian * weight[..., None, :]) @ jacobian.swapaxes(-1, -2)
    curve = pull * (1 - theta[..., -1:]) * at.second(link)
    information[..., :-1, :-1] -= (rows.columns * curve[..., None, :]) @ rows.columns.swapaxes(
        -1, -2
    )
    mixed = (rows.columns @ (pull * at.first(link))[..., None])[..., 0]
    information[..., :-1, -1] += mixed
    information[..., -1, :-1] += mixed
    return np.asarray(information)
