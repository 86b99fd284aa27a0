"""A learned measure as the observer of a machine interpretability score."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from imi_bench.mis.scores import image_order
from imi_bench.mis.similarity import Slope, comparison, score_by
from imi_bench.networks.tasks import find_pools
from imi_bench.observers.catalogue import load_observer
from imi_bench.observers.learned import LearnedObserver
from imi_bench.observers.protocol import fingerprint

PARTS = ("colour-histogram", "hog", "pixel-cosine")
SETTINGS = {"n_tasks": 30, "n_references": 3, "seed": 2, "slope": 1.0}


def measure(*names: str, linear: bool = True, weights=(0.4, 0.0, 1.3)) -> LearnedObserver:
    count = len(names)
    record = {
        "head": "observer",
        "name": "learned",
        "sha256": "0" * 64,
        "fitted_on": {"study": "", "units": ["net/layer/1"], "networks": ["net"]},
        "features": [],
        "features_from": None,
        "columns": [{"name": n, "fingerprint": fingerprint(load_observer(n))} for n in names],
        "final": {
            "linear": linear,
            "scales": [0.1, 0.2, 0.05][:count],
            "weights": list(weights)[:count],
            "gamma": [],
            "centres": [],
            "spreads": [],
            "lapse": 0.02,
        },
    }
    return LearnedObserver(record, load_observer)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (60, 4, 4, 3))
    return [np.kron(one, np.ones((4, 4, 1))).astype(np.uint8) for one in base]


@pytest.fixture(scope="module")
def pools():
    values = np.random.default_rng(1).standard_normal((60, 5))
    values[:, 3] = 1
    return find_pools(values, size=8, order=image_order(60))


def trial_by_trial(observer, codes, pools, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(LearnedObserver, "joined", lambda self, codes: None)
        return score_by(observer, codes, pools, units=[*"abcde"], **SETTINGS)


def test_a_weighted_sum_of_mean_cosines_is_one_embedding(images, pools, monkeypatch):
    observer = measure(*PARTS)
    codes = observer.encode(images)
    assert comparison(observer)["pooling"] == "learned"
    embedding, scale = observer.joined(codes)
    assert_allclose((embedding**2).sum(axis=1), scale, rtol=1e-12)
    fast = score_by(observer, codes, pools, units=[*"abcde"], **SETTINGS)
    slow = trial_by_trial(observer, codes, pools, monkeypatch)
    assert_allclose(fast.margin, slow.margin, atol=1e-12, rtol=1e-12)
    assert np.nanstd(fast.margin) > 0.01
    assert (fast.reason == slow.reason).all()


def test_other_measures_are_asked_trial_by_trial(images, pools):
    for other in (
        measure(*PARTS, linear=False),
        measure("colour-histogram?pooling=max"),
        measure("colour-histogram?pooling=t-discriminant"),
        measure("pixel-l2"),
        measure(*PARTS, weights=(0.0, 0.0, 0.0)),
    ):
        codes = other.encode(images)
        assert other.joined(codes) is None
    black = measure("pixel-cosine")
    assert black.joined(black.encode([*images, np.zeros((16, 16, 3), np.uint8)])) is None


def test_the_slope_of_a_logit_is_one():
    assert Slope.choose(None, observer="mine", learned=True).value == 1
    assert Slope.choose(None, observer="mine", learned=True).warning is None
    assert Slope.choose(0.3, observer="mine", learned=True) == Slope(0.3, "given")
