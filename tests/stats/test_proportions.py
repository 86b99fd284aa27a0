"""Wilson's interval: its equation, published values, and what the ends may not do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm
from statsmodels.stats.proportion import proportion_confint

from imi_bench.stats.proportions import proportion, wilson


@given(st.integers(1, 500), st.data(), st.floats(0.5, 0.999))
def test_ends_solve_the_score_equation(n: int, data: st.DataObject, level: float) -> None:
    # (p - hits/n)^2 = z^2 p (1 - p) / n at both ends
    hits = data.draw(st.integers(0, n))
    z2 = norm.ppf((1 + level) / 2) ** 2
    for end in wilson(hits, n, level=level):
        assert (end - hits / n) ** 2 == pytest.approx(z2 * end * (1 - end) / n, abs=1e-9)


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (3, 7), (50, 50), (499, 1000)])
def test_as_scipy(hits: int, n: int) -> None:
    expected = binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_as_statsmodels_with_halves() -> None:
    hits, n = np.arange(0, 20.5, 0.5), 20
    expected = proportion_confint(hits, n, 0.1, method="wilson")
    np.testing.assert_allclose(wilson(hits, n, level=0.9), expected, atol=1e-15)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=9))
def test_none_without_answers(pairs: list[tuple[int, int]]) -> None:
    hits, count = np.array([(min(pair), max(pair)) for pair in pairs]).T
    low, high = wilson(hits, count)
    np.testing.assert_array_equal(np.isnan(low), count == 0)
    some = count > 0
    assert (low[some] <= hits[some] / count[some] + 1e-12).all()
    assert (high[some] >= hits[some] / count[some] - 1e-12).all()
    assert ((low[some] >= 0) & (high[some] <= 1)).all()


def test_an_estimate() -> None:
    found = proportion(3, 4)
    assert (found.value, found.n, found.method) == (0.75, 4, "Wilson")
    assert found.low == pytest.approx(wilson(3, 4)[0])
    assert proportion(0, 0).reason == "no answers"
    assert proportion(4, 4).high == 1
