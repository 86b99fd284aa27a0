"""Columns of a table: their kinds, and copies nobody can change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imi_bench.arrays import Ints, Strings
from imi_bench.errors import InputError, UnknownNameError
from imi_bench.results import Result
from imi_bench.text import padded_twins, plural, torn

_TRUTH = {"boolean", "integer", "floating", "mixed-integer-float", "empty"}
_NUMBERS: dict[type, set[str]] = {
    np.bool_: _TRUTH,
    np.int64: _TRUTH - {"boolean"},
    np.float64: _TRUTH | {"decimal", "string"},
}
_NO_TEXT = ("bytes", "complex", "date", "interval", "period", "time")


def column(values: object, kind: type, *, name: str | None = None) -> NDArray[Any]:
    """A read-only copy of a kind; refused where the conversion would change a value.

    Times are no numbers, nor text: their unit is that of the library's version. A missing value is
    NaN among numbers and no text; text must be whole (see `imi_bench.text.torn`), and spaces around
    it are no difference between two names.
    """
    try:
        array = np.asarray(values)
    except ValueError as error:  # rows of several lengths
        raise InputError("not a column", where=name, found=error, wanted="a value a row") from error
    if not array.ndim or (kind is str and array.ndim != 1):
        found = f"{type(values).__name__} {array.shape}"
        raise InputError("not a column", where=name, found=found, wanted="a value a row")
    inferred = pd.api.types.infer_dtype(array.ravel(), skipna=True)
    fits = not inferred.startswith(_NO_TEXT) if kind is str else inferred in _NUMBERS[kind]
    if not fits:
        raise _another_type(array, kind, name)
    column = _text(array, name) if kind is str else _numbers(array, kind, name)
    column.setflags(write=False)
    return column


def having(values: NDArray[Any], wanted: Iterable[object], *, kind: str) -> NDArray[np.bool_]:
    """Which values are among those wanted, as they are written: "8" is 8, and so is 8.0.

    Raises
    ------
    UnknownNameError
        For what none of the values is; of no values at all, nothing is asked.

    Examples
    --------
    >>> having(np.array([7, 8, 8]), ["8"], kind="unit").tolist()
    [False, True, True]
    """
    known, place = np.unique(values, return_inverse=True)
    names = [_written(value, values.dtype.kind) for value in known]
    asked = [_written(value, values.dtype.kind) for value in wanted]
    for name in asked if len(values) else ():
        UnknownNameError.unless_among(name, names, kind=kind)
    return np.isin(place, [row for row, name in enumerate(names) if name in set(asked)])


def whole_units(table: pd.DataFrame) -> pd.DataFrame:
    """A table of layers or units, whose `unit` is the whole number that is written there.

    Raises
    ------
    InputError
        A unit that is no whole number.

    Examples
    --------
    >>> whole_units(pd.DataFrame({"layer": ["conv1"], "unit": ["8"]}))["unit"].tolist()
    [8]
    """
    if "unit" not in table or pd.api.types.is_integer_dtype(table["unit"]):
        return table
    numbers = pd.to_numeric(table["unit"].astype(object), errors="coerce")
    for row in np.flatnonzero(~(numbers % 1 == 0))[:1]:
        found = repr(table["unit"].tolist()[row])
        raise InputError("bad unit", where=f"row {row}", found=found, wanted="a whole number")
    return table.assign(unit=numbers.astype(np.int64))


def _written(value: object, kind: str) -> str:
    """A value as a column of this kind of numpy's writes it; another as it is."""
    text = str(value)
    if kind == "b":
        return {"1": "True", "0": "False"}.get(text, text.capitalize())
    try:
        return str(int(float(text))) if kind == "i" and float(text).is_integer() else text
    except ValueError:
        return text


def _another_type(array: NDArray[Any], kind: type, name: str | None) -> InputError:
    return InputError(
        "column of another type",
        where=name,
        found=f"{array.dtype}: {array[:3].tolist()} …",
        wanted=np.dtype(kind).name,
    )


def _numbers(array: NDArray[Any], kind: type, name: str | None) -> NDArray[Any]:
    if kind is np.float64 and array.dtype == object:
        array = np.where(pd.isna(array), np.nan, array)
    try:
        with np.errstate(invalid="ignore"):
            column: NDArray[Any] = array.astype(kind)
        same = kind is np.float64 or np.array_equal(column, array)
    except (OverflowError, TypeError, ValueError):
        same = False
    if not same:
        raise _another_type(array, kind, name)
    return column


def _text(array: NDArray[Any], name: str | None) -> Strings:
    texts = list(map(str, array.tolist()))
    if (bad := torn(texts)) is not None:
        raise InputError(
            "text with a NUL or half a character", found=ascii(bad[:80]), wanted="whole text"
        )
    if (missing := pd.isna(array)).any():
        rows = np.flatnonzero(missing)
        raise InputError(
            "empty cells in a column of text",
            where=f"{name or 'column'}, row {rows[0]} ({plural(len(rows), 'such row')})",
            found=texts[rows[0]],
            wanted="a name in each",
        )
    if (twins := padded_twins(texts)) is not None:
        raise InputError(
            "names that only spaces tell apart",
            where=name or "column",
            found=" and ".join(map(repr, twins)),
            wanted="one name",
            do="take the spaces off",
        )
    return np.array(texts, dtype=object)


class Columns(Result):
    """A frozen dataclass whose fields of text, numbers and truth values are columns of a table.

    Each column has one kind and cannot be changed; all have one length.
    """

    _KINDS: ClassVar[Mapping[str, type]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        kinds = {"Strings": str, "Ints": np.int64, "Bools": np.bool_, "Floats": np.float64}
        cls._KINDS = {n: kinds[kind] for n, kind in cls.__annotations__.items() if kind in kinds}

    def _settle(self, *, where: str, error: type[InputError] = InputError) -> None:
        """Give each column its kind; refuse columns of unequal length."""
        for name, kind in self._KINDS.items():
            object.__setattr__(self, name, column(getattr(self, name), kind, name=name))
        lengths = {name: len(getattr(self, name)) for name in self._KINDS}
        if len(set(lengths.values())) != 1:
            raise error("columns of unequal length", where=where, found=lengths)

    def __len__(self) -> int:
        return len(getattr(self, next(iter(self._KINDS))))

    def to_frame(self) -> pd.DataFrame:
        """The columns, one row an entry."""
        return pd.DataFrame({name: getattr(self, name) for name in self._KINDS})


def require_columns(
    frame: pd.DataFrame,
    names: Iterable[str],
    *,
    where: object,
    error: type[InputError] = InputError,
    do: str | None = None,
) -> None:
    """Refuse a table that lacks a column or has two of its name.

    Raises
    ------
    InputError
        Or the kind of it that was asked for.

    Examples
    --------
    >>> require_columns(pd.DataFrame({"a": [1]}), ["a"], where="here")
    """
    names, present = list(dict.fromkeys(names)), list(map(str, frame.columns))
    if missing := [name for name in names if name not in present]:
        raise error(
            "missing columns",
            where=where,
            found=", ".join(present),
            wanted=", ".join(missing),
            do=do,
        )
    if twice := [name for name in names if present.count(name) > 1]:
        raise error(
            "two columns of the same name", where=where, found=", ".join(twice), do="rename one"
        )


def codes(names: Strings) -> Ints:
    """Number each distinct name from 0, in sorted order: (n,) int64.

    Examples
    --------
    >>> codes(np.array(["b", "a", "b"], dtype=object)).tolist()
    [1, 0, 1]
    """
    return np.asarray(pd.factorize(names, sort=True)[0], dtype=np.int64)
