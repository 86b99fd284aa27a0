from __future__ import annotations

import pytest

from imi_bench.errors import FormulaError
from imi_bench.formulas.terms import Terms
from imi_bench.glmm.formula import parse_formula


def written(terms: Terms) -> str:
    return " + ".join([str(int(terms.intercept)), *(term.label for term in terms.terms)])


def bars(text: str) -> list[tuple[tuple[str, ...], str]]:
    return [(tuple(map(written, t.parts)), t.name) for t in parse_formula(text).random]


ONE = (("1",), "g")


@pytest.mark.parametrize(
    ("text", "fixed", "random"),
    [
        ("y ~ x + (1 | g)", "1 + x", [ONE]),
        ("y ~ (1|g) + x", "1 + x", [ONE]),
        ("y~(1|g)", "1", [ONE]),
        ("y ~ 0 + (1|g)", "0", [ONE]),
        ("y ~ (1|g) - 1", "0", [ONE]),
        ("y ~ 0 + x + (0 + x | g)", "0 + x", [(("0 + x",), "g")]),
        ("y ~ x + (1 + x || g)", "1 + x", [(("1", "0 + x"), "g")]),
        ("y ~ (a + b) * c + (1 | g)", "1 + a + b + c + a:c + b:c", [ONE]),
        ("(y) ~ (x + (1 | g))", "1 + x", [ONE]),
        ("y ~ log(x) + (1 + log(x) | g)", "1 + log(x)", [(("1 + log(x)",), "g")]),
        ("y ~ (m/x | g)", "1", [(("1 + m + m:x",), "g")]),
        ("y ~ (a * b || g)", "1", [(("1", "0 + a", "0 + b", "0 + a:b"), "g")]),
        ("y ~ `a|b` + (`a|b` | `g h`)", "1 + `a|b`", [(("1 + `a|b`",), "g h")]),
        ("y ~ x + (1|factor(g))", "1 + x", [(("1",), "factor(g)")]),
        (
            "y ~ x + (1 | a/b/c)",
            "1 + x",
            [(("1",), "a"), (("1",), "b:a"), (("1",), "c:b:a")],
        ),
        ("y ~ x + (1 | (a:b))", "1 + x", [(("1",), "a:b")]),
        ("y ~ x +\n (1 |\n g)", "1 + x", [ONE]),
    ],
)
def test_parts(text, fixed, random) -> None:
    assert written(parse_formula(text).fixed) == fixed
    assert bars(text) == random


def test_counts() -> None:
    parsed = parse_formula("cbind(hit, size - hit) ~ 1 + (1|g)")
    assert parsed.counts is not None
    assert parsed.counts_are_failures
    parsed = parse_formula("prop(hit, size) ~ 1 + (1|g)")
    assert parsed.counts is not None
    assert not parsed.counts_are_failures


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("y x + (1|g)", "not a model formula"),
        ("y ~ x ~ (1|g)", r"x »~« \(1"),
        ("~ x + (1|g)", "no response"),
        ("y ~ x", "no random-effects term"),
        ("y ~ x + 1 | g", "in parentheses"),
        ("y ~ x * (1 | g)", "can only be added"),
        ("y ~ x - (1 | g)", "can only be added"),
        ("y ~ x:(1 | g)", "can only be added"),
        ("y ~ x + (1 | g", "closing parenthesis"),
        ("y ~ x + (1 | g))", r"»\)«"),
        ("y ~ x + ( | g)", "cannot read"),
        ("y ~ x + (0 | g)", "empty random effect"),
        ("y ~ x + (1 | g | h)", "a bar too many"),
        ("y ~ x + (1 | g + h)", "grouping factor"),
        ("y ~ x + (1 | g*h)", "grouping factor"),
        ("cbind(a) ~ x + (1|g)", "cannot read the response"),
        # A part that does not belong is never dropped.
        ("y ~ x m + f + (1|g)", r"y ~ x »m« \+ f"),
        ("y ~ x, m + (1|g)", "x», ?«"),
        ("y ~ x + m! + (1|g)", "m»!«"),
        ("y m ~ x + (1|g)", "y »m« ~"),
        ("y ~ x + (1|h) f", r"\(1\|h\) »f«"),
        ("y ~ x + (1 + x m|g)", r"\(1 \+ x »m«\|g\)"),
        ("y ~ x %% m + (1|g)", "arithmetic in a formula"),
        ("y ~ x % m + (1|g)", "x »%«"),
        ("y ~ x + 2 + (1|g)", "a constant is no term"),
        ("y ~ x + 'a' + (1|g)", "a constant is no term"),
        ("y ~ . + (1|g)", "name the columns"),
        ("y ~ x + y + (1|g)", "the response stands among the terms"),
        ("y ~ x^z + (1|g)", "whole number"),
        ("y ~ x - offset(z) + (1|g)", "offset can only be added"),
        ("y ~ x:1 + (1|g)", "interaction with nothing"),
        ("y ~ $x + (1|g)", r"»\$«x"),
        ("y ~ x[1] + (1|g)", r"x»\[«"),
        ("y ~ x < z < 3 + (1|g)", "one comparison"),
        ("y ~ poly(x, 2 + (1|g)", "comma or a closing"),
        ("y ~ poly(x, , 2) + (1|g)", "cannot read"),
        ("y ~ poly(x, degree = 2, 3) + (1|g)", "by name"),
        ("y ~ 'x + (1|g)", "»'«x"),
        ("y ~ + (1|g) +", "the end of the formula"),
        ("", "not a model formula"),
    ],
)
def test_complaints(text, says) -> None:
    with pytest.raises(FormulaError, match=says) as caught:
        parse_formula(text)
    assert "\n" not in str(caught.value)


def test_the_place_is_shown_in_a_long_formula() -> None:
    text = "y ~ " + " + ".join(f"x{i}" for i in range(300)) + " z + (1|g)"
    with pytest.raises(FormulaError, match=r"x299 »z« \+ \(1\|g\)") as caught:
        parse_formula(text)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    "text",
    [
        "y ~ x + " + " + ".join(f"(1|g{i})" for i in range(2000)),
        "y ~ " + "x + " * 300_000 + "(1|g)",
        "y ~ " + "(" * 5_000 + "x" + ")" * 5_000 + " + (1|g)",
        "y ~ " + "-" * 10_000 + "x + (1|g)",
        "y ~ " + "!" * 10_000 + "x + (1|g)",
        "y ~ " + "x^" * 5_000 + "1 + (1|g)",
        "y ~ " + ":".join(f"x{i}" for i in range(2000)) + " + (1|g)",
        "y ~ " + "*".join(f"x{i}" for i in range(200)) + " + (1|g)",
        "y ~ (" + "+".join(f"x{i}" for i in range(200)) + ")^100000000 + (1|g)",
        "y ~ " + " + ".join(f"x{i}:z{i}" for i in range(1400)) + " + (1|g)",
        "y ~ x + (1|" + "/".join(f"g{i}" for i in range(3000)) + ")",
    ],
    ids=lambda text: f"{text[:12]}… of {len(text)}",
)
def test_huge_formulas_end_at_once(text) -> None:
    with pytest.raises(FormulaError) as caught:
        parse_formula(text)
    assert len(str(caught.value)) < 400
