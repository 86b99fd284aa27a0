"""Reading unit activations off a running network: hooks that reduce as the layers run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imi_bench.errors import NetworkError
from imi_bench.extras import require
from imi_bench.networks.units import Layer, Unit

if TYPE_CHECKING:
    from torch import Tensor

MEASURES = ("sparsity", "silent", "contrast")


@dataclass(frozen=True, eq=False)
class Rows:
    """Where the units of some layers stand in one long axis of U units.

    Attributes
    ----------
    layers : tuple of Layer
    first : dict of str to int
        Row of each layer's first unit.
    """

    layers: tuple[Layer, ...]
    first: dict[str, int]

    @classmethod
    def of(cls, layers: Sequence[Layer]) -> Rows:
        """Layers one after another."""
        starts = np.cumsum([0, *(layer.width for layer in layers)]).tolist()
        return cls(
            tuple(layers), {la.name: start for la, start in zip(layers, starts[:-1], strict=True)}
        )

    @property
    def count(self) -> int:
        """Number of units, U."""
        return sum(layer.width for layer in self.layers)

    def row(self, unit: Unit) -> int:
        """Row of a unit."""
        return self.first[unit.layer] + unit.channel

    def unit(self, row: int) -> Unit:
        """Unit of a row."""
        for layer in reversed(self.layers):
            if self.first[layer.name] <= row:
                return Unit(layer.name, row - self.first[layer.name])
        raise IndexError(row)


class Recorder:
    """Collects the activations of a block of images while the network runs.

    Parameters
    ----------
    rows : Rows
    sampled : sequence of Unit
        Units whose covariates are measured.
    block : int
        Images held at a time.
    device : str

    Attributes
    ----------
    block : int
        (U, block) float32 tensor
        Unit activations of the images since the last `clear`.
    """

    def __init__(self, rows: Rows, sampled: Sequence[Unit], *, block: int, device: str) -> None:
        torch = require("torch", for_="recording activations")
        self.rows = rows
        self.block = torch.empty((rows.count, block), dtype=torch.float32, device=device)
        self.filled = 0
        self._by_path = {layer.path: layer for layer in rows.layers}
        self._channels: dict[str, Any] = {}
        self._columns: dict[str, NDArray[np.int64]] = {}
        for layer in rows.layers:
            chosen = [(i, u.channel) for i, u in enumerate(sampled) if u.layer == layer.name]
            if chosen:
                self._columns[layer.name] = np.array([i for i, _ in chosen])
                channels = [channel for _, channel in chosen]
                self._channels[layer.name] = torch.tensor(channels, device=device)
        self._measured: dict[tuple[str, ...], Tensor] = {}
        # A processor measures a layer while its maps are in the cache; a GPU is kept waiting by
        # many small kernels, and takes the layers of a batch together.
        self._together = device != "cpu"
        self._waiting: dict[tuple[int, ...], list[tuple[str, Tensor]]] = {}
        self._read: dict[str, int] = {}
        self._count = len(sampled)

    @property
    def paths(self) -> list[str]:
        """Module paths to hook."""
        return list(self._by_path)

    def advance(self, images: int) -> None:
        """A batch of that many images has run.

        Raises
        ------
        NetworkError
            If a layer did not run for it.
        """
        for path, layer in self._by_path.items():
            if path not in self._read:
                raise NetworkError(
                    "layer did not run for some images",
                    where=layer.name,
                    found=f"a batch of {images} images without it",
                    wanted="one activation an image",
                    do="leave it out by --layers",
                )
        self._check_rows(images)
        self._measure()
        self.filled += images
        self._read.clear()

    def _check_rows(self, images: int) -> None:
        for path, rows in self._read.items():
            if rows != images:
                raise NetworkError(
                    "layer gives another number of rows than there are images",
                    where=self._by_path[path].name,
                    found=f"{rows} rows of {images} images",
                    wanted="one activation an image",
                    do="leave it out by --layers",
                )

    def seen(self, path: str, output: Tensor) -> None:
        """What a hook calls: reduce the output into the block."""
        layer = self._by_path[path]
        if path in self._read:
            raise NetworkError(
                "layer runs more than once for an image",
                where=layer.name,
                wanted="one activation an image",
                do="leave it out by --layers",
            )
        if not layer.fits(output):
            raise NetworkError(
                "layer gives another output than when it was listed",
                where=layer.name,
                found=f"shape {tuple(output.shape)}",
                wanted=f"{layer.shape} an image",
                do="leave it out by --layers",
            )
        values = layer.reduce(output)
        self._read[path] = len(values)
        first = self.rows.first[layer.name]
        into = self.block[first : first + layer.width]
        into[:, self.filled : self.filled + len(values)] = values.T
        if layer.name in self._channels:
            # Not index_select: it copies a whole channels-last map to pick one channel.
            maps = layer.maps(output)[:, self._channels[layer.name]].float()
            # positions that are not those of a map have no neighbours
            maps = maps if layer.spatial or maps.ndim < 3 else maps.flatten(2)
            self._waiting.setdefault(tuple(maps.shape[2:]), []).append((layer.name, maps))
            if not self._together:
                self._measure()

    def _measure(self) -> None:
        """Add up the covariates of the maps that wait; those of one shape together."""
        torch = require("torch", for_="recording activations")
        for waiting in self._waiting.values():
            names = tuple(name for name, _ in waiting)
            maps = torch.cat([one for _, one in waiting], 1)
            measured = torch.stack([measure.double().sum(0) for measure in measures(maps)])
            held = self._measured.get(names)
            self._measured[names] = measured if held is None else held + measured
        self._waiting.clear()

    def covariate_sums(self) -> NDArray[np.float64]:
        """(3, S) sums of `MEASURES` over the images seen; NaN where undefined."""
        sums = np.full((len(MEASURES), self._count), np.nan)
        for names, measured in self._measured.items():
            columns = np.concatenate([self._columns[name] for name in names])
            sums[:, columns] = measured.cpu().numpy()
        return sums


def measures(maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Covariates of a unit on each image, from its activation map.

    Parameters
    ----------
    maps : Tensor
        (B, C, …positions) tensor.

    Returns
    -------
    sparsity : (B, C) tensor
        Fraction of positions whose activation is 0 or less.
    silent : (B, C) tensor
        1 where all positions are, else 0.
    contrast : (B, C) tensor
        Mean over positions of the summed absolute differences to the four neighbours, zero
        outside the map; NaN where positions have no neighbours (tokens).

    Notes
    -----
    As in brendel-group/imi, ``imi_baseline_unit_sparsity`` (pixel and channel sparsity) and
    ``imi_baseline_unit_contrast``. A pair of neighbours is counted from both sides, a position at
    the border once more for each side.
    """
    torch = require("torch", for_="recording activations")
    off = (maps <= 0).flatten(2) if maps.ndim > 2 else (maps <= 0).unsqueeze(2)
    sparsity, silent = off.float().mean(2), off.all(2).float()
    if maps.ndim != 4:
        return sparsity, silent, sparsity.new_full(sparsity.shape, float("nan"))
    pairs = maps.diff(dim=2).abs().sum((2, 3)) + maps.diff(dim=3).abs().sum((2, 3))
    size = maps.abs()
    # not by a list of indices, which a GPU would have to be sent each time
    rows, columns = (torch.stack([size.select(d, 0), size.select(d, -1)], d) for d in (2, 3))
    border = rows.sum((2, 3)) + columns.sum((2, 3))
    positions = maps.shape[2] * maps.shape[3]
    return sparsity, silent, (2 * pairs + border) / positions
