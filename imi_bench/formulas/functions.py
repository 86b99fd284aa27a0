"""The functions a formula may use: R's names and meaning, and no others.

Each takes what its arguments have for every row. Those that learn something from the rows they
first see (levels, means, knots) leave it in the evaluation's memory, from which the same columns
can be made for other rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from imi_bench.arrays import Floats
from imi_bench.formulas.bases import BSpline, NaturalSpline, Polynomial, Scaling, quantile_knots
from imi_bench.formulas.contrasts import CONTRASTS
from imi_bench.formulas.syntax import Call, Name, Node, Text
from imi_bench.formulas.values import Factor, Numbers, Value, factor_of, level_label, recoded
from imi_bench.text import plural

if TYPE_CHECKING:
    from imi_bench.formulas.evaluate import Evaluation

_MOST_COLUMNS = 100


def _log(x: Any, base: float = np.e) -> Any:
    return np.log(x) if base == np.e else np.log(x) / np.log(base)


ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "log": _log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "exp": np.exp,
    "expm1": np.expm1,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "sign": np.sign,
    "floor": np.floor,
    "ceiling": np.ceil,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "tanh": np.tanh,
    "plogis": special.expit,
    "qlogis": special.logit,
    "pnorm": special.ndtr,
    "qnorm": special.ndtri,
    "pmin": np.minimum,
    "pmax": np.maximum,
}


def arguments_of(evaluator: Evaluation, call: Call, names: tuple[str, ...]) -> Mapping[str, Node]:
    """Match a call's arguments to their names, by position or by name, as R does."""
    if len(call.arguments) > len(names):
        raise evaluator.complain(
            f"too many arguments of {call.function}()", call, wanted=", ".join(names)
        )
    matched = dict(zip(names, call.arguments, strict=False))
    for name, node in call.named:
        if name not in names or name in matched:
            raise evaluator.complain(
                f"{call.function}() has no such argument, or has it twice",
                call,
                found=name,
                wanted=", ".join(names),
            )
        matched[name] = node
    if names[0] not in matched:
        raise evaluator.complain(f"{call.function}() wants an argument", call, wanted=names[0])
    return matched


def _flag(evaluator: Evaluation, node: Node | None, default: bool) -> bool:
    if node is None:
        return default
    if isinstance(node, Name) and node.text in ("T", "F"):
        return node.text == "T"
    value = evaluator.constant(node)
    if not isinstance(value, bool):
        raise evaluator.complain("not a truth value", node, wanted="TRUE or FALSE")
    return value


def _whole(evaluator: Evaluation, node: Node, *, least: int) -> int:
    value = evaluator.constant(node)
    if (
        isinstance(value, bool | str | tuple)
        or value is None
        or not value % 1 == 0
        or value < least
    ):
        raise evaluator.complain("not a whole number", node, wanted=f"{least} or more")
    return int(min(value, 1e15))


def _vector(evaluator: Evaluation, node: Node, *, count: int | None = None) -> Floats:
    value = evaluator.constant(node)
    values = value if isinstance(value, tuple) else (value,)
    bad = any(isinstance(one, str | bool) or one is None for one in values)
    if bad or count not in (None, len(values)):
        raise evaluator.complain("not numbers", node, wanted="numbers such as c(0, 1)")
    return np.asarray(values, dtype=float)


def _scale(evaluator: Evaluation, call: Call) -> Value:
    found = arguments_of(evaluator, call, ("x", "center", "scale"))
    x = evaluator.numbers(found["x"])
    center = _flag(evaluator, found.get("center"), True)
    spread = _flag(evaluator, found.get("scale"), True)
    basis = evaluator.remembered(call, lambda: Scaling.learn(x, center=center, scale=spread))
    return Numbers(basis.columns(x))


def _center(evaluator: Evaluation, call: Call) -> Value:
    x = evaluator.numbers(arguments_of(evaluator, call, ("x",))["x"])
    basis = evaluator.remembered(call, lambda: Scaling.learn(x, scale=False))
    return Numbers(basis.columns(x))


def _numbered(columns: Floats) -> Value:
    if columns.shape[1] == 1:
        return Numbers(columns[:, 0])
    return Numbers(columns, tuple(str(k + 1) for k in range(columns.shape[1])))


def _poly(evaluator: Evaluation, call: Call) -> Value:
    found = arguments_of(evaluator, call, ("x", "degree", "raw"))
    x = evaluator.numbers(found["x"])
    degree = _whole(evaluator, found["degree"], least=1) if "degree" in found else 1
    _bounded(evaluator, call, degree)
    raw = _flag(evaluator, found.get("raw"), False)
    basis = evaluator.remembered(call, lambda: Polynomial.learn(x, degree=degree, raw=raw))
    return _numbered(basis.columns(x))


def _bounded(evaluator: Evaluation, call: Call, columns: int) -> None:
    if columns > _MOST_COLUMNS:
        raise evaluator.complain(
            "too many columns", call, found=f"{columns:,}", wanted=f"at most {_MOST_COLUMNS}"
        )


def _spline_knots(
    evaluator: Evaluation, call: Call, found: Mapping[str, Node], x: Floats, *, spare: int
) -> tuple[Floats, tuple[float, float]]:
    """Return inner knots and boundary; `spare` columns come without an inner knot."""
    low, high = float(np.nanmin(x)), float(np.nanmax(x))
    if "Boundary.knots" in found:
        low, high = _vector(evaluator, found["Boundary.knots"], count=2)
    if not low < high:
        raise evaluator.complain("a spline needs values that differ", call)
    if "knots" in found:
        inner = _vector(evaluator, found["knots"])
        _bounded(evaluator, call, len(inner))
    else:
        df = _whole(evaluator, found["df"], least=1) if "df" in found else spare
        _bounded(evaluator, call, df)
        if df < spare:
            raise evaluator.complain(
                f"too few degrees of freedom for {call.function}()", call, wanted=f"{spare} or more"
            )
        inside = x[(x >= low) & (x <= high)]
        inner = quantile_knots(inside, df - spare)
    if len(inner) and not (low < inner.min() and inner.max() < high):
        raise evaluator.complain(
            "a knot lies on or beyond the boundary",
            call,
            found=f"{inner.min():g} to {inner.max():g}",
            wanted=f"between {low:g} and {high:g}",
        )
    return inner, (low, high)


def _bs(evaluator: Evaluation, call: Call) -> Value:
    names = ("x", "df", "knots", "degree", "intercept", "Boundary.knots")
    found = arguments_of(evaluator, call, names)
    x = evaluator.numbers(found["x"])
    degree = _whole(evaluator, found["degree"], least=1) if "degree" in found else 3
    _bounded(evaluator, call, degree)
    intercept = _flag(evaluator, found.get("intercept"), False)

    def learn() -> BSpline:
        spare = degree + intercept
        inner, boundary = _spline_knots(evaluator, call, found, x, spare=spare)
        return BSpline.make(inner, boundary, degree=degree, intercept=intercept)

    return _numbered(evaluator.remembered(call, learn).columns(x))


def _ns(evaluator: Evaluation, call: Call) -> Value:
    names = ("x", "df", "knots", "intercept", "Boundary.knots")
    found = arguments_of(evaluator, call, names)
    x = evaluator.numbers(found["x"])
    intercept = _flag(evaluator, found.get("intercept"), False)

    def learn() -> NaturalSpline:
        inner, boundary = _spline_knots(evaluator, call, found, x, spare=1 + intercept)
        return NaturalSpline.make(inner, boundary, intercept=intercept)

    return _numbered(evaluator.remembered(call, learn).columns(x))


def _labels(evaluator: Evaluation, node: Node) -> tuple[str, ...]:
    value = evaluator.constant(node)
    values = value if isinstance(value, tuple) else (value,)
    return tuple(level_label(one) for one in values)


def _factor(evaluator: Evaluation, call: Call) -> Value:
    found = arguments_of(evaluator, call, ("x", "levels", "labels", "ordered"))
    own = factor_of(evaluator.rows(found["x"]), where=call.function)
    given = _labels(evaluator, found["levels"]) if "levels" in found else None
    levels = evaluator.remembered(call, lambda: given or own.levels)
    own = evaluator.known(call, own, levels)
    if "labels" in found:
        labels = _labels(evaluator, found["labels"])
        if len(labels) != len(levels) or len(set(labels)) != len(labels):
            raise evaluator.complain(
                "factor() wants a label for every level",
                call,
                found=f"{plural(len(labels), 'label')}, {plural(len(levels), 'level')}",
            )
        own = replace(own, levels=labels)
    always = call.function in ("ordered", "as.ordered")
    default = always or (call.function == "factor" and own.ordered)
    return replace(own, ordered=always or _flag(evaluator, found.get("ordered"), default))


def _relevel(evaluator: Evaluation, call: Call) -> Value:
    found = arguments_of(evaluator, call, ("x", "ref"))
    own = evaluator.rows(found["x"])
    if not isinstance(own, Factor) or own.ordered or "ref" not in found:
        raise evaluator.complain("relevel() wants an unordered factor and ref", call)
    (first,) = _labels(evaluator, found["ref"])[:1]
    if first not in own.levels:
        raise evaluator.complain(
            "no such level", call, found=repr(first), wanted=", ".join(own.levels[:12])
        )
    return recoded(own, (first, *(level for level in own.levels if level != first)))


def _contrasts(evaluator: Evaluation, call: Call) -> Value:
    found = arguments_of(evaluator, call, ("object", "contr"))
    own = factor_of(evaluator.rows(found["object"]), where="C")
    levels = evaluator.remembered(call, lambda: own.levels)
    own = evaluator.known(call, own, levels)
    if "contr" not in found:
        return own
    node = found["contr"]
    name = {Name: "text", Text: "value"}.get(type(node))
    wanted = "" if name is None else str(getattr(node, name)).removeprefix("contr.")
    if wanted not in CONTRASTS:
        raise evaluator.complain("no such contrasts", call, wanted=", ".join(CONTRASTS))
    return replace(own, contrasts=wanted)


def _as_numeric(evaluator: Evaluation, call: Call) -> Value:
    own = evaluator.rows(arguments_of(evaluator, call, ("x",))["x"])
    if isinstance(own, Numbers):
        return replace(own, logical=False)
    try:
        table = np.array([*map(float, own.levels), np.nan])
    except ValueError:
        raise evaluator.complain("labels that are no numbers", call) from None
    return Numbers(table[own.codes])


def _same(evaluator: Evaluation, call: Call) -> Value:
    return evaluator.rows(arguments_of(evaluator, call, ("x",))["x"])


LEARNING: dict[str, Callable[[Evaluation, Call], Value]] = {
    "I": _same,
    "scale": _scale,
    "center": _center,
    "poly": _poly,
    "bs": _bs,
    "ns": _ns,
    "factor": _factor,
    "as.factor": _factor,
    "ordered": _factor,
    "as.ordered": _factor,
    "relevel": _relevel,
    "C": _contrasts,
    "as.numeric": _as_numeric,
}
