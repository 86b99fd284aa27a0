"""The embedded mini-benchmark: generated images, planted units, simulated participants.

Everything here is made up and labelled ``simulated``. What makes it useful is that the truth is
known::

    Scenes (five attributes, vividness) --planted unit--> activations --extremes--> Trials
    Trials + attributes --panel (`imi_bench.simulation.panel`)--> Study

A **single** unit prefers one value of one attribute and dislikes another; a **mixed** unit does
so for two attributes and answers to whichever speaks louder, so that its references show two
things; a **noise** unit answers to nothing that can be seen. Hence the ideal observer is at its
ceiling, chance at one half, and single beats mixed beats noise for anything that sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imi_bench.arrays import Pixels
from imi_bench.errors import InputError
from imi_bench.progress import progress
from imi_bench.provenance import generator
from imi_bench.simulation.gallery import Gallery
from imi_bench.simulation.panel import PanelTruth, answer, attribute_evidence, evidence
from imi_bench.simulation.planted import (
    KINDS,
    NETWORKS,
    PlantedNetwork,
    PlantedUnit,
    drawn_networks,
    plant,
)
from imi_bench.simulation.scenes import ATTRIBUTES
from imi_bench.simulation.truth import VISIBLE_EFFECTS, WorldTruth, visible_covariates
from imi_bench.tables import Study, TrialIndex, Trials
from imi_bench.tables.align import in_use
from imi_bench.tables.images import Images

REFERENCES = 9

# Percentile of the unit's activations around which the strong query is drawn; the weak one comes
# from the mirrored percentile. Easy queries come from the extremes themselves.
PERCENTILES = {"hard95": 95.0, "hard85": 85.0}
# Of the logarithm of an attribute's salience, in worlds of version 2.
_SALIENCE_SD = 0.7
_INDEX = ("network", "layer", "unit", "mode", "difficulty", "batch", "catch")


@dataclass(frozen=True, eq=False)
class World:
    """The mini-benchmark.

    Attributes
    ----------
    trials : Trials
        With `query_activations`; ``simulated`` is true.
    study : Study
        The panel's answers to the same trials; ``simulated`` is true.
    truth : WorldTruth
    seed : int
    version : int
    """

    trials: Trials
    study: Study
    truth: WorldTruth
    seed: int
    version: int = 1


def build(
    *,
    seed: int = 0,
    version: int = 1,
    n_networks: int | None = None,
    n_single: int = 5,
    n_mixed: int = 3,
    n_noise: int = 2,
    n_batches: int = 2,
    n_scenes: int = 480,
    n_participants: int = 60,
    answers_per_trial: int = 15,
    size: int = 96,
) -> World:
    """Make the mini-benchmark; the same arguments give the same bytes.

    Parameters
    ----------
    seed : int
        Everything drawn comes from it.
    version : {1, 2}
        1: four networks (`NETWORKS`) over one pool of scenes, all attributes equally salient.
        2: any number of drawn networks, each with scenes of its own; how much an attribute counts
        for people is drawn for the world, and their sensitivity is partly a function of what can
        be seen.
    n_networks : int, optional
        4 (at most) in version 1, 8 in version 2.
    n_single, n_mixed, n_noise : int
        Units of each kind in every network.
    n_batches : int
        Trials of each unit, mode and difficulty.
    n_scenes : int
        Natural pictures to choose from (of each network in version 2); at least 200 a batch.
    n_participants, answers_per_trial : int
        Size of the panel, and how many of it answer each trial.
    size : int
        Side of the pictures in pixels.

    Raises
    ------
    InputError
        If a number is out of range.

    Examples
    --------
    >>> world = build(n_networks=1, n_batches=1, n_scenes=200, size=16)
    >>> len(world.trials), world.trials.simulated, len(world.study.responses)
    (60, True, 900)
    """
    networks = _networks(version, n_networks, seed=seed)
    _check_sizes(n_batches, n_scenes, (n_single, n_mixed, n_noise))
    counts = dict(zip(KINDS, (n_single, n_mixed, n_noise), strict=True))
    units = tuple(unit for network in networks for unit in plant(network, counts, seed=seed))
    pools = len(networks) if version > 1 else 1
    gallery = Gallery.drawn(n_scenes, pools=pools, seed=seed, size=size)
    place = {network.name: number for number, network in enumerate(networks)}
    rows = [
        row
        for unit in units
        for row in _trials_of(
            unit,
            gallery,
            pool=place[unit.network] if version > 1 else 0,
            synthetic=networks[place[unit.network]].synthetic,
            n_batches=n_batches,
            seed=seed,
        )
    ]
    shown = {
        name: np.stack([row[name] for row in rows]) for name in ("positive", "negative", "queries")
    }
    trials = _assemble(rows, shown, gallery)
    rng = generator(seed, "world", "panel")
    panel = PanelTruth.draw(
        network={n.name: n.log_sensitivity for n in networks},
        units=[unit.unit_id for unit in units],
        n_participants=n_participants,
        rng=rng,
        visible=VISIBLE_EFFECTS if version > 1 else None,
    )
    depth = np.array([row["depth"] for row in rows])
    told = attribute_evidence(gallery.scenes, **shown)
    salience = _salience(version, seed=seed)
    visible = visible_covariates(
        gallery.scenes, depth=depth, positive=shown["positive"], negative=shown["negative"]
    )
    truth = WorldTruth(
        units=units,
        kind=np.array([row["kind"] for row in rows], dtype=object),
        evidence=evidence(gallery.scenes, salience=salience, **shown),
        panel=panel,
        index=trials.index,
        salience=salience,
        by_attribute=told,
        visible=visible,
    )
    responses = answer(
        trials.index,
        panel,
        evidence=truth.evidence,
        each=answers_per_trial,
        rng=generator(seed, "world", "answers"),
        visible=visible,
    )
    return World(trials, Study(trials.index, responses), truth, seed, version)


def _check_sizes(n_batches: int, n_scenes: int, units: tuple[int, int, int]) -> None:
    if n_batches < 1 or n_scenes < 200 * n_batches:
        raise InputError(
            "too few scenes", found=f"{n_scenes} for {n_batches} batches", wanted="200 a batch"
        )
    if min(units) < 0 or sum(units) < 1:
        raise InputError("no units", found=units)


def _networks(version: int, count: int | None, *, seed: int) -> tuple[PlantedNetwork, ...]:
    if version not in (1, 2):
        raise InputError("no such version of the mini-benchmark", found=version, wanted="1 or 2")
    if version == 1:
        count = len(NETWORKS) if count is None else count
        if not 1 <= count <= len(NETWORKS):
            raise InputError(
                "n_networks out of range",
                found=count,
                wanted=f"1-{len(NETWORKS)}",
                do="take version=2 for more",
            )
        return NETWORKS[:count]
    count = 8 if count is None else count
    if count < 1:
        raise InputError("n_networks out of range", found=count, wanted="1 or more")
    return drawn_networks(count, seed=seed)


def _salience(version: int, *, seed: int) -> dict[str, float]:
    """How much each attribute counts for people: 1, or log-normal with mean 1 over attributes."""
    if version == 1:
        return dict.fromkeys(ATTRIBUTES, 1.0)
    rng = generator(seed, "world", "salience")
    drawn = np.exp(_SALIENCE_SD * rng.standard_normal(len(ATTRIBUTES)))
    return dict(zip(ATTRIBUTES, (drawn / drawn.mean()).tolist(), strict=True))


def _trials_of(
    unit: PlantedUnit, gallery: Gallery, *, pool: int, synthetic: bool, n_batches: int, seed: int
) -> list[dict[str, Any]]:
    """All trials of a unit: its index columns, and rows of the gallery."""
    rng = generator(seed, "world", "activations", unit.unit_id)
    scenes, offset = gallery.natural(pool)
    activations = unit.activations(scenes, rng=rng)
    descending = np.argsort(-activations, kind="stable")
    ends = {"positive": descending, "negative": descending[::-1]}
    extreme = {side: _extremes(order, n_batches, rng=rng) for side, order in ends.items()}
    queries = {"easy": {side: rows[:, REFERENCES] for side, rows in extreme.items()}}
    for difficulty, percentile in PERCENTILES.items():
        rank = round(len(scenes) * (1 - percentile / 100))
        first = max(rank - n_batches // 2, n_batches * (REFERENCES + 1))
        queries[difficulty] = {
            side: rng.permutation(order[first : first + n_batches]) for side, order in ends.items()
        }
    references = {"natural": {side: rows[:, :REFERENCES] for side, rows in extreme.items()}}
    references["natural"] = {s: rows + offset for s, rows in references["natural"].items()}
    if synthetic:
        shown = _visualised(unit, gallery, pool=pool, rng=rng)
        references["synthetic"] = {s: np.stack([rows] * n_batches) for s, rows in shown.items()}
    return [
        {
            "network": unit.network,
            "layer": unit.layer,
            "unit": unit.unit,
            "mode": mode,
            "difficulty": difficulty,
            "batch": batch + 1,
            "catch": False,
            "kind": unit.kind,
            "depth": unit.depth,
            "positive": shown["positive"][batch],
            "negative": shown["negative"][batch],
            "queries": np.array([chosen[side][batch] + offset for side in ends]),
            "activations": activations[[chosen[side][batch] for side in ends]],
        }
        for mode, shown in references.items()
        for difficulty, chosen in queries.items()
        for batch in range(n_batches)
    ]


def _extremes(
    order: NDArray[np.int64], n_batches: int, *, rng: np.random.Generator
) -> NDArray[np.int64]:
    """(batches, 10) most extreme rows, dealt evenly: nine references and the easy query."""
    dealt = order[: n_batches * (REFERENCES + 1)].reshape(REFERENCES + 1, n_batches).T
    return rng.permuted(dealt, axis=1)


def _visualised(
    unit: PlantedUnit, gallery: Gallery, *, pool: int, rng: np.random.Generator
) -> dict[str, NDArray[np.int64]]:
    """Nine exaggerated references a side, all different.

    All of a single unit's show its value; a mixed unit's show each of its two values twice and
    five unrelated ones, a noise unit's nine unrelated ones.
    """
    everything = [(a, v) for a, values in ATTRIBUTES.items() for v in values]
    pools = {
        key: iter(rng.permutation(gallery.exaggerated(*key, pool=pool)).tolist())
        for key in everything
    }
    unrelated = [everything[i] for i in rng.permutation(len(everything))]
    repeats = REFERENCES if unit.kind == "single" else 2
    shown = {}
    for side, first, value in (("positive", 0, 1), ("negative", REFERENCES, 2)):
        wanted = [(tuning[0], tuning[value]) for tuning in unit.tuning] * repeats
        wanted += unrelated[first : first + REFERENCES]
        shown[side] = np.array([next(pools[key]) for key in wanted[:REFERENCES]])
    return shown


def _assemble(
    rows: list[dict[str, Any]], shown: dict[str, NDArray[np.int64]], gallery: Gallery
) -> Trials:
    """Draw the pictures that are shown, and join them with the index."""
    used, parts = in_use(shown["positive"], shown["negative"], shown["queries"])
    pictures: list[Pixels] = []
    with progress("drawing", total=len(used), unit="pictures") as advance:
        for row in used.tolist():
            pictures.append(gallery.draw(row))
            advance(1)
    images, image_of = Images.collect(pictures)
    frame = pd.DataFrame([{name: row[name] for name in _INDEX} for row in rows])
    frame["trial_id"] = TrialIndex.canonical_ids(frame)
    return Trials(
        index=TrialIndex.from_frame(frame),
        images=images,
        positive=image_of[parts[0]],
        negative=image_of[parts[1]],
        queries=image_of[parts[2]],
        query_activations=np.stack([row["activations"] for row in rows]),
        simulated=True,
    )
