"""Adaptive Gauss-Hermite quadrature for one scalar random effect, with exact gradients.

Each group's likelihood is integrated on nodes centred at the conditional mode and scaled by the
conditional standard deviation (Pinheiro & Bates 1995, J. Comput. Graph. Stat. 4, 12); one node
is the Laplace approximation. The gradient follows modes and scales as they move.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from imi_bench.arrays import Floats
from imi_bench.errors import ModelError
from imi_bench.glmm.laplace import Conditional, LaplaceObjective
from imi_bench.glmm.problem import Point
from imi_bench.glmm.schur import Factorisation
from imi_bench.glmm.shape import ShapedLaplace


class QuadratureObjective:
    """The deviance by adaptive quadrature as a function of (theta, fixed effects in the basis).

    Parameters
    ----------
    laplace : LaplaceObjective
        The same model's Laplace objective, which finds the modes.
    nodes : int
        Number of quadrature nodes in each group.

    Raises
    ------
    ModelError
        If the model has more than one scalar random effect.
    """

    def __init__(self, laplace: LaplaceObjective, *, nodes: int) -> None:
        pattern = laplace.problem.random.pattern
        if len(pattern.levels) > 1 or pattern.widths[0] > 1:
            raise ModelError(
                "adaptive quadrature needs a single scalar random effect",
                found=f"{len(pattern.levels)} grouping factors, "
                f"{sum(pattern.widths)} random effects",
                do="use the Laplace approximation, nagq=1",
            )
        self.laplace = laplace
        points, weights = special.roots_hermite(nodes)
        self.points = np.sqrt(2.0) * points
        self.log_weights = np.log(weights) + points**2 - 0.5 * np.log(np.pi)

    def evaluate(self, parameters: Floats, modes: Floats) -> Point:
        """Return the deviance and its gradient, the search for the modes starting at `modes`."""
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                state = self.laplace.conditional(parameters, modes)
        except ModelError:
            return Point(parameters, np.inf, np.full_like(parameters, np.nan), modes)
        value, gradient = self._integrate(state)
        return Point(parameters, value, gradient, state.modes)

    def _integrate(self, state: Conditional) -> tuple[float, Floats]:
        problem, link = self.laplace.problem, self.laplace.link
        codes, levels = problem.random.pattern.codes[0], problem.random.pattern.levels[0]
        column = problem.random.column(0, 0)
        z = np.ones(len(codes)) if column is None else column
        theta, modes = float(state.factors[0][0, 0]), state.modes

        def by_group(rows: Floats) -> Floats:
            return np.asarray(np.bincount(codes, weights=rows, minlength=levels), dtype=float)

        precision = 1.0 + theta**2 * by_group(state.terms.weight * z * z)
        spread = 1.0 / np.sqrt(precision)
        shifts = np.outer(self.points, spread)
        logs, scores = np.empty_like(shifts), []
        for node, shift in enumerate(shifts):
            eta = state.eta + theta * z * shift[codes]
            rows = link.log_likelihood(problem.response, problem.trials, eta)
            logs[node] = self.log_weights[node] + by_group(rows) - 0.5 * (modes + shift) ** 2
            scores.append(link.terms(problem.response, problem.trials, eta).score)
        total = special.logsumexp(logs, axis=0)
        posterior = np.exp(logs - total)
        shape_slope = self._shape_values(state, posterior, shifts, theta * z)
        mean_score = np.zeros(len(codes))
        theta_slope, mode_slope, scale_slope = 0.0, np.zeros(levels), np.ones(levels)
        for node, score in enumerate(scores):
            effect = modes + shifts[node]
            pulled = posterior[node] * by_group(z * score)
            mean_score += posterior[node][codes] * score
            theta_slope += float(pulled @ effect)
            along = theta * pulled - posterior[node] * effect
            mode_slope += along
            scale_slope += along * shifts[node]
        value = -2.0 * float((np.log(spread) + total).sum())
        chain = -0.5 * scale_slope / precision
        slope_rows = state.terms.slope * z * z
        moved = mode_slope + chain * theta**3 * by_group(slope_rows * z)
        observed = state.terms.observed * z
        information = by_group(observed * z)
        curvature = 1.0 + theta**2 * information
        rows = (
            mean_score
            + chain[codes] * theta**2 * slope_rows
            - theta * (moved / curvature)[codes] * observed
        )
        theta_slope += float(
            chain @ (2.0 * (precision - 1.0) / theta if theta else np.zeros(levels))
            + (chain * modes) @ (theta**2 * by_group(slope_rows * z))
            + moved @ ((by_group(z * state.terms.score) - theta * modes * information) / curvature)
        )
        shape_slope += self._shape_slope(
            state.eta,
            on_score=theta * z * (moved / curvature)[codes],
            on_weight=(chain * theta**2)[codes] * z * z,
        )
        slopes = np.concatenate([[theta_slope], problem.basis.T @ rows, shape_slope])
        return value, -2.0 * slopes

    def _shape_values(
        self, state: Conditional, posterior: Floats, shifts: Floats, along: Floats
    ) -> Floats:
        """Return the slope of the log-likelihood in the link's own parameters, over the nodes."""
        codes = self.laplace.problem.random.pattern.codes[0]
        total = self._shape_slope(state.eta)
        for weight, shift in zip(posterior, shifts, strict=True):
            eta = state.eta + along * shift[codes]
            total += self._shape_slope(eta, on_value=weight[codes])
        return total

    def _shape_slope(
        self,
        eta: Floats,
        *,
        on_value: Floats | None = None,
        on_score: Floats | None = None,
        on_weight: Floats | None = None,
    ) -> Floats:
        laplace, problem = self.laplace, self.laplace.problem
        if not isinstance(laplace, ShapedLaplace):
            return np.empty(0)
        nothing = np.zeros(len(eta))
        on = (nothing if one is None else one for one in (on_value, on_score, on_weight))
        return laplace.shaped.shape_slope(problem.response, problem.trials, eta, *on)

    def factorisation(self, point: Point) -> Factorisation:
        """Return the factorisation of A at a point."""
        return self.laplace.factorisation(point)

    def curvature(self, point: Point) -> tuple[Floats, Floats]:
        """Return the Laplace objective's approximate Hessian and mode slopes."""
        return self.laplace.curvature(point)
