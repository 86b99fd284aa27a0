"""The one language of references, for networks and observers: ``name?key=value&key=value``."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from imi_bench.errors import InputError

__all__ = ["option_value", "split_reference"]


def split_reference(reference: str) -> tuple[str, dict[str, str]]:
    r"""Split a reference into its name and its options, as text.

    ``%26`` is ``&``, as in addresses; ``+`` is itself, as in paths and regular expressions.

    Raises
    ------
    InputError
        Options that are not ``key=value`` joined by ``&``; a key given twice.

    Examples
    --------
    >>> split_reference("timm:resnet18?num_classes=10&input_size=32")
    ('timm:resnet18', {'num_classes': '10', 'input_size': '32'})
    >>> split_reference(r"mine.py:Mine?path=c%2B%2B/a+b&pattern=layer\d+")[1]
    {'path': 'c++/a+b', 'pattern': 'layer\\d+'}
    """
    base, _, query = reference.partition("?")
    options: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        key, told, value = map(unquote, pair.partition("="))
        if not told:
            raise InputError(
                "options cannot be read",
                where=reference,
                found=repr(pair),
                wanted="name?key=value&key=value",
            )
        if key in options:
            raise InputError("option given twice", where=reference, found=repr(key), wanted="once")
        options[key] = value
    return base, options


def option_value(text: str) -> Any:
    """The value of an option: JSON where it can be, a list where it has commas, else text.

    Examples
    --------
    >>> [option_value(text) for text in ("10", "false", "False", "0.5,0.5", "max")]
    [10, False, False, [0.5, 0.5], 'max']
    """
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for form in (text, f"[{text}]") if "," in text else (text,):
        try:
            return json.loads(form)
        except json.JSONDecodeError:
            continue
    return text
