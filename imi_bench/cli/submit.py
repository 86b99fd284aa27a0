"""`imi-bench submit`: make, check and pack a submission."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imi_bench.cli.output import AsJson, note, print_json
from imi_bench.errors import InputError

submit = typer.Typer(no_args_is_help=True, help="Make, check and pack a submission to a board.")

_BoardName = Annotated[str, typer.Option("--board", help="A shipped board's name, or a folder.")]


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.add_typer(submit, name="submit")


def _ask(value: str | None, flag: str, question: str, default: str | None = None) -> str:
    if value is not None:
        return value
    try:
        return str(typer.prompt(question, default=default, err=True))
    except typer.Abort as end:
        note("")
        raise InputError(
            "submission not written", found=f"no {flag}", do=f"answer the question, or give {flag}"
        ) from end


@submit.command("new")
def new_command(
    run: Annotated[Path, typer.Argument(help="Output folder of `imi-bench run`.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    board: _BoardName,
    title: Annotated[str | None, typer.Option(help="One line. Asked for if left out.")] = None,
    author: Annotated[list[str] | None, typer.Option(help="Repeat for several.")] = None,
    licence: Annotated[str | None, typer.Option(help="Of the observer.")] = None,
    weights: Annotated[str | None, typer.Option(help="Source of the weights, or none.")] = None,
    weights_sha256: Annotated[str | None, typer.Option(help="Hash of the weight file.")] = None,
    trained_on: Annotated[
        list[str] | None, typer.Option(help="Data set; repeat for several. Left out: undisclosed.")
    ] = None,
    human_judgements: Annotated[
        bool | None, typer.Option(help="Whether human similarity judgements were among it.")
    ] = None,
    imi: Annotated[bool | None, typer.Option(help="Whether IMI answers were among it.")] = None,
    preprocessing: Annotated[str | None, typer.Option(help="In one line.")] = None,
    parameters: Annotated[int | None, typer.Option(help="Number of trained parameters.")] = None,
    link: Annotated[str | None, typer.Option(help="https address of paper or code.")] = None,
    revision: Annotated[str, typer.Option(help="Revision of this submission.")] = "1",
    name: Annotated[str | None, typer.Option(help="Slug; by default the observer's name.")] = None,
) -> None:
    """Write a submission folder from a run; asks for what no flag gives."""
    from imi_bench.leaderboard import pack
    from imi_bench.leaderboard.board import find

    declared: dict[str, object] = {
        "board": find(board).rules.board,
        "revision": revision,
        "title": _ask(title, "--title", "Title"),
        "authors": author or [_ask(None, "--author", "Author")],
        "licence": _ask(licence, "--licence", "Licence"),
        "preprocessing": _ask(
            preprocessing, "--preprocessing", "Preprocessing", "as in the observer's card"
        ),
        "parameters": parameters,
        "link": link,
        "weights": {
            "source": _ask(weights, "--weights", "Source of weights", "none"),
            "sha256": weights_sha256,
        },
        "training": {
            "data": trained_on,
            "human_similarity_judgements": human_judgements,
            "imi": imi,
        },
    }
    if name is not None:
        declared["name"] = name
    folder = pack.new(run, out=out, declared=declared)
    note(f"next: imi-bench submit validate {folder} --board {board}")
    typer.echo(folder)


@submit.command("validate")
def validate_command(
    path: Annotated[Path, typer.Argument(help="Submission folder or zip.")],
    board: _BoardName,
    as_json: AsJson = False,
) -> None:
    """List every problem of a submission; exit 0 if there is none, 1 otherwise."""
    from imi_bench.leaderboard.board import find
    from imi_bench.leaderboard.validate import validate

    if not path.exists():
        raise InputError("no such folder or zip", where=path, wanted="a submission")
    entry, problems = validate(path, board=find(board))
    if as_json:
        listed = [{"file": p.file, "field": p.field, "message": p.message} for p in problems]
        coverage = entry.coverage if entry else None
        print_json({"valid": entry is not None, "coverage": coverage, "problems": listed})
    else:
        for problem in problems:
            typer.echo(str(problem))
        if entry is not None:
            typer.echo(f"valid: {len(entry.trials):,} trials, {100 * entry.coverage:.1f}% answered")
    raise typer.Exit(0 if entry is not None else 1)


@submit.command("pack")
def pack_command(
    folder: Annotated[Path, typer.Argument(help="Submission folder.")],
    out: Annotated[Path | None, typer.Option(help="Zip to write; by default beside it.")] = None,
) -> None:
    """Zip a submission folder; the same files give the same bytes."""
    from imi_bench.leaderboard.pack import pack

    typer.echo(pack(folder, out=out))


@submit.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of submission.toml."""
    from imi_bench.leaderboard.submission import json_schema

    print_json(json_schema())
