"""Read a table for a model: CSV of any separator, TSV or Parquet, and say how it was read."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO

import pandas as pd

from imi_bench.arguments import checked
from imi_bench.errors import InputError, NotEnoughDataError
from imi_bench.tables.csv_files import EXACT, no_shift, refuse_nul
from imi_bench.tables.parquet import read_parquet
from imi_bench.text import padded_twins, plural

MISSING = ("NA", "")
SIMULATED = "SIMULATED answers: the table's column 'simulated' says that nobody gave them"
_SEPARATORS = (",", ";", "\t")
_REMARKS = "reading_remarks"
_LONGEST_RECORD = 1_000
_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*|\s*[-+]?(nan|inf)\s*", re.I)


@checked
def read_table(source: str | Path | pd.DataFrame) -> pd.DataFrame:
    """Read a table; a CSV column whose values stand in quotes holds labels, not numbers.

    R's ``write.csv`` quotes factors and leaves numbers bare, so that a factor with the levels
    1, 2, 3 comes back as a factor. Missing values are `MISSING`, as in R: ``NA`` and the empty
    field; ``None``, ``null``, ``n/a`` are labels like any other. Commas, semicolons and tabs
    separate; where semicolons do, ``1,5`` is one and a half. What was taken as missing, as
    labels or as decimal commas is said by `reading_remarks`.

    Parameters
    ----------
    source : str or Path or DataFrame
        A DataFrame, which is given back; ``.csv``, ``.tsv`` or ``.parquet``.

    Raises
    ------
    InputError
        If the file is missing, not a table, or has two columns of one name.
    NotEnoughDataError
        If the table has no rows.
    """
    if isinstance(source, pd.DataFrame):
        return source
    path = Path(source)
    if not path.is_file():
        raise InputError("no such file", where=path)
    try:
        if path.suffix.lower() == ".parquet":
            return read_parquet(path)
        refuse_nul(path)
        return _read_text(path)
    except InputError:
        raise
    except (ValueError, OSError, csv.Error, pd.errors.ParserError) as error:
        raise InputError("not a table", where=path, found=str(error)[:200]) from error


def reading_remarks(table: pd.DataFrame, columns: Collection[str]) -> list[str]:
    """Return what there is to say of how these columns were read from a file."""
    facts = table.attrs.get(_REMARKS)
    if facts is None:
        return []
    missing = [f"{name} {n}" for name, n in facts["missing"].items() if name in columns]
    remarks = list(facts["file"])
    if missing:
        remarks.append(f"taken as missing (NA, empty, NaN among numbers): {', '.join(missing)}")
    return remarks + [said for name, said in facts["columns"].items() if name in columns]


def made_up(table: pd.DataFrame) -> bool:
    """Whether the table's own column ``simulated``, as every table of ours has it, says so.

    Examples
    --------
    >>> made_up(pd.DataFrame({"correct": [0, 1], "simulated": [True, True]}))
    True
    """
    column = table.get("simulated")
    return isinstance(column, pd.Series) and column.dtype == bool and bool(column.to_numpy().any())


def _read_text(path: Path) -> pd.DataFrame:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        separator = _separator(stream.readline(), path)
        stream.seek(0)
        header = next(csv.reader(stream, delimiter=separator), [])
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise InputError(
            "two columns of the same name", where=path, found=repr(twice[0]), do="rename one"
        )
    quoted = _quoted(path, separator, header)
    with no_shift(path):
        table = pd.read_csv(
            path,
            sep=separator,
            index_col=False,
            encoding="utf-8-sig",
            dtype=dict.fromkeys(quoted, str),
            keep_default_na=False,
            na_values=list(MISSING),
            low_memory=False,
            **EXACT,
        )
    if table.empty:
        raise NotEnoughDataError("an empty table", where=path, found="0 rows")
    odd = separator != ("\t" if path.suffix.lower() == ".tsv" else ",")
    named = "tabs" if separator == "\t" else repr(separator)
    said = {
        name: _settle(table, name, quoted=name in quoted, decimal_comma=separator == ";")
        for name in table.columns
    }
    said |= _zeros(path, separator, table)
    missing = table.isna().sum()
    table.attrs[_REMARKS] = {
        "file": [f"{path.name}: fields are separated by {named}"] if odd else [],
        "missing": {str(name): int(count) for name, count in missing.items() if count},
        "columns": {str(name): one for name, one in said.items() if one},
    }
    return table


def _separator(header: str, path: Path) -> str:
    """Return the separator that the header has most of, outside quotes."""
    bare = re.sub(r'"[^"]*"', "", header)
    order = ("\t", ",", ";") if path.suffix.lower() == ".tsv" else _SEPARATORS
    return max(order, key=lambda one: (bare.count(one), -order.index(one)))


def _settle(table: pd.DataFrame, name: str, *, quoted: bool, decimal_comma: bool) -> str:
    """Turn text that is all numbers into numbers, and say what was done to a column."""
    column = table[name]
    if not (pd.api.types.is_object_dtype(column) or pd.api.types.is_string_dtype(column)):
        return ""
    present = [one for one in column.dropna().unique() if isinstance(one, str)]
    if not present:
        return ""
    commas = decimal_comma and any("," in one for one in present)
    written = {one: one.replace(",", ".") if commas else one for one in present}
    numbers = [one for one in present if _NUMBER.fullmatch(written[one])]
    if quoted and len(numbers) == len(present):
        return f"{name}: labels, not numbers, since they stand in quotes"
    if len(numbers) == len(present):
        values = {one: float(text) for one, text in written.items()}
        table[name] = column.map(values, na_action="ignore").astype(float)
        return f"{name}: numbers with a decimal comma" if commas else ""
    if (twins := padded_twins(present)) is not None:
        return f"{name}: two labels that only spaces tell apart: {twins[0]!r} and {twins[1]!r}"
    if numbers:
        odd = next(one for one in present if one not in set(numbers))
        return f"{name}: labels, since not every value is a number, such as {odd!r}"
    return ""


def _zeros(path: Path, separator: str, table: pd.DataFrame) -> dict[str, str]:
    """Say of columns of whole numbers that some were written with zeros in front, as names are."""
    whole = [name for name in table.columns if pd.api.types.is_integer_dtype(table[name])]
    if not whole:
        return {}
    written = pd.read_csv(
        path,
        sep=separator,
        index_col=False,
        encoding="utf-8-sig",
        dtype=str,
        keep_default_na=False,
        na_values=[""],
    )
    said = {}
    for name in whole:
        names = [one.strip() for one in written[name].unique()]
        if odd := [one for one in names if len(one) > 1 and one.startswith("0")]:
            merged = len(set(names)) - table[name].nunique()
            said[name] = f"{name}: numbers, not labels, so that {odd[0]!r} is {int(odd[0])}" + (
                f" ({plural(merged, 'label falls', 'labels fall')} together with another)"
                if merged
                else ""
            )
    return said


def _quoted(path: Path, separator: str, header: list[str]) -> list[str]:
    """Name the columns whose first value that is not missing is quoted."""
    waiting = dict(enumerate(header))
    quoted = []
    with path.open(encoding="utf-8-sig", newline="") as stream:
        records = _records(stream, separator)
        next(records, None)
        for fields in records:
            if len(fields) != len(header):
                continue
            for index in list(waiting):
                field = fields[index].strip()
                if field.strip('"') in MISSING:
                    continue
                name = waiting.pop(index)
                if field.startswith('"'):
                    quoted.append(name)
            if not waiting:
                break
    return quoted


def _records(stream: IO[str], separator: str) -> Iterator[list[str]]:
    """Yield the fields of each record with their quotes; stop where quotes do not pair."""
    field = re.compile(rf'("(?:[^"]|"")*"|[^{separator}"]*)(?:{separator}|$)')
    lines: list[str] = []
    open_quote = False
    for line in stream:
        lines.append(line)
        open_quote ^= bool(line.count('"') % 2)
        if open_quote and len(lines) > _LONGEST_RECORD:
            return
        if not open_quote:
            record = "".join(lines).rstrip("\r\n")
            found = field.findall(record)
            yield found if record.endswith(separator) else found[:-1]
            lines = []
