"""Options of a reference, read as what they are given to says: ``?path=2024`` is text for a text.

What a parameter is annotated with, or has as its default, decides what its option's text means. A
word where a truth is wanted is refused: every word would be true.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from imi_bench.errors import InputError
from imi_bench.vision.references import option_value

__all__ = ["parameters_of", "read_options"]

_WORDS = {
    "str": "text",
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "None": "null",
}
_TEXTS = {"str", "Path"}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|[+-]?inf", re.IGNORECASE)


def parameters_of(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The parameters of a function or class.

    Raises
    ------
    InputError
        Of a builtin that does not tell them.
    """
    try:
        return inspect.signature(function).parameters
    except ValueError as error:
        name = getattr(function, "__name__", type(function).__name__)
        raise InputError(
            "a function that does not tell its arguments", where=name, do="wrap it in one of yours"
        ) from error


def read_options(
    function: Callable[..., Any], given: Mapping[str, str], *, where: str
) -> dict[str, Any]:
    """Values of a reference's options, for the parameters of a function or class.

    Parameters
    ----------
    function : callable
    given : mapping of str to str
        Names are not checked here.
    where : str
        The reference, for the message.

    Raises
    ------
    InputError
        A text that is none of what the parameter takes.

    Examples
    --------
    >>> def build(*, path: str = "", flip: bool = False, share=0.5): ...
    >>> read_options(build, {"path": "2024", "flip": "true", "share": "0.1"}, where="build")
    {'path': '2024', 'flip': True, 'share': 0.1}
    """
    parameters = parameters_of(function) if callable(function) else {}
    return {
        name: _read(name, text, _kinds(parameters.get(name)), where) for name, text in given.items()
    }


def _kinds(parameter: inspect.Parameter | None) -> set[str]:
    """Names of the plain types that a parameter takes; none where it takes others too."""
    if parameter is None:
        return set()
    annotation = parameter.annotation
    if annotation is parameter.empty:
        told = type(parameter.default).__name__
        return {told} if told in ("bool", "str") else set()
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    found = re.fullmatch(r"(?:typing\.)?Optional\[(.*)\]", text)
    pieces = {one.strip(" '\"") for one in (f"{found[1]} | None" if found else text).split("|")}
    return pieces if pieces <= {*_WORDS, *_TEXTS} else set()


def _read(name: str, text: str, kinds: set[str], where: str) -> Any:
    value = option_value(text)
    fits = not kinds or type(value).__name__.replace("NoneType", "None") in kinds
    unsaid = text == "" and "bool" in kinds  # neither yes nor no
    if fits and not unsaid:
        return value
    if "float" in kinds and type(value) is int:
        return value
    if "float" in kinds and _NUMBER.fullmatch(text):
        return float(text)
    if kinds & _TEXTS and not unsaid:
        return text
    if "bool" in kinds and text in ("0", "1"):
        return text == "1"
    wanted = " or ".join(word for one, word in _WORDS.items() if one in kinds)
    raise InputError(f"not a value for '{name}'", where=where, found=repr(text), wanted=wanted)
