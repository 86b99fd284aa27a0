"""Read lme4's formula language: split off the random-effects terms, leave the rest to formulae.

``formulae`` parses random terms too, but merges ``(1 + x | g)`` with ``(1 | g) + (0 + x | g)``,
which differ in their covariance, and builds dense indicator matrices. So the bars are taken
apart here, and each left-hand side is evaluated by ``formulae`` as a small model of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from imi_bench.errors import FormulaError

__all__ = ["ParsedFormula", "RandomTerm", "parse_formula", "plain_label"]

_COUNT_CALLS = re.compile(r"^(cbind|prop|proportion|p)\s*\((.*)\)$", re.DOTALL)
_FACTOR_CALL = re.compile(r"\b(?:as\.)?factor\s*\(")


@dataclass(frozen=True)
class RandomTerm:
    """One term in bars.

    Attributes
    ----------
    columns : left-hand side, a one-sided formula such as ``"1 + mode"``.
    group : names joined by a colon, such as ``("class", "school")`` for ``class:school``, which
        is also what lme4 makes of the inner level of ``school/class``.
    correlated : False for lme4's double bar, which sets the correlations to zero.
    """

    columns: str
    group: tuple[str, ...]
    correlated: bool


@dataclass(frozen=True)
class ParsedFormula:
    """A formula in parts.

    Attributes
    ----------
    text : the formula as given.
    response : what is left of the tilde.
    counts : the two arguments of ``cbind(successes, failures)`` or of
        ``prop(successes, trials)``, or None.
    counts_are_failures : whether the second count is failures rather than trials.
    fixed : one-sided formula of the fixed effects.
    random : the random-effects terms, nesting written out.
    """

    text: str
    response: str
    counts: tuple[str, str] | None
    counts_are_failures: bool
    fixed: str
    random: tuple[RandomTerm, ...]


def parse_formula(text: str) -> ParsedFormula:
    """Take a formula apart.

    Parameters
    ----------
    text : such as ``"y ~ x + (1 + x | g) + (1 | school/class)"``.

    Raises
    ------
    FormulaError
        If the parts cannot be told apart, or there is no random-effects term.

    Examples
    --------
    >>> parsed = parse_formula("y ~ x + (1 | school/class)")
    >>> parsed.fixed, [term.group for term in parsed.random]
    ('x', [('school',), ('class', 'school')])
    """
    left, tilde, right = (part.strip() for part in text.partition("~"))
    if not tilde or not left or not right or "~" in right:
        raise FormulaError(
            "not a model formula", found=repr(text), wanted="response ~ terms + (1 | group)"
        )
    fixed, bars = _split_bars(_FACTOR_CALL.sub("C(", right), text)
    random = tuple(term for bar in bars for term in _random_terms(bar, text))
    if not random:
        raise FormulaError(
            "no random-effects term in the formula",
            found=repr(text),
            wanted="at least one term such as (1 | group)",
        )
    counts, failures = _counts(left)
    return ParsedFormula(text, left, counts, failures, fixed, random)


def _split_bars(right: str, text: str) -> tuple[str, list[str]]:
    """Return the formula without its parenthesised bars, and what stood inside them."""
    fixed, bars, position = "", [], 0
    while position < len(right):
        start, end = position, position + 1
        if right[start] == "(":
            end = _closing(right, start, text)
            inside = right[start + 1 : end - 1]
            called = re.search(r"[\w.`]\s*$", fixed)
            if not called and "|" in _outer(inside):
                if not re.search(r"(^|\+)\s*$", fixed):
                    raise FormulaError(
                        "a random-effects term can only be added",
                        where=repr(right[start:end]),
                        wanted="a plus sign before it",
                    )
                bars.append(inside)
                fixed = re.sub(r"\+?\s*$", "", fixed)
                position = end
                continue
        fixed += right[start:end]
        position = end
    fixed = re.sub(r"^\s*\+\s*", "", fixed).strip()
    if "|" in fixed:
        raise FormulaError(
            "a random-effects term must be added in parentheses",
            found=repr(text),
            wanted="a term such as + (1 | group)",
        )
    return fixed or "1", bars


def _closing(text: str, start: int, whole: str) -> int:
    """Return the position after the parenthesis that closes the one at `start`."""
    depth = 0
    for position in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if depth == 0:
            return position + 1
    raise FormulaError("unbalanced parentheses in the formula", found=repr(whole))


def _outer(text: str) -> str:
    """Blank out everything inside parentheses."""
    depth, kept = 0, []
    for character in text:
        depth -= character == ")"
        kept.append(character if depth == 0 else " ")
        depth += character == "("
    return "".join(kept)


def _random_terms(bar: str, text: str) -> list[RandomTerm]:
    columns, mark, group = re.split(r"(\|\|?)", bar, maxsplit=1)
    columns = columns.strip()
    if not columns or "|" in _outer(group):
        raise FormulaError("cannot read the random-effects term", found=f"({bar}) in {text!r}")
    path = [part.strip().strip("`") for part in group.strip().strip("()").split("/")]
    names = [tuple(name.strip().strip("`") for name in part.split(":")) for part in path]
    if not all(re.fullmatch(r"[^\s()+*|]+", name) for part in names for name in part):
        raise FormulaError(
            "cannot read the grouping factor",
            found=repr(group.strip()),
            where=f"({bar})",
            wanted="a column, or columns joined by : or /",
        )
    return [
        RandomTerm(columns, tuple(n for part in names[:depth][::-1] for n in part), mark == "|")
        for depth in range(1, len(names) + 1)
    ]


def _counts(left: str) -> tuple[tuple[str, str] | None, bool]:
    call = _COUNT_CALLS.match(left)
    if call is None:
        return None, False
    comma = _outer(call[2]).find(",")
    parts = (call[2][:comma].strip(), call[2][comma + 1 :].strip())
    if comma < 0 or not all(parts) or "," in _outer(parts[1]):
        raise FormulaError(
            "cannot read the response",
            found=repr(left),
            wanted="cbind(successes, failures) or prop(successes, trials)",
        )
    return parts, call[1] == "cbind"


def plain_label(label: str) -> str:
    """Turn a label of formulae into lme4's: ``mode[do]:x`` to ``modedo:x``.

    Examples
    --------
    >>> plain_label("Intercept"), plain_label("situ[self]:mode[do]")
    ('(Intercept)', 'situself:modedo')
    """
    return "(Intercept)" if label == "Intercept" else re.sub(r"\[([^\]]*)\]", r"\1", label)
