"""Margins of 2-AFC tasks from embeddings compared by the cosine.

With unit-length embeddings the mean similarity to a set is a dot product with its mean, so that

    D(q+) - D(q-) = (mean_k e+_k - mean_k e-_k) . (q+ - q-)

A dot product is a sum over dimensions: a few columns of the embeddings at a time fit a
processor's cache, and all tasks draw their rows there, whereas whole rows would come from memory
as often as they are drawn. Threads take blocks of columns; sums are added up in a fixed order.
Of many images each is drawn hardly twice: then threads take some tasks each, and whole rows.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from imi_bench.errors import InputError
from imi_bench.extras import require
from imi_bench.networks.tasks import Tasks

if TYPE_CHECKING:
    from torch import Tensor

_TASKS_AT_ONCE = {"columns": 4000, "rows": 400}
_MANY_IMAGES = 2**15
_COLUMNS = 32, 128  # of a block: least, where a row costs more than its numbers, and most
_BLOCK_NUMBERS = 640_000  # of a block: 2.5 MB in single precision
_NORM_FLOOR = 1e-8  # as torch.nn.functional.cosine_similarity: a zero vector resembles nothing


class Embeddings:
    """Codes of images, one row each, and their inverse lengths.

    Parameters
    ----------
    values : Any
        (images, dims) array, numpy or torch, on any device
        Other than single and double floats are computed in single precision.
    workers : ThreadPoolExecutor
        Of `worker_threads`. Lengths are computed there from now on.

    Raises
    ------
    InputError
        No matrix; when lengths are asked for, also a row whose length is not finite.
    MissingExtraError
        Without torch.
    """

    def __init__(self, values: Any, *, workers: ThreadPoolExecutor) -> None:
        torch = require("torch", for_="the machine interpretability score")
        if values.ndim != 2:
            raise InputError(
                "embeddings are not a matrix", found=tuple(values.shape), wanted="(images, dims)"
            )
        self.values: Tensor = _tensor(values)
        self.workers = workers
        single = self.values.dtype != torch.float64
        self.dtype = torch.float32 if single else torch.float64
        step = max(1, 2**22 // max(1, self.values.shape[1]))

        def lengths(start: int) -> NDArray[Any]:
            rows = self.values[start : start + step].to("cpu", self.dtype).contiguous()
            found: NDArray[Any] = torch.linalg.vector_norm(rows, dim=1).numpy()
            return found

        self._lengths = workers.map(lengths, range(0, len(self.values), step))

    @cached_property
    def inverse_length(self) -> NDArray[Any]:
        """(images,) in the precision of the computation; of a vector of zeros 1e8."""
        lengths = np.concatenate([np.empty(0, np.float32), *self._lengths])
        if not np.isfinite(lengths).all():
            raise InputError(
                "embedding is not finite",
                where=f"image {int(np.flatnonzero(~np.isfinite(lengths))[0])}",
                wanted="finite numbers whose squares can be summed",
            )
        inverse: NDArray[Any] = 1 / np.maximum(lengths, lengths.dtype.type(_NORM_FLOOR))
        return inverse

    @property
    def by(self) -> Literal["columns", "rows"]:
        """What is shared among threads; depends on the number of images alone."""
        return "rows" if len(self.values) > _MANY_IMAGES else "columns"

    def column_blocks(self) -> list[slice]:
        """Blocks of columns that fit the cache; they depend on the shape alone."""
        if self.by == "rows":
            return [slice(None)]
        least, most = _COLUMNS
        width = _BLOCK_NUMBERS // max(1, len(self.values)) // least * least
        width = min(max(width, least), most)
        return [slice(start, start + width) for start in range(0, self.values.shape[1], width)]

    def used(self, drawn: NDArray[np.int64]) -> tuple[Tensor | None, NDArray[np.int32]]:
        """The images that are drawn, in order, and the place of each draw among them.

        None, and images themselves, where whole rows can be read where they are.
        """
        torch = require("torch", for_="the machine interpretability score")
        values = self.values
        as_they_are = values.dtype == self.dtype and values.is_contiguous() and values.is_cpu
        if self.by == "rows" and as_they_are:
            return None, drawn.astype(np.int32)
        in_use = np.zeros(len(values), dtype=bool)
        in_use[drawn] = True
        images = torch.from_numpy(np.flatnonzero(in_use)).to(values.device)
        return images, (np.cumsum(in_use, dtype=np.int32) - 1)[drawn]

    def block(self, used: Tensor | None, columns: slice) -> Tensor:
        """Some columns of the images that `used` has named, on the processor."""
        torch = require("torch", for_="the machine interpretability score")
        if used is None:
            return self.values
        rows: Tensor = torch.index_select(self.values[:, columns], 0, used)
        return rows.to("cpu", self.dtype)


def begin_margins(embeddings: Embeddings, tasks: Tasks) -> Callable[[], NDArray[np.float64]]:
    """Set the workers to D(q+) - D(q-) of every task.

    Parameters
    ----------
    embeddings : Embeddings
    tasks : Tasks
        Of U units, N each.

    Returns
    -------
    callable
        Waits for the margins and gives them: (U, N) float64, in units of cosine similarity, from
        -4 to 4. A task's margin does not depend on the tasks beside it.
    """
    n_units, n_tasks, drawn = tasks.positive.shape
    positive, negative = tasks.positive.reshape(-1, drawn), tasks.negative.reshape(-1, drawn)
    step = _TASKS_AT_ONCE[embeddings.by]
    parts = [slice(i, i + step) for i in range(0, len(positive), step)]
    begun = [_begin(embeddings, positive[part], negative[part]) for part in parts]

    def finish() -> NDArray[np.float64]:
        sums = [np.sum(list(products), axis=0, dtype=np.float64) for products in begun]
        return (np.concatenate(sums) / (drawn - 1)).reshape(n_units, n_tasks)

    return finish


def _begin(
    embeddings: Embeddings, positive: NDArray[np.int64], negative: NDArray[np.int64]
) -> Iterator[NDArray[Any]]:
    """Begin the products of each block of columns, (T,), of tasks whose last image is the query."""
    torch = require("torch", for_="the machine interpretability score")
    count, k = len(positive), positive.shape[1] - 1
    references = np.concatenate([positive[:, :k], negative[:, :k]], axis=1)
    queries = np.stack([positive[:, k], negative[:, k]], axis=1)
    drawn = np.concatenate([references.ravel(), queries.ravel()])
    weight = embeddings.inverse_length[drawn]
    weight[: references.size].reshape(count, 2, k)[:, 1] *= -1
    weight[references.size :].reshape(count, 2)[:, 1] *= -1
    first = np.concatenate(
        [np.arange(count) * 2 * k, references.size + np.arange(count) * 2]
    )  # of each bag's images: the references of all tasks, then their queries
    used, place = embeddings.used(drawn)
    bags = [torch.from_numpy(part) for part in (place, first.astype(np.int32), weight)]

    def products(columns: slice) -> NDArray[Any]:
        sums = torch.nn.functional.embedding_bag(
            bags[0],
            embeddings.block(used, columns),
            bags[1],
            mode="sum",
            per_sample_weights=bags[2],
        ).numpy()
        found: NDArray[Any] = np.einsum("td,td->t", sums[:count], sums[count:])
        return found

    return embeddings.workers.map(products, embeddings.column_blocks())


@contextmanager
def worker_threads(count: int | None) -> Iterator[ThreadPoolExecutor]:
    """Threads for independent pieces of work, in each of which torch takes one thread.

    Parameters
    ----------
    count : int, optional
        Default: one for each processor. Does not change a result.
    """
    torch = require("torch", for_="the machine interpretability score")
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(
            count or os.cpu_count() or 1, initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)  # setting it in a thread sets it for later threads too


def _tensor(values: Any) -> Tensor:
    torch = require("torch", for_="the machine interpretability score")
    if not torch.is_tensor(values):
        array = np.asarray(values)
        if array.dtype not in (np.float16, np.float32, np.float64):
            array = array.astype(np.float32)
        if min(array.strides, default=0) < 0 or not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="), order="C")
        with warnings.catch_warnings():  # of arrays that are read only: nothing is written here
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            values = torch.from_numpy(array)
    tensor: Tensor = values.detach()
    return tensor if tensor.is_floating_point() else tensor.float()
