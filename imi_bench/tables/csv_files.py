"""Reading CSV of anyone: what cannot be read is one line, and no cell is cut short."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from imi_bench.errors import InputError

__all__ = ["read_csv", "refuse_nul"]

_BLOCK = 1 << 20


def read_csv(path: str | Path, *, error: type[InputError] = InputError, **how: Any) -> pd.DataFrame:
    """Read a whole table.

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
        frame: pd.DataFrame = pd.read_csv(path, **how)
    except InputError:
        raise
    except (OSError, ValueError) as bad:
        raise error("not a CSV table", where=path, found=str(bad)[:200]) from bad
    return frame


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
