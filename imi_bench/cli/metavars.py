"""What help shows for a value to fill in: ``N``, ``PATH``, ``DECISIONS`` rather than a type."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import ArgumentInfo, CommandInfo, OptionInfo

from imi_bench.cli.wording import naming_options

__all__ = ["name_values", "verbs"]

_WORDS = {int: "N", float: "NUMBER", Path: "PATH", str: "TEXT", bool: ""}


def name_values(app: typer.Typer) -> None:
    """Give every argument and option of every verb a readable name for its value.

    One that states its own is left alone, and so are switches and closed choices.
    """
    app.info.cls = _Group
    for group in app.registered_groups:
        if group.typer_instance is not None:
            group.typer_instance.info.cls = _Group
    for _, command, callback in verbs(app):
        command.cls = _Verb
        hints = get_type_hints(callback, include_extras=True)
        for name in inspect.signature(callback).parameters:
            _name_value(name, hints[name])
        callback.__annotations__ = hints  # else they would be read from their text again


def verbs(
    app: typer.Typer, *, within: str = ""
) -> Iterator[tuple[str, CommandInfo, Callable[..., Any]]]:
    """Every verb of a program, those of its groups too: full name, what typer holds, function."""
    for command in app.registered_commands:
        if (callback := command.callback) is not None:
            yield f"{within} {command.name or callback.__name__}".strip(), command, callback
    for group in app.registered_groups:
        if group.typer_instance is not None:
            yield from verbs(group.typer_instance, within=f"{within} {group.name}".strip())


class _Verb(TyperCommand):
    """A verb whose help names its arguments once, and gives switches no value.

    What it says names its options where the library names arguments.
    """

    def invoke(self, ctx: Any) -> Any:
        with naming_options(self.params):
            return super().invoke(ctx)

    def get_params(self, ctx: Any) -> list[Any]:
        return _readable(super().get_params(ctx))


class _Group(TyperGroup):
    """The same of a group of verbs."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _readable(super().get_params(ctx))


def _readable(parameters: list[Any]) -> list[Any]:
    for one in parameters:
        if one.param_type_name == "argument":
            one.get_usage_pieces = partial(_pieces, one)
        if one.param_type_name == "argument" or getattr(one, "is_flag", False):
            one.display_type_rich = lambda ctx: None
    return parameters


def _pieces(argument: Any, ctx: Any) -> list[str]:
    """How usage writes an argument: ``RUN``, ``[BOARD]``, ``DECISIONS...``."""
    name = argument.metavar if argument.required else f"[{argument.metavar}]"
    return [f"{name}..." if argument.nargs != 1 else name]


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
