"""Read lme4's formula language: R's, with random-effects terms in parentheses and bars.

The fixed part, each left-hand side in bars and the response are trees of `imi_bench.formulas`;
here they are told apart. Every word of the formula ends in one of them, or it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from imi_bench.errors import FormulaError
from imi_bench.formulas.functions import LEARNING
from imi_bench.formulas.parse import parse_two_sided
from imi_bench.formulas.syntax import (
    Binary,
    Call,
    Group,
    Name,
    Node,
    Number,
    Product,
    Sum,
    column_names,
    label,
)
from imi_bench.formulas.terms import Terms, expand
from imi_bench.formulas.tokens import complaint

_MOST_BARS = 50
_COUNTS = ("cbind", "prop", "proportion", "p")
_GROUP_CALLS = ("factor", "as.factor")
_ONE = Number(1.0)


@dataclass(frozen=True)
class RandomTerm:
    """One term in bars.

    Attributes
    ----------
    parts : tuple of Terms
        What varies, each part with correlations of its own; one part for a single bar, one
        for each term for lme4's double bar, which sets correlations between terms to zero.
    group : tuple of Node
        Columns (or ``factor(column)``) whose joint levels are the groups, such as class and
        school for ``class:school``, which is also what lme4 makes of the inner level of
        ``school/class``.
    """

    parts: tuple[Terms, ...]
    group: tuple[Node, ...]

    @property
    def name(self) -> str:
        """Name of the grouping factor, as lme4 gives it."""
        return ":".join(one.text if isinstance(one, Name) else label(one) for one in self.group)


@dataclass(frozen=True)
class ParsedFormula:
    """A formula in parts.

    Attributes
    ----------
    text : str
    response : Node
        Left of the tilde.
    counts : (Node, Node) or None
        The two arguments of ``cbind(successes, failures)`` or of
        ``prop(successes, trials)``, or None.
    counts_are_failures : bool
        Whether the second count is failures rather than trials.
    fixed : Terms
        The fixed effects, with their offsets.
    random : tuple of RandomTerm
        The random-effects terms, nesting written out.
    """

    text: str
    response: Node
    counts: tuple[Node, Node] | None
    counts_are_failures: bool
    fixed: Terms
    random: tuple[RandomTerm, ...]

    def columns(self) -> Iterator[Name]:
        """Yield every name that stands for a column of the table."""
        yield from column_names(self.response)
        for node in (*self.fixed.variables, *self.fixed.offsets):
            yield from column_names(node)
        for term in self.random:
            for node in (*term.group, *(v for part in term.parts for v in part.variables)):
                yield from column_names(node)


def parse_formula(text: str) -> ParsedFormula:
    """Take a formula apart.

    Parameters
    ----------
    text : str
        Such as ``"y ~ x + (1 + x | g) + (1 | school/class)"``.

    Raises
    ------
    FormulaError
        If any part of it cannot be read, or there is no random-effects term.

    Examples
    --------
    >>> parsed = parse_formula("y ~ x + (1 | school/class)")
    >>> [term.label for term in parsed.fixed.terms], [term.name for term in parsed.random]
    (['x'], ['school', 'class:school'])
    """
    response, right = parse_two_sided(text)
    summands: list[tuple[str, Node]] = []
    bars: list[Binary] = []
    _split(right, "", text, summands, bars)
    depth = sum(len(_nested(bar.right)) for bar in bars)
    if depth > _MOST_BARS:
        raise FormulaError(
            "too many random-effects terms", found=str(depth), wanted=f"at most {_MOST_BARS}"
        )
    random = tuple(term for bar in bars for term in _random_terms(bar, text))
    if not random:
        raise FormulaError(
            "no random-effects term in the formula",
            found=repr(text[:80]),
            wanted="at least one term such as (1 | group)",
        )
    fixed = expand(Sum(tuple(summands)) if summands else None, text, response=response)
    counts, failures = _counts(response, text)
    return ParsedFormula(text, response, counts, failures, fixed, random)


def _split(
    node: Node, sign: str, text: str, summands: list[tuple[str, Node]], bars: list[Binary]
) -> None:
    """Send the bars of a right-hand side one way and its other summands the other."""
    if isinstance(node, Sum) and not sign:
        for own, part in node.parts:
            _split(part, own, text, summands, bars)
    elif (
        isinstance(node, Group) and isinstance(node.inner, Binary) and node.inner.operator[0] == "|"
    ):
        if sign == "-":
            raise complaint("a random-effects term can only be added", text, node.place)
        bars.append(node.inner)
    elif isinstance(node, Group) and sign != "-" and _has_bar(node.inner):
        _split(node.inner, "", text, summands, bars)
    elif _has_bar(node):
        raise complaint(
            "a random-effects term can only be added, in parentheses",
            text,
            node.place,
            wanted="a term such as + (1 | group)",
        )
    elif isinstance(node, Call) and node.function not in LEARNING and _bar_inside(node):
        raise complaint(
            "a plus sign is missing before a random-effects term", text, node.place, wanted="+ ("
        )
    else:
        summands.append((sign, node))


def _bar_inside(call: Call) -> bool:
    match call.arguments:
        case (Binary("|" | "||"),):
            return True
    return False


def _has_bar(node: Node) -> bool:
    match node:
        case Binary("|" | "||"):
            return True
        case Binary(_, left, right):
            return _has_bar(left) or _has_bar(right)
        case Sum(parts) | Product(parts):
            return any(_has_bar(one) for _, one in parts)
        case Group(inner):
            return _has_bar(inner)
    return False


def _random_terms(bar: Binary, text: str) -> Iterator[RandomTerm]:
    if _has_bar(bar.left) or _has_bar(bar.right):
        raise complaint("a bar too many in a random-effects term", text, bar.place)
    terms = expand(bar.left, text)
    if terms.offsets:
        raise complaint("an offset is fixed, not random", text, bar.place)
    if terms.empty:
        raise complaint("an empty random effect", text, bar.place, wanted="a term such as (1 | g)")
    parts = (terms,) if bar.operator == "|" else tuple(_single_terms(terms))
    path = [_joint(node, text) for node in _nested(bar.right)]
    for depth in range(1, len(path) + 1):
        yield RandomTerm(parts, tuple(one for level in path[:depth][::-1] for one in level))


def _single_terms(terms: Terms) -> Iterator[Terms]:
    """Yield the intercept and each term alone, ``0 + term``, as lme4 expands the double bar."""
    if terms.intercept:
        yield Terms(terms.text, (), (), True)
    for term in terms.terms:
        own = tuple(terms.variables[k] for k in term.variables)
        joined: Node = own[0]
        for node in own[1:]:
            joined = Binary(":", joined, node)
        yield expand(Sum((("-", _ONE), ("+", joined))), terms.text)


def _nested(node: Node) -> list[Node]:
    """Return the levels of ``a/b/c``, outermost first."""
    while isinstance(node, Group):
        node = node.inner
    if isinstance(node, Product) and all(operator != "*" for operator, _ in node.parts):
        return [one for _, part in node.parts for one in _nested(part)]
    return [node]


def _joint(node: Node, text: str) -> tuple[Node, ...]:
    """Return the columns of ``a:b``."""
    match node:
        case Name():
            return (node,)
        case Call(function) if function in _GROUP_CALLS:
            return (node,)
        case Binary(":", left, right):
            return (*_joint(left, text), *_joint(right, text))
        case Group(inner):
            return _joint(inner, text)
    raise complaint(
        "cannot read the grouping factor",
        text,
        node.place,
        wanted="a column, or columns joined by : or /",
    )


def _counts(response: Node, text: str) -> tuple[tuple[Node, Node] | None, bool]:
    if not (isinstance(response, Call) and response.function in _COUNTS):
        return None, False
    if len(response.arguments) != 2 or response.named:
        raise complaint(
            "cannot read the response",
            text,
            response.place,
            wanted="cbind(successes, failures) or prop(successes, trials)",
        )
    first, second = response.arguments
    return (first, second), response.function == "cbind"
