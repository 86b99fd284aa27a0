"""Where a fit begins: cheap moment steps from scratch, or a previous fit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from imi_bench.arrays import Floats
from imi_bench.glmm.covariance import moment_update
from imi_bench.glmm.gaussian import GaussianObjective
from imi_bench.glmm.laplace import LaplaceObjective
from imi_bench.glmm.pattern import analyse
from imi_bench.glmm.problem import Problem
from imi_bench.glmm.random_design import RandomDesign
from imi_bench.glmm.shape import ShapedLaplace
from imi_bench.results import Brief

_MOMENT_STEPS = 6
_CLOSE = 0.1
_SMALLEST_THETA = 0.05
_LARGEST_STEP = 2.0
_THINNED_SIZE = 1_000
_SWEEPS = 6


@dataclass(frozen=True, repr=False)
class WarmStart(Brief):
    """A place to start from, as a previous fit leaves it.

    The previous Hessian is not kept: it holds no curvature for a variance that was zero, and at
    other data a fresh approximation saves more steps than it costs.

    Attributes
    ----------
    theta : (k,) float64
    fixed : (p,) float64
        Fixed effects of the design's own columns.
    modes : (random effects,) float64, optional
    shape : (s,) float64, optional
        Internal parameters of a lapse rate or of thresholds; None to begin anew.
    """

    theta: Floats
    fixed: Floats
    modes: Floats | None = None
    shape: Floats | None = None

    def away_from_zero(self, problem: Problem) -> Floats:
        """Return theta with its diagonal moved off zero, where the gradient vanishes."""
        return np.where(
            problem.theta_diagonal & (np.abs(self.theta) < _SMALLEST_THETA),
            _SMALLEST_THETA,
            self.theta,
        )


def _identity(problem: Problem) -> Floats:
    return problem.theta_diagonal.astype(float)


def _moments(problem: Problem, theta: Floats, modes: Floats, inverse: list[Floats]) -> Floats:
    own = [inverse[meeting] for meeting in problem.random.pattern.own]
    parts = problem.random.split(modes)
    return np.concatenate(
        [
            moment_update(template, theta[place], part, block)
            for template, place, part, block in zip(
                problem.templates, problem.theta_slices, parts, own, strict=True
            )
        ]
    )


def cold_binomial(objective: LaplaceObjective) -> tuple[Floats, Floats]:
    """Return parameters and modes near the optimum by penalised quasi-likelihood.

    Newton steps for the fixed effects at the conditional modes alternate with moment updates of
    theta; the Laplace deviance takes over from there. Where a factorisation is heavy, the steps
    run on the rows of a part of the levels of the second-largest factor.
    """
    problem = objective.problem
    if problem.random.pattern.heavy:
        part = LaplaceObjective(_thinned(problem), objective.link)
        parameters, _ = _alternate(part, steps=2 * _MOMENT_STEPS, close=0.2 * _CLOSE)
        return parameters, _sweep(objective, parameters)
    return _alternate(objective, steps=_MOMENT_STEPS, close=_CLOSE)


def cold_shaped(objective: ShapedLaplace) -> tuple[Floats, Floats]:
    """Return parameters and modes near the optimum, from a plain model of the same answers."""
    problem, shape = objective.problem, objective.shape
    plain, link = shape.first_look(problem)
    parameters, modes = cold_binomial(LaplaceObjective(plain, link))
    theta = parameters[: problem.theta_size]
    fixed = parameters[len(parameters) - problem.basis.shape[1] :]
    eta = problem.offset + problem.basis @ fixed + problem.spread(modes, problem.factors(theta))
    return np.concatenate([theta, fixed, shape.start(problem, eta)]), modes


def _alternate(objective: LaplaceObjective, *, steps: int, close: float) -> tuple[Floats, Floats]:
    problem = objective.problem
    theta = _identity(problem)
    fixed = _without_random_effects(objective)
    modes = np.zeros(problem.random.pattern.size)
    for _ in range(steps):
        state = objective.conditional(np.concatenate([theta, fixed]), modes)
        modes = state.modes
        information, _ = problem.information(
            problem.basis,
            weight=state.terms.weight,
            factors=state.factors,
            factorisation=state.factorisation,
        )
        step = np.linalg.lstsq(information, problem.basis.T @ state.terms.score, rcond=None)[0]
        fixed = fixed + _capped(step)
        before, theta = theta, _moments(problem, theta, modes, state.factorisation.inverse_blocks)
        modes = _rescale(problem, modes, before, theta)
        if np.abs(theta - before).max() < close * np.abs(theta).max():
            break
    return np.concatenate([theta, fixed]), modes


def _capped(step: NDArray[np.floating[Any]]) -> Floats:
    return np.asarray(step, dtype=float) * min(
        1.0, _LARGEST_STEP / max(float(np.abs(step).max(initial=0.0)), 1e-12)
    )


def _thinned(problem: Problem) -> Problem:
    """Return the problem on the rows of every so many levels of the second-largest factor."""
    pattern = problem.random.pattern
    stride = -(-pattern.border_size // _THINNED_SIZE)
    rows = np.flatnonzero(pattern.codes[1] % stride == 0)
    codes, levels = [], []
    for code in pattern.codes:
        present, recoded = np.unique(code[rows], return_inverse=True)
        codes.append(recoded)
        levels.append(len(present))
    return replace(
        problem,
        response=problem.response[rows],
        trials=problem.trials[rows],
        offset=problem.offset[rows],
        basis=problem.basis[rows],
        random=RandomDesign(
            analyse(codes, levels, pattern.widths),
            tuple(None if v is None else v[rows] for v in problem.random.values),
        ),
    )


def _sweep(objective: LaplaceObjective, parameters: Floats) -> Floats:
    """Return modes near the conditional modes by a few sweeps over the factors, one at a time."""
    problem, link = objective.problem, objective.link
    factors = problem.factors(parameters[: problem.theta_size])
    base = problem.offset + problem.basis @ parameters[problem.theta_size :]
    modes = np.zeros(problem.random.pattern.size)
    parts = problem.random.split(modes)
    for _ in range(_SWEEPS):
        for factor in range(len(factors)):
            eta = base + problem.spread(modes, factors)
            terms = link.terms(problem.response, problem.trials, eta)
            slope = problem.random.split(problem.collect(terms.score, factors) - modes)[factor]
            gram = problem.random.own_gram(terms.weight, factor)
            block = factors[factor].T @ gram @ factors[factor] + np.eye(slope.shape[1])
            parts[factor] += np.linalg.solve(block, slope[:, :, None])[:, :, 0]
    return modes


def _rescale(problem: Problem, modes: Floats, before: Floats, after: Floats) -> Floats:
    """Return modes u that keep the effects Lambda u where theta changes."""
    parts = [
        np.linalg.lstsq(new, old @ part.T, rcond=None)[0].T
        for part, old, new in zip(
            problem.random.split(modes),
            problem.factors(before),
            problem.factors(after),
            strict=True,
        )
    ]
    return np.concatenate([part.ravel() for part in parts])


def _without_random_effects(objective: LaplaceObjective) -> Floats:
    """Return a few Newton steps of the plain generalised linear model."""
    problem, link = objective.problem, objective.link
    share = (problem.response + 0.5) / (problem.trials + 1.0)
    rate = np.clip(problem.response.sum() / problem.trials.sum(), 0.01, 0.99)
    target = link.quantile(0.5 * (share + rate)) - problem.offset
    fixed = np.linalg.lstsq(problem.basis, target, rcond=None)[0]
    for _ in range(4):
        eta = np.clip(problem.offset + problem.basis @ fixed, -8.0, 8.0)
        terms = link.terms(problem.response, problem.trials, eta)
        information = problem.basis.T @ (terms.weight[:, None] * problem.basis)
        step = np.linalg.lstsq(information, problem.basis.T @ terms.score, rcond=None)[0]
        fixed = fixed + _capped(step)
    return np.asarray(fixed)


def cold_gaussian(objective: GaussianObjective) -> tuple[Floats, Floats]:
    """Return theta and modes after a few moment updates."""
    problem = objective.problem
    theta = _identity(problem)
    modes = np.zeros(problem.random.pattern.size)
    for _ in range(_MOMENT_STEPS):
        try:
            state = objective.profile(theta)
        except linalg.LinAlgError:
            break
        inverse = state.factorisation.inverse_blocks
        before, theta = theta, _moments(problem, theta, state.modes / state.sigma, inverse)
        if np.abs(theta - before).max() < _CLOSE * np.abs(theta).max():
            break
    return theta, modes
