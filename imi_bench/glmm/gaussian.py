"""The profiled deviance and REML criterion of a Gaussian mixed model, with exact gradients.

Fixed effects and residual variance are profiled out (Bates et al. 2015, J. Stat. Softw. 67(1),
eqs. 34 and 41), so that the parameters are theta alone. Rows may have weights W: their residual
variance is sigma squared over the weight. Z'WZ never changes and is formed once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from imi_bench.arrays import Floats
from imi_bench.errors import ModelError
from imi_bench.glmm.problem import Point, Problem
from imi_bench.glmm.schur import Factorisation


@dataclass(frozen=True)
class Profiled:
    """Everything that follows from theta.

    Attributes
    ----------
    fixed : (p,) float64
        Fixed effects in the basis.
    modes : (random effects,) float64
        Conditional modes u (unscaled by sigma).
    residual : (n,) float64
        Weight times response minus fitted values.
    penalised : float
        Penalised residual sum of squares.
    sigma : float
        Residual standard deviation.
    fixed_covariance : (p, p) float64
        Covariance of `fixed`, in units of sigma squared.
    fixed_modes : (random effects, p) float64
        A^-1 Lambda' Z' W Q for the basis Q.
    factors, factorisation : list of ndarray of float64 and Factorisation
        Lambda of each factor, and A.
    """

    fixed: Floats
    modes: Floats
    residual: Floats
    penalised: float
    sigma: float
    fixed_covariance: Floats
    fixed_modes: Floats
    factors: list[Floats]
    factorisation: Factorisation


class GaussianObjective:
    """Minus twice the profiled (restricted) log-likelihood as a function of theta.

    Parameters
    ----------
    problem : Problem
    reml : bool
        Restricted likelihood instead of the likelihood.
    log_basis_scale : float
        Log |det R| of the change from the design to the basis; the restricted
        likelihood is defined on the design.
    """

    def __init__(self, problem: Problem, *, reml: bool, log_basis_scale: float = 0.0) -> None:
        self.problem, self.reml, self.log_basis_scale = problem, reml, log_basis_scale
        count, columns = problem.basis.shape
        self.degrees = count - columns if reml else count
        self.weight = problem.trials
        self.gram = problem.random.gram(self.weight)
        self.log_weights = float(np.log(self.weight).sum())
        self._last: tuple[Floats, Profiled] | None = None

    def profile(self, theta: Floats) -> Profiled:
        """Solve for everything else at `theta`."""
        if self._last is not None and np.array_equal(self._last[0], theta):
            return self._last[1]
        problem = self.problem
        factors = problem.factors(theta)
        factorisation = Factorisation(problem.random.pattern, self.gram, factors)
        response = problem.response - problem.offset
        columns = np.column_stack([problem.basis, response])
        weighted = columns * self.weight[:, None]
        collected = np.stack([problem.collect(c, factors) for c in weighted.T], axis=1)
        solved = factorisation.solve(collected)
        cross = columns.T @ weighted - collected.T @ solved
        root = linalg.cho_factor(cross[:-1, :-1])
        fixed = linalg.cho_solve(root, cross[:-1, -1])
        modes = solved[:, -1] - solved[:, :-1] @ fixed
        residual = response - problem.basis @ fixed - problem.spread(modes, factors)
        penalised = float(residual @ (self.weight * residual) + modes @ modes)
        result = Profiled(
            fixed=fixed,
            modes=modes,
            residual=self.weight * residual,
            penalised=penalised,
            sigma=float(np.sqrt(penalised / self.degrees)),
            fixed_covariance=linalg.cho_solve(root, np.eye(len(fixed))),
            fixed_modes=solved[:, :-1],
            factors=factors,
            factorisation=factorisation,
        )
        self._last = (theta.copy(), result)
        return result

    def evaluate(self, parameters: Floats, modes: Floats) -> Point:
        """Return the criterion and its gradient at theta; `modes` is not needed."""
        try:
            state = self.profile(parameters)
        except (ModelError, linalg.LinAlgError):
            return Point(parameters, np.inf, np.full_like(parameters, np.nan), modes)
        value = state.factorisation.log_determinant - self.log_weights
        value += self.degrees * (1.0 + np.log(2.0 * np.pi * state.penalised / self.degrees))
        if self.reml:
            value -= np.linalg.slogdet(state.fixed_covariance)[1]
            value += 2.0 * self.log_basis_scale
        return Point(parameters, float(value), self._gradient(state), state.modes)

    def _gradient(self, state: Profiled) -> Floats:
        problem = self.problem
        inverse = state.factorisation.inverse_blocks
        matrices = problem.trace_gradient(state.factors, self.gram, inverse)
        scale = 2.0 * self.degrees / state.penalised
        scores = problem.random.collect(state.residual)
        for matrix, score, mode in zip(
            matrices, scores, problem.random.split(state.modes), strict=True
        ):
            matrix -= scale * score.T @ mode
        if self.reml:
            weighted = state.fixed_modes @ state.fixed_covariance
            for column in range(weighted.shape[1]):
                white = problem.basis[:, column] - problem.spread(
                    state.fixed_modes[:, column], state.factors
                )
                for matrix, score, mode in zip(
                    matrices,
                    problem.random.collect(self.weight * white),
                    problem.random.split(np.ascontiguousarray(weighted[:, column])),
                    strict=True,
                ):
                    matrix -= 2.0 * score.T @ mode
        return problem.gather_theta(matrices)

    def factorisation(self, point: Point) -> Factorisation:
        """Return the factorisation of A at a point."""
        return self.profile(point.parameters).factorisation

    def curvature(self, point: Point) -> tuple[Floats, Floats]:
        """Return the average information in theta and zero slopes of the modes."""
        problem, state = self.problem, self.profile(point.parameters)
        size = problem.theta_size
        joint, _ = problem.information(
            np.vstack([problem.theta_columns(state.modes).T, problem.basis.T]).T,
            weight=self.weight,
            factors=state.factors,
            factorisation=state.factorisation,
        )
        crossed = joint[:size, size:]
        information = joint[:size, :size] - crossed @ state.fixed_covariance @ crossed.T
        hessian = 4.0 * self.degrees / state.penalised * information
        return (
            hessian + problem.boundary_curvature(point),
            np.zeros((len(point.modes), len(point.parameters))),
        )
