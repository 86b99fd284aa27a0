from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, special, stats
from support.glmm_designs import dense_lambda, dense_z, random_problem, random_theta

from imi_bench.errors import ModelError
from imi_bench.glmm.families import binomial_link
from imi_bench.glmm.gaussian import GaussianObjective
from imi_bench.glmm.laplace import LaplaceObjective
from imi_bench.glmm.quadrature import QuadratureObjective

SHAPES = [
    {"levels": (9, 6, 3), "widths": (1, 1, 1)},
    {"levels": (9, 6), "widths": (3, 2), "trials": 4},
    {"levels": (24, 8, 4), "widths": (2, 1, 1), "nested": True},
]


def differences(objective, parameters, modes, step=1e-5):
    values = []
    for move in step * np.eye(len(parameters)):
        above = objective.evaluate(parameters + move, modes).value
        below = objective.evaluate(parameters - move, modes).value
        values.append((above - below) / (2 * step))
    return np.array(values)


@pytest.mark.parametrize("shape", SHAPES, ids=["crossed", "slopes", "nested"])
@pytest.mark.parametrize("link", ["logit", "probit"])
def test_gradient_is_exact(shape, link) -> None:
    rng = np.random.default_rng(7)
    problem = random_problem(rng, **shape)
    objective = LaplaceObjective(problem, binomial_link(link))
    parameters = np.concatenate([random_theta(rng, problem), 0.4 * rng.normal(size=3)])
    modes = np.zeros(problem.random.pattern.size)
    point = objective.evaluate(parameters, modes)
    expected = differences(objective, parameters, modes)
    np.testing.assert_allclose(point.gradient, expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_value_is_the_textbook_formula(link) -> None:
    rng = np.random.default_rng(8)
    problem = random_problem(rng, widths=(2, 1, 1), trials=3)
    family = binomial_link(link)
    objective = LaplaceObjective(problem, family)
    theta, fixed = random_theta(rng, problem), 0.4 * rng.normal(size=3)
    point = objective.evaluate(np.r_[theta, fixed], np.zeros(problem.random.pattern.size))
    scaled = dense_z(problem) @ dense_lambda(problem, problem.factors(theta))
    eta = problem.offset + problem.basis @ fixed + scaled @ point.modes
    p = family.probability(eta)
    coefficients = np.log(special.comb(3, problem.response)).sum()
    likelihood = stats.binom.logpmf(problem.response, 3, p).sum() - coefficients
    slope = {"logit": p * (1 - p), "probit": stats.norm.pdf(eta)}[link]
    weight = 3 * slope**2 / (p * (1 - p))
    a = np.eye(len(point.modes)) + scaled.T @ (weight[:, None] * scaled)
    expected = -2 * likelihood + point.modes @ point.modes + np.linalg.slogdet(a)[1]
    assert point.value == pytest.approx(expected, rel=1e-11)
    score = (problem.response - 3 * p) * slope / (p * (1 - p))
    np.testing.assert_allclose(scaled.T @ score, point.modes, atol=1e-7)


def test_deviance_depends_on_theta_through_its_square() -> None:
    rng = np.random.default_rng(9)
    problem = random_problem(rng)
    objective = LaplaceObjective(problem, binomial_link("logit"))
    zero = np.zeros(problem.random.pattern.size)
    parameters = np.r_[0.5, 0.7, 0.0, 0.2, 0.1, -0.1]
    flipped = parameters * np.r_[-1, 1, 1, 1, 1, 1]
    ours, other = (objective.evaluate(p, zero) for p in (parameters, flipped))
    assert ours.value == pytest.approx(other.value, rel=1e-12)
    assert ours.gradient[2] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("link", ["logit", "probit"])
@pytest.mark.parametrize("nodes", [1, 2, 9])
def test_quadrature_gradient_is_exact(link, nodes) -> None:
    rng = np.random.default_rng(10)
    problem = random_problem(rng, levels=(8,), widths=(1,), trials=5)
    laplace = LaplaceObjective(problem, binomial_link(link))
    objective = QuadratureObjective(laplace, nodes=nodes)
    parameters, modes = np.r_[0.8, 0.3, -0.2, 0.1], np.zeros(8)
    point = objective.evaluate(parameters, modes)
    expected = differences(objective, parameters, modes)
    np.testing.assert_allclose(point.gradient, expected, rtol=1e-6, atol=1e-5)
    if nodes == 1:
        assert point.value == pytest.approx(laplace.evaluate(parameters, modes).value, rel=1e-11)


def test_quadrature_against_numerical_integration() -> None:
    rng = np.random.default_rng(11)
    problem = random_problem(rng, levels=(5,), widths=(1,), rows=40)
    laplace = LaplaceObjective(problem, binomial_link("logit"))
    parameters = np.r_[1.3, 0.3, -0.2, 0.1]
    ours = QuadratureObjective(laplace, nodes=30).evaluate(parameters, np.zeros(5)).value
    base = problem.offset + problem.basis @ parameters[1:]
    total = 0.0
    for group in range(5):
        rows = problem.random.pattern.codes[0] == group

        def joint(u: float, rows=rows) -> float:
            p = special.expit(base[rows] + 1.3 * u)
            return float(stats.bernoulli.pmf(problem.response[rows], p).prod() * stats.norm.pdf(u))

        total += np.log(integrate.quad(joint, -9, 9, epsabs=0, epsrel=1e-11)[0])
    assert ours == pytest.approx(-2 * total, rel=1e-8)


def test_quadrature_refuses_crossed_factors() -> None:
    problem = random_problem(np.random.default_rng(0))
    with pytest.raises(ModelError, match="single scalar random effect"):
        QuadratureObjective(LaplaceObjective(problem, binomial_link("logit")), nodes=5)


@pytest.mark.parametrize("reml", [False, True])
def test_gaussian_criterion_and_gradient(reml) -> None:
    rng = np.random.default_rng(12)
    problem = random_problem(rng, levels=(9, 6), widths=(2, 1)).with_response(rng.normal(size=120))
    objective = GaussianObjective(problem, reml=reml)
    theta, modes = random_theta(rng, problem), np.zeros(problem.random.pattern.size)
    point = objective.evaluate(theta, modes)
    expected = differences(objective, theta, modes)
    np.testing.assert_allclose(point.gradient, expected, rtol=1e-6, atol=1e-6)

    scaled = dense_z(problem) @ dense_lambda(problem, problem.factors(theta))
    v = np.eye(120) + scaled @ scaled.T
    y, x = problem.response - problem.offset, problem.basis
    information = x.T @ np.linalg.solve(v, x)
    residual = y - x @ np.linalg.solve(information, x.T @ np.linalg.solve(v, y))
    degrees = 120 - 3 * reml
    variance = residual @ np.linalg.solve(v, residual) / degrees
    criterion = degrees * (1 + np.log(2 * np.pi * variance)) + np.linalg.slogdet(v)[1]
    criterion += reml * np.linalg.slogdet(information)[1]
    assert point.value == pytest.approx(criterion, rel=1e-11)
