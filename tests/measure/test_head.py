"""The head: derivatives, recovery, symmetry, and the guard against outliers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.special import expit

from imi_bench.measure import head as module
from imi_bench.measure.head import Head, HeadRows, Shrinkage, fit_head
from imi_bench.stats.squash import robust_scale, squash


def _rows(*, count=600, observers=3, features=2, covariates=0, seed=0) -> HeadRows:
    rng = np.random.default_rng(seed)
    z, s = rng.normal(0.5, 1, (count, observers)), rng.normal(size=(count, features))
    b = rng.normal(size=(count, covariates))
    weights = np.linspace(1, 0, observers)
    eta = np.exp(0.3 * s[:, :1].sum(axis=1)) * (z @ weights) + b.sum(axis=1)
    p = 0.02 + 0.96 * expit(eta)
    return HeadRows(z, s, b, rng.binomial(12, p).astype(float), np.full(count, 12.0))


def _penalised(rows: HeadRows, *, intercept: bool = False):
    fitted = fit_head(rows, shrinkage=Shrinkage(), intercept=intercept)
    return fitted, module._Penalised(rows, fitted, Shrinkage(0.5, 0.4, 0.7), intercept)


@pytest.mark.parametrize("covariates", [0, 2])
def test_gradient_is_that_of_the_value(covariates) -> None:
    rows = _rows(covariates=covariates)
    _, likelihood = _penalised(rows)
    rng = np.random.default_rng(1)
    theta = np.append(rng.uniform(0.1, 0.5, 3 + 2 + covariates), 0.05)
    gradient, information = likelihood.step(theta)
    np.testing.assert_allclose(gradient, approx_fprime(theta, likelihood.value, 1e-7), rtol=2e-4)
    assert np.linalg.eigvalsh(information).min() > 0


def test_the_fit_is_a_maximum_that_scipy_agrees_with() -> None:
    from scipy.optimize import minimize

    rows = _rows()
    shrinkage = Shrinkage(0.5, 0.4)
    ours = fit_head(rows, shrinkage=shrinkage)
    likelihood = module._Penalised(rows, ours, shrinkage, False)
    other = minimize(
        lambda t: -likelihood.value(t),
        np.array([0.3, 0.3, 0.3, 0, 0, 0.05]),
        jac=lambda t: -likelihood.step(t)[0],
        method="L-BFGS-B",
        bounds=[(0, 20)] * 3 + [(-20, 20)] * 2 + [(0.01, 0.5)],
    )
    found = np.concatenate([ours.weights, ours.gamma, [ours.lapse]])
    assert likelihood.value(found) >= -other.fun - 1e-4
    np.testing.assert_allclose(found, other.x, atol=2e-2)


def test_weights_are_not_negative_and_the_lapse_has_a_floor() -> None:
    rows = _rows()
    against = HeadRows(-rows.evidence, rows.features, rows.covariates, rows.successes, rows.answers)
    fitted = fit_head(against, shrinkage=Shrinkage(1.0))
    assert (fitted.weights >= 0).all()
    assert fitted.lapse >= 0.01


def test_the_observer_head_is_antisymmetric() -> None:
    rows = _rows()
    fitted = fit_head(rows, shrinkage=Shrinkage(0.5, 0.3))
    np.testing.assert_array_equal(
        fitted.eta(rows.evidence, rows.features), -fitted.eta(-rows.evidence, rows.features)
    )


def test_no_spread_of_weights_is_equal_weights() -> None:
    fitted = fit_head(_rows(), shrinkage=Shrinkage(weights=0.0))
    np.testing.assert_allclose(fitted.weights, fitted.weights.mean(), rtol=1e-3)


def test_squash_is_odd_bounded_and_its_scale_robust() -> None:
    x = np.random.default_rng(0).normal(size=10_000)
    assert robust_scale(x) == pytest.approx(1, abs=0.03)
    assert robust_scale(np.append(x, -1e9)) == pytest.approx(robust_scale(x), abs=1e-3)
    np.testing.assert_array_equal(squash(x, 1.0), -squash(-x, 1.0))
    assert np.abs(squash(1e9, 1.0)) <= 3
    assert robust_scale(np.zeros(4)) == 1.0
    assert robust_scale(np.array([0.0, 0.0, 0.0, 2.0])) == 2.0
    assert robust_scale(np.repeat([0.0, 2.0], [400, 100])) == pytest.approx(0.9, abs=0.05)


def test_one_value_far_out_moves_nothing_much() -> None:
    rows = _rows(count=400, observers=1, features=0)
    clean = fit_head(rows, shrinkage=Shrinkage(10))
    spoilt = rows.evidence.copy()
    spoilt[7] = -30
    bad = HeadRows(spoilt, rows.features, rows.covariates, rows.successes, rows.answers)
    fitted = fit_head(bad, shrinkage=Shrinkage(10))

    def bits(head: Head, some: HeadRows) -> float:
        p = head.probability(some)
        told = some.successes @ np.log2(p) + (some.answers - some.successes) @ np.log2(1 - p)
        return 1 + told / some.answers.sum()

    assert bits(clean, rows) - bits(fitted, bad) < 0.015
