"""How results reach the terminal: tables for people, one JSON object for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

from imi_bench.provenance import plain
from imi_bench.text import one_line, printable

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]


def _knows_unicode() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")


def print_json(value: Any) -> None:
    """Print one JSON object on standard output."""
    typer.echo(
        json.dumps(plain(value), indent=2, ensure_ascii=not _knows_unicode(), allow_nan=False)
    )


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str | None = None,
    right: Sequence[str] = (),
) -> None:
    """Print a table that lines up; `right` names the columns of numbers."""
    import sys

    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left")
    for row in rows:
        table.add_row(*(Text(one_line(str(cell))) for cell in row))
    console = Console(width=None if sys.stdout.isatty() else 160)
    if title is not None:
        console.print(printable(title), style="bold", markup=False, highlight=False)
    console.print(table)


def note(message: str) -> None:
    """Say something to the person on standard error."""
    typer.echo(printable(message), err=True)
