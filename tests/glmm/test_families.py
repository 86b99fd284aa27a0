from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from imi_bench.errors import UnknownNameError
from imi_bench.glmm.families import BINOMIAL_LINKS, binomial_link
from imi_bench.stats.links import link_named

ETA = np.concatenate([np.linspace(-6, 6, 41), [0.0]])
MIDDLE = np.linspace(-4, 4, 33)  # where scipy's 1 - p keeps its digits


@pytest.mark.parametrize("name", BINOMIAL_LINKS)
@pytest.mark.parametrize(("hits", "trials"), [(0.0, 1.0), (1.0, 1.0), (3.0, 7.0)])
def test_derivatives(name, hits, trials) -> None:
    link = binomial_link(name)
    y, m, h = np.full_like(ETA, hits), np.full_like(ETA, trials), 1e-5
    here = link.terms(y, m, ETA)
    above, below = link.terms(y, m, ETA + h), link.terms(y, m, ETA - h)
    rise = link.log_likelihood(y, m, ETA + h) - link.log_likelihood(y, m, ETA - h)
    np.testing.assert_allclose(here.score, rise / (2 * h), rtol=1e-6, atol=1e-7)
    observed = -(above.score - below.score) / (2 * h)
    np.testing.assert_allclose(here.observed, observed, rtol=1e-6, atol=1e-7)
    slope = (above.weight - below.weight) / (2 * h)
    np.testing.assert_allclose(here.slope, slope, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", BINOMIAL_LINKS)
def test_against_scipy(name) -> None:
    link = binomial_link(name)
    p = link.probability(MIDDLE)
    distribution = {"logit": stats.logistic, "probit": stats.norm}[name]
    np.testing.assert_allclose(p, distribution.cdf(MIDDLE), rtol=1e-12)
    np.testing.assert_allclose(link.quantile(p), MIDDLE, atol=1e-8)
    y, m = np.full_like(MIDDLE, 2.0), np.full_like(MIDDLE, 5.0)
    expected = stats.binom.logpmf(2, 5, p) - np.log(10)
    np.testing.assert_allclose(link.log_likelihood(y, m, MIDDLE), expected, rtol=1e-9)
    weight = 5 * distribution.pdf(MIDDLE) ** 2 / (p * (1 - p))
    np.testing.assert_allclose(link.terms(y, m, MIDDLE).weight, weight, rtol=1e-6)


@pytest.mark.parametrize("name", BINOMIAL_LINKS)
def test_a_row_has_the_derivatives_of_its_link(name) -> None:
    """The rows' fused formulas against the one set of links."""
    link, at = binomial_link(name), link_named(name).derivatives(ETA)
    assert link.probability is link_named(name).value
    y, m = np.full_like(ETA, 2.0), np.full_like(ETA, 5.0)
    up, down = at.value, link_named(name).value(-ETA)
    terms, residual = link.terms(y, m, ETA), y / up - (m - y) / down
    np.testing.assert_allclose(terms.score, at.first * residual, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(terms.weight, m * at.first**2 / (up * down), rtol=1e-11)
    steep = (y / up**2 + (m - y) / down**2) * at.first**2
    observed = steep - residual * at.first * at.bend
    np.testing.assert_allclose(terms.observed, observed, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("name", BINOMIAL_LINKS)
def test_tails_stay_finite(name) -> None:
    eta, one = np.array([-35.0, 35.0]), np.ones(2)
    terms = binomial_link(name).terms(one, one, eta)
    for values in (terms.score, terms.weight, terms.observed, terms.slope):
        assert np.isfinite(values).all()
    assert (terms.weight >= 0).all()
    assert binomial_link(name).log_likelihood(one, one, eta)[0] < -30


def test_unknown_link() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'logit'"):
        binomial_link("logi")
