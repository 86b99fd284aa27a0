"""Levels of a grouping factor: which row belongs to which."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from imi_bench.arrays import Indices
from imi_bench.errors import ModelError
from imi_bench.formulas.syntax import Call, Name, Node, column_names
from imi_bench.formulas.values import level_label, require_whole


def joint_levels(group: tuple[Node, ...], data: pd.DataFrame) -> tuple[Indices, tuple[str, ...]]:
    """Return the level of each row, -1 where a value is missing, and the levels in order.

    Examples
    --------
    >>> from imi_bench.formulas.syntax import Name
    >>> data = pd.DataFrame({"a": ["x", "y", "x"], "b": [2, 10, 10]})
    >>> joint_levels((Name("a"), Name("b")), data)[1]
    ('x:2', 'x:10', 'y:10')
    """
    joint: Indices = np.zeros(len(data), dtype=np.intp)
    labels = [""]
    for depth, node in enumerate(group):
        part, levels = _levels(node, data)
        missing = (part < 0) | (joint < 0)
        present, back = np.unique(
            np.where(missing, -1, joint * len(levels) + part), return_inverse=True
        )
        absent = int(missing.any())
        kept = present[absent:]
        labels = [
            (f"{labels[one // len(levels)]}:" if depth else "") + levels[one % len(levels)]
            for one in kept
        ]
        joint = np.asarray(back.ravel() - absent, dtype=np.intp)
    return joint, tuple(labels)


def _levels(node: Node, data: pd.DataFrame) -> tuple[Indices, list[str]]:
    if isinstance(node, Call):
        (node,) = list(column_names(node))[:1]
    if not isinstance(node, Name):
        raise ModelError("a grouping factor is a column", found=str(node))
    column: pd.Series[Any] = data[node.text]
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, found = column.cat.codes.to_numpy(), list(column.cat.categories)
    else:
        require_whole(column)
        try:
            codes, present = pd.factorize(column, sort=True)
        except TypeError:
            codes, present = pd.factorize(column.map(level_label, na_action="ignore"), sort=True)
        found = list(present)
    return np.asarray(codes, dtype=np.intp), [level_label(one) for one in found]
