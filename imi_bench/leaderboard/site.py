"""The site: a folder of pages for each board, and an index over all of them."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from imi_bench.arguments import checked
from imi_bench.executors import Executor, Shard, chosen
from imi_bench.leaderboard.board import Board
from imi_bench.leaderboard.render import check, number, render, render_pages, write
from imi_bench.leaderboard.rows import Table
from imi_bench.leaderboard.verify import verify
from imi_bench.pages.shell import environment
from imi_bench.places import exclusive

__all__ = ["build_board", "build_site", "check_board"]

_SHEET = "stimuli.webp"


@checked
def build_board(
    board: Board,
    *,
    fresh: bool = False,
    withdrawn: Collection[str] = (),
    executor: str | Executor = "local",
) -> Table:
    """Recompute a board and write its Markdown, CSV and JSON beside its evidence.

    Parameters
    ----------
    board : Board
    fresh : bool
        Compute every row again, also those known from before.
    withdrawn : Collection[str]
        Collection of str
        ``name/revision`` of rows whose files were taken back on purpose.
    executor : str or Executor
        As in `imi_bench.leaderboard.verify.verify`.

    Raises
    ------
    SharesMissingError
        As `imi_bench.leaderboard.verify.verify`.
    NotComparableError
        If its rules were changed after it was published, or evidence of known rows is missing.
    InputError
        If it belongs to an installed package.
    """
    board.require_writable()
    board.require_frozen()
    board.require_evidence(withdrawn=withdrawn)
    who = chosen(executor)
    if isinstance(who, Shard):  # at the same time as the others
        verify(board, executor=who)
    with exclusive(board.folder, wait=True):
        table, _ = verify(board, fresh=fresh, executor="local" if isinstance(who, Shard) else who)
        write(render(table), board.folder)
    return table


@checked
def check_board(board: Board, *, fresh: bool = False) -> Table:
    """Recompute a board and compare it with the files that lie beside its evidence.

    Raises
    ------
    CheckFailedError
        If a file is not what the evidence gives.
    NotComparableError
        As `build_board`.
    """
    board.require_evidence()
    table, _ = verify(board, fresh=fresh)
    check(render(table), board.folder)
    return table


@checked
def build_site(boards: Sequence[Board], site: Path, *, fresh: bool = False) -> list[Path]:
    """Recompute boards and write a site: ``index.html`` and a folder for each.

    The committed files of the boards are left alone; their CSV and JSON are written anew on the
    site. A folder of a board that was built before is replaced.

    Parameters
    ----------
    boards : sequence of Board
    site : Path
        Folder, made if missing.
    fresh : bool
        Compute every row again, also those known from before.

    Returns
    -------
    list of Path
        The pages written, the index first.
    """
    tables, pages = [], [site / "index.html"]
    for board in boards:
        board.require_evidence()
        table, details = verify(board, fresh=fresh)
        folder = site / board.rules.board
        if (folder / "board.json").is_file():
            shutil.rmtree(folder)
        files = render_pages(table, details=details)
        write(files | render(table), folder)
        if (board.folder / _SHEET).is_file():
            shutil.copyfile(board.folder / _SHEET, folder / _SHEET)
        pages += [folder / name for name in files]
        tables.append(table.ordered())
    page = environment("imi_bench.leaderboard").get_template("index.html.j2")
    write({"index.html": page.render(boards=tables, number=number)}, site)
    return pages
