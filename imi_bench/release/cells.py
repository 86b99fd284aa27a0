"""The released CSV file, cell by cell: text to typed columns, with every misfit noted."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from imi_bench.arrays import Bools, Ints
from imi_bench.errors import ResponseError
from imi_bench.release.checks import (
    BOOLEANS,
    EMPTY_IN_PRACTICE,
    INTEGERS,
    MAY_BE_EMPTY,
    NUMBERS,
    Report,
    Violation,
)
from imi_bench.tables.csv_files import refuse_nul
from imi_bench.text import plural

CRITERION_IN_RELEASE = {
    "catch_ratio": "catch_trials",
    "row_min": "row_variability",
    "total_time": "total_response_time",
    "instruction_time": "instruction_time",
    "demo_attempts": "demo_trials",
}
CRITERIA = tuple(CRITERION_IN_RELEASE.values())
REQUIRED = (
    "rt",
    "button_pressed",
    "switched_queries",
    "confidence",
    "choice",
    "correct",
    "catch_trial",
    "is_demo",
    "participant_id",
    "batch",
    "channel",
    "layer",
    "mode",
    "model",
    "passed_checks",
    "multi_participation",
)
OPTIONAL = (
    "time_elapsed",
    "trial_index",
    "response_index",
    "task_id",
    "stimulus",
    *(f"{criterion}_result" for criterion in CRITERIA),
    *(f"{criterion}_details" for criterion in CRITERIA),
)

MAX_HEADER = 256 << 10
MAX_COLUMNS = 2_000


def header(path: Path) -> list[str]:
    """Column names of a released table.

    Raises
    ------
    ResponseError
        No such file, a pickle, not text, a column named twice or a required one missing.
    """
    if (path / "responses.parquet").is_file():
        raise ResponseError(
            "a study, not a released table",
            where=path,
            wanted="a released CSV file",
            do="`effects`, `paper` and `score` read it as people's answers",
        )
    if not path.is_file():
        raise ResponseError(
            "no table of answers",
            where=path,
            wanted="a released CSV file",
            do="run `imi-bench data fetch`",
        )
    with path.open("rb") as stream:
        start = stream.read(4)
    if path.suffix in (".pkl", ".pickle") or start[:1] == b"\x80":
        raise ResponseError(
            "a pickle is never opened: it can run code",
            where=path,
            wanted="the CSV table of the same name",
        )
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            first = stream.readline(MAX_HEADER + 1)
            names = next(csv.reader([first]), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise ResponseError("not a CSV table", where=path, found=error) from error
    if len(first) > MAX_HEADER or len(names) > MAX_COLUMNS:
        raise ResponseError(
            "header too wide",
            where=path,
            found=f"{plural(len(names), 'column')} or more",
            wanted=f"at most {MAX_COLUMNS:,} in {MAX_HEADER:,} characters",
        )
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        raise ResponseError("column named twice", where=path, found=", ".join(twice))
    if missing := [name for name in REQUIRED if name not in names]:
        raise ResponseError(
            f"missing column{'s' if len(missing) > 1 else ''}",
            where=path,
            found=", ".join(names[:40]) or "an empty file",
            wanted=", ".join(missing),
            do="save it with commas between the fields"
            if len(names) <= 1 < first.count(";")
            else "",
        )
    return names


def _read_text(path: Path, columns: list[str]) -> tuple[pa.Table, Ints, Ints]:
    """Columns as text, the row numbers they have in the file, and those of ragged rows."""
    numeric = (*INTEGERS, *NUMBERS)
    types = {
        name: pa.string() if name in numeric else pa.dictionary(pa.int32(), pa.string())
        for name in columns
    }
    ragged: list[int] = []

    def note(row: pa_csv.InvalidRow) -> str:
        ragged.append(row.number - 1)  # from 1 with the header; threads would not know it
        return "skip"

    def read(skip: Callable[[pa_csv.InvalidRow], str] | None = None) -> pa.Table:
        return pa_csv.read_csv(
            path,
            read_options=pa_csv.ReadOptions(use_threads=skip is None),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skip),
            convert_options=pa_csv.ConvertOptions(
                include_columns=columns,
                column_types=types,
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
            ),
        )

    try:
        try:
            table = read()
        except pa.ArrowInvalid:
            path.read_bytes().decode()  # a row that is no text cannot be told of
            table = read(note)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise ResponseError("not a CSV table", where=path, found=error) from error
    bad = np.array(sorted(ragged), dtype=np.int64)
    numbers = np.arange(1, table.num_rows + len(bad) + 1)
    return table, np.setdiff1d(numbers, bad, assume_unique=True), bad


def read_cells(path: Path) -> tuple[pd.DataFrame, Report]:
    """Read the columns in use, typed, and the report of cells that do not fit.

    Returns
    -------
    frame : DataFrame
        Booleans as bool, counts as Int64, times as float64, text as categoricals; `row` is the
        number of the row in the file, from 1 without the header. A misfit is NA or False.
    report : Report
        With the misfits; `check_rows` adds to it.

    Raises
    ------
    ResponseError
        If there is no table to check: see `header`, or the file is no CSV table.
    """
    names = header(path)
    refuse_nul(path, error=ResponseError)
    text, row_numbers, ragged = _read_text(path, [n for n in REQUIRED + OPTIONAL if n in names])
    report = Report(row_numbers)
    if len(ragged):
        report.violations.append(
            Violation(
                "row", "wrong number of fields", plural(len(names), "field"), ragged, "the row"
            )
        )
        report.outside += len(ragged)
    frame = _typed(text, report)
    frame.insert(0, "row", row_numbers)
    return frame, report


def _typed(text: pa.Table, report: Report) -> pd.DataFrame:
    """Typed columns; cells that are not of their type are noted and become NA (or False)."""
    columns: dict[str, Any] = {}
    demo = pc.equal(text["is_demo"].cast(pa.string()), "True").fill_null(False).to_numpy()
    for name in text.column_names:
        cells = text[name].combine_chunks()
        if isinstance(cells, pa.ChunkedArray):
            cells = cells.chunk(0) if cells.num_chunks else pa.array([], cells.type)
        empty = np.asarray(cells.is_null())
        may_be = name in MAY_BE_EMPTY or name not in REQUIRED
        allowed = demo if name in EMPTY_IN_PRACTICE else np.zeros(len(empty), dtype=bool)
        if not may_be:
            report.expect(
                ~empty | allowed, column=name, problem="empty cell", wanted="a value", values=None
            )
        if name in BOOLEANS or name.endswith("_result"):
            columns[name] = _booleans(name, cells, empty, report)
        elif name in INTEGERS or name in NUMBERS:
            columns[name] = _numbers(name, cells, empty, report)
        else:
            columns[name] = cells.to_pandas()
    return pd.DataFrame(columns)


def _booleans(name: str, cells: pa.DictionaryArray, empty: Bools, report: Report) -> Any:
    words = cells.dictionary.to_pylist()
    codes = np.asarray(cells.indices.fill_null(len(words)))
    known = np.array([word in ("True", "False") for word in words] + [False])[codes]
    values = np.array([*words, ""], dtype=object)[codes]
    report.expect(
        known | empty, column=name, problem="not a boolean", wanted="True or False", values=values
    )
    return np.array([word == "True" for word in words] + [False])[codes]


def _numbers(name: str, cells: pa.StringArray, empty: Bools, report: Report) -> Any:
    """float64 for times, nullable Int64 for counts; whole floats such as ``3.0`` are counts."""
    try:
        values = np.asarray(cells.cast(pa.float64()).fill_null(np.nan))
    except pa.ArrowInvalid:
        values = pd.to_numeric(cells.to_pandas(), errors="coerce").to_numpy(dtype=float)
    bad = np.isnan(values) & ~empty
    raw = _Lazy(cells)
    if name in NUMBERS:
        report.expect(~bad, column=name, problem="not a number", wanted="a number", values=raw)
        return values
    low, high = INTEGERS[name]
    whole = np.mod(values, 1, where=np.isfinite(values), out=np.ones_like(values)) == 0
    report.expect(
        whole | empty, column=name, problem="not an integer", wanted="an integer", values=raw
    )
    inside = (values >= low) & (values <= high)
    report.expect(
        inside | ~whole,
        column=name,
        problem="out of range",
        values=raw,
        wanted=f"{low:g} or more" if np.isinf(high) else f"{low:g} to {high:g}",
    )
    return pd.array(np.where(inside & whole, values, np.nan), dtype="Int64")


class _Lazy:
    """Cells of an Arrow array by position, without turning the column into objects."""

    def __init__(self, cells: pa.Array) -> None:
        self.cells = cells

    def __getitem__(self, row: int) -> Any:
        return self.cells[int(row)].as_py()
