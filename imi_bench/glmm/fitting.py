"""Fit a mixed model: `fit` from a formula and a table, `fit_design` from a `Design`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from imi_bench.arguments import checked
from imi_bench.arrays import Floats
from imi_bench.errors import InputError, ModelError, UnknownNameError
from imi_bench.glmm.assemble import assemble
from imi_bench.glmm.build import build_design
from imi_bench.glmm.design import Design
from imi_bench.glmm.families import FamilyName, LinkName, binomial_link
from imi_bench.glmm.gaussian import GaussianObjective
from imi_bench.glmm.laplace import LaplaceObjective
from imi_bench.glmm.lapse import SMALLEST_LAPSE, LapseShape, lapsing
from imi_bench.glmm.optimise import Minimum, Objective
from imi_bench.glmm.options import Options
from imi_bench.glmm.ordered import ordinal_design
from imi_bench.glmm.ordinal import ThresholdName, Thresholds
from imi_bench.glmm.problem import Point
from imi_bench.glmm.quadrature import QuadratureObjective
from imi_bench.glmm.repeats import repeats
from imi_bench.glmm.result import GlmmResult
from imi_bench.glmm.search import Search
from imi_bench.glmm.shape import ShapedLaplace
from imi_bench.glmm.starts import WarmStart, cold_binomial, cold_gaussian, cold_shaped
from imi_bench.glmm.tables import read_table
from imi_bench.threads import one_thread

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Options", "build", "deviance", "fit", "fit_design"]


@checked
@one_thread()
def fit(
    formula: str,
    data: str | Path | pd.DataFrame,
    *,
    family: FamilyName = "binomial",
    link: LinkName | None = None,
    method: Literal["ML", "REML"] = "ML",
    nagq: int = 1,
    weights: str | None = None,
    start: GlmmResult | WarmStart | None = None,
    hessian: bool = True,
    max_iterations: int = 200,
    lapse: float | Literal["estimate"] = 0.0,
    thresholds: ThresholdName = "flexible",
    levels: Sequence[str] | None = None,
) -> GlmmResult:
    """Fit a mixed model by the Laplace approximation, quadrature, ML or REML.

    Parameters
    ----------
    formula : str
        Lme4's language, ``y ~ x + (1 + x | g)``; the response of a binomial model is 0/1,
        a factor of two levels (the first is failure), ``cbind(successes, failures)``,
        ``prop(successes, trials)``, or a proportion with `weights`. ``offset(x)`` enters with
        its coefficient fixed at 1.
    data : str or Path or DataFrame
        One row for each observation: a DataFrame, or a CSV, TSV or Parquet file. Rows with
        a missing value are dropped and counted; rows that are there again are counted.
    family : FamilyName
        ``binomial``, ``gaussian``, or ``ordinal`` for ordered answers (a cumulative link).
    link : LinkName, optional
        ``logit`` (default) or ``probit`` for a binomial or ordinal model.
    method : {"ML", "REML"}
        ``ML``, or ``REML`` for a Gaussian model.
    nagq : int
        Nodes of adaptive Gauss-Hermite quadrature; above 1 for one scalar random effect only.
    weights : str, optional
        Number of trials behind each row's proportion, a column or an expression; in a
        Gaussian model what a row's residual variance is divided by; in an ordinal one how many
        times a row was seen, as in ``ordinal::clmm``.
    start : GlmmResult or WarmStart, optional
        A previous fit to start from.
    hessian : bool
    max_iterations : int
        Give up, unconverged, after this many steps.
    lapse : float or {"estimate"}
        Share of answers given blindly, P = lapse/2 + (1 - lapse) F(eta), in a binomial model;
        ``estimate`` finds it with everything else.
    thresholds : ThresholdName
        ``flexible`` or ``symmetric``, in an ordinal model.
    levels : sequence of str, optional
        The answers of an ordinal model in order, where the column says none.

    Returns
    -------
    result : GlmmResult
        Always look at ``converged`` and ``singular``; nothing is hidden, nothing is raised for
        a fit that merely failed to converge.

    Raises
    ------
    FormulaError, ModelError
        If the model cannot be set up on these data; the message names the culprit.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> rng = np.random.default_rng(1)
    >>> g = np.repeat(np.arange(30), 20)
    >>> x = rng.normal(size=600)
    >>> p = 1 / (1 + np.exp(-x - rng.normal(size=30)[g]))
    >>> data = pd.DataFrame({"y": (rng.random(600) < p).astype(int), "x": x, "g": g})
    >>> result = fit("y ~ x + (1 | g)", data)
    >>> result.converged, result.names
    (True, ('(Intercept)', 'x'))
    """
    began, data = time.perf_counter(), read_table(data)
    options = Options(
        link, method, nagq, hessian, max_iterations, lapse=lapse, thresholds=thresholds
    )
    design = build(formula, data, family=family, levels=levels, weights=weights)
    if said := repeats(data):
        design = replace(design, remarks=(*design.remarks, said))
    return fit_design(design, options=options, start=start, began=began)


def build(
    formula: str,
    data: pd.DataFrame,
    *,
    family: FamilyName = "binomial",
    levels: Sequence[str] | None = None,
    weights: str | None = None,
) -> Design:
    """Evaluate a formula on a table for any family; see `fit` for the parameters."""
    if family != "ordinal":
        if levels is not None:
            raise InputError("levels are of an ordinal model", found=f"family {family}")
        return build_design(formula, data, family=family, weights=weights)
    return ordinal_design(formula, data, levels=levels, weights=weights)


def fit_design(
    design: Design,
    *,
    options: Options | None = None,
    start: GlmmResult | WarmStart | None = None,
    hold: Mapping[str, float] | None = None,
    began: float | None = None,
) -> GlmmResult:
    """Fit a design, perhaps from a previous fit, perhaps with some of theta held.

    Parameters
    ----------
    design : Design
        From `build_design`, or one of its restrictions.
    options : Options, optional
    start : GlmmResult or WarmStart, optional
        A previous fit (of the same columns) to start from.
    hold : mapping of str to float, optional
        Elements of theta, by lme4's names, to hold at given values; fixed effects are held
        with `Design.fixing`.
    began : float, optional
        `time.perf_counter` at the beginning of the work, for ``seconds``.
    """
    began = time.perf_counter() if began is None else began
    options = (options or Options()).checked(design.family)
    warm = _fitting_start(design, start.warm if isinstance(start, GlmmResult) else start)
    held = dict(hold or {})
    for name in held:
        UnknownNameError.unless_among(name, design.theta_names, kind="element of theta")
    with one_thread():
        objective = _objective(design, options)
        free = np.ones(_parameter_count(design, objective), dtype=bool)
        free[[design.theta_names.index(name) for name in held]] = False
        search = Search(
            objective=objective,
            problem=design.problem,
            free=free,
            wants_hessian=options.hessian,
            max_iterations=options.max_iterations,
        )
        minimum, hessian = search.run(_start(objective, design, warm, held))
        if _without_lapses(objective, minimum):
            return _lapse_of_zero(design, options, _warm_from(design, minimum), held, began)
        return assemble(
            design,
            options=options,
            objective=objective,
            minimum=minimum,
            hessian=hessian,
            free=free,
            change=_to_basis(design, len(free)),
            began=began,
        )


def deviance(
    design: Design, theta: Floats, fixed: Floats | None = None, *, options: Options | None = None
) -> tuple[float, Floats]:
    """Return minus twice the log-likelihood and its gradient in (theta, fixed effects).

    Parameters
    ----------
    design : Design
    theta : (k,) float64
        In the order of ``design.theta_names``.
    fixed : (p,) float64, optional
        For a binomial model; a Gaussian one profiles them out, and the
        gradient is in theta alone.
    options : Options, optional
        Link, method and number of nodes.
    """
    options = (options or Options()).checked(design.family)
    parameters = np.asarray(theta, dtype=float)
    if design.family == "binomial":
        if fixed is None:
            raise InputError("the deviance of a binomial model needs the fixed effects")
        parameters = np.concatenate([parameters, design.root @ fixed])
    if design.family == "ordinal" or isinstance(options.lapse, str):
        raise InputError(
            "no deviance of a likelihood with a shape of its own",
            found="thresholds or a lapse rate to be estimated",
            do="fit it, or give the lapse rate",
        )
    point = _objective(design, options).evaluate(parameters, np.zeros(design.pattern.size))
    size = len(theta)
    gradient = (
        np.concatenate([point.gradient[:size], design.root.T @ point.gradient[size:]])
        if (design.family == "binomial")
        else point.gradient
    )
    return point.value - 2.0 * design.log_coefficients, gradient


def _objective(design: Design, options: Options) -> Objective:
    if design.family == "gaussian":
        scale = float(np.log(np.abs(np.diag(design.root))).sum())
        return GaussianObjective(
            design.problem, reml=options.method == "REML", log_basis_scale=scale
        )
    link = binomial_link(options.link or "logit")
    laplace: LaplaceObjective
    if design.family == "ordinal":
        kinds = Thresholds(
            link.name, design.categories, options.thresholds, anchored=design.has_constant
        )
        laplace = ShapedLaplace(design.problem, kinds)
    elif isinstance(options.lapse, str):
        laplace = ShapedLaplace(design.problem, LapseShape(link))
    else:
        laplace = LaplaceObjective(design.problem, lapsing(link, options.lapse))
    if options.nagq > 1:
        return QuadratureObjective(laplace, nodes=options.nagq)
    return laplace


def _without_lapses(objective: Objective, minimum: Minimum) -> bool:
    laplace = _laplace(objective)
    if not isinstance(laplace, ShapedLaplace) or not isinstance(laplace.shape, LapseShape):
        return False
    (lapse,), _ = laplace.shape.reported(minimum.point.parameters[-1:])
    return bool(lapse < SMALLEST_LAPSE)


def _warm_from(design: Design, minimum: Minimum) -> WarmStart:
    problem, parameters = design.problem, minimum.point.parameters
    return WarmStart(
        theta=parameters[: problem.theta_size],
        fixed=np.asarray(np.linalg.solve(design.root, parameters[problem.fixed_slice]), float),
        modes=minimum.point.modes,
    )


def _lapse_of_zero(
    design: Design,
    options: Options,
    warm: WarmStart,
    hold: Mapping[str, float],
    began: float,
) -> GlmmResult:
    """Return the fit without lapses, in the words of one that looked for them."""
    plain = fit_design(
        design, options=replace(options, lapse=0.0), start=warm, hold=hold, began=began
    )
    return replace(
        plain,
        shape_names=("lapse",),
        shape=np.zeros(1),
        joint_covariance=np.pad(plain.joint_covariance, (0, 1), constant_values=np.nan),
        parameters=plain.parameters + 1,
        warnings=(*plain.warnings, "the lapse rate is on the boundary: zero fits best"),
    )


def _laplace(objective: Objective) -> Objective:
    return objective.laplace if isinstance(objective, QuadratureObjective) else objective


def _parameter_count(design: Design, objective: Objective) -> int:
    laplace = _laplace(objective)
    fixed = len(design.names) if design.family != "gaussian" else 0
    shape = laplace.shape.size if isinstance(laplace, ShapedLaplace) else 0
    return design.problem.theta_size + fixed + shape


def _fitting_start(design: Design, warm: WarmStart | None) -> WarmStart | None:
    """The start, without modes of other levels; refused if it is another model's."""
    if warm is None:
        return None
    found = (len(warm.theta), len(warm.fixed))
    wanted = (len(design.theta_names), len(design.names))
    if found != wanted:
        raise ModelError(
            "a start of another model",
            found=f"{found[0]} elements of theta, {found[1]} fixed effects",
            wanted=f"{wanted[0]} and {wanted[1]}",
            do="leave start out",
        )
    if warm.modes is not None and len(warm.modes) != design.pattern.size:
        return replace(warm, modes=None)
    return warm


def _start(
    objective: Objective, design: Design, warm: WarmStart | None, held: Mapping[str, float]
) -> Point:
    problem = design.problem
    laplace = _laplace(objective)
    modes = np.zeros(design.pattern.size)
    if warm is not None:
        parameters = warm.away_from_zero(problem)
        if design.family != "gaussian":
            parameters = np.concatenate([parameters, design.root @ warm.fixed])
        if isinstance(laplace, ShapedLaplace):
            eta = problem.offset + design.fixed @ warm.fixed
            shape = laplace.shape.start(problem, eta) if warm.shape is None else warm.shape
            parameters = np.concatenate([parameters, shape])
        if warm.modes is not None:
            modes = warm.modes
    elif isinstance(laplace, ShapedLaplace):
        parameters, modes = cold_shaped(laplace)
    elif isinstance(laplace, LaplaceObjective):
        parameters, modes = cold_binomial(laplace)
    elif isinstance(laplace, GaussianObjective):
        parameters, modes = cold_gaussian(laplace)
    parameters = parameters.copy()
    for name, value in held.items():
        parameters[design.theta_names.index(name)] = value
    point = objective.evaluate(parameters, modes)
    if not point.finite:
        raise ModelError(
            "the likelihood is not finite at the start",
            do="check for extreme values in the covariates, or rescale them",
        )
    return point


def _to_basis(design: Design, count: int) -> Floats:
    """Return d(internal parameters) / d(theta, fixed effects, shape)."""
    fixed, change = design.problem.fixed_slice, np.eye(count)
    if count > fixed.start:
        change[fixed, fixed] = design.root
    return change
