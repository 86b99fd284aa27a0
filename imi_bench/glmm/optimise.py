"""Minimise a smooth deviance with exact gradients and a good first guess of its curvature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from imi_bench.arrays import Floats
from imi_bench.glmm.problem import Point
from imi_bench.glmm.schur import Factorisation

_REMEMBERED = 12
_LARGEST_STEP = 30.0


class Objective(Protocol):
    """What the optimiser asks of a model."""

    def evaluate(self, parameters: Floats, modes: Floats) -> Point:
        """Return value and gradient, the search for the modes starting at `modes`."""

    def curvature(self, point: Point) -> tuple[Floats, Floats]:
        """Return an approximate Hessian and the slopes of the modes in the parameters."""

    def factorisation(self, point: Point) -> Factorisation:
        """Return the factorisation of the random-effects system at a point."""


@dataclass(frozen=True)
class Minimum:
    """Where the optimiser stopped.

    Attributes
    ----------
    point : Point
        The best point found.
    hessian : ndarray of float64
        The last approximate Hessian, float64 (k, k).
    slopes : ndarray of float64
        Slopes of the modes in the parameters near there, float64 (random effects, k).
    iterations, evaluations : int
        Steps taken, objectives evaluated.
    converged : bool
        Whether the expected improvement fell below the tolerance.
    reason : str
    """

    point: Point
    hessian: Floats
    slopes: Floats
    iterations: int
    evaluations: int
    converged: bool
    reason: str


def newton_decrement(hessian: Floats, gradient: Floats) -> tuple[Floats, float]:
    """Return the step -H^-1 g, with H made positive definite, and the decrement g' H^-1 g."""
    if not len(gradient):
        return np.zeros(0), 0.0
    scale = 1.0 / np.sqrt(np.maximum(np.abs(np.diag(hessian)), 1e-12))
    values, vectors = np.linalg.eigh(hessian * np.outer(scale, scale))
    values = np.maximum(np.abs(values), 1e-8 * max(float(np.abs(values).max()), 1e-12))
    step = -scale * (vectors @ ((vectors.T @ (scale * gradient)) / values))
    return step, float(-gradient @ step)


def _update(hessian: Floats, step: Floats, change: Floats) -> Floats:
    """One BFGS update with Powell's damping (Nocedal & Wright 2006, procedure 18.2)."""
    pushed = hessian @ step
    along, curved = float(step @ pushed), float(step @ change)
    if along <= 0.0:
        return hessian
    if curved < 0.2 * along:
        mix = 0.8 * along / (along - curved)
        change = mix * change + (1.0 - mix) * pushed
        curved = float(step @ change)
    return hessian - np.outer(pushed, pushed) / along + np.outer(change, change) / curved


def minimise(
    objective: Objective,
    start: Point,
    *,
    free: NDArray[np.bool_],
    tolerance: float,
    max_iterations: int,
) -> Minimum:
    """Quasi-Newton descent: a fresh approximate Hessian at every step, corrected by secants.

    Parameters
    ----------
    objective : Objective
        Deviance, gradient and approximate Hessian.
    start : Point
        An evaluated point with a finite value.
    free : ndarray of bool
        Which parameters may move.
    tolerance : float
        Stop when the expected improvement of the deviance falls below this.
    max_iterations : int
        Stop, unconverged, after this many steps.
    """
    point, evaluations, iteration = start, 1, 0
    secants: list[tuple[Floats, Floats]] = []
    known, slopes = objective.curvature(point)
    while True:
        hessian = known[np.ix_(free, free)]
        for step, change in secants:
            hessian = _update(hessian, step, change)
        direction, decrement = newton_decrement(hessian, point.gradient[free])
        if decrement < tolerance:
            converged, reason = True, "the expected improvement is below the tolerance"
            break
        if iteration == max_iterations:
            converged, reason = False, f"{max_iterations} iterations were not enough"
            break
        length = min(1.0, _LARGEST_STEP / np.sqrt(decrement))
        reached, tries = _descend(objective, point, free, direction, length, decrement, slopes)
        evaluations += tries
        if reached is None:
            converged = decrement < 1e3 * tolerance
            reason = "no lower deviance along the descent direction"
            break
        iteration += 1
        moved = (reached.parameters - point.parameters)[free]
        secants = [*secants, (moved, (reached.gradient - point.gradient)[free])][-_REMEMBERED:]
        point = reached
        known, slopes = objective.curvature(point)
    full = known.copy()
    full[np.ix_(free, free)] = hessian
    return Minimum(point, full, slopes, iteration, evaluations, converged, reason)


def _descend(
    objective: Objective,
    point: Point,
    free: NDArray[np.bool_],
    direction: Floats,
    length: float,
    decrement: float,
    slopes: Floats,
) -> tuple[Point | None, int]:
    """Backtrack along `direction` to sufficient decrease; rounding counts as a tie."""
    noise = 1e-13 * abs(point.value)
    for tries in range(1, 16):
        move = np.zeros_like(point.parameters)
        move[free] = length * direction
        reached = objective.evaluate(point.parameters + move, point.modes + slopes @ move)
        if reached.finite:
            drop = reached.value - point.value
            if drop <= -1e-4 * length * decrement + noise:
                return reached, tries
            parabola = 0.5 * length * decrement / max(drop / length + decrement, 1e-300)
            length = float(np.clip(parabola, 0.1 * length, 0.5 * length))
        else:
            length *= 0.25
    return None, tries


def difference_columns(
    objective: Objective,
    point: Point,
    *,
    which: NDArray[np.bool_],
    scale: Floats,
    slopes: Floats,
) -> Floats:
    """Return some columns of the Hessian from forward differences of the exact gradient.

    Parameters
    ----------
    objective, point : Objective and Point
        Where to differentiate.
    which : ndarray of bool
        Which parameters to differentiate in.
    scale : (k,) float64
        The size of one standard error; the step is a thousandth of it.
    slopes : ndarray of float64
        Slopes of the modes, to start their search.

    Returns
    -------
    columns : float64 (k, number of parameters asked for).
    """
    columns = [np.empty((len(point.parameters), 0))]
    for index in np.flatnonzero(which):
        move = np.zeros_like(point.parameters)
        move[index] = 1e-3 * scale[index]
        moved = objective.evaluate(point.parameters + move, point.modes + slopes @ move)
        columns.append((moved.gradient - point.gradient)[:, None] / move[index])
    return np.concatenate(columns, axis=1)
