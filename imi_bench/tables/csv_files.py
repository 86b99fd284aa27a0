"""Reading CSV of anyone: what cannot be read is one line, and each cell is read to its end."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from imi_bench.errors import InputError

_OLD = tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1)
EXACT: dict[str, Any] = {"float_precision": "round_trip"} if _OLD else {}
"""For `pandas.read_csv`: before 3.1 a third of all numbers is not the nearest to its digits."""

NAMES = ("trial_id", "participant", "network", "layer", "mode", "difficulty")
"""Columns that hold names, which stay as they are written: 007 is not 7."""

_BLOCK = 1 << 20


def read_csv(path: str | Path, *, error: type[InputError] = InputError, **how: Any) -> pd.DataFrame:
    """Read a whole table; a number is the nearest to its digits, in all versions of pandas.

    Parameters
    ----------
    path : str or Path
    error : type
        Which `InputError`.
    **how : Any
        For `pandas.read_csv`.

    Raises
    ------
    InputError
        No such file, no text, no CSV table, or a NUL in it.
    """
    try:
        refuse_nul(path, error=error)
        with no_shift(path, error=error):
            frame: pd.DataFrame = pd.read_csv(path, **EXACT, **{"index_col": False, **how})
    except InputError:
        raise
    except (OSError, ValueError) as bad:
        raise error("not a CSV table", where=path, found=str(bad)[:200]) from bad
    return frame


@contextmanager
def no_shift(path: str | Path, *, error: type[InputError] = InputError) -> Iterator[None]:
    """Refuse rows with more fields than the header, read with ``index_col=False``.

    By default pandas takes their first column for row names, which shifts all the others; with it,
    separators at the ends of rows are nothing, and what stands behind them is a warning.

    Raises
    ------
    InputError
        Something stands there.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            yield
        except pd.errors.ParserWarning as bad:
            raise error(
                "rows with more fields than the header", where=path, do="name every column"
            ) from bad


def read_named(path: str | Path, *, error: type[InputError] = InputError) -> pd.DataFrame:
    """Read a table of trials, layers or answers: columns of `NAMES` are text, whatever they hold.

    Missing are ``NA`` and the empty field alone, as for models; ``null`` is a name.

    Raises
    ------
    InputError
        As `read_csv`.
    """
    text = dict.fromkeys(NAMES, str)
    return read_csv(path, error=error, dtype=text, keep_default_na=False, na_values=["NA", ""])


def refuse_nul(path: str | Path, *, error: type[InputError] = InputError) -> None:
    """Refuse a file with a NUL: pandas before 3 takes a cell to end there, and says nothing.

    UTF-16, which spreadsheets write as "Unicode text", is full of them; so are compressed files.

    Raises
    ------
    InputError
        If there is one.
    OSError
        If the file cannot be read.
    """
    place = 0
    with Path(path).open("rb") as stream:
        while block := stream.read(_BLOCK):
            if (found := block.find(b"\0")) >= 0:
                raise error(
                    "not a CSV table",
                    where=path,
                    found=f"a NUL at byte {place + found:,}",
                    wanted="plain text",
                    do="save it as CSV in UTF-8",
                )
            place += len(block)
