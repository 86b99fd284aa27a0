"""`imi-bench`: puts the groups of verbs together and turns errors into exit codes."""

from __future__ import annotations

import importlib
import sys
from typing import Annotated

import typer

from imi_bench import __version__
from imi_bench.errors import ImiBenchError

GROUPS: tuple[str, ...] = (
    "demo", "run", "report", "observers", "doctor",
    "data", "score", "fit", "effects", "power",
    "networks", "stimuli", "mis",
    "submit", "leaderboard", "gate",
)  # fmt: skip

app = typer.Typer(
    name="imi-bench",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Machine observers answer the 2-AFC interpretability experiment of the IMI dataset.",
    epilog="Exit codes: 0 fine, 1 a check failed, 2 wrong usage or bad input, "
    "3 not comparable or not enough data.",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"imi-bench {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Carry the options of the whole program."""


for group in GROUPS:
    importlib.import_module(f"imi_bench.cli.{group}").register(app)


def main() -> None:
    """Run the command line; every error of ours is one line on standard error."""
    try:
        app()
    except ImiBenchError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
