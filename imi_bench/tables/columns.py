"""Columns of a table: their kinds, and copies nobody can change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imi_bench.arrays import Ints, Strings
from imi_bench.errors import InputError
from imi_bench.text import torn


def column(values: object, kind: type) -> NDArray[Any]:
    """A read-only copy of a kind; refused where the conversion would change a value.

    A missing value is no text, and text must be whole (see `imi_bench.text.torn`).
    """
    array = np.asarray(values)
    if kind is str:
        column = _text(array)
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


def _text(array: NDArray[Any]) -> Strings:
    texts = list(map(str, array.tolist()))
    if (bad := torn(texts)) is not None:
        raise InputError(
            "text with a NUL or half a character", found=ascii(bad[:80]), wanted="whole text"
        )
    if (missing := pd.isna(array)).any():
        rows = np.flatnonzero(missing)
        raise InputError(
            "empty cells in a column of text",
            where=f"row {rows[0]} ({len(rows)} such rows)",
            found=texts[rows[0]],
            wanted="a name in each",
        )
    return np.array(texts, dtype=object)


def codes(names: Strings) -> Ints:
    """Number each distinct name from 0, in sorted order: (n,) int64.

    Examples
    --------
    >>> codes(np.array(["b", "a", "b"], dtype=object)).tolist()
    [1, 0, 1]
    """
    return np.asarray(pd.factorize(names, sort=True)[0], dtype=np.int64)
