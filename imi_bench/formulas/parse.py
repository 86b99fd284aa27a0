"""A recursive-descent parser of R's expressions, with R's precedence.

From loose to tight: ``~``, ``| ||``, ``& &&``, ``!``, comparison, ``+ -``, ``* /``,
``%in% %% %/%``, ``:``, sign, ``^`` (R language definition, section 3.1.4). The whole of the
input is read, or a `FormulaError` points at what stands in the way.
"""

from __future__ import annotations

from collections.abc import Callable

from imi_bench.errors import FormulaError
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
)
from imi_bench.formulas.tokens import Token, complaint, tokenise

_DEEPEST = 60
_CONSTANTS: dict[str, Node] = {
    "TRUE": Truth(True),
    "FALSE": Truth(False),
    "NULL": Truth(None),
    "Inf": Number(float("inf")),
    "NaN": Number(float("nan")),
    "NA": Number(float("nan")),
}
_COMPARISONS = ("<", ">", "<=", ">=", "==", "!=")


def parse(text: str) -> Node:
    """Read an expression or the right-hand side of a formula.

    Raises
    ------
    FormulaError
        If any part of `text` cannot be read; the message points at it.

    Examples
    --------
    >>> parse("x:m^2")
    Binary(operator=':', left=Name(text='x'), right=Binary(operator='^', left=Name(text='m'), \
right=Number(value=2.0)))
    """
    return _Parser(text).whole()


def parse_two_sided(text: str) -> tuple[Node, Node]:
    """Read ``response ~ terms``.

    Raises
    ------
    FormulaError
        If it is not such a formula.
    """
    wanted = "response ~ terms + (1 | group)"
    if "~" not in text:
        tokenise(text)
        raise FormulaError("not a model formula", found=repr(text[:80]), wanted=wanted)
    parser = _Parser(text)
    if parser.at("~"):
        raise complaint("the formula has no response", text, parser.place, wanted=wanted)
    left = parser.alternatives(0)
    parser.expect("~", "an operator, or ~ and the terms")
    right = parser.alternatives(0)
    parser.finish()
    return left, right


class _Parser:
    def __init__(self, text: str) -> None:
        self.text, self.tokens, self.position = text, tokenise(text), 0

    @property
    def token(self) -> Token:
        return self.tokens[self.position]

    @property
    def place(self) -> tuple[int, int]:
        return self.token.start, self.token.end

    def at(self, *operators: str) -> bool:
        return self.token.kind == "operator" and self.token.text in operators

    def take(self) -> Token:
        token = self.token
        self.position += 1
        return token

    def since(self, start: int) -> tuple[int, int]:
        return start, self.tokens[self.position - 1].end

    def unexpected(self, wanted: str) -> FormulaError:
        found = "the end of the formula" if self.token.kind == "end" else repr(self.token.text)
        return complaint(
            "cannot read the formula", self.text, self.place, found=found, wanted=wanted
        )

    def expect(self, operator: str, wanted: str) -> None:
        if not self.at(operator):
            raise self.unexpected(wanted)
        self.take()

    def finish(self) -> None:
        if self.token.kind != "end":
            raise self.unexpected("an operator such as + or the end of the formula")

    def whole(self) -> Node:
        node = self.alternatives(0)
        self.finish()
        return node

    def _deeper(self, depth: int) -> int:
        if depth >= _DEEPEST:
            raise complaint(
                "the formula is nested too deeply",
                self.text,
                self.place,
                wanted=f"at most {_DEEPEST} levels",
            )
        return depth + 1

    def _chain(
        self, operators: tuple[str, ...], tighter: Callable[[int], Node], depth: int
    ) -> Node:
        """Read operands joined from the left; a long chain counts as deep."""
        start = self.token.start
        node = tighter(depth)
        while self.at(*operators):
            depth = self._deeper(depth)
            operator = self.take().text
            node = Binary(operator, node, tighter(depth), self.since(start))
        return node

    def alternatives(self, depth: int) -> Node:
        return self._chain(("|", "||"), self._conjunction, depth)

    def _conjunction(self, depth: int) -> Node:
        return self._chain(("&", "&&"), self._negation, depth)

    def _negation(self, depth: int) -> Node:
        if not self.at("!"):
            return self._comparison(depth)
        start = self.take().start
        return Unary("!", self._negation(self._deeper(depth)), self.since(start))

    def _comparison(self, depth: int) -> Node:
        start = self.token.start
        node = self._sum(depth)
        if self.at(*_COMPARISONS):
            operator = self.take().text
            node = Binary(operator, node, self._sum(depth), self.since(start))
            if self.at(*_COMPARISONS):
                raise self.unexpected("one comparison; join two by &")
        return node

    def _sum(self, depth: int) -> Node:
        start = self.token.start
        parts = [("", self._product(depth))]
        while self.at("+", "-"):
            parts.append((self.take().text, self._product(depth)))
        return parts[0][1] if len(parts) == 1 else Sum(_flat(parts), self.since(start))

    def _product(self, depth: int) -> Node:
        start = self.token.start
        parts = [("", self._special(depth))]
        while self.at("*", "/"):
            parts.append((self.take().text, self._special(depth)))
        return parts[0][1] if len(parts) == 1 else Product(tuple(parts), self.since(start))

    def _special(self, depth: int) -> Node:
        return self._chain(("%in%", "%%", "%/%"), self._interaction, depth)

    def _interaction(self, depth: int) -> Node:
        return self._chain((":",), self._signed, depth)

    def _signed(self, depth: int) -> Node:
        if self.at("!"):
            return self._negation(depth)
        if not self.at("+", "-"):
            return self._power(depth)
        sign = self.take()
        operand = self._signed(self._deeper(depth))
        return Sum(((sign.text, operand),), self.since(sign.start))

    def _power(self, depth: int) -> Node:
        start = self.token.start
        base = self._primary(depth)
        if not self.at("^"):
            return base
        self.take()
        return Binary("^", base, self._signed(self._deeper(depth)), self.since(start))

    def _primary(self, depth: int) -> Node:
        token = self.token
        place = (token.start, token.end)
        if self.at("("):
            self.take()
            inner = self.alternatives(self._deeper(depth))
            self.expect(")", "an operator such as + or a closing parenthesis")
            return Group(inner, self.since(token.start))
        if token.kind not in ("number", "text", "name"):
            raise self.unexpected("a column, a number or a function")
        self.take()
        if token.kind == "number":
            return Number(float(token.text.removesuffix("L")), place)
        if token.kind == "text":
            return Text(token.text, place)
        bare = self.text[token.start] != "`"
        if self.at("(") and bare:
            return self._call(token, self._deeper(depth))
        if bare and token.text in _CONSTANTS:
            return _CONSTANTS[token.text]
        return Name(token.text, place)

    def _call(self, function: Token, depth: int) -> Node:
        self.take()
        arguments: list[Node] = []
        named: list[tuple[str, Node]] = []
        while not self.at(")"):
            following = self.tokens[self.position + 1]
            if self.token.kind == "name" and following.text == "=" and following.kind != "text":
                key = self.take().text
                self.take()
                named.append((key, self.alternatives(depth)))
            elif named:
                raise self.unexpected("an argument by name, as those before it")
            else:
                arguments.append(self.alternatives(depth))
            if not self.at(")"):
                self.expect(",", "a comma or a closing parenthesis")
                if self.at(")"):
                    raise self.unexpected("another argument")
        self.take()
        place = self.since(function.start)
        if function.text == "Q":
            return self._quoted(arguments, place)
        return Call(function.text, tuple(arguments), tuple(named), place)

    def _quoted(self, arguments: list[Node], place: tuple[int, int]) -> Node:
        """``Q("a name")`` is another way to write a name in backticks."""
        match arguments:
            case [Text(value)]:
                return Name(value, place)
        raise complaint("Q() wants one name in quotes", self.text, place)


def _flat(parts: list[tuple[str, Node]]) -> tuple[tuple[str, Node], ...]:
    """Let a sum that begins with a sign begin with that sign."""
    first = parts[0][1]
    if isinstance(first, Sum) and len(first.parts) == 1:
        return (first.parts[0], *parts[1:])
    return tuple(parts)
