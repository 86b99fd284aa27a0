"""Poolings that fit a discriminant to the references: scikit-learn and loops as references."""

from __future__ import annotations

import numpy as np
import pytest
from support.made_trials import random_blind_trials

from imi_bench.errors import UnknownNameError
from imi_bench.observers import pooling
from imi_bench.observers.catalogue import load_observer
from imi_bench.observers.contract import check, sample_trials
from imi_bench.observers.pooling import decide
from imi_bench.observers.structure import Ssim
from imi_bench.tables import BlindTrials


def _case(*, count=12, images=40, k=5, dims=6, seed=0):
    rng = np.random.default_rng(seed)
    trials = random_blind_trials(rng, images=images, count=count, k=k)
    return trials, rng.normal(size=(images, dims)) + 0.5


def _directions(codes):
    return codes / np.linalg.norm(codes, axis=1, keepdims=True)


@pytest.mark.parametrize("similarity", ["cosine", "dot", "squared-l2"])
def test_ridge_is_ridge_regression_of_the_labels(similarity) -> None:
    from sklearn.linear_model import Ridge

    trials, codes = _case()
    seen = _directions(codes) if similarity == "cosine" else codes
    found = decide(codes, trials, pooling="ridge", similarity=similarity)
    for row in range(len(trials)):
        shown = seen[np.concatenate([trials.positive[row], trials.negative[row]])]
        spread = ((shown - shown.mean(axis=0)) ** 2).sum() / (len(shown) - 1)
        fitted = Ridge(alpha=spread).fit(shown, np.repeat([1.0, -1.0], len(shown) // 2))
        first, second = fitted.predict(seen[trials.queries[row]])
        # minus a squared distance is twice the dot product, up to constants
        np.testing.assert_allclose(found[row], first - second, rtol=1e-9)


def test_a_heavy_penalty_is_pooling_by_the_mean() -> None:
    from imi_bench.observers.discriminants import ridge_contrast

    trials, codes = _case()
    seen = _directions(codes)
    shown = seen[np.concatenate([trials.positive, trials.negative], axis=1)]
    asked = seen[trials.queries]
    other = shown.transpose(0, 2, 1)
    heavy = ridge_contrast(shown @ other, asked @ other, penalty=1e9)
    ratio = heavy / decide(codes, trials, pooling="mean")
    spread = np.array([np.var(one, axis=0, ddof=1).sum() for one in shown])
    np.testing.assert_allclose(ratio * spread * 1e9, 5.0, rtol=1e-6)  # K references a side


def test_t_discriminant_feature_by_feature() -> None:
    trials, codes = _case(seed=1)
    found = decide(codes, trials, pooling="t-discriminant", similarity="dot")
    for row in range(len(trials)):
        positive, negative = codes[trials.positive[row]], codes[trials.negative[row]]
        first, second = codes[trials.queries[row]]
        within = [
            (np.var(a, ddof=1) + np.var(b, ddof=1)) / 2
            for a, b in zip(positive.T, negative.T, strict=True)
        ]
        total = 0.0
        for d, own in enumerate(within):
            gap = positive[:, d].mean() - negative[:, d].mean()
            variance = own + np.mean(within)
            t = gap / np.sqrt(variance * 2 / 5)
            total += abs(t) * gap / variance * (first[d] - second[d])
        np.testing.assert_allclose(found[row], total, rtol=1e-9)


@pytest.mark.parametrize("chosen", ["ridge", "t-discriminant"])
def test_same_sets_on_both_sides_are_a_tie(chosen) -> None:
    trials, codes = _case(count=1, k=3)
    same = BlindTrials(trials.images, trials.positive, trials.positive[:, ::-1], trials.queries)
    assert decide(codes, same, pooling=chosen).tolist() == [0.0]
    assert decide(np.ones_like(codes), trials, pooling=chosen).tolist() == [0.0]


@pytest.mark.parametrize("chosen", ["ridge", "t-discriminant"])
def test_the_cosine_with_nothing_is_undefined_and_harms_no_other_trial(chosen) -> None:
    trials, codes = _case(images=400, count=6)
    codes[trials.positive[2, 0]] = 0
    found = decide(codes, trials, pooling=chosen)
    assert np.isnan(found).tolist() == [
        bool(
            (
                np.concatenate([trials.positive[r], trials.negative[r], trials.queries[r]])
                == trials.positive[2, 0]
            ).any()
        )
        for r in range(6)
    ]


def test_gathered_rows_and_one_matrix_agree(monkeypatch) -> None:
    trials, codes = _case(count=60, images=30)
    whole = decide(codes, trials, pooling="ridge")
    monkeypatch.setattr(pooling, "_MATRIX_ADVANTAGE", 0)
    np.testing.assert_allclose(decide(codes, trials, pooling="ridge"), whole, atol=1e-12)


@pytest.mark.parametrize("chosen", ["ridge", "t-discriminant"])
def test_an_observer_with_it_keeps_the_contract(chosen) -> None:
    report = check(load_observer(f"colour-histogram?pooling={chosen}"), sample_trials(count=4))
    assert report.passed, report.properties


def test_ssim_has_no_vectors_to_fit_one_to() -> None:
    with pytest.raises(UnknownNameError, match="pooling of SSIM"):
        Ssim(pooling="ridge")
