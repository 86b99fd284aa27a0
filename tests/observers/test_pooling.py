"""Pooling: values by hand, symmetries, and scikit-learn's cosine as reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity, euclidean_distances
from support.made_trials import nameless_images, random_blind_trials

from imi_bench.errors import InputError, UnknownNameError
from imi_bench.observers import pooling
from imi_bench.observers.pooling import POOLINGS, SIMILARITIES, decide, pool
from imi_bench.tables import BlindTrials

# Rows 0 and 1 are the queries, 2 and 3 the positive references, 4 and 5 the negative ones.
HAND = np.array([[1, 0], [0, 1], [3, 0], [0, 2], [0, 5], [-1, 0]], dtype=float)
HAND_TRIAL = BlindTrials(
    nameless_images(6), np.array([[2, 3]]), np.array([[4, 5]]), np.array([[0, 1]])
)


@pytest.mark.parametrize(
    ("chosen", "similarity", "expected"),
    [
        # s(q0, .) = 1, 0 | 0, -1 and s(q1, .) = 0, 1 | 1, 0
        ("mean", "cosine", (0.5 - -0.5) - (0.5 - 0.5)),
        ("max", "cosine", (1 - 0) - (1 - 1)),
        # prototypes (1, 1)/2 and (-1, 1)/2 of unit vectors; cosines with the axes 1/sqrt(2)
        ("prototype", "cosine", (2 / np.sqrt(2)) - 0),
        # dot products 3, 0 | 0, -1 and 0, 2 | 5, 0
        ("mean", "dot", (1.5 - -0.5) - (1 - 2.5)),
        ("max", "dot", (3 - 0) - (2 - 5)),
        ("prototype", "dot", (1.5 - -0.5) - (1 - 2.5)),
        # distances 2, sqrt 5 | sqrt 26, 2 and sqrt 10, 1 | 4, sqrt 2
        (
            "mean",
            "l2",
            (-(2 + np.sqrt(5)) + (np.sqrt(26) + 2)) / 2
            - (-(np.sqrt(10) + 1) + (4 + np.sqrt(2))) / 2,
        ),
        ("max", "squared-l2", (-4 - -4) - (-1 - -2)),
    ],
)
def test_values_by_hand(chosen: str, similarity: str, expected: float) -> None:
    value = decide(HAND, HAND_TRIAL, pooling=chosen, similarity=similarity)
    np.testing.assert_allclose(value, [expected], rtol=1e-12, atol=1e-12)


def test_softmax_by_hand() -> None:
    temperature = 0.5
    weight = np.exp(1 / temperature) / (1 + np.exp(1 / temperature))  # of the larger by one
    first = (weight * 1) - ((1 - weight) * -1)
    second = weight - weight
    value = decide(HAND, HAND_TRIAL, pooling="softmax", temperature=temperature)
    np.testing.assert_allclose(value, [first - second], rtol=1e-12)


@pytest.mark.parametrize(("images", "by"), [(12, "_by_matrix"), (4000, "_by_rows")])
@pytest.mark.parametrize(
    ("similarity", "reference"),
    [("cosine", cosine_similarity), ("l2", lambda x: -euclidean_distances(x))],
)
def test_agrees_with_scikit_learn(images, by, similarity, reference, monkeypatch) -> None:
    rng = np.random.default_rng(1)
    trials = random_blind_trials(rng, images=images, count=60, k=9)
    codes = rng.normal(size=(images, 3, 5))
    used = []
    inner = getattr(pooling, by)
    monkeypatch.setattr(pooling, by, lambda *a, **k: used.append(by) or inner(*a, **k))
    between = reference(codes.reshape(images, -1))
    evidence = [
        between[trials.queries[:, [side]], trials.positive].mean(axis=1)
        - between[trials.queries[:, [side]], trials.negative].mean(axis=1)
        for side in (0, 1)
    ]
    found = decide(codes, trials, similarity=similarity)
    # the distance of an image to itself is the root of a rounding error
    np.testing.assert_allclose(found, evidence[0] - evidence[1], rtol=0, atol=1e-7)
    assert used == [by]


@given(
    seed=st.integers(0, 10_000),
    images=st.integers(3, 60),
    count=st.integers(1, 12),
    k=st.integers(1, 9),
    chosen=st.sampled_from(POOLINGS),
    similarity=st.sampled_from(sorted(SIMILARITIES)),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
)
def test_symmetries_hold_to_the_last_bit(seed, images, count, k, chosen, similarity, dtype) -> None:
    rng = np.random.default_rng(seed)
    trials = random_blind_trials(rng, images=images, count=count, k=k)
    codes = rng.normal(size=(images, 7)).astype(dtype)

    def answers(positive, negative, queries):
        shown = BlindTrials(trials.images, positive, negative, queries)
        return decide(codes, shown, pooling=chosen, similarity=similarity)

    first = answers(trials.positive, trials.negative, trials.queries)
    assert np.isfinite(first).all()
    flipped = answers(trials.positive, trials.negative, trials.queries[:, ::-1])
    np.testing.assert_array_equal(first, -flipped)
    mirrored = answers(trials.negative, trials.positive, trials.queries)
    np.testing.assert_array_equal(first, -mirrored)
    shuffled = answers(
        rng.permuted(trials.positive, axis=1), rng.permuted(trials.negative, axis=1), trials.queries
    )
    np.testing.assert_array_equal(first, shuffled)


@pytest.mark.parametrize("chosen", POOLINGS)
def test_chunks_change_nothing_but_rounding(chosen, monkeypatch) -> None:
    rng = np.random.default_rng(3)
    trials = random_blind_trials(rng, images=300, count=40, k=4)
    codes = rng.normal(size=(300, 16)).astype(np.float32)
    whole = decide(codes, trials, pooling=chosen)
    monkeypatch.setattr(pooling, "_BYTES_AT_ONCE", 3000)
    singly = [
        decide(codes, trials.without_key(np.array([row])), pooling=chosen) for row in range(40)
    ]
    np.testing.assert_allclose(np.concatenate(singly), whole, rtol=0, atol=1e-13)


def test_softmax_lies_between_mean_and_max() -> None:
    values = np.random.default_rng(0).normal(size=(50, 9))
    warm, cold = (pool(values, pooling="softmax", temperature=t) for t in (1e6, 1e-4))
    np.testing.assert_allclose(warm, pool(values, pooling="mean"), atol=1e-5)
    np.testing.assert_allclose(cold, pool(values, pooling="max"), atol=1e-12)


@pytest.mark.parametrize("chosen", ["mean", "prototype"])
def test_the_cosine_with_nothing_is_undefined(chosen) -> None:
    codes = HAND.copy()
    codes[3] = 0
    assert np.isnan(decide(codes, HAND_TRIAL, pooling=chosen)).all()


def test_same_sets_on_both_sides_are_a_tie() -> None:
    trials = BlindTrials(
        nameless_images(6), np.array([[2, 3, 4]]), np.array([[4, 2, 3]]), np.array([[0, 1]])
    )
    assert decide(HAND, trials).tolist() == [0.0]


def test_no_trials_no_answers() -> None:
    none = HAND_TRIAL.without_key(slice(0, 0))
    assert decide(HAND, none).shape == (0,)


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        (UnknownNameError, "did you mean 'max'", {"pooling": "mex"}),
        (UnknownNameError, "did you mean 'cosine'", {"similarity": "cosin"}),
        (InputError, "bad temperature", {"temperature": 0.0}),
        (InputError, "a finite number", {"temperature": float("nan")}),
    ],
)
def test_refuses_bad_options(error, message, options) -> None:
    with pytest.raises(error, match=message):
        decide(HAND, HAND_TRIAL, **options)


@pytest.mark.parametrize("codes", [HAND[:5], HAND[:, 0]])
def test_refuses_codes_that_do_not_fit(codes) -> None:
    with pytest.raises(InputError, match="codes do not fit"):
        decide(codes, HAND_TRIAL)
