"""A lapse rate in the link: derivatives, lme4 with a link of its own, recovery."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats
from support.glmm_designs import random_problem, random_theta
from support.numeric import differences

from imi_bench.errors import InputError, ModelError
from imi_bench.glmm import GlmmResult, Options, build_design, fit, fit_design
from imi_bench.glmm.families import binomial_link
from imi_bench.glmm.intervals import intervals
from imi_bench.glmm.laplace import LaplaceObjective
from imi_bench.glmm.lapse import LapseShape, lapsing
from imi_bench.glmm.profile import profile_lapse
from imi_bench.glmm.quadrature import QuadratureObjective
from imi_bench.glmm.shape import ShapedLaplace

HERE = Path(__file__).parent / "references" / "models"


@pytest.mark.parametrize("link", ["logit", "probit"])
@pytest.mark.parametrize("lapse", [0.001, 0.06, 0.3])
def test_derivatives_of_a_row(link, lapse) -> None:
    eta, step = np.linspace(-6, 6, 41), 1e-5
    trials = np.full(41, 3.0)
    hits = np.arange(41.0) % 4
    at = lapsing(binomial_link(link), lapse)
    p = at.probability(eta)
    np.testing.assert_allclose(p, lapse / 2 + (1 - lapse) * binomial_link(link).probability(eta))
    np.testing.assert_allclose(
        at.log_likelihood(hits, trials, eta),
        stats.binom.logpmf(hits, 3, p) - stats.binom.logpmf(hits, 3, 0.5) + np.log(0.5) * 3,
        atol=1e-10,
    )
    terms = at.terms(hits, trials, eta)
    up, down = (at.terms(hits, trials, eta + d) for d in (step, -step))
    values = [at.log_likelihood(hits, trials, eta + d) for d in (step, -step)]
    np.testing.assert_allclose(terms.score, (values[0] - values[1]) / (2 * step), atol=1e-7)
    np.testing.assert_allclose(terms.observed, (down.score - up.score) / (2 * step), atol=1e-6)
    np.testing.assert_allclose(terms.slope, (up.weight - down.weight) / (2 * step), atol=1e-6)
    slope = (at.probability(eta + step) - at.probability(eta - step)) / (2 * step)
    np.testing.assert_allclose(terms.weight, 3 * slope**2 / (p * (1 - p)), rtol=1e-6, atol=1e-12)


SHAPES = [{}, {"levels": (9, 6), "widths": (3, 2), "trials": 4}]


@pytest.mark.parametrize("shape", SHAPES, ids=["crossed", "slopes"])
@pytest.mark.parametrize("link", ["logit", "probit"])
def test_gradient_is_exact(link, shape) -> None:
    rng = np.random.default_rng(3)
    problem = random_problem(rng, **shape)
    family = LapseShape(binomial_link(link))
    objective = ShapedLaplace(problem, family)
    plain = np.r_[random_theta(rng, problem), 0.4 * rng.normal(size=3)]
    parameters = np.r_[plain, family.internal(0.05)]
    modes = np.zeros(problem.random.pattern.size)
    point = objective.evaluate(parameters, modes)
    expected = differences(objective, parameters, modes)
    np.testing.assert_allclose(point.gradient, expected, rtol=1e-6, atol=1e-5)
    fixed = LaplaceObjective(problem, lapsing(binomial_link(link), 0.05)).evaluate(plain, modes)
    assert fixed.value == pytest.approx(point.value, abs=1e-9)
    np.testing.assert_allclose(fixed.gradient, point.gradient[:-1], atol=1e-6)


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_quadrature_gradient_is_exact(link) -> None:
    rng = np.random.default_rng(10)
    problem = random_problem(rng, levels=(8,), widths=(1,), trials=5)
    family = LapseShape(binomial_link(link))
    objective = QuadratureObjective(ShapedLaplace(problem, family), nodes=7)
    parameters, modes = np.r_[0.8, 0.3, -0.2, 0.1, family.internal(0.08)], np.zeros(8)
    point = objective.evaluate(parameters, modes)
    expected = differences(objective, parameters, modes)
    np.testing.assert_allclose(point.gradient, expected, rtol=1e-6, atol=1e-5)


def test_quadrature_against_numerical_integration() -> None:
    rng = np.random.default_rng(11)
    problem = random_problem(rng, levels=(5,), widths=(1,), rows=40)
    link = lapsing(binomial_link("logit"), 0.1)
    parameters = np.r_[1.3, 0.3, -0.2, 0.1]
    laplace = LaplaceObjective(problem, link)
    ours = QuadratureObjective(laplace, nodes=40).evaluate(parameters, np.zeros(5)).value
    base, total = problem.offset + problem.basis @ parameters[1:], 0.0
    for group in range(5):
        rows = problem.random.pattern.codes[0] == group

        def joint(u: float, rows=rows) -> float:
            p = link.probability(base[rows] + 1.3 * u)
            return float(stats.bernoulli.pmf(problem.response[rows], p).prod() * stats.norm.pdf(u))

        total += np.log(integrate.quad(joint, -9, 9, epsabs=0, epsrel=1e-11)[0])
    assert ours == pytest.approx(-2 * total, rel=1e-7)


@pytest.mark.parametrize("lapse", ["0", "0.06", "0.12"])
def test_lme4_with_the_same_link(lapse) -> None:
    """glmer takes a link of one's own; its Laplace approximation is the same quantity."""
    reference = json.loads((HERE / "lapse.json").read_text())
    row = reference["fits"][lapse]
    result = fit(reference["formula"], pd.read_csv(HERE / "lapse.csv"), lapse=row["lapse"])
    assert result.converged
    assert result.log_likelihood == pytest.approx(row["logLik"], abs=2e-3)
    assert result.log_likelihood > row["logLik"] - 1e-4
    for name, value in row["fixed"].items():
        at = result.index(name)
        assert abs(result.estimate[at] - value) < 0.01 * row["se"][name]
        assert result.se[at] == pytest.approx(row["se"][name], rel=0.01)
    for effect in result.random:
        assert effect.sd[0] == pytest.approx(row["sd"][effect.group], rel=2e-3)


@pytest.fixture(scope="module")
def estimated() -> GlmmResult:
    reference = json.loads((HERE / "lapse.json").read_text())
    return fit(reference["formula"], pd.read_csv(HERE / "lapse.csv"), lapse="estimate")


def test_the_estimate_is_the_best_of_the_given_ones(estimated) -> None:
    assert estimated.converged
    assert estimated.shape_names == ("lapse",)
    around = [
        fit_design(estimated.design, options=Options(lapse=estimated.lapse + d), start=estimated)
        for d in (-0.02, 0.0, 0.02)
    ]
    values = [one.log_likelihood for one in around]
    assert values[1] == pytest.approx(estimated.log_likelihood, abs=1e-6)
    assert max(values[0], values[2]) < values[1]
    np.testing.assert_allclose(around[1].estimate, estimated.estimate, atol=1e-4)
    assert (estimated.se >= around[1].se).all()
    curvature = (2 * values[1] - values[0] - values[2]) / 0.02**2
    assert estimated.shape_covariance[0, 0] == pytest.approx(1 / curvature, rel=0.2)


def test_a_rate_of_zero_is_reached() -> None:
    rng = np.random.default_rng(5)
    g, x = np.repeat(np.arange(40), 40), rng.normal(size=1600)
    data = pd.DataFrame({"g": g, "x": x, "y": 0})
    data.loc[3, "y"] = 1
    design = build_design("y ~ x + (1 | g)", data)
    overdispersed = 3.0 * x + 0.5 * rng.standard_normal(40)[g] + 0.5 * rng.normal(size=1600)
    drawn = design.with_response((overdispersed > 0).astype(float))
    result = fit_design(drawn, options=Options(lapse="estimate"))
    plain = fit_design(drawn)
    assert result.lapse == 0.0
    assert np.isnan(result.shape_covariance).all()
    assert any("lapse rate is on the boundary" in one for one in result.warnings)
    assert result.log_likelihood == pytest.approx(plain.log_likelihood, abs=1e-6)
    assert result.parameters == plain.parameters + 1


def test_json_both_ways_and_words(estimated) -> None:
    again = GlmmResult.from_json(json.dumps(estimated.to_json()))
    assert again.lapse == estimated.lapse
    assert again.options == replace(estimated.options)
    assert "Lapse rate" in estimated.summary()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"lapse": 0.5}, "no lapse rate"),
        ({"lapse": -0.1}, "no lapse rate"),
        ({"lapse": 0.02, "family": "gaussian"}, "needs the binomial family"),
    ],
)
def test_refusals(asked, words) -> None:
    data = pd.DataFrame({"y": [0, 1, 1, 0] * 5, "x": np.arange(20.0), "g": list("abcd") * 5})
    with pytest.raises(InputError, match=words):
        fit("y ~ x + (1 | g)", data, **asked)


@pytest.mark.slow
def test_recovery_and_coverage() -> None:
    """Where answers lapse a plain model shrinks; this one does not, and its intervals hold."""
    truth, rng = np.array([1.6, 1.0, -1.32]), np.random.default_rng(17)
    shrunk, errors, hits, fits = [], [], np.zeros(3), 120
    for _ in range(fits):
        p, unit = rng.integers(0, 60, 3000), rng.integers(0, 40, 3000)
        data = pd.DataFrame({"p": p, "unit": unit, "x": rng.normal(size=3000)})
        data["hard"], data["y"] = rng.integers(0, 2, 3000), rng.integers(0, 2, 3000)
        design = build_design("y ~ x + hard + (1|p) + (1|unit)", data)
        eta = design.fixed @ truth + 0.5 * rng.standard_normal(60)[p]
        eta += 0.8 * rng.standard_normal(40)[unit]
        link = lapsing(binomial_link("logit"), 0.05)
        drawn = design.with_response((rng.random(3000) < link.probability(eta)).astype(float))
        shrunk.append(fit_design(drawn, options=Options(hessian=False)).estimate - truth)
        result = fit_design(drawn, options=Options(lapse=0.05))
        low, high = result.interval().T
        hits += (low < truth) & (truth < high)
        errors.append(result.estimate - truth)
    bias, spread = np.mean(errors, axis=0), np.std(errors, axis=0) / np.sqrt(fits)
    assert (np.abs(bias) < 4 * spread + 0.01).all(), bias
    assert np.mean(shrunk, axis=0)[2] > 0.1  # towards zero
    assert (hits / fits > 0.90).all(), hits / fits


def test_the_profile_interval_ends_where_the_deviance_has_risen(estimated) -> None:
    found = intervals(estimated, method="profile", effects=["lapse"]).tests[0]
    reference = json.loads((HERE / "lapse.json").read_text())
    data = pd.read_csv(HERE / "lapse.csv")
    assert found.name == "lapse"
    assert not found.reason
    assert 0.0 <= found.low < estimated.lapse < found.high
    none = fit(reference["formula"], data).deviance - estimated.deviance
    assert found.statistic == pytest.approx(none, abs=1e-3)
    assert found.p == pytest.approx(0.5 * stats.chi2.sf(none, 1), rel=1e-2)
    assert (found.low == 0.0) == (none <= stats.chi2.ppf(0.95, 1))
    for end in {found.low, found.high} - {0.0}:
        rise = fit(reference["formula"], data, lapse=end).deviance - estimated.deviance
        assert rise == pytest.approx(stats.chi2.ppf(0.95, 1), abs=2e-2)


def test_a_given_rate_has_no_interval() -> None:
    reference = json.loads((HERE / "lapse.json").read_text())
    given = fit(reference["formula"], pd.read_csv(HERE / "lapse.csv"), lapse=0.02)
    with pytest.raises(ModelError, match="no estimated lapse rate"):
        profile_lapse(given)
