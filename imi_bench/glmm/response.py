"""The response: answers of 0 and 1 in every shape they come in, counts, proportions, numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from imi_bench.arrays import Floats
from imi_bench.errors import FormulaError, ModelError, SmallModelError
from imi_bench.formulas.evaluate import Evaluation
from imi_bench.formulas.syntax import Name, Node, label
from imi_bench.formulas.values import Factor, Value, factor_of
from imi_bench.glmm.families import FamilyName
from imi_bench.glmm.formula import ParsedFormula
from imi_bench.text import plural

_WHOLE = 1e-3


@dataclass(frozen=True, eq=False)
class Response:
    """What was observed.

    Attributes
    ----------
    values : (n,) float64
        Successes in a binomial model.
    trials : (n,) float64
        Ones for single answers and in a Gaussian model.
    remark : str
        Which answer counts as a success, where that is not plain; else empty.
    """

    values: Floats
    trials: Floats
    remark: str = ""


def read_response(
    parsed: ParsedFormula, data: pd.DataFrame, *, family: FamilyName, weights: Node | None
) -> Response:
    """Evaluate the left-hand side of a formula.

    Parameters
    ----------
    parsed : ParsedFormula
    data : DataFrame
        No missing value in the columns it names.
    family : FamilyName
        ``binomial`` or ``gaussian``.
    weights : Node or None
        Number of trials of each row, for a response of proportions; of a Gaussian response
        what the residual variance is divided by.

    Raises
    ------
    FormulaError, ModelError
        If it is no response of this family; the message names the first bad row.
    """
    evaluation = Evaluation(data, parsed.text, {}, learning=True)
    if family == "gaussian":
        if parsed.counts is not None:
            raise FormulaError("counts need the binomial family", where=label(parsed.response))
        return _numbers(parsed, evaluation, data, weights)
    if parsed.counts is not None:
        if weights is not None:
            raise FormulaError(
                "counts have their weights already",
                where=label(parsed.response),
                found=label(weights),
            )
        first, second = (evaluation.numbers(part) for part in parsed.counts)
        trials = first + second if parsed.counts_are_failures else second
        return _counts(parsed, first, trials)
    value = evaluation.rows(parsed.response)
    if weights is not None:
        trials = _weights(data, weights)
        return _counts(parsed, _proportions(parsed, value) * trials, trials)
    return _answers(parsed, value)


def _weights(data: pd.DataFrame, weights: Node) -> Floats:
    return Evaluation(data, label(weights), {}, learning=True).numbers(weights)


def _where(parsed: ParsedFormula) -> str:
    node = parsed.response
    return node.text if isinstance(node, Name) else label(node)


def _numbers(
    parsed: ParsedFormula, evaluation: Evaluation, data: pd.DataFrame, weights: Node | None
) -> Response:
    value = evaluation.rows(parsed.response)
    if isinstance(value, Factor):
        raise ModelError(
            "the response is not numbers",
            where=_where(parsed),
            found=f"labels such as {value.levels[0]!r}",
            wanted="numbers",
        )
    values = evaluation.numbers(parsed.response)
    _check(parsed, values, np.isfinite(values), wanted="numbers", do=None)
    if weights is None:
        return Response(values, np.ones(len(values)))
    given = _weights(data, weights)
    bad = ~(np.isfinite(given) & (given > 0))
    if bad.any():
        raise ModelError(
            "not the weight of a row",
            where=label(weights),
            found=f"{given[bad][0]:g} in {plural(int(bad.sum()), 'row')}",
            wanted="above 0",
            do="drop rows that are to count for nothing",
        )
    return Response(values, given)


def _answers(parsed: ParsedFormula, value: Value) -> Response:
    """Zeros and ones, truth values, or a factor of two levels: the first is failure, as in R."""
    if isinstance(value, Factor):
        own = factor_of(value, where=_where(parsed))
        if len(own.levels) > 2:
            raise ModelError(
                "the response is not 0 or 1",
                where=_where(parsed),
                found=f"{plural(len(own.levels), 'level')} such as {own.levels[0]!r}",
                wanted="two levels, or 0 and 1",
            )
        values = own.codes.astype(float)
        if len(own.levels) == 2:
            failure, success = own.levels
            remark = f"{_where(parsed)}: success is {success!r}, failure {failure!r}"
        _check(parsed, values, np.ones(len(values), dtype=bool), wanted="two levels", do=None)
        return Response(values, np.ones(len(values)), remark)
    values = np.asarray(value.values)
    if values.ndim != 1:
        raise ModelError("the response has several columns", where=_where(parsed))
    inside = np.isin(values, (0.0, 1.0))
    share = bool(((values >= 0) & (values <= 1)).all())
    do = "give the number of trials as weights" if share else "use cbind(successes, failures)"
    _check(parsed, values, inside, wanted="0 or 1", do=f"{do} for counts")
    return Response(values, np.ones(len(values)))


def _check(
    parsed: ParsedFormula, values: Floats, good: Any, *, wanted: str, do: str | None
) -> None:
    if not good.all():
        raise ModelError(
            f"the response is not {wanted}",
            where=_where(parsed),
            found=f"{values[~good][0]:g} in {plural(int((~good).sum()), 'row')}",
            wanted=wanted,
            do=do,
        )
    if len(np.unique(values)) < 2:
        raise SmallModelError("the response never varies", where=_where(parsed))


def _proportions(parsed: ParsedFormula, value: Value) -> Floats:
    if isinstance(value, Factor):
        return _answers(parsed, value).values
    return np.asarray(value.values)


def _counts(parsed: ParsedFormula, successes: Floats, trials: Floats) -> Response:
    """Whole successes out of whole trials; a proportion times its weight is rounded, as in R."""
    whole = np.rint(successes)
    near = np.abs(successes - whole) <= _WHOLE
    bad = ~near | (whole < 0) | (trials < whole) | (trials % 1 != 0)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ModelError(
            "the response is not successes out of trials",
            where=_where(parsed),
            found=f"{successes[row]:g} of {trials[row]:g} in complete row {row + 1}",
            wanted="whole numbers, 0 <= successes <= trials",
        )
    if whole.sum() in (0, trials.sum()):
        raise SmallModelError("the response never varies", where=_where(parsed))
    return Response(whole, trials)
