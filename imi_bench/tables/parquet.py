"""Reading Parquet of anyone: what cannot be read is one line, text that is no text included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from imi_bench.errors import InputError


def read_parquet(path: Path, *, error: type[InputError] = InputError) -> pd.DataFrame:
    """Read a whole table.

    Parameters
    ----------
    path : Path
    error : type
        Which `InputError`.

    Raises
    ------
    InputError
        No Parquet file, damaged, or with text that is not UTF-8 (which pandas would find out only
        when a cell is looked at).
    """
    try:
        frame = pd.read_parquet(path)
        for name in frame.columns:
            if not isinstance(frame[name].dtype, np.dtype):
                frame[name].to_numpy()
    except MemoryError:
        raise
    except Exception as bad:  # the library's own errors have no common ancestor
        raise error("not a Parquet file", where=path, found=str(bad)[:200]) from bad
    return frame
