"""One mixed model as the numerics see it, and the pieces every objective shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from imi_bench.arrays import Floats
from imi_bench.glmm.covariance import Template
from imi_bench.glmm.random_design import RandomDesign
from imi_bench.glmm.schur import Factorisation
from imi_bench.results import Brief


@dataclass(frozen=True, repr=False)
class Point(Brief):
    """An objective and its gradient at one parameter vector.

    Attributes
    ----------
    parameters : (k,) float64
    value : float
        The deviance, minus twice the log-likelihood.
    gradient : (k,) float64
    modes : (random effects,) float64
        The conditional modes u.
    """

    parameters: Floats
    value: float
    gradient: Floats
    modes: Floats

    @property
    def finite(self) -> bool:
        """Whether the objective is a number here."""
        return bool(np.isfinite(self.value) and np.isfinite(self.gradient).all())


@dataclass(frozen=True, repr=False)
class Problem(Brief):
    """Arrays of one model; parameters are theta, then the fixed effects in the basis.

    Attributes
    ----------
    response : (n,) float64
        Successes in a binomial model.
    trials : (n,) float64
        In a Gaussian model the weights of its rows.
    offset : (n,) float64
    basis : (n, p) float64
        The fixed-effects design with columns made orthogonal.
    random : RandomDesign
        Z, factor by factor.
    templates : tuple of Template
        Layout of theta, one for each factor.
    """

    response: Floats
    trials: Floats
    offset: Floats
    basis: Floats
    random: RandomDesign
    templates: tuple[Template, ...]

    @cached_property
    def theta_slices(self) -> tuple[slice, ...]:
        """Where each factor's elements stand in theta."""
        ends = np.cumsum([0, *(template.size for template in self.templates)])
        return tuple(slice(int(a), int(b)) for a, b in pairwise(ends))

    @property
    def theta_size(self) -> int:
        """Number of elements of theta."""
        return int(self.theta_slices[-1].stop)

    @property
    def fixed_slice(self) -> slice:
        """Where the fixed effects stand among the parameters; a link's own come after them."""
        return slice(self.theta_size, self.theta_size + self.basis.shape[1])

    @cached_property
    def theta_diagonal(self) -> NDArray[np.bool_]:
        """Which elements of theta stand on a diagonal."""
        return np.concatenate([template.diagonal for template in self.templates])

    @cached_property
    def theta_column(self) -> NDArray[np.intp]:
        """Number of the column of Lambda that each element of theta stands in."""
        starts = np.cumsum([0, *(template.width for template in self.templates)])
        columns = [
            start + template.positions[1]
            for start, template in zip(starts[:-1], self.templates, strict=True)
        ]
        return np.concatenate(columns).astype(np.intp)

    def in_small_column(self, theta: Floats, bound: float) -> NDArray[np.bool_]:
        """Which elements of theta stand in a column of Lambda that nowhere exceeds a bound.

        The sign of such a column does not matter, so that the deviance is flat there in all of
        its elements, not in the diagonal one alone.
        """
        largest = np.zeros(int(self.theta_column.max()) + 1)
        np.maximum.at(largest, self.theta_column, np.abs(theta))
        return np.asarray(largest[self.theta_column] <= bound)

    def boundary(self, theta: Floats) -> NDArray[np.bool_]:
        """Which elements of theta are on the boundary: zero diagonals, columns of zeros."""
        return (self.theta_diagonal & (theta == 0.0)) | self.in_small_column(theta, 0.0)

    def with_response(self, response: Floats) -> Problem:
        """Return the same problem for another response."""
        return replace(self, response=response)

    def factors(self, theta: Floats) -> list[Floats]:
        """Return Lambda of each grouping factor."""
        return [t.matrix(theta[s]) for t, s in zip(self.templates, self.theta_slices, strict=True)]

    def canonical(self, theta: Floats) -> Floats:
        """Return the equivalent theta with non-negative diagonals."""
        return np.concatenate(
            [t.canonical(theta[s]) for t, s in zip(self.templates, self.theta_slices, strict=True)]
        )

    def gather_theta(self, matrices: Sequence[Floats]) -> Floats:
        """Read one (width, width) matrix for each factor at the elements of theta."""
        return np.concatenate([t.vector(m) for t, m in zip(self.templates, matrices, strict=True)])

    def scale(self, vector: Floats, factors: Sequence[Floats]) -> list[Floats]:
        """Return Lambda u as (levels, width) arrays."""
        parts = self.random.split(vector)
        return [part @ f.T for part, f in zip(parts, factors, strict=True)]

    def spread(self, vector: Floats, factors: Sequence[Floats]) -> Floats:
        """Return Z Lambda u, shape (n,)."""
        return self.random.spread(self.scale(vector, factors))

    def collect(self, rows: Floats, factors: Sequence[Floats]) -> Floats:
        """Return Lambda' Z' v as a flat vector of random effects."""
        parts = self.random.collect(rows)
        return np.concatenate([(p @ f).ravel() for p, f in zip(parts, factors, strict=True)])

    def theta_columns(self, modes: Floats) -> Floats:
        """Return dη/dθ at fixed u, Z dLambda u, shape (n, theta size)."""
        random, columns = self.random, []
        for index, (template, part) in enumerate(
            zip(self.templates, random.split(modes), strict=True)
        ):
            for a, b in zip(*template.positions, strict=True):
                rows = part[:, b].take(random.pattern.codes[index])
                values = random.column(index, int(a))
                columns.append(rows if values is None else rows * values)
        return np.stack(columns, axis=0).T

    def theta_sources(self, scores: Sequence[Floats]) -> Floats:
        """Return dLambda' Z' r for Z' r given by factor, shape (random effects, theta size)."""
        columns = []
        for index, template in enumerate(self.templates):
            for a, b in zip(*template.positions, strict=True):
                parts = [np.zeros_like(score) for score in scores]
                parts[index][:, b] = scores[index][:, a]
                columns.append(np.concatenate([part.ravel() for part in parts]))
        return np.stack(columns, axis=1)

    def boundary_curvature(self, point: Point) -> Floats:
        """Return the curvature in theta of a deviance that is linear in a variance.

        Near zero the deviance depends on theta through theta squared, so a gradient that pushes
        a diagonal element to zero stands for a curvature of gradient / theta.
        """
        theta, slope = point.parameters[: self.theta_size], point.gradient[: self.theta_size]
        pull = np.where(self.theta_diagonal, slope * np.sign(theta), 0.0)
        return np.diag(np.maximum(pull, 0.0) / np.maximum(np.abs(theta), 1e-12))

    def trace_gradient(
        self, factors: Sequence[Floats], gram: Sequence[Floats], inverse: Sequence[Floats]
    ) -> list[Floats]:
        """Return d log|A| / dLambda at fixed weights, one (width, width) matrix per factor."""
        sums = [np.zeros_like(factor) for factor in factors]
        meetings = self.random.pattern.meetings
        for meeting, weights, block in zip(meetings, gram, inverse, strict=True):
            first, second = meeting.first, meeting.second
            moved = (
                np.einsum("cde,cab->dbea", weights, block, optimize=False)
                if (weights.shape[1] * weights.shape[2] > 1)
                else np.array((weights * block).sum()).reshape(1, 1, 1, 1)
            )
            sums[first] += 2.0 * np.einsum("dbea,eb->da", moved, factors[second])
            if first != second:
                sums[second] += 2.0 * np.einsum("dbea,da->eb", moved, factors[first])
        return sums

    def information(
        self,
        rows: Floats,
        *,
        weight: Floats,
        factors: Sequence[Floats],
        factorisation: Factorisation,
    ) -> tuple[Floats, Floats]:
        """Return F' V^-1 F and A^-1 Lambda' Z' W F, with V = W^-1 + Z Lambda Lambda' Z'.

        Parameters
        ----------
        rows : (n, k) float64
            The columns F, best stored column by column.
        weight : (n,) float64
            The diagonal of W.
        factors, factorisation : sequence of ndarray of float64 and Factorisation
            Lambda of each factor, and A.

        Returns
        -------
        information : float64 (k, k).
        solved : float64 (random effects, k).
        """
        weighted = weight * rows.T
        collected = np.zeros((self.random.pattern.size, len(weighted)))
        for index, column in enumerate(weighted):
            collected[:, index] = self.collect(column, factors)
        solved = factorisation.solve(collected)
        return weighted @ rows - collected.T @ solved, solved
