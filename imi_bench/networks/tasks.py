"""The tasks behind a machine interpretability score: which images, drawn from which pools.

::

    activations --find_pools--> Pools --draw_tasks(seed)--> Tasks --(mis.py)--> scores

A pool holds the images of one end of a unit's activation distribution. Only pools and tasks have
to be held for all units; the images-by-units matrix is read a block of units at a time, or never
(`imi_bench.networks.activations` keeps the same extremes while it streams).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imi_bench.arguments import checked_fields
from imi_bench.errors import InputError, NotEnoughDataError

CONSTANT_BELOW = 1e-8
"""Units whose activations span less are not scored (MIS paper)."""
_ROUNDING = 8 * float(np.finfo(np.float32).eps)
"""A mean over positions in single precision is known to about so much of itself."""
_ORDER_BITS = 0xFFFFFFFF
_VALUE_BITS = ~_ORDER_BITS
_UNITS_SORTED = 8  # at a time, which keeps 10,000 images in the processor's cache


@checked_fields
@dataclass(frozen=True, eq=False)
class Pools:
    """Most and least activating images of U units.

    Attributes
    ----------
    top : (U, L) int64
        Rows of the image set, the most activating first.
    bottom : (U, L) int64
        Rows of the image set, the least activating first. Shares no image with `top` in a unit
        that can be scored.
    reason : (U,) str
        Why the unit cannot be scored (see `unscorable`); empty where it can.

    Raises
    ------
    InputError
        If the shapes disagree.
    """

    top: NDArray[np.int64]
    bottom: NDArray[np.int64]
    reason: NDArray[np.object_]

    def __post_init__(self) -> None:
        if self.top.shape != self.bottom.shape or self.reason.shape != self.top.shape[:1]:
            raise InputError(
                "pools of unequal shape",
                found=f"{self.top.shape}, {self.bottom.shape}, {self.reason.shape}",
                wanted="(units, images), the same, (units,)",
            )

    def __len__(self) -> int:
        return len(self.reason)

    def part(self, rows: slice) -> Pools:
        """The pools of some of the units."""
        return Pools(self.top[rows], self.bottom[rows], self.reason[rows])

    @classmethod
    def joined(cls, parts: Iterable[Pools]) -> Pools:
        """The pools of some units, then those of others."""
        columns = zip(*((part.top, part.bottom, part.reason) for part in parts), strict=True)
        return cls(*(np.concatenate(column) for column in columns))

    @property
    def size(self) -> int:
        """Number of images L on each side."""
        return int(self.top.shape[1])


@checked_fields
@dataclass(frozen=True, eq=False)
class Tasks:
    """The images of N tasks for each of U units.

    Attributes
    ----------
    positive : (U, N, K + 1) int64
        Rows of the image set. The first K are the positive references, the last is q+.
    negative : (U, N, K + 1) int64
        The same for the negative references and q-.

    Raises
    ------
    InputError
        If the shapes disagree or leave no reference.
    """

    positive: NDArray[np.int64]
    negative: NDArray[np.int64]

    def __post_init__(self) -> None:
        shape = self.positive.shape
        if shape != self.negative.shape or len(shape) != 3 or shape[2] < 2 or shape[1] < 1:
            raise InputError(
                "tasks of unequal or impossible shape",
                found=f"{shape} and {self.negative.shape}",
                wanted="twice (units, tasks, references + 1)",
            )


def pool_size(n_images: int, *, quantile: float, n_references: int) -> int:
    """Images in each pool: the given share of all, rounded up.

    Raises
    ------
    InputError
        If `quantile` is not in (0, 0.5], where the two pools are disjoint.
    NotEnoughDataError
        If a pool has fewer images than one task needs, or the pools overlap.

    Examples
    --------
    >>> pool_size(10_000, quantile=0.02, n_references=9)
    200
    """
    if not 0 < quantile <= 0.5:
        raise InputError("quantile out of range", found=quantile, wanted="above 0, at most 0.5")
    if n_references < 1:
        raise InputError("too few references", found=n_references, wanted="at least 1")
    size = math.ceil(n_images * quantile)
    if size <= n_references:
        raise NotEnoughDataError(
            "too few images for the tasks",
            found=f"{size} of {n_images} images in the quantile {quantile}",
            wanted=f"at least {n_references + 1} ({n_references} references and a query)",
            do=_enough(n_images, quantile=quantile, n_references=n_references),
        )
    if 2 * size > n_images:
        raise NotEnoughDataError(
            "too few images for two disjoint pools", found=n_images, wanted=f"{2 * size}"
        )
    return size


def _enough(n_images: int, *, quantile: float, n_references: int) -> str:
    """What would make the pools large enough."""
    images = math.floor(n_references / quantile) + 1
    share = math.ceil(1000 * (n_references + 1) / n_images) / 1000
    wider = f"a quantile of {share:g} or more, " if share <= 0.5 else ""
    return f"take {images:,} images or more, {wider}or fewer references"


def find_pools(
    activations: NDArray[Any], *, size: int, order: NDArray[np.int64], first_unit: int = 0
) -> Pools:
    """Find both ends of every unit, exactly, with ties broken by `order`.

    Parameters
    ----------
    activations : (images, U) float array
        Compared in float32.
    size : int
        Images kept on each side.
    order : (images,) int64
        A permutation: of two images with equal activation the one of lower order counts as the
        more extreme, at either end. A seeded shuffle keeps file order out of units that are
        mostly zero.
    first_unit : int
        Number of the first column, for messages.

    Raises
    ------
    InputError
        If an activation is NaN or infinite.
    """
    values = np.ascontiguousarray(activations.T, dtype=np.float32)
    low, high = values.min(axis=1), values.max(axis=1)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        unit, image = (int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise InputError(
            "activation is not finite",
            where=f"image {image}, unit {first_unit + unit}",
            found=values[unit, image],
            wanted="a finite number",
        )
    top, bottom = (np.empty((len(values), size), dtype=np.int64) for _ in range(2))
    for start in range(0, len(values), _UNITS_SORTED):
        part = slice(start, start + _UNITS_SORTED)
        keys = _sortable(values[part], order)
        bottom[part] = _smallest(keys, size)
        keys ^= _VALUE_BITS
        top[part] = _smallest(keys, size)
    image_of = np.empty(len(order), dtype=np.int64)
    image_of[order] = np.arange(len(order))
    top, bottom = image_of[top & _ORDER_BITS], image_of[bottom & _ORDER_BITS]
    row = np.arange(len(values))
    return Pools(
        top=top,
        bottom=bottom,
        reason=unscorable(
            spread=high.astype(np.float64) - low,
            largest=np.maximum(abs(high), abs(low)),
            top_edge=values[row, top[:, -1]],
            bottom_edge=values[row, bottom[:, -1]],
        ),
    )


def constant_below(largest: Any) -> Any:
    """Least span of activations that is more than the rounding of their size.

    Parameters
    ----------
    largest : float or array
        Largest absolute activation.

    Examples
    --------
    >>> float(constant_below(0.0)), float(constant_below(1.0)) > 9e-7
    (1e-08, True)
    """
    return np.maximum(CONSTANT_BELOW, _ROUNDING * np.abs(largest))


def unscorable(
    *,
    spread: NDArray[np.float64],
    largest: NDArray[Any],
    top_edge: NDArray[Any],
    bottom_edge: NDArray[Any],
) -> NDArray[np.object_]:
    """Why units cannot be scored, (U,) str, empty where they can.

    Parameters
    ----------
    spread : (U,) float64
        Largest minus smallest activation.
    largest : (U,) float
        Largest absolute activation; a span within its rounding is none.
    top_edge, bottom_edge : (U,) float
        Activation of the least extreme image of each pool. Where they are equal, one activation
        reaches from one pool into the other and does not say which image belongs where.
    """
    reason = np.full(len(spread), "", dtype=object)
    reason[top_edge <= bottom_edge] = "tied: one activation fills the edge of both pools"
    reason[spread < constant_below(largest)] = (
        f"constant: activations span less than {CONSTANT_BELOW:g}, or their rounding"
    )
    return reason


def _smallest(keys: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    keys.partition(size - 1, axis=1)
    return np.sort(keys[:, :size], axis=1)


def _sortable(values: NDArray[np.float32], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Distinct integers in the order of (value, order): the float's bits above, `order` below."""
    bits = (values + np.float32(0)).view(np.int32)  # adding 0 makes -0.0 equal to 0.0
    bits ^= (bits >> 31) & 0x7FFFFFFF
    keys: NDArray[np.int64] = np.left_shift(bits, 32, dtype=np.int64)
    keys |= order
    return keys


def draw_tasks(
    pools: Pools, *, n_tasks: int, n_references: int, seed: int, units: Sequence[str | int]
) -> Tasks:
    """Draw K + 1 images from each pool for every task, without replacement within a task.

    As in the public implementation, the least extreme image of a draw is the query and the other
    K are the references. Every unit has a random stream of its own, named by `units`, so that a
    unit's tasks do not depend on which other units are scored beside it.

    Parameters
    ----------
    pools : Pools
        Of U units.
    n_tasks, n_references : int
        N and K.
    seed : int
    units : (U,) str or int
        One for each unit, the same whenever the unit is scored again.
    """
    ranks = draw_ranks(
        pools.size, n_tasks=n_tasks, n_references=n_references, seed=seed, units=units
    )
    return tasks_at(pools, ranks)


def draw_ranks(
    size: int, *, n_tasks: int, n_references: int, seed: int, units: Sequence[str | int]
) -> NDArray[np.int64]:
    """Draw places in pools of a size, whose images need not be known yet.

    Parameters
    ----------
    size : int
        Images in a pool.
    n_tasks, n_references, seed, units
        As in `draw_tasks`.

    Returns
    -------
    (U, 2, N, K + 1) int64
        0 is the most extreme image; rising along the last axis; for the top, then the bottom pool.
    """
    if n_tasks < 1:
        raise InputError("too few tasks", found=n_tasks, wanted="at least 1")
    shape = 2, n_tasks, n_references + 1
    streams = b"".join(_stream(seed, unit, 4 * math.prod(shape)) for unit in units)
    uniform = np.frombuffer(streams, dtype="<u4").reshape(-1, *shape) * 2.0**-32
    return _subsets(uniform, size)


def _stream(seed: int, unit: str | int, length: int) -> bytes:
    """Random bytes of a seed's stream for one unit: SHAKE-128 (FIPS 202) of both names.

    The same for all versions of all packages, and in a third of the time of a new generator.
    """
    return hashlib.shake_128(f"{seed}/tasks/{unit}".encode()).digest(length)


def tasks_at(pools: Pools, ranks: NDArray[np.int64]) -> Tasks:
    """The tasks whose images stand at given places (see `draw_ranks`) of their pools."""
    rows = np.arange(len(pools))[:, None, None]
    return Tasks(positive=pools.top[rows, ranks[:, 0]], negative=pools.bottom[rows, ranks[:, 1]])


def _subsets(uniform: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    """Sorted subsets of ``range(size)`` along the last axis (Floyd, CACM 30(9), 1987)."""
    count = uniform.shape[-1]
    last = np.arange(size - count, size)
    chosen = np.moveaxis(uniform * (last + 1), -1, 0).astype(np.int64, order="C")
    for step in range(1, count):
        taken = (chosen[:step] == chosen[step]).any(axis=0)
        np.copyto(chosen[step], last[step], where=taken)
    return np.sort(np.moveaxis(chosen, 0, -1), axis=-1)
