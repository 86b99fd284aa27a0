"""Read a table for a model: CSV, TSV or Parquet."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from imi_bench.errors import InputError

__all__ = ["read_table"]


def read_table(source: str | Path | pd.DataFrame) -> pd.DataFrame:
    """Read a table; a CSV column whose first value stands in quotes holds labels, not numbers.

    R's ``write.csv`` quotes factors and leaves numbers bare, so that a factor with the levels
    1, 2, 3 comes back as a factor.

    Parameters
    ----------
    source : a DataFrame, which is given back; ``.csv``, ``.tsv`` or ``.parquet``.

    Raises
    ------
    InputError
        If the file is missing, empty, or not a table.
    """
    if isinstance(source, pd.DataFrame):
        return source
    path = Path(source)
    if not path.is_file():
        raise InputError("no such file", where=path)
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    separator = "\t" if path.suffix == ".tsv" else ","
    try:
        return pd.read_csv(path, sep=separator, dtype=dict.fromkeys(_quoted(path, separator), str))
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError("not a table", where=path, found=str(error)) from error


def _quoted(path: Path, separator: str) -> list[str]:
    """Name the columns whose first value is quoted."""
    with path.open(encoding="utf-8", newline="") as stream:
        header = next(csv.reader(stream, delimiter=separator), [])
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.reader(stream, delimiter=separator, quoting=csv.QUOTE_NONE)
        next(reader, None)
        first = next(reader, [])
    if len(first) != len(header):
        return []
    return [name for name, value in zip(header, first, strict=True) if value.startswith('"')]
