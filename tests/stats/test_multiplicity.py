"""Holm's adjustment against statsmodels."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from imi_bench.stats.multiplicity import holm, holm_shared


@pytest.fixture(autouse=True, scope="module")
def no_collection() -> Iterator[None]:
    """statsmodels collects garbage at every call: minutes, where much is loaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "collect", lambda *_: 0)
        yield


P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@given(P_VALUES)
def test_as_statsmodels(p: list[float]) -> None:
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], rtol=1e-14)


@given(P_VALUES, st.data())
def test_families_and_unknown_values_do_not_count(p: list[float], data: st.DataObject) -> None:
    families = data.draw(st.lists(st.sampled_from("abc"), min_size=len(p), max_size=len(p)))
    unknown = data.draw(st.lists(st.booleans(), min_size=len(p), max_size=len(p)))
    values = np.where(unknown, np.nan, p)
    found = holm(values, families)
    for family in "abc":
        rows = (np.array(families) == family) & ~np.array(unknown)
        if rows.any():
            expected = multipletests(values[rows], method="holm")[1]
            np.testing.assert_allclose(found[rows], expected, rtol=1e-14)
    assert np.isnan(found[unknown]).all()


def test_by_hand() -> None:
    # 0.01 * 3, then max(that, 0.02 * 2), then max(that, 0.9 * 1)
    assert holm([0.9, 0.01, 0.02]) == pytest.approx([0.9, 0.03, 0.04])
    assert holm([]).shape == (0,)


def test_holm_is_that_of_r() -> None:
    """p.adjust(c(0.01, 0.04, 0.03, 0.005, 0.9), "holm") in R."""
    found = holm([0.01, 0.04, math.nan, 0.03, 0.005, 0.9])
    np.testing.assert_allclose(found, [0.04, 0.09, math.nan, 0.09, 0.025, 0.9])
    assert np.isnan(holm([math.nan])).all()
    apart = holm([0.01, 0.04, 0.03, 0.005], ["a", "a", "b", "b"])
    np.testing.assert_allclose(apart, [0.02, 0.04, 0.03, 0.01])


@given(P_VALUES)
def test_one_family_that_shares_with_none_is_holm(p: list[float]) -> None:
    np.testing.assert_allclose(holm_shared(p, ["a"] * len(p)), holm(p), rtol=1e-12)


def test_families_share_the_level_by_hand() -> None:
    """Weights 1/2, 1/4, 1/4: 0.012 / 0.25 = 0.048 comes first, then 0.04 / 0.5 x 0.75, then 0.5."""
    found = holm_shared([0.04, 0.012, 0.5, math.nan], ["a", "b", "b", "c"])
    np.testing.assert_allclose(found, [0.06, 0.048, 0.5, math.nan])
    assert holm_shared([], []).shape == (0,)
    assert np.isnan(holm_shared([math.nan], ["a"])).all()


@pytest.mark.parametrize("true", [(), (0,), (1, 2)])
def test_any_false_rejection_in_any_family_is_at_most_the_level(true: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    families = ["a"] * 2 + ["b"] * 9
    false = 0
    for _ in range(4000):
        p = rng.random(11)
        p[list(true)] = 1e-9
        shown = holm_shared(p, families) <= 0.05
        shown[list(true)] = False
        false += bool(shown.any())
    assert false / 4000 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000)
