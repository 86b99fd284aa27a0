"""Every verb of the program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from imi_bench.cli.app import app


def commands() -> dict[str, Any]:
    """Verbs and groups of them by their words; the program itself has none."""

    def walk(command: Any, words: str) -> Iterator[tuple[str, Any]]:
        yield words, command
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, f"{words} {name}".strip())

    return dict(walk(typer.main.get_command(app), ""))


def verbs() -> dict[str, Any]:
    """Verbs alone."""
    return {name: one for name, one in commands().items() if not hasattr(one, "commands")}
