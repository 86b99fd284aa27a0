"""`imi-bench gate`: pass, worse, or cannot tell."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from imi_bench.cli.answers import say_which
from imi_bench.cli.output import AsJson, note, print_json, print_table
from imi_bench.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("gate")(gate_command)


def gate_command(
    new: Annotated[Path, typer.Argument(help="Output folder of the new run.")],
    against: Annotated[Path, typer.Option(help="Output folder of the baseline.")],
    max_drop: Annotated[float, typer.Option(help="Tolerated drop, in the score's unit.")] = 0.01,
    score: Annotated[str, typer.Option(help="accuracy or human-agreement.")] = "accuracy",
    by: Annotated[
        str | None, typer.Option(help="Also within each: mode, difficulty, network or layer.")
    ] = None,
    floor: Annotated[
        list[str] | None, typer.Option(help="Lowest score in a stratum, such as hard95=0.6.")
    ] = None,
    alpha: Annotated[float, typer.Option(help="One-sided error rate.")] = 0.05,
    responses: Annotated[
        str | None, typer.Option(help="Human answers, for human-agreement: a path, or `imi`.")
    ] = None,
    trials: Annotated[
        Path | None, typer.Option(help="Trial table, if the new run has none.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write Markdown here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether NEW is no worse than AGAINST on the same trials.

    Ends with 0 (pass), 1 (worse: the drop exceeds the margin with the stated confidence) or
    3 (cannot tell, or not comparable).
    """
    from imi_bench.gate import outputs as verdict
    from imi_bench.gate.verdict import gate
    from imi_bench.provenance import atomic_path

    result = gate(
        new,
        against=against,
        trials=trials,
        score=score,
        max_drop=max_drop,
        alpha=alpha,
        by=by,
        floors=dict(map(_floor, floor or [])),
        responses=None if responses is None else say_which(responses),
    )
    for path, render in ((junit, verdict.junit), (markdown, verdict.markdown)):
        if path is not None:
            with atomic_path(path) as temporary:
                temporary.write_text(render(result), encoding="utf-8")
    if os.environ.get("GITHUB_ACTIONS") == "true":
        note(verdict.annotation(result))
        if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
            with Path(summary).open("a", encoding="utf-8") as stream:
                stream.write(verdict.markdown(result))
    if as_json:
        print_json(result)
    else:
        print_table(
            verdict.COLUMNS,
            verdict.rows(result),
            title=f"Gate: {score}",
            right=("drop", "trials", "units", "trials to settle"),
        )
        typer.echo(result.sentence)
    raise typer.Exit(result.exit_code)


def _floor(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        return name, float(number)
    except ValueError as error:
        raise InputError("not a floor", found=repr(text), wanted="such as hard95=0.6") from error
