"""Whether people get better over a session, apart from what they were shown when."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from imi_bench.stats.estimate import Estimate

__all__ = ["CONDITION", "learning_slope", "mixed"]

CONDITION = ("network", "mode", "difficulty", "references")
"""Columns that make a condition, those that a table has."""


def mixed(rows: pd.DataFrame) -> bool:
    """Whether anybody answered in several conditions."""
    known = [name for name in CONDITION if name in rows]
    if not known:
        return False
    number = rows.groupby(known, observed=True, dropna=False).ngroup()
    return bool((number.groupby(rows["participant"], observed=True).nunique() > 1).any())


def learning_slope(known: pd.DataFrame) -> Estimate:
    """Change of accuracy from the first to the last trial, within people and conditions.

    Least squares with a level for each person and, where a person answers in several, for each
    condition (references, their number, difficulty, network): or learning would hold whatever
    condition came last. Jackknife over people, Student's t. People of fewer than eight answers
    are left out.

    Parameters
    ----------
    known : DataFrame
        `participant`, `order`, `correct`, and any of the columns that make a condition.
    """
    counts = known.groupby("participant", observed=True)["correct"].transform("size")
    rows = known[counts > 7].reset_index(drop=True)
    person = pd.factorize(rows["participant"])[0]
    people = int(person.max()) + 1 if len(rows) else 0
    if people < 3:
        return Estimate.undefined("fewer than three people of eight answers", n=len(known))
    reach = float(known["order"].max() - known["order"].min())
    columns = [rows["order"].to_numpy(float), rows["correct"].to_numpy(float)]
    if mixed(rows):
        alike = [name for name in CONDITION if name in rows]
        number = rows.groupby(alike, observed=True, dropna=False).ngroup().to_numpy()
        columns += [(number == k).astype(float) for k in range(1, int(number.max()) + 1)]
    size = np.bincount(person)
    inside = np.stack([x - (np.bincount(person, x) / size)[person] for x in columns], axis=1)
    z, y = np.delete(inside, 1, axis=1), inside[:, 1]
    free = z[:, 0] - z[:, 1:] @ np.linalg.lstsq(z[:, 1:], z[:, 0], rcond=None)[0]
    if float(free @ free) <= 1e-9 * max(reach, 1.0) ** 2:
        return Estimate.undefined("conditions and places in the session go together", n=len(known))
    order = np.argsort(person, kind="stable")
    starts = np.flatnonzero(np.diff(person[order], prepend=-1))
    squares = np.add.reduceat((z[:, :, None] * z[:, None, :])[order], starts)
    products = np.add.reduceat((z * y[:, None])[order], starts)
    every, sums = squares.sum(axis=0), products.sum(axis=0)
    value = float((np.linalg.pinv(every) @ sums)[0])
    without = np.array(
        [
            (np.linalg.pinv(every - a) @ (sums - b))[0]
            for a, b in zip(squares, products, strict=True)
        ]
    )
    se = float(np.sqrt((people - 1) / people * ((without - value) ** 2).sum()))
    half = float(stats.t.ppf(0.975, people - 1)) * se
    low, high = reach * (value - half), reach * (value + half)
    return Estimate(
        reach * value, low, high, method="t, jackknife over people", n=len(rows), clusters=people
    )
