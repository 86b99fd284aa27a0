"""R's algebra of model formulas: which products of variables a right-hand side stands for.

A port of the rules in R's ``terms.formula`` (R sources, ``src/library/stats/src/model.c``): a
term is a set of variables, written as the bits of an integer in the order in which variables
first appear; terms are sorted by the number of their variables, else kept in order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

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

MOST_TERMS = 1_000


@dataclass(frozen=True)
class Term:
    """A product of variables.

    Attributes
    ----------
    label : str
        As R writes it, such as ``m:x``.
    variables : tuple of int
        Positions in `Terms.variables`.
    full : tuple of bool
        For each variable, whether a factor there is coded by an indicator for every level
        rather than by contrasts (R's marginality rule).
    """

    label: str
    variables: tuple[int, ...]
    full: tuple[bool, ...]


@dataclass(frozen=True)
class Terms:
    """The right-hand side of a formula, expanded.

    Attributes
    ----------
    text : str
        The formula it was read from, for messages.
    variables : tuple of Node
        The expressions that terms are made of, in order of appearance.
    terms : tuple of Term
        Without the intercept.
    intercept : bool
        Whether there is one.
    offsets : tuple of Node
        The arguments of ``offset()``.
    """

    text: str
    variables: tuple[Node, ...]
    terms: tuple[Term, ...]
    intercept: bool
    offsets: tuple[Node, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is neither a term nor an intercept."""
        return not self.terms and not self.intercept


def expand(node: Node | None, text: str, *, response: Node | None = None) -> Terms:
    """Expand a right-hand side without bars; None stands for the intercept alone.

    Parameters
    ----------
    node : Node or None
    text : str
        The formula, for messages.
    response : Node, optional
        Must not appear among the terms.

    Raises
    ------
    FormulaError
        If it has no meaning as a set of terms.

    Examples
    --------
    >>> from imi_bench.formulas.parse import parse
    >>> [term.label for term in expand(parse("m/x + (a + b)^2"), "...").terms]
    ['m', 'a', 'b', 'm:x', 'a:b']
    """
    expansion = _Expansion(text)
    bits = [] if node is None else expansion.encode(node)
    if response in expansion.numbers:
        place = next(v for v in expansion.numbers if v == response).place
        raise complaint("the response stands among the terms", text, place)
    bits = sorted(bits, key=int.bit_count)
    variables = tuple(expansion.numbers)
    labels = [label(variable) for variable in variables]
    return Terms(
        text=text,
        variables=variables,
        terms=tuple(_term(own, bits[:index], labels) for index, own in enumerate(bits)),
        intercept=expansion.intercept,
        offsets=tuple(expansion.offsets),
    )


def _term(bits: int, before: list[int], labels: list[str]) -> Term:
    members = [k for k in range(bits.bit_length()) if bits >> k & 1]
    rests = [bits & ~(1 << k) for k in members]
    return Term(
        label=":".join(labels[k] for k in members),
        variables=tuple(members),
        full=tuple(bool(rest) and all(rest & ~one for one in before) for rest in rests),
    )


class _Expansion:
    """Encodes trees; the intercept is a switch that the last word sets, as in R."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.numbers: dict[Node, int] = {}
        self.offsets: list[Node] = []
        self.intercept, self.adding = True, True

    def encode(self, node: Node) -> list[int]:
        match node:
            case Name():
                if node.text == ".":
                    raise complaint(
                        "no dot for all other columns", self.text, node.place, do="name the columns"
                    )
                return [self._variable(node)]
            case Number(value) if value in (0.0, 1.0):
                self.intercept = (value == 1.0) is self.adding
                return []
            case Number() | Text() | Truth():
                raise complaint("a constant is no term", self.text, node.place, wanted="a column")
            case Group(inner):
                return self.encode(inner)
            case Sum(parts):
                return self._sum(parts)
            case Product(parts):
                return self._product(parts)
            case Binary(":" | "%in%" as operator, left, right):
                return self._joined(operator, self.encode(left), self.encode(right), node)
            case Binary("^", left, right):
                return self._power(left, right, node)
            case Binary("|" | "||"):
                raise complaint(
                    "a random-effects term can only be added, in parentheses",
                    self.text,
                    node.place,
                    wanted="a term such as + (1 | group)",
                )
            case Binary("%%" | "%/%"):
                raise complaint(
                    "arithmetic in a formula stands in I()",
                    self.text,
                    node.place,
                    do=f"write I({label(node)})",
                )
            case Call("offset"):
                raise complaint("an offset can only be added", self.text, node.place)
            case Call() | Binary() | Unary():
                return [self._variable(node)]
        raise complaint("no model term", self.text, node.place)

    def _variable(self, node: Node) -> int:
        return 1 << self.numbers.setdefault(node, len(self.numbers))

    def _distinct(self, bits: Iterable[int], node_place: tuple[int, int]) -> list[int]:
        """Keep the first of each; stop before a product of many terms is written out."""
        found: dict[int, None] = {}
        for one in bits:
            if one:
                found.setdefault(one)
            self._bound(found, node_place)
        return list(found)

    def _bound(self, found: dict[int, None], place: tuple[int, int]) -> None:
        if len(found) > MOST_TERMS:
            raise complaint("too many terms", self.text, place, wanted=f"at most {MOST_TERMS:,}")

    def _sum(self, parts: tuple[tuple[str, Node], ...]) -> list[int]:
        found: dict[int, None] = {}
        for sign, part in parts:
            if sign == "-":
                self.adding = not self.adding
                gone = self.encode(part)
                self.adding = not self.adding
                for one in gone:
                    found.pop(one, None)
                continue
            if isinstance(part, Call) and part.function == "offset":
                self._offset(part)
                continue
            found.update(dict.fromkeys(self.encode(part)))
            self._bound(found, part.place)
        return list(found)

    def _offset(self, call: Call) -> None:
        if len(call.arguments) != 1 or call.named:
            raise complaint("offset() wants one argument", self.text, call.place)
        self.offsets.append(call.arguments[0])

    def _product(self, parts: tuple[tuple[str, Node], ...]) -> list[int]:
        left: list[int] = []
        for operator, part in parts:
            right = self.encode(part)
            if operator == "/":
                whole = 0
                for one in left:
                    whole |= one
                left = self._distinct((*left, *(one | whole for one in right)), part.place)
            elif operator == "*":
                crossed = (a | b for a in left for b in right)
                left = self._distinct((*left, *right, *crossed), part.place)
            else:
                left = right
        return left

    def _joined(self, operator: str, left: list[int], right: list[int], node: Node) -> list[int]:
        if not left or not right:
            raise complaint("an interaction with nothing", self.text, node.place)
        if operator == "%in%":
            whole = 0
            for one in right:
                whole |= one
            right = [whole]
        return self._distinct((a | b for a in left for b in right), node.place)

    def _power(self, base: Node, exponent: Node, node: Node) -> list[int]:
        while isinstance(exponent, Group):
            exponent = exponent.inner
        if not (isinstance(exponent, Number) and exponent.value >= 1 and exponent.value % 1 == 0):
            raise complaint(
                "a power of terms is a whole number",
                self.text,
                node.place,
                do="write I(x^2) for the square of a number",
            )
        left = self.encode(base)
        right = left
        for _ in range(min(int(exponent.value), len(left)) - 1):
            right = self._distinct((a | b for a in left for b in right), node.place)
        return right
