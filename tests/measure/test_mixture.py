"""Heads averaged: shares, their design effect, and the average as an observer."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from imi_bench.measure.head import HeadRows, Shrinkage, fit_head
from imi_bench.measure.mixture import Mixture, design_effect, joined, stacked_shares
from imi_bench.observers.learned import LearnedFit
from imi_bench.provenance import plain


def rows_of(p, *, answers=10, seed=0) -> HeadRows:
    rng, none = np.random.default_rng(seed), np.empty((len(p), 0))
    hits = rng.binomial(answers, p).astype(float)
    return HeadRows(none, none, none, hits, np.full(len(p), float(answers)))


def names(count: int, *, trials: int) -> np.ndarray:
    return np.repeat([f"u{n}" for n in range(count)], trials)


def test_shares_are_equal_without_a_difference_and_single_out_with_many() -> None:
    p = np.tile([0.6, 0.9], 100)
    same = stacked_shares(np.stack([p, p, p]), rows_of(p), names(20, trials=10))
    np.testing.assert_allclose(same, 1 / 3, atol=1e-6)
    told = np.stack([p, np.full(200, 0.75), 1 - p])
    few = stacked_shares(told[:, :20], rows_of(p[:20]), names(2, trials=10))
    many = stacked_shares(told, rows_of(p, answers=1000), names(200, trials=1))
    assert few.sum() == pytest.approx(1)
    assert (few > 0).all()
    assert many[0] > 0.85
    assert many[0] > few[0] > few[2]


def test_answers_of_one_kind_in_a_unit_count_as_one() -> None:
    """Hand-derived: m answers that are all alike have the design effect m."""
    hits = np.array([6.0, 0.0, 6.0, 0.0])
    none = np.empty((4, 0))
    rows = HeadRows(none, none, none, hits, np.full(4, 6.0))
    told = np.stack([np.full(4, 0.8), np.full(4, 0.5)])
    units = np.array([*"abcd"])
    assert design_effect(told, rows, units) == pytest.approx(6)
    independent = rows_of(np.full(4000, 0.7), answers=1)
    told = np.stack([np.full(4000, 0.8), np.full(4000, 0.5)])
    found = design_effect(told, independent, names(400, trials=10))
    assert found == pytest.approx(1, abs=0.2)


@pytest.fixture(scope="module")
def fitted() -> tuple[HeadRows, list]:
    rng = np.random.default_rng(0)
    z, s = rng.normal(0.5, 1, (300, 3)), rng.normal(size=(300, 2))
    p = expit(np.exp(0.3 * s[:, 0]) * (z @ [1.0, 0.4, 0.0]))
    rows = HeadRows(z, s, np.empty((300, 0)), rng.binomial(9, p) * 1.0, np.full(300, 9.0))
    grid = (Shrinkage(0.0), Shrinkage(0.3, 0.1), Shrinkage(1.0, 0.3))
    return rows, [fit_head(rows, shrinkage=one) for one in grid]


def test_the_observer_says_the_logit_of_the_average(fitted) -> None:
    rows, heads = fitted
    mixture = joined(heads, np.array([0.2, 0.5, 0.3]))
    record = plain(mixture.to_json())
    again = Mixture.from_json(record)
    p = again.probability(rows)
    np.testing.assert_allclose(p, mixture.probability(rows), rtol=1e-12)
    np.testing.assert_allclose(
        p, np.average([h.probability(rows) for h in heads], axis=0, weights=[0.2, 0.5, 0.3])
    )
    fit = LearnedFit.read(record, observers=3, features=2)
    z = fit.standardised(rows.evidence)
    np.testing.assert_allclose(fit.logit(z, rows.features), logit(p), rtol=1e-9)
    np.testing.assert_array_equal(fit.logit(-z, rows.features), -fit.logit(z, rows.features))


def test_weighted_sums_stay_one(fitted) -> None:
    rows, _ = fitted
    bare = rows.columns([0, 1, 2])
    grid = (Shrinkage(0.0), Shrinkage(0.3), Shrinkage(1.0))
    heads = [fit_head(bare, shrinkage=one, linear=True) for one in grid]
    shares = np.array([0.2, 0.5, 0.3])
    (one,) = joined(heads, shares).heads
    np.testing.assert_allclose(one.weights, shares @ [h.weights for h in heads])
    eta = [h.eta(bare.evidence, bare.features) for h in heads]
    np.testing.assert_allclose(one.eta(bare.evidence, bare.features), shares @ eta)
