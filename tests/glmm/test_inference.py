"""Inference for mixed models: hand values, exact cases, agreement between methods."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import binomtest

from imi_bench.errors import InputError, ModelError, NotEnoughDataError, UnknownNameError
from imi_bench.glmm import GlmmResult, Options, build_design, fit, fit_design
from imi_bench.glmm.between import INTERCEPT, between_terms, level_estimates, regress, two_stage
from imi_bench.glmm.bootstrap import bootstrap, bootstrap_likelihood_ratio
from imi_bench.glmm.inference import (
    Inference,
    bayes_factor_null,
    equivalence,
    likelihood_ratio,
    wald,
)
from imi_bench.glmm.methods import HOME
from imi_bench.glmm.profile import profile

SCALE = np.array([6.8, 7.3, 7.4, 7.4, 7.6, 7.8, 7.9, 7.9, 8.0])


def answers(*, seed: int = 0, networks: int = 9, family: str = "binomial") -> pd.DataFrame:
    """Nine networks of ten units, six answers a unit, half of them in another mode."""
    rng = np.random.default_rng(seed)
    rows = pd.MultiIndex.from_product(
        [range(networks), range(10), range(6)], names=["network", "unit", "person"]
    ).to_frame(index=False)
    rows["scale"] = SCALE[rows["network"]] - SCALE.mean()
    rows["mode"] = (rows["person"] % 2).astype(float)
    rows["unit"] += 10 * rows["network"]
    eta = 1 + 0.4 * rows["scale"] - 0.5 * rows["mode"]
    eta += rng.normal(0, 0.5, rows["network"].nunique())[rows["network"]]
    eta += rng.normal(0, 0.6, rows["unit"].nunique())[rows["unit"]]
    if family == "gaussian":
        return rows.assign(y=eta + rng.normal(0, 1, len(rows)))
    return rows.assign(y=(rng.random(len(rows)) < 1 / (1 + np.exp(-eta))).astype(int))


@pytest.fixture(scope="module")
def fitted() -> GlmmResult:
    return fit_design(build_design("y ~ scale + mode + (1|unit) + (1|network)", answers()))


def test_a_refit_from_a_previous_fit_costs_no_more_than_a_cold_one(fitted: GlmmResult) -> None:
    """Also where that fit was singular, whose Hessian says nothing about the zero variance."""
    assert fitted.design is not None
    assert fitted.singular
    rng = np.random.default_rng(3)
    warm_evaluations = cold_evaluations = 0
    for _ in range(8):
        again = fitted.design.with_response(fitted.simulate(rng))
        warm, cold = (
            fit_design(again, start=start, options=Options(hessian=False))
            for start in (fitted, None)
        )
        assert warm.converged
        assert cold.converged
        assert warm.deviance == pytest.approx(cold.deviance, abs=1e-4)
        np.testing.assert_allclose(warm.estimate, cold.estimate, atol=2e-3)
        assert warm.evaluations <= cold.evaluations + 6
        warm_evaluations += warm.evaluations
        cold_evaluations += cold.evaluations
    assert warm_evaluations <= 1.5 * cold_evaluations


def test_wald_matches_the_result(fitted: GlmmResult) -> None:
    z = wald(fitted, "scale")
    k = fitted.index("scale")
    assert (z.estimate, z.se, z.p) == pytest.approx((fitted.estimate[k], fitted.se[k], fitted.p[k]))
    assert (z.low, z.high) == pytest.approx(tuple(fitted.interval()[k]))
    t = wald(fitted, "scale", df=7)
    assert t.p == pytest.approx(2 * stats.t.sf(abs(z.statistic), 7))
    assert t.p > z.p
    with pytest.raises(UnknownNameError, match="scael"):
        wald(fitted, "scael")


def test_likelihood_ratio_is_the_drop_of_the_deviance(fitted: GlmmResult) -> None:
    assert fitted.design is not None
    test = likelihood_ratio(fitted, "scale", "mode")
    without = fit_design(fitted.design.without("scale", "mode"))
    assert test.statistic == pytest.approx(without.deviance - fitted.deviance, abs=1e-4)
    assert test.df == 2
    assert test.p == pytest.approx(stats.chi2.sf(test.statistic, 2))


def test_reml_has_no_likelihood_ratio() -> None:
    design = build_design(
        "y ~ scale + (1|unit) + (1|network)", answers(family="gaussian"), family="gaussian"
    )
    result = fit_design(design, options=Options(method="REML"))
    with pytest.raises(ModelError, match="ML"):
        likelihood_ratio(result, "scale")
    with pytest.raises(ModelError, match="ML"):
        profile(result, "scale")


def test_profile_ends_are_where_the_deviance_has_risen(fitted: GlmmResult) -> None:
    assert fitted.design is not None
    found = profile(fitted, "mode", level=0.9)
    rise = stats.chi2.ppf(0.9, 1)
    assert found.low < found.estimate < found.high
    for end in (found.low, found.high):
        held = fit_design(fitted.design.fixing({"mode": end}))
        assert held.deviance - fitted.deviance == pytest.approx(rise, abs=0.02)


@pytest.mark.parametrize("seed", range(2))
def test_profile_and_likelihood_ratio_decide_alike(seed: int) -> None:
    design = build_design("y ~ scale + mode + (1|unit) + (1|network)", answers(seed=seed))
    result = fit_design(design)
    test, interval = likelihood_ratio(result, "scale"), profile(result, "scale")
    assert interval.p == pytest.approx(test.p, abs=1e-3)
    assert (interval.low > 0 or interval.high < 0) == (test.p < 0.05)


def test_two_stage_is_exact_for_balanced_gaussian_data() -> None:
    """With equal cells it must be the t-test of a line through the nine network means."""
    data = answers(family="gaussian")
    design = build_design("y ~ scale + (1|unit) + (1|network)", data, family="gaussian")
    test = two_stage(design, group="network")["scale"]
    means = data.groupby("network")[["y", "scale"]].mean()
    line = stats.linregress(means["scale"], means["y"])
    assert test.estimate == pytest.approx(line.slope, abs=1e-6)
    assert test.se == pytest.approx(line.stderr, rel=1e-5)
    assert test.p == pytest.approx(line.pvalue, rel=1e-4)
    assert test.df == 7


def test_between_terms_are_found_with_their_base() -> None:
    data = answers()
    design = build_design("y ~ mode * scale + (1|unit) + (1|network)", data)
    terms = {term.name: term for term in between_terms(design, group="network")}
    assert {name: term.base for name, term in terms.items()} == {
        "scale": INTERCEPT,
        "mode:scale": "mode",
    }
    np.testing.assert_allclose(terms["mode:scale"].values, SCALE - SCALE.mean())
    found = two_stage(design, group="network")
    assert set(found) == {"scale", "mode:scale"}
    with pytest.raises(UnknownNameError):
        between_terms(design, group="netwrok")


def test_a_slope_that_cannot_be_told_from_the_level_is_named() -> None:
    data = answers()
    data["shown"] = np.where(data["network"] == 3, 1.0, data["mode"])
    design = build_design("y ~ shown + (1|unit) + (1|network)", data)
    with pytest.raises(ModelError, match=r"shown.*network 3"):
        level_estimates(design, group="network", varying=["shown"])


def test_regress_without_scatter_between_levels_is_weighted_least_squares() -> None:
    """Estimates nearer the line than their errors: tau is zero, weights are 1/v."""
    x = np.arange(5.0)
    v = np.array([1.0, 2.0, 1.0, 4.0, 1.0])
    y = 1 + 2 * x + 0.01 * np.array([1, -1, 1, -1, 0])
    fit = regress(y, np.diag(v), {"x": x})
    weights = np.polyfit(x, y, 1, w=1 / np.sqrt(v))
    assert fit.tau == 0.0
    assert fit.estimate == pytest.approx(weights[::-1])
    assert (fit.df, fit.levels) == (3, 5)


def test_regress_estimates_tau_by_reml() -> None:
    """Equal variances v: tau^2 + v is the residual mean square, by hand."""
    y = np.array([0.0, 1.0, 5.0, 2.0, 7.0, 1.0])
    fit = regress(y, 0.3 * np.eye(6))
    assert fit.tau**2 + 0.3 == pytest.approx(y.var(ddof=1), rel=1e-4)
    assert fit.scale == pytest.approx(1.0, rel=1e-3)
    assert fit.test(INTERCEPT).p == pytest.approx(stats.ttest_1samp(y, 0).pvalue, rel=1e-3)


@given(shift=st.floats(-5, 5), factor=st.floats(0.1, 10))
def test_regress_follows_shift_and_scale(shift: float, factor: float) -> None:
    y, v = np.array([0.3, -0.4, 1.2, 0.9, 0.1]), np.diag([0.1, 0.2, 0.1, 0.3, 0.2])
    x = np.array([1.0, 2.0, 4.0, 5.0, 9.0])
    plain = regress(y, v, {"x": x}).test("x")
    moved = regress(shift + factor * y, factor**2 * v, {"x": x}).test("x")
    assert moved.statistic == pytest.approx(plain.statistic, rel=1e-3)
    assert moved.estimate == pytest.approx(factor * plain.estimate, rel=1e-3)


def test_regress_joint_test_of_one_column_is_the_squared_t() -> None:
    y, x = np.array([0.3, -0.4, 1.2, 0.9, 0.1]), np.array([1.0, 2.0, 4.0, 5.0, 9.0])
    fit = regress(y, 0.1 * np.eye(5), {"x": x})
    assert fit.joint(["x"]).statistic == pytest.approx(fit.test("x").statistic ** 2)
    assert fit.joint(["x"]).p == pytest.approx(fit.test("x").p)


def test_regress_refuses_too_few_levels_and_constant_properties() -> None:
    with pytest.raises(
        NotEnoughDataError, match="too few levels to compare: found 2, wanted at least 3"
    ):
        regress(np.zeros(2), np.eye(2), {"x": np.arange(2.0)})
    with pytest.raises(ModelError, match="depend"):
        regress(np.zeros(4), np.eye(4), {"x": np.ones(4)})


def test_equivalence_by_hand() -> None:
    test = Inference.from_t("x", estimate=0.1, se=0.1, df=7.0, method="t")
    found = equivalence(test, bound=0.5)
    assert found.p_high == pytest.approx(stats.t.cdf(-4.0, 7))
    assert found.p_low == pytest.approx(stats.t.sf(6.0, 7))
    assert found.verdict == "equivalent"
    assert found.p == found.p_high
    assert -0.5 < found.low < found.high < 0.5
    with pytest.raises(InputError, match="bound 0"):
        equivalence(test, bound=0.0)


@given(
    estimate=st.floats(-2, 2), se=st.floats(0.01, 2), df=st.floats(2, 50), bound=st.floats(0.05, 2)
)
def test_equivalence_is_the_interval_inside_the_bounds(
    estimate: float, se: float, df: float, bound: float
) -> None:
    test = Inference.from_t("x", estimate=estimate, se=se, df=df, method="t")
    found = equivalence(test, bound=bound)
    inside = found.low > -bound and found.high < bound
    assert (found.verdict in ("equivalent", "trivial")) == inside


def test_bayes_factor_agrees_with_the_bic_of_two_lines() -> None:
    """exp((BIC1 - BIC0) / 2) of a line and of a mean, with Gaussian errors."""
    x = SCALE - SCALE.mean()
    y = 0.3 * x + np.array([0.1, -0.2, 0.05, 0.2, -0.1, 0.0, 0.1, -0.1, 0.02])
    line = stats.linregress(x, y)
    test = Inference.from_t("x", estimate=line.slope, se=line.stderr, df=7.0, method="t")
    n, null = len(y), ((y - y.mean()) ** 2).sum()
    rest = ((y - line.intercept - line.slope * x) ** 2).sum()
    bic = n * math.log(rest / n) + 2 * math.log(n) - (n * math.log(null / n) + math.log(n))
    assert bayes_factor_null(test, n=n) == pytest.approx(math.exp(bic / 2))


@pytest.mark.whole
def test_bootstrap_does_not_depend_on_the_number_of_workers(fitted: GlmmResult) -> None:
    one, two = (bootstrap(fitted, n=4, seed=3, workers=w) for w in (1, 2))
    np.testing.assert_array_equal(one.estimate, two.estimate)
    other = bootstrap(fitted, n=4, seed=4, workers=1)
    assert not np.array_equal(one.estimate, other.estimate)
    assert one.names == fitted.names
    assert one.estimate.shape == (4, 3)


@pytest.mark.whole
def test_refits_have_the_distribution_that_is_known_exactly() -> None:
    """Of balanced groups, whose covariate is the same in each, the estimates are plain means.

    So they are normal: the slope with the variance of a row over the rows, the intercept with that
    of a group's mean over the groups.
    """
    rng = np.random.default_rng(0)
    group, x = np.repeat(np.arange(12), 4), np.tile([-1.0, 1.0, -1.0, 1.0], 12)
    y = 0.5 + 0.3 * x + rng.normal(0, 0.8, 12)[group] + rng.normal(0, 0.5, 48)
    table = pd.DataFrame({"y": y, "x": x, "g": group.astype(str)})
    model = fit("y ~ x + (1 | g)", table, family="gaussian")
    drawn = bootstrap(model, n=400, seed=0, workers=1)
    within, between = model.sigma**2, float(model.random[0].sd[0]) ** 2
    exact = np.sqrt([(between + within / 4) / 12, within / 48])
    for column, spread in enumerate(exact):
        normal = stats.norm(model.estimate[column], spread)
        assert stats.kstest(drawn.estimate[:, column], normal.cdf).pvalue > 1e-4
        assert drawn.test(model.names[column]).se == pytest.approx(spread, rel=0.14)  # 4 sigma
    assert abs(np.corrcoef(drawn.estimate.T)[0, 1]) < 4 / np.sqrt(400)


@pytest.mark.whole
def test_bootstrap_spread_is_near_the_standard_error(fitted: GlmmResult) -> None:
    few = bootstrap(fitted, n=2, seed=0, workers=1).test("mode")
    assert np.isnan(few.low)
    assert few.reason.startswith("2 draws are too few")
    drawn = bootstrap(fitted, n=39, seed=0, workers=1)
    assert type(drawn).from_json(drawn.to_json()).to_frame().equals(drawn.to_frame())
    assert len(repr(drawn)) < 2000
    found = drawn.test("mode")
    wanted = fitted.se[fitted.index("mode")]
    assert drawn.failed == 0
    ratio = 38 * (found.se / wanted) ** 2  # chi-squared, as exact as 39 refits are
    assert stats.chi2.ppf(1e-4, 38) < ratio < stats.chi2.isf(1e-4, 38)
    assert found.se == np.std(drawn.estimate[:, fitted.index("mode")], ddof=1)
    assert found.low < fitted.estimate[fitted.index("mode")] < found.high


@pytest.mark.whole
def test_bootstrap_likelihood_ratio_agrees_with_chi_squared(fitted: GlmmResult) -> None:
    test = bootstrap_likelihood_ratio(fitted, "mode", n=19, seed=0, workers=1)
    chi2 = likelihood_ratio(fitted, "mode")
    assert test.statistic == pytest.approx(chi2.statistic, abs=1e-3)
    beyond = round(20 * test.p) - 1  # of 19 responses drawn without the effect
    assert test.p == pytest.approx((1 + beyond) / 20)
    assert binomtest(beyond, 19, chi2.p).pvalue > 0.01


def test_bootstrap_needs_the_data(fitted: GlmmResult) -> None:
    stored = GlmmResult.from_json(fitted.to_json())
    with pytest.raises(ModelError, match="without its data"):
        bootstrap(stored, n=2)
    with pytest.raises(InputError, match="n=0"):
        bootstrap(fitted, n=0)


def test_a_fitted_model_carries_its_tests(tmp_path):
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(20), 15)
    x = rng.normal(size=300)
    p = 1 / (1 + np.exp(-0.5 * x - 0.5 * rng.normal(size=20)[g]))
    data = pd.DataFrame({"y": (rng.random(300) < p).astype(int), "x": x, "g": g})
    table = tmp_path / "data.parquet"
    data.to_parquet(table)
    model = fit("y ~ x + (1 | g)", str(table))
    assert model.log_likelihood == fit("y ~ x + (1 | g)", data).log_likelihood
    assert model.wald("x") == wald(model, "x")
    assert model.likelihood_ratio("x") == likelihood_ratio(model, "x")
    assert model.profile("x").low < model.estimate[1] < model.profile("x").high
    assert model.bootstrap(n=4, workers=1).estimate.shape == (4, 2)
    assert set(HOME) - {"simulated_residuals"} <= set(vars(type(model)))
    assert model.residuals(n=50).n == 50
    assert len(repr(model)) < 2000
