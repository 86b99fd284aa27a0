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
from imi_bench.simulation.panel import PanelTruth, answer, evidence
from imi_bench.simulation.planted import KINDS, NETWORKS, PlantedUnit, plant
from imi_bench.simulation.scenes import ATTRIBUTES, VARIED, Scenes, exaggerated
from imi_bench.tables import Study, TrialIndex, Trials
from imi_bench.tables.align import in_use
from imi_bench.tables.images import Images

REFERENCES = 9

# Percentile of the unit's activations around which the strong query is drawn; the weak one comes
# from the mirrored percentile. Easy queries come from the extremes themselves.
PERCENTILES = {"hard95": 95.0, "hard85": 85.0}
_EXAGGERATED_PER_VALUE = 9
_INDEX = ("network", "layer", "unit", "mode", "difficulty", "batch", "catch")


@dataclass(frozen=True, eq=False)
class WorldTruth:
    """What the mini-benchmark was made of.

    Attributes
    ----------
    units : tuple of PlantedUnit
    kind : (T,) str
        Kind of each trial's unit.
    evidence : (T,) float64
        What a perfect reader of attributes sees in favour of the strongly activating query; see
        `imi_bench.simulation.panel.evidence`.
    panel : PanelTruth
        The participants' choice model with all its effects.
    """

    units: tuple[PlantedUnit, ...]
    kind: NDArray[np.object_]
    evidence: NDArray[np.float64]
    panel: PanelTruth

    def units_frame(self) -> pd.DataFrame:
        """One row a unit: id, network, layer, depth, kind, what it likes, its effect."""
        return pd.DataFrame(
            {
                "unit_id": [u.unit_id for u in self.units],
                "network": [u.network for u in self.units],
                "layer": [u.layer for u in self.units],
                "depth": [u.depth for u in self.units],
                "kind": [u.kind for u in self.units],
                "likes": [u.likes for u in self.units],
                "log_sensitivity": [self.panel.unit[u.unit_id] for u in self.units],
            }
        )


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
    """

    trials: Trials
    study: Study
    truth: WorldTruth
    seed: int


def build(
    *,
    seed: int = 0,
    n_networks: int = len(NETWORKS),
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
    n_networks : int
        1 to 4, the first of `NETWORKS`.
    n_single, n_mixed, n_noise : int
        Units of each kind in every network.
    n_batches : int
        Trials of each unit, mode and difficulty.
    n_scenes : int
        Natural pictures to choose from; at least 200 a batch.
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
    if not 1 <= n_networks <= len(NETWORKS):
        raise InputError("n_networks out of range", found=n_networks, wanted=f"1-{len(NETWORKS)}")
    if n_batches < 1 or n_scenes < 200 * n_batches:
        raise InputError(
            "too few scenes", found=f"{n_scenes} for {n_batches} batches", wanted="200 a batch"
        )
    if min(n_single, n_mixed, n_noise) < 0 or n_single + n_mixed + n_noise < 1:
        raise InputError("no units", found=(n_single, n_mixed, n_noise))
    scenes = Scenes.draw(n_scenes, rng=generator(seed, "world", "scenes"))
    counts = dict(zip(KINDS, (n_single, n_mixed, n_noise), strict=True))
    units = tuple(
        unit for network in NETWORKS[:n_networks] for unit in plant(network, counts, seed=seed)
    )
    gallery = _Gallery(scenes, seed=seed, size=size)
    rows = [
        row
        for unit in units
        for row in _trials_of(unit, scenes, gallery, n_batches=n_batches, seed=seed)
    ]
    shown = {
        name: np.stack([row[name] for row in rows]) for name in ("positive", "negative", "queries")
    }
    trials = _assemble(rows, shown, gallery)
    seen = evidence(gallery.scenes, **shown)
    panel = PanelTruth.draw(
        network={n.name: n.log_sensitivity for n in NETWORKS[:n_networks]},
        units=[unit.unit_id for unit in units],
        n_participants=n_participants,
        rng=generator(seed, "world", "panel"),
    )
    responses = answer(
        trials.index,
        panel,
        evidence=seen,
        each=answers_per_trial,
        rng=generator(seed, "world", "answers"),
    )
    kinds = np.array([row["kind"] for row in rows], dtype=object)
    truth = WorldTruth(units=units, kind=kinds, evidence=seen, panel=panel)
    return World(trials, Study(trials.index, responses), truth, seed)


class _Gallery:
    """All pictures that may be shown, drawn when first asked for; natural ones come first."""

    def __init__(self, scenes: Scenes, *, seed: int, size: int) -> None:
        self._natural, self._seed, self._size = scenes, seed, size
        values = [(a, v) for a, known in ATTRIBUTES.items() for v in known]
        self._exaggerated = [key for key in values for _ in range(_EXAGGERATED_PER_VALUE)]
        codes = np.full((len(self._exaggerated), len(ATTRIBUTES)), VARIED, dtype=np.int64)
        names = list(ATTRIBUTES)
        for row, (attribute, value) in enumerate(self._exaggerated):
            codes[row, names.index(attribute)] = ATTRIBUTES[attribute].index(value)
        self.scenes = Scenes(
            np.concatenate([scenes.codes, codes]),
            np.concatenate([scenes.vividness, np.ones(len(codes))]),
        )

    def exaggerated(self, attribute: str, value: str) -> list[int]:
        """Rows of the pictures of one value."""
        first = self._exaggerated.index((attribute, value)) + len(self._natural)
        return list(range(first, first + _EXAGGERATED_PER_VALUE))

    def draw(self, row: int) -> Pixels:
        rng = generator(self._seed, "world", "picture", row)
        if row < len(self._natural):
            return self._natural.picture(row, size=self._size, rng=rng)
        attribute, value = self._exaggerated[row - len(self._natural)]
        return exaggerated(attribute, value, size=self._size, rng=rng)


def _trials_of(
    unit: PlantedUnit, scenes: Scenes, gallery: _Gallery, *, n_batches: int, seed: int
) -> list[dict[str, Any]]:
    """All trials of a unit: its index columns, and rows of the gallery."""
    rng = generator(seed, "world", "activations", unit.unit_id)
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
    if next(n for n in NETWORKS if n.name == unit.network).synthetic:
        shown = _visualised(unit, gallery, rng=rng)
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
            "positive": shown["positive"][batch],
            "negative": shown["negative"][batch],
            "queries": np.array([chosen[side][batch] for side in ends]),
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
    unit: PlantedUnit, gallery: _Gallery, *, rng: np.random.Generator
) -> dict[str, NDArray[np.int64]]:
    """Nine exaggerated references a side, all different.

    All of a single unit's show its value; a mixed unit's show each of its two values twice and
    five unrelated ones, a noise unit's nine unrelated ones.
    """
    everything = [(a, v) for a, values in ATTRIBUTES.items() for v in values]
    pools = {key: iter(rng.permutation(gallery.exaggerated(*key)).tolist()) for key in everything}
    unrelated = [everything[i] for i in rng.permutation(len(everything))]
    repeats = REFERENCES if unit.kind == "single" else 2
    shown = {}
    for side, first, value in (("positive", 0, 1), ("negative", REFERENCES, 2)):
        wanted = [(tuning[0], tuning[value]) for tuning in unit.tuning] * repeats
        wanted += unrelated[first : first + REFERENCES]
        shown[side] = np.array([next(pools[key]) for key in wanted[:REFERENCES]])
    return shown


def _assemble(
    rows: list[dict[str, Any]], shown: dict[str, NDArray[np.int64]], gallery: _Gallery
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
