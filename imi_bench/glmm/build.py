"""From a formula and a table to a `Design`; every complaint about the data is made here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from imi_bench.arrays import Floats
from imi_bench.errors import FormulaError, ModelError, UnknownNameError
from imi_bench.glmm.design import Design, RandomFactor
from imi_bench.glmm.families import FamilyName
from imi_bench.glmm.formula import ParsedFormula, RandomTerm, parse_formula, plain_label

if TYPE_CHECKING:
    from formulae.matrices import CommonEffectsMatrix

__all__ = ["build_design"]

_NAMESPACE = {"np": np, "log": np.log, "exp": np.exp, "sqrt": np.sqrt, "abs": np.abs}
_NAMES = re.compile(r"`([^`]+)`|([A-Za-z_][\w.]*+)(?!\s*\()")


def build_design(formula: str, data: pd.DataFrame, *, family: FamilyName = "binomial") -> Design:
    """Evaluate a formula on a table.

    Rows with a missing value in any column the formula names are dropped and counted.

    Parameters
    ----------
    formula : lme4's language; see `imi_bench.glmm.formula`.
    data : one row for each answer, or for each group of answers with ``cbind``.
    family : ``binomial`` or ``gaussian``.

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
        raise UnknownNameError.among(family, ("binomial", "gaussian"), kind="family")
    parsed = parse_formula(formula)
    frame = _complete_rows(parsed, data)
    response, trials = _response(parsed, frame, family)
    fixed, names, terms = _columns(parsed.fixed, frame, parsed.text)
    factors = _factors(parsed, frame)
    if family == "gaussian":
        _check_residual(factors, len(frame))
    return Design(
        formula=formula,
        family=family,
        response=response,
        trials=trials,
        offset=np.zeros(len(frame)),
        fixed=fixed,
        names=names,
        terms=terms,
        factors=factors,
        dropped=len(data) - len(frame),
    )


def _complete_rows(parsed: ParsedFormula, data: pd.DataFrame) -> pd.DataFrame:
    text = " ".join([parsed.response, parsed.fixed, *(term.columns for term in parsed.random)])
    named = {a or b for a, b in _NAMES.findall(text)} & set(data.columns)
    for term in parsed.random:
        for name in term.group:
            if name not in data.columns:
                raise _missing_column(name, data.columns, f"grouping factor in {parsed.text!r}")
            named.add(name)
    frame = data[[column for column in data.columns if column in named]]
    frame = frame[frame.notna().all(axis=1)].reset_index(drop=True).infer_objects()
    for name in frame.columns[[isinstance(t, pd.CategoricalDtype) for t in frame.dtypes]]:
        # formulae keeps the order of levels of ordered categories only.
        frame[name] = frame[name].cat.remove_unused_categories().cat.as_ordered()
    frame.attrs["columns"] = [str(column) for column in data.columns]
    if frame.empty:
        raise ModelError(
            "no complete row is left",
            found=f"{len(data)} rows, each with a missing value in one of {', '.join(named)}",
        )
    return frame


def _missing_column(name: object, columns: Iterable[object], where: str) -> FormulaError:
    hint = UnknownNameError.among(str(name), map(str, columns), kind="column")
    return FormulaError(
        "no such column", where=where, found=hint.found, wanted=hint.wanted, do=hint.do
    )


def _evaluate(one_sided: str, data: pd.DataFrame, whole: str) -> CommonEffectsMatrix:
    """Let formulae evaluate a one-sided formula without bars."""
    from formulae import design_matrices
    from formulae.environment import Environment

    try:
        evaluated = design_matrices(
            one_sided, data, na_action="error", env=Environment([_NAMESPACE])
        )
    except KeyError as error:
        raise _missing_column(error.args[0], data.attrs["columns"], repr(whole)) from error
    except Exception as error:
        raise FormulaError(
            "cannot evaluate the formula", where=repr(whole), found=f"{one_sided!r}: {error}"
        ) from error
    if evaluated.common is None:
        raise FormulaError("the formula has no column", where=repr(whole), found=repr(one_sided))
    return evaluated.common


def _columns(
    one_sided: str, data: pd.DataFrame, whole: str
) -> tuple[Floats, tuple[str, ...], dict[str, tuple[int, ...]]]:
    """Return matrix, column names and the columns of each term."""
    _check_levels(one_sided, data)
    if re.fullmatch(r"\s*(0|-\s*1)\s*", one_sided):
        return np.zeros((len(data), 0)), (), {}
    common = _evaluate(one_sided, data, whole)
    names = [plain_label(label) for term in common.terms.values() for label in term.labels]
    matrix = np.ascontiguousarray(common.design_matrix, dtype=float)
    bad = [name for name, ok in zip(names, np.isfinite(matrix).all(axis=0), strict=True) if not ok]
    if bad:
        raise ModelError("infinite or undefined values", where=", ".join(bad))
    terms = {
        plain_label(term): tuple(range(part.start, part.stop))
        for term, part in common.slices.items()
    }
    return matrix, tuple(names), terms


def _check_levels(one_sided: str, data: pd.DataFrame) -> None:
    for quoted, plain in _NAMES.findall(one_sided):
        name = quoted or plain
        column = data[name] if name in data.columns else None
        if column is None or pd.api.types.is_numeric_dtype(column):
            continue
        if column.nunique() < 2:
            raise ModelError(
                "a factor with one level carries no effect",
                where=name,
                found=f"only {column.iloc[0]!r}",
                wanted="two or more levels",
                do="drop it from the formula",
            )


def _response(
    parsed: ParsedFormula, data: pd.DataFrame, family: FamilyName
) -> tuple[Floats, Floats]:
    if parsed.counts is not None:
        if family != "binomial":
            raise FormulaError("counts need the binomial family", where=parsed.response)
        return _counts(parsed, data)
    name = parsed.response.strip("`")
    column: Any
    if name in data.columns:
        column = data[name]
    else:
        column = pd.Series(
            _evaluate(f"0 + {parsed.response}", data, parsed.text).design_matrix[:, 0]
        )
    wanted = "0 or 1" if family == "binomial" else "numbers"
    if not (pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)):
        raise ModelError(
            f"the response is not {wanted}", where=name, found=repr(column.iloc[0]), wanted=wanted
        )
    values = column.to_numpy(dtype=float)
    bad = ~np.isfinite(values) if family == "gaussian" else ~np.isin(values, (0.0, 1.0))
    if bad.any():
        raise ModelError(
            f"the response is not {wanted}",
            where=name,
            found=f"{values[bad][0]:g} in {int(bad.sum())} rows",
            wanted=wanted,
            do="use cbind(successes, failures) for counts" if family == "binomial" else None,
        )
    if len(np.unique(values)) < 2:
        raise ModelError("the response never varies", where=name, found=f"only {values[0]:g}")
    return values, np.ones(len(values))


def _counts(parsed: ParsedFormula, data: pd.DataFrame) -> tuple[Floats, Floats]:
    first, second = (
        np.asarray(_evaluate(f"0 + I({part})", data, parsed.text).design_matrix[:, 0], float)
        for part in parsed.counts or ()
    )
    trials = first + second if parsed.counts_are_failures else second
    bad = (first < 0) | (trials < first) | (first % 1 != 0) | (trials % 1 != 0)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ModelError(
            "the response is not successes out of trials",
            where=parsed.response,
            found=f"{first[row]:g} of {trials[row]:g} in complete row {row + 1}",
            wanted="whole numbers, 0 <= successes <= trials",
        )
    if first.sum() in (0, trials.sum()):
        raise ModelError("the response never varies", where=parsed.response)
    return first, trials


def _factors(parsed: ParsedFormula, data: pd.DataFrame) -> tuple[RandomFactor, ...]:
    groups: dict[tuple[str, ...], list[RandomTerm]] = {}
    for term in parsed.random:
        groups.setdefault(term.group, []).append(term)
    factors = [_factor(group, terms, data, parsed.text) for group, terms in groups.items()]
    return tuple(sorted(factors, key=lambda factor: -len(factor.levels)))


def _factor(
    group: tuple[str, ...], terms: list[RandomTerm], data: pd.DataFrame, whole: str
) -> RandomFactor:
    name = ":".join(group)
    codes, levels = _codes(group, data)
    if len(levels) < 2:
        raise ModelError(
            "a grouping factor with one level cannot vary",
            where=name,
            found=f"only {levels[0]!r}",
            wanted="two or more levels",
        )
    matrices: list[Floats] = []
    columns: list[str] = []
    blocks: list[int] = []
    for term in terms:
        matrix, names, parts = _columns(term.columns, data, whole)
        matrices.append(matrix)
        columns += names
        blocks += [len(names)] if term.correlated else [len(part) for part in parts.values()]
    values: Floats | None = np.column_stack(matrices)
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    if repeated or not columns:
        raise FormulaError(
            "a random effect stands in the formula twice" if columns else "an empty random effect",
            where=name,
            found=", ".join(repeated) or None,
        )
    if columns == ["(Intercept)"]:
        values = None
    return RandomFactor(name, levels, codes, tuple(columns), tuple(blocks), values)


def _codes(
    group: tuple[str, ...], data: pd.DataFrame
) -> tuple[np.ndarray[Any, np.dtype[np.intp]], tuple[str, ...]]:
    codes, labels = np.zeros(len(data), dtype=np.int64), [""]
    for depth, name in enumerate(group):
        column = data[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            column = column.cat.remove_unused_categories()
            part, levels = column.cat.codes.to_numpy(np.int64), list(column.cat.categories)
        else:
            part, found = pd.factorize(column, sort=True)
            levels = list(found)
        joint, back = np.unique(codes * len(levels) + part, return_inverse=True)
        labels = [
            (f"{labels[j // len(levels)]}:" if depth else "") + str(levels[j % len(levels)])
            for j in joint
        ]
        codes = back
    return codes.astype(np.intp), tuple(labels)


def _check_residual(factors: tuple[RandomFactor, ...], rows: int) -> None:
    for factor in factors:
        if len(factor.levels) * len(factor.columns) >= rows:
            raise ModelError(
                "as many random effects as rows: they cannot be told from the residual",
                where=factor.group,
                found=f"{len(factor.levels)} levels x {len(factor.columns)} effects, {rows} rows",
            )
