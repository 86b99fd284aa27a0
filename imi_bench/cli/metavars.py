"""What help shows for a value to fill in: ``N``, ``PATH``, ``DECISIONS`` rather than a type."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

__all__ = ["name_values"]

_WORDS = {int: "N", float: "NUMBER", Path: "PATH", str: "TEXT", bool: ""}


def name_values(app: typer.Typer) -> None:
    """Give every argument and option of every verb a readable name for its value.

    One that states its own is left alone, and so are switches and closed choices.
    """
    for callback in _callbacks(app):
        hints = get_type_hints(callback, include_extras=True)
        for name in inspect.signature(callback).parameters:
            _name_value(name, hints[name])
        callback.__annotations__ = hints  # else they would be read from their text again


def _callbacks(app: typer.Typer) -> Iterator[Callable[..., Any]]:
    for command in app.registered_commands:
        if command.callback is not None:
            yield command.callback
    for group in app.registered_groups:
        if group.typer_instance is not None:
            yield from _callbacks(group.typer_instance)


def _name_value(name: str, hint: Any) -> None:
    for info in getattr(hint, "__metadata__", ()):
        if not isinstance(info, ArgumentInfo | OptionInfo) or info.metavar is not None:
            continue
        kind = _kind(get_args(hint)[0])
        if isinstance(info, ArgumentInfo):
            info.metavar = name.strip("_").upper()  # usage adds dots where several may be given
        elif kind in _WORDS:
            info.metavar = _WORDS[kind]


def _kind(hint: Any) -> Any:
    """The type of one value, whether or not several may be given, or none."""
    parts = [part for part in get_args(hint) if part is not type(None)]
    if get_origin(hint) is list or type(None) in get_args(hint):
        return _kind(parts[0])
    return hint
