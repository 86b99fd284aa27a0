"""Chance is chance, one side is one side, the ideal observer reads activations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from support.made_trials import make_trials

from imi_bench.errors import InputError, TrialError
from imi_bench.observers.reference import Chance, OneSide, ideal
from imi_bench.tables import BlindTrials


def test_chance_is_standard_normal_and_knows_nothing() -> None:
    trials = make_trials(4000)
    blind = trials.blind(seed=0)
    values = Chance().decide(blind.without_key())
    assert stats.kstest(values, "norm").pvalue > 0.001
    right = (values > 0) == blind.key.first_is_positive
    assert stats.binomtest(int(right.sum()), len(right)).pvalue > 0.001


def test_chance_depends_on_its_seed_alone() -> None:
    blind = make_trials(50).blind(seed=0).without_key()
    again, other = Chance(seed=0).decide(blind), Chance(seed=1).decide(blind)
    np.testing.assert_array_equal(Chance(seed=0).decide(blind), again)
    assert abs(np.corrcoef(again, other)[0, 1]) < 0.5
    assert Chance(seed=0).describe() != Chance(seed=1).describe()


def test_chance_calls_a_trial_without_contrast_a_tie() -> None:
    blind = make_trials(3).blind(seed=0)
    same = BlindTrials(blind.images, blind.positive, blind.positive[:, ::-1], blind.queries)
    assert Chance().decide(same).tolist() == [0, 0, 0]


@pytest.mark.parametrize(("side", "value"), [("first", 1.0), ("second", -1.0)])
def test_one_side(side, value) -> None:
    blind = make_trials(5).blind(seed=0).without_key()
    assert OneSide(side=side).decide(blind).tolist() == [value] * 5


def test_one_side_has_two_sides() -> None:
    with pytest.raises(InputError, match="unknown side"):
        OneSide(side="left")  # type: ignore[arg-type]


def test_ideal_reads_the_difference_of_activations() -> None:
    trials = make_trials(20)
    key = trials.blind(seed=5).key
    decisions = ideal(trials, key)
    activations = trials.query_activations
    np.testing.assert_array_equal(decisions.toward_correct, activations[:, 0] - activations[:, 1])
    shown_first = np.where(key.first_is_positive, activations[:, 0], activations[:, 1])
    shown_second = activations.sum(axis=1) - shown_first
    np.testing.assert_allclose(decisions.decision_variable, shown_first - shown_second)


def test_ideal_needs_activations_and_the_right_key() -> None:
    trials = make_trials(6)
    unknown = make_trials(6)
    unknown.query_activations.setflags(write=True)
    unknown.query_activations[:] = np.nan
    with pytest.raises(TrialError, match="no query activations"):
        ideal(unknown, unknown.blind(seed=0).key)
    with pytest.raises(TrialError, match="other trials"):
        ideal(trials, trials.take(np.arange(5)).blind(seed=0).key)


def test_ideal_says_where_an_activation_is_missing() -> None:
    trials = make_trials(4)
    trials.query_activations.setflags(write=True)
    trials.query_activations[2, 0] = np.nan
    statuses = ideal(trials, trials.blind(seed=0).key).status.tolist()
    assert statuses == ["ok", "ok", "error", "ok"]
