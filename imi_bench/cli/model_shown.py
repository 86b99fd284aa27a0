"""How the verbs of `imi-bench model` print tests, numbers and rows, and where they draw."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from imi_bench.cli.output import note, print_table
from imi_bench.text import plural

if TYPE_CHECKING:
    from imi_bench.glmm.inference import Inference

__all__ = ["draw", "number", "p_value", "print_rows", "print_tests"]


def number(value: float, digits: int = 3) -> str:
    """A number of a table; a dash where there is none."""
    return "-" if math.isnan(value) else f"{value:z.{digits}f}"


def p_value(value: float) -> str:
    """A p-value of a table."""
    return "-" if math.isnan(value) else "<0.0001" if value < 0.0001 else f"{value:.4f}"


def print_tests(tests: Iterable[Inference], *, title: str, value: str = "estimate") -> None:
    """Print tests, with what not all of them share in a column of its own."""
    tests = list(tests)
    bounds = any(not math.isnan(test.low) for test in tests)
    finite = any(math.isfinite(test.df) for test in tests)
    methods = {test.method for test in tests if math.isfinite(test.p)}
    said = len(methods) > 1 or any(math.isnan(test.p) for test in tests)
    columns = [
        "",
        value,
        *(["low", "high"] if bounds else []),
        "statistic",
        *(["df"] if finite else []),
        "p",
    ]
    print_table(
        [*columns, *(["method"] if said else [])],
        [
            [
                test.name,
                number(test.estimate),
                *([number(test.low), number(test.high)] if bounds else []),
                number(test.statistic),
                *([f"{test.df:g}" if math.isfinite(test.df) else "-"] if finite else []),
                p_value(test.p),
                *([test.method if math.isfinite(test.p) else test.reason] if said else []),
            ]
            for test in tests
        ],
        title=title if said or not methods else f"{title} ({next(iter(methods))})",
        right=columns[1:],
    )


def draw(canvas: Any, path: Path) -> None:
    """Draw to a file."""
    from imi_bench.provenance import atomic_path

    with atomic_path(path) as temporary:
        canvas.savefig(temporary, dpi=150, format=path.suffix.removeprefix(".") or "png")
    note(f"drawn to {path}")


def print_rows(frame: Any) -> None:
    """Print the first rows of a table, and how many more there are."""
    shown = frame.head(20)
    print_table(
        ("row", "estimate", "SE", "low", "high"),
        [
            [k + 1, number(r.estimate), number(r.se), number(r.low), number(r.high)]
            for k, r in enumerate(shown.itertuples(index=False))
        ],
        right=("row", "estimate", "SE", "low", "high"),
    )
    if len(frame) > len(shown):
        typer.echo(f"and {plural(len(frame) - len(shown), 'more row')} (--out writes them all)")
