"""Response families: log-likelihood and its derivatives in the linear predictor.

A binomial row holds `successes` out of `trials`; all functions are elementwise over rows and
stay finite far into the tails. The working weight is the expected information, as in lme4, so
that the Laplace determinant is the same quantity there and here; for the logit link it equals
the observed information.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from imi_bench.arrays import Floats
from imi_bench.errors import UnknownNameError

__all__ = [
    "BINOMIAL_LINKS",
    "FamilyName",
    "Floats",
    "Link",
    "LinkName",
    "RowTerms",
    "binomial_link",
]

_BLOCK = 16_384

FamilyName = Literal["binomial", "gaussian", "ordinal"]
LinkName = Literal["logit", "probit", "identity"]


@dataclass(frozen=True)
class RowTerms:
    """Derivatives of the log-likelihood of each row; every array is float64 of shape (n,).

    Attributes
    ----------
    score : first derivative in the linear predictor.
    weight : expected information, minus the expectation of the second derivative.
    observed : observed information, minus the second derivative (the same array as `weight`
        where the link is canonical).
    slope : derivative of `weight` in the linear predictor.
    """

    score: Floats
    weight: Floats
    observed: Floats
    slope: Floats


@dataclass(frozen=True)
class Link:
    """A binomial link: probabilities, log-likelihood and its derivatives.

    Attributes
    ----------
    name : the link's name.
    canonical : whether expected and observed information agree.
    probability : success probability at a linear predictor.
    log_likelihood : (successes, trials, eta) to log-likelihoods without the binomial coefficient.
    terms : (successes, trials, eta) to `RowTerms`.
    quantile : linear predictor at a probability.
    """

    name: LinkName
    canonical: bool
    probability: Callable[[Floats], Floats]
    log_likelihood: Callable[[Floats, Floats, Floats], Floats]
    terms: Callable[[Floats, Floats, Floats], RowTerms]
    quantile: Callable[[Floats], Floats]


def _logit_log_likelihood(successes: Floats, trials: Floats, eta: Floats) -> Floats:
    softplus = np.log(1.0 + np.exp(-np.abs(eta))) + np.maximum(eta, 0.0)
    return np.asarray(successes * eta - trials * softplus)


def _logit_terms(successes: Floats, trials: Floats, eta: Floats) -> RowTerms:
    small = np.exp(-np.abs(eta))
    large = 1.0 / (1.0 + small)
    probability = np.where(eta >= 0.0, large, small * large)
    weight = trials * small * large * large
    return RowTerms(
        score=successes - trials * probability,
        weight=weight,
        observed=weight,
        slope=weight * (1.0 - 2.0 * probability),
    )


def _mills(eta: Floats) -> Floats:
    """Return phi(eta) / Phi(eta), the inverse Mills ratio of the lower tail."""
    log_density = -0.5 * eta * eta - 0.5 * np.log(2.0 * np.pi)
    return np.asarray(np.exp(log_density - special.log_ndtr(eta)))


def _probit_log_likelihood(successes: Floats, trials: Floats, eta: Floats) -> Floats:
    failures = trials - successes
    return np.asarray(successes * special.log_ndtr(eta) + failures * special.log_ndtr(-eta))


def _probit_terms(successes: Floats, trials: Floats, eta: Floats) -> RowTerms:
    up, down = _mills(eta), _mills(-eta)
    failures = trials - successes
    weight = trials * up * down
    return RowTerms(
        score=successes * up - failures * down,
        weight=weight,
        observed=successes * up * (eta + up) + failures * down * (down - eta),
        slope=weight * (down - up - 2.0 * eta),
    )


BINOMIAL_LINKS: dict[str, Link] = {
    "logit": Link("logit", True, special.expit, _logit_log_likelihood, _logit_terms, special.logit),
    "probit": Link(
        "probit", False, special.ndtr, _probit_log_likelihood, _probit_terms, special.ndtri
    ),
}


def row_terms(link: Link, successes: Floats, trials: Floats, eta: Floats) -> RowTerms:
    """Return ``link.terms`` of many rows, a block at a time so that scratch stays in cache."""
    score, weight, observed, slope = np.empty((4, len(eta)))
    for start in range(0, len(eta), _BLOCK):
        part = slice(start, start + _BLOCK)
        terms = link.terms(successes[part], trials[part], eta[part])
        score[part], weight[part], slope[part] = terms.score, terms.weight, terms.slope
        if not link.canonical:
            observed[part] = terms.observed
    return RowTerms(score, weight, weight if link.canonical else observed, slope)


def total_log_likelihood(link: Link, successes: Floats, trials: Floats, eta: Floats) -> float:
    """Return the sum of ``link.log_likelihood`` over many rows, a block at a time."""
    return float(
        sum(
            link.log_likelihood(successes[part], trials[part], eta[part]).sum()
            for part in (slice(k, k + _BLOCK) for k in range(0, len(eta), _BLOCK))
        )
    )


def binomial_link(name: str) -> Link:
    """Return the binomial link called `name`.

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
    if name not in BINOMIAL_LINKS:
        raise UnknownNameError.among(name, BINOMIAL_LINKS, kind="binomial link")
    return BINOMIAL_LINKS[name]
