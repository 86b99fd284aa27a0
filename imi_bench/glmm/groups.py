"""Grouping factors: joint levels of columns, and what varies over them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from imi_bench.arrays import Floats
from imi_bench.errors import FormulaError, ModelError, SmallModelError
from imi_bench.formulas.matrix import model_matrix
from imi_bench.glmm.design import FactorRecipe, RandomFactor
from imi_bench.glmm.formula import ParsedFormula, RandomTerm
from imi_bench.glmm.levels import joint_levels

__all__ = ["grouping_factors", "joint_levels"]

_MOST_COLUMNS = 100


def grouping_factors(parsed: ParsedFormula, data: pd.DataFrame) -> tuple[RandomFactor, ...]:
    """Return the grouping factors of a formula, most levels first.

    Parameters
    ----------
    parsed : ParsedFormula
    data : DataFrame
        No missing value in the columns it names.

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
        raise SmallModelError(
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
