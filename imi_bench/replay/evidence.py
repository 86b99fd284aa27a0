"""Why an observer chose as it did: how alike it finds each query and each reference.

Kept beside a run (``evidence.npz``) for observers that can say: those that compare codes of
images, and any with a method ``explain(trials, codes)`` that gives a `Compared`.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from imi_bench.arrays import Floats, Ints, Strings
from imi_bench.errors import InputError
from imi_bench.observers.pooling import Compared
from imi_bench.observers.protocol import Codes, Observer
from imi_bench.provenance import atomic_path
from imi_bench.replay.cache import Store
from imi_bench.replay.plan import Plan
from imi_bench.results import Record
from imi_bench.text import plural

__all__ = ["FILE", "Evidence", "gather", "read_evidence"]

FILE = "evidence.npz"
# Beyond, similarities of all trials would take more disk than they are worth: 8 MB an observer.
_MOST = 2_000_000
# Neighbours are looked for among all pairs of images.
_MOST_IMAGES = 4096
NEIGHBOURS = 4
_AT_ONCE = 4096


@dataclass(frozen=True, eq=False, repr=False)
class Evidence(Record):
    """Similarities behind decisions, in the order of the trials.

    Attributes
    ----------
    each : (T, 2, 2 * K) float32
        Of q+ and q- (axis 1) to the K positive and then the K negative references, in the
        observer's own unit; larger is more alike.
    pooled : (T, 2, 2) float32
        Of q+ and q- to the positive and to the negative references together. The evidence that a
        query activates the unit is the difference along the last axis.
    neighbours : (T, 2, N) int64
        Rows of `images`: those that the observer finds most like q+ and q-, the nearest first,
        among all images of the run but the query itself; N is 0 where not computed.
    images : (I,) str
        Content hashes.
    """

    each: NDArray[np.float32]
    pooled: NDArray[np.float32]
    neighbours: Ints
    images: Strings

    def write(self, folder: Path) -> None:
        """Write ``evidence.npz``."""
        with atomic_path(folder / FILE) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(
                stream,
                each=self.each,
                pooled=self.pooled,
                neighbours=self.neighbours,
                images=self.images.astype("S64"),
            )


def read_evidence(folder: Path, *, count: int) -> Evidence | None:
    """What a run of `count` trials left; None where the observer could not say.

    Raises
    ------
    InputError
        A file that is damaged or of other trials.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as held:
            names = held["images"].astype(str).astype(object)
            found = Evidence(held["each"], held["pooled"], held["neighbours"], names)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError("evidence cannot be read", where=path, found=error) from error
    if len(found.each) != count:
        raise InputError(
            "evidence of other trials",
            where=path,
            found=len(found.each),
            wanted=plural(count, "trial"),
        )
    return found


def gather(observer: Observer, plan: Plan, codes: Store | None) -> tuple[Evidence | None, str]:
    """Ask an observer that can say for the similarities behind its answers.

    Parameters
    ----------
    observer : Observer
    plan : Plan
    codes : Store or None
        As in `imi_bench.replay.answers.decide_all`.

    Returns
    -------
    Evidence or None
    str
        Why there is none; else the name of its file.
    """
    if not callable(getattr(observer, "explain", None)):
        return None, "the observer compares no images one by one"
    if 4 * plan.trials.positive.size > _MOST:
        return None, f"more than {_MOST:,} similarities"
    if codes is not None and not codes.known.all():
        return None, "an image could not be encoded"
    try:
        with threadpool_limits(limits=1):  # sums in one order, whatever the machine
            return _gathered(observer, plan, codes), FILE
    except Exception as error:  # the answers stand; only their explanation is missing
        return None, f"explain: {type(error).__name__}: {error}"


def _gathered(observer: Any, plan: Plan, codes: Store | None) -> Evidence:
    trials, key = plan.trials, plan.key
    count, references = trials.positive.shape
    each = np.empty((count, 2, 2 * references), dtype=np.float32)
    pooled = np.empty((count, 2, 2), dtype=np.float32)
    for start in range(0, count, _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, count))
        used, some = plan.shown(rows)
        found: Compared = observer.explain(some, None if codes is None else codes.take(used))
        each[rows], pooled[rows] = found.each, found.pooled
    # sides were shuffled for the observer: column 0 is q+ from here on
    swapped = ~key.first_is_positive
    each[swapped], pooled[swapped] = each[swapped, ::-1], pooled[swapped, ::-1]
    queries = np.where(swapped[:, None], trials.queries[:, ::-1], trials.queries)
    nearest = _neighbours(observer, plan, codes, queries)
    return Evidence(each, pooled, nearest, plan.images.hashes)


def _neighbours(observer: Observer, plan: Plan, codes: Store | None, queries: Ints) -> Ints:
    """(T, 2, N) rows of the plan's images."""
    alike = getattr(observer, "alike", None)
    count = len(plan.images)
    if codes is None or not callable(alike) or not NEIGHBOURS < count <= _MOST_IMAGES:
        return np.zeros((*queries.shape, 0), dtype=np.int64)
    asked, place = np.unique(queries, return_inverse=True)
    every: Codes = codes.take(np.arange(count))
    matrix: Floats = np.asarray(alike(every[asked], every), dtype=np.float64)
    matrix[np.arange(len(asked)), asked] = -np.inf
    matrix = np.where(np.isnan(matrix), -np.inf, matrix)
    nearest = np.argsort(-matrix, axis=1, kind="stable")[:, :NEIGHBOURS]
    return np.asarray(nearest[place.reshape(queries.shape)])
