"""Fisher scoring inside a box: damped steps, bounds handled as an active set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from imi_bench.arrays import Bools, Floats

__all__ = ["Maximum", "maximise"]


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
        On ``g' I^-1 g / 2``, the rise in `value` a full step still promises; not below what a
        float64 of the size of `value` can resolve.
    max_steps : int

    Notes
    -----
    The information is damped by a multiple of its diagonal (Levenberg and Marquardt): the multiple
    grows tenfold (to 1e-3 at least) when a step does not rise, and shrinks tenfold when it does.
    """
    theta, best = start.copy(), value(start)
    resolution = 8 * np.finfo(np.float64).eps
    damping = 1e-8
    for count in range(1, max_steps + 1):
        gradient, information = step(theta)
        held = ((theta <= low) & (gradient <= 0)) | ((theta >= high) & (gradient >= 0))
        free = np.flatnonzero(~held)
        inside, slope = information[free][:, free], gradient[free]
        ridge = np.maximum(inside.diagonal(), 1e-12)
        while True:
            damped = inside.copy()
            damped.flat[:: len(free) + 1] += damping * ridge + 1e-14
            move = np.zeros_like(theta)
            move[free] = _within(damped, slope, low=(low - theta)[free], high=(high - theta)[free])
            if gradient @ move / 2 < max(tolerance, resolution * abs(best)):
                # The step is at hand, and one digit closer.
                return Maximum(np.clip(theta + move, low, high), best, held, True, count)
            trial = np.clip(theta + move, low, high)
            if (reached := value(trial)) > best:
                theta, best, damping = trial, reached, max(damping / 10, 1e-10)
                break
            if damping > 1e12:
                return Maximum(theta, best, held, False, count)
            damping = max(10 * damping, 1e-3)  # less would change nothing
    return Maximum(theta, best, held, False, max_steps)


def _within(damped: Floats, slope: Floats, *, low: Floats, high: Floats) -> Floats:
    """The Newton step; where it leaves the box, the best step of the others along the wall."""
    if not len(slope):
        return slope
    step = np.asarray(np.linalg.solve(damped, slope), dtype=np.float64)
    wall = np.clip(step, low, high)
    out = wall != step
    if out.any() and not out.all():
        rest = ~out
        pull = slope[rest] - damped[rest][:, out] @ wall[out]
        step[rest] = np.linalg.solve(damped[rest][:, rest], pull)
        step[out] = wall[out]
    return step
