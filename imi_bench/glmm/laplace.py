"""The Laplace-approximated deviance of a binomial mixed model, and its exact gradient.

With eta = X beta + Z Lambda u and u standard normal, the deviance is
d(theta, beta) = -2 log p(y | u) + u'u + log|A| at the conditional mode of u,
A = I + Lambda' Z' W Z Lambda (Bates et al. 2015, J. Stat. Softw. 67(1), section 3, for the
algebra; W holds the expected information, as in lme4's glmer). The gradient follows the mode by
the implicit function theorem, so it needs A^-1 on the pattern of A and one more solve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imi_bench.arrays import Floats
from imi_bench.errors import ModelError
from imi_bench.glmm.families import (
    Likelihood,
    RowTerms,
    row_scores,
    row_terms,
    total_log_likelihood,
)
from imi_bench.glmm.problem import Point, Problem
from imi_bench.glmm.schur import Factorisation, sandwich

_MODE_TOLERANCE = 1e-18  # decrement that is left after the last step
_MODE_STEPS = 200
_STALE_RATE, _STALE_RATE_HEAVY = 0.4, 0.5


@dataclass(frozen=True)
class Conditional:
    """The random effects given the data and the parameters.

    Attributes
    ----------
    modes : (random effects,) float64
        The conditional mode of u.
    eta : (n,) float64
        The linear predictor there.
    terms : RowTerms
        Derivatives of the log-likelihood there.
    gram : list of ndarray of float64
        Z' W Z there.
    factors : list of ndarray of float64
        Lambda of each grouping factor.
    factorisation : Factorisation
        Of A there.
    observed : Factorisation
        Of the Hessian of the penalised likelihood there (observed information); the same
        object where the link is canonical.
    log_likelihood : float
        Log p(y | u) without the binomial coefficients.
    """

    modes: Floats
    eta: Floats
    terms: RowTerms
    gram: list[Floats]
    factors: list[Floats]
    factorisation: Factorisation
    observed: Factorisation
    log_likelihood: float


class LaplaceObjective:
    """The deviance as a function of (theta, fixed effects in the basis).

    Parameters
    ----------
    problem : Problem
    link : Likelihood
    """

    def __init__(self, problem: Problem, link: Likelihood) -> None:
        self.problem, self.link = problem, link
        self._last: Conditional | None = None
        self._last_parameters: Floats = np.empty(0)

    def conditional(self, parameters: Floats, modes: Floats) -> Conditional:
        """Find the conditional modes of u, starting from `modes`.

        Raises
        ------
        ModelError
            If the penalised likelihood has no finite mode to be found here.
        """
        problem = self.problem
        if self._last is not None and np.array_equal(parameters, self._last_parameters):
            return self._last
        factors = problem.factors(parameters[: problem.theta_size])
        base = problem.offset + problem.basis @ parameters[problem.fixed_slice]
        stale = None if self._last is None else self._last.observed
        modes, eta = self._climb(base, factors, modes, stale)
        terms = self._terms(eta)
        gram = problem.random.gram(terms.weight)
        factorisation = Factorisation(problem.random.pattern, gram, factors)
        observed = factorisation
        if not self.link.canonical:
            observed = self._observed(terms, factors)
        self._last = Conditional(
            modes=modes,
            eta=eta,
            terms=terms,
            gram=gram,
            factors=factors,
            factorisation=factorisation,
            observed=observed,
            log_likelihood=self._log_likelihood(eta),
        )
        self._last_parameters = parameters.copy()
        return self._last

    def _terms(self, eta: Floats) -> RowTerms:
        return row_terms(self.link, self.problem.response, self.problem.trials, eta)

    def _scores(self, eta: Floats) -> Floats:
        return row_scores(self.link, self.problem.response, self.problem.trials, eta)

    def _observed(self, terms: RowTerms, factors: Sequence[Floats]) -> Factorisation:
        gram = self.problem.random.gram(terms.observed)
        return Factorisation(self.problem.random.pattern, gram, factors)

    def _uphill(self, terms: RowTerms, factors: Sequence[Floats]) -> Factorisation:
        """Return a system whose steps ascend, also where the likelihood is not concave."""
        try:
            return self._observed(terms, factors)
        except ModelError:
            gram = self.problem.random.gram(terms.weight)
            return Factorisation(self.problem.random.pattern, gram, factors)

    def _log_likelihood(self, eta: Floats) -> float:
        return total_log_likelihood(self.link, self.problem.response, self.problem.trials, eta)

    def _climb(
        self,
        base: Floats,
        factors: Sequence[Floats],
        modes: Floats,
        factorisation: Factorisation | None,
    ) -> tuple[Floats, Floats]:
        """Newton steps to the mode.

        A factorisation is kept while it still converges fast, and is corrected by the secants of
        the steps taken with it (L-BFGS, Nocedal & Wright 2006, algorithm 7.4).
        """
        problem = self.problem
        eta = base + problem.spread(modes, factors)
        height = self._log_likelihood(eta) - 0.5 * modes @ modes
        rate = _STALE_RATE_HEAVY if problem.random.pattern.heavy else _STALE_RATE
        before = np.nan
        secants: list[tuple[Floats, Floats]] = []
        moved = last = np.zeros_like(modes)
        for _ in range(_MODE_STEPS):
            if factorisation is None:
                terms = self._terms(eta)
                score, factorisation = terms.score, self._uphill(terms, factors)
                secants, moved = [], np.zeros_like(modes)
            else:
                score = self._scores(eta)
            slope = problem.collect(score, factors) - modes
            if moved @ (last - slope) > 0.0:
                secants.append((moved, last - slope))
            step = _corrected(factorisation, secants, slope)
            decrement = float(slope @ step)
            along = problem.spread(step, factors)
            if not np.isfinite(decrement):
                break
            length = 1.0
            while decrement > 1e-8:
                trial = modes + length * step
                reached = self._log_likelihood(eta + length * along) - 0.5 * trial @ trial
                if reached >= height + 1e-4 * length * decrement:
                    height = reached
                    break
                length *= 0.5
                if length < 1e-6:
                    break
            moved, last = length * step, slope
            modes, eta = modes + moved, eta + length * along
            if decrement * min(1.0, decrement / before) < _MODE_TOLERANCE:
                return modes, eta
            if decrement > rate * before or length < 1.0:
                factorisation = None
            before = decrement
        raise ModelError(
            "the conditional modes were not found",
            found=f"a decrement of {decrement:.2g} after {_MODE_STEPS} steps",
            do="check for extreme covariates",
        )

    def evaluate(self, parameters: Floats, modes: Floats) -> Point:
        """Return the deviance and its gradient, the search for the modes starting at `modes`."""
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                state = self.conditional(parameters, modes)
        except ModelError:
            return Point(parameters, np.inf, np.full_like(parameters, np.nan), modes)
        value = (
            -2.0 * state.log_likelihood
            + float(state.modes @ state.modes)
            + state.factorisation.log_determinant
        )
        return Point(parameters, value, self._gradient(state), state.modes)

    def _gradient(self, state: Conditional) -> Floats:
        problem, terms, factors = self.problem, state.terms, state.factors
        inverse = state.factorisation.inverse_blocks
        scaled = sandwich(problem.random.pattern, factors, inverse)
        quadratic = problem.random.quadratic(scaled)
        shift = terms.slope * quadratic
        pull = state.observed.solve(problem.collect(shift, factors))
        pulled = problem.spread(pull, factors)
        rows = -2.0 * terms.score + shift - terms.observed * pulled
        matrices = problem.trace_gradient(factors, state.gram, inverse)
        for matrix, row_sums, scores, mode, moved in zip(
            matrices,
            problem.random.collect(rows),
            problem.random.collect(terms.score),
            problem.random.split(state.modes),
            problem.random.split(pull),
            strict=True,
        ):
            matrix += row_sums.T @ mode + scores.T @ moved
        return np.concatenate(
            [
                problem.gather_theta(matrices),
                problem.basis.T @ rows,
                self._shape_gradient(state, quadratic, pulled),
            ]
        )

    def _shape_gradient(self, state: Conditional, quadratic: Floats, pulled: Floats) -> Floats:
        """Return the gradient in the link's own parameters, of which a plain link has none."""
        return np.empty(0)

    def factorisation(self, point: Point) -> Factorisation:
        """Return the factorisation of A at a point."""
        return self.conditional(point.parameters, point.modes).factorisation

    def curvature(self, point: Point) -> tuple[Floats, Floats]:
        """Return an approximate Hessian and the slopes of the modes in the parameters.

        The fixed-effects block is the information of the working linear model; the theta block
        its average information (Gilmour et al. 1995, Biometrics 51, 1440) plus, where the
        gradient pushes a variance to zero, the curvature of a square there.

        Returns
        -------
        hessian : float64 (k, k), positive definite.
        slopes : float64 (random effects, k).
        """
        problem = self.problem
        state = self.conditional(point.parameters, point.modes)
        size, weight, factors = problem.theta_size, state.terms.weight, state.factors
        rows = np.vstack([problem.theta_columns(state.modes).T, problem.basis.T]).T
        information, solved = problem.information(
            rows, weight=weight, factors=factors, factorisation=state.factorisation
        )
        hessian = 2.0 * information
        hessian[:size, :size] = 2.0 * hessian[:size, :size] + problem.boundary_curvature(point)
        hessian[:size, size:] = hessian[size:, :size] = 0.0
        sources = problem.theta_sources(problem.random.collect(state.terms.score))
        slopes = -solved
        slopes[:, :size] += state.factorisation.solve(sources)
        return hessian, slopes


def _corrected(
    factorisation: Factorisation, secants: Sequence[tuple[Floats, Floats]], slope: Floats
) -> Floats:
    """Return the step to the mode by a factorisation and the secants seen since."""
    weights = []
    for moved, change in reversed(secants):
        weight = float(moved @ slope) / float(moved @ change)
        slope = slope - weight * change
        weights.append(weight)
    step = factorisation.solve(slope)
    for (moved, change), weight in zip(secants, reversed(weights), strict=True):
        step = step + (weight - float(change @ step) / float(moved @ change)) * moved
    return step
