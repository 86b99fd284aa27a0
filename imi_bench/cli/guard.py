"""No verb may write over what it reads: one check for all of them, before anything is done."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import typer

from imi_bench.cli.metavars import verbs

# options that name what is written; every other path, or name of something on disk, is read
OUTPUTS = ("out", "save", "junit", "markdown", "site", "figure", "plot", "text", "to")
# verbs whose very purpose is to write into the folder they are given
_INSIDE = ("report", "submit pack", "submit pr", "submit new", "leaderboard build")


def guard(app: typer.Typer) -> None:
    """Let every verb of the program refuse an output that is, or lies within, an input."""
    for name, command, callback in verbs(app):
        if name not in _INSIDE:
            command.callback = guarded(callback)


def guarded(verb: Callable[..., Any]) -> Callable[..., Any]:
    """The verb, with its outputs held against its inputs first."""
    names = inspect.signature(verb).parameters
    if not any(name in OUTPUTS for name in names):
        return verb

    @functools.wraps(verb)
    def checked(*args: Any, **given: Any) -> Any:
        from imi_bench.places import refuse_inside

        inputs = [
            path
            for name, value in given.items()
            if name not in (*OUTPUTS, "cache")
            for path in _paths(value)
        ]
        for name in OUTPUTS:
            for out in _paths(given.get(name), written=True):
                refuse_inside(out, inputs=[path for path in inputs if _conflicts(out, path)])
        return verb(*args, **given)

    return checked


def _paths(value: Any, *, written: bool = False) -> Iterable[Path]:
    """Paths among the values of an option: those that exist, or any that is to be written."""
    values = value if isinstance(value, list | tuple) else [value]
    for one in values:
        if isinstance(one, Path) and (written or one.exists()):
            yield one
        elif isinstance(one, str) and not written and len(one) < 4096 and "\0" not in one:
            try:
                if (place := Path(one)).exists():
                    yield place
            except OSError:
                continue


def _conflicts(out: Path, source: Path) -> bool:
    """A folder to be written may hold an input file: each writer looks after its own names."""
    return not (source.is_file() and (out.is_dir() or not out.suffix))
