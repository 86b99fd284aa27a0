"""Bias-reduced fixed effects: finite also where answers are separated.

Firth (1993, Biometrika 80, 27) adds half the log-determinant of the fixed effects' information to
the log-likelihood (Jeffreys' prior). In a logistic mixed model, with the random effects at their
conditional modes and the information X' V^-1 X of the working linear mixed model
(V = W^-1 + Z Lambda Lambda' Z'), the score gains sum_i h_i (1/2 - p_i) x_i with
h_i = w_i x~_i' (X' V^-1 X)^-1 x~_i and x~ = W^-1 V^-1 X the fixed columns without what random
effects explain. That is the score of h_i more answers, half of them right, at every row: so the
model is fitted with y_i + h_i/2 right out of m_i + h_i, and h and the fit taken by turns
(Heinze & Schemper 2002, Stat. Med. 21, 2409, for the model without random effects, which this is
where all variances are zero).
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from imi_bench.arguments import checked
from imi_bench.arrays import Floats
from imi_bench.errors import InputError, ModelError
from imi_bench.glmm.design import Design
from imi_bench.glmm.families import binomial_link
from imi_bench.glmm.fitting import fit_design
from imi_bench.glmm.laplace import LaplaceObjective
from imi_bench.glmm.options import Options
from imi_bench.glmm.result import GlmmResult
from imi_bench.glmm.starts import WarmStart
from imi_bench.threads import one_thread

_ROUNDS = 60
_CLOSE = 1e-5


@checked
def bias_reduced(design: Design, *, options: Options | None = None) -> GlmmResult:
    """Fit a logistic mixed model with bias-reduced fixed effects.

    Parameters
    ----------
    design : Design
        Of a binomial model.
    options : Options, optional
        As of `imi_bench.glmm.fit`; the link is logit, without lapses or quadrature.

    Returns
    -------
    result : GlmmResult
        With finite estimates also for separated effects. Its log-likelihood is that of the
        answers at these estimates, its covariance the inverse of X' V^-1 X there; a likelihood
        ratio against an ordinary fit means nothing.

    Raises
    ------
    InputError
        If the family, link, lapse rate or quadrature are others.
    """
    began = time.perf_counter()
    chosen = (options or Options()).checked(design.family)
    if design.family != "binomial" or chosen.link != "logit" or chosen.lapse or chosen.nagq > 1:
        raise InputError(
            "bias reduction is for logistic models by the Laplace approximation",
            found=f"family {design.family}, link {chosen.link}, lapse {chosen.lapse}, "
            f"nagq {chosen.nagq}",
        )
    quick, start = replace(chosen, hessian=False), None
    more = np.full(design.n, len(design.names) / design.n)
    fit: GlmmResult | None = None
    change = np.inf
    for _ in range(_ROUNDS):
        before = fit
        fit = fit_design(_with_more(design, more), options=quick, start=start)
        more, information, _ = _leverage(design, fit)
        start = fit.warm
        if before is not None:
            change = float(np.abs((fit.estimate - before.estimate) / fit.se).max(initial=0.0))
            if change < _CLOSE:
                break
    if fit is None:
        raise ModelError("no fit")
    final = fit_design(_with_more(design, more), options=chosen, start=start)
    _, information, log_likelihood = _leverage(design, final)
    covariance = np.asarray(np.linalg.inv(information), dtype=np.float64)
    joint = final.joint_covariance.copy()
    fixed = slice(len(final.theta), len(final.theta) + len(final.names))
    joint[fixed, fixed] = covariance
    return replace(
        final,
        covariance=covariance,
        joint_covariance=joint,
        log_likelihood=log_likelihood,
        converged=final.converged and change < 1e-3,
        reason=final.reason if change < 1e-3 else f"bias reduction still moves by {change:.2g} SE",
        warnings=(
            *final.warnings,
            f"fixed effects are bias-reduced (Firth): {more.sum():.3g} answers, half of them "
            "right, were added",
        ),
        design=design,
        seconds=time.perf_counter() - began,
    )


def _with_more(design: Design, more: Floats) -> Design:
    new = replace(
        design,
        response=design.response + 0.5 * more,
        trials=design.trials + more,
        _pattern=design.pattern,
    )
    new.__dict__["_orthogonal"] = design._orthogonal
    return new


def _leverage(design: Design, fit: GlmmResult) -> tuple[Floats, Floats, float]:
    """Return h, the information X' V^-1 X, and the Laplace log-likelihood, at a fit."""
    with one_thread():
        problem = design.problem
        objective = LaplaceObjective(problem, binomial_link("logit"))
        warm = fit.warm or WarmStart(theta=fit.theta, fixed=fit.estimate)
        modes = np.zeros(design.pattern.size) if warm.modes is None else warm.modes
        parameters = np.concatenate([fit.theta, design.root @ fit.estimate])
        point = objective.evaluate(parameters, modes)
        state = objective.conditional(parameters, modes)
        weight = state.terms.weight
        basis_information, solved = problem.information(
            problem.basis,
            weight=weight,
            factors=state.factors,
            factorisation=state.factorisation,
        )
        explained = [problem.spread(column, state.factors) for column in solved.T]
        rest = problem.basis - np.stack(explained, axis=1)
        spread = np.einsum("na,ab,nb->n", rest, np.linalg.inv(basis_information), rest)
    information = design.root.T @ basis_information @ design.root
    return weight * spread, information, design.log_coefficients - 0.5 * point.value
