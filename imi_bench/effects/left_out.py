"""Answers that have no finite effect in a logistic model, left out with the reason.

Where every answer of a network (or of its synthetic exemplars, or to queries of a difficulty) is
correct, the likelihood rises for ever with that coefficient. One such network would stop the
analysis of all others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imi_bench.effects.questions import PERCENTILES
from imi_bench.effects.table import AnswerTable
from imi_bench.glmm.separation import separating
from imi_bench.results import Record
from imi_bench.text import plural

_NAMES = {"synthetic": "synthetic exemplars", **PERCENTILES}


@dataclass(frozen=True, repr=False)
class LeftOut(Record):
    """Answers an analysis does without.

    Attributes
    ----------
    what : str
        The network, with the condition where only that is left out.
    answers : int
    reason : str
    """

    what: str
    answers: int
    reason: str

    def __str__(self) -> str:
        return f"{self.what} ({plural(self.answers, 'answer')}): {self.reason}"


def estimable(table: AnswerTable) -> tuple[AnswerTable, tuple[LeftOut, ...]]:
    """Leave out the answers whose coefficients have no finite estimate.

    Parameters
    ----------
    table : AnswerTable

    Returns
    -------
    table : the rest.
    left_out : what went, with the reason; empty as a rule.
    """
    gone: list[LeftOut] = []
    while (found := next(_troubles(table), None)) is not None:
        rows, what, reason = found
        gone.append(LeftOut(what, int(rows.sum()), reason))
        table = table.without(rows)
        if table.frame.empty:
            break
    return table, tuple(gone)


def _troubles(table: AnswerTable) -> Iterator[tuple[NDArray[np.bool_], str, str]]:
    """Yield rows to leave out, what they are, and why."""
    frame = table.frame
    marks = [name for name in _NAMES if name in table.within]
    for network, part in frame.groupby("network"):
        own = (frame["network"] == network).to_numpy()
        if "depth" in table.varying and np.ptp(part["depth"]) == 0.0 != part["depth"].iloc[0]:
            yield own, str(network), "all its layers are at one depth"
        reference = part[(part[marks] == 0.0).all(axis=1)]
        if reference.empty:
            yield own, str(network), "it was not shown in the condition others are compared with"
        if said := _all_alike(reference, table):
            yield own, str(network), f"{said}, so that its level has no finite estimate"
        for key in part[marks].drop_duplicates().to_numpy():
            cell = own & (frame[marks].to_numpy() == key).all(axis=1)
            if said := _all_alike(frame[cell], table):
                shown = [_NAMES[name] for name, on in zip(marks, key, strict=True) if on]
                yield cell, ", ".join([str(network), *shown]), said
        if (
            "depth" in table.varying
            and not (table.ordinal or table.firth)
            and _separated(part, [*marks, "depth"])
        ):
            yield own, str(network), "depth separates its wrong answers from the correct ones"
    for name in table.within:
        rows = (frame[name] > 0.0).to_numpy()
        if name.startswith("type_") and (said := _all_alike(frame[rows], table)):
            yield rows, f"all {name.removeprefix('type_')} layers", said


def _separated(part: pd.DataFrame, names: list[str]) -> bool:
    fixed = np.column_stack([np.ones(len(part)), part[names].to_numpy()])
    return bool(separating(fixed, part["correct"].to_numpy(), np.ones(len(part))).any())


def _all_alike(part: pd.DataFrame, table: AnswerTable) -> str:
    if table.firth:
        return ""
    if table.ordinal:
        alike = not part.empty and part["rating"].nunique() == 1
        return f"every answer is a {part['rating'].iloc[0]:g} of 6" if alike else ""
    if part.empty or (0.0 < part["correct"].mean() < 1.0):
        return ""
    return f"every answer is {'correct' if part['correct'].iloc[0] else 'wrong'}"
