"""Natural trials of a unit, from the images that activate it most and least.

The paper's construction (Zimmermann, Klein, Brendel 2023; brendel-group/imi,
``stimuli_generation/extract_exemplars.py``), with B lists (ten batches and list 0 for catch
trials) and K references a side::

    activations, ascending   |q- window|  …  |          …          |  …  |q+ window|
    easy                      0 … B-1    then B … B(K+1)-1 are the references; mirrored above
    hardP                    the B images that end at percentile P (mirrored below); references
                             are the B K most extreme ones

At either end the references, from least to most extreme, and then the queries are cut into K + 1
bins of B images; each bin is shuffled and dealt, one image to every list. So all batches are
equally hard, and no image is shown twice. The catch trial's queries stand among its references.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imi_bench.arguments import checked_fields
from imi_bench.errors import InputError, NotEnoughDataError, UnknownNameError
from imi_bench.networks.activation_record import Activations
from imi_bench.networks.tasks import constant_below
from imi_bench.networks.units import Unit, check_units
from imi_bench.provenance import generator
from imi_bench.tables import DIFFICULTIES

CATCH_LIST = 0
Reading = Literal["paper", "script"]
READINGS: tuple[Reading, ...] = get_args(Reading)


@checked_fields
@dataclass(frozen=True)
class Design:
    """How many trials a unit gets, and how hard they are.

    Attributes
    ----------
    difficulty : str
        ``easy``, or ``hard99``, ``hard95``, ``hard85``: queries end at that percentile.
    batches : int
        Main trials a unit; one more list makes its catch trial.
    references : int
        Reference images a side.
    reading : {"paper", "script"}
        ``paper``: queries of easy trials are the most extreme images, as the paper says; hard
        ones end at floor(P N / 100). ``script``: as the published script has it, references are
        always the most extreme images, queries of easy trials stand next to them (at the upper
        end with one image between, which the script asks for there alone), and hard ones end at
        ceil(P N / 100).
    """

    difficulty: str = "easy"
    batches: int = 10
    references: int = 9
    reading: Reading = "paper"

    def __post_init__(self) -> None:
        UnknownNameError.unless_among(self.difficulty, DIFFICULTIES, kind="difficulty")
        UnknownNameError.unless_among(self.reading, READINGS, kind="design")
        for name in ("batches", "references"):
            if getattr(self, name) < 1:
                raise InputError(
                    f"{name} out of range", found=getattr(self, name), wanted="1 or more"
                )

    @property
    def lists(self) -> int:
        """Batches and the list for catch trials."""
        return self.batches + 1

    @property
    def percentile(self) -> int | None:
        """Where the queries end; None for easy trials."""
        return None if self.difficulty == "easy" else int(self.difficulty.removeprefix("hard"))

    @property
    def images_needed(self) -> int:
        """Fewest images with disjoint queries and references.

        Examples
        --------
        >>> Design().images_needed, Design("hard95").images_needed
        (220, 1980)
        """
        if self.percentile is None:
            between = 2 if self.reading == "script" else 0
            return 2 * self.lists * (self.references + 1) + between
        beyond, inside = 100 - self.percentile, 2 * self.percentile - 100
        return max(
            math.ceil(100 * self.lists * self.references / beyond),
            math.ceil(100 * 2 * self.lists / inside),
        )

    def stop(self, images: int, *, low: bool = False) -> int | None:
        """Where the queries end among ascending activations; None: at the last image.

        Parameters
        ----------
        images : int
            Number of images.
        low : bool
            Of the lower end: among descending activations.

        Examples
        --------
        >>> Design("hard95").stop(1_281_167), Design("hard95", reading="script").stop(1_281_167)
        (1217108, 1217109)
        """
        if self.percentile is None:
            references = self.lists * self.references
            return None if self.reading == "paper" else images - references - (not low)
        exact = self.percentile * images
        return exact // 100 if self.reading == "paper" else -(-exact // 100)

    def check(self, images: int) -> None:
        """Raise `NotEnoughDataError` if that many images are too few."""
        if images < self.images_needed:
            raise NotEnoughDataError(
                "too few images for the batches asked",
                where=f"{self.difficulty} trials",
                found=f"{images} images",
                wanted=f"{self.images_needed} for {self.batches} batches and one for catch trials "
                f"of {self.references} references a side",
                do="give more images, or ask for fewer batches or references",
            )


@dataclass(frozen=True, eq=False)
class Dealt:
    """Image numbers of a unit's trials.

    Attributes
    ----------
    high, low : (lists, references + 1) int64
        Row: a batch, row 0 for catch trials. Columns: references, the least extreme first; last
        the query.
    """

    high: NDArray[np.int64]
    low: NDArray[np.int64]

    def queries(self, batch: int) -> tuple[int, int]:
        """Numbers of q+ and q-: the last column, for catch trials the last reference."""
        column = -2 if batch == CATCH_LIST else -1
        return int(self.high[batch, column]), int(self.low[batch, column])


def deal_images(values: NDArray[np.floating], design: Design, *, rng: np.random.Generator) -> Dealt:
    """Choose and deal the images of one unit.

    Parameters
    ----------
    values : (N,) float
        The unit's activation on every image. Equal ones are ordered by chance: file names are
        often sorted by class.

    Raises
    ------
    NotEnoughDataError
        If N is too small for the design.

    Examples
    --------
    >>> dealt = deal_images(np.arange(8.0), Design(batches=1, references=1),
    ...                     rng=np.random.default_rng(0))
    >>> sorted(dealt.high[:, 0].tolist()), sorted(dealt.high[:, 1].tolist())
    ([4, 5], [6, 7])
    """
    count, lists, references = len(values), design.lists, design.lists * design.references
    design.check(count)
    ascending = np.lexsort((rng.permutation(count), values))
    ends = []
    for low, order in enumerate((ascending, ascending[::-1])):
        if (stop := design.stop(count, low=bool(low))) is None:
            pool = order[count - references - lists :]
        else:
            pool = np.concatenate([order[count - references :], order[stop - lists : stop]])
        bins = pool.reshape(design.references + 1, lists)
        ends.append(rng.permuted(bins, axis=1).T)
    return Dealt(*ends)


@dataclass(frozen=True)
class LeftOut:
    """A unit without trials, and why."""

    unit: Unit
    difficulty: str
    reason: str


@dataclass(frozen=True, eq=False)
class Exemplars:
    """The trials of some units, as image numbers.

    Attributes
    ----------
    network : str
    index : pandas.DataFrame
        One row a trial: network, layer, unit, mode, difficulty, batch, catch.
    high, low : (T, K + 1) int64
        Image numbers: references and query of either end.
    queries : (T, 2) int64
        Image numbers of q+ and q-.
    query_activations : (T, 2) float64
    left_out : tuple of LeftOut
        Constant units, and units whose queries have equal activations.
    """

    network: str
    index: pd.DataFrame
    high: NDArray[np.int64]
    low: NDArray[np.int64]
    queries: NDArray[np.int64]
    query_activations: NDArray[np.float64]
    left_out: tuple[LeftOut, ...]


def choose_exemplars(
    activations: Activations,
    *,
    units: Iterable[Unit] | None = None,
    designs: Sequence[Design] = (Design(),),
    catch: bool = True,
    seed: int = 0,
) -> Exemplars:
    """Choose the images of all trials of some units.

    Parameters
    ----------
    activations : Activations
    units : iterable of Unit, optional
        All sampled ones if None.
    designs : sequence of Design
        Same number of references in all.
    catch : bool
        Whether to build the catch trials.
    seed : int
        A unit's trials depend on the seed and the unit alone.

    Raises
    ------
    NotEnoughDataError
        Too few images for a design; no unit left.
    InputError
        A unit that was not sampled; designs of different numbers of references.
    """
    if len({design.references for design in designs}) != 1:
        raise InputError(
            "designs differ in their number of references",
            found=[design.references for design in designs],
            wanted="one number",
        )
    chosen = check_units(activations.layers, activations.sampled if units is None else units)
    index, high, low, queries, seen, left_out = [], [], [], [], [], []
    for unit in chosen:
        values = activations.of(unit).astype(np.float64)
        for design in designs:
            rng = generator(seed, "exemplars", activations.network, str(unit), design.difficulty)
            dealt = deal_images(values, design, rng=rng)
            if reason := _unusable(values, dealt):
                left_out.append(LeftOut(unit, design.difficulty, reason))
                continue
            for batch in range(0 if catch else 1, design.lists):
                index.append(
                    {
                        "network": activations.network,
                        "layer": unit.layer,
                        "unit": unit.channel,
                        "mode": "natural",
                        "difficulty": design.difficulty,
                        "batch": batch,
                        "catch": batch == CATCH_LIST,
                    }
                )
                high.append(dealt.high[batch])
                low.append(dealt.low[batch])
                queries.append(dealt.queries(batch))
                seen.append(values[list(queries[-1])])
    if not index:
        raise NotEnoughDataError(
            "no unit has trials",
            where=activations.network,
            found=f"{len(left_out)} left out",
            do=f"the first: {left_out[0].unit}, {left_out[0].reason}" if left_out else None,
        )
    return Exemplars(
        network=activations.network,
        index=pd.DataFrame(index),
        high=np.array(high),
        low=np.array(low),
        queries=np.array(queries),
        query_activations=np.array(seen),
        left_out=tuple(left_out),
    )


def _unusable(values: NDArray[np.float64], dealt: Dealt) -> str | None:
    limit = float(constant_below(np.abs(values).max()))
    if np.ptp(values) < limit:
        return f"constant: max - min = {np.ptp(values):.2g}, wanted {limit:.2g} or more"
    least, most = values[dealt.high[:, -1]].min(), values[dealt.low[:, -1]].max()
    if least - most < limit:
        return f"queries do not differ: q+ from {least:.4g}, q- to {most:.4g}"
    return None


def images_shown(exemplars: Exemplars) -> Iterator[int]:
    """Numbers of all images the trials show, each once, ascending."""
    parts = (exemplars.high, exemplars.low, exemplars.queries)
    yield from np.unique(np.concatenate([part.ravel() for part in parts])).tolist()
