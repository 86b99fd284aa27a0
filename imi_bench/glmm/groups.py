"""Grouping factors: joint levels of columns, and what varies over them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from imi_bench.arrays import Floats, Indices
from imi_bench.errors import FormulaError, ModelError
from imi_bench.formulas.matrix import model_matrix
from imi_bench.formulas.syntax import Call, Name, Node, column_names
from imi_bench.formulas.values import level_label
from imi_bench.glmm.design import FactorRecipe, RandomFactor
from imi_bench.glmm.formula import ParsedFormula, RandomTerm

__all__ = ["grouping_factors", "joint_levels"]

_MOST_COLUMNS = 100


def grouping_factors(parsed: ParsedFormula, data: pd.DataFrame) -> tuple[RandomFactor, ...]:
    """Return the grouping factors of a formula, most levels first.

    Parameters
    ----------
    parsed : the formula.
    data : no missing value in the columns it names.

    Raises
    ------
    FormulaError, ModelError
        If a factor has one level, or an effect stands there twice.
    """
    groups: dict[str, list[RandomTerm]] = {}
    for term in parsed.random:
        groups.setdefault(term.name, []).append(term)
    factors = [_factor(name, terms, data) for name, terms in groups.items()]
    return tuple(sorted(factors, key=lambda factor: -len(factor.levels)))


def _factor(name: str, terms: list[RandomTerm], data: pd.DataFrame) -> RandomFactor:
    codes, levels = joint_levels(terms[0].group, data)
    if len(levels) < 2:
        raise ModelError(
            "a grouping factor with one level cannot vary",
            where=name,
            found=f"only {levels[0]!r}",
            wanted="two or more levels",
        )
    made = [model_matrix(part, data) for term in terms for part in term.parts]
    columns = [column for one in made for column in one.recipe.names]
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    if repeated:
        raise FormulaError(
            "a random effect stands in the formula twice",
            where=name,
            found=", ".join(repeated[:5]),
        )
    if len(columns) > _MOST_COLUMNS:
        raise ModelError(
            "too many random effects at each level",
            where=name,
            found=f"{len(columns):,}",
            wanted=f"at most {_MOST_COLUMNS}",
        )
    values: Floats | None = np.column_stack([one.values for one in made])
    return RandomFactor(
        name,
        levels,
        codes,
        tuple(columns),
        tuple(len(one.recipe.names) for one in made),
        None if columns == ["(Intercept)"] else values,
        FactorRecipe(terms[0].group, tuple(one.recipe for one in made)),
    )


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
        try:
            codes, present = pd.factorize(column, sort=True)
        except TypeError:
            codes, present = pd.factorize(column.map(level_label, na_action="ignore"), sort=True)
        found = list(present)
    return np.asarray(codes, dtype=np.intp), [level_label(one) for one in found]
