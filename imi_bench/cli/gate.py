"""`imi-bench gate`: pass, worse, or cannot tell."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imi_bench.cli.answers import say_which
from imi_bench.cli.output import AsJson, ending, note, print_json, print_table
from imi_bench.errors import InputError

if TYPE_CHECKING:
    from imi_bench.gate.verdict import GateResult


def gate_command(
    new: Annotated[str, typer.Argument(help="Output folder of the new run.")],
    against: Annotated[
        str,
        typer.Option(
            help="Output folder of the baseline, or a row: BOARD/NAME, BOARD/NAME/REVISION."
        ),
    ],
    max_drop: Annotated[float, typer.Option(help="Tolerated drop, in the score's unit.")] = 0.01,
    score: Annotated[str, typer.Option(help="accuracy, human-agreement or bits.")] = "accuracy",
    by: Annotated[
        str | None, typer.Option(help="Also within each: mode, difficulty, network or layer.")
    ] = None,
    floor: Annotated[
        list[str] | None, typer.Option(help="Lowest score in a stratum, such as hard95=0.6.")
    ] = None,
    alpha: Annotated[float, typer.Option(help="One-sided error rate.")] = 0.05,
    responses: Annotated[
        str | None,
        typer.Option(help="Human answers, for human-agreement and bits: a path, or `imi`."),
    ] = None,
    trials: Annotated[
        Path | None, typer.Option(help="Trial table, if the new run has none.")
    ] = None,
    least_coverage: Annotated[
        float, typer.Option(help="Share of trials, also in strata, that each must have answered.")
    ] = 0.98,
    junit: Annotated[
        Path | None,
        typer.Option(help="Write JUnit XML here.", callback=ending(".xml", "", what="JUnit file")),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(help="Write Markdown here.", callback=ending(".md", "", what="Markdown file")),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say whether NEW is no worse than AGAINST on the same trials.

    Ends with 0 (pass), 1 (worse: the drop exceeds the margin with the stated confidence) or
    3 (cannot tell, or not comparable).
    """
    from imi_bench.gate.verdict import gate

    result = gate(
        new,
        against=_baseline(against),
        trials=trials,
        score=score,
        max_drop=max_drop,
        alpha=alpha,
        by=by,
        floors=parse_floors(floor or []),
        responses=None if responses is None else say_which(responses),
        least_coverage=least_coverage,
    )
    _write(result, junit, markdown)
    if as_json:
        print_json(result)
    else:
        _show(result)
    raise typer.Exit(result.exit_code)


def _write(result: GateResult, junit: Path | None, markdown: Path | None) -> None:
    from imi_bench.gate import outputs
    from imi_bench.provenance import write_text

    for path, render in ((junit, outputs.junit), (markdown, outputs.markdown)):
        if path is not None:
            write_text(path, render(result))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        typer.echo(outputs.annotation(result), err=True)
        if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
            with Path(summary).open("a", encoding="utf-8") as stream:
                stream.write(outputs.markdown(result))


def _show(result: GateResult) -> None:
    from imi_bench.gate import outputs

    print_table(
        outputs.COLUMNS,
        outputs.rows(result),
        title=f"Gate: {result.score}",
        right=("drop", "trials", "units", "answered", "trials to settle"),
        spare=("trials to settle", "units", "trials"),
    )
    for line in outputs.footnotes(result):
        note(line)
    typer.echo(result.sentence)


def _baseline(named: str) -> Path:
    """A run's folder, or the decisions of a board's row."""
    from imi_bench.leaderboard.board import find

    if Path(named).exists() or "/" not in named:
        return Path(named)
    board_name, _, row = named.partition("/")
    folders = [p for p in find(board_name).submissions() if (p / "decisions.parquet").is_file()]
    found = [p for p in folders if row in (p.parent.name, f"{p.parent.name}/{p.name}")]
    if not found:
        rows = sorted({p.parent.name for p in folders})
        raise InputError(
            "no such run, and no such row", where=named, wanted=f"one of {', '.join(rows)}"
        )
    return max(found, key=lambda p: (len(p.name), p.name))


def parse_floors(texts: list[str]) -> dict[str, float]:
    """Read floors such as ``hard95=0.6``.

    Raises
    ------
    InputError
        Not of this form, or two floors for one stratum. `gate` refuses those out of range.
    """
    floors: dict[str, float] = {}
    for text in texts:
        name, sign, number = text.partition("=")
        try:
            value = float(number)
        except ValueError:
            sign = ""
        if not (name and sign):
            raise InputError("not a floor", found=repr(text), wanted="such as hard95=0.6")
        if name in floors:
            raise InputError(
                "two floors for one stratum", where=name, found=f"{floors[name]:g} and {value:g}"
            )
        floors[name] = value
    return floors
