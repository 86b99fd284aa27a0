"""Links against hand-derived values, finite differences and scipy.stats."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from imi_bench.errors import UnknownNameError
from imi_bench.stats.links import LINKS, LOGIT, PROBIT, Link, link_named

EVERY = pytest.mark.parametrize("link", LINKS.values(), ids=repr)
REFERENCE = {"logit": stats.logistic, "probit": stats.norm}


def test_hand_derived_values():
    assert LOGIT.value(math.log(3)) == pytest.approx(0.75, rel=1e-15)
    assert LOGIT.first(math.log(3)) == pytest.approx(3 / 16, rel=1e-15)
    assert LOGIT.second(math.log(3)) == pytest.approx(-3 / 32, rel=1e-14)
    assert LOGIT.first_peak == 0.25
    assert PROBIT.value(1.959963984540054) == pytest.approx(0.975, rel=1e-14)
    assert PROBIT.first_peak == pytest.approx(1 / math.sqrt(2 * math.pi), rel=1e-15)
    assert PROBIT.second(1.0) == pytest.approx(-0.24197072451914337, rel=1e-14)


@EVERY
@given(x=st.floats(-30, 30))
def test_matches_scipy_distributions(link: Link, x: float):
    reference = REFERENCE[link.name]
    assert link.value(x) == pytest.approx(reference.cdf(x), rel=1e-12)
    assert link.log_value(x) == pytest.approx(reference.logcdf(x), rel=1e-12, abs=1e-300)
    assert link.first(x) == pytest.approx(reference.pdf(x), rel=1e-12)


@EVERY
@given(x=st.floats(-6, 6))
def test_derivatives_match_finite_differences(link: Link, x: float):
    step = 1e-5
    slope = (link.value(x + step) - link.value(x - step)) / (2 * step)
    curve = (link.first(x + step) - link.first(x - step)) / (2 * step)
    assert link.first(x) == pytest.approx(slope, rel=1e-6, abs=1e-10)
    assert link.second(x) == pytest.approx(curve, rel=1e-6, abs=1e-10)


@EVERY
@given(x=st.floats(-700, 700))
def test_symmetric_increasing_and_finite_in_the_tails(link: Link, x: float):
    assert link.value(x) + link.value(-x) == pytest.approx(1.0, abs=1e-15)
    assert math.isfinite(link.log_value(x))
    assert link.log_value(x) <= 0
    assert link.first(x) >= 0
    assert link.first(x) == link.first(-x)
    assert link.second(x) == -link.second(-x)


@EVERY
@given(x=st.floats(-30, 30))
def test_all_derivatives_at_once_are_those_one_by_one(link: Link, x: float):
    at = link.derivatives(np.array([x]))
    assert at.value[0] == pytest.approx(link.value(x), rel=1e-14)
    assert at.first[0] == pytest.approx(link.first(x), rel=1e-13)
    assert (at.first * at.bend)[0] == pytest.approx(link.second(x), rel=1e-12, abs=1e-16)
    assert link.mills(x) * link.value(x) == pytest.approx(link.first(x), rel=1e-11)


@EVERY
@given(x=st.floats(-6, 6))
def test_bend_turns_as_it_says(link: Link, x: float):
    step = 1e-5
    above, below = (link.derivatives(np.array([x + way])) for way in (step, -step))
    turn = (above.bend - below.bend) / (2 * step)
    assert link.derivatives(np.array([x])).turn == pytest.approx(turn, rel=1e-6, abs=1e-9)


@EVERY
@given(p=st.floats(1e-12, 1 - 1e-6))
def test_inverse_undoes_value(link: Link, p: float):
    assert link.value(link.inverse(p)) == pytest.approx(p, rel=1e-9)


@EVERY
def test_inverse_at_and_beyond_the_ends(link: Link):
    assert np.array_equal(link.inverse(np.array([0.0, 1.0])), [-np.inf, np.inf])
    assert np.isnan(link.inverse(1.1))


@EVERY
def test_lower_tail_keeps_its_digits(link: Link):
    assert link.value(-35.0) == pytest.approx(REFERENCE[link.name].cdf(-35.0), rel=1e-10)
    assert link.value(-35.0) > 0


@EVERY
def test_shapes_carry_through(link: Link):
    x = np.zeros((2, 3))
    for function in (link.value, link.log_value, link.inverse, link.first, link.second):
        assert function(x + 0.5).shape == (2, 3)
    assert all(part.shape == (2, 3) for part in (link.mills(x), *link.derivatives(x)))


def test_names():
    assert link_named("logit") is LOGIT
    with pytest.raises(UnknownNameError, match="did you mean 'probit'"):
        link_named("probitt")
