"""The psychometric function and its fit: hand values, derivatives, statsmodels, edge states."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from statsmodels.stats.meta_analysis import combine_effects

from imi_bench.choice import likelihood
from imi_bench.choice.fitting import (
    PsychometricFit,
    PsychometricParameters,
    choice_probability,
    fit_psychometric,
)
from imi_bench.choice.likelihood import BinomialRows
from imi_bench.choice.pooling import between_groups, partially_pooled
from imi_bench.errors import InputError, NotEnoughDataError
from imi_bench.stats.links import LINKS, Link

EVERY = pytest.mark.parametrize("link", LINKS.values(), ids=repr)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)


def simulated(rng, *, size=3000, slope=0.8, bias=0.0, lapse=0.0, link="logit", n=10):
    x = rng.normal(0.5, 2.5, size)
    p = choice_probability(x, PsychometricParameters(slope, bias, lapse, link))
    return x, rng.binomial(n, p).astype(float), np.full(size, float(n))


def test_hand_derived_probability():
    p = choice_probability(
        [math.log(3), 0.0, -np.inf], PsychometricParameters(1.0, bias=0.0, lapse=0.2)
    )
    assert p == pytest.approx([0.1 + 0.8 * 0.75, 0.5, 0.1])
    assert np.isnan(choice_probability(np.nan, PsychometricParameters(1.0)))


@given(
    x=st.floats(-50, 50),
    slope=st.floats(-5, 5),
    bias=st.floats(-3, 3),
    lapse=st.floats(0, 1),
    link=st.sampled_from(sorted(LINKS)),
)
def test_turning_evidence_and_bias_round_turns_the_choice_round(x, slope, bias, lapse, link):
    p = choice_probability(x, PsychometricParameters(slope, bias, lapse, link))
    q = choice_probability(-x, PsychometricParameters(slope, -bias, lapse, link))
    assert p + q == pytest.approx(1.0, abs=1e-12)
    assert lapse / 2 - 1e-12 <= p <= 1 - lapse / 2 + 1e-12


@pytest.mark.parametrize("wrong", [{"lapse": -0.1}, {"lapse": 1.1}, {"bias": math.nan}])
def test_impossible_parameters_cannot_be_made(wrong):
    with pytest.raises(InputError, match=r"lapse between 0 and 1|a finite number"):
        PsychometricParameters(1.0, **wrong)


@EVERY
@pytest.mark.parametrize("lapse", [0.0, 0.15])
def test_gradient_and_information_match_finite_differences(link: Link, lapse: float, rng):
    x = rng.normal(0, 2, 40)
    k = rng.binomial(5, choice_probability(x, PsychometricParameters(0.7, -0.2, 0.1)))
    rows = BinomialRows(np.stack([x, np.ones(40)]), k, np.full(40, 5))
    theta = np.array([0.7, -0.2, lapse])
    score = likelihood.row_scores(theta, rows, link).sum(axis=-1)
    if lapse:
        numeric = approx_fprime(theta, likelihood.log_likelihood, 1e-7, rows, link)
        assert score == pytest.approx(numeric, rel=1e-4, abs=1e-4)
    assert likelihood.scoring_step(theta, rows, link)[0] == pytest.approx(score, rel=1e-10)

    def gradient(at):
        return likelihood.row_scores(at, rows, link).sum(axis=-1)

    hessian = np.array(
        [(gradient(theta + d) - gradient(theta - d)) / 2e-6 for d in 1e-6 * np.eye(3)]
    )
    observed = likelihood.observed_information(theta, rows, link)
    assert observed == pytest.approx(-hessian, rel=1e-4, abs=1e-3)
    assert observed == pytest.approx(observed.T)


def test_expected_information_is_the_mean_of_the_observed(rng):
    x, theta, link = rng.normal(0, 2, 30), np.array([0.7, 0.1]), LINKS["probit"]
    p = choice_probability(x, PsychometricParameters(0.7, lapse=0.1, link="probit"))
    exact = BinomialRows(x[None], p, np.ones(30))
    expected = likelihood.scoring_step(theta, exact, link)[1]
    assert likelihood.observed_information(theta, exact, link) == pytest.approx(expected)


@EVERY
@pytest.mark.parametrize("bias", [False, True])
def test_without_lapse_it_is_the_binomial_glm_of_statsmodels(link: Link, bias: bool, rng):
    x, k, n = simulated(rng, bias=0.4 * bias, link=link.name)
    fit = fit_psychometric(x, successes=k, trials=n, link=link.name, bias=bias, lapse=0.0)
    design = np.column_stack([x, np.ones_like(x)]) if bias else x[:, None]
    family = sm.families.Binomial(
        {"logit": sm.families.links.Logit(), "probit": sm.families.links.Probit()}[link.name]
    )
    glm = sm.GLM(np.column_stack([k, n - k]), design, family=family).fit(
        method="newton", tol=1e-12, disp=False
    )
    found = [fit.slopes["all"].value] + [fit.bias.value] * bias
    assert found == pytest.approx(glm.params, rel=1e-6)
    assert np.sqrt(np.diag(fit.covariance)) == pytest.approx(glm.bse, rel=1e-5)


def test_sandwich_is_that_of_statsmodels(rng):
    x, k, n = simulated(rng, size=400, n=1)
    units = np.arange(400) // 8
    fit = fit_psychometric(x, successes=k, trials=n, cluster=units.astype(str), lapse=0.0)
    glm = sm.GLM(k, x[:, None], family=sm.families.Binomial()).fit(
        cov_type="cluster",
        cov_kwds={"groups": units, "use_correction": True, "df_correction": False},
    )
    ratio = fit.covariance[0, 0] / glm.cov_params()[0, 0]
    # statsmodels multiplies by (N - 1)/(N - k) besides G/(G - 1)
    assert ratio == pytest.approx(1.0, rel=2 / 400)
    assert fit.clusters == 50


@EVERY
def test_recovers_all_parameters(link: Link, rng):
    x, k, n = simulated(rng, size=20_000, bias=0.3, lapse=0.1, link=link.name)
    fit = fit_psychometric(x, successes=k, trials=n, bias=True, link=link.name)
    assert fit.state == "interior"
    assert fit.slopes["all"].value == pytest.approx(0.8, rel=0.04)
    assert fit.bias.value == pytest.approx(0.3, abs=0.03)
    assert fit.lapse.value == pytest.approx(0.1, abs=0.01)


def test_the_fit_is_a_maximum(rng):
    x, k, n = simulated(rng, lapse=0.1)
    fit = fit_psychometric(x, successes=k, trials=n)
    rows = BinomialRows(x[None], k, n)
    best = np.array([fit.slopes["all"].value, fit.lapse.value])
    assert likelihood.log_likelihood(best, rows, LINKS["logit"]) == pytest.approx(
        fit.log_likelihood, rel=1e-12
    )
    for nudge in 1e-3 * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]]):
        assert likelihood.log_likelihood(best + nudge, rows, LINKS["logit"]) < fit.log_likelihood


@settings(max_examples=20, deadline=None)
@given(factor=st.floats(1e-4, 1e4))
def test_unit_of_the_evidence_does_not_matter(factor):
    x, k, n = simulated(np.random.default_rng(1), size=300, lapse=0.05)
    one = fit_psychometric(x, successes=k, trials=n)
    other = fit_psychometric(x * factor, successes=k, trials=n)
    assert other.slopes["all"].value * factor == pytest.approx(one.slopes["all"].value, rel=1e-5)
    assert other.lapse.value == pytest.approx(one.lapse.value, rel=1e-4)
    assert other.log_likelihood == pytest.approx(one.log_likelihood, rel=1e-9)


def test_aggregation_does_not_matter(rng):
    x, k, n = simulated(rng, size=200, lapse=0.05)
    single = np.concatenate(
        [np.r_[np.ones(int(a)), np.zeros(int(b - a))] for a, b in zip(k, n, strict=True)]
    )
    units = (np.arange(200) // 5).astype(str)
    whole = fit_psychometric(x, successes=k, trials=n, cluster=units)
    split = fit_psychometric(np.repeat(x, 10), successes=single, cluster=np.repeat(units, 10))
    assert split.covariance == pytest.approx(whole.covariance, rel=1e-5)
    assert split.slopes["all"].value == pytest.approx(whole.slopes["all"].value, rel=1e-7)


def test_slope_per_group(rng):
    x, k, n = simulated(rng)
    mode = np.where(np.arange(len(x)) % 2, "natural", "synthetic")
    both = fit_psychometric(x, successes=k, trials=n, group=mode, lapse=0.0)
    for name in ("natural", "synthetic"):
        rows = mode == name
        alone = fit_psychometric(x[rows], successes=k[rows], trials=n[rows], lapse=0.0)
        assert both.slopes[name].value == pytest.approx(alone.slopes["all"].value, rel=1e-7)
    assert both.parameters("natural").slope == both.slopes["natural"].value
    mean = (both.slopes["natural"].value + both.slopes["synthetic"].value) / 2
    assert both.parameters("unheard of").slope == pytest.approx(mean)


class TestStates:
    def test_lapse_at_zero_has_no_standard_error(self):
        # steeper than any logistic in the tails: a negative lapse would fit best
        x = np.array([-3.0, -0.5, 0.5, 3.0])
        fit = fit_psychometric(x, successes=[0, 45, 55, 100], trials=[100] * 4)
        assert fit.state == "lapse at 0"
        assert fit.lapse.value == 0
        assert math.isnan(fit.lapse.low)
        assert "end of its range" in fit.lapse.reason
        held = fit_psychometric(x, successes=[0, 45, 55, 100], trials=[100] * 4, lapse=0.0)
        assert fit.slopes["all"].low == pytest.approx(held.slopes["all"].low, rel=1e-6)

    def test_separation(self, rng):
        x = rng.normal(0, 1, 500)
        fit = fit_psychometric(x, successes=x > 0)
        assert fit.state == "separated"
        assert math.isfinite(fit.slopes["all"].value)
        assert math.isnan(fit.slopes["all"].low)
        assert "without end" in fit.slopes["all"].reason

    def test_separation_up_to_lapses(self, rng):
        x = rng.normal(0, 1, 4000)
        lapsed = rng.random(4000) < 0.2
        fit = fit_psychometric(x, successes=np.where(lapsed, rng.random(4000) < 0.5, x > 0))
        assert fit.state == "separated"
        assert fit.lapse.low < 0.2 < fit.lapse.high

    def test_no_evidence(self):
        fit = fit_psychometric(np.zeros(4), successes=[1, 0, 1, 1])
        assert (fit.state, fit.slopes["all"].value) == ("flat", 0.0)
        assert fit.parameters() == PsychometricParameters(0.0)

    def test_evidence_that_does_not_move_choices(self, rng):
        fit = fit_psychometric(rng.normal(0, 1, 500), successes=rng.random(500) < 0.5)
        assert fit.state == "weak"
        assert fit.slopes["all"].low < 0 < fit.slopes["all"].high
        assert "any lapse" in fit.lapse.reason

    def test_evidence_of_one_size(self):
        fit = fit_psychometric([-2.0, 2.0], successes=[25, 75], trials=[100, 100])
        assert fit.state == "one size"
        assert fit.slopes["all"].value == pytest.approx(math.log(3) / 2, rel=1e-8)

    def test_one_cluster_gives_no_interval(self, rng):
        x, k, n = simulated(rng, size=50)
        fit = fit_psychometric(x, successes=k, trials=n, cluster=["a"] * 50)
        assert fit.state == "unidentified"
        assert math.isnan(fit.slopes["all"].low)

    def test_evidence_against_people(self, rng):
        x, k, n = simulated(rng)
        assert fit_psychometric(-x, successes=k, trials=n).slopes["all"].value < 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"successes": [1.0]}, "unequal length"),
        ({"evidence": [np.nan, 1.0]}, "not finite"),
        ({"successes": [2.0, 0.0]}, "0 <= successes <= trials"),
    ],
)
def test_bad_input(change, message):
    arguments = {"evidence": [1.0, 2.0], "successes": [1.0, 0.0]} | change
    with pytest.raises(InputError, match=message):
        fit_psychometric(arguments["evidence"], successes=arguments["successes"])


def test_no_answers():
    with pytest.raises(NotEnoughDataError):
        fit_psychometric([1.0], successes=[0.0], trials=[0.0])


def test_json_round_trip(rng):
    x, k, n = simulated(rng, lapse=0.1)
    for fit in (
        fit_psychometric(x, successes=k, trials=n, bias=True),
        fit_psychometric(x, successes=x > 0),
    ):
        record = json.loads(json.dumps(fit.to_json(), allow_nan=False))
        again = PsychometricFit.from_json(record)
        assert again.to_json() == fit.to_json()
        assert np.array_equal(again.covariance, fit.covariance, equal_nan=True)


class TestPooling:
    def fitted(self, rng, slopes):
        x = rng.normal(0, 2, 4000)
        mode = np.where(np.arange(4000) % 2, "natural", "synthetic")
        slope = np.where(mode == "natural", *slopes)
        k = rng.binomial(10, 1 / (1 + np.exp(-slope * x))).astype(float)
        return fit_psychometric(x, successes=k, trials=np.full(4000, 10.0), group=mode, lapse=0.0)

    def test_equal_slopes_are_pooled_completely_or_nearly(self, rng):
        fit = self.fitted(rng, (0.5, 0.5))
        pooled = partially_pooled(fit)
        gap = abs(np.subtract(*[s.value for s in fit.slopes.values()]))
        assert abs(np.subtract(*[s.value for s in pooled.slopes.values()])) < gap
        widths = [[s.high - s.low for s in f.slopes.values()] for f in (pooled, fit)]
        assert max(widths[0]) < min(widths[1]) * 1.1

    def test_distant_slopes_stay_apart(self, rng):
        fit = self.fitted(rng, (0.2, 1.5))
        pooled = partially_pooled(fit)
        for name, slope in fit.slopes.items():
            assert pooled.slopes[name].value == pytest.approx(slope.value, rel=0.01)

    def test_between_group_variance_is_that_of_statsmodels(self):
        value, variance = np.array([0.3, 0.5, 1.4]), np.array([0.01, 0.02, 0.04])
        reference = combine_effects(value, variance, method_re="dl")
        assert between_groups(value, variance) == pytest.approx(reference.tau2, rel=1e-12)
        assert between_groups(np.array([1.0, 1.01]), np.array([1.0, 1.0])) == 0.0

    def test_hand_derived(self, rng):
        # two groups, equal variance v, values -1 and 1: Q = 2/v, c = 1/v, tau^2 = 2 - v;
        # each is drawn to the mean 0 by tau^2/(tau^2 + v) = (2 - v)/2
        fit = self.fitted(rng, (0.5, 0.5))
        slopes = {
            name: replace(slope, value=value, low=value, high=value)
            for (name, slope), value in zip(fit.slopes.items(), (-1.0, 1.0), strict=True)
        }
        pooled = partially_pooled(replace(fit, slopes=slopes, covariance=0.5 * np.eye(2)))
        assert [s.value for s in pooled.slopes.values()] == pytest.approx([-0.75, 0.75])
        # variance: tau^2 (1 - 3/4) + var(mean) (1 - 3/4)^2 with var(mean) = (tau^2 + v)/2 = 1
        assert pooled.covariance[0, 0] == pytest.approx(1.5 * 0.25 + 1.0 * 0.0625)

    def test_one_group_comes_back(self, rng):
        x, k, n = simulated(rng)
        fit = fit_psychometric(x, successes=k, trials=n)
        assert partially_pooled(fit) is fit
