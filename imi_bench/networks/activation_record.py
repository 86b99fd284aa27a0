"""What a pass over images found: extremes of every unit, all values of the sampled ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imi_bench.errors import InputError
from imi_bench.networks.recording import MEASURES, Rows
from imi_bench.networks.units import Layer, Unit, find_layer
from imi_bench.provenance import atomic_path
from imi_bench.text import plural
from imi_bench.vision.layer_names import layer_table


@dataclass(frozen=True, eq=False)
class Activations:
    """What a pass found.

    Attributes
    ----------
    network : str
        Its name.
    layers : tuple of Layer
        Layers followed, in the order they run; their units stand one after another: U rows.
    image_names : (N,) str
    top_images, bottom_images : (U, K) int32
        Image numbers, the most extreme first; of equal activations the earlier image first.
    top_values, bottom_values : (U, K) float32
        Their activations, in the unit's own scale.
    sampled : tuple of Unit
        S units.
    values : (N, S) float32
        Every activation of the sampled units.
    sparsity, silent, contrast : (S,) float64
        Means over images of `imi_bench.networks.recording.measures`; contrast is NaN for units
        without a map.
    record : dict
        The network's record and the plan, as a JSON object.
    """

    network: str
    layers: tuple[Layer, ...]
    image_names: NDArray[np.object_]
    top_images: NDArray[np.int32]
    top_values: NDArray[np.float32]
    bottom_images: NDArray[np.int32]
    bottom_values: NDArray[np.float32]
    sampled: tuple[Unit, ...]
    values: NDArray[np.float32]
    sparsity: NDArray[np.float64]
    silent: NDArray[np.float64]
    contrast: NDArray[np.float64]
    record: dict[str, Any]

    _ARRAYS = (
        "top_images",
        "top_values",
        "bottom_images",
        "bottom_values",
        "values",
        "sparsity",
        "silent",
        "contrast",
    )

    @cached_property
    def rows(self) -> Rows:
        """Where each unit stands among the U rows."""
        return Rows.of(self.layers)

    @property
    def spread(self) -> NDArray[np.float64]:
        """(U,) largest minus smallest activation; below 1e-8 a unit counts as constant."""
        top, bottom = self.top_values[:, 0], self.bottom_values[:, 0]
        return np.subtract(top, bottom, dtype=np.float64)

    def of(self, unit: Unit) -> NDArray[np.float32]:
        """(N,) activations of a sampled unit.

        Raises
        ------
        InputError
            If the unit was not sampled.
        """
        if unit not in self.sampled:
            raise InputError(
                "unit was not sampled",
                where=str(unit),
                found=plural(len(self.sampled), "sampled unit"),
                do="name it in `sampled` of the activation pass",
            )
        column: NDArray[np.float32] = self.values[:, self.sampled.index(unit)]
        return column

    def percentiles(self, q: Sequence[float]) -> NDArray[np.float64]:
        """(len(q), S) exact percentiles (linear interpolation) of the sampled units."""
        return np.percentile(self.values.astype(np.float64), q, axis=0)

    def covariates(self) -> pd.DataFrame:
        """One row a sampled unit: layer, its type, depth and width, spread and covariates."""
        known = layer_table(self.network, self.layers).set_index("layer")
        layers = known.loc[[find_layer(self.layers, unit.layer).name for unit in self.sampled]]
        rows = [self.rows.row(unit) for unit in self.sampled]
        return pd.DataFrame(
            {
                "network": self.network,
                "layer": layers.index,
                "unit": [unit.channel for unit in self.sampled],
                **{name: layers[name].to_numpy() for name in ("type", "depth", "width")},
                "spread": self.spread[rows],
                **{name: getattr(self, name) for name in MEASURES},
            }
        )

    def save(self, path: Path) -> None:
        """Write one ``.npz`` file, atomically; equal content gives equal bytes."""
        head = {
            "network": self.network,
            "layers": [asdict(layer) for layer in self.layers],
            "sampled": [str(unit) for unit in self.sampled],
            "image_names": self.image_names.tolist(),
            "record": self.record,
        }
        text = np.frombuffer(json.dumps(head, ensure_ascii=False).encode(), dtype=np.uint8)
        with atomic_path(path) as temporary:
            np.savez(temporary, head=text, **{name: getattr(self, name) for name in self._ARRAYS})

    @classmethod
    def load(cls, path: Path) -> Activations:
        """Read a file that `save` wrote.

        Raises
        ------
        InputError
            If it is something else.
        """
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                head = json.loads(archive["head"].tobytes())
                arrays = {name: archive[name] for name in cls._ARRAYS}
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise InputError(
                "activations cannot be read", where=path, found=error, wanted="activations.npz"
            ) from error
        layers = tuple(
            Layer(**{**layer, "shape": tuple(layer["shape"])}) for layer in head["layers"]
        )
        return cls(
            network=head["network"],
            layers=layers,
            image_names=np.array(head["image_names"], dtype=object),
            sampled=tuple(Unit.parse(unit) for unit in head["sampled"]),
            record=head["record"],
            **arrays,
        )
