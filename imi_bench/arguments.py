"""Arguments of the public functions, held to their annotations before any work begins.

A notebook has no parser in front of the functions as the command line has. So a value that no
annotation allows is one line that names the argument, instead of a traceback from somewhere below
after an hour; and one text where several are wanted is one of them, not its letters.
"""

from __future__ import annotations

import functools
import inspect
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from numbers import Integral, Real
from os import PathLike
from typing import Any, ParamSpec, TypeVar, get_args

from imi_bench.errors import InputError, UnknownNameError

__all__ = ["checked", "checked_level", "held", "refuse_idle"]

P = ParamSpec("P")
R = TypeVar("R")

_PLAIN: dict[str, tuple[type, ...]] = {
    "None": (type(None),),
    "bool": (bool,),
    "str": (str,),
    "Path": (PathLike,),
    "int": (Integral,),
    "float": (Real,),
}
_WORDS = {"None": "None", "int": "a whole number", "float": "a number", "bool": "True or False"}
_SEVERAL = ("Sequence[", "Collection[", "Iterable[", "list[", "tuple[")
_NUMBERS = {"int", "float", "bool"}
_PIECE = re.compile(r"\s*\|\s*(?![^\[\]]*\])")
# Protocols and duck types: what they are is seen by the function itself.
_OPEN = {"Any", "Encoder", "Executor", "HasDecisions", "Observer", "object"}


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Refuse values that the annotations do not allow, before the function begins.

    Parameters
    ----------
    function : callable
        Its annotations are text (``from __future__ import annotations``).

    Returns
    -------
    callable
        Of the same signature. Raises `InputError` for a value of another type, a truth where a
        number is wanted, a whole number below 0, NaN, an infinite number (unless that is the
        default), a `level` that is none; `UnknownNameError` for a word that a ``Literal`` lacks.

    Examples
    --------
    >>> @checked
    ... def drawn(*, seed: "int" = 0, by: "Sequence[str]" = ()) -> "object":
    ...     return by
    >>> drawn(by="mode")
    ('mode',)
    >>> drawn(seed="x")
    Traceback (most recent call last):
    ...
    imi_bench.errors.InputError: not a value for 'seed': drawn: found 'x', wanted a whole number
    """
    parameters = inspect.signature(function).parameters

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        names = [one.name for one in parameters.values() if one.kind is not one.KEYWORD_ONLY]
        told: dict[str, Any] = {**dict(zip(names, args, strict=False)), **kwargs}
        given = held(function, told, where=function.__name__)
        ready = [given[name] for name in names[: len(args)]] + list(args[len(names) :])
        return function(*ready, **{name: given[name] for name in kwargs})

    return called


def held(
    function: Callable[..., Any], given: Mapping[str, Any], *, where: str, texts: bool = False
) -> dict[str, Any]:
    """Arguments of a function, refused as `checked` does.

    Parameters
    ----------
    function : callable
    given : mapping
        Arguments by name.
    where : str
        For messages.
    texts : bool
        Whether a number is its text where only text is wanted: ``layer=1`` of a reference.

    Examples
    --------
    >>> held(checked_level, {"level": 1}, where="here")
    Traceback (most recent call last):
    ...
    imi_bench.errors.InputError: no level of an interval: found 1, wanted between 0 and 1
    """
    parameters = inspect.signature(function).parameters
    space = getattr(inspect.unwrap(function), "__globals__", {})
    found = dict(given)
    for name, value in given.items():
        kind = parameters.get(name)
        if kind is None or kind.annotation is kind.empty:
            continue
        pieces = _pieces(str(kind.annotation), space)
        if texts and "str" in pieces and not any(_allows(piece, value) for piece in pieces):
            value = json.dumps(value)
        found[name] = _held(value, pieces, name, where)
        _bounded(found[name], pieces, name, where, kind.default)
    return found


def checked_level(level: float) -> float:
    """Return the coverage asked of an interval, refused where it is none (95 is not 0.95).

    Parameters
    ----------
    level : float
        Nominal coverage.

    Raises
    ------
    InputError
        If it is not between 0 and 1.

    Examples
    --------
    >>> checked_level(0.9)
    0.9
    """
    if not 0.0 < level < 1.0:
        raise InputError("no level of an interval", found=level, wanted="between 0 and 1")
    return level


def refuse_idle(
    option: str, value: object, *, unless: bool, do: str, free: object = None, where: object = None
) -> None:
    """Refuse an option that nothing would read.

    Parameters
    ----------
    option : str
    value : object
    unless : bool
        Whether something reads it.
    do : str
        What would read it.
    free : object
        The value that it has when it is not given.
    where : object
        For the message.

    Raises
    ------
    InputError
        If it is given for nothing.

    Examples
    --------
    >>> refuse_idle("power", 2.0, unless=False, do="add spatial='gem'", free=3.0)
    Traceback (most recent call last):
    ...
    imi_bench.errors.InputError: option without effect: found power=2.0. Add spatial='gem', or \
leave power= out
    """
    if value != free and not unless:
        raise InputError(
            "option without effect",
            where=where,
            found=f"{option}={value}",
            do=f"{do}, or leave {option}= out",
        )


def _held(value: Any, pieces: Sequence[str], name: str, where: str) -> Any:
    """The value, or one text as a sequence of one; refused if nothing allows it."""
    if {*pieces} & _NUMBERS:
        value = _scalar(value)
    for piece in pieces:
        if _allows(piece, value):
            return _listed(value) if piece.startswith(_SEVERAL) else value
    if isinstance(value, str) and any(one.startswith("Sequence[str") for one in pieces):
        return (value,)
    if isinstance(value, str) and (words := [word for one in pieces for word in _literals(one)]):
        raise UnknownNameError.among(value, words, kind=f"value for '{name}'")
    raise InputError(
        f"not a value for '{name}'",
        where=where,
        found=_told(value),
        wanted=" or ".join(dict.fromkeys(_word(one) for one in pieces if one != "None")),
        do=_instead(value, pieces),
    )


def _scalar(value: Any) -> Any:
    """A number or truth of numpy, pandas or torch as Python's own, which JSON has."""
    alone = hasattr(value, "dtype") and tuple(getattr(value, "shape", (0,))) == ()
    return value.item() if alone and hasattr(value, "item") else value


def _listed(value: Any) -> Any:
    """Several values that can be looked at twice, in an order that is the same every time."""
    if hasattr(value, "tolist"):  # the truth of an array is none, of a list that it holds something
        return value.tolist()
    if isinstance(value, Set):
        return sorted(value, key=repr)
    return list(value) if isinstance(value, Iterator) else value


def _instead(value: Any, pieces: Sequence[str]) -> str | None:
    """Where a table of this value is, if that is what is wanted."""
    hint = getattr(type(value), "table_for_models", None)
    wanted = any(piece.rpartition(".")[2] == "DataFrame" for piece in pieces)
    return hint if wanted and isinstance(hint, str) else None


def _bounded(value: Any, pieces: Sequence[str], name: str, where: str, default: Any) -> None:
    """Refuse numbers that mean nothing: counts below 0, NaN, no level of an interval."""
    if not isinstance(value, Real) or value is True or value is False or {*pieces} & _OPEN:
        return
    if name == "level":
        checked_level(value)  # type: ignore[arg-type]
    wanted = None
    if "int" in pieces and isinstance(value, Integral):
        wanted = "0 or more" if int(value) < 0 else None
    elif not _finite(value) and not (value == default and not math.isnan(value)):
        wanted = "a finite number"
    if wanted is not None:
        raise InputError(
            f"not a value for '{name}'", where=where, found=_told(value), wanted=wanted
        )


def _finite(value: Real) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond those of 64 bits
        return False


def _pieces(annotation: str, space: Mapping[str, Any], *, inside: bool = False) -> list[str]:
    """The alternatives of an annotation; an alias is what it stands for.

    `inside` an alias stand names of the module that made it, which may be unknown here: what they
    allow, the function itself says.
    """
    found: list[str] = []
    for piece in _PIECE.split(annotation.strip().strip("\"'")):
        alias = space.get(piece)
        if isinstance(alias, str):
            found += _pieces(alias, space, inside=True)
        elif get_args(alias) and not isinstance(alias, type) and "Literal" in str(alias):
            found.append(f"Literal[{', '.join(map(repr, get_args(alias)))}]")
        elif alias is not None and not isinstance(alias, type):
            found.append("object")  # an alias of another kind: the function looks itself
        elif inside and piece.isidentifier() and piece not in {*space, *_PLAIN}:
            found.append("object")
        else:
            found.append(piece)
    return found


def _literals(piece: str) -> list[str]:
    return re.findall(r"[\"']([^\"']*)[\"']", piece) if piece.startswith("Literal[") else []


def _allows(piece: str, value: Any) -> bool:
    if piece in _PLAIN:
        return isinstance(value, _PLAIN[piece]) and (piece == "bool" or not isinstance(value, bool))
    if piece.startswith("Literal["):
        return isinstance(value, str) and value in _literals(piece)
    if piece.startswith(_SEVERAL):
        if isinstance(value, str | bytes | Mapping):
            return False
        listed = isinstance(value, Sequence | Set | Iterator)
        return listed or len(getattr(value, "shape", ())) == 1
    if piece.startswith("Mapping["):
        return isinstance(value, Mapping)
    if piece.startswith("Callable["):
        return callable(value)
    if piece in _OPEN:
        return True
    last = piece.rpartition(".")[2]
    return last in {one.__name__ for one in type(value).__mro__}


def _word(piece: str) -> str:
    if words := _literals(piece):
        return " or ".join(map(repr, words))
    if piece.startswith(_SEVERAL):
        return f"several ({piece})"
    return _WORDS.get(piece, piece.rpartition(".")[2] if "[" not in piece else piece)


def _told(value: Any) -> str:
    shown = isinstance(value, str | int | float)
    return repr(value)[:60] if shown else f"{type(value).__name__}"
