"""The tree of a formula, and R's way to write it down again.

Two nodes are equal when they say the same, wherever they stand; `place` is for messages only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

Place = tuple[int, int]
_PLACE = field(default=(0, 0), compare=False, repr=False)

_RESERVED = {"TRUE", "FALSE", "NULL", "NA", "Inf", "NaN", "if", "else", "for", "while", "repeat"}
_RESERVED |= {"function", "break", "next", "in"}
_TIGHT = {"^", "/", ":", "%%", "%/%"}


@dataclass(frozen=True)
class Name:
    """A column of the table."""

    text: str
    place: Place = _PLACE


@dataclass(frozen=True)
class Number:
    """A number."""

    value: float
    place: Place = _PLACE


@dataclass(frozen=True)
class Text:
    """A string in quotes."""

    value: str
    place: Place = _PLACE


@dataclass(frozen=True)
class Truth:
    """TRUE, FALSE, or (as None) NULL."""

    value: bool | None
    place: Place = _PLACE


@dataclass(frozen=True)
class Call:
    """A function with its arguments; those by name last."""

    function: str
    arguments: tuple[Node, ...]
    named: tuple[tuple[str, Node], ...] = ()
    place: Place = _PLACE


@dataclass(frozen=True)
class Unary:
    """``!x``."""

    operator: str
    operand: Node
    place: Place = _PLACE


@dataclass(frozen=True)
class Binary:
    """Two operands of ``^ < > <= >= == != & | || && ~`` and ``%in% %% %/% :``."""

    operator: str
    left: Node
    right: Node
    place: Place = _PLACE


@dataclass(frozen=True)
class Sum:
    """Summands with their signs; the first has none (``""``) unless one was written."""

    parts: tuple[tuple[str, Node], ...]
    place: Place = _PLACE


@dataclass(frozen=True)
class Product:
    """Factors joined by ``*`` and ``/``, from the left; the first has no operator (``""``)."""

    parts: tuple[tuple[str, Node], ...]
    place: Place = _PLACE


@dataclass(frozen=True)
class Group:
    """Parentheses."""

    inner: Node
    place: Place = _PLACE


Node = Name | Number | Text | Truth | Call | Unary | Binary | Sum | Product | Group


def quoted_name(name: str) -> str:
    """Write a name as R does: in backticks where it could not stand bare.

    Examples
    --------
    >>> quoted_name("x.1"), quoted_name("my x"), quoted_name("_x")
    ('x.1', '`my x`', '`_x`')
    """
    bare = re.fullmatch(r"(?:[^\W\d_]|\.(?!\d))[\w.]*", name) and name not in _RESERVED
    return name if bare else "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def number_label(value: float) -> str:
    """Write a number as R does: 15 digits, in the shorter of the two notations.

    Examples
    --------
    >>> [number_label(x) for x in (2.0, 0.1, 1e5, 123456.0, 1e-4)]
    ['2', '0.1', '1e+05', '123456', '1e-04']
    """
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Inf" if value > 0 else "-Inf"
    digits = next(k for k in range(15) if float(f"{value:.{k}e}") == float(f"{value:.14e}"))
    scientific = f"{value:.{digits}e}"
    exponent = int(scientific.partition("e")[2])
    fixed = f"{value:.{max(digits - exponent, 0)}f}"
    return fixed if len(fixed) <= len(scientific) else scientific


def label(node: Node) -> str:
    """Write a node as R's ``deparse`` does, which gives columns their names.

    Examples
    --------
    >>> label(Call("I", (Binary("^", Name("x"), Number(2.0)),)))
    'I(x^2)'
    """
    match node:
        case Name(text):
            return quoted_name(text)
        case Number(value):
            return number_label(value)
        case Text(value):
            return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        case Truth(value):
            return {True: "TRUE", False: "FALSE", None: "NULL"}[value]
        case Call(function, arguments, named):
            inside = [label(one) for one in arguments] + [f"{k} = {label(v)}" for k, v in named]
            return f"{function}({', '.join(inside)})"
        case Unary(operator, operand):
            return operator + label(operand)
        case Binary(operator, left, right):
            space = "" if operator in _TIGHT else " "
            return f"{label(left)}{space}{operator}{space}{label(right)}"
        case Sum(parts):
            first = parts[0][0] + label(parts[0][1])
            return first + "".join(f" {sign} {label(one)}" for sign, one in parts[1:])
        case Product(parts):
            written = {"*": " * ", "/": "/", "": ""}
            return "".join(written[operator] + label(one) for operator, one in parts)
        case Group(inner):
            return f"({label(inner)})"


def column_names(node: Node) -> Iterator[Name]:
    """Yield every name that stands for a column, from left to right."""
    match node:
        case Name():
            yield node
        case Call(function, arguments, named):
            yield from (
                n for one in arguments[: 1 if function == "C" else None] for n in column_names(one)
            )
            yield from (
                n
                for key, one in named
                if key != "contr" and not _is_flag(one)
                for n in column_names(one)
            )
        case Unary(_, inner) | Group(inner):
            yield from column_names(inner)
        case Binary(_, left, right):
            yield from column_names(left)
            yield from column_names(right)
        case Sum(parts) | Product(parts):
            for _, one in parts:
                yield from column_names(one)


def _is_flag(node: Node) -> bool:
    return isinstance(node, Name) and node.text in ("T", "F")
