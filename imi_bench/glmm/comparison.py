"""Models against each other: nested fits, terms left out one by one, variances on the boundary.

A variance of zero stands on the edge of what a variance can be, so the likelihood ratio for it is
not chi-squared: half of the time the estimate is zero under the null. For one variance with its
q covariances the reference distribution is the half-and-half mixture of chi-squared with q and
q + 1 degrees of freedom (Self & Liang 1987, JASA 82, 605; Stram & Lee 1994, Biometrics 50, 1171).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from imi_bench.arguments import checked
from imi_bench.arrays import Floats
from imi_bench.errors import InputError, NotComparableError
from imi_bench.glmm.design import Design, RandomFactor
from imi_bench.glmm.fitting import fit_design
from imi_bench.glmm.inference import Inference, likelihood_ratio, quick_options
from imi_bench.glmm.inferences import Inferences
from imi_bench.glmm.result import GlmmResult
from imi_bench.glmm.starts import WarmStart
from imi_bench.plots import Interval, forest
from imi_bench.results import Result
from imi_bench.text import plural

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_SPAN = 1e-7


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Result):
    """Nested models in order, each tested against the one before.

    Attributes
    ----------
    models : tuple of mapping of str to Any
        Formula, parameters, log-likelihood, AIC and BIC of each, fewest parameters first.
    tests : tuple of Inference
        Each model's likelihood ratio against the one before; one fewer than models.
    """

    models: tuple[Mapping[str, Any], ...]
    tests: tuple[Inference, ...]

    @property
    def title(self) -> str:
        """One line about the result."""
        return f"{plural(len(self.models), 'nested model')}"

    def to_json(self) -> dict[str, Any]:
        """JSON object."""
        return {
            "models": [dict(row) for row in self.models],
            "tests": [test.to_json() for test in self.tests],
        }

    def to_frame(self) -> pd.DataFrame:
        """One row a model, with its test against the one before."""
        import pandas as pd

        empty = {"chisq": math.nan, "df": math.nan, "p": math.nan, "method": ""}
        rows = [
            {"chisq": t.statistic, "df": t.df, "p": t.p, "method": t.method} for t in self.tests
        ]
        return pd.DataFrame([{**a, **b} for a, b in zip(self.models, [empty, *rows], strict=True)])

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw by how much the AIC of each model is above the lowest."""
        lowest = min(float(model["aic"]) for model in self.models)
        rows = [Interval(str(one["formula"]), float(one["aic"]) - lowest) for one in self.models]
        return forest(rows, xlabel="AIC above the lowest", title=self.title, reference=0.0, ax=ax)


@checked
def anova(first: GlmmResult, *others: GlmmResult) -> Comparison:
    """Compare nested models fitted to the same rows, as R's ``anova`` does.

    Parameters
    ----------
    first, others : GlmmResult
        Two or more converged fits with their designs, in any order.

    Raises
    ------
    InputError
        For one model alone.
    NotComparableError
        If rows, response, family, link or method differ, or a model is not nested in the next.
    ModelError
        If a fit has no data or did not converge.

    Examples
    --------
    ``anova(fit("y ~ x + (1|g)", data), fit("y ~ 1 + (1|g)", data)).to_frame()``
    """
    results = sorted((first, *others), key=lambda one: one.parameters)
    if len(results) < 2:
        raise InputError("nothing to compare", found="one model", wanted="two or more")
    tests = [_against(small, large) for small, large in pairwise(results)]
    models = [
        {
            "formula": one.formula,
            "parameters": one.parameters,
            "log_likelihood": one.log_likelihood,
            "aic": one.aic,
            "bic": one.bic,
        }
        for one in results
    ]
    return Comparison(tuple(models), tuple(tests))


def _against(small: GlmmResult, large: GlmmResult) -> Inference:
    _check_same_rows(small, large)
    extra = _nested(small, large)
    df = large.parameters - small.parameters
    if df < 1:
        raise NotComparableError(
            "models that are not nested",
            where=f"{small.formula!r} and {large.formula!r}",
            found="as many parameters in both",
        )
    drop = max(small.deviance - large.deviance, 0.0)
    variances = extra["variances"] + extra["lapse"]
    only_random = extra["fixed"] == 0 and extra["lapse"] in (0, df)
    if variances == 1 and only_random:
        p, method = boundary_p(drop, df - 1), "likelihood ratio, boundary mixture"
    else:
        p = float(stats.chi2.sf(drop, df))
        method = "likelihood ratio"
        if variances:
            method += ", too cautious: variances on their boundary"
    return Inference.without_interval(
        large.formula,
        method=method,
        statistic=drop,
        df=float(df),
        p=p,
        reason="a comparison of models has no interval",
    )


def _check_same_rows(small: GlmmResult, large: GlmmResult) -> None:
    where = f"{small.formula!r} and {large.formula!r}"
    designs = [one.with_data("no comparison", converged=True) for one in (small, large)]
    for name in ("family", "link", "method", "nagq", "thresholds", "categories"):
        if getattr(small, name) != getattr(large, name):
            raise NotComparableError(
                f"models that differ in {name}",
                where=where,
                found=f"{getattr(small, name)} and {getattr(large, name)}",
            )
    if not (small.shape_names or large.shape_names) and small.lapse != large.lapse:
        raise NotComparableError(
            "models with different given lapse rates",
            where=where,
            found=f"{small.lapse:g} and {large.lapse:g}",
        )
    rows = [(one.response, one.trials) for one in designs]
    if small.n != large.n or not all(
        np.array_equal(a, b) for a, b in zip(rows[0], rows[1], strict=True)
    ):
        raise NotComparableError(
            "models of different rows",
            where=where,
            found=f"{small.n} and {plural(large.n, 'row')}, {small.dropped} and "
            f"{large.dropped} dropped"
            if small.n != large.n or small.dropped != large.dropped
            else "as many rows with other answers",
            do="fit both to the rows that are complete for both",
        )


def _nested(small: GlmmResult, large: GlmmResult) -> dict[str, int]:
    """Count what the larger model has more of: fixed effects, variances, a lapse rate."""
    inner, outer = (one.with_data("no comparison") for one in (small, large))
    where = f"{small.formula!r} and {large.formula!r}"
    if not _spanned(inner.fixed, outer.fixed) or not np.allclose(inner.offset, outer.offset):
        raise NotComparableError(
            "models that are not nested",
            where=where,
            found="fixed effects of the smaller one that the larger one has not",
        )
    fixed = len(large.names) - len(small.names)
    if small.method == "REML" and (fixed or set(small.names) != set(large.names)):
        raise NotComparableError(
            "REML likelihoods of different fixed effects", where=where, do="fit both by ML"
        )
    variances = 0
    by_group = {factor.group: factor for factor in outer.factors}
    for factor in inner.factors:
        if factor.group not in by_group or not _within(factor, by_group[factor.group]):
            raise NotComparableError(
                "models that are not nested",
                where=where,
                found=f"random effects of {factor.group} that the larger one has not",
            )
    for factor in outer.factors:
        known = [one for one in inner.factors if one.group == factor.group]
        variances += len(factor.columns) - sum(len(one.columns) for one in known)
    lapse = int("lapse" in large.shape_names) - int("lapse" in small.shape_names)
    return {"fixed": fixed, "variances": variances, "lapse": lapse}


def _spanned(inner: Floats, outer: Floats) -> bool:
    if not inner.shape[1]:
        return True
    if not outer.shape[1]:
        return False
    basis, _ = np.linalg.qr(outer)
    rest = inner - basis @ (basis.T @ inner)
    return bool((np.linalg.norm(rest, axis=0) <= _SPAN * np.linalg.norm(inner, axis=0)).all())


def _within(small: RandomFactor, large: RandomFactor) -> bool:
    """Whether each block of correlated effects is part of one block of the larger factor."""
    home = dict(
        zip(large.columns, np.repeat(np.arange(len(large.blocks)), large.blocks), strict=True)
    )
    if not set(small.columns) <= set(home):
        return False
    own = np.repeat(np.arange(len(small.blocks)), small.blocks)
    return all(
        len({home[name] for name, b in zip(small.columns, own, strict=True) if b == block}) == 1
        for block in set(own.tolist())
    )


def boundary_p(statistic: float, below: int) -> float:
    """Return p of the mixture of chi-squared with `below` and `below` + 1 degrees of freedom.

    Examples
    --------
    >>> round(boundary_p(2.706, 0), 3), boundary_p(0.0, 0)
    (0.05, 1.0)
    """
    lower = float(stats.chi2.sf(statistic, below)) if below else float(statistic <= 0.0)
    return 0.5 * (lower + float(stats.chi2.sf(statistic, below + 1)))


@checked
def drop_one(result: GlmmResult) -> Inferences:
    """Test every fixed term that no higher-order term contains, as R's ``drop1`` does.

    Parameters
    ----------
    result : GlmmResult
        A converged maximum-likelihood fit with its design.

    Raises
    ------
    ModelError
        If the fit is REML or has no data.
    """
    every = result.with_data("no terms to drop").terms
    terms = [name for name in every if name not in ("Intercept", "(Intercept)", "1")]
    parts = {name: frozenset(name.split(":")) for name in terms}
    free = [name for name in terms if not any(parts[name] < other for other in parts.values())]
    tests = tuple(likelihood_ratio(result, name) for name in free)
    return Inferences(f"Without one term: {result.formula}", tests)


@checked
def variance_tests(result: GlmmResult) -> Inferences:
    """Test every random effect's variance, with its covariances, against zero.

    Parameters
    ----------
    result : GlmmResult
        A converged fit with its design, ML or REML.

    Returns
    -------
    Inferences : one for each random effect, named ``group: effect``; the estimate is the standard
        deviation. An intercept whose slopes would stay is tested all the same.

    Notes
    -----
    The p-value is of the half-and-half mixture of chi-squared with q and q + 1 degrees of
    freedom, q the number of covariances that go with the variance.
    """
    design = result.with_data("no variance to test")
    tests = []
    for effect, factor in zip(result.random, design.factors, strict=True):
        owner = np.repeat(np.arange(len(factor.blocks)), factor.blocks)
        for index, column in enumerate(factor.columns):
            tests.append(
                _variance_test(
                    result,
                    design,
                    factor,
                    column,
                    sd=float(effect.sd[index]),
                    covariances=factor.blocks[owner[index]] - 1,
                )
            )
    return Inferences(f"Against a variance of zero: {result.formula}", tuple(tests))


def _variance_test(
    result: GlmmResult,
    design: Design,
    factor: RandomFactor,
    column: str,
    *,
    sd: float,
    covariances: int,
) -> Inference:
    name = f"{factor.group}: {column}"
    method = "likelihood ratio, boundary mixture"
    options = quick_options(result)
    shape = None if result.warm is None else result.warm.shape
    if len(factor.columns) > 1:
        other = fit_design(design.without_random(factor.group, column), options=options)
    elif len(design.factors) > 1:
        other = fit_design(design.without_random(factor.group), options=options)
    else:
        start = WarmStart(theta=np.zeros(1), fixed=result.estimate, shape=shape)
        hold = {design.theta_names[0]: 0.0}
        other = fit_design(design, options=options, start=start, hold=hold)
    if not (result.converged and other.converged):
        return Inference.undefined(name, method=method, reason="a fit did not converge")
    drop = max(other.deviance - result.deviance, 0.0)
    return Inference.without_interval(
        name,
        method=method,
        estimate=sd,
        statistic=drop,
        df=float(covariances + 1),
        p=boundary_p(drop, covariances),
        reason="a test without interval",
    )
