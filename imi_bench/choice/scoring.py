"""Fisher scoring inside a box: damped steps, bounds handled as an active set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Maximum", "maximise"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Maximum:
    """Where the climb ended.

    Attributes
    ----------
    theta : (q,) float64
    value : float
        The function there.
    at_bound : (q,) bool
        Parameters held at an end of their range with the gradient pointing out of it.
    converged : bool
        The Newton decrement over the free parameters fell under the tolerance.
    steps : int
    """

    theta: Floats
    value: float
    at_bound: Bools
    converged: bool
    steps: int


def maximise(
    value: Callable[[Floats], float],
    step: Callable[[Floats], tuple[Floats, Floats]],
    *,
    start: Floats,
    low: Floats,
    high: Floats,
    tolerance: float = 1e-12,
    max_steps: int = 200,
) -> Maximum:
    """Climb from `start` to a maximum of `value` within ``low <= theta <= high``.

    Parameters
    ----------
    value : callable
        theta to a float.
    step : callable
        theta to (gradient (q,), positive semi-definite information (q, q)).
    start, low, high : (q,) float64
    tolerance : float
        On ``g' I^-1 g / 2``, the rise in `value` a full step still promises.
    max_steps : int

    Notes
    -----
    The information is damped by a multiple of its diagonal (Levenberg and Marquardt): the multiple
    grows tenfold when a step does not rise, and shrinks tenfold when it does.
    """
    theta, best = start.copy(), value(start)
    damping = 1e-8
    for count in range(1, max_steps + 1):
        gradient, information = step(theta)
        held = ((theta <= low) & (gradient <= 0)) | ((theta >= high) & (gradient >= 0))
        free = ~held
        diagonal = np.maximum(np.diag(information)[free], 1e-12)
        while True:
            damped = information[np.ix_(free, free)] + np.diag(damping * diagonal + 1e-14)
            move = np.zeros_like(theta)
            move[free] = np.linalg.solve(damped, gradient[free]) if free.any() else 0.0
            if gradient @ move / 2 < tolerance:
                # The step is at hand, and one digit closer.
                return Maximum(np.clip(theta + move, low, high), best, held, True, count)
            trial = np.clip(theta + move, low, high)
            if (reached := value(trial)) > best:
                theta, best, damping = trial, reached, max(damping / 10, 1e-10)
                break
            if damping > 1e12:
                return Maximum(theta, best, held, False, count)
            damping *= 10
    return Maximum(theta, best, held, False, max_steps)
