"""The psychometric function with unit effects: how much units differ beyond the evidence.

::

    P(correct on a trial of unit u) = lapse/2 + (1 - lapse) * link(slope * evidence + effect_u)
    effect_u ~ Normal(0, sd^2)

The slope is that *within* a unit. A calibration (`imi_bench.choice.calibrate`) fits the slope of
the population instead, because that is what predicts a unit never seen; it is flatter, by exactly
``sqrt(1 + sd^2)`` for the probit link. The unit effects are integrated out by adaptive
Gauss-Hermite quadrature (Pinheiro and Bates 1995, *JCGS* 4, 12-35).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from imi_bench.arrays import Floats, Ints
from imi_bench.choice.fitting import fit_psychometric
from imi_bench.choice.likelihood import log_probability
from imi_bench.choice.maximise import LAPSE_MAX, STEEPEST
from imi_bench.errors import InputError, NotEnoughDataError
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.links import Link, link_named

_NEWTON_STEPS = 12
_SMALLEST_LOG_SD = -7.0
_LARGEST_LOG_SD = 3.0
_TINY = 1e-300


@dataclass(frozen=True)
class UnitEffectsFit:
    """A psychometric function with normal unit effects.

    Attributes
    ----------
    slope : Estimate
        Link units per unit of evidence, within a unit.
    lapse : Estimate
    unit_sd : Estimate
        Standard deviation of the unit effects, in link units.
    log_likelihood : float
        Marginal, in nats, without binomial coefficients.
    link : str
    n, clusters : int
        Answers and units.
    """

    slope: Estimate
    lapse: Estimate
    unit_sd: Estimate
    log_likelihood: float
    link: str
    n: int
    clusters: int


@dataclass(frozen=True, eq=False)
class _Rows:
    evidence: Floats
    successes: Floats
    trials: Floats
    unit: Ints
    n_units: int
    link: Link
    nodes: Floats
    log_weights: Floats

    def by_unit(self, rows: Floats) -> Floats:
        """(U, K) sums over each unit's rows of an (R, K) array; rows are sorted by unit."""
        return np.add.reduceat(rows, np.unique(self.unit, return_index=True)[1], axis=0)


def fit_unit_effects(
    evidence: ArrayLike,
    *,
    successes: ArrayLike,
    unit: ArrayLike,
    trials: ArrayLike | None = None,
    link: str = "logit",
    n_nodes: int = 15,
    level: float = 0.95,
) -> UnitEffectsFit:
    """Fit slope, lapse and the spread of unit effects by maximum marginal likelihood.

    Parameters
    ----------
    evidence : (R,) float
        Towards the correct query; finite.
    successes : (R,) float
        Correct answers among `trials`.
    unit : (R,) str
    trials : (R,) float, optional
        Answers in each row; 1 by default.
    link : {"logit", "probit"}
    n_nodes : int
        Quadrature nodes a unit.
    level : float

    Returns
    -------
    UnitEffectsFit
        Intervals are Wald's, from the observed information: symmetric for the slope, on the logit
        scale for the lapse, on the log scale for the standard deviation. A lapse of 0 and a
        standard deviation of (numerically) 0 stand at the end of their range and have none; the
        other intervals then hold them fixed.

    Raises
    ------
    InputError
        Rows of unequal length, or evidence that is not finite.
    NotEnoughDataError
        Fewer than two units.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> unit = np.repeat(np.arange(100), 10)
    >>> x = rng.normal(1, 2, 1000)
    >>> p = special.expit(x + rng.normal(0, 1, 100)[unit])
    >>> k, n = rng.binomial(20, p), np.full(1000, 20)
    >>> fit = fit_unit_effects(x, successes=k, trials=n, unit=unit)
    >>> bool(fit.unit_sd.low < 1 < fit.unit_sd.high)
    True
    """
    start = fit_psychometric(evidence, successes=successes, trials=trials, cluster=unit, link=link)
    rows, scale = _prepared(evidence, successes, trials, unit, link_named(link), n_nodes)
    if rows.n_units < 2:
        raise NotEnoughDataError("unit effects need units", found=rows.n_units, wanted="2 or more")
    first = np.array([start.slopes["all"].value * scale, start.lapse.value, math.log(0.5)])
    steepest = STEEPEST / rows.link.first_peak
    bounds = [(-steepest, steepest), (0.0, LAPSE_MAX), (_SMALLEST_LOG_SD, _LARGEST_LOG_SD)]

    def descend(theta: Floats) -> tuple[float, Floats]:
        value, gradient = _marginal(theta, rows)
        return -value, -gradient

    found = optimize.minimize(
        descend,
        first,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"ftol": 1e-12, "gtol": 1e-6, "maxiter": 200},
    )
    free = np.array([low < v < high for v, (low, high) in zip(found.x, bounds, strict=True)])
    errors = _errors(found.x, rows, free)
    errors[0] /= scale
    slope, lapse, log_sd = found.x[0] / scale, found.x[1], found.x[2]
    return _described(slope, lapse, log_sd, errors, rows, -float(found.fun), level)


def _prepared(
    evidence: ArrayLike,
    successes: ArrayLike,
    trials: ArrayLike | None,
    unit: ArrayLike,
    link: Link,
    n_nodes: int,
) -> tuple[_Rows, float]:
    x, k = np.asarray(evidence, dtype=np.float64), np.asarray(successes, dtype=np.float64)
    n = np.ones_like(x) if trials is None else np.asarray(trials, dtype=np.float64)
    names = np.asarray(unit).astype(str)
    if not len(x) == len(k) == len(n) == len(names):
        raise InputError("rows of unequal length", where="fit_unit_effects")
    order = np.argsort(names, kind="stable")
    codes = np.unique(names[order], return_inverse=True)[1]
    scale = math.sqrt(float((n * x**2).sum() / max(n.sum(), 1.0))) or 1.0
    nodes, node_weights = np.polynomial.hermite_e.hermegauss(n_nodes)
    rows = _Rows(
        evidence=x[order] / scale,
        successes=k[order],
        trials=n[order],
        unit=codes,
        n_units=int(codes.max(initial=-1)) + 1,
        link=link,
        nodes=nodes,
        log_weights=np.log(node_weights) - 0.5 * math.log(2 * math.pi),
    )
    return rows, scale


def _pulls(theta: Floats, rows: _Rows, z: Floats) -> tuple[Floats, Floats, Floats]:
    """At standardised effects z (R, K): eta, d loglik / d p, and d p / d eta of each row."""
    slope, lapse, sd = theta[0], theta[1], math.exp(theta[2])
    eta = (slope * rows.evidence)[:, None] + sd * z
    p = np.maximum(lapse / 2 + (1 - lapse) * rows.link.value(eta), _TINY)
    q = np.maximum(lapse / 2 + (1 - lapse) * rows.link.value(-eta), _TINY)
    k, n = rows.successes[:, None], rows.trials[:, None]
    return eta, k / p - (n - k) / q, (1 - lapse) * rows.link.first(eta)


def _centres(theta: Floats, rows: _Rows) -> tuple[Floats, Floats]:
    """(U, 1) mode of each unit's standardised effect given its answers, and its spread."""
    sd = math.exp(theta[2])
    z, spread = np.zeros((rows.n_units, 1)), np.ones((rows.n_units, 1))
    for _ in range(_NEWTON_STEPS):
        eta, pull, rise = _pulls(theta, rows, z[rows.unit])
        lapse = theta[1]
        p = np.maximum(lapse / 2 + (1 - lapse) * rows.link.value(eta), _TINY)
        q = np.maximum(1 - p, _TINY)
        information = rows.by_unit(rows.trials[:, None] * rise**2 / (p * q)) * sd**2 + 1
        step = (rows.by_unit(pull * rise) * sd - z) / information
        z, spread = z + np.clip(step, -1, 1), 1 / np.sqrt(information)
        if np.abs(step).max() < 1e-8:
            break
    return z, spread


def _marginal(theta: Floats, rows: _Rows) -> tuple[float, Floats]:
    """Marginal log-likelihood and its gradient by (slope, lapse, log sd).

    The gradient is the posterior mean of the complete-data score (Fisher's identity).
    """
    centre, spread = _centres(theta, rows)
    z = centre + spread * rows.nodes
    eta, pull, rise = _pulls(theta, rows, z[rows.unit])
    lapse, sd = float(theta[1]), math.exp(theta[2])
    k, n = rows.successes[:, None], rows.trials[:, None]
    each = k * log_probability(eta, lapse, rows.link)
    each = each + (n - k) * log_probability(-eta, lapse, rows.link)
    change = np.log(spread) + 0.5 * rows.nodes**2 - 0.5 * z**2 + rows.log_weights
    joint = rows.by_unit(each) + change
    of_unit = special.logsumexp(joint, axis=1, keepdims=True)
    posterior = np.exp(joint - of_unit)
    by_eta = pull * rise
    gradient = [
        rows.by_unit(by_eta * rows.evidence[:, None]),
        rows.by_unit(pull * (0.5 - rows.link.value(eta))),
        rows.by_unit(by_eta) * sd * z,
    ]
    return float(of_unit.sum()), np.array([(posterior * part).sum() for part in gradient])


def _errors(theta: Floats, rows: _Rows, free: NDArray[np.bool_]) -> Floats:
    """(3,) standard errors from the observed information; NaN at a bound or where singular."""
    errors = np.full(3, np.nan)
    step = 1e-5 * np.eye(3)
    hessian = np.array(
        [(_marginal(theta + h, rows)[1] - _marginal(theta - h, rows)[1]) / 2e-5 for h in step[free]]
    )[:, free]
    information = -(hessian + hessian.T) / 2
    if free.any() and np.linalg.eigvalsh(information)[0] > 0:
        errors[free] = np.sqrt(np.diag(np.linalg.inv(information)))
    return errors


def _described(
    slope: float,
    lapse: float,
    log_sd: float,
    errors: Floats,
    rows: _Rows,
    log_likelihood: float,
    level: float,
) -> UnitEffectsFit:
    quantile = float(special.ndtri((1 + level) / 2))
    n = round(rows.trials.sum())

    def made(value: float, error: float, unit: str, scale: str, at: float) -> Estimate:
        facts: dict[str, Any] = {"level": level, "n": n, "clusters": rows.n_units, "unit": unit}
        if math.isnan(error):
            return Estimate(value, reason="at the end of its range, or not identified", **facts)
        ends = at + quantile * error * np.array([-1, 1])
        low, high = {"": ends, "logit": special.expit(ends), "log": np.exp(ends)}[scale].tolist()
        method = "Wald" + (f", {scale} scale" if scale else "")
        return Estimate(value, low, high, method=method, **facts)

    unit = f"{rows.link.name}/evidence"
    inside = lapse * (1 - lapse) or math.nan
    return UnitEffectsFit(
        slope=made(slope, errors[0], unit, "", slope),
        lapse=made(lapse, errors[1] / inside, "proportion", "logit", float(special.logit(lapse))),
        unit_sd=made(math.exp(log_sd), errors[2], rows.link.name, "log", log_sd),
        log_likelihood=log_likelihood,
        link=rows.link.name,
        n=n,
        clusters=rows.n_units,
    )
