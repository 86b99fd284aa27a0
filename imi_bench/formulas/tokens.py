"""From characters to words, and the way messages point at a place in a formula."""

from __future__ import annotations

import re
from dataclasses import dataclass

from imi_bench.errors import FormulaError

LONGEST = 20_000
_WORD = re.compile(
    r"""(?P<space>\s+)
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?L?)
    |(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<quoted>`(?:[^`\\]|\\.)+`)
    |(?P<name>(?:[^\W\d]|\.(?!\d))[\w.]*)
    |(?P<operator>%in%|%%|%/%|\*\*|<=|>=|==|!=|&&|\|\||[-+*/^:<>!&|~(),=])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0"}


@dataclass(frozen=True)
class Token:
    """A word of a formula.

    Attributes
    ----------
    kind : str
        ``number``, ``text``, ``name`` (backticks gone), ``operator`` or ``end``.
    text : str
        The word; for ``text`` and ``name`` what the quotes hold.
    start, end : int
        Where it stands.
    """

    kind: str
    text: str
    start: int
    end: int


def pointed(formula: str, place: tuple[int, int]) -> str:
    """Quote a formula with the place between » and «, a long one shortened around it.

    Examples
    --------
    >>> pointed("y ~ x m + (1|g)", (6, 7))
    "'y ~ x »m« + (1|g)'"
    """
    start, end = place
    end = min(end, start + 60)
    before, after = formula[:start], formula[end:]
    before = before if len(before) <= 60 else "…" + before[-58:]
    after = after if len(after) <= 60 else after[:58] + "…"
    return f"'{before}»{formula[start:end]}«{after}'"


def complaint(
    what: str,
    formula: str,
    place: tuple[int, int],
    *,
    found: object = None,
    wanted: object = None,
    do: object = None,
) -> FormulaError:
    """Build the error that points at a place in the formula."""
    return FormulaError(what, where=pointed(formula, place), found=found, wanted=wanted, do=do)


def tokenise(formula: str) -> list[Token]:
    """Cut a formula into words; the last is of kind ``end``.

    Raises
    ------
    FormulaError
        If a character belongs to no word, or the formula is longer than `LONGEST`.

    Examples
    --------
    >>> [token.text for token in tokenise("log(x)^2")]
    ['log', '(', 'x', ')', '^', '2', '']
    """
    if len(formula) > LONGEST:
        raise FormulaError(
            "the formula is too long",
            found=f"{len(formula):,} characters",
            wanted=f"at most {LONGEST:,}",
        )
    tokens, position = [], 0
    while position < len(formula):
        match = _WORD.match(formula, position)
        if match is None:
            raise complaint("cannot read the formula", formula, (position, position + 1))
        kind, text = str(match.lastgroup), match.group()
        if kind in ("text", "quoted"):
            text = re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), text[1:-1], flags=re.S)
            kind = "name" if kind == "quoted" else kind
        elif text == "**":
            text = "^"
        if kind != "space":
            tokens.append(Token(kind, text, *match.span()))
        position = match.end()
    return [*tokens, Token("end", "", len(formula), len(formula))]
