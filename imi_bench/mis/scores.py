"""Machine interpretability score (MIS) of every unit, from embeddings and activations.

Source: Zimmermann, Klindt, Brendel, "Measuring Per-Unit Interpretability at Scale Without
Humans", NeurIPS 2024; task settings as in the public implementation klindtlab/MachInterp
(`query_explanation_generation`, `calc_MIS_set`), which this equals when given the same draws.

::

    find_pools or a streaming pass --> Pools --seed--> Tasks --begin_margins--> scores

Units are taken a block at a time; nothing larger than a block is held besides the inputs and the
result.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from imi_bench.arguments import checked_fields
from imi_bench.errors import InputError
from imi_bench.mis.margins import Embeddings, begin_margins, worker_threads
from imi_bench.networks.tasks import Pools, Tasks, draw_ranks, find_pools, pool_size, tasks_at
from imi_bench.plots import histogram
from imi_bench.provenance import generator
from imi_bench.results import Result
from imi_bench.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UNITS_AT_ONCE, _UNITS_A_THREAD = 200, 50


@checked_fields
@dataclass(frozen=True, eq=False, repr=False)
class MachineInterpretability(Result):
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
        if self.margin.ndim != 2:
            raise InputError("not margins", found=self.margin.shape, wanted="(units, tasks)")
        undefined = np.asarray(np.isnan(self.margin).any(axis=1))
        if self.reason.shape != undefined.shape or (undefined != (self.reason != "")).any():
            raise InputError(
                "margins and reasons disagree",
                found=f"{undefined.sum()} undefined units of {len(undefined)}",
                wanted="a reason for each of them and for no other",
            )

    def __len__(self) -> int:
        return len(self.margin)

    @property
    def title(self) -> str:
        """How many units were scored, over how many tasks."""
        scored = int((self.reason == "").sum())
        return (
            f"Machine interpretability: {scored} of {plural(len(self), 'unit')} scored over "
            f"{self.margin.shape[1]} tasks, slope {self.slope:g}"
        )

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw how the scores are spread over units."""
        return histogram(
            self.score,
            xlabel="machine interpretability score",
            ylabel="units",
            title=self.title,
            within=(0.0, 1.0),
            ax=ax,
        )

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
    embeddings : Any
        (images, dims) float array, numpy or torch
        One code an image, compared by cosine.
    activations : Any
        (images, units) float array, numpy or torch
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
    >>> result.score.round(1).tolist()  # by chance 0.5, give or take what 20 tasks leave open
    [1.0, 0.6]
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
    order = image_order(n_images)

    def found(units: range) -> Pools:
        columns = _numpy(activations[:, units.start : units.stop])
        return find_pools(columns, size=size, order=order, first_unit=units.start)

    def ranks(units: range) -> NDArray[np.int64]:
        return draw_ranks(size, n_tasks=n_tasks, n_references=n_references, seed=seed, units=units)

    with worker_threads(threads) as workers:
        table = Embeddings(embeddings, workers=workers)
        margins, reason = _margins(table, found, ranks, shape=(n_units, n_tasks))
    return MachineInterpretability(margins, slope, reason)


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
    embeddings : Any
        (images, dims) float array, numpy or torch.
    pools : Pools
        Of U units, over rows of `embeddings`.
    units : (U,) str or int
    n_tasks, n_references, slope, seed, threads
        As in `machine_interpretability_score`.
    """
    _check_slope(slope)

    def ranks(rows: range) -> NDArray[np.int64]:
        names = units[rows.start : rows.stop]
        return draw_ranks(
            pools.size, n_tasks=n_tasks, n_references=n_references, seed=seed, units=names
        )

    def kept(rows: range) -> Pools:
        return pools.part(slice(rows.start, rows.stop))

    with worker_threads(threads) as workers:
        table = Embeddings(embeddings, workers=workers)
        margins, reason = _margins(table, kept, ranks, shape=(len(pools), n_tasks))
    return MachineInterpretability(margins, slope, reason)


def score_tasks(embeddings: Any, tasks: Tasks, *, slope: float) -> MachineInterpretability:
    """Score given tasks, however they were drawn.

    Parameters
    ----------
    embeddings : Any
        (images, dims) float array, numpy or torch.
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
    with worker_threads(None) as workers:
        margins = begin_margins(Embeddings(embeddings, workers=workers), tasks)()
    return MachineInterpretability(margins, slope, np.full(len(margins), "", dtype=object))


def image_order(n_images: int) -> NDArray[np.int64]:
    """The shuffle that decides among images with equal activation (see `find_pools`).

    One for each number of images, whatever the seed: a pass that kept extremes in this order
    serves any number of draws.
    """
    return generator(0, "image order").permutation(n_images)


def _margins(
    embeddings: Embeddings,
    pools: Callable[[range], Pools],
    ranks: Callable[[range], NDArray[np.int64]],
    *,
    shape: tuple[int, int],
) -> tuple[NDArray[np.float64], NDArray[np.object_]]:
    """Margins of all units and why there are none, from what is given for a range of units."""
    margins, reason = np.full(shape, np.nan), np.full(shape[0], "", dtype=object)
    begun: deque[tuple[slice, Callable[[], NDArray[np.float64]]]] = deque()
    for start in range(0, shape[0], _UNITS_AT_ONCE):
        units = range(start, min(start + _UNITS_AT_ONCE, shape[0]))
        block = slice(units.start, units.stop)
        parts = [units[i : i + _UNITS_A_THREAD] for i in range(0, len(units), _UNITS_A_THREAD)]
        in_work = embeddings.workers.map(pools, parts)
        places = ranks(units)  # meanwhile
        found = Pools.joined(in_work)
        reason[block] = found.reason
        begun.append((block, begin_margins(embeddings, tasks_at(found, places))))
        if len(begun) > 1:  # one block is in work while the next is drawn
            ready, finish = begun.popleft()
            margins[ready] = finish()
    for ready, finish in begun:
        margins[ready] = finish()
    margins[reason != ""] = np.nan
    return margins, reason


def _check_slope(slope: float) -> None:
    if not (np.isfinite(slope) and slope > 0):
        raise InputError("slope out of range", found=slope, wanted="a positive number")


def _numpy(values: Any) -> NDArray[Any]:
    """A block as numpy floats: torch tensors come to the host, half floats become single."""
    if hasattr(values, "detach"):
        values = values.detach().float().cpu().numpy()
    array = np.asarray(values)
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)
