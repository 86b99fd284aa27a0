"""A small world with observers that read its attributes through noise: quick to learn from."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np

from imi_bench.simulation.scenes import ATTRIBUTES
from imi_bench.simulation.world import World, build
from imi_bench.tables import DecisionVariables, Study


@dataclass(frozen=True)
class MeasuredWorld:
    world: World
    observers: tuple[DecisionVariables, ...]


@functools.cache
def measured_world(*, seed: int = 0, networks: int = 4, noise: float = 0.4) -> MeasuredWorld:
    """One observer an attribute: what it says, and noise of its own."""
    world = build(
        seed=seed,
        version=2,
        n_networks=networks,
        n_single=5,
        n_mixed=1,
        n_noise=0,
        n_batches=1,
        n_scenes=200,
        size=8,
    )
    rng = np.random.default_rng(seed)
    told = world.truth.by_attribute + noise * rng.normal(size=world.truth.by_attribute.shape)
    key = world.trials.blind(seed=0).key
    sign = np.where(key.first_is_positive, 1.0, -1.0)
    return MeasuredWorld(
        world,
        tuple(
            DecisionVariables.from_values(sign * column, observer=f"sees {name}", key=key)
            for name, column in zip(ATTRIBUTES, told.T, strict=True)
        ),
    )


def shuffled(study: Study, *, seed: int) -> Study:
    """The same answers dealt to other trials: nothing is left to learn."""
    order = np.random.default_rng(seed).permutation(len(study.responses))
    return Study(
        study.trials,
        replace(
            study.responses,
            correct=np.random.default_rng(seed).random(len(order)) < 0.5,
            chose_first=np.full(len(order), np.nan),
        ),
    )
