"""Ordered answers: derivatives, R's clmm, binary answers as a special case, recovery."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from support.glmm_designs import dense_lambda, dense_z, random_problem, random_theta
from support.numeric import differences

from imi_bench.errors import FormulaError, InputError
from imi_bench.glmm import GlmmResult, fit
from imi_bench.glmm.inference import likelihood_ratio, wald
from imi_bench.glmm.ordered import ordered_codes, ordinal_design
from imi_bench.glmm.ordinal import Thresholds, category_probabilities
from imi_bench.glmm.profile import profile
from imi_bench.glmm.shape import ShapedLaplace

HERE = Path(__file__).parent / "references" / "models"
REFERENCE = json.loads((HERE / "ordered.json").read_text())
ANSWERS = tuple("123456")
PLACES = np.array([-1.5, -0.8, 0.0, 0.5, 1.2])


def ordinal_problem(rng, **shape):
    problem = random_problem(rng, **shape)
    answers = rng.integers(0, 6, len(problem.response)).astype(float)
    return replace(problem, response=answers, basis=problem.basis[:, 1:])


@pytest.mark.parametrize("kind", ["flexible", "symmetric"])
@pytest.mark.parametrize("link", ["logit", "probit"])
@pytest.mark.parametrize("shape", [{}, {"levels": (9, 6), "widths": (3, 2)}], ids=["one", "more"])
def test_gradient_is_exact(link, kind, shape) -> None:
    rng = np.random.default_rng(3)
    problem, family = ordinal_problem(rng, **shape), Thresholds(link, ANSWERS, kind)
    objective = ShapedLaplace(problem, family)
    parameters = np.r_[
        random_theta(rng, problem), 0.4 * rng.normal(size=2), family.internal(PLACES)
    ]
    modes = np.zeros(problem.random.pattern.size)
    point = objective.evaluate(parameters, modes)
    expected = differences(objective, parameters, modes)
    np.testing.assert_allclose(point.gradient, expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_value_is_the_textbook_formula(link) -> None:
    rng = np.random.default_rng(8)
    problem, family = ordinal_problem(rng), Thresholds(link, ANSWERS)
    theta, fixed = random_theta(rng, problem), 0.4 * rng.normal(size=2)
    objective = ShapedLaplace(problem, family)
    parameters = np.r_[theta, fixed, family.internal(PLACES)]
    point = objective.evaluate(parameters, np.zeros(problem.random.pattern.size))
    scaled = dense_z(problem) @ dense_lambda(problem, problem.factors(theta))
    base = problem.offset + problem.basis @ fixed

    def likelihood(u) -> float:
        spread = {"logit": stats.logistic, "probit": stats.norm}[link]
        below = spread.cdf(PLACES - (base + scaled @ u)[:, None])
        shares = np.diff(np.c_[np.zeros(len(base)), below, np.ones(len(base))], axis=1)
        rows = np.arange(len(base))
        return float(np.log(shares[rows, problem.response.astype(int)]).sum() - 0.5 * u @ u)

    step, size = 1e-4, len(point.modes)
    curved = np.zeros((size, size))
    for a in range(size):
        for b in range(a, size):
            e, f = step * np.eye(size)[a], step * np.eye(size)[b]
            four = [likelihood(point.modes + s * e + t * f) for s in (1, -1) for t in (1, -1)]
            curved[a, b] = curved[b, a] = (four[1] + four[2] - four[0] - four[3]) / (4 * step**2)
    expected = -2 * likelihood(point.modes) + np.linalg.slogdet(curved)[1]
    assert point.value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_probabilities_are_exact_in_the_tails(link) -> None:
    eta = np.array([-30.0, 0.0, 30.0])
    shares = category_probabilities(link, PLACES, eta)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    assert (shares > 0).all()
    np.testing.assert_allclose(
        category_probabilities(link, -PLACES[::-1], -eta), shares[:, ::-1], rtol=1e-12
    )


@pytest.mark.parametrize("key", sorted(REFERENCE["fits"]))
def test_clmm(key) -> None:
    row = REFERENCE["fits"][key]
    result = fit(
        REFERENCE["formula"],
        pd.read_csv(HERE / "ordered.csv"),
        family="ordinal",
        link=row["link"],
        thresholds=row["thresholds"],
    )
    assert result.converged
    assert result.log_likelihood == pytest.approx(row["logLik"], abs=1e-4)
    assert result.aic == pytest.approx(row["AIC"], abs=1e-3)
    assert list(result.names) == list(row["fixed"])
    for at, (name, value) in enumerate(row["fixed"].items()):
        assert abs(result.estimate[at] - value) < 2e-3 * row["se"][name]
        assert result.se[at] == pytest.approx(row["se"][name], rel=2e-3)
    np.testing.assert_allclose(result.shape, row["shape"], atol=1e-3)
    if row["shape_se"]:
        np.testing.assert_allclose(
            np.sqrt(np.diag(result.shape_covariance)), row["shape_se"], rtol=5e-3
        )
    for effect in result.random:
        assert effect.sd[0] == pytest.approx(row["sd"][effect.group], rel=1e-3)
    units = next(effect for effect in result.random if effect.group == "unit")
    np.testing.assert_allclose(units.modes[:, 0], row["modes"], atol=2e-3)


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_two_answers_are_the_binomial_model(link) -> None:
    """Where expected and observed information agree, to the last digit; else nearly.

    The binomial probit has the expected information in its determinant, as lme4; the cumulative
    one the observed, as clmm.
    """
    data = pd.read_csv(HERE / "lapse.csv")
    formula = "correct ~ x + mode + (1 | person) + (1 | unit)"
    binary = fit(formula, data, link=link)
    ordered = fit(formula, data, family="ordinal", link=link)
    assert ordered.shape_names == ("0|1",)
    tolerance = 1e-5 if link == "logit" else 0.02
    assert ordered.log_likelihood == pytest.approx(binary.log_likelihood, abs=25 * tolerance)
    np.testing.assert_allclose(ordered.estimate, binary.estimate[1:], atol=tolerance)
    np.testing.assert_allclose(ordered.se, binary.se[1:], rtol=1e-4 if link == "logit" else 0.02)
    assert ordered.shape[0] == pytest.approx(-binary.estimate[0], abs=tolerance)


@pytest.fixture(scope="module")
def fitted() -> GlmmResult:
    return fit(REFERENCE["formula"], pd.read_csv(HERE / "ordered.csv"), family="ordinal")


def test_turning_the_scale_round_turns_the_signs(fitted) -> None:
    data = pd.read_csv(HERE / "ordered.csv").eval("rating = 7 - rating")
    turned = fit(REFERENCE["formula"], data, family="ordinal")
    assert turned.log_likelihood == pytest.approx(fitted.log_likelihood, abs=1e-6)
    np.testing.assert_allclose(turned.estimate, -fitted.estimate, atol=1e-5)
    np.testing.assert_allclose(turned.shape, -fitted.shape[::-1], atol=1e-5)


def test_tests_and_intervals(fitted) -> None:
    ratio = likelihood_ratio(fitted, "mode")
    found = profile(fitted, "depth")
    assert ratio.statistic == pytest.approx(wald(fitted, "modesynthetic").statistic ** 2, rel=0.1)
    np.testing.assert_allclose(
        [found.low, found.high], fitted.interval()[fitted.index("depth")], atol=0.02
    )


def test_simulated_answers_follow_the_model(fitted) -> None:
    rng = np.random.default_rng(1)
    drawn = np.concatenate([fitted.simulate(rng) for _ in range(60)])
    share = np.bincount(drawn.astype(int), minlength=6) / len(drawn)
    seen = np.bincount(fitted.design.response.astype(int)) / fitted.n
    np.testing.assert_allclose(share, seen, atol=0.03)


def test_json_both_ways_and_words(fitted) -> None:
    again = GlmmResult.from_json(json.dumps(fitted.to_json()))
    np.testing.assert_allclose(again.shape_covariance, fitted.shape_covariance)
    assert again.options == fitted.options
    assert "1|2" in fitted.summary()
    assert "1 < 2 < 3 < 4 < 5 < 6" in fitted.summary()


@pytest.mark.whole
def test_separated_answers_have_no_estimate() -> None:
    data = pd.read_csv(HERE / "ordered.csv")
    data["told"] = (data["rating"] > 3).astype(int)
    result = fit("rating ~ told + (1 | unit)", data, family="ordinal")
    assert not result.converged
    assert result.separated == ("told",)


def test_order_of_answers() -> None:
    words = pd.Series(["no", "yes", "maybe", None], name="a")
    codes, labels = ordered_codes(words, levels=["no", "maybe", "yes"])
    assert labels == ("no", "maybe", "yes")
    np.testing.assert_array_equal(codes, [0, 2, 1, np.nan])
    ordered = pd.Series(pd.Categorical(words, ["yes", "maybe", "no"], ordered=True))
    np.testing.assert_array_equal(ordered_codes(ordered)[0], [2, 0, 1, np.nan])
    with pytest.raises(InputError, match="without an order"):
        ordered_codes(words)
    with pytest.raises(InputError, match="not among the levels"):
        ordered_codes(words, levels=["no", "yes"])


@pytest.mark.parametrize("kind", ["flexible", "symmetric"])
def test_a_constant_among_the_fixed_effects_anchors_the_thresholds(kind) -> None:
    """Levels of their own instead of a reference: the same model, the middle threshold at zero."""
    data = pd.read_csv(HERE / "ordered.csv")
    bars = "depth + (1 | person) + (1 | unit)"
    usual = fit(f"rating ~ mode + {bars}", data, family="ordinal", thresholds=kind)
    own = fit(f"rating ~ 0 + mode + {bars}", data, family="ordinal", thresholds=kind)
    assert own.shape[2] == 0.0
    assert own.log_likelihood == pytest.approx(usual.log_likelihood, abs=1e-5)
    assert own.parameters == usual.parameters
    np.testing.assert_allclose(own.shape, usual.shape - usual.shape[2], atol=1e-4)
    assert own.estimate[0] == pytest.approx(-usual.shape[2], abs=1e-4)
    difference = own.estimate[1] - own.estimate[0]
    assert difference == pytest.approx(usual.estimate[0], abs=1e-4)


def test_refusals() -> None:
    data = pd.read_csv(HERE / "ordered.csv")
    with pytest.raises(FormulaError, match="is a column"):
        ordinal_design("log(rating) ~ mode + (1 | unit)", data)


def test_levels_without_an_answer_are_named() -> None:
    data = pd.read_csv(HERE / "ordered.csv")
    data["answer"] = pd.Categorical(data["rating"], [0, 1, 2, 3, 4, 5, 6], ordered=True)
    result = fit("answer ~ mode + (1 | unit)", data, family="ordinal")
    assert any("not modelled: 0" in one for one in result.warnings)


@pytest.mark.slow
@pytest.mark.parametrize("link", ["logit", "probit"])
def test_recovery_coverage_and_precision(link) -> None:
    """Six answers know more than two: the standard error falls, and its interval still holds."""
    truth, rng, hits, fits = 0.6, np.random.default_rng(23), 0, 150
    errors, ratios = [], []
    for _ in range(fits):
        p, unit = rng.integers(0, 50, 1500), rng.integers(0, 40, 1500)
        data = pd.DataFrame({"p": p, "unit": unit, "x": rng.normal(size=1500)})
        eta = (
            1.0 + truth * data["x"] + 0.5 * rng.normal(size=50)[p] + 0.8 * rng.normal(size=40)[unit]
        )
        noise = rng.logistic(size=1500) if link == "logit" else rng.normal(size=1500)
        data["rating"] = np.searchsorted([-2, -1, 0, 1.1, 2.2], eta + noise)
        data["correct"] = (data["rating"] > 2).astype(int)
        formula = "~ x + (1|p) + (1|unit)"
        six = fit(f"rating {formula}", data, family="ordinal", link=link)
        two = fit(f"correct {formula}", data, link=link)
        low, high = six.interval()[0]
        hits += low < truth < high
        errors.append((six.estimate[0] - truth) / six.se[0])
        ratios.append(two.se[1] / six.se[0])
    assert 0.90 < hits / fits < 0.985
    assert abs(np.mean(errors)) < 0.3
    assert np.mean(ratios) > 1.15


def test_real_people_against_clmm(shared: Path) -> None:
    """Side and confidence of ten people (Borowski et al. 2021); R: ordinal 2022.11.16.

    ``clmm(factor(rating, ordered = TRUE) ~ synthetic + depth + (1|s) + (1|u))``.
    """
    name = "experiment_I_main_practice_catch_repeated_trials_preprocessed.csv"
    data = pd.read_csv(shared / "people" / "borowski2021" / name)
    data = data[(data["trial_type"] == "main") & data["instr_type"].isin(["natural", "optimized"])]
    steps = data["abs_conf_rating"]
    data["rating"] = np.where(data["correct"].astype(bool), 3 + steps, 4 - steps)
    data["synthetic"] = (data["instr_type"] == "optimized").astype(int)
    order = {layer: place for place, layer in enumerate(sorted(data["layer"].unique()))}
    data["depth"] = data["layer"].map(order) / 8 - 0.5
    data["s"] = data["subject_id"].astype(str)
    data["u"] = data["unit_name"].astype(str) + data["channel"].astype(str)
    six = fit("rating ~ synthetic + depth + (1|s) + (1|u)", data, family="ordinal")
    assert six.log_likelihood == pytest.approx(-1169.826, abs=1e-3)
    np.testing.assert_allclose(six.estimate, [-1.5673913, 2.1433601], atol=1e-3)
    np.testing.assert_allclose(six.se, [0.1386515, 0.3173412], rtol=2e-3)
    wanted = [-5.9991616, -4.4454650, -3.6134560, -2.2189210, -0.6775798]
    np.testing.assert_allclose(six.shape, wanted, atol=2e-3)
    data["correct"] = data["correct"].astype(int)
    two = fit("correct ~ synthetic + depth + (1|s) + (1|u)", data)
    assert abs(six.z[0]) > 2 * abs(two.z[1])
