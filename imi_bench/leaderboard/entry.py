"""Entering a board: the place a submission would get, its files, the text of its pull request."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from imi_bench.arguments import checked
from imi_bench.errors import InputError, SubmissionError
from imi_bench.leaderboard.archive import Problem, read_files
from imi_bench.leaderboard.board import Board
from imi_bench.leaderboard.rows import Row, Table
from imi_bench.leaderboard.site import build_board
from imi_bench.leaderboard.validate import require_valid, validate
from imi_bench.leaderboard.verify import Judge, verify
from imi_bench.plots import bars
from imi_bench.provenance import atomic_path
from imi_bench.results import Result
from imi_bench.text import markdown, plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False, repr=False)
class Added(Result):
    """A submission in its place on a board.

    Attributes
    ----------
    folder : Path
        Where its files lie; where they would, if it is only tried.
    row : Row
    table : Table
        The board with it.
    """

    folder: Path
    row: Row
    table: Table

    @property
    def sentence(self) -> str:
        """Rank, interval and score in one line."""
        ranked = sum(row.rank is not None for row in self.table.rows)
        place = f"rank {self.row.rank} [{self.row.rank_low}–{self.row.rank_high}] of {ranked}"
        label = " (simulated)" if self.table.simulated else ""
        score = f"{self.table.score_name} {self.row.score} {self.table.unit}"
        lost = f", {100 * self.row.coverage:.1f}% answered" if self.row.coverage < 1 else ""
        named = f"{self.row.name}/{self.row.revision} on {self.table.board}{label}"
        return f"{named}: {place}, {score}{lost}"

    @property
    def title(self) -> str:
        """Rank, interval and score in one line."""
        return self.sentence

    def to_frame(self) -> pd.DataFrame:
        """The board with it; see `Table.to_frame`."""
        return self.table.to_frame()

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the board with it; see `Table.plot`."""
        return self.table.plot(ax=ax)

    @property
    def pull_request(self) -> str:
        """Title and text of a pull request, in Markdown."""
        facts = [f"- {name}: {markdown(fact)}" for name, fact in self.row.facts.items()]
        claims = [f"- claims {name} {value:g}" for name, value in self.row.claims.items()]
        lines = [
            f"# {self.table.board}: {self.row.name}, revision {self.row.revision}",
            "",
            markdown(self.row.title),
            "",
            f"Recomputed from its evidence: {markdown(self.sentence)}.",
            "",
            *facts,
            *claims,
            "",
            f"Check: `imi-bench leaderboard check {self.table.board} --fresh`",
            "",
        ]
        return "\n".join(lines)


@dataclass(frozen=True, repr=False)
class Examined(Result):
    """Whether a submission can be scored, and what is wrong with it.

    Attributes
    ----------
    trials : int
        How many it answers; 0 if it has problems.
    coverage : float or None
        Share of the board's trials that it answers; None if it has problems.
    problems : tuple of Problem
    simulated : bool
        The board's answers or images were made up.
    """

    trials: int
    coverage: float | None
    problems: tuple[Problem, ...]
    simulated: bool = False

    @property
    def valid(self) -> bool:
        """Whether it can be scored."""
        return self.coverage is not None

    @property
    def title(self) -> str:
        """Whether it can be scored, and of how many trials."""
        made_up = ", simulated" if self.simulated else ""
        if self.coverage is None:
            return f"Not a valid submission: {plural(len(self.problems), 'problem')}{made_up}"
        return f"A valid submission: {self.trials} trials, {self.coverage:.1%} answered{made_up}"

    def to_frame(self) -> pd.DataFrame:
        """One row a problem: `file`, `field`, `message`."""
        rows = [vars(one) for one in self.problems]
        return pd.DataFrame(rows, columns=["file", "field", "message"])

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw how many problems each file has."""
        counts = Counter(one.file for one in self.problems)
        return bars(counts, xlabel="problems", title=self.title, ax=ax)

    def to_json(self) -> dict[str, Any]:
        """JSON object, with the verdict."""
        return {"valid": self.valid, **super().to_json()}


@checked
def examine(path: str | Path, *, board: Board) -> Examined:
    """List every problem of a submission; what has none can be scored.

    Raises
    ------
    InputError
        If there is no such folder or zip.
    NotComparableError
        If the board's trials or humans are not those it was published with.
    """
    path = Path(path)
    if not path.exists():
        raise InputError("no such folder or zip", where=path, wanted="a submission")
    entry, problems = validate(path, board=board)
    if entry is None:
        return Examined(0, None, tuple(problems), board.rules.simulated)
    judged = Judge.of(board).judge(path)
    if isinstance(judged, list):
        return Examined(0, None, tuple(judged), board.rules.simulated)
    return Examined(len(entry.trials), entry.coverage, (), board.rules.simulated)


@checked
def place(path: Path, *, board: Board) -> Added:
    """The row and rank that a valid submission would get; writes nothing.

    Raises
    ------
    SubmissionError
        If it has problems.
    NotComparableError
        If the board waits for its evidence.
    """
    entry = require_valid(path, board=board)
    name, revision = entry.declaration.name, entry.declaration.revision
    folder = board.folder / "submissions" / name / revision
    extra = () if path.resolve() == folder.resolve() or folder.exists() else (path,)
    table, _ = verify(board, extra=extra)
    rows = [r for r in table.rows if (r.name, r.revision, r.kind) == (name, revision, "submission")]
    if not rows:
        reasons = [why for where, why in table.rejected if where == path.name]
        raise SubmissionError("cannot be scored", where=path, found=next(iter(reasons), None))
    return Added(folder, rows[0], table.ordered())


@checked
def add(path: Path, *, board: Board) -> Added:
    """Copy a valid submission into the board's folder, and build the board.

    Raises
    ------
    InputError
        If the board has one of this name and revision, or belongs to an installed package.
    SubmissionError
        If it has problems.
    """
    board.require_writable()
    board.require_frozen()
    entry = require_valid(path, board=board)
    name, revision = entry.declaration.name, entry.declaration.revision
    folder = board.folder / "submissions" / name / revision
    if folder.exists():
        raise InputError(
            "the board has this revision already",
            where=folder,
            do="give the new one another revision=",
        )
    files, _ = read_files(path)
    added = place(path, board=board)
    for file, data in files.items():
        with atomic_path(folder / file) as temporary:
            temporary.write_bytes(data)
    build_board(board)
    return added
