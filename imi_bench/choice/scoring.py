"""Fisher scoring inside a box: damped steps, bounds handled as an active set.

Many problems climb at once, each with a damping and an end of its own, so that the folds of a
calibration share their passes over the rows.

scipy's bounded optimisers were tried in its place (40 problems of 200 rows, slopes from shallow to
a step, lapse free, analytic gradient). L-BFGS-B finds the same maxima and the same ends of ranges,
for many times the work, since it climbs one problem at a time and without the information; SLSQP
calls three of forty ends otherwise, TNC stops short in two. The ends decide what a fit is said to
be (separated, lapse at 0), so the climb stays here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from imi_bench.arrays import Bools, Floats, Ints


@dataclass(frozen=True, eq=False)
class Maximum:
    """Where a climb ended.

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


class Objective(Protocol):
    """K functions of q parameters each, asked for some of them at a time."""

    def value(self, theta: Floats, which: Ints) -> Floats:
        """Values (A,) of the problems `which` (A,) at theta (A, q)."""
        ...

    def step(self, theta: Floats, which: Ints) -> tuple[Floats, Floats]:
        """Gradients (A, q) and positive semi-definite informations (A, q, q) there."""
        ...


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
    tolerance, max_steps : float, int
        As of `maximise_each`.
    """
    return maximise_each(
        _Alone(value, step),
        start=start[None],
        low=low[None],
        high=high[None],
        tolerance=tolerance,
        max_steps=max_steps,
    )[0]


@dataclass(frozen=True, eq=False)
class _Alone:
    one_value: Callable[[Floats], float]
    one_step: Callable[[Floats], tuple[Floats, Floats]]

    def value(self, theta: Floats, which: Ints) -> Floats:
        return np.array([self.one_value(theta[0])])

    def step(self, theta: Floats, which: Ints) -> tuple[Floats, Floats]:
        gradient, information = self.one_step(theta[0])
        return gradient[None], information[None]


def maximise_each(
    objective: Objective,
    *,
    start: Floats,
    low: Floats,
    high: Floats,
    tolerance: float = 1e-12,
    max_steps: int = 200,
) -> list[Maximum]:
    """Climb each of K problems from its start to a maximum within its box.

    Parameters
    ----------
    objective : Objective
    start, low, high : (K, q) float64
    tolerance : float
        On ``g' I^-1 g / 2``, the rise in value a full step still promises; not below what a float64
        of the size of the value can resolve.
    max_steps : int

    Notes
    -----
    The information is damped by a multiple of its diagonal (Levenberg and Marquardt): the multiple
    grows tenfold (to 1e-3 at least) when a step does not rise, and shrinks tenfold when it does.
    """
    climb = _Climb(objective, start.copy(), low, high, tolerance)
    active = np.flatnonzero((low < high).any(axis=1))
    for count in range(1, max_steps + 1):
        if not active.size:
            break
        climb.steps[active] = count
        active = climb.ascend(active)
    return [
        Maximum(theta, float(best), held, bool(converged), int(steps))
        for theta, best, held, converged, steps in zip(
            climb.theta, climb.best, climb.held, climb.converged, climb.steps, strict=True
        )
    ]


@dataclass(eq=False)
class _Climb:
    """Where each problem stands."""

    objective: Objective
    theta: Floats
    low: Floats
    high: Floats
    tolerance: float
    best: Floats = field(init=False)
    damping: Floats = field(init=False)
    held: Bools = field(init=False)
    converged: Bools = field(init=False)
    steps: Ints = field(init=False)

    def __post_init__(self) -> None:
        count = len(self.theta)
        self.best = self.objective.value(self.theta, np.arange(count))
        self.damping = np.full(count, 1e-8)
        self.held = self.low >= self.high
        self.converged = np.asarray(self.held.all(axis=1))
        self.steps = np.ones(count, dtype=np.int64)

    def ascend(self, active: Ints) -> Ints:
        """One step of each active problem; those that go on."""
        gradient, information = self.objective.step(self.theta[active], active)
        theta, low, high = self.theta[active], self.low[active], self.high[active]
        self.held[active] = ((theta <= low) & (gradient <= 0)) | ((theta >= high) & (gradient >= 0))
        ended = np.zeros(len(active), dtype=bool)
        pending = np.arange(len(active))
        while pending.size:
            rows = active[pending]
            move = self._moves(rows, gradient[pending], information[pending])
            done = self._close(rows, gradient[pending], move)
            # The step is at hand, and one digit closer.
            near = rows[done]
            self.theta[near] = np.clip(
                self.theta[near] + move[done], self.low[near], self.high[near]
            )
            self.converged[near], ended[pending[done]] = True, True
            pending, rows, move = pending[~done], rows[~done], move[~done]
            if not rows.size:
                break
            rose = self._try(rows, move)
            stuck = ~rose & (self.damping[rows] > 1e12)
            ended[pending[stuck]] = True
            again = ~rose & ~stuck
            # a multiple under 1e-3 would change nothing
            self.damping[rows[again]] = np.maximum(10 * self.damping[rows[again]], 1e-3)
            pending = pending[again]
        return active[~ended]

    def _close(self, rows: Ints, gradient: Floats, move: Floats) -> Bools:
        resolution = 8 * np.finfo(np.float64).eps * np.abs(self.best[rows])
        rise = (gradient * move).sum(axis=1) / 2
        return np.asarray(rise < np.maximum(self.tolerance, resolution))

    def _try(self, rows: Ints, move: Floats) -> Bools:
        trial = np.clip(self.theta[rows] + move, self.low[rows], self.high[rows])
        reached = self.objective.value(trial, rows)
        rose = reached > self.best[rows]
        up = rows[rose]
        self.theta[up], self.best[up] = trial[rose], reached[rose]
        self.damping[up] = np.maximum(self.damping[up] / 10, 1e-10)
        return rose

    def _moves(self, rows: Ints, gradient: Floats, information: Floats) -> Floats:
        """The damped Newton steps; where one leaves the box, the others' best along the wall."""
        held, size = self.held[rows], gradient.shape[1]
        diagonal = np.arange(size)
        damped = np.where(held[:, :, None] | held[:, None, :], 0.0, information)
        ridge = np.maximum(information[:, diagonal, diagonal], 1e-12)
        added = self.damping[rows, None] * ridge + 1e-14
        damped[:, diagonal, diagonal] += np.where(held, 1.0, added)
        slope = np.where(held, 0.0, gradient)
        step = np.linalg.solve(damped, slope[..., None])[..., 0]
        wall = np.clip(step, self.low[rows] - self.theta[rows], self.high[rows] - self.theta[rows])
        out = (wall != step) & ~held
        rest = ~out & ~held
        for row in np.flatnonzero(out.any(axis=1) & rest.any(axis=1)):
            o, r = out[row], rest[row]
            pull = slope[row, r] - damped[row][r][:, o] @ wall[row, o]
            step[row, r] = np.linalg.solve(damped[row][r][:, r], pull)
            step[row, o] = wall[row, o]
        return np.asarray(step)
