"""The one join: which row of one table belongs to a trial of another, and which images are used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from imi_bench.arrays import Ints
from imi_bench.errors import InputError


def rows_of(wanted: ArrayLike | pd.Series[Any], *, among: ArrayLike | pd.Series[Any]) -> Ints:
    """Row of each wanted trial id among others.

    Parameters
    ----------
    wanted : (n,) array_like of str
        Trial ids; repeats are fine, as people answer a trial many times.
    among : (m,) array_like of str
        Trial ids of the table to look in, each once.

    Returns
    -------
    (n,) int64
        Rows in 0..m-1; -1 where there is none, which the caller says or refuses.

    Raises
    ------
    InputError
        If an id stands twice among those to look in.

    Examples
    --------
    >>> rows_of(["b", "c", "b"], among=["a", "b"]).tolist()
    [1, -1, 1]
    """
    known = pd.Index(np.asarray(among, dtype=object), dtype=object)
    if not known.is_unique:
        twice = known[known.duplicated()][0]
        raise InputError("trial twice in a table", found=repr(twice), wanted="each trial once")
    rows = known.get_indexer(pd.Index(np.asarray(wanted, dtype=object), dtype=object))
    return np.asarray(rows, dtype=np.int64)


def in_use(*parts: Ints) -> tuple[Ints, tuple[Ints, ...]]:
    """Keep only the images that trials show.

    Parameters
    ----------
    *parts : ndarray of int64
        Rows of images, of any shape.

    Returns
    -------
    used : (k,) int64
        The rows that occur, rising.
    renumbered : tuple of int64
        The parts with positions in `used` instead of rows.

    Examples
    --------
    >>> used, (a, b) = in_use(np.array([[7, 3]]), np.array([3, 9]))
    >>> used.tolist(), a.tolist(), b.tolist()
    ([3, 7, 9], [[1, 0]], [0, 2])
    """
    used = np.unique(np.concatenate([part.ravel() for part in parts]))
    return used, tuple(np.searchsorted(used, part).astype(np.int64) for part in parts)
