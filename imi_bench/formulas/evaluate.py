"""Evaluate a tree on a table; nothing but the functions of `functions` is ever called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from imi_bench.arrays import Array, Floats
from imi_bench.errors import FormulaError, ImiBenchError, ModelError, UnknownNameError
from imi_bench.formulas.functions import ELEMENTWISE, LEARNING
from imi_bench.formulas.syntax import (
    Binary,
    Call,
    Group,
    Name,
    Node,
    Number,
    Product,
    Sum,
    Text,
    Truth,
    Unary,
    label,
)
from imi_bench.formulas.tokens import complaint
from imi_bench.formulas.values import (
    Factor,
    Numbers,
    Value,
    column_value,
    factor_of,
    recoded,
    used_levels,
)

__all__ = ["Evaluation", "missing_column"]

_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "^": np.power,
    "%%": np.mod,
    "%/%": np.floor_divide,
}
_COMPARISON: dict[str, Callable[[Any, Any], Any]] = {
    "<": np.less,
    ">": np.greater,
    "<=": np.less_equal,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}
_LOGIC: dict[str, Callable[[Any, Any], Any]] = {"&": np.minimum, "|": np.maximum}

Operand = Value | float | bool | str | tuple[Any, ...] | None


def missing_column(name: Name, columns: Any, text: str) -> FormulaError:
    """Build the error for a name that is no column."""
    hint = UnknownNameError.among(name.text, map(str, columns), kind="column")
    return complaint(
        "no such column", text, name.place, found=hint.found, wanted=hint.wanted, do=hint.do
    )


class Evaluation:
    """One table, one formula, and what its functions have learnt.

    Parameters
    ----------
    data : DataFrame
    text : str
        The formula, for messages.
    memory : dict of Node to Any
        What was learnt before, by node; a dictionary to fill where `learning`.
    learning : bool
        Whether these are the first rows.
    """

    def __init__(
        self, data: pd.DataFrame, text: str, memory: dict[Node, Any], *, learning: bool
    ) -> None:
        self.data, self.text, self.memory, self.learning = data, text, memory, learning
        self._columns: dict[str, Value] = {}

    def complain(self, what: str, node: Node, **facts: Any) -> ImiBenchError:
        """Build the error that points at a node."""
        return complaint(what, self.text, node.place, **facts)

    def remembered(self, node: Node, learn: Callable[[], Any]) -> Any:
        """Return what was learnt for a node, learning it on the first rows."""
        if node not in self.memory and self.learning:
            try:
                self.memory[node] = learn()
            except ModelError as error:
                raise self.complain(error.what, node, found=error.found) from error
        return self.memory[node]

    def known(self, node: Node, factor: Factor, levels: tuple[str, ...]) -> Factor:
        """Recode a factor to levels that must hold all of its own."""
        new = sorted(set(used_levels(factor).levels) - set(levels))
        if new:
            raise self.complain(
                "a level that is not among the factor's levels"
                if self.learning
                else "a new level of a factor",
                node,
                found=", ".join(map(repr, new[:5])),
                wanted=f"one of {', '.join(levels[:12])}",
            )
        return factor if factor.levels == levels else recoded(factor, levels)

    def rows(self, node: Node) -> Value:
        """Return what a node has for every row."""
        value = self.operand(node)
        if isinstance(value, Numbers | Factor):
            return value
        raise self.complain("the same for every row, or no value at all", node)

    def numbers(self, node: Node) -> Floats:
        """Return one number for every row, float64 (n,)."""
        value = self.rows(node)
        if isinstance(value, Factor) or value.values.ndim != 1:
            raise self.complain(
                "labels where numbers are wanted"
                if isinstance(value, Factor)
                else "several columns where one is wanted",
                node,
            )
        return value.values

    def constant(self, node: Node | None) -> Any:
        """Return a constant: number, truth value, text, None or a tuple of them."""
        if node is None:
            return None
        value = self.operand(node)
        if isinstance(value, Numbers | Factor):
            raise self.complain("a column where a constant is wanted", node)
        return value

    def factor(self, node: Node) -> Factor:
        """Return a factor for every row, whatever the node has."""
        own = factor_of(self.rows(node), where=label(node))
        return self.known(node, own, self.remembered(node, lambda: own.levels))

    def operand(self, node: Node) -> Operand:
        """Return the value of a node: rows or a constant."""
        match node:
            case Name():
                return self._column(node)
            case Number(value) | Text(value) | Truth(value):
                return value
            case Group(inner):
                return self.operand(inner)
            case Unary():
                return Numbers(1.0 - self._number(node.operand), logical=True)
            case Sum(parts) | Product(parts):
                return self._chain(parts)
            case Binary():
                return self._binary(node)
            case Call():
                return self._call(node)

    def _column(self, node: Name) -> Operand:
        name = node.text
        if name not in self._columns:
            if name not in self.data.columns:
                if name == "pi":
                    return float(np.pi)
                raise missing_column(node, self.data.columns, self.text)
            column: Any = self.data[name]
            if column.ndim != 1:
                raise self.complain("two columns of the same name", node, do="rename one of them")
            value = self._as_before(node, column_value(column))
            if isinstance(value, Factor):
                first = used_levels(value)
                value = self.known(node, value, self.remembered(node, lambda: first.levels))
            self._columns[name] = value
        return self._columns[name]

    def _as_before(self, node: Name, value: Value) -> Value:
        """Take other rows of a column for what the first rows were: labels or numbers.

        Other rows may hold only labels that look like numbers (10, of 10, A, b), which a reader
        takes for numbers.
        """
        if self.learning:
            return value
        if isinstance(value, Numbers):
            labels = node in self.memory and not value.logical
            return factor_of(value, where=node.text) if labels else value
        if node in self.memory:
            return value
        if not value.levels:
            return Numbers(np.full(len(value.codes), np.nan))
        found = f"labels such as {value.levels[0]!r}"
        raise self.complain("labels where the model's own rows have numbers", node, found=found)

    def _number(self, node: Node) -> Any:
        """Return float64 (n,) or (n, k), or one number."""
        value = self.operand(node)
        if isinstance(value, Numbers):
            return value.values
        if isinstance(value, float | bool):
            return np.float64(value)
        raise self.complain("arithmetic with what is no number", node)

    def _result(self, value: Array, *, logical: bool = False) -> Operand:
        if np.ndim(value) == 0:
            return bool(value) if logical else float(value)
        return Numbers(np.asarray(value, dtype=np.float64), logical=logical)

    def _chain(self, parts: tuple[tuple[str, Node], ...]) -> Operand:
        sign, first = parts[0]
        with np.errstate(all="ignore"):
            total = self._number(first)
            total = -total if sign == "-" else total
            for operator, part in parts[1:]:
                total = _ARITHMETIC[operator](total, self._number(part))
        return self._result(total)

    def _binary(self, node: Binary) -> Operand:
        operator = node.operator[0] if node.operator in ("&&", "||") else node.operator
        if operator in _COMPARISON:
            return self._comparison(node)
        if operator == "%in%":
            return self._membership(node)
        table = _ARITHMETIC | _LOGIC
        if operator not in table:
            raise self.complain(f"no {node.operator} among numbers", node)
        with np.errstate(all="ignore"):
            value = table[operator](self._number(node.left), self._number(node.right))
        return self._result(value, logical=operator in _LOGIC)

    def _comparison(self, node: Binary) -> Operand:
        left, right = self.operand(node.left), self.operand(node.right)
        compare = _COMPARISON[node.operator]
        if isinstance(left, Factor) or isinstance(right, Factor):
            first, second, missing = self._positions(node, left, right)
        else:
            first, second = self._number(node.left), self._number(node.right)
            missing = np.isnan(first) | np.isnan(second)
        return self._result(np.where(missing, np.nan, compare(first, second)), logical=True)

    def _positions(self, node: Binary, left: Operand, right: Operand) -> tuple[Any, Any, Any]:
        """Return positions of two sets of labels in one list of levels, and what is missing."""
        factors = [one for one in (left, right) if isinstance(one, Factor)]
        ordered = all(one.ordered for one in factors) and len({f.levels for f in factors}) == 1
        if node.operator not in ("==", "!=") and not ordered:
            raise self.complain("labels without an order cannot be compared so", node)
        levels = {level: k for k, level in enumerate(factors[0].levels)}

        def place(one: Operand) -> Any:
            if isinstance(one, Factor):
                for level in one.levels:
                    levels.setdefault(level, len(levels))
                table = np.array([*(levels[level] for level in one.levels), -1])
                return table[one.codes]
            if not isinstance(one, str) or (ordered and one not in levels):
                raise self.complain("labels compare with a label in quotes", node)
            return levels.get(one, -2)

        first, second = place(left), place(right)
        return first, second, (np.asarray(first) == -1) | (np.asarray(second) == -1)

    def _membership(self, node: Binary) -> Operand:
        value, wanted = self.rows(node.left), self.constant(node.right)
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        if isinstance(value, Factor):
            table = np.array([*(level in wanted for level in value.levels), False])
            return Numbers(table[value.codes].astype(float), logical=True)
        numbers = [one for one in wanted if not isinstance(one, str)]
        return Numbers(np.isin(value.values, numbers).astype(float), logical=True)

    def _call(self, node: Call) -> Operand:
        if node.function == "c":
            return tuple(self.constant(one) for one in node.arguments)
        if node.function in LEARNING:
            return LEARNING[node.function](self, node)
        if node.function not in ELEMENTWISE:
            raise self.complain(
                "not a function that a formula may use",
                node,
                found=repr(node.function),
                wanted=f"one of {', '.join(sorted((*ELEMENTWISE, *LEARNING)))}",
            )
        named = {key: self._number(one) for key, one in node.named}
        try:
            with np.errstate(all="ignore"):
                value = ELEMENTWISE[node.function](*map(self._number, node.arguments), **named)
        except (TypeError, ValueError):
            raise self.complain(f"{node.function}() does not take these arguments", node) from None
        return self._result(value)
