"""From a formula and a table to the design of a model of ordered answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from imi_bench.arrays import Floats
from imi_bench.errors import FormulaError, InputError, SmallModelError
from imi_bench.formulas.syntax import Name, label
from imi_bench.glmm.build import build_design
from imi_bench.glmm.design import Design
from imi_bench.glmm.formula import parse_formula

_INTERCEPT = "(Intercept)"


def ordinal_design(
    formula: str,
    data: pd.DataFrame,
    *,
    levels: Sequence[str] | None = None,
    weights: str | None = None,
) -> Design:
    """Evaluate a formula whose response is an ordered answer.

    The thresholds between answers take the place of the intercept, so the design has none. Where
    a formula without one spans the constant all the same (``0 + network``), the middle threshold
    is zero.

    Parameters
    ----------
    formula : str
        Lme4's language; the response is a column.
    data : DataFrame
        One row for each answer.
    levels : sequence of str, optional
        The answers in order, lowest first; needed where the column says no order.
    weights : str, optional
        How many times each row was seen, a column or an expression.

    Raises
    ------
    FormulaError
        If the response is not a column.
    ModelError, InputError
        If the column has no order, or fewer than two answers.

    Examples
    --------
    >>> data = pd.DataFrame({"y": [1, 2, 3, 2, 1, 3], "g": list("aabbcc")})
    >>> ordinal_design("y ~ 1 + (1 | g)", data).categories
    ('1', '2', '3')
    """
    response = parse_formula(formula).response
    name = response.text if isinstance(response, Name) else label(response)
    if not isinstance(response, Name) or name not in data.columns:
        raise FormulaError(
            "the response of an ordinal model is a column",
            where=repr(formula),
            found=repr(name),
            wanted=f"one of {', '.join(map(str, data.columns))}",
        )
    codes, labels = ordered_codes(data[name], levels=levels)
    rows = data.assign(**{name: codes})
    whole = build_design(formula, rows, family="gaussian", weights=weights)
    met, answers = np.unique(whole.response.astype(np.intp), return_inverse=True)
    if len(met) < 2:
        raise SmallModelError(
            "the response never varies", where=name, found=f"only {labels[met[0]]}"
        )
    return replace(
        whole.without(_INTERCEPT) if _INTERCEPT in whole.names else whole,
        family="ordinal",
        response=answers.astype(np.float64),
        categories=tuple(labels[k] for k in met),
        unmet=tuple(label for k, label in enumerate(labels) if k not in met),
    )


def ordered_codes(
    column: pd.Series, *, levels: Sequence[str] | None = None
) -> tuple[Floats, tuple[str, ...]]:
    """Return the position of each answer in their order (NaN where missing), and their labels.

    Parameters
    ----------
    column : Series
        Numbers, ordered categories, or anything with `levels`.
    levels : sequence of str, optional
        Every answer, lowest first.

    Raises
    ------
    InputError
        If there is no order, or an answer is not among the levels.

    Examples
    --------
    >>> ordered_codes(pd.Series([3, 1, None]))[0].tolist()
    [1.0, 0.0, nan]
    """
    where = str(column.name)
    if levels is not None:
        labels = tuple(map(str, levels))
        given = column.map(_label, na_action="ignore")
        if unknown := sorted(set(given.dropna()) - set(labels)):
            raise InputError(
                "answers that are not among the levels",
                where=where,
                found=", ".join(unknown[:5]),
                wanted=", ".join(labels),
            )
        places = {label: float(k) for k, label in enumerate(labels)}
        return np.asarray(given.map(places), dtype=np.float64), labels
    if isinstance(column.dtype, pd.CategoricalDtype) and column.cat.ordered:
        position = np.asarray(column.cat.codes, dtype=np.float64)
        position[position < 0] = np.nan
        return position, tuple(map(str, column.cat.categories))
    numbers = pd.to_numeric(column, errors="coerce")
    if (numbers.isna() & column.notna()).any():
        found = column[numbers.isna() & column.notna()].iloc[0]
        raise InputError(
            "answers without an order",
            where=where,
            found=repr(found),
            wanted="numbers, or ordered categories",
            do="name the answers in order, lowest first (levels)",
        )
    values = np.unique(numbers.dropna().to_numpy(dtype=float))
    codes = np.searchsorted(values, numbers.to_numpy(dtype=float))
    found = np.where(numbers.isna(), np.nan, codes)
    return np.asarray(found, dtype=np.float64), tuple(f"{value:g}" for value in values)


def _label(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
