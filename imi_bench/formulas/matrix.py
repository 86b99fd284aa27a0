"""Model matrices with R's columns and labels, and the recipe that makes them again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import pandas as pd

from imi_bench.arrays import Floats
from imi_bench.errors import FormulaError, ModelError, SmallModelError
from imi_bench.formulas.contrasts import coding
from imi_bench.formulas.evaluate import Evaluation
from imi_bench.formulas.syntax import Call, Name, Node, column_names, label
from imi_bench.formulas.terms import Term, Terms
from imi_bench.formulas.values import Factor, Numbers
from imi_bench.text import plural

INTERCEPT = "(Intercept)"
_MOST_CELLS = 1 << 28
_TO_LABELS = frozenset({"factor", "as.factor", "ordered", "as.ordered", "relevel", "C"})
_MOST_COLUMNS = 5_000


@dataclass(frozen=True, eq=False)
class Recipe:
    """How the columns of a model matrix are made from a table.

    Attributes
    ----------
    terms : Terms
    names : tuple of str
        Of the columns, as R gives them.
    members : mapping of str to tuple of int
        Columns of each term, ``(Intercept)`` among them.
    factors : mapping of str to tuple of str
        Levels of each variable that is a factor, by its label.
    memory : mapping of Node to Any
        What functions learnt from the first rows: levels, means, knots.
    """

    terms: Terms
    names: tuple[str, ...]
    members: Mapping[str, tuple[int, ...]]
    factors: Mapping[str, tuple[str, ...]]
    memory: Mapping[Node, Any] = field(repr=False)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the table that the matrix is made of."""
        parts = (*self.terms.variables, *self.terms.offsets)
        return tuple(dict.fromkeys(name.text for part in parts for name in column_names(part)))

    def levels(self, column: str) -> tuple[str, ...] | None:
        """Return the levels of a column of the table, None where it is not a factor."""
        return self.memory.get(Name(column))

    def is_labels(self, column: str) -> bool:
        """Whether a column of numbers serves as labels, as in ``factor(column)``."""
        return any(_labelled(part) == column for part in self.terms.variables)

    def matrix(self, data: pd.DataFrame) -> Floats:
        """Return the columns for other rows, float64 (rows, columns); NaN where a value misses.

        Raises
        ------
        FormulaError, ModelError
            If a column is not there, or a factor has a level that it did not have before.
        """
        evaluation = Evaluation(data, self.terms.text, dict(self.memory), learning=False)
        return _matrix(self.terms, evaluation, len(data))[0]

    def offset(self, data: pd.DataFrame) -> Floats:
        """Return the sum of the offsets for other rows, float64 (rows,)."""
        evaluation = Evaluation(data, self.terms.text, dict(self.memory), learning=False)
        return _offset(self.terms, evaluation, len(data))


def _labelled(node: Node) -> str | None:
    """Return the column that calls such as ``factor`` and ``relevel`` are made of."""
    inner = node
    while isinstance(inner, Call) and inner.function in _TO_LABELS and inner.arguments:
        inner = inner.arguments[0]
    return inner.text if isinstance(inner, Name) and inner is not node else None


@dataclass(frozen=True, eq=False)
class ModelMatrix:
    """A model matrix on the rows it was learnt from.

    Attributes
    ----------
    values : (n, p) float64
    offset : (n,) float64
        Zero where there is none.
    recipe : Recipe
        Names, terms, and the way to make it for other rows.
    """

    values: Floats
    offset: Floats
    recipe: Recipe


def model_matrix(terms: Terms, data: pd.DataFrame) -> ModelMatrix:
    """Make a model matrix as R's ``model.matrix`` does.

    Parameters
    ----------
    terms : Terms
        From `imi_bench.formulas.terms.expand`.
    data : DataFrame
        No missing value in the columns it names.

    Raises
    ------
    FormulaError, ModelError
        If an expression has no meaning on these data, a factor has one level, a value is not
        finite, or the matrix would be too large.

    Examples
    --------
    >>> from imi_bench.formulas.parse import parse
    >>> from imi_bench.formulas.terms import expand
    >>> data = pd.DataFrame({"x": [1.0, 2.0, 4.0], "m": ["a", "b", "a"]})
    >>> model_matrix(expand(parse("m/x"), "m/x"), data).recipe.names
    ('(Intercept)', 'mb', 'ma:x', 'mb:x')
    """
    memory: dict[Node, Any] = {}
    evaluation = Evaluation(data, terms.text, memory, learning=True)
    values, names, members, factors = _matrix(terms, evaluation, len(data))
    finite = np.atleast_1d(np.isfinite(values).all(axis=0))
    bad = [name for name, ok in zip(names, finite, strict=True) if not ok]
    if bad:
        raise ModelError("infinite or undefined values", where=", ".join(bad[:5]))
    repeated = [name for name in names if names.count(name) > 1] if len(names) < 2_000 else []
    if repeated:
        raise FormulaError(
            "two columns of the model have one name", found=repeated[0], do="rename a level"
        )
    offset = _offset(terms, evaluation, len(data))
    if not np.isfinite(offset).all():
        raise ModelError("infinite or undefined values", where="offset")
    return ModelMatrix(values, offset, Recipe(terms, tuple(names), members, factors, memory))


def _offset(terms: Terms, evaluation: Evaluation, rows: int) -> Floats:
    total = np.zeros(rows)
    for node in terms.offsets:
        total = total + evaluation.numbers(node)
    return total


class _Variable:
    """A variable of the formula, coded on demand."""

    def __init__(self, node: Node, evaluation: Evaluation) -> None:
        self.name = label(node)
        value = evaluation.rows(node)
        if isinstance(value, Numbers) and value.logical:
            value = evaluation.factor(node)
        self.value = value
        if isinstance(value, Factor) and len(value.levels) < 2:
            raise SmallModelError(
                "a factor with one level carries no effect",
                where=self.name,
                found=f"only {value.levels[0]!r}" if value.levels else "no level",
                wanted="two or more levels",
                do="drop it from the formula",
            )

    @property
    def is_factor(self) -> bool:
        return isinstance(self.value, Factor)

    def width(self, full: bool) -> int:
        if isinstance(self.value, Factor):
            return len(self.value.levels) - (not full)
        return 1 if self.value.values.ndim == 1 else self.value.values.shape[1]

    def columns(self, full: bool) -> list[tuple[str, Floats]]:
        """Return label and values of each column."""
        if isinstance(self.value, Factor):
            table, labels = coding(self.value, full=full)
            table = np.vstack([table, np.full((1, table.shape[1]), np.nan)])
            codes = self.value.codes
            return [
                (self.name + added, table[:, k].take(codes, mode="wrap"))
                for k, added in enumerate(labels)
            ]
        values = self.value.values
        if values.ndim == 1:
            return [(self.name, values)]
        numbered = self.value.labels or tuple(str(k + 1) for k in range(values.shape[1]))
        return [(self.name + added, values[:, k]) for k, added in enumerate(numbered)]


def _matrix(
    terms: Terms, evaluation: Evaluation, rows: int
) -> tuple[Floats, list[str], dict[str, tuple[int, ...]], dict[str, tuple[str, ...]]]:
    used = sorted({k for term in terms.terms for k in term.variables})
    variables = {k: _Variable(terms.variables[k], evaluation) for k in used}
    fulls = list(_codings(terms, variables))
    count = int(terms.intercept) + sum(
        prod(variables[k].width(full) for k, full in zip(term.variables, whole, strict=True))
        for term, whole in zip(terms.terms, fulls, strict=True)
    )
    if count > _MOST_COLUMNS or count * rows > _MOST_CELLS:
        raise ModelError(
            "the model matrix would be too large",
            found=f"{plural(count, 'column')}, {rows:,} rows",
            wanted=f"at most {_MOST_COLUMNS:,} columns and {_MOST_CELLS:,} cells",
            do="let factors of many levels be random: (1 | group)",
        )
    values: Floats = np.empty((rows, count))
    names: list[str] = []
    members: dict[str, tuple[int, ...]] = {}
    if terms.intercept:
        values[:, 0] = 1.0
        names, members = [INTERCEPT], {INTERCEPT: (0,)}
    for term, whole in zip(terms.terms, fulls, strict=True):
        first = len(names)
        for name, column in _products(term, whole, variables):
            values[:, len(names)] = column
            names.append(name)
        members[term.label] = tuple(range(first, len(names)))
    factors = {
        one.name: one.value.levels for one in variables.values() if isinstance(one.value, Factor)
    }
    return values, names, members, factors


def _codings(terms: Terms, variables: Mapping[int, _Variable]) -> Iterator[tuple[bool, ...]]:
    """Yield each term's codings; without an intercept the first factor gets an indicator each."""
    waiting = not terms.intercept
    for term in terms.terms:
        whole = list(term.full)
        for place, k in enumerate(term.variables):
            if waiting and variables[k].is_factor:
                whole[place], waiting = True, False
        yield tuple(whole)


def _products(
    term: Term, whole: tuple[bool, ...], variables: Mapping[int, _Variable]
) -> list[tuple[str, Floats]]:
    """Multiply the columns of a term's variables; the first variable varies fastest."""
    found: list[tuple[str, Floats]] = []
    for k, full in zip(term.variables, whole, strict=True):
        own = variables[k].columns(full)
        found = (
            [(f"{before}:{name}", left * right) for name, right in own for before, left in found]
            if found
            else own
        )
    return found
