"""Response families: log-likelihood and its derivatives in the linear predictor.

A binomial row holds `successes` out of `trials`; all functions are elementwise over rows and
stay finite far into the tails. The working weight is the expected information, as in lme4, so
that the Laplace determinant is the same quantity there and here; for the logit link it equals
the observed information.

The links themselves are those of `imi_bench.stats.links`; what stands here is what a row's
likelihood makes of them. For the logit link that is written out with one exponential a row, which
is where the engine spends its time; a test holds it to the links' own derivatives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from imi_bench.arrays import Floats
from imi_bench.errors import UnknownNameError
from imi_bench.results import Brief
from imi_bench.stats.links import LOGIT, PROBIT

__all__ = [
    "BINOMIAL_LINKS",
    "FamilyName",
    "Floats",
    "Likelihood",
    "LinkName",
    "RowTerms",
    "binomial_link",
]

_BLOCK = 16_384
_FAR = 700.0
_FACTORS = 512

FamilyName = Literal["binomial", "gaussian", "ordinal"]
LinkName = Literal["logit", "probit", "identity"]


@dataclass(frozen=True)
class RowTerms:
    """Derivatives of the log-likelihood of each row; every array is float64 of shape (n,).

    Attributes
    ----------
    score : ndarray of float64
        First derivative in the linear predictor.
    weight : ndarray of float64
        Expected information, minus the expectation of the second derivative.
    observed : ndarray of float64
        Observed information, minus the second derivative (the same array as `weight`
        where the link is canonical).
    slope : ndarray of float64
        Derivative of `weight` in the linear predictor.
    """

    score: Floats
    weight: Floats
    observed: Floats
    slope: Floats


@dataclass(frozen=True, repr=False)
class Likelihood(Brief):
    """The likelihood of binomial rows under a link: log-likelihood and its derivatives.

    Attributes
    ----------
    name : LinkName
    canonical : bool
        Whether expected and observed information agree.
    probability : callable
        Success probability at a linear predictor.
    log_likelihood : callable
        (successes, trials, eta) to log-likelihoods without the binomial coefficient.
    terms : callable
        (successes, trials, eta) to `RowTerms`.
    quantile : callable
        Linear predictor at a probability.
    score : callable or None
        (successes, trials, eta) to the score alone, where that is cheaper than `terms`.
    """

    name: LinkName
    canonical: bool
    probability: Callable[[Floats], Floats]
    log_likelihood: Callable[[Floats, Floats, Floats], Floats]
    terms: Callable[[Floats, Floats, Floats], RowTerms]
    quantile: Callable[[Floats], Floats]
    score: Callable[[Floats, Floats, Floats], Floats] | None = field(default=None, kw_only=True)


def _logit_log_likelihood(successes: Floats, trials: Floats, eta: Floats) -> Floats:
    softplus = np.log(1.0 + np.exp(-np.abs(eta))) + np.maximum(eta, 0.0)
    return np.asarray(successes * eta - trials * softplus)


def _logit_terms(successes: Floats, trials: Floats, eta: Floats) -> RowTerms:
    odds = np.exp(-np.maximum(eta, -_FAR))
    probability = 1.0 / (1.0 + odds)
    failure = odds * probability
    expected = trials * probability
    weight = expected * failure
    return RowTerms(
        score=successes - expected,
        weight=weight,
        observed=weight,
        slope=weight * (failure - probability),
    )


def _logit_score(successes: Floats, trials: Floats, eta: Floats) -> Floats:
    odds = np.negative(np.maximum(eta, -_FAR))
    np.exp(odds, out=odds)
    odds += 1.0
    return np.asarray(successes - np.divide(trials, odds, out=odds))


def _probit_log_likelihood(successes: Floats, trials: Floats, eta: Floats) -> Floats:
    failures = trials - successes
    return np.asarray(successes * PROBIT.log_value(eta) + failures * PROBIT.log_value(-eta))


def _probit_terms(successes: Floats, trials: Floats, eta: Floats) -> RowTerms:
    up, down = PROBIT.mills(eta), PROBIT.mills(-eta)
    failures = trials - successes
    weight = trials * up * down
    return RowTerms(
        score=successes * up - failures * down,
        weight=weight,
        observed=successes * up * (eta + up) + failures * down * (down - eta),
        slope=weight * (down - up - 2.0 * eta),
    )


BINOMIAL_LINKS: dict[str, Likelihood] = {
    "logit": Likelihood(
        "logit",
        True,
        LOGIT.value,
        _logit_log_likelihood,
        _logit_terms,
        LOGIT.inverse,
        score=_logit_score,
    ),
    "probit": Likelihood(
        "probit", False, PROBIT.value, _probit_log_likelihood, _probit_terms, PROBIT.inverse
    ),
}


def row_terms(link: Likelihood, successes: Floats, trials: Floats, eta: Floats) -> RowTerms:
    """Return ``link.terms`` of many rows, a block at a time so that scratch stays in cache."""
    score, weight, observed, slope = np.empty((4, len(eta)))
    for start in range(0, len(eta), _BLOCK):
        part = slice(start, start + _BLOCK)
        terms = link.terms(successes[part], trials[part], eta[part])
        score[part], weight[part], slope[part] = terms.score, terms.weight, terms.slope
        if not link.canonical:
            observed[part] = terms.observed
    return RowTerms(score, weight, weight if link.canonical else observed, slope)


def row_scores(link: Likelihood, successes: Floats, trials: Floats, eta: Floats) -> Floats:
    """Return the score of many rows, a block at a time."""
    if link.score is None:
        return row_terms(link, successes, trials, eta).score
    score = np.empty(len(eta))
    for start in range(0, len(eta), _BLOCK):
        part = slice(start, start + _BLOCK)
        score[part] = link.score(successes[part], trials[part], eta[part])
    return score


def total_log_likelihood(link: Likelihood, successes: Floats, trials: Floats, eta: Floats) -> float:
    """Return the sum of ``link.log_likelihood`` over many rows, a block at a time."""
    total = 0.0
    for start in range(0, len(eta), _BLOCK):
        part = slice(start, start + _BLOCK)
        if link is BINOMIAL_LINKS["logit"] and (trials[part] == 1.0).all():
            total += _single_logit_answers(successes[part], eta[part])
        else:
            total += float(link.log_likelihood(successes[part], trials[part], eta[part]).sum())
    return total


def _single_logit_answers(successes: Floats, eta: Floats) -> float:
    """Return the log-likelihood of answers of 0 or 1, with one logarithm for many rows.

    Each factor 1 + exp(-|eta|) lies between 1 and 2, so that a product of `_FACTORS` is finite.
    """
    factors = np.abs(eta)
    np.exp(np.negative(factors, out=factors), out=factors)
    factors += 1.0
    whole = len(factors) - len(factors) % _FACTORS
    products = np.multiply.reduce(factors[:whole].reshape(-1, _FACTORS), axis=1)
    logs = np.log(products).sum() + np.log(factors[whole:]).sum()
    return float(successes @ eta - np.maximum(eta, 0.0).sum() - logs)


def binomial_link(name: str) -> Likelihood:
    """Return the likelihood of the binomial link called `name`.

    Raises
    ------
    UnknownNameError
        If there is no such link.

    Examples
    --------
    >>> import numpy as np
    >>> float(binomial_link("logit").probability(np.zeros(1))[0])
    0.5
    """
    UnknownNameError.unless_among(name, BINOMIAL_LINKS, kind="binomial link")
    return BINOMIAL_LINKS[name]
