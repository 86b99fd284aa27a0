"""Residuals by simulation, influence of single levels, bias-reduced fixed effects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

from imi_bench.errors import InputError, UnknownNameError
from imi_bench.glmm import GlmmResult, Options, build_design, fit
from imi_bench.glmm.firth import bias_reduced
from imi_bench.glmm.influence import influence
from imi_bench.glmm.residuals import simulated_residuals

HERE = Path(__file__).parent / "references" / "models"


@pytest.fixture(scope="module")
def model() -> GlmmResult:
    data = pd.read_csv(HERE / "lapse.csv")
    return fit("correct ~ x + mode + (1 | person) + (1 | third)", data)


def test_residuals_are_uniform_where_the_model_is_right(model) -> None:
    found = simulated_residuals(model, n=100, seed=2)
    assert ((found.residual >= 0) & (found.residual <= 1)).all()
    assert stats.kstest(found.residual, "uniform").pvalue > 0.01
    again = simulated_residuals(model, n=100, seed=2)
    np.testing.assert_array_equal(found.residual, again.residual)
    assert {test.name for test in found.tests} == {
        "uniformity",
        "dispersion",
        "outliers",
        "trend",
    }
    assert len(found.plot()) == 4
    import matplotlib.pyplot as plt

    plt.close("all")


def test_a_forgotten_curve_and_overdispersion_are_found() -> None:
    rng = np.random.default_rng(0)
    g, x = np.repeat(np.arange(30), 40), rng.normal(size=1200)
    eta = 1.5 * (x**2 - 1) + 0.5 * x
    data = pd.DataFrame({"g": g, "x": x, "y": rng.random(1200) < special.expit(eta)}).astype(float)
    tests = simulated_residuals(fit("y ~ x + (1 | g)", data), n=100).tests
    assert next(test for test in tests if test.name == "trend").p < 0.02
    counts = rng.binomial(20, special.expit(0.5 * x + 1.2 * rng.normal(size=1200)))
    data = data.assign(hits=counts, misses=20 - counts)
    tests = simulated_residuals(fit("cbind(hits, misses) ~ x + (1 | g)", data), n=100).tests
    assert next(test for test in tests if test.name == "dispersion").p < 0.02
    assert next(test for test in tests if test.name == "uniformity").p < 0.02


@pytest.mark.slow
def test_residual_tests_hold_their_level() -> None:
    rng, rejected, fits = np.random.default_rng(5), np.zeros(4), 150
    for index in range(fits):
        p, unit = rng.integers(0, 25, 500), rng.integers(0, 20, 500)
        eta = 0.8 + 0.8 * rng.standard_normal(25)[p] + 0.8 * rng.standard_normal(20)[unit]
        x = rng.normal(size=500)
        drawn = rng.random(500) < special.expit(eta + 0.5 * x)
        data = pd.DataFrame({"p": p, "unit": unit, "x": x, "y": drawn.astype(int)})
        found = simulated_residuals(fit("y ~ x + (1|p) + (1|unit)", data), n=100, seed=index)
        rejected += [test.p <= 0.05 for test in found.tests]
    assert (rejected / fits < 0.10).all(), rejected / fits


def test_influence_is_a_fit_without_the_level(model) -> None:
    found = influence(model, "person", levels=["p01", "p08"])
    data = pd.read_csv(HERE / "lapse.csv")
    without = fit(model.formula, data[data["person"] != "p08"])
    np.testing.assert_allclose(found.estimate[1], without.estimate, atol=1e-4)
    moved = (without.estimate - model.estimate) / model.se
    np.testing.assert_allclose(found.change[1], moved, atol=1e-3)
    assert found.to_frame().iloc[0]["distance"] == found.distance.max()
    by_column = influence(model, "mode")
    assert not np.isfinite(by_column.distance).any()
    assert all("mode" in reason for reason in by_column.reasons)
    with pytest.raises(UnknownNameError):
        influence(model, "person", levels=["nobody"])
    with pytest.raises(UnknownNameError):
        influence(model, "network")


def test_firth_of_two_proportions_adds_a_half_to_every_cell() -> None:
    """Firth's estimate of a saturated logit without variances, by hand."""
    data = pd.DataFrame({"y": [1] * 12 + [0] * 3 + [1] * 7, "x": [0] * 15 + [1] * 7})
    data["g"] = np.arange(22) % 4
    found = bias_reduced(build_design("y ~ x + (1 | g)", data))
    assert found.converged
    assert found.theta[0] == 0.0
    first, second = np.log(12.5 / 3.5), np.log(7.5 / 0.5)
    np.testing.assert_allclose(found.estimate, [first, second - first], atol=1e-5)
    assert not fit("y ~ x + (1 | g)", data).converged


def test_firth_is_the_penalised_optimum_of_a_plain_logit() -> None:
    """Where variances are zero: maximise log L + log|X'WX| / 2 numerically."""
    from scipy import optimize

    rng = np.random.default_rng(2)
    x, g = rng.normal(size=60), np.tile(np.arange(6), 10)
    y = (rng.random(60) < special.expit(0.4 + 1.2 * x)).astype(float)
    found = bias_reduced(build_design("y ~ x + (1 | g)", pd.DataFrame({"y": y, "x": x, "g": g})))
    assert found.theta[0] == 0.0
    columns = np.column_stack([np.ones(60), x])

    def penalised(beta) -> float:
        p = special.expit(columns @ beta)
        information = columns.T @ ((p * (1 - p))[:, None] * columns)
        return -float(stats.bernoulli.logpmf(y, p).sum() + 0.5 * np.linalg.slogdet(information)[1])

    best = optimize.minimize(penalised, np.zeros(2), method="BFGS", options={"gtol": 1e-8})
    np.testing.assert_allclose(found.estimate, best.x, atol=1e-4)


def test_firth_keeps_a_perfect_network() -> None:
    rng = np.random.default_rng(7)
    network, unit = np.repeat(np.arange(4), 200), np.repeat(np.arange(40), 20)
    eta = np.array([0.5, 1.0, 1.5, 9.0])[network] + 0.6 * rng.standard_normal(40)[unit]
    y = (rng.random(800) < special.expit(eta)).astype(int)
    y[network == 3] = 1
    data = pd.DataFrame({"y": y, "network": [f"n{k}" for k in network], "unit": unit})
    design = build_design("y ~ network + (1 | unit)", data)
    found = bias_reduced(design)
    assert found.converged
    assert np.isfinite(found.se).all()
    assert found.estimate[found.index("networkn3")] > 3.0
    assert any("bias-reduced" in one for one in found.warnings)
    with pytest.raises(InputError, match="logistic"):
        bias_reduced(design, options=Options(link="probit"))


@pytest.mark.slow
def test_firth_reduces_bias() -> None:
    truth, rng, plain, reduced = 2.0, np.random.default_rng(8), [], []
    for _ in range(200):
        g, x = np.repeat(np.arange(10), 12), np.tile([0.0, 1.0], 60)
        eta = 0.3 + truth * x + 0.5 * rng.standard_normal(10)[g]
        y = (rng.random(120) < special.expit(eta)).astype(int)
        design = build_design("y ~ x + (1 | g)", pd.DataFrame({"y": y, "x": x, "g": g}))
        reduced.append(bias_reduced(design).estimate[1])
        plain.append(fit("y ~ x + (1 | g)", design.table).estimate[1])
    assert abs(np.mean(reduced) - truth) < abs(np.median(plain) - truth) + 0.05
    assert abs(np.mean(reduced) - truth) < 0.5 * abs(np.mean(plain) - truth)
