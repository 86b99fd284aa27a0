"""Results back from JSON: the inverse of `imi_bench.provenance.plain`, for every dataclass.

A null where a number belongs comes back as NaN. What a record holds beyond the fields of its class
is derived, and not read, but for ``kinds``: what JSON alone cannot say of tables and arrays.
"""

from __future__ import annotations

import base64
import dataclasses
import math
import re
import types
from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from imi_bench.documents import parse_json, reading
from imi_bench.errors import InputError
from imi_bench.provenance import from_null, plain

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["kinds", "restored", "table_in"]

_PLAIN: dict[Any, tuple[type, ...]] = {
    type(None): (type(None),),
    int: (Integral,),
    float: (Real, type(None)),
    str: (str,),
    bool: (bool,),
}
_WORDS: dict[Any, str] = {
    type(None): "null",
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
}

Kind = TypeVar("Kind")


def restored(kind: type[Kind], record: str | Mapping[str, Any]) -> Kind:
    """Build a dataclass from what `plain` made of it.

    Raises
    ------
    InputError
        If it is not the record of such an object.
    """
    with reading(_words(kind)):
        found = parse_json(record) if isinstance(record, str) else record
        found = getattr(kind, "_as_fields", dict)(found)
        hints, told = get_type_hints(kind), found.get("kinds", {})
        values = {
            one.name: _with_kinds(
                _field(kind, one.name, hints[one.name], found[one.name]), told.get(one.name)
            )
            for one in dataclasses.fields(kind)  # type: ignore[arg-type]
            if one.init and (one.name in found or _required(one))
        }
        return kind(**values)


def table_in(record: Mapping[str, Any], name: str) -> pd.DataFrame:
    """A table of a record that is no record of fields alone."""
    import pandas as pd

    with reading("table"):
        found: pd.DataFrame = _with_kinds(
            _table(pd.DataFrame, record[name]), record.get("kinds", {}).get(name)
        )
    return found


def kinds(value: Any) -> Any:
    """What JSON does not say of a table or an array; empty where it says all.

    Parameters
    ----------
    value : object
        A table, an array, or a mapping of them; of anything else there is nothing to say.

    Returns
    -------
    dict or list
        Of a table its columns' dtypes (of a categorical its categories), where those are not what
        pandas makes of the values; of an array without entries its shape.

    Examples
    --------
    >>> import pandas as pd
    >>> kinds(pd.DataFrame({"a": [1.5, None], "b": pd.array([1, None], dtype="Int64")}))
    {'b': 'Int64'}
    """
    if _is_table(value):
        back = _table(type(value), plain(value))
        same = {name: back[name].dtype == value[name].dtype for name in value}
        return {str(name): _dtype(value[name].dtype) for name in value if not same[name]}
    if isinstance(value, Mapping):
        return {str(name): told for name, part in value.items() if (told := kinds(part))}
    if hasattr(value, "dtype") and len(getattr(value, "shape", ())) > 1 and 0 in value.shape:
        return list(value.shape)
    return {}


def _is_table(value: Any) -> bool:
    return hasattr(value, "columns") and hasattr(value, "iloc")


def _dtype(dtype: Any) -> str | dict[str, Any]:
    if hasattr(dtype, "categories"):
        return {"categories": plain(dtype.categories), "ordered": bool(dtype.ordered)}
    return str(dtype)


def _with_kinds(value: Any, told: Any) -> Any:
    """A table or an array as it was before JSON; see `kinds`."""
    if not told:
        return value
    if _is_table(value):
        return value.astype({name: _kind(one) for name, one in told.items()})
    if isinstance(value, Mapping):
        return {name: _with_kinds(part, told.get(name)) for name, part in value.items()}
    return value.reshape(told)


def _kind(told: Any) -> Any:
    import pandas as pd

    if told == "str":  # what text is to the pandas at hand
        return pd.Series(["text"]).dtype
    return told if isinstance(told, str) else pd.CategoricalDtype(**told)


def _table(kind: type, value: Any) -> Any:
    """A table of lists by column, or of records; a column of nulls alone holds NaN."""
    found: Any = kind(value)
    empty = [name for name in found if len(found) and found[name].isna().all()]
    return found.astype(dict.fromkeys(empty, "float64"))


def _words(kind: type) -> str:
    return "stored " + re.sub("(?<=[a-z])(?=[A-Z])", " ", kind.__name__).lower()


def _field(kind: type, name: str, hint: Any, value: Any) -> Any:
    try:
        return _value(hint, value)
    except _OtherKindError as error:
        raise InputError(
            f"not a readable {_words(kind)}",
            where=name,
            found=shorten(repr(error.found), 60),
            wanted=" or ".join(error.wanted),
        ) from None


def _required(one: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return one.default is missing and one.default_factory is missing


class _OtherKindError(ValueError):
    """A value of another kind than a field's."""

    def __init__(self, found: Any, *wanted: str) -> None:
        super().__init__(found)
        self.found, self.wanted = found, wanted


def _value(hint: Any, value: Any) -> Any:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _of_several(parts, value)
    if origin is Literal or hint in _PLAIN:
        fits = value in parts if origin is Literal else isinstance(value, _PLAIN[hint])
        fits = fits or (hint is float and value in ("Infinity", "-Infinity"))
        if not fits or (isinstance(value, bool) and hint in (int, float)):
            raise _OtherKindError(value, *(map(repr, parts) if parts else (_WORDS[hint],)))
        return from_null(value) if hint is float else value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise _OtherKindError(value, "a list")
        each = [parts[0]] * len(value) if parts[1:] == (...,) else parts
        return tuple(_value(part, one) for part, one in zip(each, value, strict=True))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise _OtherKindError(value, "a JSON object")
        return {key: _value(parts[1], one) for key, one in value.items()}
    if not isinstance(origin or hint, type):
        return value
    if origin is frozenset:
        if not isinstance(value, list | tuple):
            raise _OtherKindError(value, "a list")
        return frozenset(_value(parts[0], one) for one in value)
    return _object(hint, origin or hint, parts, value)


def _of_several(parts: tuple[Any, ...], value: Any) -> Any:
    if value is None and type(None) in parts:
        return None
    wanted: list[str] = []
    for part in parts:
        try:
            return _value(part, value)
        except _OtherKindError as error:
            wanted += error.wanted
    raise _OtherKindError(value, *dict.fromkeys(wanted))


def _object(hint: Any, kind: type, parts: tuple[Any, ...], value: Any) -> Any:
    if kind.__name__ == "ndarray":
        import numpy as np

        (dtype,) = get_args(parts[1]) or (object,)
        floating = isinstance(dtype, type) and issubclass(dtype, np.floating)
        return np.array(_with_nan(value) if floating else value, dtype=dtype)
    if kind.__name__ == "DataFrame":
        return _table(kind, value)
    if kind is bytes:
        return base64.b64decode(value, validate=True)
    if kind.__name__ == "Path":
        return Path(value)
    if hasattr(kind, "from_json"):
        return kind.from_json(value)
    return restored(kind, value) if dataclasses.is_dataclass(kind) else value


def _with_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_nan(part) for part in value]
    return math.nan if value is None else value
