"""How results reach the terminal: tables for people, one JSON object for programs."""

from __future__ import annotations

import json
import math
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imi_bench.cli.layout import bar, lay
from imi_bench.cli.wording import in_options
from imi_bench.errors import InputError
from imi_bench.provenance import check_name, plain
from imi_bench.text import one_line, printable

if TYPE_CHECKING:
    from imi_bench.stats.estimate import Estimate

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]


def _knows_unicode() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")


def drawable(*suffixes: str) -> Callable[[Path | None], Path | None]:
    """Of an option for a picture: refuses, before anything is computed, what cannot be drawn to."""
    return ending(*suffixes, what="picture")


def ending(*suffixes: str, what: str) -> Callable[[Path | None], Path | None]:
    """Of an option for a file: refuses, before anything is computed, another form's name."""

    def checked(path: Path | None) -> Path | None:
        if path is not None:
            check_name(path, *suffixes, what=what)
        return path

    return checked


_OF_TEXT = ("csv", "tsv", "json", "html", "htm", "xml", "md", "txt", "tex")
_OF_FILES = (*_OF_TEXT, "parquet", "xlsx", "png", "jpg", "svg", "pdf", "zip")


def new_folder(path: Path | None) -> Path | None:
    """Of an option for a folder: refuses, before anything is computed, the name of a file."""
    if path is not None and path.suffix.lower()[1:] in _OF_FILES and not path.is_dir():
        raise InputError("not a folder's name", where=path, wanted="a folder, without a suffix")
    return path


def tabular(path: Path | None) -> Path | None:
    """Of an option for a table: refuses, before anything is computed, what is no table's name."""
    from imi_bench.provenance import table_kind

    if path is not None:
        table_kind(path)
    return path


def print_json(value: Any) -> None:
    """Print one JSON object on standard output."""
    typer.echo(
        json.dumps(plain(value), indent=2, ensure_ascii=not _knows_unicode(), allow_nan=False)
    )


def terminal_width() -> int | None:
    """Characters of the terminal's line; None where the output is a pipe or a file."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str | None = None,
    right: Sequence[str] = (),
    spare: Sequence[str] = (),
) -> None:
    """Print a table that fits the terminal and lines up; see `imi_bench.cli.layout.lay`.

    `right` names the columns of numbers, `spare` those that may be left out of a narrow terminal,
    the first one first; which were is said below.
    """
    width = terminal_width()
    cells = [[one_line(str(cell)) for cell in row] for row in rows]
    laid = lay(columns, cells, width=width, right=right, spare=spare)
    lines = [] if title is None else _filled(printable(title), width)
    lines += ["", *laid.lines]
    if laid.left_out:
        names = ("the plot" if "  " in name else name for name in laid.left_out)
        told = f"(no room for: {', '.join(names)}; a wider terminal, a pipe or --json)"
        lines += _filled(told, width)
    if not _knows_unicode():
        lines = [line.replace("\N{BOX DRAWINGS LIGHT HORIZONTAL}", "-") for line in lines]
    typer.echo("\n".join([*lines, ""]))


def interval_plot(estimates: Sequence[Estimate], *, reference: float) -> tuple[str, list[str]]:
    """A heading with the ends of the axis, and each number with its interval as a tiny plot.

    The axis goes from the lowest to the highest bound; `reference`, chance or zero, lies within it
    and is drawn as a line.
    """
    ends = [x for e in estimates for x in (e.value, e.low, e.high) if math.isfinite(x)]
    start, end = min([*ends, reference]), max([*ends, reference])
    end = end if end > start else start + 1.0
    plain_text = not _knows_unicode()
    drawn = [
        bar(
            e.value, e.low, e.high, start=start, end=end, reference=reference, ascii_only=plain_text
        )
        for e in estimates
    ]
    low, high = f"{start:.2g}", f"{end:.2g}"
    return low + high.rjust(max(len(drawn[0]) if drawn else 20, 8) - len(low)), drawn


def _filled(text: str, width: int | None) -> list[str]:
    return [text] if width is None else textwrap.wrap(text, width, break_long_words=False)


def print_prose(text: str) -> None:
    """Print a sentence, folded between words where the output is a terminal."""
    typer.echo("\n".join(_filled(printable(text), terminal_width())))


def note(message: str) -> None:
    """Say something to the person on standard error."""
    typer.echo(printable(in_options(message)), err=True)
