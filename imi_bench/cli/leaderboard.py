"""`imi-bench leaderboard`: recompute, render and check boards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imi_bench.cli.network_options import ExecutorName, Shard
from imi_bench.cli.output import AsJson, new_folder, note, print_json, print_table
from imi_bench.errors import ImiBenchError, InputError
from imi_bench.text import plural

group = typer.Typer(no_args_is_help=True, help="Recompute, render and check boards.")

_BoardName = Annotated[str, typer.Argument(help="A shipped board's name, or a folder.")]
Boards = Annotated[
    Path | None, typer.Option("--boards", help="Folder of boards to look in, not the shipped ones.")
]
_Fresh = Annotated[
    bool, typer.Option("--fresh", help="Compute every row again, also those known from before.")
]


@group.command("list")
def list_command(boards: Boards = None, as_json: AsJson = False) -> None:
    """Show the boards that come with the package, or those of a folder."""
    from imi_bench.leaderboard.board import listed

    found = listed(boards)
    if as_json:
        print_json({"boards": [b.rules.model_dump(mode="json") for b in found]})
        return
    rows = [
        (
            b.rules.board,
            b.rules.kind,
            b.rules.version,
            len(b.submissions()),
            "simulated" if b.rules.simulated else "",
            b.rules.title,
        )
        for b in found
    ]
    print_table(("board", "kind", "version", "submissions", "data", "title"), rows)


@group.command("verify")
def verify_command(
    board: _BoardName,
    boards: Boards = None,
    fresh: _Fresh = False,
    shard: Shard = None,
    executor: ExecutorName = "local",
    as_json: AsJson = False,
) -> None:
    """Recompute every score of a board from its evidence and print the table.

    With --shard some submissions are judged and kept in the cache, which all shares must see; the
    command that finds all shares done, or one without --shard, prints the table.
    """
    from imi_bench.executors import SharesMissingError, choose
    from imi_bench.leaderboard.board import find
    from imi_bench.leaderboard.render import number, training
    from imi_bench.leaderboard.verify import verify

    found = find(board, boards=boards)
    found.require_evidence()
    try:
        table, _details = verify(found, fresh=fresh, executor=choose(executor, shard=shard))
    except SharesMissingError as error:
        _share_done(shard, error, as_json=as_json)
        return
    table = table.ordered()
    if as_json:
        print_json(table)
        return
    extra = table.extra
    print_table(
        (
            "rank",
            "group",
            "name",
            f"{table.score_name} ({table.unit})",
            *extra,
            "coverage",
            "training data",
        ),
        [
            (
                f"{r.rank} [{r.rank_low}–{r.rank_high}]" if r.rank else r.kind,
                r.group or "",
                r.name,
                r.score,
                *(number(r.more[n].value) if n in r.more else "–" for n in extra),
                f"{100 * r.coverage:.1f}%",
                training(r),
            )
            for r in table.rows
        ],
        title=table.title + (" (simulated)" if table.simulated else ""),
        right=(*extra, "coverage"),
        spare=("training data", *extra[::-1], "group"),
    )
    for folder, problem in table.rejected:
        note(f"not scored: {folder}: {problem}")


def _share_done(shard: str | None, error: ImiBenchError, *, as_json: bool) -> None:
    note(f"share {shard} is done; {error.found}; the others are missing")
    if as_json:
        print_json({"finished": False})


@group.command("build")
def build_command(
    names: Annotated[
        list[str] | None, typer.Argument(help="Boards' names, or folders; with --site all.")
    ] = None,
    boards: Boards = None,
    site: Annotated[
        Path | None,
        typer.Option(
            help="Write pages into this folder, an index over them included.", callback=new_folder
        ),
    ] = None,
    fresh: _Fresh = False,
    withdraw: Annotated[
        list[str] | None,
        typer.Option(help="NAME/REVISION whose row and files are taken back; repeat for several."),
    ] = None,
    shard: Shard = None,
    executor: ExecutorName = "local",
    as_json: AsJson = False,
) -> None:
    """Recompute boards and write Markdown, CSV and JSON beside the evidence, or a site of pages."""
    from imi_bench.executors import Local, SharesMissingError, choose
    from imi_bench.leaderboard.board import find, listed
    from imi_bench.leaderboard.site import build_board, build_site

    who = choose(executor, shard=shard)
    if site is not None and who != Local():
        raise InputError("a site is built here", found="--shard or --executor", do="leave it out")
    if site is not None:
        chosen = [find(name, boards=boards) for name in names] if names else listed(boards)
        pages = build_site(chosen, site, fresh=fresh)
        if as_json:
            print_json({"pages": pages})
        else:
            typer.echo(f"{plural(len(pages), 'page')}; open {pages[0]}")
        return
    if not names:
        raise InputError("no board", wanted="a board's name or folder, or --site DIR for all")
    built = []
    for name in names:
        board = find(name, boards=boards)
        try:
            table = build_board(board, fresh=fresh, withdrawn=withdraw or (), executor=who)
        except SharesMissingError as error:
            _share_done(shard, error, as_json=as_json)
            return
        for folder, problem in table.rejected:
            note(f"not scored: {folder}: {problem}")
        built.append(
            {
                "board": board.rules.board,
                "folder": board.folder,
                "simulated": table.simulated,
                "rows": len(table.rows),
                "not_scored": [folder for folder, _ in table.rejected],
            }
        )
        if not as_json:
            made_up = " (simulated)" if table.simulated else ""
            typer.echo(
                f"{board.rules.board}{made_up}: {plural(len(table.rows), 'row')} in {board.folder}"
            )
    if as_json:
        print_json({"boards": built})


@group.command("add")
def add_command(
    submission: Annotated[Path, typer.Argument(help="Submission folder or zip.")],
    board: _BoardName,
    boards: Boards = None,
    as_json: AsJson = False,
) -> None:
    """Put a valid submission into a board's folder and build the board."""
    from imi_bench.leaderboard.board import find
    from imi_bench.leaderboard.entry import add

    added = add(submission, board=find(board, boards=boards))
    if as_json:
        told = {"simulated": added.table.simulated, "coverage": added.row.coverage}
        print_json({"folder": added.folder, "sentence": added.sentence, **told})
        return
    note(added.sentence)
    typer.echo(added.folder)


@group.command("check")
def check_command(
    board: _BoardName, boards: Boards = None, fresh: _Fresh = False, as_json: AsJson = False
) -> None:
    """Fail (exit 1) if a board's files are not what its evidence gives."""
    from imi_bench.leaderboard.board import find
    from imi_bench.leaderboard.site import check_board

    table = check_board(find(board, boards=boards), fresh=fresh)
    if as_json:
        print_json({"board": table.board, "simulated": table.simulated, "ok": True})
        return
    made_up = " (simulated)" if table.simulated else ""
    typer.echo(f"{table.board}{made_up}: every file is what the evidence gives")
