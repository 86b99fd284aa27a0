"""Rows that stand in a table more than once, as where a file was joined to itself."""

from __future__ import annotations

import numpy as np
import pandas as pd

from imi_bench.text import plural

_WHO = ("participant", "participant_id")
_WHAT = "trial_id"
_ENOUGH_ROWS = 12
"""Of as many different rows, not all stand an even number of times by chance."""

_NEARLY_ALL, _MOST_TIMES = 0.9, 10


def repeats(table: pd.DataFrame) -> str:
    """Say how many rows are there again, where a table can tell; empty where none is.

    A table with `participant` (or `participant_id`) and `trial_id` has one answer of each person to
    each trial. One with a column of measured numbers, nearly all different, such as times, has no
    two rows alike. In any other, like rows are many answers; but they are the same answers several
    times if every row stands there two, three, ... times, or a multiple of that.

    Examples
    --------
    >>> once = pd.DataFrame({"participant": ["a", "a", "b"], "trial_id": ["t", "u", "t"]})
    >>> repeats(once), repeats(pd.concat([once, once.head(1)]))[:40]
    ('', '1 row repeats another (same participant ')
    """
    try:
        count, alike = _repeated(table)
    except TypeError:  # cells that have no hash, such as lists
        return ""
    if not count:
        return ""
    verb = "repeats" if count == 1 else "repeat"
    return (
        f"{plural(count, 'row')} {verb} another ({alike}): "
        "answers counted more than once make intervals too narrow"
    )


def _repeated(table: pd.DataFrame) -> tuple[int, str]:
    columns = list(table.columns)
    who = next((name for name in _WHO if name in columns), None)
    if who is not None and _WHAT in columns:
        pairs = table[[who, _WHAT]].dropna()
        return int(pairs.duplicated().sum()), f"same {who} and {_WHAT}"
    numbers = table.select_dtypes("number")
    different = max((numbers.iloc[:, k].nunique() for k in range(numbers.shape[1])), default=0)
    if different * _MOST_TIMES >= _NEARLY_ALL * len(table):
        again = int(table[numbers.duplicated(keep=False).to_numpy()].duplicated().sum())
        if different >= _NEARLY_ALL * (len(table) - again):
            return again, "same in every column"
    times = _multiple(table)
    return len(table) - len(table) // times, f"every row stands {times} times or a multiple"


def _multiple(table: pd.DataFrame) -> int:
    """Greatest number that divides how often each row stands in the table."""
    times = 0
    for name in table.columns:  # what divides the counts of all rows divides those of all values
        values: pd.Series = table[name]
        times = int(np.gcd.reduce([times, *values.value_counts(dropna=False).tolist()]))
        if times == 1:
            return 1
    counts = table.groupby(list(table.columns), dropna=False, observed=True).size().tolist()
    return int(np.gcd.reduce(counts)) if len(counts) >= _ENOUGH_ROWS else 1
