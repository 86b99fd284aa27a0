"""`imi-bench submit`: make, check and pack a submission."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imi_bench.cli.leaderboard import Boards
from imi_bench.cli.output import AsJson, ending, new_folder, note, print_json
from imi_bench.errors import InputError
from imi_bench.text import plural

if TYPE_CHECKING:
    from imi_bench.leaderboard.board import Board

group = typer.Typer(no_args_is_help=True, help="Make, check and pack a submission to a board.")

_BoardName = Annotated[str, typer.Option("--board", help="A shipped board's name, or a folder.")]


def _answers(given: dict[str, str | None]) -> dict[str, str]:
    """Ask for everything that no flag gave, or name all of it where nobody can be asked."""
    missing = [flag for flag, value in given.items() if value is None]
    if not missing:
        return {flag: str(value) for flag, value in given.items()}
    flags = ", ".join(missing)
    refused = InputError(
        "submission not written",
        found=f"no {flags}",
        do=f"answer the questions, or give {flags}",
    )
    note(f"{len(missing)} things are missing (Ctrl-C to stop): {flags}")
    answers = {}
    for flag in missing:
        question, default = _QUESTIONS[flag]
        try:
            answers[flag] = str(typer.prompt(question, default=default, err=True))
        except typer.Abort as end:
            note("")
            raise refused from end
    return {flag: answers.get(flag, str(value)) for flag, value in given.items()}


_QUESTIONS: dict[str, tuple[str, str | None]] = {
    "--title": ("Title, as the board shows it", None),
    "--author": ("Author, a name or several", None),
    "--licence": ("Licence of the observer, such as MIT", None),
    "--preprocessing": ("Preprocessing, in one line", "as in the observer's card"),
    "--weights": ("Source of the weights, or none", "none"),
}


@group.command("new")
def new_command(
    run: Annotated[
        list[Path],
        typer.Argument(help="Output folder of `imi-bench run`; of each part for a measure."),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write.", callback=new_folder)],
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
        bool | None,
        typer.Option(
            "--judgements/--no-judgements",
            help="Whether people's similarity judgements were among it.",
        ),
    ] = None,
    imi: Annotated[bool | None, typer.Option(help="Whether IMI answers were among it.")] = None,
    preprocessing: Annotated[str | None, typer.Option(help="In one line.")] = None,
    parameters: Annotated[int | None, typer.Option(help="Number of trained parameters.")] = None,
    link: Annotated[str | None, typer.Option(help="https address of paper or code.")] = None,
    revision: Annotated[str, typer.Option(help="Revision of this submission.")] = "1",
    name: Annotated[str | None, typer.Option(help="Slug; by default the observer's name.")] = None,
    sampling: Annotated[
        Path | None,
        typer.Option(help="Networks boards: TOML with `layers` (units of each) and `left_out`."),
    ] = None,
    boards: Boards = None,
    as_json: AsJson = False,
) -> None:
    """Write a submission folder from a run; asks for what no flag gives."""
    from imi_bench.documents import read_toml
    from imi_bench.leaderboard import pack
    from imi_bench.leaderboard.board import find

    held = find(board, boards=boards)
    asked = _answers(
        {
            "--title": title,
            "--author": author[0] if author else None,
            "--licence": licence,
            "--preprocessing": preprocessing,
            "--weights": weights,
        }
    )
    declared: dict[str, object] = {
        "board": held.rules.board,
        "revision": revision,
        "title": asked["--title"],
        "authors": author or [asked["--author"]],
        "licence": asked["--licence"],
        "preprocessing": asked["--preprocessing"],
        "parameters": parameters,
        "link": link,
        "weights": {"source": asked["--weights"], "sha256": weights_sha256},
        "training": {
            "data": trained_on,
            "human_similarity_judgements": human_judgements,
            "imi": imi,
        },
    }
    if name is not None:
        declared["name"] = name
    if sampling is not None:
        declared["sampling"] = read_toml(sampling)
    with_trials = held.rules.kind == "networks"
    runs = run[0] if len(run) == 1 else run
    folder = pack.new(runs, out=out, declared=declared, with_trials=with_trials)
    _show_place(folder, held)
    if as_json:
        print_json({"folder": folder, "board": held.rules.board})
        return
    note(f"next: imi-bench submit pr {folder} --board {board}")
    typer.echo(folder)


def _show_place(folder: Path, board: Board) -> None:
    """Say which rank a submission would get, or what is still wrong with it."""
    from imi_bench.leaderboard.entry import place
    from imi_bench.leaderboard.validate import validate

    if not board.ready:
        note(f"{board.rules.board} waits for its evidence: no rank yet")
        return
    entry, problems = validate(folder, board=board)
    if entry is None:
        for problem in problems:
            note(f"to mend: {problem}")
        return
    note(place(folder, board=board).sentence)


@group.command("validate")
def validate_command(
    path: Annotated[Path, typer.Argument(help="Submission folder or zip.")],
    board: _BoardName,
    boards: Boards = None,
    as_json: AsJson = False,
) -> None:
    """List every problem of a submission; exit 0 if there is none, 1 otherwise."""
    from imi_bench.leaderboard.board import find
    from imi_bench.leaderboard.entry import examine

    found = examine(path, board=find(board, boards=boards))
    if as_json:
        print_json(found)
    else:
        for problem in found.problems:
            typer.echo(str(problem))
        if found.coverage is not None:
            made_up = ", on a SIMULATED board" if found.simulated else ""
            share = f"{100 * found.coverage:.1f}% answered"
            typer.echo(f"valid: {plural(found.trials, 'trial')}, {share}{made_up}")
    raise typer.Exit(0 if found.valid else 1)


@group.command("pack")
def pack_command(
    folder: Annotated[Path, typer.Argument(help="Submission folder.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Zip to write; by default beside it.", callback=ending(".zip", what="archive")
        ),
    ] = None,
    reseal: Annotated[
        bool, typer.Option("--reseal", help="Take files that changed since it was made.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Zip a submission folder; the same files give the same bytes."""
    from imi_bench.leaderboard.pack import pack

    packed = pack(folder, out=out, reseal=reseal)
    print_json({"zip": packed}) if as_json else typer.echo(packed)


@group.command("pr")
def pr_command(
    path: Annotated[Path, typer.Argument(help="Submission folder or zip.")],
    board: _BoardName,
    boards: Boards = None,
    text: Annotated[
        Path | None,
        typer.Option(
            help="File for the text; printed if left out.",
            callback=ending(".md", ".txt", "", what="text"),
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put a submission and the board's new files in place, and write the pull request's text."""
    from imi_bench.leaderboard.board import find
    from imi_bench.leaderboard.entry import add
    from imi_bench.provenance import write_text

    added = add(path, board=find(board, boards=boards))
    note(added.sentence)
    note(f"next: commit {added.table.board}/ on a branch and open a pull request with this text")
    if text is not None:
        write_text(text, added.pull_request)
    if as_json:
        print_json({"folder": added.folder, "text": added.pull_request, "file": text})
    else:
        typer.echo(added.pull_request if text is None else text)


@group.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of submission.toml."""
    from imi_bench.leaderboard.submission import json_schema

    print_json(json_schema())
