"""The released human table: read, check, and turn into a `Study`.

``model`` is split into network and difficulty, ``optimized`` becomes ``synthetic``, ``rt`` in
milliseconds becomes seconds, and the choice is undone to "the query shown first". A cell that is
not what the schema says stops the reading with all such cells listed; nothing is coerced.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from imi_bench.arguments import checked
from imi_bench.arrays import Bools, Ints
from imi_bench.errors import ResponseError
from imi_bench.provenance import sha256_file
from imi_bench.release.cells import read_cells
from imi_bench.release.checks import COLLECTED_SIMULATED, MODE_OF, Violation, check_rows
from imi_bench.tables import Responses, Study, TrialIndex, split_difficulty
from imi_bench.text import plural

SIMULATED_STIMULUS = "simulated"
SIMULATED_STIMULI = (SIMULATED_STIMULUS, COLLECTED_SIMULATED)


def truth_path(table: Path) -> Path:
    """Where a simulated table's truth lies: ``NAME.truth.json`` beside ``NAME.csv``."""
    return table.with_suffix(".truth.json")


@dataclass(frozen=True, eq=False)
class ReleasedTable:
    """A checked released table, every row of it: main, catch and practice trials.

    Attributes
    ----------
    frame : DataFrame
        R rows; the columns that were read, typed (text as categoricals, empty cells as NA), and
        added: `row` (number in the file, from 1), `network`, `difficulty`, `seconds`,
        `chose_first`, `main` (neither catch nor practice).
    violations : tuple of Violation
        What the skipped rows break; empty unless they were skipped on request.
    skipped : int
        Number of rows left out for it.
    simulated : bool
        True where the file says so: `stimulus` is ``simulated``, or a truth file lies beside it.
    path : Path
    """

    frame: pd.DataFrame
    violations: tuple[Violation, ...]
    skipped: int
    simulated: bool
    path: Path

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def file_hash(self) -> str:
        """SHA-256 of the file's bytes."""
        return sha256_file(self.path)

    @cached_property
    def main(self) -> Bools:
        """(R,) rows of main trials."""
        return self.frame["main"].to_numpy(dtype=bool)

    @cached_property
    def kept_as_released(self) -> Bools:
        """(R,) main rows that the authors kept: checks passed, no multiple participation."""
        passed = self.frame["passed_checks"].to_numpy(dtype=bool)
        multiple = self.frame["multi_participation"].to_numpy(dtype=bool)
        return np.asarray(self.main & passed & ~multiple)

    def study(self, rows: Bools | None = None) -> Study:
        """Type the chosen main rows as trials and responses.

        Parameters
        ----------
        rows : (R,) bool, optional
            Which rows; those the authors kept by default. See `exclusions.exclude` for others.

        Raises
        ------
        ResponseError
            If a chosen row is a catch or practice trial: those are not answers on a unit.
        InputError
            If a participant answered the same trial twice among the chosen rows.
        """
        rows = self.kept_as_released if rows is None else np.asarray(rows, dtype=bool)
        if (rows & ~self.main).any():
            raise ResponseError(
                "catch and practice trials are not answers on a unit",
                where=self.path,
                found=plural(int((rows & ~self.main).sum()), "such row"),
                wanted="main trials only",
            )
        part = self.frame.loc[rows]
        shown = pd.DataFrame(
            {
                "network": part["network"],
                "layer": part["layer"],
                "unit": part["channel"],
                "mode": part["mode"],
                "difficulty": part["difficulty"],
                "batch": part["batch"],
            }
        )
        trial, first = _group(shown)
        unique = shown.iloc[first].reset_index(drop=True)
        unique = unique.astype({"mode": object}).assign(catch=False)
        unique["mode"] = unique["mode"].map(MODE_OF)
        unique.insert(0, "trial_id", TrialIndex.canonical_ids(unique))
        index = TrialIndex.from_frame(unique)
        responses = Responses(
            trial_id=index.trial_id[trial],
            participant=part["participant_id"].astype(object).to_numpy(),
            correct=part["correct"].to_numpy(dtype=bool),
            chose_first=part["chose_first"].to_numpy(dtype=float),
            confidence=part["confidence"].to_numpy(dtype=float),
            seconds=part["seconds"].to_numpy(dtype=float),
            simulated=self.simulated,
            source=f"{'simulated answers' if self.simulated else 'answers'} of {self.path.name}",
        )
        return Study(index, responses, self._catch_answers(part["participant_id"]))

    def _catch_answers(self, participants: pd.Series) -> tuple[int, int]:
        """Wrong and all answers of some people to catch trials."""
        frame = self.frame
        rows = frame["catch_trial"].to_numpy(dtype=bool) & ~frame["is_demo"].to_numpy(dtype=bool)
        rows &= frame["participant_id"].isin(participants.unique()).to_numpy()
        correct = frame["correct"].to_numpy(dtype=bool)[rows]
        return int((~correct).sum()), len(correct)


def _group(shown: pd.DataFrame) -> tuple[Ints, Ints]:
    """Number of each row's trial, and the first row of each trial."""
    code = np.zeros(len(shown), dtype=np.int64)
    for name in shown:
        values, uniques = pd.factorize(shown[name])
        code = code * max(len(uniques), 1) + values
    _, first, trial = np.unique(code, return_index=True, return_inverse=True)
    return trial.astype(np.int64), first.astype(np.int64)


def read_responses(path: Path) -> Study:
    """Read a released CSV table: the main trials the authors kept, as a typed study.

    Raises
    ------
    ResponseError
        As `read_release`.
    """
    return read_release(path).study()


@checked
def read_release(path: Path, *, skip_bad: bool = False) -> ReleasedTable:
    """Read and check a released CSV table.

    Parameters
    ----------
    path : Path
        ``responses_main.csv``, ``responses_lower_quality.csv``, ``responses_all.csv``, or a
        simulated one. Columns may come in any order, and there may be more.
    skip_bad : bool
        Leave out the rows that break an expectation instead of refusing the file; they are
        counted and listed in the result.

    Raises
    ------
    ResponseError
        If the file is no CSV table, is a pickle (never opened), lacks a column, or any row breaks
        an expectation: one line that names each of them with row numbers and counts.
    """
    table = inspect_release(path)
    if table.violations and not skip_bad:
        found = "; ".join(map(str, table.violations))
        raise ResponseError(
            f"the table breaks {len(table.violations)} expectation"
            + ("s" if len(table.violations) > 1 else ""),
            where=path,
            found=found,
            do=f"`imi-bench data verify {path}` lists them; skip_bad=True leaves such rows out",
        )
    return table


def inspect_release(path: Path) -> ReleasedTable:
    """Read and check a released table; violations are in the result, their rows left out.

    Raises
    ------
    ResponseError
        If there is no table to check: not a CSV file, or a column missing.
    """
    frame, report = read_cells(path)
    _add_derived(frame)
    check_rows(frame, report)
    simulated = _is_simulated(frame, path)
    good = ~report.bad
    kept = frame if good.all() else frame.loc[good].reset_index(drop=True)
    skipped = int(report.bad.sum()) + report.outside
    return ReleasedTable(kept, tuple(report.violations), skipped, simulated, path)


def _add_derived(frame: pd.DataFrame) -> None:
    models = frame["model"].cat
    parts = [split_difficulty(name) for name in models.categories]
    codes = models.codes.to_numpy()
    for position, column in enumerate(("network", "difficulty")):
        words = np.array([part[position] for part in parts] + [""], dtype=object)
        frame[column] = pd.Categorical(words[codes])
    frame["seconds"] = frame["rt"] / 1000.0
    minimal = np.array(frame["choice"].eq("a").fillna(False), dtype=bool)
    frame["chose_first"] = (minimal ^ frame["switched_queries"].to_numpy(dtype=bool)).astype(float)
    frame["main"] = ~(frame["catch_trial"] | frame["is_demo"])


def _is_simulated(frame: pd.DataFrame, path: Path) -> bool:
    if "stimulus" in frame and frame["stimulus"].isin(SIMULATED_STIMULI).any():
        return True
    beside = truth_path(path)
    if not beside.is_file():
        return False
    try:
        return bool(json.loads(beside.read_text("utf-8")).get("simulated", True))
    except (ValueError, AttributeError) as error:
        raise ResponseError("unreadable truth file", where=beside, found=error) from error
