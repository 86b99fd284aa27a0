"""What every row of the released table must satisfy; nothing here changes a value.

A `Report` collects each violated expectation with its rows, so that a reader hears of all of
them at once. Row numbers count data rows from 1; the header is not counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from imi_bench.arrays import Bools, Floats, Ints
from imi_bench.release.published import published
from imi_bench.results import Record
from imi_bench.tables import DIFFICULTIES

CATCH_MODEL, CATCH_MODE, CATCH_BATCH = "catch/manual", "catch_trial", -1
# `stimulus` of tables that `imi-bench collect` made: any network may be in them
COLLECTED, COLLECTED_SIMULATED = "collected", "collected simulated"
OWN_STIMULI = (COLLECTED, COLLECTED_SIMULATED)
MODE_OF = {"natural": "natural", "optimized": "synthetic"}
# The authors' task script numbers batches from 0 or 1 up to 10 inclusive.
BATCHES = range(0, 11)

BOOLEANS = (
    "switched_queries",
    "correct",
    "catch_trial",
    "is_demo",
    "passed_checks",
    "multi_participation",
)
INTEGERS: Mapping[str, tuple[float, float]] = {
    "button_pressed": (0, 5),
    "confidence": (1, published().design["confidence_levels"]),
    "channel": (0, np.inf),
    "batch": (CATCH_BATCH, BATCHES[-1]),
    "response_index": (0, np.inf),
    "trial_index": (0, np.inf),
}
TOO_FAST = 50.0
"""Milliseconds: nobody sees a picture and presses a button within them."""
NUMBERS = ("rt", "time_elapsed")
MAY_BE_EMPTY = ("rt", "time_elapsed")
EMPTY_IN_PRACTICE = ("layer", "channel", "batch", "mode", "model")


@dataclass(frozen=True, eq=False, repr=False)
class Violation(Record):
    """One expectation that some rows break.

    Attributes
    ----------
    column, problem, wanted : str
        Where, what, and what should stand there.
    rows : (k,) int64
        Data rows, counted from 1; empty where the whole table is concerned.
    example : str
        The value in the first of these rows.
    """

    column: str
    problem: str
    wanted: str
    rows: Ints
    example: str

    def __str__(self) -> str:
        if not len(self.rows):
            return f"{self.problem} '{self.column}' (wanted {self.wanted})"
        listed = ", ".join(map(str, self.rows[:5])) + (", …" if len(self.rows) > 5 else "")
        rows = f"{len(self.rows)} row{'s' if len(self.rows) > 1 else ''}: {listed}"
        return f"{self.problem} in '{self.column}' ({rows}; such as {self.example})"

    def to_json(self) -> dict[str, Any]:
        """JSON object with every row number, and their count."""
        return {**super().to_json(), "count": len(self.rows)}


class Report:
    """Collects violations over one table.

    Parameters
    ----------
    row_numbers : (R,) int64
        Number of each row in the file.
    """

    def __init__(self, row_numbers: Ints) -> None:
        self.row_numbers = row_numbers
        self.violations: list[Violation] = []
        self.bad: Bools = np.zeros(len(row_numbers), dtype=bool)
        self.outside = 0  # rows of the file that could not even be split into fields

    def expect(
        self, ok: Bools, *, column: str, problem: str, wanted: str, values: Any = None
    ) -> None:
        """Note the rows where `ok` is False; `values` gives the example."""
        broken = np.flatnonzero(~ok)
        if not broken.size:
            return
        self.bad[broken] = True
        example = "" if values is None else repr(_plain(values[broken[0]]))
        rows = self.row_numbers[broken]
        self.violations.append(Violation(column, problem, wanted, rows, example))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def check_rows(frame: pd.DataFrame, report: Report) -> None:
    """Check what each row says, given typed columns (see `release.read_release`).

    Sources: the released schema, and the experiment's page script (`2afc-image-confidence-response`
    puts the minimal query on top unless switched, buttons 0-2 belong to the upper query).
    """
    main = ~(frame["catch_trial"] | frame["is_demo"]).to_numpy(dtype=bool)
    catch = frame["catch_trial"].to_numpy(dtype=bool) & ~frame["is_demo"].to_numpy(dtype=bool)
    _check_answers(frame, report)
    _check_catch(frame, report, catch)
    _check_names(frame, report, main)
    _check_spaces(frame, report)
    _check_duplicates(frame, report, main)


def _check_answers(frame: pd.DataFrame, report: Report) -> None:
    choice = frame["choice"].astype(object).to_numpy()
    known = np.isin(choice.astype(str), ("a", "b"))
    empty = frame["choice"].isna().to_numpy()
    report.expect(
        known | empty, column="choice", problem="unknown choice", wanted="a or b", values=choice
    )
    chose_max = choice == "b"
    correct = frame["correct"].to_numpy(dtype=bool)
    report.expect(
        ~known | (chose_max == correct),
        column="correct",
        problem="contradicts 'choice'",
        wanted="correct exactly where choice is b",
        values=correct,
    )
    button = frame["button_pressed"].to_numpy(dtype=float, na_value=np.nan)
    upper = button <= 2
    expected_upper = chose_max == frame["switched_queries"].to_numpy(dtype=bool)
    report.expect(
        ~known | np.isnan(button) | (upper == expected_upper),
        column="button_pressed",
        problem="contradicts 'choice' and 'switched_queries'",
        wanted="0-2 for the query on top: a, or b where switched",
        values=button,
    )
    rt = frame["rt"].to_numpy(dtype=float)
    report.expect(
        ~(rt < 0) & ~np.isinf(rt),
        column="rt",
        problem="impossible response time",
        wanted="milliseconds, 0 or more",
        values=rt,
    )
    _check_unit_of_time(rt, report)


def _check_unit_of_time(rt: Floats, report: Report) -> None:
    """Refuse times that can only be seconds: half of all answers within `TOO_FAST` milliseconds."""
    given = rt[np.isfinite(rt)]
    if given.size and 0 < (half := float(np.median(given))) < TOO_FAST:
        report.expect(
            ~np.isfinite(rt),
            column="rt",
            problem=f"no times in milliseconds: half are below {half:.3g}",
            wanted="milliseconds; seconds times 1,000",
            values=rt,
        )


def _check_spaces(frame: pd.DataFrame, report: Report) -> None:
    """Refuse spaces around names: with and without them is two people or two layers."""
    for column in ("participant_id", "layer"):
        names = frame[column].cat
        padded = np.array([name != name.strip() for name in names.categories] + [False])
        report.expect(
            ~padded[names.codes.to_numpy()],
            column=column,
            problem="spaces around a name",
            wanted="none",
            values=frame[column].astype(object).to_numpy(),
        )


def _check_catch(frame: pd.DataFrame, report: Report, catch: Bools) -> None:
    for column, value in (("model", CATCH_MODEL), ("mode", CATCH_MODE), ("batch", CATCH_BATCH)):
        cells = frame[column].astype(object).to_numpy()
        same = np.array(frame[column].eq(value).fillna(False), dtype=bool)
        empty = frame[column].isna().to_numpy()
        report.expect(
            same | empty | ~catch,
            column=column,
            problem="catch trial with another value",
            wanted=repr(value),
            values=cells,
        )


def _check_names(frame: pd.DataFrame, report: Report, main: Bools) -> None:
    absent = frame["model"].isna().to_numpy() | ~main
    model = frame["model"].astype(object).to_numpy()
    network = frame["network"].astype(str).to_numpy()
    own = _collected(frame)
    report.expect(
        absent | own | np.isin(network, tuple(published().networks)),
        column="model",
        problem="unknown network",
        wanted="one of " + ", ".join(published().networks),
        values=model,
    )
    report.expect(
        absent | np.isin(frame["difficulty"].astype(str).to_numpy(), DIFFICULTIES),
        column="model",
        problem="unknown difficulty suffix",
        wanted="none, _hard99, _hard95 or _hard85",
        values=model,
    )
    mode = frame["mode"].astype(object).to_numpy()
    report.expect(
        frame["mode"].isna().to_numpy() | ~main | np.isin(mode.astype(str), tuple(MODE_OF)),
        column="mode",
        problem="unknown mode",
        wanted="natural or optimized",
        values=mode,
    )
    batch = frame["batch"].to_numpy(dtype=float, na_value=np.nan)
    report.expect(
        np.isnan(batch) | ~main | (batch >= BATCHES[0]),
        column="batch",
        problem="main trial with a batch out of range",
        wanted=f"{BATCHES[0]} to {BATCHES[-1]}",
        values=batch,
    )


def _collected(frame: pd.DataFrame) -> Bools:
    if "stimulus" not in frame:
        return np.zeros(len(frame), dtype=bool)
    return np.array(frame["stimulus"].astype(object).isin(OWN_STIMULI), dtype=bool)


def _check_duplicates(frame: pd.DataFrame, report: Report, main: Bools) -> None:
    """The same person on the same trial twice, unless flagged as taking part several times.

    People with ``multi_participation`` may meet a trial again in another assignment; within one
    they may not, where the table tells assignments apart.
    """
    trial = ["participant_id", "model", "mode", "layer", "channel", "batch"]
    assignment = [name for name in ("task_id", "response_index") if name in frame.columns]
    flagged = frame["multi_participation"].to_numpy(dtype=bool)
    codes = coded(frame, trial + assignment)
    repeated = np.zeros(len(frame), dtype=bool)
    groups = [(main & ~flagged, trial)]
    if assignment:
        groups.append((main & flagged, trial + assignment))
    for rows, columns in groups:
        part = np.flatnonzero(rows & ~report.bad)
        repeated[part] = codes.iloc[part].duplicated(subset=columns).to_numpy()
    report.expect(
        ~repeated,
        column="participant_id",
        problem="duplicate answer",
        wanted="one answer a participant and trial",
        values=frame["participant_id"].astype(object).to_numpy(),
    )


def coded(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """The columns as integer codes, an empty cell being a value like any other."""
    return pd.DataFrame(
        {name: pd.factorize(frame[name], use_na_sentinel=False)[0] for name in columns}
    )
