"""The course of a fit: descend, settle on the boundary, take the Hessian, polish."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imi_bench.arrays import Floats
from imi_bench.glmm.optimise import (
    Minimum,
    Objective,
    difference_columns,
    minimise,
    newton_decrement,
)
from imi_bench.glmm.problem import Point, Problem

SINGULAR = 1e-4
_TOLERANCE = 1e-6
_NEWTON_STEPS = 4
_ESCAPES = 3
_ROUNDING, _CLOSE = 1e-10, 1e-7


@dataclass(frozen=True)
class Search:
    """Descent, settling on the boundary, and the Hessian at the end.

    Attributes
    ----------
    objective, problem : Objective and Problem
        What is minimised.
    free : ndarray of bool
        Which parameters may move.
    wants_hessian : bool
        Compute the Hessian at the end.
    max_iterations : int
        Give up, unconverged, after this many steps.
    """

    objective: Objective
    problem: Problem
    free: NDArray[np.bool_]
    wants_hessian: bool
    max_iterations: int

    def run(self, point: Point) -> tuple[Minimum, Floats | None]:
        """Return the minimum and the Hessian there, or None where it was not wanted."""
        minimum = minimise(
            self.objective,
            point,
            free=self.free,
            tolerance=_TOLERANCE,
            max_iterations=self.max_iterations,
        )
        minimum = self._escape(self._settle(minimum))
        if not self.wants_hessian or not minimum.converged:
            return minimum, None
        return self._polish(minimum)

    @property
    def working_fixed_block(self) -> bool:
        """Whether the fixed-effects block of the Hessian is left to the working linear model.

        Where factorisations are heavy, only theta is differenced; the second derivative of
        log|A| in the fixed effects is left out. It moves standard errors by well under 1%
        in crossed designs with tens of answers at each level.
        """
        return self.problem.random.pattern.heavy

    def interior(self, point: Point) -> NDArray[np.bool_]:
        """Which free parameters are not on the boundary of zero variance."""
        size = self.problem.theta_size
        inner = self.free.copy()
        inner[:size] &= ~self.problem.boundary(point.parameters[:size])
        return inner

    def _settle(self, minimum: Minimum) -> Minimum:
        """Make diagonals non-negative and put on zero what is as good as zero."""
        problem, point = self.problem, minimum.point
        size = problem.theta_size
        theta = problem.canonical(point.parameters[:size])
        small = problem.theta_diagonal & (theta < SINGULAR)
        small = (small | problem.in_small_column(theta, SINGULAR)) & self.free[:size]
        snapped = np.where(small, 0.0, theta)
        tries = 0
        for candidate in (snapped, theta):
            if np.array_equal(candidate, point.parameters[:size]):
                break
            parameters = np.concatenate([candidate, point.parameters[size:]])
            reached = self.objective.evaluate(parameters, _flip(problem, point, candidate))
            tries += 1
            if reached.finite and reached.value <= point.value + _TOLERANCE:
                point = reached
                break
        if point is minimum.point:
            return minimum
        return _moved(minimum, point, tries, self.objective.curvature(point))

    def _escape(self, minimum: Minimum) -> Minimum:
        """Leave a saddle on the boundary, where a rotation of columns shows a way down."""
        problem, size = self.problem, self.problem.theta_size
        wide = any(block > 1 for template in problem.templates for block in template.blocks)
        for _ in range(_ESCAPES if wide and self.free[:size].all() else 0):
            point = minimum.point
            if not (problem.theta_diagonal & (np.abs(point.parameters[:size]) < SINGULAR)).any():
                break
            moved = [
                template.concentrated(point.parameters[part], modes, SINGULAR)
                for template, part, modes in zip(
                    problem.templates,
                    problem.theta_slices,
                    problem.random.split(point.modes),
                    strict=True,
                )
            ]
            theta = np.concatenate([one for one, _ in moved])
            if np.allclose(np.abs(theta), np.abs(point.parameters[:size]), atol=SINGULAR):
                break
            start = self.objective.evaluate(
                np.concatenate([theta, point.parameters[size:]]),
                np.concatenate([modes.ravel() for _, modes in moved]),
            )
            if not start.finite:
                break
            again = self._settle(
                minimise(
                    self.objective,
                    start,
                    free=self.free,
                    tolerance=_TOLERANCE,
                    max_iterations=self.max_iterations,
                )
            )
            spent = replace(
                again,
                iterations=minimum.iterations + again.iterations,
                evaluations=minimum.evaluations + again.evaluations,
            )
            if again.point.value > point.value - _TOLERANCE:
                return replace(minimum, evaluations=spent.evaluations)
            minimum = spent
        return minimum

    def _polish(self, minimum: Minimum) -> tuple[Minimum, Floats]:
        """Take the Hessian, and a Newton step with it where that helps."""
        inner = self.interior(minimum.point)
        scale = np.zeros(len(inner))
        scale[inner] = 1.0 / np.sqrt(0.5 * np.maximum(np.diag(minimum.hessian)[inner], 1e-12))
        differenced = inner.copy()
        if self.working_fixed_block:
            differenced[self.problem.theta_size :] = False
        columns = difference_columns(
            self.objective, minimum.point, which=differenced, scale=scale, slopes=minimum.slopes
        )
        hessian = self.objective.curvature(minimum.point)[0]
        hessian[:, differenced] = columns
        hessian[differenced, :] = columns.T
        hessian[np.ix_(differenced, differenced)] = 0.5 * (
            columns[differenced] + columns[differenced].T
        )
        hessian[~inner] = hessian[:, ~inner] = np.nan
        point, tries = minimum.point, int(differenced.sum())
        within = hessian[np.ix_(inner, inner)]
        step, decrement = newton_decrement(within, point.gradient[inner])
        worthwhile = _TOLERANCE if self.problem.random.pattern.heavy else _ROUNDING
        for _ in range(_NEWTON_STEPS):
            if not worthwhile < decrement < 1.0:
                break
            move = np.zeros(len(inner))
            move[inner] = step
            reached = self.objective.evaluate(
                point.parameters + move, point.modes + minimum.slopes @ move
            )
            tries += 1
            if not (
                reached.finite and reached.value <= point.value + 1e-9 * (1 + abs(point.value))
            ):
                break
            step, left = newton_decrement(within, reached.gradient[inner])
            if left > decrement:
                break
            point, decrement = reached, left if left > _CLOSE else 0.0
        return _moved(minimum, point, tries), hessian


def _moved(
    minimum: Minimum, point: Point, tries: int, known: tuple[Floats, Floats] | None = None
) -> Minimum:
    hessian, slopes = known if known is not None else (minimum.hessian, minimum.slopes)
    return replace(
        minimum,
        point=point,
        hessian=hessian,
        slopes=slopes,
        evaluations=minimum.evaluations + tries,
    )


def _flip(problem: Problem, point: Point, theta: Floats) -> Floats:
    """Return the modes with the signs that go with non-negative diagonals."""
    before, after = problem.factors(point.parameters[: problem.theta_size]), problem.factors(theta)
    parts = [
        part * np.where(np.diag(old) * np.diag(new) < 0, -1.0, 1.0)
        for part, old, new in zip(problem.random.split(point.modes), before, after, strict=True)
    ]
    return np.concatenate([part.ravel() for part in parts])
