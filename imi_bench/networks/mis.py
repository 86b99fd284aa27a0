"""Machine interpretability score (MIS) of every unit, from embeddings and activations.

Source: Zimmermann, Klindt, Brendel, "Measuring Per-Unit Interpretability at Scale Without
Humans", NeurIPS 2024; task settings as in the public implementation klindtlab/MachInterp
(`query_explanation_generation`, `calc_MIS_set`), which this equals when given the same draws.

With unit-length embeddings the mean similarity to a set is a dot product with its mean, so that

    D(q+) - D(q-) = (mean_k e+_k - mean_k e-_k) . (q+ - q-)

and all tasks of a block of units are two sparse matrices (tasks x images, 2K and 2 entries a row)
times the embeddings. Nothing larger than a block is held besides the inputs and the result.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import expit

from imi_bench.errors import InputError
from imi_bench.networks.tasks import (
    Pools,
    Tasks,
    draw_tasks,
    find_pools,
    pool_size,
)
from imi_bench.provenance import generator

Block = TypeVar("Block")
_UNITS_PER_BLOCK = 50
_TASKS_PER_PRODUCT = 400
_NORM_FLOOR = 1e-8  # as torch.nn.functional.cosine_similarity: a zero vector resembles nothing


@dataclass(frozen=True, eq=False)
class MachineInterpretability:
    """How well an embedding tells the ends of U units apart, over N tasks each.

    Attributes
    ----------
    margin : (U, N) float64
        D(q+) - D(q-) of every task, a difference of cosine similarities in [-4, 4]; positive
        where the embedding would answer rightly. NaN in the rows of units that are not scored.
    slope : float
        Of the logistic function from margin to probability, in 1 / similarity.
    reason : (U,) str
        Why a unit is not scored; empty for scored units.

    Raises
    ------
    InputError
        If the shapes disagree, or a margin is NaN without a reason.
    """

    margin: NDArray[np.float64]
    slope: float
    reason: NDArray[np.object_]

    def __post_init__(self) -> None:
        undefined = np.asarray(np.isnan(self.margin).any(axis=1))
        if self.reason.shape != undefined.shape or (undefined != (self.reason != "")).any():
            raise InputError(
                "margins and reasons disagree",
                found=f"{undefined.sum()} undefined units of {len(undefined)}",
                wanted="a reason for each of them and for no other",
            )

    def __len__(self) -> int:
        return len(self.margin)

    @cached_property
    def probability(self) -> NDArray[np.float64]:
        """(U, N) ``sigmoid(slope * margin)``: the chance of a right answer in each task."""
        values: NDArray[np.float64] = expit(self.slope * self.margin)
        return values

    @cached_property
    def score(self) -> NDArray[np.float64]:
        """(U,) the MIS: mean probability over tasks, in [0, 1]; chance is one half."""
        means: NDArray[np.float64] = self.probability.mean(axis=1)
        return means

    @cached_property
    def standard_error(self) -> NDArray[np.float64]:
        """(U,) standard error of `score` over the draw of tasks, the images being given.

        NaN with a single task, which has no spread.
        """
        n_tasks = self.margin.shape[1]
        if n_tasks == 1:
            return np.full(len(self), np.nan)
        errors: NDArray[np.float64] = self.probability.std(axis=1, ddof=1) / np.sqrt(n_tasks)
        return errors

    @cached_property
    def hard_score(self) -> NDArray[np.float64]:
        """(U,) share of tasks answered rightly; a margin of exactly 0 counts one half."""
        shares: NDArray[np.float64] = np.heaviside(self.margin, 0.5).mean(axis=1)
        return shares

    def to_frame(self) -> pd.DataFrame:
        """One row a unit: score, standard_error, hard_score, n_tasks, reason."""
        return pd.DataFrame(
            {
                "score": self.score,
                "standard_error": self.standard_error,
                "hard_score": self.hard_score,
                "n_tasks": np.where(self.reason == "", self.margin.shape[1], 0),
                "reason": self.reason.astype(str),
            }
        )


def machine_interpretability_score(
    embeddings: Any,
    activations: Any,
    *,
    n_tasks: int = 20,
    n_references: int = 9,
    quantile: float = 0.02,
    slope: float,
    seed: int,
    threads: int | None = None,
) -> MachineInterpretability:
    """Score every unit from a matrix of embeddings and a matrix of activations.

    Parameters
    ----------
    embeddings : (images, dims) float array, numpy or torch
        One code an image, compared by cosine.
    activations : (images, units) float array, numpy or torch
        In the same order of images.
    n_tasks : int
        Tasks a unit, N.
    n_references : int
        References on each side of a task, K.
    quantile : float
        Share of the images at each end that tasks are drawn from.
    slope : float
        Of the logistic function; belongs to the embedding (0.16 was used with DreamSim).
    seed : int
        Of the draws.
    threads : int, optional
        Default: one for each processor. Does not change the result.

    Returns
    -------
    MachineInterpretability
        NaN with a reason for units whose activations span less than 1e-8, or whose pools share
        one activation at their edges.

    Raises
    ------
    InputError
        NaN or infinite inputs, or arrays that do not fit together.
    NotEnoughDataError
        Too few images for the tasks.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> codes = rng.standard_normal((500, 8))
    >>> seen, unseen = codes[:, 0], rng.standard_normal(500)
    >>> result = machine_interpretability_score(
    ...     codes, np.stack([seen, unseen], axis=1), quantile=0.05, slope=5.0, seed=1)
    >>> result.score.round(1).tolist()
    [1.0, 0.5]
    """
    _check_slope(slope)
    if len(embeddings) != len(activations) or activations.ndim != 2:
        raise InputError(
            "embeddings and activations do not fit together",
            found=f"{tuple(embeddings.shape)} and {tuple(activations.shape)}",
            wanted="(images, dims) and (images, units) with as many images",
        )
    n_images, n_units = activations.shape
    size = pool_size(n_images, quantile=quantile, n_references=n_references)
    table = _Embeddings(embeddings, threads=threads)
    order = image_order(n_images)

    def block(start: int) -> MachineInterpretability:
        units = range(start, min(start + _UNITS_PER_BLOCK, n_units))
        columns = _numpy(activations[:, units.start : units.stop])
        pools = find_pools(columns, size=size, order=order, first_unit=start)
        tasks = draw_tasks(
            pools, n_tasks=n_tasks, n_references=n_references, seed=seed, units=units
        )
        return _scored(table, pools, tasks, slope)

    return _joined(_in_threads(block, range(0, n_units, _UNITS_PER_BLOCK), threads), n_tasks, slope)


def score_pools(
    embeddings: Any,
    pools: Pools,
    *,
    units: Sequence[str | int],
    n_tasks: int = 20,
    n_references: int = 9,
    slope: float,
    seed: int,
    threads: int | None = None,
) -> MachineInterpretability:
    """Score units whose extremes were kept by a streaming pass over the images.

    Equals `machine_interpretability_score` where the pools are those of `find_pools` and `units`
    are the column numbers; with names in their place a unit keeps its tasks in any shard.

    Parameters
    ----------
    embeddings : (images, dims) float array, numpy or torch
    pools : Pools
        Of U units, over rows of `embeddings`.
    units : (U,) names or numbers
    n_tasks, n_references, slope, seed, threads
        As in `machine_interpretability_score`.
    """
    _check_slope(slope)
    table = _Embeddings(embeddings, threads=threads)

    def block(start: int) -> MachineInterpretability:
        rows = slice(start, start + _UNITS_PER_BLOCK)
        some = pools.part(rows)
        tasks = draw_tasks(
            some, n_tasks=n_tasks, n_references=n_references, seed=seed, units=units[rows]
        )
        return _scored(table, some, tasks, slope)

    starts = range(0, len(pools), _UNITS_PER_BLOCK)
    return _joined(_in_threads(block, starts, threads), n_tasks, slope)


def score_tasks(embeddings: Any, tasks: Tasks, *, slope: float) -> MachineInterpretability:
    """Score given tasks, however they were drawn.

    Parameters
    ----------
    embeddings : (images, dims) float array, numpy or torch
    tasks : Tasks
        Of U units.
    slope : float

    Examples
    --------
    One task in the plane: references along the axes, each query on its own side.

    >>> codes = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    >>> task = Tasks(np.array([[[0, 1]]]), np.array([[[2, 3]]]))
    >>> score_tasks(codes, task, slope=1.0).margin.tolist()
    [[2.0]]
    """
    _check_slope(slope)
    margins = _margins(_Embeddings(embeddings), tasks)
    return MachineInterpretability(margins, slope, np.full(len(margins), "", dtype=object))


def image_order(n_images: int) -> NDArray[np.int64]:
    """The shuffle that decides among images with equal activation (see `find_pools`).

    One for each number of images, whatever the seed: a pass that kept extremes in this order
    serves any number of draws.
    """
    return generator(0, "image order").permutation(n_images)


class _Embeddings:
    """Rows of an embedding matrix in any dtype, on any device, with their inverse lengths."""

    def __init__(self, values: Any, *, threads: int | None = 1) -> None:
        if values.ndim != 2:
            raise InputError(
                "embeddings are not a matrix", found=tuple(values.shape), wanted="(images, dims)"
            )
        self._values = values
        self._in_place = (
            isinstance(values, np.ndarray)
            and values.dtype in (np.float32, np.float64)
            and values.flags.c_contiguous
        )
        step = max(1, 2**20 // max(1, values.shape[1]))

        def squares(start: int) -> NDArray[Any]:
            rows = np.ascontiguousarray(_numpy(values[start : start + step]))
            sums: NDArray[Any] = np.einsum("id,id->i", rows, rows)
            return sums

        blocks = _in_threads(squares, range(0, len(values), step), threads)
        lengths = np.sqrt(np.concatenate(blocks)) if blocks else np.empty(0, np.float32)
        if not np.isfinite(lengths).all():
            raise InputError(
                "embedding is not finite",
                where=f"image {int(np.flatnonzero(~np.isfinite(lengths))[0])}",
                wanted="finite numbers whose squares can be summed",
            )
        self.inverse_length = 1 / np.maximum(lengths, lengths.dtype.type(_NORM_FLOOR))

    def rows(self, drawn: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """A matrix that holds the drawn images, and the row in it of each entry of `drawn`."""
        if self._in_place:
            return self._values, drawn
        needed, rows = np.unique(drawn, return_inverse=True)
        return np.ascontiguousarray(_numpy(self._values[needed])), rows.reshape(drawn.shape)


def _margins(table: _Embeddings, tasks: Tasks) -> NDArray[np.float64]:
    """D(q+) - D(q-) of every task, (U, N)."""
    n_units, n_tasks, drawn = tasks.positive.shape
    positive, negative = tasks.positive.reshape(-1, drawn), tasks.negative.reshape(-1, drawn)
    margins = np.empty(len(positive))
    for start in range(0, len(positive), _TASKS_PER_PRODUCT):
        part = slice(start, start + _TASKS_PER_PRODUCT)
        margins[part] = _products(table, positive[part], negative[part])
    return margins.reshape(n_units, n_tasks)


def _products(
    table: _Embeddings, positive: NDArray[np.int64], negative: NDArray[np.int64]
) -> NDArray[Any]:
    """Margins of tasks, (T,): the sums over references and queries from one sparse product."""
    count, k = len(positive), positive.shape[1] - 1
    references = np.concatenate([positive[:, :k], negative[:, :k]], axis=1)
    queries = np.stack([positive[:, k], negative[:, k]], axis=1)
    drawn = np.concatenate([references.ravel(), queries.ravel()])
    sign = np.concatenate([np.tile(np.repeat([1, -1], k), count), np.tile([1, -1], count)])
    first = np.concatenate(
        [np.arange(count) * 2 * k, references.size + np.arange(count + 1) * 2]
    )  # of each row's entries
    matrix, rows = table.rows(drawn)
    weight = (table.inverse_length[drawn] * sign).astype(matrix.dtype)
    sums = csr_array((weight, rows, first), shape=(2 * count, len(matrix))) @ matrix
    margins: NDArray[Any] = np.einsum("td,td->t", sums[:count], sums[count:]) / k
    return margins


def _scored(
    table: _Embeddings, pools: Pools, tasks: Tasks, slope: float
) -> MachineInterpretability:
    margins = _margins(table, tasks)
    margins[pools.reason != ""] = np.nan
    return MachineInterpretability(margins, slope, pools.reason)


def _check_slope(slope: float) -> None:
    if not (np.isfinite(slope) and slope > 0):
        raise InputError("slope out of range", found=slope, wanted="a positive number")


def _in_threads(
    block: Callable[[int], Block], starts: Sequence[int], threads: int | None
) -> list[Block]:
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        return list(pool.map(block, starts))


def _joined(
    blocks: Sequence[MachineInterpretability], n_tasks: int, slope: float
) -> MachineInterpretability:
    margins = [np.empty((0, n_tasks)), *(block.margin for block in blocks)]
    reasons = [np.empty(0, dtype=object), *(block.reason for block in blocks)]
    return MachineInterpretability(np.concatenate(margins), slope, np.concatenate(reasons))


def _numpy(values: Any) -> NDArray[Any]:
    """A block as numpy floats: torch tensors come to the host, half floats become single."""
    if hasattr(values, "detach"):
        values = values.detach().float().cpu().numpy()
    array = np.asarray(values)
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)
