"""Likelihoods with shape parameters of their own: a lapse rate, or the thresholds of categories.

Given its shape such a likelihood is a `Likelihood` like any other, so that modes, determinant and
gradient in (theta, fixed effects) come from `imi_bench.glmm.laplace`. What is new here are the
derivatives in the shape, at the modes: with ``d`` the deviance,
``dd/dphi = sum_i(-2 l_phi + q_i w_phi - 2 s_phi (Z Lambda v)_i)``, where l, s, w are a row's
log-likelihood, score and weight, q the diagonal of ``Z Lambda A^-1 Lambda' Z'`` and v carries the
movement of the modes (implicit function theorem).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from imi_bench.arrays import Floats
from imi_bench.glmm.families import Likelihood
from imi_bench.glmm.laplace import Conditional, LaplaceObjective
from imi_bench.glmm.problem import Point, Problem


@dataclass(frozen=True)
class ShapedLink(Likelihood):
    """A link at one value of its shape, with derivatives in the shape.

    Attributes
    ----------
    shape_slope : callable
        (response, trials, eta, on value, on score, on weight) to float64 (k,), the sum
        over rows of the derivatives of log-likelihood, score and weight in each shape parameter,
        times the given multipliers.
    shape_information : callable
        (response, trials, eta) to the information between the linear predictor
        and the shape, float64 (n, k), and within the shape, float64 (k, k).
    """

    shape_slope: Callable[[Floats, Floats, Floats, Floats, Floats, Floats], Floats]
    shape_information: Callable[[Floats, Floats, Floats], tuple[Floats, Floats]]


class Shape(Protocol):
    """What a family of likelihoods tells the objective and the result."""

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each number that is reported."""

    @property
    def size(self) -> int:
        """How many internal parameters there are."""

    def link(self, internal: Floats) -> ShapedLink:
        """Return the link at internal parameters, float64 (k,)."""

    def reported(self, internal: Floats) -> tuple[Floats, Floats]:
        """Return the reported numbers and their derivatives, float64 (names, k)."""

    def first_look(self, problem: Problem) -> tuple[Problem, Likelihood]:
        """Return a binomial problem whose moment steps give a start.

        It has the same random effects; its last fixed effects are those of the problem.
        """

    def start(self, problem: Problem, eta: Floats) -> Floats:
        """Return internal parameters that suit a linear predictor."""

    def boundary_curvature(self, internal: Floats, gradient: Floats) -> Floats:
        """Return float64 (k,): curvature that a gradient towards a boundary stands for."""


class ShapedLaplace(LaplaceObjective):
    """The Laplace deviance as a function of (theta, fixed effects in the basis, shape).

    Parameters
    ----------
    problem : Problem
    shape : Shape
    """

    def __init__(self, problem: Problem, shape: Shape) -> None:
        self.shape = shape
        self.shaped = shape.link(np.zeros(shape.size))
        super().__init__(problem, self.shaped)

    def conditional(self, parameters: Floats, modes: Floats) -> Conditional:
        """Find the conditional modes of u at a shape, starting from `modes`."""
        self.link = self.shaped = self.shape.link(parameters[-self.shape.size :])
        return super().conditional(parameters, modes)

    def _shape_gradient(self, state: Conditional, quadratic: Floats, pulled: Floats) -> Floats:
        problem = self.problem
        return self.shaped.shape_slope(
            problem.response,
            problem.trials,
            state.eta,
            np.full(len(state.eta), -2.0),
            pulled,
            quadratic,
        )

    def curvature(self, point: Point) -> tuple[Floats, Floats]:
        """Return an approximate Hessian and the slopes of the modes, the shape's included.

        The shape's block is its information with the random effects projected out.
        """
        problem, size = self.problem, self.problem.theta_size
        state = self.conditional(point.parameters, point.modes)
        hessian, slopes = super().curvature(point)
        shaped = (problem.response, problem.trials, state.eta)
        cross, information = self.shaped.shape_information(*shaped)
        collected = np.stack([problem.collect(c, state.factors) for c in cross.T], axis=1)
        solved = state.factorisation.solve(collected)
        inside = 2.0 * (information - collected.T @ solved)
        inside += np.diag(
            self.shape.boundary_curvature(
                point.parameters[-self.shape.size :], point.gradient[-self.shape.size :]
            )
        )
        mixed = np.zeros((len(hessian), self.shape.size))
        mixed[size:] = 2.0 * (problem.basis.T @ cross + slopes[:, size:].T @ collected)
        return (
            np.block([[hessian, mixed], [mixed.T, inside]]),
            np.concatenate([slopes, -solved], axis=1),
        )
