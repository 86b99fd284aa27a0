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
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, get_args, get_origin

from imi_bench.errors import InputError, UnknownNameError

__all__ = [
    "checked",
    "checked_fields",
    "checked_level",
    "checked_methods",
    "held",
    "refuse_idle",
]

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
_WORDS = {
    "None": "None",
    "int": "a whole number",
    "float": "a number",
    "bool": "True or False",
    "str": "text",
    "ndarray": "an array",
}
_SEVERAL = ("Sequence[", "Collection[", "Iterable[", "list[", "tuple[")
_NUMBERS = {"int", "float", "bool"}
_ARRAYS = ("NDArray[", "np.ndarray")
_ITEMS = re.compile(r"(?:Sequence|Collection|Iterable|list|tuple)\[(.+?)(, \.\.\.)?\]")
_MOST_DRAWS, _MOST = 10**7, 10**9
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
    return _guarded(function, function.__name__)


Kind = TypeVar("Kind")


def checked_fields(kind: type[Kind]) -> type[Kind]:
    """Refuse what the annotations of a dataclass's fields do not allow, as `checked` does.

    Examples
    --------
    >>> import dataclasses
    >>> @checked_fields
    ... @dataclasses.dataclass
    ... class Asked:
    ...     shots: "tuple[int, ...]" = (0, 4)
    >>> Asked(shots=3)
    Traceback (most recent call last):
    ...
    imi_bench.errors.InputError: not a value for 'shots': Asked: found 3, wanted several ...
    """
    setattr(kind, "__init__", _guarded(kind.__init__, kind.__name__))  # noqa: B010
    return kind


def checked_methods(kind: type) -> None:
    """Hold what the public methods of a class are given to their annotations.

    As `checked` does; but rows may be counted from the end, and numbers may be missing.
    """
    for name, member in list(vars(kind).items()):
        function = getattr(member, "__func__", member)
        if name.startswith("_") or not inspect.isfunction(function) or _is_guarded(function):
            continue
        guarded: Any = _guarded(function, name, bounded=False)
        if member is not function:
            guarded = type(member)(guarded)
        setattr(kind, name, guarded)


def _is_guarded(function: Callable[..., Any]) -> bool:
    return hasattr(function, "allowed") or not inspect.signature(function).parameters


@functools.cache
def _allowed(function: Callable[..., Any]) -> dict[str, tuple[list[str], Any]]:
    """Alternatives and default of each argument that has an annotation."""
    space = getattr(inspect.unwrap(function), "__globals__", {})
    return {
        one.name: (
            [_spelt(piece, space) for piece in _pieces(str(one.annotation), space)],
            one.default,
        )
        for one in inspect.signature(function).parameters.values()
        if one.annotation is not one.empty
    }


def _guarded(function: Callable[P, R], where: str, *, bounded: bool = True) -> Callable[P, R]:
    @functools.cache
    def places() -> list[str]:
        parameters = inspect.signature(function).parameters.values()
        return [one.name for one in parameters if one.kind is not one.KEYWORD_ONLY]

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        names = places()
        told: dict[str, Any] = {**dict(zip(names, args, strict=False)), **kwargs}
        given = held(function, told, where=where, bounded=bounded)
        ready = [given[name] for name in names[: len(args)]] + list(args[len(names) :])
        return function(*ready, **{name: given[name] for name in kwargs})

    called.allowed = functools.partial(_allowed, function)  # type: ignore[attr-defined]
    return called


def held(
    function: Callable[..., Any],
    given: Mapping[str, Any],
    *,
    where: str,
    texts: bool = False,
    bounded: bool = True,
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
    bounded : bool
        Whether counts below 0, and numbers that are none, are refused.

    Examples
    --------
    >>> held(checked_level, {"level": 1}, where="here")
    Traceback (most recent call last):
    ...
    imi_bench.errors.InputError: no level of an interval: found 1, wanted between 0 and 1
    """
    told, found = _allowed(function), dict(given)
    for name, value in given.items():
        if name not in told:
            continue
        pieces, default = told[name]
        if texts and "str" in pieces and not any(_allows(piece, value) for piece in pieces):
            value = json.dumps(value)
        found[name] = _held(value, pieces, name, where)
        if bounded or name == "level":
            _bounded(found[name], pieces, name, where, default)
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
    given: Any = level
    number: Any = given if isinstance(given, Real) else None
    if number is None or not 0.0 < number < 1.0:
        raise InputError("no level of an interval", found=_told(level), wanted="between 0 and 1")
    return float(number)


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
    """The value, text as a path or as one of several; refused if nothing allows it."""
    if {*pieces} & _NUMBERS:
        value = _scalar(value)
    told = _told(value)
    nowhere = value == "" if isinstance(value, str) and "Path" in pieces else False
    for piece in () if nowhere else pieces:
        if _allows(piece, value):
            value = _listed(value) if piece.startswith(_SEVERAL) else value
            if (wrong := next(_unlike(piece, value), None)) is None:
                return value
            told = f"{_told(wrong)} among several"
    if isinstance(value, str) and "Path" in pieces and value and "\0" not in value:
        return Path(value)
    if isinstance(value, str) and any(one.startswith("Sequence[str") for one in pieces):
        return (value,)
    if isinstance(value, str) and (words := [word for one in pieces for word in _literals(one)]):
        raise UnknownNameError.among(value, words, kind=f"value for '{name}'")
    raise InputError(
        f"not a value for '{name}'",
        where=where,
        found=told,
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


def _unlike(piece: str, value: Any) -> Iterator[Any]:
    """Items of another kind than a sequence of plain ones has; text that no file name can hold."""
    if isinstance(value, str | PathLike) and piece in ("str", "Path") and "\0" in str(value):
        yield value
    if piece.startswith("tuple[") and "..." not in piece and "[" not in piece[6:]:
        each = piece[6:-1].split(", ")
        alike = len(value) == len(each) and all(map(_allows, each, value))
        yield from () if alike else (value,)
    items = _ITEMS.fullmatch(piece)
    if items is None:
        return
    kinds = _PIECE.split(items[1])
    if all(kind.isidentifier() or kind.startswith("Literal[") for kind in kinds):
        yield from (one for one in value if not any(_allows(kind, one) for kind in kinds))


def _instead(value: Any, pieces: Sequence[str]) -> str | None:
    """Where a table of this value is, if that is what is wanted."""
    hint = getattr(type(value), "table_for_models", None)
    wanted = any(piece.rpartition(".")[2] == "DataFrame" for piece in pieces)
    return hint if wanted and isinstance(hint, str) else None


def _bounded(value: Any, pieces: Sequence[str], name: str, where: str, default: Any) -> None:
    """Refuse numbers that mean nothing: counts below 0 or beyond counting, NaN, no level."""
    if not isinstance(value, Real) or value is True or value is False or {*pieces} & _OPEN:
        return
    if name == "level":
        checked_level(value)  # type: ignore[arg-type]
    wanted = None
    if "int" in pieces and isinstance(value, Integral):
        most = _MOST_DRAWS if name == "n_resamples" else _MOST
        wanted = "0 or more" if int(value) < 0 else None
        if int(value) > most and name != "seed":
            wanted = f"at most {most:,}"
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
        elif piece.startswith(_ARRAYS) or getattr(get_origin(alias), "__name__", "") == "ndarray":
            found.append("ndarray")
        elif alias is not None and not isinstance(alias, type):
            found.append("object")  # an alias of another kind: the function looks itself
        elif inside and piece.isidentifier() and piece not in {*space, *_PLAIN}:
            found.append("object")
        else:
            found.append(piece)
    return found


def _spelt(piece: str, space: Mapping[str, Any]) -> str:
    """A sequence whose items' aliases are spelt out."""
    items = _ITEMS.fullmatch(piece)
    if items is None:
        return piece
    return f"{piece.partition('[')[0]}[{' | '.join(_pieces(items[1], space))}{items[2] or ''}]"


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
    if piece.startswith(("Mapping[", "dict[")):
        return isinstance(value, Mapping)
    if piece.startswith(("frozenset[", "set[")):
        return isinstance(value, Set)
    if piece.startswith("Callable["):
        return callable(value)
    if piece in _OPEN or "[" in piece:
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
