"""Reading unit activations off a running network: hooks that reduce as the layers run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imi_bench.errors import NetworkError
from imi_bench.extras import require
from imi_bench.networks.routes import Route, Routes
from imi_bench.networks.units import Layer, Unit
from imi_bench.vision.device import begin_fetch

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
    routes : Routes, optional
        Ways round reading some layers.

    Attributes
    ----------
    block : Tensor
        (U, block) float32: unit activations of the images so far, once `complete` was called.
    filled : int
        How many images these are.
    """

    def __init__(
        self,
        rows: Rows,
        sampled: Sequence[Unit],
        *,
        block: int,
        device: str,
        routes: Routes | None = None,
    ) -> None:
        torch = require("torch", for_="recording activations")
        self.rows = rows
        self.filled = 0
        self.routes = routes
        self._first = dict(rows.first)
        self._widths = {layer.name: layer.width for layer in rows.layers}
        below = rows.count  # means of inputs that are read for routes stand below the units
        for path, route in ({} if routes is None else routes.taken).items():
            if route.source is None:
                self._first[_input_of(path)], self._widths[_input_of(path)] = below, route.inputs
                below += route.inputs
        self._all = torch.empty((below, block), dtype=torch.float32, device=device)
        self.block = self._all[: rows.count]
        self._derived: dict[str, list[tuple[int, int]]] = {}  # columns to fill in, by path
        self._by_path = {layer.path: layer for layer in rows.layers}
        self._channels: dict[str, Any] = {}
        self._columns: dict[str, NDArray[np.int64]] = {}
        for layer in rows.layers:
            chosen = [(i, u.channel) for i, u in enumerate(sampled) if u.layer == layer.name]
            if chosen:
                self._columns[layer.name] = np.array([i for i, _ in chosen])
                channels = [channel for _, channel in chosen]
                self._channels[layer.name] = torch.tensor(channels, device=device)
        self._means: list[tuple[str, Tensor]] = []  # of this batch, in the order the layers ran
        self._placed: dict[tuple[str, ...], Tensor | None] = {}
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
                    do="leave it out by layers=",
                )
        self._check_rows(images)
        self._place(images)
        self._measure()
        if self.routes is not None:
            self.routes.forget()
        self.filled += images
        self._read.clear()

    def complete(self) -> Tensor:
        """(U, filled) activations of the images so far; what is recorded next begins anew."""
        for path, layer in self._by_path.items():
            for start, stop in self._derived.get(path, ()):
                route = self._route(path)
                held = self._of(_input_of(path) if route.source is None else route.source)
                self._of(layer.name)[:, start:stop] = route.output(
                    held[:, start:stop], self._precision
                )
        filled = self.block[:, : self.filled]
        self._derived.clear()
        self.filled = 0
        return filled

    @property
    def _precision(self) -> str:
        return "float32" if self.routes is None else self.routes.precision

    def _route(self, path: str) -> Route:
        if self.routes is None:
            raise LookupError(path)
        return self.routes.taken[path]

    def _of(self, name: str) -> Tensor:
        """A layer's rows of the block, or those of an input."""
        first = self._first[name]
        return self._all[first : first + self._widths[name]]

    def _place(self, images: int) -> None:
        """Put the means of a batch into the block: all layers in two steps, not each in its own."""
        if not self._means:
            return
        torch = require("torch", for_="recording activations")
        names = tuple(name for name, _ in self._means)
        means = torch.cat([values for _, values in self._means], 1).T
        self._means.clear()
        if names not in self._placed:
            self._placed[names] = self._rows_of(names)
        columns = self._all[:, self.filled : self.filled + images]
        rows = self._placed[names]
        if rows is None:
            columns.copy_(means)
        else:
            columns.index_copy_(0, rows, means.to(columns.dtype))

    def _rows_of(self, names: Sequence[str]) -> Tensor | None:
        """Rows of the block that the units of these layers have; None where it is all in order."""
        torch = require("torch", for_="recording activations")
        if names == tuple(self._first):
            return None
        parts = [
            np.arange(self._first[name], self._first[name] + self._widths[name]) for name in names
        ]
        rows: Tensor = torch.from_numpy(np.concatenate(parts)).to(self.block.device)
        return rows

    def _check_rows(self, images: int) -> None:
        for path, rows in self._read.items():
            if rows != images:
                raise NetworkError(
                    "layer gives another number of rows than there are images",
                    where=self._by_path[path].name,
                    found=f"{rows} rows of {images} images",
                    wanted="one activation an image",
                    do="leave it out by layers=",
                )

    def seen(self, path: str, output: Tensor, inputs: tuple[Any, ...] = ()) -> None:
        """What a hook calls: reduce the output, or what it follows from, into the block."""
        layer = self._by_path[path]
        if path in self._read:
            raise NetworkError(
                "layer runs more than once for an image",
                where=layer.name,
                wanted="one activation an image",
                do="leave it out by layers=",
            )
        if not layer.fits(output):
            raise NetworkError(
                "layer gives another output than when it was listed",
                where=layer.name,
                found=f"shape {tuple(output.shape)}",
                wanted=f"{layer.shape} an image",
                do="leave it out by layers=",
            )
        if not self._passed_by(layer, inputs, output):
            values = layer.reduce(output)
            self._read[path] = len(values)
            self._keep(layer.name, values, output)
        if self.routes is not None:
            self.routes.given(layer, output)
        if layer.name in self._channels:
            # Not index_select: it copies a whole channels-last map to pick one channel.
            maps = layer.maps(output)[:, self._channels[layer.name]].float()
            # positions that are not those of a map have no neighbours
            maps = maps if layer.spatial or maps.ndim < 3 else maps.flatten(2)
            self._waiting.setdefault(tuple(maps.shape[2:]), []).append((layer.name, maps))
            if not self._together:
                self._measure()

    def _keep(self, name: str, means: Tensor, of: Tensor) -> None:
        """Keep means until the batch has passed; of an output without positions they are itself.

        What runs next may change that in place.
        """
        same = means.data_ptr() == of.data_ptr()
        self._means.append((name, means.clone() if same else means))

    def _passed_by(self, layer: Layer, inputs: tuple[Any, ...], output: Tensor) -> bool:
        """Leave a layer to `complete`, if a route to it is known and is there this time."""
        route = None if self.routes is None else self.routes.taken.get(layer.path)
        if route is None or self.routes is None or len(inputs) != 1:
            return False
        if route.source is None:
            self._keep(_input_of(layer.path), layer.reduce(inputs[0]), inputs[0])
        elif self.routes.origin(inputs) != route.source:
            return False
        count = self._read[layer.path] = output.shape[layer.batch_axis]
        columns = self._derived.setdefault(layer.path, [])
        if columns and columns[-1][1] == self.filled:
            columns[-1] = (columns[-1][0], self.filled + count)
        else:
            columns.append((self.filled, self.filled + count))
        return True

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

    def covariate_sums(self) -> Callable[[], NDArray[np.float64]]:
        """Begin to bring home the sums of `MEASURES` over the images seen.

        Returns
        -------
        callable
            Waits, and gives them: (3, S), NaN where undefined.
        """
        coming = begin_fetch({"/".join(names): sums for names, sums in self._measured.items()})

        def arrived() -> NDArray[np.float64]:
            sums = np.full((len(MEASURES), self._count), np.nan)
            for names, measured in coming().items():
                columns = np.concatenate([self._columns[name] for name in names.split("/")])
                sums[:, columns] = measured
            return sums

        return arrived


def _input_of(path: str) -> str:
    return f"input of {path}"


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
