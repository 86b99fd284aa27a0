"""Trials from real networks and images: what must hold, and what was seen in a rough trial."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support import real_networks

from imi_bench.networks.activations import collect_activations
from imi_bench.networks.exemplars import Design
from imi_bench.networks.trial_folder import assemble_trials
from imi_bench.networks.units import sample_units
from imi_bench.observers.catalogue import load_observer
from imi_bench.observers.reference import ideal
from imi_bench.replay.runner import replay
from imi_bench.tables import DecisionVariables, Trials

pytest.importorskip("torch")
pytestmark = pytest.mark.vision

DIFFICULTIES = ("easy", "hard85")
N_IMAGES, N_UNITS = 1000, 20


def trials_of(shared: Path, name: str) -> Trials:
    network = real_networks.trained(shared, name)
    images = real_networks.cifar(shared)[:N_IMAGES]
    units = sample_units(network.layers, N_UNITS, seed=0)
    found = collect_activations(network, images, layers=[], sampled=units, batch_size=250)
    designs = [Design(difficulty) for difficulty in DIFFICULTIES]
    return assemble_trials(found, images, designs=designs, catch=False, crop=None).trials


def proportion_correct(decided: DecisionVariables, trials: Trials) -> pd.Series:
    """By difficulty; a tie counts one half."""
    answers = decided.to_frame().set_index("trial_id").loc[list(trials.index.trial_id)]
    toward = answers["decision_variable"].to_numpy() * np.where(
        answers["shown_first"] == "positive", 1, -1
    )
    correct = (toward > 0) + 0.5 * (toward == 0)
    return pd.Series(correct).groupby(trials.index.difficulty).mean()


# two kinds of architecture always, the others among the slow tests
NETWORKS = [
    name if name in ("resnet10t", "test_mambaout") else pytest.param(name, marks=pytest.mark.slow)
    for name in real_networks.TRAINED
]


@pytest.fixture(scope="module", params=NETWORKS)
def trials(request: pytest.FixtureRequest, shared: Path) -> Trials:
    return trials_of(shared, request.param)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Codes of images: all networks are shown the same ones."""
    return tmp_path_factory.mktemp("codes")


@pytest.mark.whole
@pytest.mark.parametrize("observer", ["encoder", "pixel-cosine"])
def test_easy_trials_are_easier_than_hard85(
    trials: Trials, observer: str, shared: Path, cache: Path
) -> None:
    if observer == "encoder":
        weights = shared / "nets" / "resnet10t.safetensors"
        observer = f"timm:resnet10t?checkpoint={weights}&image_size=32"
    decided = replay(load_observer(observer, device="cpu"), trials, cache=cache).decisions
    found = proportion_correct(decided, trials)
    assert found["easy"] > found["hard85"]
    assert found["easy"] > 0.7


@pytest.mark.whole
def test_the_ideal_observer_is_always_right(trials: Trials) -> None:
    decided = ideal(trials, trials.blind(seed=0).key)
    assert proportion_correct(decided, trials).tolist() == [1.0, 1.0]


def test_chance_is_one_half(trials: Trials, cache: Path) -> None:
    found = proportion_correct(
        replay(load_observer("chance"), trials, cache=cache).decisions, trials
    )
    # About 200 trials a difficulty; five standard errors.
    assert (found - 0.5).abs().max() < 5 * np.sqrt(0.25 / 180)
