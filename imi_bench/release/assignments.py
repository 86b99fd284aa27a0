"""What each assignment is judged on, recomputed from the released table.

An assignment (one person doing one task once) is judged as a whole. Each criterion comes from the
rows themselves where they suffice, else from the printed details the release carries:

==================  ==============================================================================
catch_ratio         share of its catch trials answered correctly
row_min             answers given with the less used row of buttons (0-2 upper, 3-5 lower), main
                    and catch trials together
demo_attempts       runs of consecutive `trial_index` among its practice trials; from the details
                    where the table holds no practice trial of it
total_time          from the details: the page's clock from the first instruction on, of which the
                    table's `time_elapsed` shows only a part; without details the rows' own span, a
                    lower bound
instruction_time    from the details alone
==================  ==============================================================================

Where the details count more answers than the table has rows of an assignment, the table holds a
part of it: then `catch_ratio`, `row_min` and `demo_attempts` come from the details too.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

import numpy as np
import pandas as pd

from imi_bench.arrays import Bools, Floats, Ints
from imi_bench.release.cells import CRITERION_IN_RELEASE
from imi_bench.release.checks import coded
from imi_bench.release.table import ReleasedTable

_KEY = ("participant_id", "task_id", "response_index")


@dataclass(frozen=True, eq=False)
class Measures:
    """What each assignment is judged on.

    Attributes
    ----------
    frame : DataFrame
        A rows: `participant_id`, and where the table has them `task_id`, `response_index`; the
        criteria `catch_ratio`, `row_min`, `total_time`, `instruction_time`, `demo_attempts`
        (float, NaN where they cannot be told); `in_part`: rows of it are not in the table;
        `multiple`; and ``released_…``: the release's own verdict on each criterion and
        `released_passed`.
    assignment : (R,) int64
        The row of `frame` that each row of the table belongs to.
    answer : (R,) int64
        Number of the pair (participant, trial) that a main row answers; -1 elsewhere.
    unreadable : dict of str to int
        Details columns with cells that could not be read, and in how many assignments.
    """

    frame: pd.DataFrame
    assignment: Ints
    answer: Ints
    unreadable: dict[str, int]


def measure(table: ReleasedTable) -> Measures:
    """Judge-ready values of every assignment.

    Assignments are told apart by participant, task and response index, and by the printed total
    time, since a task's name does not say of which experiment it is.
    """
    rows = table.frame
    key = [name for name in (*_KEY, "total_response_time_details") if name in rows]
    assignment_codes = coded(rows, key).groupby(key, sort=False).ngroup()
    assignment: Ints = np.asarray(assignment_codes, dtype=np.int64)
    count = int(assignment.max()) + 1 if len(rows) else 0
    first = np.full(count, len(rows), dtype=np.int64)
    np.minimum.at(first, assignment, np.arange(len(rows)))
    head = rows.iloc[first].reset_index(drop=True)
    frame = pd.DataFrame({name: head[name] for name in _KEY if name in rows})
    frame["multiple"] = _any(rows["multi_participation"].to_numpy(dtype=bool), assignment, count)
    frame["released_passed"] = head["passed_checks"].to_numpy(dtype=bool)
    details = _Details(head)
    demo = rows["is_demo"].to_numpy(dtype=bool)
    catch = rows["catch_trial"].to_numpy(dtype=bool) & ~demo
    right = rows["correct"].to_numpy(dtype=bool)
    frame["catch_ratio"] = _ratio(
        _sum(catch & right, assignment, count), _sum(catch, assignment, count)
    )
    upper = rows["button_pressed"].to_numpy(dtype=np.int64) <= 2
    by_row = [_sum(row & ~demo, assignment, count) for row in (upper, ~upper)]
    printed = [details.number("row_variability", f"n_{row}_row") for row in ("upper", "lower")]
    in_part = (printed[0] + printed[1] > by_row[0] + by_row[1]).to_numpy()
    frame["in_part"] = in_part
    frame["row_min"] = np.where(
        in_part, np.minimum(printed[0], printed[1]), np.minimum(by_row[0], by_row[1])
    )
    ratio = details.number("catch_trials", "ratio", may_be_none=True)
    frame["catch_ratio"] = ratio.where(in_part).fillna(frame["catch_ratio"])
    frame["total_time"] = details.number("total_response_time", "total_time")
    if "time_elapsed" in rows:
        frame["total_time"] = frame["total_time"].fillna(_span(rows, assignment, count))
    frame["instruction_time"] = details.number("instruction_time", "total_time")
    attempts = _practice_attempts(rows, demo, assignment, count)
    told = details.number("demo_trials", "n_demo_trials_blocks")
    frame["demo_attempts"] = told.where(in_part).fillna(attempts).fillna(told)
    for criterion, name in CRITERION_IN_RELEASE.items():
        if f"{name}_result" in head:
            frame[f"released_{criterion}"] = head[f"{name}_result"].to_numpy(dtype=bool)
    return Measures(frame, assignment, _answers(table), details.unreadable)


def _answers(table: ReleasedTable) -> Ints:
    pair = ["participant_id", "model", "mode", "layer", "channel", "batch"]
    codes = coded(table.frame, pair)
    number: Ints = np.asarray(codes.groupby(pair, sort=False).ngroup(), dtype=np.int64)
    return np.where(table.main, number, -1)


def _sum(values: Bools, assignment: Ints, count: int) -> Floats:
    return np.bincount(assignment, weights=values, minlength=count).astype(np.float64)


def _any(values: Bools, assignment: Ints, count: int) -> Bools:
    return np.asarray(_sum(values, assignment, count) > 0)


def _ratio(part: Floats, whole: Floats) -> Floats:
    ratio: Floats = np.full(len(whole), np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def _span(rows: pd.DataFrame, assignment: Ints, count: int) -> pd.Series[float]:
    clock = rows["time_elapsed"].groupby(assignment).agg(["min", "max"]).reindex(range(count))
    return (clock["max"] - clock["min"]) / 1000.0


def _practice_attempts(
    rows: pd.DataFrame, demo: Bools, assignment: Ints, count: int
) -> pd.Series[float]:
    """Runs of consecutive trial_index: an instruction and a call stand between two attempts."""
    if "trial_index" not in rows or not demo.any():
        return pd.Series(np.nan, index=range(count))
    practice = pd.DataFrame(
        {
            "assignment": assignment[demo],
            "index": rows.loc[demo, "trial_index"].to_numpy(dtype=float, na_value=np.nan),
        }
    ).sort_values(["assignment", "index"])
    step = practice.groupby("assignment")["index"].diff()
    starts = (step != 1).astype(float).groupby(practice["assignment"]).sum()
    return starts.reindex(range(count))


class _Details:
    """Numbers out of the printed dictionaries, parsed as literals and nothing more."""

    def __init__(self, head: pd.DataFrame) -> None:
        self.head = head
        self.unreadable: dict[str, int] = {}

    def number(self, criterion: str, key: str, *, may_be_none: bool = False) -> pd.Series[float]:
        """`key` of the criterion's details, NaN where absent or unreadable (and counted)."""
        column = f"{criterion}_details"
        if column not in self.head:
            return pd.Series(np.nan, index=self.head.index)
        texts = self.head[column].astype(object)
        numbers = texts.map(lambda text: _literal_number(text, key)).astype(float)
        broken = int((numbers.isna() & texts.notna()).sum())
        if broken and not may_be_none:
            self.unreadable[column] = broken
        return numbers


def _literal_number(text: object, key: str) -> float:
    try:
        value = ast.literal_eval(str(text))[key]
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError):
        return float("nan")
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number else float("nan")
