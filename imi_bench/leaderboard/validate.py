"""Hold a submission against its board: every problem at once, with file and field."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from imi_bench.arguments import checked
from imi_bench.arrays import Ints
from imi_bench.errors import ImiBenchError, SubmissionError
from imi_bench.leaderboard.archive import Problem, hashes, read_files
from imi_bench.leaderboard.board import Board, Reference
from imi_bench.leaderboard.evidence import evidence_problems
from imi_bench.leaderboard.leakage import leakage, leakage_of_run
from imi_bench.leaderboard.names import look_alike
from imi_bench.leaderboard.panel import Panel
from imi_bench.leaderboard.submission import MAX_ROWS, Declaration, Submission, parse
from imi_bench.tables import (
    ANSWERED,
    STATUSES,
    DecisionVariables,
    Strings,
    TrialIndex,
    shown_first_is_positive,
)
from imi_bench.text import plural

_DECISIONS = "decisions.parquet"
LARGEST = 1e15
MOST_PARTS = 40
"""Observers that a measure may be learnt from."""


@dataclass(frozen=True, eq=False)
class Entry:
    """A valid submission, ready to be scored.

    Attributes
    ----------
    declaration : Declaration
    decisions : tuple of DecisionVariables
        One an observer: a single one on observers boards, several on measures boards, the panel on
        networks boards.
    trials : TrialIndex
        The trials answered.
    coverage : float
        Answered trials as a share of the board's (or, on networks boards, the submission's).
    run : dict
    reference : bool
        Whether it is one of the board's own yardsticks.
    """

    declaration: Declaration
    decisions: tuple[DecisionVariables, ...]
    trials: TrialIndex
    coverage: float
    run: dict[str, object]
    reference: bool = False


@dataclass(frozen=True, eq=False)
class Expected:
    """The trials a submission must answer, with the sides drawn for them.

    Attributes
    ----------
    index : TrialIndex
    sides : (T,) str
        ``positive`` or ``negative``: the kind of query shown first.
    rows : pandas.Index
        Trial ids, for look-ups.
    """

    index: TrialIndex
    sides: Strings
    rows: pd.Index

    def rows_of(self, trial_ids: pd.Series[str]) -> Ints:
        """Row of each trial id; -1 for what is no trial of the board."""
        ids = trial_ids.to_numpy(dtype=object)
        if len(ids) == len(self.index) and (ids == self.index.trial_id).all():
            return np.arange(len(ids))
        return np.asarray(self.rows.get_indexer(pd.Index(ids, dtype=object)), dtype=np.int64)

    @classmethod
    def of(cls, index: TrialIndex, board: Board) -> Expected:
        """Draw the sides by the board's seed."""
        first = shown_first_is_positive(index.trial_id, seed=board.rules.sides_seed)
        sides = np.where(first, "positive", "negative").astype(object)
        return cls(index, sides, pd.Index(index.trial_id, dtype=object))


@checked
def validate(
    path: Path,
    *,
    board: Board,
    trials: Expected | None = None,
    panel: Panel | None = None,
    reference: Reference | None = None,
) -> tuple[Entry | None, list[Problem]]:
    """Read a submission folder or zip and check it.

    Parameters
    ----------
    path : Path
        Nothing in it is trusted, unpickled, imported or executed.
    board : Board
    trials : Expected, optional
        The board's trials, where the caller has read them already (observers boards).
    panel : Panel, optional
        The board's calibrated observers, likewise (networks boards).
    reference : Reference, optional
        The yardstick whose evidence this is; its hash is then checked instead of its name.

    Returns
    -------
    entry : Entry or None
        None if there is any problem.
    problems : list of Problem
    """
    files, problems = read_files(path)
    networks = board.rules.kind == "networks"
    if not networks and trials is None:
        trials = Expected.of(board.study().trials, board)
    tables = MOST_PARTS if board.rules.kind == "measures" else 2
    rows = MAX_ROWS if trials is None else tables * len(trials.index)
    submission, more = parse(files, rows=min(rows, MAX_ROWS))
    problems += more
    if submission is None:
        return None, problems
    problems += _declaration_problems(submission, board)
    problems += _file_problems(submission.declaration, files)
    problems += _name_problems(submission.declaration, files, board, reference)
    if networks:
        index, more = _own_trials(submission)
        if index is None:
            return None, problems + more
        trials = Expected.of(index, board)
        panel = panel or Panel.of(board)
        problems += evidence_problems(submission.declaration, index, board)
        problems += panel.problems(submission.decisions, index)
    elif trials is not None:
        if submission.trials is not None:
            problems.append(Problem("trials.parquet", "", "unexpected: the board has the trials"))
        problems += leakage(submission.declaration.calibration, trials.index, board)
        problems += leakage_of_run(submission.run, trials.index, board)
    if trials is None or (problems := problems + _table_problems(submission, trials, board)):
        return None, problems
    return _entry(submission, trials, reference)


def _entry(
    submission: Submission, trials: Expected, reference: Reference | None
) -> tuple[Entry | None, list[Problem]]:
    try:
        decisions = _decisions(submission.decisions, trials)
    except ImiBenchError as error:
        return None, [Problem(_DECISIONS, "", str(error))]
    main = ~trials.index.catch
    if not all((d.answered & main).any() for d in decisions):
        return None, [Problem(_DECISIONS, "status", "no main trial is answered")]
    answered = sum(int(d.answered.sum()) for d in decisions)
    coverage = answered / (len(trials.index) * len(decisions))
    declared, run = submission.declaration, submission.run
    return Entry(declared, decisions, trials.index, coverage, run, reference is not None), []


def require_valid(path: Path, *, board: Board) -> Entry:
    """The entry, or one error that counts the problems and names the first.

    Raises
    ------
    SubmissionError
        If there is any problem.
    """
    entry, problems = validate(path, board=board)
    if entry is None:
        raise SubmissionError(
            f"{len(problems)} problems in the submission"
            if len(problems) > 1
            else "bad submission",
            where=path,
            found=problems[0],
            do=f"list them all with `imi-bench submit validate {path}`",
        )
    return entry


def _declaration_problems(submission: Submission, board: Board) -> list[Problem]:
    declared, name = submission.declaration, "submission.toml"
    problems = []
    if declared.board != board.rules.board:
        problems.append(
            Problem(name, "board", f"found '{declared.board}', wanted '{board.rules.board}'")
        )
    saw = declared.calibration.units or declared.calibration.networks
    if declared.training.imi and not saw:
        problems.append(
            Problem(name, "calibration.units", "trained on IMI answers: list the units it saw")
        )
    if board.rules.kind != "networks":
        problems += _trials_problems(submission, board)
    return problems


def _trials_problems(submission: Submission, board: Board) -> list[Problem]:
    """Runs over other trials than the board's; a measure has a run for each of its parts."""
    wanted, runs, place = board.rules.trials_hash, [submission.run], ""
    if board.rules.kind == "measures" and "parts" in submission.run:
        told, place = submission.run["parts"], "parts."
        if not isinstance(told, list) or not 1 <= len(told) <= MOST_PARTS:
            why = f"wanted 1 to {MOST_PARTS} records of runs"
            return [Problem("run.json", "parts", why)]
        runs = told
    found = [one.get("trials") if isinstance(one, dict) else None for one in runs]
    hashes_ = [one.get("hash") if isinstance(one, dict) else None for one in found]
    wrong = [one for one in hashes_ if one != wanted]
    if not wrong:
        return []
    why = f"found {str(wrong[0])[:80]!r}, wanted {wanted!r}"
    return [Problem("run.json", f"{place}trials.hash", why)]


def _file_problems(declared: Declaration, files: dict[str, bytes]) -> list[Problem]:
    """Files that are not those which were packed."""
    said = declared.files.model_dump(by_alias=True, exclude_none=True)
    found = hashes(files)
    return [
        Problem(
            name,
            "",
            f"is not the file that was packed; found {found.get(name, 'none')}, wanted "
            f"{said.get(name, 'none')}: send it again, or pack again by `imi-bench submit pack`",
        )
        for name in sorted(said.keys() | found.keys())
        if said.get(name) != found.get(name)
    ]


def _name_problems(
    declared: Declaration, files: dict[str, bytes], board: Board, reference: Reference | None
) -> list[Problem]:
    """Names and titles that only the board may give; a yardstick that is not the rules' own."""
    name = "submission.toml"
    if reference is not None:
        same = hashes(files).get(_DECISIONS) == reference.sha256
        if same and (declared.name, declared.title) == (reference.name, reference.title):
            return []
        return [Problem(name, "name", f"not the evidence that board.toml names '{reference.name}'")]
    return [
        Problem(name, field, f"found '{text}', which looks like the board's own '{taken}'")
        for field, text in (("name", declared.name), ("title", declared.title))
        if (taken := look_alike(text, board.rules)) is not None
    ]


def _own_trials(submission: Submission) -> tuple[TrialIndex | None, list[Problem]]:
    if submission.trials is None:
        return None, [Problem("trials.parquet", "", "missing: a networks board needs the trials")]
    try:
        return TrialIndex.from_frame(submission.trials), []
    except (ImiBenchError, ValueError, OverflowError) as error:
        return None, [Problem("trials.parquet", "", str(error))]


def _table_problems(submission: Submission, expected: Expected, board: Board) -> list[Problem]:
    frame = submission.decisions
    if frame.empty:
        return [Problem(_DECISIONS, "", "found no rows, wanted one a trial")]
    problems = []

    def report(column: str, bad: pd.Series[bool], wanted: str) -> None:
        if bad.any():
            row = int(np.flatnonzero(bad.to_numpy())[0])
            found = str(frame[column].iloc[row])[:80]
            message = (
                f"{plural(int(bad.sum()), 'row')}, first row {row}: found "
                f"{found!r}, wanted {wanted}"
            )
            problems.append(Problem(_DECISIONS, column, message))

    observers = frame["observer"].unique()
    if board.rules.kind == "networks":
        if set(map(str, observers)) != set(board.rules.panel):
            found = ", ".join(sorted(str(o)[:40] for o in observers)[:8])
            wanted = ", ".join(board.rules.panel)
            problems.append(Problem(_DECISIONS, "observer", f"found {found}; wanted {wanted}"))
    elif board.rules.kind == "measures":
        if len(observers) > MOST_PARTS:
            message = f"found {plural(len(observers), 'observer')}, wanted at most {MOST_PARTS}"
            problems.append(Problem(_DECISIONS, "observer", message))
    elif len(observers) != 1:
        message = f"found {plural(len(observers), 'observer')}, wanted 1"
        problems.append(Problem(_DECISIONS, "observer", message))
    strange = {o for o in observers.tolist() if len(o) > 300 or not o.isprintable()}
    report("observer", frame["observer"].isin(strange), "a name that can be seen")
    rows = expected.rows_of(frame["trial_id"])
    report("trial_id", pd.Series(rows < 0), "a trial of the board")
    report("trial_id", frame.duplicated(["observer", "trial_id"]), "each trial once")
    report("status", ~frame["status"].isin(STATUSES), " or ".join(STATUSES))
    value = frame["decision_variable"].astype(float)
    report("decision_variable", value.abs() == np.inf, "a finite number")
    size = value.abs()
    wide = (size > LARGEST) | ((size > 0) & (size < 1 / LARGEST))
    report(
        "decision_variable", wide & np.isfinite(size), f"a size from 1/{LARGEST:g} to {LARGEST:g}"
    )
    answered = frame["status"].isin(ANSWERED)
    report("decision_variable", answered & value.isna(), "a number where the status is ok or tie")
    report("decision_variable", ~answered & value.notna(), "none where the status says none")
    tie = frame["status"] == "tie"
    report("status", answered & (tie != (value == 0)), "tie exactly where the number is 0")
    wrong_side = (rows >= 0) & (frame["shown_first"].to_numpy() != expected.sides[rows])
    sides = f"the side drawn from seed {board.rules.sides_seed}"
    report("shown_first", pd.Series(wrong_side), sides)
    return problems


def _decisions(frame: pd.DataFrame, expected: Expected) -> tuple[DecisionVariables, ...]:
    """One table an observer over all trials of the index; missing trials count as errors."""
    tables = []
    count = len(expected.index)
    for name, own in frame.groupby("observer", sort=True):
        rows = expected.rows_of(own["trial_id"])
        value, status = np.full(count, np.nan), np.full(count, "error", dtype=object)
        value[rows], status[rows] = own["decision_variable"], own["status"]
        tables.append(
            DecisionVariables(
                observer=str(name),
                trial_id=expected.index.trial_id,
                decision_variable=value,
                status=status,
                shown_first=expected.sides,
                seconds=np.zeros(count),
            )
        )
    return tuple(tables)
