"""`imi-bench report`: a page from what a demo or a run left on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imi_bench.cli.output import AsJson, print_json


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command()(report)


def report(
    folder: Annotated[Path, typer.Argument(help="What `imi-bench demo` or `run` wrote.")],
    out: Annotated[
        Path | None, typer.Option(help="The page; report.html in the folder by default.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the resampling, for a single run.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Write a self-contained page: figures, a table of observers, and a trial browser."""
    from imi_bench.report.page import report as write_report

    page = write_report(folder, out=out, seed=seed)
    if as_json:
        print_json(
            {
                "report": page.path,
                "bytes": page.path.stat().st_size,
                "simulated": page.exhibit.simulated,
                "observers": [run.name for run in page.exhibit.runs],
                "trials": len(page.exhibit.trials),
            }
        )
        return
    typer.echo(page.path)
