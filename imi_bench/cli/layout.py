"""How a table fits a terminal: whole, then without columns that may go, wrapped, or in blocks.

Nothing is ever cut: a word longer than the terminal stands on a line of its own, so that a name
can be copied; and without a width (a pipe, a file) every row is one line.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Laid", "bar", "lay"]

_GAP = "  "
_MOST_LINES = 4  # of a wrapped row: beyond, blocks are easier to read


class Laid(NamedTuple):
    """Lines of a table, and the columns that there was no room for."""

    lines: list[str]
    left_out: list[str]


def lay(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int | None = None,
    right: Sequence[str] = (),
    spare: Sequence[str] = (),
) -> Laid:
    r"""Lay a table out.

    Parameters
    ----------
    columns : sequence of str
        Headings.
    rows : sequence of sequence of str
        Cells, one line each.
    width : int, optional
        Characters of a terminal's line; None for no limit.
    right : sequence of str
        Headings of columns that are set to the right.
    spare : sequence of str
        Headings of columns that may be left out, the first one first.

    Examples
    --------
    >>> print(*lay(["name", "n"], [["one", "1"], ["two", "10"]], right=["n"]).lines, sep="\n")
    name   n
    ────  ──
    one    1
    two   10
    >>> print(*lay(["name", "why"], [["a/long/name", "in two words"]], width=18).lines, sep="\n")
    name         why
    ───────────  ─────
    a/long/name  in
                 two
                 words
    """
    kept = list(range(len(columns)))
    left_out: list[str] = []
    removable = [columns.index(name) for name in spare if name in columns]
    while width is not None and _width([_natural(columns, rows, k) for k in kept]) > width:
        if not removable:
            break
        gone = removable.pop(0)
        kept.remove(gone)
        left_out.append(columns[gone])
    heads = [columns[k] for k in kept]
    cells = [[row[k] for k in kept] for row in rows]
    natural = [_natural(heads, cells, k) for k in range(len(heads))]
    if width is None or _width(natural) <= width:
        widths: list[int] | None = natural
    else:
        widths = _squeezed(heads, cells, natural, width)
    lines = None if widths is None else _grid(heads, cells, widths, right)
    return Laid(_blocks(heads, cells, width or 80) if lines is None else lines, left_out)


def bar(
    value: float,
    low: float,
    high: float,
    *,
    start: float,
    end: float,
    reference: float = math.nan,
    width: int = 20,
    ascii_only: bool = False,
) -> str:
    """A number and its interval as a line of characters.

    Parameters
    ----------
    value, low, high : float
        NaN bounds give the point alone, a NaN value the word ``undefined``.
    start, end : float
        What the first and the last character stand for; an interval that goes beyond is marked.
    reference : float
        Such as chance or zero.

    Examples
    --------
    >>> bar(0.7, 0.6, 0.8, start=0.5, end=1.0, reference=0.5, width=11)
    '│·──●──····'
    >>> bar(0.7, 0.4, 0.8, start=0.5, end=1.0, width=11, ascii_only=True)
    '<---o--....'
    """
    if math.isnan(value):
        return "undefined"
    dash, dot, line, beyond = ("-", "o", "|", "<>") if ascii_only else ("─", "●", "│", "◂▸")

    def place(x: float) -> int:
        share = (x - start) / (end - start)
        return min(max(round(share * (width - 1)), 0), width - 1)

    blank = "." if ascii_only else "·"
    drawn = [blank] * width
    if start <= reference <= end:
        drawn[place(reference)] = line
    if not math.isnan(low):
        for k in range(place(low), place(high) + 1):
            drawn[k] = dash
        if low < start:
            drawn[0] = beyond[0]
        if high > end:
            drawn[-1] = beyond[1]
    drawn[place(value)] = dot
    return "".join(drawn)


def _length(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _natural(columns: Sequence[str], rows: Sequence[Sequence[str]], k: int) -> int:
    return max(map(_length, [columns[k], *(row[k] for row in rows)]))


def _width(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _squeezed(
    columns: Sequence[str], rows: Sequence[Sequence[str]], natural: list[int], width: int
) -> list[int] | None:
    """Widths at which words stay whole, the widest columns narrowed most; None if too wide."""
    least = [
        max(_length(word) for text in [columns[k], *(r[k] for r in rows)] for word in _words(text))
        for k in range(len(columns))
    ]
    for most in range(max(natural), 0, -1):
        widths = [max(low, min(most, high)) for low, high in zip(least, natural, strict=True)]
        if _width(widths) <= width:
            return widths
    return None


def _words(text: str) -> list[str]:
    return text.split(" ") or [""]


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in _words(text):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and _length(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer if lines != [""] else word
    return lines


def _grid(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    widths: Sequence[int],
    right: Sequence[str],
) -> list[str] | None:
    """Heading, rule and rows; None where a row would take too many lines to be read as one."""
    lines: list[str] = []
    for number, row in enumerate([columns, *rows]):
        cells = [_wrapped(text, w) for text, w in zip(row, widths, strict=True)]
        height = max(map(len, cells), default=1)
        if number and height > _MOST_LINES:
            return None
        for k in range(height):
            parts = [
                _padded(cell[k] if k < len(cell) else "", w, name in right)
                for cell, w, name in zip(cells, widths, columns, strict=True)
            ]
            lines.append(_GAP.join(parts).rstrip())
        if not number:
            lines.append(_GAP.join("─" * w for w in widths).rstrip())
    return lines


def _padded(text: str, width: int, right: bool) -> str:
    space = " " * (width - _length(text))
    return space + text if right else text + space


def _blocks(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """A block a row: its first cell as heading, the others as lines ``column: value``."""
    lines: list[str] = []
    named = max(map(_length, columns[1:]), default=0)
    for row in rows:
        lines += [""] if lines else []
        lines += _wrapped(row[0], width)
        for name, text in zip(columns[1:], row[1:], strict=True):
            if not text.strip():
                continue
            first, *more = _wrapped(text, max(width - named - 4, 1))
            lines.append(f"  {_padded(name, named, False)}  {first}".rstrip())
            lines += [" " * (named + 4) + part for part in more]
    return lines
