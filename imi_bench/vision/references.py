"""The one language of references, for networks and observers: ``name?key=value&key=value``."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

from imi_bench.errors import InputError

__all__ = ["option_value", "split_reference"]


def split_reference(reference: str) -> tuple[str, dict[str, str]]:
    """Split a reference into its name and its options, as text.

    Raises
    ------
    InputError
        Options that are not ``key=value`` joined by ``&``; a key given twice.

    Examples
    --------
    >>> split_reference("timm:resnet18?num_classes=10&input_size=32")
    ('timm:resnet18', {'num_classes': '10', 'input_size': '32'})
    """
    base, _, query = reference.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise InputError(
            "options cannot be read",
            where=reference,
            found=error,
            wanted="name?key=value&key=value",
        ) from error
    options = dict(pairs)
    if len(options) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InputError("option given twice", where=reference, found=repr(twice), wanted="once")
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
