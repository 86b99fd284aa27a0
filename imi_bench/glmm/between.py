"""Honest inference for terms that vary only between the levels of a grouping factor.

With nine networks a Wald z of a network's property treats nine points as many. Here instead:

1. The mixed model is fitted with each level's own coefficients as fixed effects (columns that
   vary only between levels go). That gives one estimate a level, with their covariance V.
2. Those estimates are regressed on the levels' properties with covariance V + tau^2 I, tau^2 by
   restricted maximum likelihood, and tested by a t on (levels - coefficients) degrees of freedom
   with Knapp and Hartung's scale: Knapp & Hartung (2003), Stat. Med. 22, 2693-2710.

Where every level is measured equally well this is the exact t-test of a regression through the
levels' means, whatever tau is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from imi_bench.arrays import Floats
from imi_bench.errors import ModelError, NotConvergedError, NotEnoughDataError, UnknownNameError
from imi_bench.glmm.design import Design, RandomFactor
from imi_bench.glmm.firth import bias_reduced
from imi_bench.glmm.fitting import fit_design
from imi_bench.glmm.inference import Inference
from imi_bench.glmm.options import Options
from imi_bench.glmm.result import GlmmResult
from imi_bench.glmm.starts import WarmStart
from imi_bench.results import Brief

INTERCEPT = "(Intercept)"
_METHOD = "two-stage t"


@dataclass(frozen=True, repr=False)
class BetweenTerm(Brief):
    """A fixed-effects column that, inside each level, is a multiple of another column.

    Attributes
    ----------
    name : str
        Of the column, such as ``scale`` or ``modesynthetic:scale``.
    base : str
        The column it is a multiple of: ``(Intercept)`` or, for an interaction, a column that
        varies within levels.
    values : (levels,) float64
        The multiples; NaN in levels where the base is zero.
    """

    name: str
    base: str
    values: Floats


@dataclass(frozen=True, eq=False, repr=False)
class LevelEstimates(Brief):
    """What the first stage found: one coefficient for each level and base column.

    Attributes
    ----------
    group : str
    base : str
        Column whose coefficient differs between levels; ``(Intercept)`` for the levels' own.
    levels : tuple of str
        Labels of the levels that have it (K).
    estimate : (K,) float64
    covariance : (K, K) float64
    fit : GlmmResult
        The whole first-stage model.
    """

    group: str
    base: str
    levels: tuple[str, ...]
    estimate: Floats
    covariance: Floats
    fit: GlmmResult


@dataclass(frozen=True, eq=False, repr=False)
class BetweenFit(Brief):
    """The second stage: level estimates regressed on the levels' properties.

    Attributes
    ----------
    names : tuple of str
        Of the coefficients, ``(Intercept)`` first.
    estimate : (p,) float64
    covariance : (p, p) float64
        With Knapp and Hartung's scale.
    tau : float
        Standard deviation between levels that the properties leave; REML.
    scale : float
        Knapp and Hartung's factor; 1 where V and tau account for the scatter exactly.
    df : int
        Levels minus coefficients.
    levels : int
        Number of levels.
    residual : (levels,) float64
        Estimate minus fitted.
    """

    names: tuple[str, ...]
    estimate: Floats
    covariance: Floats
    tau: float
    scale: float
    df: int
    levels: int
    residual: Floats

    def test(self, name: str, *, level: float = 0.95) -> Inference:
        """Test one coefficient by t."""
        UnknownNameError.unless_among(name, self.names, kind="between-level effect")
        index = self.names.index(name)
        return Inference.from_t(
            name,
            estimate=float(self.estimate[index]),
            se=math.sqrt(self.covariance[index, index]),
            df=float(self.df),
            method=f"{_METHOD}({self.df})",
            level=level,
        )

    def joint(self, names: Sequence[str]) -> Inference:
        """Test several coefficients together by F, such as the levels of a family."""
        index = [self.names.index(name) for name in names]
        part, cov = self.estimate[index], self.covariance[np.ix_(index, index)]
        value = float(part @ np.linalg.solve(cov, part)) / len(index)
        return Inference.without_interval(
            ", ".join(names),
            method=f"two-stage F({len(index)}, {self.df})",
            statistic=value,
            df=float(self.df),
            p=float(stats.f.sf(value, len(index), self.df)),
            reason="a joint test has no single estimate",
        )


def _multiples(column: Floats, base: Floats, codes: NDArray[np.intp], count: int) -> Floats | None:
    """Return c with column = c[codes] * base, or None where there is no such c."""
    power = np.bincount(codes, base * base, count)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.bincount(codes, base * column, count) / power
    filled = np.nan_to_num(values)
    misfit = np.abs(column - filled[codes] * base).max(initial=0.0)
    return values if misfit <= 1e-9 * max(1.0, float(np.abs(column).max(initial=0.0))) else None


def between_terms(design: Design, *, group: str) -> tuple[BetweenTerm, ...]:
    """Find the columns that only differ between the levels of a factor, and interactions of such.

    Parameters
    ----------
    design : Design
    group : str
        The grouping factor, such as ``network``.
    """
    factor = design.factor(group)
    count = len(factor.levels)
    bases: dict[str, Floats] = {INTERCEPT: np.ones(design.n)}
    found = []
    for name, column in zip(design.names, design.fixed.T, strict=True):
        if name == INTERCEPT:
            continue
        for base, values in bases.items():
            multiple = _multiples(column, values, factor.codes, count)
            if multiple is not None:
                found.append(BetweenTerm(name, base, multiple))
                break
        else:
            bases[name] = column
    return tuple(found)


def level_estimates(
    design: Design,
    *,
    group: str,
    varying: Sequence[str] = (),
    options: Options | None = None,
    start: WarmStart | None = None,
    firth: bool = False,
) -> Mapping[str, LevelEstimates]:
    """First stage: fit the model with a coefficient for each level.

    Parameters
    ----------
    design : Design
        With the factor `group` among its random effects.
    group : str
        The grouping factor whose levels get coefficients of their own.
    varying : sequence of str
        Within-level columns whose slope differs between levels; the bases of interactions
        with between-level terms, and random slopes of `group`, are added.
    options : Options, optional
        Link and quadrature.
    start : WarmStart, optional
        Of the first-stage fit, such as that of a similar data set.
    firth : bool
        Bias-reduced estimates, finite also for a level all of whose answers are alike.

    Returns
    -------
    mapping of base column to LevelEstimates; ``(Intercept)`` comes first.

    Raises
    ------
    ModelError
        If a varying column is a constant other than zero inside a level: its slope and the
        level's own mean cannot be told apart; or if the fit does not converge.
    """
    factor, terms = design.factor(group), between_terms(design, group=group)
    gone = {term.name for term in terms}
    wanted = dict.fromkeys((*varying, *(t.base for t in terms), *factor.columns))
    for name in set(wanted) - {INTERCEPT} - set(design.names):
        raise UnknownNameError.among(name, design.names, kind="fixed effect")
    bases = [INTERCEPT, *(name for name in wanted if name != INTERCEPT)]
    common = [name for name in design.names if name not in gone and name not in bases]
    own = {base: _own_columns(design, factor, base) for base in bases}
    matrix = np.column_stack(
        [column for columns in own.values() for column in columns.values()]
        + [design.fixed[:, design.names.index(name)] for name in common]
    )
    labels = [
        f"{group}[{lv}]" + ("" if base == INTERCEPT else f":{base}")
        for base, columns in own.items()
        for lv in columns
    ]
    names = (*labels, *common)
    first = replace(
        design.without_random(group),
        fixed=matrix,
        names=names,
        terms={name: (index,) for index, name in enumerate(names)},
    )
    if firth:
        result = bias_reduced(first, options=options)
    else:
        result = fit_design(first, options=options, start=start)
    if not result.converged:
        raise NotConvergedError("the first stage did not converge", found=result.reason)
    return _by_base(result, group, own)


def _own_columns(design: Design, factor: RandomFactor, base: str) -> dict[str, Floats]:
    column = np.ones(design.n) if base == INTERCEPT else design.fixed[:, design.names.index(base)]
    columns: dict[str, Floats] = {}
    for code, level in enumerate(factor.levels):
        inside = factor.codes == code
        if base != INTERCEPT and np.ptp(column[inside]) == 0.0:
            if column[inside][0] != 0.0:
                raise ModelError(
                    f"'{base}' is constant in a level but not zero there",
                    where=f"{factor.group} {level}",
                    found=float(column[inside][0]),
                    wanted="zero, the reference, where it does not vary",
                )
            continue
        columns[level] = np.where(inside, column, 0.0)
    return columns


def _by_base(
    result: GlmmResult, group: str, own: Mapping[str, Mapping[str, Floats]]
) -> dict[str, LevelEstimates]:
    found, start = {}, 0
    for base, columns in own.items():
        part = slice(start, start + len(columns))
        start += len(columns)
        found[base] = LevelEstimates(
            group,
            base,
            tuple(columns),
            result.estimate[part],
            result.covariance[part, part],
            result,
        )
    return found


def regress(
    estimates: Floats, covariance: Floats, properties: Mapping[str, Floats] | None = None
) -> BetweenFit:
    """Second stage: regress level estimates on properties of the levels.

    Parameters
    ----------
    estimates : (K,) float64
    covariance : (K, K) float64
        Of the estimates.
    properties : mapping of str to (K,) float64, optional
        By name; none for the mean over levels.

    Raises
    ------
    NotEnoughDataError
        If there are no more levels than coefficients.
    ModelError
        If a property is the same in all levels, or a combination of others.

    Examples
    --------
    >>> import numpy as np
    >>> fit = regress(np.array([1.0, 2.0, 3.5]), 0.01 * np.eye(3), {"x": np.arange(3.0)})
    >>> fit.estimate.round(3).tolist(), fit.df
    ([0.917, 1.25], 1)
    """
    properties = properties or {}
    design = np.column_stack([np.ones(len(estimates)), *properties.values()])
    count, size = design.shape
    if count <= size:
        raise NotEnoughDataError(
            "too few levels to compare",
            found=count,
            wanted=f"at least {size + 1}, one more than there are coefficients",
        )
    if np.linalg.matrix_rank(design) < size:
        raise ModelError("properties of the levels depend on each other", found=list(properties))
    tau2 = _tau_squared(estimates, covariance, design)
    weight = np.linalg.inv(covariance + tau2 * np.eye(count))
    bread = np.linalg.inv(design.T @ weight @ design)
    beta = bread @ (design.T @ (weight @ estimates))
    residual = estimates - design @ beta
    scale = float(residual @ weight @ residual) / (count - size)
    return BetweenFit(
        names=(INTERCEPT, *properties),
        estimate=beta,
        covariance=scale * bread,
        tau=math.sqrt(tau2),
        scale=scale,
        df=count - size,
        levels=count,
        residual=residual,
    )


def _tau_squared(estimates: Floats, covariance: Floats, design: Floats) -> float:
    """Return the variance between levels by restricted maximum likelihood, at least zero."""
    size = design.shape[1]
    null = np.linalg.svd(design)[0][:, size:]
    spread, vectors = np.linalg.eigh(null.T @ covariance @ null)
    squared = (vectors.T @ (null.T @ estimates)) ** 2

    def deviance(log_tau2: float) -> float:
        total = spread + math.exp(log_tau2)
        return float(np.log(total).sum() + (squared / total).sum())

    top = math.log(float(squared.sum()) + float(spread.max()) + 1e-300)
    grid = np.linspace(top - 16.0, top + 1.0, 35)
    best = int(np.argmin([deviance(x) for x in grid]))
    around = (grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
    found = optimize.minimize_scalar(deviance, bounds=around, method="bounded")
    at_zero = float(np.log(spread).sum() + (squared / spread).sum())
    return 0.0 if at_zero <= float(found.fun) else math.exp(float(found.x))


def two_stage(
    design: Design, *, group: str, level: float = 0.95, options: Options | None = None
) -> dict[str, Inference]:
    """Test every between-level column of a model, interactions with within-level columns too.

    Parameters
    ----------
    design : Design
        From `build_design`, with the factor `group` among its random effects.
    group : str
        The grouping factor, such as ``network``.
    level : float
    options : Options, optional
        Link and quadrature.

    Returns
    -------
    dict of column name to Inference.

    Raises
    ------
    NotEnoughDataError
        If there are no more levels than between-level coefficients.

    Examples
    --------
    ``two_stage(build_design("y ~ mode * scale + (1|unit) + (1|network)", data),
    group="network")["scale"]``
    """
    terms = between_terms(design, group=group)
    stage = level_estimates(design, group=group, options=options)
    all_levels = design.factor(group).levels
    found: dict[str, Inference] = {}
    for base, one in stage.items():
        rows = [all_levels.index(label) for label in one.levels]
        mine = {term.name: term.values[rows] for term in terms if term.base == base}
        if mine:
            second = regress(one.estimate, one.covariance, mine)
            found |= {name: second.test(name, level=level) for name in mine}
    return found
