"""Worlds of version 2: what can be learnt of people, and the best score there is."""

from __future__ import annotations

import numpy as np
import pytest

from imi_bench.errors import InputError, UnknownNameError
from imi_bench.provenance import generator
from imi_bench.simulation.panel import answer
from imi_bench.simulation.scenes import ATTRIBUTES
from imi_bench.simulation.world import World, build

SMALL = {"version": 2, "n_batches": 1, "n_scenes": 200, "size": 8}


@pytest.fixture(scope="module")
def world() -> World:
    return build(seed=0, n_single=3, n_mixed=1, n_noise=1, **SMALL)


def test_eight_networks_with_parameters_of_their_own(world: World) -> None:
    panel = world.truth.panel
    assert len(set(world.trials.index.network)) == len(set(panel.network.values())) == 8
    assert set(world.trials.index.mode) == {"natural", "synthetic"}
    assert world.version == 2


def test_no_picture_is_shown_for_two_networks(world: World) -> None:
    trials = world.trials
    shown = np.concatenate([trials.positive, trials.negative, trials.queries], axis=1)
    networks: dict[str, set[str]] = {}
    for row, network in zip(shown, trials.index.network, strict=True):
        networks.setdefault(network, set()).update(trials.images.hashes[row].tolist())
    assert sum(map(len, networks.values())) == len(set().union(*networks.values()))


def test_attributes_count_differently_in_every_world(world: World) -> None:
    other = build(seed=1, n_networks=1, **SMALL)
    assert list(world.truth.salience) == list(ATTRIBUTES)
    assert world.truth.salience != other.truth.salience
    assert np.mean(list(world.truth.salience.values())) == pytest.approx(1)
    np.testing.assert_allclose(
        world.truth.by_attribute @ np.array(list(world.truth.salience.values())),
        world.truth.evidence,
        atol=1e-12,
    )


@pytest.mark.whole
def test_any_number_of_units_and_networks() -> None:
    many = build(n_networks=1, n_single=90, n_mixed=0, n_noise=0, **SMALL)
    assert len(set(many.trials.index.unit_id)) == 90
    wide = build(n_networks=14, n_single=1, n_mixed=0, n_noise=0, **SMALL)
    assert len(set(wide.trials.index.network)) == 14


def test_version_one_is_what_it_was() -> None:
    first = build(n_networks=2, n_batches=1, n_scenes=200, size=8)
    assert first.version == 1
    assert set(first.truth.salience.values()) == {1.0}
    assert not first.truth.panel.visible
    with pytest.raises(InputError, match="version=2"):
        build(n_networks=5)
    with pytest.raises(InputError, match="no such version"):
        build(version=3)


@pytest.mark.whole
@pytest.mark.parametrize("known", ["condition", "covariates", "trial"])
def test_the_best_score_is_what_the_best_prediction_earns_of_fresh_answers(
    world: World, known
) -> None:
    """40 draws of 50 fresh answers a trial; tolerance four standard errors."""
    truth, best = world.truth, world.truth.predicted(known=known)
    scores = []
    for draw in range(40):
        fresh = answer(
            truth.index,
            truth.panel,
            evidence=truth.evidence,
            each=50,
            rng=generator(draw, "test", "fresh"),
            visible=truth.visible,
        )
        row = np.repeat(np.arange(len(truth.index)), 50)
        scores.append(1 + np.log2(np.where(fresh.correct, best[row], 1 - best[row])).mean())
    error = np.std(scores, ddof=1) / np.sqrt(len(scores))
    assert abs(np.mean(scores) - truth.bayes(known=known)) < 4 * error


def test_who_knows_more_scores_higher_and_nobody_beats_the_best(world: World) -> None:
    truth = world.truth
    levels = [truth.bayes(known=k) for k in ("condition", "covariates", "trial", "participant")]
    assert levels == sorted(levels)
    exact = truth.predicted(known="trial")
    for shift in (-0.05, 0.05):
        other = np.clip(exact + shift, 0.01, 0.99)
        score = 1 + (exact * np.log2(other) + (1 - exact) * np.log2(1 - other)).mean()
        assert score < truth.bayes(known="trial")
    with pytest.raises(UnknownNameError, match="known"):
        truth.predicted(known="everything")
