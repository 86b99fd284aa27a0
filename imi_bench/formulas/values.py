"""What an expression has for each row: numbers, truth values or the levels of a factor."""

from __future__ import annotations

import numbers
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from imi_bench.arrays import Array, Floats, Indices
from imi_bench.errors import ModelError
from imi_bench.formulas.syntax import number_label
from imi_bench.text import torn

__all__ = [
    "Factor",
    "Numbers",
    "Value",
    "column_value",
    "factor_of",
    "level_label",
    "require_whole",
]


@dataclass(frozen=True, eq=False)
class Numbers:
    """Numbers, one or several for each row.

    Attributes
    ----------
    values : (n,) float64
        Or (n, k); NaN where missing.
    labels : tuple of str, optional
        Name of each column, or None.
    logical : bool
        Whether they are truth values, 0 and 1, which a model takes for a factor.
    """

    values: Floats
    labels: tuple[str, ...] | None = None
    logical: bool = False


@dataclass(frozen=True, eq=False)
class Factor:
    """A level for each row.

    Attributes
    ----------
    codes : (n,) intp
        -1 where missing.
    levels : tuple of str
        Labels in order.
    ordered : bool
        Polynomial contrasts instead of treatment contrasts, unless others are named.
    contrasts : str, optional
        ``treatment``, ``sum``, ``helmert``, ``poly``, or None for R's default.
    """

    codes: Indices
    levels: tuple[str, ...]
    ordered: bool = False
    contrasts: str | None = None


Value = Numbers | Factor


def level_label(value: Any) -> str:
    """Write a level as R's ``as.character`` does.

    Examples
    --------
    >>> level_label(2.0), level_label(True), level_label("b")
    ('2', 'TRUE', 'b')
    """
    if isinstance(value, bool | np.bool_):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return number_label(float(value))
    return str(value)


def column_value(column: pd.Series[Any]) -> Value:
    """Take a column of a table as R would: categories and text are factors, numbers are double.

    Raises
    ------
    ModelError
        If the column holds dates, complex numbers or other things.

    Examples
    --------
    >>> column_value(pd.Series(["b", "a", None])).levels
    ('a', 'b')
    """
    kind = column.dtype
    if isinstance(kind, pd.CategoricalDtype):
        return Factor(
            np.asarray(column.cat.codes, dtype=np.intp),
            tuple(level_label(level) for level in kind.categories),
            bool(kind.ordered),
        )
    if pd.api.types.is_bool_dtype(kind):
        return Numbers(column.to_numpy(np.float64, na_value=np.nan), logical=True)
    if pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind):
        return Numbers(column.to_numpy(np.float64, na_value=np.nan))
    if pd.api.types.is_object_dtype(kind) or pd.api.types.is_string_dtype(kind):
        return _mixed(column)
    raise ModelError(
        "neither numbers nor labels",
        where=str(column.name),
        found=str(kind),
        do="convert the column to numbers first",
    )


def require_whole(column: pd.Series[Any]) -> None:
    """Refuse labels that pandas would take for one another; see `imi_bench.text.torn`.

    Raises
    ------
    ModelError
        If there is one.
    """
    labels = column.cat.categories if isinstance(column.dtype, pd.CategoricalDtype) else column
    if (bad := torn(labels.to_numpy(dtype=object))) is not None:
        raise ModelError(
            "a label with a NUL or half a character",
            where=str(column.name),
            found=ascii(bad[:80]),
            wanted="whole text",
        )


def _mixed(column: pd.Series[Any]) -> Value:
    """Text, or Python objects: numbers where all are numbers, else labels."""
    require_whole(column)
    missing = column.isna().to_numpy()
    codes, found = pd.factorize(column)
    present = list(found)
    if present and all(isinstance(one, bool | np.bool_) for one in present):
        table, logical = [float(one) for one in present], True
    elif present and all(isinstance(one, numbers.Real | Decimal) for one in present):
        table, logical = [float(one) for one in present], False
    else:
        labels, back = np.unique([level_label(one) for one in present], return_inverse=True)
        places = np.append(back.ravel(), -1)[codes].astype(np.intp)
        return Factor(places, tuple(labels.tolist()))
    values = np.append(np.asarray(table, dtype=float), np.nan)[codes]
    values[missing] = np.nan
    return Numbers(values, logical=logical)


def factor_of(value: Value, *, where: str) -> Factor:
    """Make a factor: levels of numbers are their values in order, as R's ``factor`` has them."""
    if isinstance(value, Factor):
        return used_levels(value)
    if value.values.ndim != 1:
        raise ModelError("a matrix is no factor", where=where)
    if value.logical:
        codes = np.where(np.isnan(value.values), -1, value.values).astype(np.intp)
        return used_levels(Factor(codes, ("FALSE", "TRUE")))
    present, back = np.unique(value.values, return_inverse=True)
    known = int((~np.isnan(present)).sum())
    codes = np.where(back.ravel() < known, back.ravel(), -1).astype(np.intp)
    return Factor(codes, tuple(number_label(float(one)) for one in present[:known]))


def used_levels(factor: Factor) -> Factor:
    """Drop the levels that no row has."""
    counts = np.bincount(factor.codes[factor.codes >= 0], minlength=len(factor.levels))
    if counts.all():
        return factor
    kept = np.flatnonzero(counts)
    return recoded(factor, tuple(factor.levels[k] for k in kept))


def recoded(factor: Factor, levels: tuple[str, ...]) -> Factor:
    """Give a factor other levels, in their order; what is not among them becomes missing."""
    place = {level: index for index, level in enumerate(levels)}
    table: Array = np.array([*(place.get(level, -1) for level in factor.levels), -1], dtype=np.intp)
    return replace(factor, codes=table[factor.codes], levels=levels)
