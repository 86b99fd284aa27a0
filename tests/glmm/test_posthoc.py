"""The paper's rank tests: hand values, scipy and a definition as references."""

from __future__ import annotations

import numpy as np
import pytest
import scikit_posthocs
from scipy import stats

from imi_bench.errors import NotEnoughDataError
from imi_bench.glmm.posthoc import bootstrap_mean, compare_groups, conover

GROUPS = {"b": [0.7, 0.75, 0.9, 0.8], "a": [0.5, 0.6, 0.4, 0.65], "c": [0.95, 0.85, 1.0, 0.99]}


def test_groups_are_sorted_by_their_mean_and_labelled() -> None:
    found = compare_groups(GROUPS, n_resamples=200)
    assert found.groups == ("a", "b", "c")
    assert [one.name for one in found.means] == ["a", "b", "c"]
    assert [one.mean for one in found.means] == pytest.approx([0.5375, 0.7875, 0.9475])


def test_kruskal_wallis_is_scipys() -> None:
    found = compare_groups(GROUPS, n_resamples=200)
    wanted = stats.kruskal(*GROUPS.values())
    assert (found.statistic, found.p) == pytest.approx((wanted.statistic, wanted.pvalue))


def test_conover_by_its_definition_with_holm() -> None:
    """Conover (1999), p. 290: t of rank means with the pooled variance, here without ties."""
    found = compare_groups(GROUPS, n_resamples=200)
    ordered = [np.array(GROUPS[name]) for name in found.groups]
    ranks = stats.rankdata(np.concatenate(ordered)).reshape(3, 4)
    n, s2 = 12, 12 * 13 / 12
    pooled = s2 * (n - 1 - found.statistic) / (n - 3)
    raw = {
        (a, b): 2
        * stats.t.sf(
            abs(ranks[a].mean() - ranks[b].mean()) / np.sqrt(pooled * (1 / 4 + 1 / 4)), n - 3
        )
        for a, b in ((0, 1), (0, 2), (1, 2))
    }
    holm, top = {}, 0.0
    for place, pair in enumerate(sorted(raw, key=lambda pair: raw[pair])):
        top = max(top, min(1.0, (3 - place) * raw[pair]))
        holm[pair] = top
    for (a, b), p in holm.items():
        assert found.pairs[a, b] == pytest.approx(p, rel=1e-6)
        assert found.pairs[b, a] == found.pairs[a, b]


@pytest.mark.parametrize("places", [1, 8])
def test_conover_is_scikit_posthocs_with_and_without_ties(places: int) -> None:
    rng = np.random.default_rng(places)
    groups = [rng.normal(0.1 * k, 1.0, 5 + 3 * k).round(places) for k in range(4)]
    wanted = scikit_posthocs.posthoc_conover(groups, p_adjust="holm").to_numpy()
    np.testing.assert_allclose(conover(groups), wanted, rtol=1e-10)


def test_units_that_are_alike_have_no_interval() -> None:
    one = bootstrap_mean(np.ones(5), name="a", rng=np.random.default_rng(0))
    assert one.mean == 1.0
    assert np.isnan(one.low)
    assert np.isnan(one.high)


@pytest.mark.parametrize(
    "groups", [{"a": [1.0, 2.0]}, {"a": [1.0, 1.0], "b": [1.0, 1.0]}, {"a": [1.0, 2.0], "b": [3.0]}]
)
def test_nothing_to_compare_is_refused(groups: dict[str, list[float]]) -> None:
    with pytest.raises(NotEnoughDataError, match="no groups"):
        compare_groups(groups)
