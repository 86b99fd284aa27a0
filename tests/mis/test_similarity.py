"""The observer's own comparison behind a machine interpretability score, and its slope."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from imi_bench.errors import InputError
from imi_bench.mis.scores import image_order, score_pools
from imi_bench.mis.similarity import Slope, comparison, score_by
from imi_bench.networks.tasks import draw_tasks, find_pools
from imi_bench.observers.catalogue import load_observer
from imi_bench.observers.embedding import Embedding

SETTINGS = {"n_tasks": 4, "n_references": 3, "seed": 2}
SIMILARITY = {
    "l2": lambda a, b: -np.linalg.norm(a - b),
    "squared-l2": lambda a, b: -((a - b) ** 2).sum(),
    "dot": np.dot,
    "cosine": lambda a, b: np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b),
}


@pytest.fixture
def codes():
    return np.random.default_rng(0).standard_normal((80, 2, 3)).astype(np.float32)


@pytest.fixture
def pools():
    values = np.random.default_rng(1).standard_normal((80, 5))
    values[:, 3] = 1
    return find_pools(values, size=8, order=image_order(80))


def observer(**options):
    return Embedding(np.asarray, name="any", description={"version": 1}, **options)


@pytest.mark.vision
@pytest.mark.parametrize("similarity", SIMILARITY)
def test_margins_follow_the_similarity_of_the_card(codes, pools, similarity):
    units = [str(number) for number in range(5)]
    result = score_by(
        observer(similarity=similarity), codes, pools, units=units, slope=1.0, **SETTINGS
    )
    tasks = draw_tasks(pools, units=units, **SETTINGS)
    flat, alike = codes.reshape(80, -1).astype(float), SIMILARITY[similarity]

    def evidence(query, positive, negative):
        toward = np.mean([alike(flat[query], flat[e]) for e in positive[:-1]])
        return toward - np.mean([alike(flat[query], flat[e]) for e in negative[:-1]])

    expected = [
        [evidence(p[-1], p, n) - evidence(n[-1], p, n) for p, n in zip(*unit, strict=True)]
        for unit in zip(tasks.positive, tasks.negative, strict=True)
    ]
    scored = pools.reason == ""
    assert_allclose(result.margin[scored], np.array(expected)[scored], atol=1e-5)
    assert np.isnan(result.margin[3]).all()
    assert result.reason[3].startswith("constant")


@pytest.mark.vision
def test_cosine_is_the_fast_way(codes, pools):
    units = [str(number) for number in range(5)]
    fast = score_pools(codes.reshape(80, -1), pools, units=units, slope=1.0, **SETTINGS)
    mine = score_by(observer(), codes, pools, units=units, slope=1.0, **SETTINGS)
    assert_array_equal(mine.margin, fast.margin)


def test_an_undefined_similarity_is_a_reason(codes, pools):
    codes[:] = np.nan
    units = [str(number) for number in range(5)]
    result = score_by(observer(similarity="l2"), codes, pools, units=units, slope=1.0, **SETTINGS)
    assert set(result.reason) - {pools.reason[3]} == {"observer gives no answer to a task"}


def test_only_pooling_by_the_mean_is_the_score():
    assert comparison(load_observer("pixel-l2")) == {"pooling": "mean", "similarity": "l2"}
    assert comparison(load_observer("ssim"))["pooling"] == "mean"
    with pytest.raises(InputError, match=r"not that of the MIS: any: found max, wanted mean"):
        comparison(observer(pooling="max"))


def test_the_published_slope_is_only_dreamsims():
    assert Slope.choose(3.0, observer="ssim") == Slope(3.0, "given")
    assert Slope.choose(None, observer="dreamsim").warning is None
    for given in (None, 0.16):
        chosen = Slope.choose(given, observer="ssim")
        assert chosen.value == 0.16
        assert "not calibrated for 'ssim'" in chosen.warning
    assert "published with DreamSim" in Slope.choose(None, observer="ssim").source
