from __future__ import annotations

import pytest

from imi_bench.errors import FormulaError
from imi_bench.glmm.formula import parse_formula, plain_label


def terms(text: str) -> list[tuple[str, tuple[str, ...], bool]]:
    return [(t.columns, t.group, t.correlated) for t in parse_formula(text).random]


@pytest.mark.parametrize(
    ("text", "fixed", "random"),
    [
        ("y ~ x + (1 | g)", "x", [("1", ("g",), True)]),
        ("y ~ (1|g) + x", "x", [("1", ("g",), True)]),
        ("y~(1|g)", "1", [("1", ("g",), True)]),
        ("y ~ 0 + x + (0 + x | g)", "0 + x", [("0 + x", ("g",), True)]),
        ("y ~ x + (x || g)", "x", [("x", ("g",), False)]),
        ("y ~ (a + b) * c + (1 | g)", "(a + b) * c", [("1", ("g",), True)]),
        ("y ~ log(x) + (1 + log(x) | g)", "log(x)", [("1 + log(x)", ("g",), True)]),
        ("y ~ factor(p) + (1|g)", "C(p)", [("1", ("g",), True)]),
        (
            "y ~ x + (1 | a/b/c)",
            "x",
            [("1", ("a",), True), ("1", ("b", "a"), True), ("1", ("c", "b", "a"), True)],
        ),
        ("y ~ x + (1 | a:b)", "x", [("1", ("a", "b"), True)]),
    ],
)
def test_parts(text, fixed, random) -> None:
    assert parse_formula(text).fixed == fixed
    assert terms(text) == random


def test_merging_is_left_to_the_bars() -> None:
    """Formulae cannot tell these two apart; they are different models."""
    assert terms("y ~ (1 + x | g)") != terms("y ~ (1 | g) + (0 + x | g)")


def test_counts() -> None:
    parsed = parse_formula("cbind(hit, size - hit) ~ 1 + (1|g)")
    assert parsed.counts == ("hit", "size - hit")
    assert parsed.counts_are_failures
    parsed = parse_formula("prop(hit, size) ~ 1 + (1|g)")
    assert parsed.counts == ("hit", "size")
    assert not parsed.counts_are_failures


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("y x + (1|g)", "not a model formula"),
        ("y ~ x ~ (1|g)", "not a model formula"),
        ("~ x + (1|g)", "not a model formula"),
        ("y ~ x", "no random-effects term"),
        ("y ~ x + 1 | g", "added in parentheses"),
        ("y ~ x * (1 | g)", "can only be added"),
        ("y ~ x - (1 | g)", "can only be added"),
        ("y ~ x + (1 | g", "unbalanced"),
        ("y ~ x + ( | g)", "cannot read"),
        ("y ~ x + (1 | g + h)", "grouping factor"),
        ("cbind(a) ~ x + (1|g)", "cannot read the response"),
    ],
)
def test_complaints(text, says) -> None:
    with pytest.raises(FormulaError, match=says) as caught:
        parse_formula(text)
    assert "\n" not in str(caught.value)


def test_labels() -> None:
    assert plain_label("Intercept") == "(Intercept)"
    assert plain_label("mode[do]") == "modedo"
    assert plain_label("a[x]:b[y]") == "ax:by"
