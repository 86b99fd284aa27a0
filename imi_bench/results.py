"""What every result can do: print in a few lines, render, draw itself, go to JSON and back.

A result is a dataclass (``repr=False``) that derives from `Result` and says in `title` what it is,
in `to_frame` what it holds and in `plot` how it looks; the rest follows. What is part of a result
derives from `Record`, which has JSON and a short `repr`, or from `Brief`, which only keeps the
`repr` short.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from imi_bench.arguments import checked_methods
from imi_bench.documents import reading
from imi_bench.provenance import plain
from imi_bench.records import kinds, restored
from imi_bench.text import html, plural, printable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["MOST_CHARACTERS", "NOT_IN_JSON", "Brief", "Record", "Result"]

MOST_CHARACTERS = 1900
"""A `repr` is at most about this long."""
NOT_IN_JSON = MappingProxyType({"in JSON": False})
"""Metadata of a field that stays where it was computed; from JSON comes its default."""
_MOST_ROWS, _WIDTH, _FEW = 10, 100, 4


class Brief:
    """A dataclass whose `repr` names every field and prints no array."""

    __slots__ = ()

    def __repr__(self) -> str:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        shown = ", ".join(f"{one.name}={_short(getattr(self, one.name))}" for one in fields)
        return _cut(f"{type(self).__name__}({shown})")


class Record(Brief):
    """A dataclass that travels: JSON both ways."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object; NaN become null, infinite numbers text."""
        fields = {
            one.name: getattr(self, one.name)
            for one in dataclasses.fields(self)  # type: ignore[arg-type]
            if one.metadata != NOT_IN_JSON
        }
        record: dict[str, Any] = plain(fields)
        told = {name: said for name, value in fields.items() if (said := kinds(value))}
        return {**record, "kinds": told} if told else record

    @classmethod
    @reading("result")
    def from_json(cls, record: str | Mapping[str, Any]) -> Self:
        """Read back what `to_json` gave.

        Raises
        ------
        InputError
            If it is no such record.
        """
        return restored(cls, record)

    @classmethod
    def _as_fields(cls, found: Mapping[str, Any]) -> Mapping[str, Any]:
        """The fields of a record whose JSON has them at other places."""
        return found


class Result(Record):
    """A result that prints, renders, draws itself, and travels.

    Attributes
    ----------
    title : str
        What this is, in one line; says where data are simulated.
    shown_columns : tuple of str
        Columns of `to_frame` that `summary` prints; all of them if empty.
    """

    __slots__ = ()
    shown_columns: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        checked_methods(cls)

    @property
    def title(self) -> str:
        """What this is, in one line."""
        return type(self).__name__

    def to_frame(self) -> pd.DataFrame:
        """Return the result as a table."""
        raise NotImplementedError(type(self).__name__)

    def plot(self) -> Axes | tuple[Axes, ...]:
        """Draw the result; returns what it was drawn on."""
        raise NotImplementedError(type(self).__name__)

    def summary(self) -> str:
        """Return the result in words and a table, for people."""
        return f"{self.title}\n{self._table()}\n"

    def __repr__(self) -> str:
        return printable(_cut(self.summary().rstrip()))

    def _repr_html_(self) -> str:
        """Return what a notebook shows; all text is escaped."""
        frame = self._shown()
        more = len(frame) - _MOST_ROWS
        rest = f"<p>… {plural(more, 'more row')}: <code>to_frame()</code></p>" if more > 0 else ""
        table = frame.head(_MOST_ROWS).to_html(
            index=False, escape=True, border=0, float_format=_number, na_rep="–"
        )
        return f"<p><strong>{html(self.title)}</strong></p>{table}{rest}"

    def _shown(self) -> pd.DataFrame:
        frame = self.to_frame()
        return frame[[name for name in self.shown_columns or frame if name in frame]]

    def _table(self) -> str:
        frame = self._shown()
        text: str = frame.head(_MOST_ROWS).to_string(
            index=False, line_width=_WIDTH, float_format=_number, na_rep="–", max_colwidth=48
        )
        more = len(frame) - _MOST_ROWS
        return text + (f"\n… {plural(more, 'more row')}: to_frame()" if more > 0 else "")


def _number(value: float) -> str:
    return f"{value:.4g}"


def _cut(text: str) -> str:
    if len(text) <= MOST_CHARACTERS:
        return text
    kept = text[:MOST_CHARACTERS]
    return kept[: max(kept.rfind("\n"), kept.rfind(", "), 1)] + "\n… more: summary(), to_frame()"


def _short(value: Any) -> str:
    """One field on a part of a line."""
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        if value.size <= _FEW:
            return str(value.tolist())
        return f"{value.dtype} {'x'.join(map(str, value.shape))}"
    if hasattr(value, "columns") and hasattr(value, "iloc"):
        return f"DataFrame {len(value)}x{len(value.columns)}"
    if dataclasses.is_dataclass(value):
        said = str(value) if type(value).__str__ is not object.__str__ else ""
        return said if 0 < len(said) <= 60 else f"{type(value).__name__}(…)"
    if isinstance(value, Mapping):
        return f"{{{_few(value.items(), lambda pair: f'{pair[0]}: {_short(pair[1])}')}}}"
    if isinstance(value, tuple | list):
        return f"({_few(value, _short)})"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _few(parts: Any, shown: Any) -> str:
    listed = list(parts)
    more = [f"… {len(listed)} in all"] if len(listed) > _FEW else []
    return ", ".join([*map(shown, listed[:_FEW]), *more])
