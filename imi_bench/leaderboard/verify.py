"""Recompute a board from its evidence: validate, score, rank.

Nothing a submission says of its own scores is used. A change to a score is a change to this code,
and re-scores every submission ever made.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self, TypeAlias

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

from imi_bench.arguments import checked
from imi_bench.errors import ImiBenchError, InputError, NotComparableError
from imi_bench.executors import Executor, Local, Piece, Shard, chosen, require_finished
from imi_bench.leaderboard.archive import Problem
from imi_bench.leaderboard.board import Board, Reference
from imi_bench.leaderboard.measures import MeasureScores
from imi_bench.leaderboard.networks import NetworkScores
from imi_bench.leaderboard.observers import ObserverScores
from imi_bench.leaderboard.ranking import rank
from imi_bench.leaderboard.rows import Detail, Row, Scored, Table
from imi_bench.leaderboard.store import Store
from imi_bench.leaderboard.validate import validate
from imi_bench.progress import progress
from imi_bench.stats.estimate import Estimate
from imi_bench.text import one_line
from imi_bench.threads import one_thread

BoardScores: TypeAlias = ObserverScores | MeasureScores | NetworkScores
SCORE_HELP = {
    "bits": "Held-out log-likelihood of single human answers, in bits an answer above guessing, "
    "under a choice model fitted to people on other units. Higher is better.",
    "gain": "Bits an answer above the base rate of mode and difficulty, both predicted for units "
    "that neither has seen: of each network that is held out in turn, or of each tenth of the "
    "units. The board itself learns the measure, from what a submission's observers decide. Not "
    "to be compared with the bits of observers, which do not know mode and difficulty. Higher is "
    "better.",
    "interpretability": "Mean over units of the probability that a person would choose the "
    "activating query (natural exemplars, easy queries), predicted by a panel of observers whose "
    "choice models were fitted to people on other networks. A drawn unit that is left out counts "
    "as a guess. Higher is better.",
}
SCORE_UNIT = {"bits": "bits/answer", "gain": "bits/answer", "interpretability": "proportion"}
_LINK = "is a symbolic link, wanted a folder or zip"
_FAULT = "a fault of the program"
_BATCH = 16
_WORTH_PROCESSES = 40
CHANCE = {"bits": 0.0, "gain": 0.0, "interpretability": 0.5}


@checked
@one_thread()
def verify(
    board: Board,
    *,
    fresh: bool = False,
    extra: Sequence[Path] = (),
    executor: str | Executor = "local",
) -> tuple[Table, dict[tuple[str, str], Detail]]:
    """Recompute every row of a board.

    A row is computed again only if its files, the rules, the board's trials and people, the code
    or the numerical libraries have changed (see `imi_bench.leaderboard.store`).

    Parameters
    ----------
    board : Board
    fresh : bool
        Compute every row again.
    extra : sequence of Path
        Submissions that do not lie in the board's folder, shown as if they did.
    executor : str or Executor
        ``local`` (all cores of this machine), ``ray``, ``ray:ADDRESS``, or an object of
        `imi_bench.executors`: who judges the submissions. All machines must see the board and the
        cache under the same paths. Changes no number.

    Returns
    -------
    table : Table
        In no particular order; see `Table.ordered`.
    details : dict
        By name and revision, what each submission's own page shows.

    Raises
    ------
    SharesMissingError
        The executor judged one share of the submissions, and others are missing.
    InputError
        `fresh` with anything but this machine: shares are told from kept rows.
    NotComparableError
        If the board's trials or humans are not those it was published with.
    """
    who = chosen(executor)
    if fresh and not isinstance(who, Local):
        raise InputError("rows are shared through what is kept", found="fresh", do="leave one out")
    scored: list[Scored] = []
    rejected: list[tuple[str, str]] = []
    ceiling = None
    if board.ready:
        scored, rejected, ceiling = _scored(board, fresh=fresh, extra=extra, executor=who)
    rows, resolvable = _ranked(scored, board)
    rules = board.rules
    table = Table(
        board=rules.board,
        heading=rules.title,
        question=rules.question,
        about=rules.about.strip(),
        kind=rules.kind,
        simulated=rules.simulated,
        version=rules.version,
        rules_hash=board.rules_hash,
        study_hash=rules.study_hash or "",
        score_name=rules.ranking.score,
        score_help=SCORE_HELP[rules.ranking.score],
        unit=SCORE_UNIT[rules.ranking.score],
        chance=CHANCE[rules.ranking.score],
        rule=rules.ranking.rule,
        ceiling=ceiling,
        resolvable=resolvable,
        rows=(*rows, *_anchors(board)),
        rejected=tuple(rejected),
    )
    return table, {(s.row.name, s.row.revision): s.detail for s in scored}


@dataclass(frozen=True, eq=False)
class Judge:
    """Says of one submission after another what is wrong with it, or how it scores.

    What `judge` scores, a board shows: `imi-bench submit validate` and `leaderboard build` both ask
    it, and nothing that a submission holds raises.

    Attributes
    ----------
    board : Board
    scores : ObserverScores, MeasureScores or NetworkScores
    store : Store or None
        Rows computed before.
    """

    board: Board
    scores: BoardScores
    store: Store | None = None

    @classmethod
    def of(cls, board: Board, *, store: Store | None = None) -> Self:
        """Read what the board's rows are scored against.

        Raises
        ------
        NotComparableError
            If the board's trials or humans are not those it was published with.
        """
        return cls(board, _scores(board), store)

    def judge(self, path: Path) -> Scored | list[Problem]:
        """The row of a submission, or its problems."""
        if self.store is None:
            return self._judged(path)
        key = self.store.key(path)
        if (known := self.store.get(key)) is not None:
            return known
        result = self._judged(path)
        if lasting(result):
            self.store.put(key, result)
        return result

    def reference(self, reference: Reference) -> Scored:
        """The row of a yardstick of the board.

        Raises
        ------
        NotComparableError
            If its evidence is not what the rules name.
        """
        path = self.board.folder / "references" / reference.name
        result = self._judged(path, reference=reference)
        if isinstance(result, Scored):
            return result
        raise NotComparableError(
            f"the board's yardstick '{reference.name}' cannot be scored",
            where=path,
            found=result[0],
            do="restore its files",
        )

    def _judged(self, path: Path, *, reference: Reference | None = None) -> Scored | list[Problem]:
        expected = self.scores.expected
        panel = self.scores.panel if isinstance(self.scores, NetworkScores) else None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                entry, problems = validate(
                    path, board=self.board, trials=expected, panel=panel, reference=reference
                )
                return problems if entry is None else self.scores.score(entry)
        except ImiBenchError as error:
            return [Problem(".", "", f"cannot be scored: {error}")]
        except Exception as error:  # a stranger's file must not end the whole board
            fault = f"{_FAULT} ({type(error).__name__}: {str(error)[:200]})"
            return [Problem(".", "", f"cannot be scored: {fault}; please report it")]


def lasting(result: Scored | list[Problem] | None) -> bool:
    """Whether a result is the submission's own: a fault of the program may be mended tomorrow."""
    return not isinstance(result, list) or not any(_FAULT in str(problem) for problem in result)


@dataclass(frozen=True)
class _Judging(Piece):
    """Some submissions; finished once the store has a row of each."""

    store: Store | None = None
    keys: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether a result of each is kept."""
        store = self.store
        return store is not None and all(store.get(key) is not None for key in self.keys)


def _judge_elsewhere(
    board: Board, store: Store, keys: Mapping[Path, str], executor: Executor
) -> None:
    """Judge submissions by pieces whose results are kept in the store.

    Raises
    ------
    SharesMissingError
    """
    paths = list(keys)
    pieces = []
    for start in range(0, len(paths), _BATCH):
        batch = paths[start : start + _BATCH]
        pieces.append(
            _Judging(
                f"submissions {start}",
                store.folder,
                partial(_keep, board, store.folder, {path: keys[path] for path in batch}),
                store=store,
                keys=tuple(keys[path] for path in batch),
            )
        )
    executor.run(pieces, label="validating and scoring")
    if isinstance(executor, Shard):
        require_finished(pieces, where=store.folder)


def _keep(board: Board, folder: Path, keys: Mapping[Path, str]) -> None:
    store = Store(folder, board)
    todo = [path for path, key in keys.items() if store.get(key) is None]
    for path, result in _judged_batch(board, todo).items() if todo else ():
        if lasting(result):
            store.put(keys[path], result)


def _scored(
    board: Board, *, fresh: bool, extra: Sequence[Path], executor: Executor
) -> tuple[list[Scored], list[tuple[str, str]], Estimate | None]:
    """Rows of submissions and references, rejected submissions, and the human ceiling."""
    store = Store.of(board)
    judge = Judge.of(board, store=store)
    own = board.submissions()
    linked = {path: [Problem(".", "", _LINK)] for path in own if path.is_symlink()}
    paths = [path for path in (*own, *extra) if path not in linked]
    keys = {path: store.key(path) for path in paths}
    if not isinstance(executor, Local):
        _judge_elsewhere(board, store, keys, executor)
    known = {} if fresh else {path: store.get(key) for path, key in keys.items()}
    todo = [path for path in paths if known.get(path) is None]
    known |= judge_each(judge, todo)
    references = judge.scores.references()
    people, level = references[0] if references else None, board.rules.ranking.level
    changed = set(todo)
    if people is not None:
        for path, result in known.items():
            if isinstance(result, Scored) and result.row.share is None:
                known[path] = result.with_share(people.found, level=level)
                changed.add(path)
    for path in changed:
        if lasting(known[path]):
            store.put(keys[path], known[path])
    scored, rejected = _placed(board, [*own, *extra], known | linked)
    yardsticks = [judge.reference(reference) for reference in board.rules.references]
    if people is None:
        return scored + yardsticks, rejected, None
    others = [s.with_share(people.found, level=level) for s in yardsticks + references[1:]]
    return [*scored, *others, people], rejected, people.row.score


def judge_each(judge: Judge, paths: Sequence[Path]) -> dict[Path, Scored | list[Problem] | None]:
    """Judge many submissions, on all cores where there are enough to pay for processes.

    A submission that ends the process which reads it has that for a problem, and ends nothing else.
    """
    cores = effective_n_jobs(-1)
    size = max(1, min(_BATCH, math.ceil(len(paths) / (4 * cores))))
    batches = [paths[i : i + size] for i in range(0, len(paths), size)]
    many = len(paths) >= _WORTH_PROCESSES and cores > 1
    jobs = Parallel(n_jobs=cores if many else 1, return_as="generator")
    found: dict[Path, Scored | list[Problem] | None] = {}
    plain = judge.board if many else judge
    with progress("validating and scoring", total=len(paths), unit="submissions") as advance:
        try:
            for batch in jobs(delayed(_judged_batch)(plain, batch) for batch in batches):
                found |= batch
                advance(len(batch))
        except BrokenProcessPool:
            left = [path for path in paths if path not in found]
            found |= {path: _judged_apart(plain, path) for path in left}
    return found


def _judged_apart(judge: Judge | Board, path: Path) -> Scored | list[Problem]:
    try:
        (found,) = Parallel(n_jobs=2)([delayed(_judged_batch)(judge, [path])])
    except BrokenProcessPool:
        return [Problem(".", "", f"cannot be scored: {_FAULT} (it ends the process that reads it)")]
    return dict(found)[path]


def _judged_batch(
    judge: Judge | Board, paths: Sequence[Path]
) -> dict[Path, Scored | list[Problem]]:
    with one_thread():
        judge = _judge_of(judge) if isinstance(judge, Board) else judge
        return {path: judge._judged(path) for path in paths}


_judges: dict[tuple[Path, str, str], Judge] = {}


def _judge_of(board: Board) -> Judge:
    """The judge of a board, whose trials and people a process reads once."""
    key = (board.folder, board.rules_hash, board.data_hash)
    if key not in _judges:
        _judges.clear()
        _judges[key] = Judge.of(board)
    return _judges[key]


def _placed(
    board: Board, paths: Sequence[Path], known: Mapping[Path, Scored | list[Problem] | None]
) -> tuple[list[Scored], list[tuple[str, str]]]:
    """Rows whose place fits their name, each once, and the rest with the reason."""
    scored: dict[tuple[str, str], Scored] = {}
    rejected = []
    for path in paths:
        result, place = known[path], _place(board, path)
        if isinstance(result, Scored):
            name = (result.row.name, result.row.revision)
            if (wrong := _misplaced(board, path, name)) is not None:
                rejected.append((place, wrong))
            elif name in scored:
                rejected.append((place, f"a second submission of {'/'.join(name)}"))
            else:
                scored[name] = result
        else:
            problems = result or []
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            rejected.append((place, f"{problems[0]}{more}"))
    return list(scored.values()), rejected


def _place(board: Board, path: Path) -> str:
    inside = path.is_relative_to(board.folder)
    place = path.relative_to(board.folder).as_posix() if inside else path.name
    return one_line(place)  # a file system takes bytes that are no text


def _misplaced(board: Board, path: Path, name: tuple[str, str]) -> str | None:
    if not path.is_dir() or not path.is_relative_to(board.folder):
        return None
    if path.relative_to(board.folder).parts[1:] == name:
        return None
    return f"lies in the wrong folder; move it to submissions/{'/'.join(name)}"


def _scores(board: Board) -> BoardScores:
    kinds: dict[str, type[BoardScores]] = {
        "observers": ObserverScores,
        "measures": MeasureScores,
        "networks": NetworkScores,
    }
    return kinds[board.rules.kind].of(board)


def _ranked(scored: Sequence[Scored], board: Board) -> tuple[list[Row], float]:
    ranked = [s for s in scored if s.row.kind == "submission"]
    if not ranked:
        return [s.row for s in scored], math.nan
    rules = board.rules.ranking
    order = rank(
        np.array([s.row.score.value for s in ranked]),
        spreads=[None if s.found is None else s.found.spread for s in ranked],
        paired=board.rules.kind != "networks",
        seed=rules.seed,
        n_draws=rules.n_resamples,
        level=rules.level,
        alpha=rules.alpha,
    )
    rows = [
        s.row.placed(
            rank=int(order.rank[i]),
            low=int(order.low[i]),
            high=int(order.high[i]),
            group=int(order.group[i]),
            p_leader=float(order.p_leader[i]),
        )
        for i, s in enumerate(ranked)
    ]
    others = [s.row for s in scored if s.row.kind != "submission"]
    return rows + others, order.resolvable


def _anchors(board: Board) -> list[Row]:
    rows = []
    for one in board.rules.anchors:
        known = Estimate(one.value, one.low, one.high, method=f"published: {one.source}")
        rows.append(Row("anchor", one.source, "", one.name, known, {f"mode={one.mode}": known}))
    return rows
