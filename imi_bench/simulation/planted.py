"""Made-up networks and their units, whose selectivity is planted: see `simulation.world`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imi_bench.provenance import generator
from imi_bench.simulation.scenes import ATTRIBUTES, Scenes

KINDS = ("single", "mixed", "noise")
# Attributes in the order in which layers come to care for them, and the layers, shallow to deep.
_LAYERS = ("stem_conv", "stage1_conv", "stage2_conv", "stage3_conv")
_ATTRIBUTES_OF = {"single": 1, "mixed": 2, "noise": 0}
# Mixed units are driven less, so that their extremes hold more accidents of noise.
_PEAK_OF = {"mixed": 0.3}
_LAYER_OF = {"colour": 0, "orientation": 1, "texture": 1, "shape": 2, "layout": 3}


@dataclass(frozen=True)
class PlantedNetwork:
    """A made-up network.

    Attributes
    ----------
    name : str
    noise : float
        Standard deviation of the unit's private noise in its first layer, where the preferred
        value at full vividness drives it by 1; grows by a tenth a layer.
    synthetic : bool
        Whether its units have exaggerated references.
    log_sensitivity : float
        Effect on the participants' log sensitivity.
    """

    name: str
    noise: float
    synthetic: bool
    log_sensitivity: float


NETWORKS = (
    PlantedNetwork("toy-alder", noise=0.08, synthetic=True, log_sensitivity=0.30),
    PlantedNetwork("toy-birch", noise=0.14, synthetic=True, log_sensitivity=0.10),
    PlantedNetwork("toy-cedar", noise=0.20, synthetic=True, log_sensitivity=-0.10),
    PlantedNetwork("toy-damson", noise=0.26, synthetic=False, log_sensitivity=-0.30),
)


_TREES = (
    *("alder", "birch", "cedar", "damson", "elder", "fir"),
    *("gean", "hazel", "ilex", "juniper", "larch", "maple"),
)


def drawn_networks(count: int, *, seed: int) -> tuple[PlantedNetwork, ...]:
    """Networks of a world of version 2, their parameters drawn; every fourth has no synthetic mode.

    Noise is uniform between 0.06 and 0.28, the effect on log sensitivity normal with a standard
    deviation of 0.25.
    """
    rng = generator(seed, "world", "networks")
    networks = []
    for number in range(count):
        turn, tree = divmod(number, len(_TREES))
        networks.append(
            PlantedNetwork(
                name=f"toy-{_TREES[tree]}" + (f"-{turn + 1}" if turn else ""),
                noise=float(rng.uniform(0.06, 0.28)),
                synthetic=number % 4 != 3,
                log_sensitivity=float(rng.normal(0.0, 0.25)),
            )
        )
    return tuple(networks)


@dataclass(frozen=True, eq=False)
class PlantedUnit:
    """A unit of known selectivity.

    Attributes
    ----------
    network, layer : str
    unit : int
        Channel.
    depth : float
        Of its layer, above 0 to 1.
    kind : str
        ``single``, ``mixed`` or ``noise``.
    tuning : tuple of (attribute, preferred value, disliked value)
        One for a single unit, two for a mixed one, none for noise.
    drives : tuple of (values,) float64
        For each attribute of `tuning`, the drive of each of its values: 1 for the preferred one,
        -1 for the disliked one, between -0.4 and 0.4 for the others.
    noise : float
        Standard deviation of the private noise.
    """

    network: str
    layer: str
    unit: int
    depth: float
    kind: str
    tuning: tuple[tuple[str, str, str], ...]
    drives: tuple[NDArray[np.float64], ...]
    noise: float

    @property
    def unit_id(self) -> str:
        """``network/layer/unit``, as in `TrialIndex.unit_id`."""
        return f"{self.network}/{self.layer}/{self.unit}"

    @property
    def likes(self) -> str:
        """What excites it, in words."""
        words = [f"{preferred} ({attribute})" for attribute, preferred, _ in self.tuning]
        return " or ".join(words) or "nothing visible"

    def activations(self, scenes: Scenes, *, rng: np.random.Generator) -> NDArray[np.float64]:
        """(N,) activation on each scene: drive times vividness plus private noise."""
        private = rng.standard_normal(len(scenes))
        if not self.tuning:
            return private
        names = list(ATTRIBUTES)
        drives = [
            drive[scenes.codes[:, names.index(attribute)]]
            for (attribute, _, _), drive in zip(self.tuning, self.drives, strict=True)
        ]
        return _loudest(drives) * scenes.vividness + self.noise * private


def plant(network: PlantedNetwork, counts: Mapping[str, int], *, seed: int) -> list[PlantedUnit]:
    """Draw a network's units; single and mixed ones go round the attributes evenly."""
    rng = generator(seed, "world", "units", network.name)
    channels = iter(rng.permutation(max(64, sum(counts.values()))).tolist())
    units = []
    for kind in KINDS:
        attributes = itertools.cycle(rng.permutation(list(ATTRIBUTES)).tolist())
        for _ in range(counts[kind]):
            chosen = list(itertools.islice(attributes, _ATTRIBUTES_OF[kind]))
            deepest = max((_LAYER_OF[a] for a in chosen), default=int(rng.integers(len(_LAYERS))))
            peak = _PEAK_OF.get(kind, 1.0)
            tuned = [_tune(attribute, peak=peak, rng=rng) for attribute in chosen]
            units.append(
                PlantedUnit(
                    network=network.name,
                    layer=_LAYERS[deepest],
                    unit=next(channels),
                    depth=(deepest + 1) / len(_LAYERS),
                    kind=kind,
                    tuning=tuple(tuning for tuning, _ in tuned),
                    drives=tuple(drive for _, drive in tuned),
                    noise=network.noise * (1 + 0.1 * deepest),
                )
            )
    return units


def _tune(
    attribute: str, *, peak: float, rng: np.random.Generator
) -> tuple[tuple[str, str, str], NDArray[np.float64]]:
    """Pick the liked and the disliked value, and draw the drives of all."""
    values = ATTRIBUTES[attribute]
    likes, dislikes = rng.permutation(len(values))[:2]
    drive = rng.uniform(-0.4, 0.4, len(values)) * peak
    drive[likes], drive[dislikes] = peak, -peak
    return (attribute, values[likes], values[dislikes]), drive


def _loudest(drives: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The drive of largest magnitude; equal magnitudes are averaged."""
    stacked = np.stack(drives)
    loud = np.abs(stacked) == np.abs(stacked).max(axis=0)
    return np.asarray((stacked * loud).sum(axis=0) / loud.sum(axis=0))
