"""From a formula and a table to a `Design`; every complaint about the data is made here."""

from __future__ import annotations

import pandas as pd

from imi_bench.errors import FormulaError, SmallModelError, UnknownNameError
from imi_bench.formulas.evaluate import missing_column
from imi_bench.formulas.matrix import model_matrix
from imi_bench.formulas.parse import parse
from imi_bench.formulas.syntax import Name, Node, column_names
from imi_bench.formulas.values import require_whole
from imi_bench.glmm.design import Design, RandomFactor
from imi_bench.glmm.families import FamilyName
from imi_bench.glmm.formula import ParsedFormula, parse_formula
from imi_bench.glmm.groups import grouping_factors
from imi_bench.glmm.response import read_response
from imi_bench.glmm.tables import SIMULATED, made_up, reading_remarks
from imi_bench.text import plural


def build_design(
    formula: str,
    data: pd.DataFrame,
    *,
    family: FamilyName = "binomial",
    weights: str | None = None,
) -> Design:
    """Evaluate a formula on a table.

    Rows with a missing value in any column the formula names are dropped; the design says how
    many, and for which columns.

    Parameters
    ----------
    formula : str
        Lme4's language; see `imi_bench.glmm.formula`.
    data : DataFrame
        One row for each answer, or for each group of answers with ``cbind``.
    family : FamilyName
        ``binomial`` or ``gaussian``.
    weights : str, optional
        For a binomial response of proportions, the number of trials of each row: a
        column, or an expression such as ``"hits + misses"``. For a Gaussian response, what the
        residual variance of each row is divided by, as lme4's.

    Raises
    ------
    FormulaError
        If the formula cannot be read, or names a column that is not there.
    ModelError
        If the data do not carry the model; the message names the column or factor.

    Examples
    --------
    >>> import pandas as pd
    >>> data = pd.DataFrame({"y": [0, 1, 1, 0], "g": list("aabb")})
    >>> build_design("y ~ 1 + (1 | g)", data).names
    ('(Intercept)',)
    """
    if family not in ("binomial", "gaussian"):
        raise UnknownNameError.among(family, ("binomial", "gaussian", "ordinal"), kind="family")
    parsed = parse_formula(formula)
    weight = None if weights is None else parse(weights)
    frame, remarks = _complete_rows(parsed, weight, weights, data)
    response = read_response(parsed, frame, family=family, weights=weight)
    fixed = model_matrix(parsed.fixed, frame)
    factors = grouping_factors(parsed, frame)
    if family == "gaussian":
        _check_residual(factors, len(frame))
    return Design(
        formula=formula,
        family=family,
        response=response.values,
        trials=response.trials,
        offset=fixed.offset,
        fixed=fixed.values,
        names=fixed.recipe.names,
        terms=dict(fixed.recipe.members),
        factors=factors,
        dropped=len(data) - len(frame),
        remarks=(*remarks, *([response.remark] if response.remark else [])),
        recipe=fixed.recipe,
        table=frame,
    )


def _complete_rows(
    parsed: ParsedFormula, weight: Node | None, weight_text: str | None, data: pd.DataFrame
) -> tuple[pd.DataFrame, list[str]]:
    """Return the named columns without rows that miss a value, and what there is to say."""
    named: dict[str, None] = {}
    sources = [(name, parsed.text) for name in parsed.columns()]
    if weight is not None:
        sources += [(name, str(weight_text)) for name in column_names(weight)]
    for name, text in sources:
        _check_column(name, data, text)
        if name.text in data.columns:
            named.setdefault(name.text)
    frame = data[list(named)]
    missing = frame.isna()
    remarks = reading_remarks(data, named)
    if made_up(data):
        remarks.append(SIMULATED)
    if missing.to_numpy().any():
        lost = missing.any(axis=1)
        counts = ", ".join(f"{column} {count}" for column, count in missing.sum().items() if count)
        remarks.append(
            f"dropped {int(lost.sum())} of {plural(len(data), 'row')}: missing in {counts}"
        )
        frame = frame[~lost]
    frame = frame.reset_index(drop=True).infer_objects()
    if frame.empty:
        raise SmallModelError(
            "no complete row is left",
            found=f"{plural(len(data), 'row')}, each with a missing value in one of "
            f"{', '.join(named)}",
        )
    for column in frame.columns:
        kind = frame[column].dtype
        if isinstance(kind, pd.CategoricalDtype):
            unused = set(kind.categories) - set(frame[column].unique())
            if unused:
                shown = ", ".join(map(str, sorted(unused, key=str)[:5]))
                remarks.append(f"no row has these levels of {column}: {shown}")
    return frame, remarks


def _check_column(name: Name, data: pd.DataFrame, text: str) -> None:
    count = int((data.columns == name.text).sum())
    if count > 1:
        raise FormulaError(
            "two columns of the same name", where=name.text, do="rename all but one of them"
        )
    if not count and name.text != "pi":
        raise missing_column(name, data.columns, text)
    if count:
        require_whole(data[name.text])


def _check_residual(factors: tuple[RandomFactor, ...], rows: int) -> None:
    for factor in factors:
        if len(factor.levels) * len(factor.columns) >= rows:
            raise SmallModelError(
                "as many random effects as rows: they cannot be told from the residual",
                where=factor.group,
                found=f"{plural(len(factor.levels), 'level')} x {len(factor.columns)} "
                f"effects, {rows} rows",
            )
