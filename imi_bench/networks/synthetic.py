"""Synthetic references of units: feature visualisations in both directions, kept in a folder.

A unit's file is there whole or not at all. Units are optimised in fixed groups, so that a run that
was killed goes on with the first group that lacks a file and ends with the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imi_bench.arrays import Pixels
from imi_bench.errors import InputError
from imi_bench.executors import Executor, Piece, chosen, require_finished
from imi_bench.networks.activation_record import Activations
from imi_bench.networks.featurevis import DIRECTIONS, Ascent, climb
from imi_bench.networks.recipe import PassRecipe
from imi_bench.networks.units import Unit, check_units
from imi_bench.provenance import atomic_path, sha256_json, write_json
from imi_bench.vision.loading import LoadedNetwork

BEYOND = {"max": 99.9, "min": 0.1}
"""Percentile of natural images that a visualisation should pass, by direction."""


@dataclass(frozen=True, eq=False)
class References:
    """Synthetic references of one unit.

    Attributes
    ----------
    images : (2, K, side, side, 3) uint8
        Direction max, then min.
    activation : (2, K) float32
        Of the finished images.
    steps : (2,) int64
        Steps taken.
    """

    images: Pixels
    activation: NDArray[np.float32]
    steps: NDArray[np.int64]


def synthetic_references(
    network: LoadedNetwork,
    units: Sequence[Unit],
    *,
    folder: Path,
    n_images: int = 9,
    seed: int = 0,
    ascent: Ascent | None = None,
    units_per_group: int = 8,
    executor: str | Executor = "local",
    recipe: PassRecipe | None = None,
) -> dict[Unit, References]:
    """Visualise units, or read what a run before this one has left in the folder.

    Parameters
    ----------
    network, units, n_images, seed, ascent
        As in `imi_bench.networks.featurevis.visualise`.
    folder : Path
        One ``LAYER__CHANNEL.npz`` a unit, and the settings.
    units_per_group : int
        Units optimised at a time: one piece of work.
    executor : str or Executor
        Who visualises the groups, as in `imi_bench.networks.activations.collect_activations`.
    recipe : PassRecipe, optional
        How other processes open the network; by default it is sent to them.

    Raises
    ------
    SharesMissingError
        The executor ran one share, and others are missing.
    InputError
        If the folder holds visualisations with other settings; also all that `visualise` raises.
    """
    checked = check_units(network.layers, units)
    settings = ascent or Ascent()
    _claim(
        folder,
        {
            "network": sha256_json([network.name, dict(network.record)]),
            "seed": seed,
            "images": n_images,
            "ascent": asdict(settings),
            "units_per_group": units_per_group,
            "units": [str(unit) for unit in checked],
        },
    )
    sent = recipe or PassRecipe(network)
    pieces = []
    for start in range(0, len(checked), units_per_group):
        group = checked[start : start + units_per_group]
        files = [_file(folder, unit) for unit in group]
        run = partial(_visualise, sent, group, folder, n_images, seed, settings)
        pieces.append(Piece(f"units {start}", files[0], run, tuple(files[1:])))
    chosen(executor).run(pieces, label=f"visualising {network.name}")
    require_finished(pieces, where=folder)
    return {unit: _read(_file(folder, unit)) for unit in checked}


def _visualise(
    recipe: PassRecipe,
    group: Sequence[Unit],
    folder: Path,
    n_images: int,
    seed: int,
    ascent: Ascent,
) -> None:
    """Both directions of a group of units, a file each."""
    network = recipe.open_network()
    found = [
        climb(network, group, direction=direction, n_images=n_images, seed=seed, ascent=ascent)
        for direction in DIRECTIONS
    ]
    for both in zip(*found, strict=True):
        with atomic_path(_file(folder, both[0].unit)) as temporary:
            np.savez(
                temporary,
                images=np.stack([one.images for one in both]),
                activation=np.stack([one.activation for one in both]),
                steps=np.array([len(one.trace) for one in both]),
            )


def compared(references: Mapping[Unit, References], natural: Activations) -> pd.DataFrame:
    """Whether visualisations drive their units beyond natural images.

    Returns
    -------
    pandas.DataFrame
        One row a unit and direction: layer, unit, direction, steps, activation (mean over its
        images), limit (the natural percentile of `BEYOND`), beyond, level (equal to the limit: a
        rectified unit that is silent on both).
    """
    rows = []
    for place, direction in enumerate(DIRECTIONS):
        limits = dict(
            zip(natural.sampled, natural.percentiles([BEYOND[direction]])[0].tolist(), strict=True)
        )
        for unit, one in references.items():
            reached = float(one.activation[place].mean())
            gain = reached - limits[unit] if direction == "max" else limits[unit] - reached
            rows.append(
                {
                    "layer": unit.layer,
                    "unit": unit.channel,
                    "direction": direction,
                    "steps": int(one.steps[place]),
                    "activation": reached,
                    "limit": limits[unit],
                    "beyond": gain > 0,
                    "level": gain == 0,
                }
            )
    return pd.DataFrame(rows)


def _claim(folder: Path, settings: dict[str, Any]) -> None:
    path = folder / "plan.json"
    if not path.is_file():
        write_json(path, settings)
    elif (held := json.loads(path.read_text(encoding="utf-8"))) != settings:
        changed = sorted(name for name in settings if held.get(name) != settings[name])
        raise InputError(
            "folder holds other visualisations",
            where=folder,
            found=f"another setting of {', '.join(changed)}",
            do="choose another folder",
        )


def _file(folder: Path, unit: Unit) -> Path:
    return folder / f"{unit}.npz"


def _read(path: Path) -> References:
    with np.load(path, allow_pickle=False) as file:
        return References(file["images"], file["activation"], file["steps"])
