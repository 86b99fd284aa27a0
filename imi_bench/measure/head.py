r"""The head of a learned measure: its likelihood, exact derivatives, and fit.

One row is a trial, its columns signed towards the correct query:

    eta = exp(s . gamma) (z . w) + b . beta,      P(correct) = lapse/2 + (1 - lapse) sigma(eta)

z: decision variables of observers, squashed, w >= 0. s: features of the sets of references that do
not change when queries or sides are swapped; they can make evidence count more or less, never
reverse it. b: covariates and base rates; none in the *observer head*, whose eta is then
antisymmetric in the queries, as an observer's decision variable must be: it is the logit of a
choice. To first order exp(s . gamma) is 1 + s . gamma.

The fit maximises the binomial log-likelihood less

    sum_j (w_j - mean w)^2 / (2 tau_w^2) + |gamma|^2 / (2 tau_gamma^2) + |beta|^2 / (2 tau_beta^2),

in natural units: the penalties are normal priors, equal weights the centre of the first. The climb
is the calibration's own (`imi_bench.choice.scoring.maximise`): Fisher scoring within bounds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from imi_bench.arrays import Bools, Floats
from imi_bench.choice.scoring import maximise
from imi_bench.stats.squash import LEAST_LAPSE, robust_scale, squash

_MOST_LAPSE = 0.5
_STEEPEST = 20.0
_MOST_FEATURE = 3.0


@dataclass(frozen=True, eq=False)
class HeadRows:
    """Trials with what observers say and what people answered.

    Attributes
    ----------
    evidence : (T, J) float64
        Towards the correct query, on each observer's own scale; 0 where it gave no answer.
    features : (T, M) float64
        Unchanged under swaps.
    covariates : (T, B) float64
        None for the observer head.
    successes, answers : (T,) float64
        Correct answers, and all.
    """

    evidence: Floats
    features: Floats
    covariates: Floats
    successes: Floats
    answers: Floats

    def take(self, keep: Bools) -> HeadRows:
        """Some of the trials."""
        return HeadRows(**{name: values[keep] for name, values in vars(self).items()})

    def columns(self, chosen: list[int] | slice) -> HeadRows:
        """The same trials with some of the observers, without features and covariates."""
        none = np.empty((len(self.answers), 0))
        return replace(self, evidence=self.evidence[:, chosen], features=none, covariates=none)


@dataclass(frozen=True)
class Shrinkage:
    """Standard deviations of the priors; 0 holds the parameters at the centre.

    Attributes
    ----------
    weights, slope, covariates : float
        tau_w, tau_gamma, tau_beta.
    """

    weights: float = 0.3
    slope: float = 0.0
    covariates: float = 1.0


@dataclass(frozen=True, eq=False)
class Head:
    """A fitted head.

    Attributes
    ----------
    scales : (J,) float64
        Of the squash, from the rows that were fitted; infinite slopes are impossible under it.
    weights : (J,) float64
        Not negative; logit per squashed unit.
    centres, spreads : (M,) float64
        Features are standardised by these, and cut at 3.
    gamma : (M,) float64
    covariate_centres, covariate_spreads, beta : (B,) float64
    lapse : float
        At least 0.01.
    linear : bool
        The evidence is divided by its scale and not squashed.
    converged : bool
    """

    scales: Floats
    weights: Floats
    centres: Floats
    spreads: Floats
    gamma: Floats
    covariate_centres: Floats
    covariate_spreads: Floats
    beta: Floats
    lapse: float
    linear: bool = False
    converged: bool = True

    def standardised(self, evidence: Floats) -> Floats:
        """(T, J) squashed evidence."""
        return evidence / self.scales if self.linear else squash(evidence, self.scales)

    def eta(self, evidence: Floats, features: Floats, covariates: Floats | None = None) -> Floats:
        """(T,) logit towards the side that positive evidence speaks for."""
        z, s = self.standardised(evidence), self._features(features)
        found = np.exp(s @ self.gamma) * (z @ self.weights)
        if covariates is not None and len(self.beta):
            found = found + self._covariates(covariates) @ self.beta
        return np.asarray(found)

    def probability(self, rows: HeadRows) -> Floats:
        """(T,) probability that a person is correct."""
        eta = self.eta(rows.evidence, rows.features, rows.covariates)
        return np.asarray(self.lapse / 2 + (1 - self.lapse) * expit(eta))

    def _features(self, features: Floats) -> Floats:
        scaled = (features - self.centres) / self.spreads
        return np.clip(scaled, -_MOST_FEATURE, _MOST_FEATURE)

    def _covariates(self, covariates: Floats) -> Floats:
        scaled = (covariates - self.covariate_centres) / self.covariate_spreads
        return np.clip(scaled, -_MOST_FEATURE, _MOST_FEATURE)


def fit_head(
    rows: HeadRows,
    *,
    shrinkage: Shrinkage,
    linear: bool = False,
    intercept: bool = False,
    start: Head | None = None,
) -> Head:
    """Fit to all rows; scales, centres and spreads come from the same rows.

    Parameters
    ----------
    rows : HeadRows
    shrinkage : Shrinkage
    linear : bool
        Do not squash.
    intercept : bool
        The first column of covariates is a constant, which is neither standardised nor shrunk.
    start : Head, optional
        A fit to most of the same rows, to climb from.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(2000, 2))
    >>> p = expit(1.5 * x[:, 0])
    >>> none = np.empty((2000, 0))
    >>> rows = HeadRows(x, none, none, rng.binomial(10, p).astype(float), np.full(2000, 10.0))
    >>> bool(fit_head(rows, shrinkage=Shrinkage(10)).weights[1] < 0.1)
    True
    """
    scales = np.array([robust_scale(column) for column in rows.evidence.T])
    centres, spreads = _moments(rows.features)
    beta_centres, beta_spreads = _moments(rows.covariates)
    if intercept:
        beta_centres[0], beta_spreads[0] = 0.0, 1.0
    j, m, b = rows.evidence.shape[1], rows.features.shape[1], rows.covariates.shape[1]
    empty = Head(
        scales=scales,
        weights=np.zeros(j),
        centres=centres,
        spreads=spreads,
        gamma=np.zeros(m),
        covariate_centres=beta_centres,
        covariate_spreads=beta_spreads,
        beta=np.zeros(b),
        lapse=LEAST_LAPSE,
        linear=linear,
    )
    likelihood = _Penalised(rows, empty, shrinkage, intercept)
    first = np.concatenate([np.full(j, 0.5 / max(j, 1)), np.zeros(m + b), [0.02]])
    if start is not None:
        first = np.concatenate([start.weights, start.gamma, start.beta, [start.lapse]])
    low = np.concatenate([np.zeros(j), np.full(m + b, -_STEEPEST), [LEAST_LAPSE]])
    high = np.concatenate([np.full(j + m + b, _STEEPEST), [_MOST_LAPSE]])
    if shrinkage.slope == 0:
        low[j : j + m] = high[j : j + m] = 0.0
    if b:  # an intercept and a lapse explain the same errors
        high[-1] = LEAST_LAPSE
    found = maximise(
        likelihood.value,
        likelihood.step,
        start=np.clip(first, low, high),
        low=low,
        high=high,
        tolerance=1e-7,
        max_steps=60,
    )
    theta = found.theta
    return replace(
        empty,
        weights=theta[:j],
        gamma=theta[j : j + m],
        beta=theta[j + m : -1],
        lapse=float(theta[-1]),
        converged=found.converged,
    )


class _Penalised:
    """Penalised log-likelihood, its gradient and expected information."""

    def __init__(self, rows: HeadRows, head: Head, shrinkage: Shrinkage, intercept: bool) -> None:
        self.k, self.n = rows.successes, rows.answers
        self.z = head.standardised(rows.evidence)
        self.s = head._features(rows.features)
        self.b = head._covariates(rows.covariates)
        if intercept:
            self.b[:, 0] = 1.0
        self.sizes = self.z.shape[1], self.s.shape[1], self.b.shape[1]
        self.precision = self._precision(shrinkage, intercept)

    def _precision(self, shrinkage: Shrinkage, intercept: bool) -> Floats:
        j, m, b = self.sizes
        found = np.zeros((j + m + b + 1,) * 2)
        centring = np.eye(j) - 1 / max(j, 1)
        found[:j, :j] = centring / max(shrinkage.weights, 1e-4) ** 2
        if shrinkage.slope > 0:
            found[j : j + m, j : j + m] = np.eye(m) / shrinkage.slope**2
        prior = np.full(b, 1 / max(shrinkage.covariates, 1e-4) ** 2)
        if intercept and b:
            prior[0] = 1e-6
        found[j + m : -1, j + m : -1] = np.diag(prior)
        return found

    def _at(self, theta: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        j, m, _ = self.sizes
        gain = np.exp(np.clip(self.s @ theta[j : j + m], -8, 8))
        plain = self.z @ theta[:j]
        eta = gain * plain + self.b @ theta[j + m : -1]
        value = expit(eta)
        lapse = theta[-1]
        return gain, gain * plain, value, lapse / 2 + (1 - lapse) * value

    def value(self, theta: Floats) -> float:
        p = self._at(theta)[3]
        fit = self.k @ np.log(p) + (self.n - self.k) @ np.log1p(-p)
        return float(fit - theta @ self.precision @ theta / 2)

    def step(self, theta: Floats) -> tuple[Floats, Floats]:
        gain, told, value, p = self._at(theta)
        slope = (1 - theta[-1]) * value * (1 - value)
        jacobian = np.concatenate(
            [
                self.z * (gain * slope)[:, None],
                self.s * (told * slope)[:, None],
                self.b * slope[:, None],
                (0.5 - value)[:, None],
            ],
            axis=1,
        )
        pull = self.k / p - (self.n - self.k) / (1 - p)
        weighted = jacobian * (self.n / (p * (1 - p)))[:, None]
        prior = self.precision @ theta
        return pull @ jacobian - prior, weighted.T @ jacobian + self.precision


def _moments(values: Floats) -> tuple[Floats, Floats]:
    if not values.shape[1]:
        return np.empty(0), np.empty(0)
    spread = values.std(axis=0)
    return values.mean(axis=0), np.where(spread > 1e-12, spread, 1.0)
