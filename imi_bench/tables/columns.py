"""Columns of a table: their kinds, and copies nobody can change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imi_bench.arrays import Ints, Strings
from imi_bench.errors import InputError


def column(values: object, kind: type) -> NDArray[Any]:
    """A read-only copy of a kind; refused where the conversion would change a value."""
    array = np.asarray(values)
    if kind is str:
        column = np.array(list(map(str, array.tolist())), dtype=object)
    else:
        try:
            with np.errstate(invalid="ignore"):
                column = array.astype(kind)
            same = kind is np.float64 or np.array_equal(column, array)
        except (TypeError, ValueError):
            same = False
        if not same:
            raise InputError(
                "column of another type",
                found=f"{array.dtype}: {array.ravel()[:3].tolist()} …",
                wanted=kind.__name__,
            )
    column.setflags(write=False)
    return column


def codes(names: Strings) -> Ints:
    """Number each distinct name from 0, in sorted order: (n,) int64.

    Examples
    --------
    >>> codes(np.array(["b", "a", "b"], dtype=object)).tolist()
    [1, 0, 1]
    """
    return np.asarray(pd.factorize(names, sort=True)[0], dtype=np.int64)
