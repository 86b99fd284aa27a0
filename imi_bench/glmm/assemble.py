"""From the end of the search to a `GlmmResult`."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from imi_bench.arrays import Floats
from imi_bench.glmm.design import Design
from imi_bench.glmm.gaussian import GaussianObjective
from imi_bench.glmm.lapse import LapseShape
from imi_bench.glmm.optimise import Minimum, Objective, newton_decrement
from imi_bench.glmm.options import Options
from imi_bench.glmm.quadrature import QuadratureObjective
from imi_bench.glmm.random_effects import RandomEffects
from imi_bench.glmm.result import GlmmResult
from imi_bench.glmm.schur import Factorisation
from imi_bench.glmm.search import SINGULAR
from imi_bench.glmm.separation import (
    known_where_data_lie,
    separated_columns,
    suspicious_columns,
)
from imi_bench.glmm.shape import ShapedLaplace
from imi_bench.glmm.starts import WarmStart

_SETTLED = 2e-3  # as lme4's checkConv, which takes the largest element instead of the length
_NEARLY = "nearly separated, hardly determined: "
_FAR = "known only together, since zero lies far from the data (centre what they are made of): "


_BORDER = (
    "large border: theta is differenced, but the fixed effects' own block of the Hessian "
    "is the working model's, which leaves out the curvature of log|A|"
)


def assemble(
    design: Design,
    *,
    options: Options,
    objective: Objective,
    minimum: Minimum,
    hessian: Floats | None,
    free: NDArray[np.bool_],
    change: Floats,
    began: float,
) -> GlmmResult:
    """Put the result together.

    Parameters
    ----------
    design, options, objective : Design and Options and Objective
        What was fitted.
    minimum : Minimum
        Where the search ended.
    hessian : (k, k) float64 or None
        Of the deviance there, NaN on the boundary; None if not computed.
    free : ndarray of bool
        Which parameters were free.
    change : (k, k) float64
        D(internal parameters) / d(theta, fixed effects).
    began : float
        `time.perf_counter` at the beginning of the work.
    """
    problem, point = design.problem, minimum.point
    size = problem.theta_size
    theta = point.parameters[:size]
    on_boundary = np.zeros(len(free), dtype=bool)
    on_boundary[:size] = problem.boundary(theta)
    inside = np.ix_(free & ~on_boundary, free & ~on_boundary)
    complete, remarks = _complete_hessian(minimum, hessian, free)
    if hessian is not None and design.family != "gaussian" and design.pattern.heavy:
        remarks.append(_BORDER)
    natural = change.T @ complete @ change
    covariance = np.full_like(natural, np.nan)
    covariance[inside] = 2.0 * np.linalg.pinv(natural[inside], hermitian=True)
    fixed = problem.fixed_slice
    facts = _fixed_facts(design, objective, minimum, covariance[fixed, fixed])
    step_size = newton_decrement(complete[inside], point.gradient[free & ~on_boundary])[1]
    verdict = _verdict(design, minimum, facts, float(np.sqrt(max(step_size, 0.0))))
    small = problem.theta_diagonal & free[:size] & (np.abs(theta) < SINGULAR)
    if small.any():
        names = [name for name, flag in zip(design.theta_names, small, strict=True) if flag]
        remarks.append("singular fit: on the boundary " + ", ".join(names))
    gaussian = design.family == "gaussian"
    return GlmmResult(
        formula=design.formula,
        family=design.family,
        link=options.link or "logit",
        method=options.method,
        nagq=options.nagq,
        names=design.names,
        **facts,
        theta_names=design.theta_names,
        theta=theta,
        theta_covariance=covariance[:size, :size],
        random=_random_effects(
            design, theta, point.modes, objective.factorisation(point), facts["sigma"]
        ),
        log_likelihood=design.log_coefficients - 0.5 * point.value,
        parameters=int(free.sum()) + (len(design.names) + 1 if gaussian else 0),
        n=design.n,
        dropped=design.dropped,
        iterations=minimum.iterations,
        evaluations=minimum.evaluations,
        singular=bool(small.any()),
        warnings=(*remarks, *verdict.pop("remarks")),
        **verdict,
        remarks=design.remarks,
        design=design,
        categories=design.categories,
        thresholds=options.thresholds,
        **_shape_facts(objective, options, point.parameters),
        joint_covariance=_joint(objective, point.parameters, covariance, facts["covariance"]),
        warm=WarmStart(
            theta=theta,
            fixed=facts["estimate"],
            modes=point.modes,
            shape=point.parameters[fixed.stop :] if design.family != "gaussian" else None,
        ),
        seconds=time.perf_counter() - began,
    )


def _verdict(
    design: Design, minimum: Minimum, facts: dict[str, Any], distance: float
) -> dict[str, Any]:
    """Say whether to trust the fit: gradient_norm, converged, reason, separated, remarks."""
    converged, reason = minimum.converged, minimum.reason
    rounding = np.sqrt(1e-8 * abs(minimum.point.value))
    if converged and distance > _SETTLED * max(1.0, rounding):
        converged, reason = False, f"the gradient is still {distance:.2g} standard errors from zero"
    remarks: list[str] = []
    separated: list[str] = []
    if design.unmet:
        remarks.append("levels that no answer has are not modelled: " + ", ".join(design.unmet))
    if design.family != "gaussian":
        se = np.sqrt(np.diag(facts["covariance"]))
        suspects = suspicious_columns(design, facts["estimate"], se)
        separated = separated_columns(design) if suspects else []
        if separated:
            converged = False
            reason = "no finite estimate: the answers are separated by " + ", ".join(separated)
        elif suspects:
            far = known_where_data_lie(design, facts["estimate"], facts["covariance"])
            remarks.append((_FAR if far else _NEARLY) + ", ".join(suspects))
    return {
        "gradient_norm": distance,
        "converged": converged,
        "reason": reason,
        "separated": tuple(separated),
        "remarks": remarks,
    }


def _complete_hessian(
    minimum: Minimum, hessian: Floats | None, free: NDArray[np.bool_]
) -> tuple[Floats, list[str]]:
    """Fill the boundary of the Hessian from the approximate one; fall back on it altogether."""
    if hessian is None:
        return minimum.hessian, []
    inner = ~np.isnan(np.diag(hessian))
    block = hessian[np.ix_(inner, inner)]
    scale = np.sqrt(np.abs(np.diag(block)))
    if len(block) and np.linalg.eigvalsh(block / np.outer(scale, scale))[0] <= 1e-10:
        return minimum.hessian, [
            "the Hessian is not positive definite: standard errors come from the working model"
        ]
    complete = np.where(np.outer(free, free), minimum.hessian, np.diag(np.diag(minimum.hessian)))
    complete[~inner] = 0.0
    complete[:, ~inner] = 0.0
    complete[~inner, ~inner] = np.diag(minimum.hessian)[~inner]
    complete[np.ix_(inner, inner)] = block
    return complete, []


def _fixed_facts(
    design: Design, objective: Objective, minimum: Minimum, covariance: Floats
) -> dict[str, Any]:
    """Return estimate, covariance and sigma."""
    if isinstance(objective, GaussianObjective):
        state = objective.profile(minimum.point.parameters)
        back = np.linalg.inv(design.root)
        return {
            "estimate": back @ state.fixed,
            "covariance": state.sigma**2 * back @ state.fixed_covariance @ back.T,
            "sigma": state.sigma,
        }
    fixed = minimum.point.parameters[design.problem.fixed_slice]
    return {
        "estimate": np.linalg.solve(design.root, fixed),
        "covariance": covariance,
        "sigma": float("nan"),
    }


def _shaped(objective: Objective) -> ShapedLaplace | None:
    laplace = objective.laplace if isinstance(objective, QuadratureObjective) else objective
    return laplace if isinstance(laplace, ShapedLaplace) else None


def _shape_facts(objective: Objective, options: Options, parameters: Floats) -> dict[str, Any]:
    """Return the lapse rate, and what the likelihood has of its own."""
    laplace = _shaped(objective)
    if laplace is None:
        return {"lapse": float(options.lapse)}
    values, _ = laplace.shape.reported(parameters[-laplace.shape.size :])
    return {
        "lapse": float(values[0]) if isinstance(laplace.shape, LapseShape) else 0.0,
        "shape_names": laplace.shape.names,
        "shape": values,
    }


def _joint(
    objective: Objective, parameters: Floats, covariance: Floats, fixed_covariance: Floats
) -> Floats:
    """Return the covariance of theta, fixed effects and the reported shape together."""
    if isinstance(objective, GaussianObjective):
        return np.asarray(linalg.block_diag(covariance, fixed_covariance))
    laplace = _shaped(objective)
    if laplace is None:
        return covariance
    count = laplace.shape.size
    _, slopes = laplace.shape.reported(parameters[-count:])
    kept = len(parameters) - count
    change = linalg.block_diag(np.eye(kept), slopes)
    known = np.nan_to_num(covariance)
    joint = change @ known @ change.T
    unknown = np.append(np.isnan(np.diag(covariance))[:kept], np.zeros(len(slopes), dtype=bool))
    joint[unknown] = joint[:, unknown] = np.nan
    return np.asarray(joint)


def _random_effects(
    design: Design, theta: Floats, modes: Floats, factorisation: Factorisation, sigma: float
) -> tuple[RandomEffects, ...]:
    problem = design.problem
    scale = sigma if design.family == "gaussian" else 1.0
    factors = problem.factors(theta)
    own = [factorisation.inverse_blocks[meeting] for meeting in design.pattern.own]
    effects = []
    for factor, root, part, inverse in zip(
        design.factors, factors, problem.scale(modes, factors), own, strict=True
    ):
        covariance = scale**2 * root @ root.T
        sd = np.sqrt(np.diag(covariance))
        with np.errstate(invalid="ignore", divide="ignore"):
            corr = covariance / np.outer(sd, sd)
        spread = np.einsum("ab,lbc,ac->la", root, inverse, root)
        effects.append(
            RandomEffects(
                group=factor.group,
                names=factor.columns,
                blocks=factor.blocks,
                sd=sd,
                corr=corr,
                levels=factor.levels,
                modes=part,
                conditional_sd=scale * np.sqrt(np.maximum(spread, 0.0)),
            )
        )
    return tuple(effects)
