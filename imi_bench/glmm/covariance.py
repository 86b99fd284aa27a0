"""Relative covariance factors: theta, and the lower-triangular blocks it fills.

As in lme4 (Bates et al. 2015, J. Stat. Softw. 67(1), eq. 4), the random effects of one level of
a grouping factor are b = Lambda u with u standard normal (times sigma in a Gaussian model).
Lambda is block diagonal over the terms of that factor, each block lower triangular, and theta
lists the lower triangles column by column.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from imi_bench.arrays import Floats
from imi_bench.results import Brief


@dataclass(frozen=True, repr=False)
class Template(Brief):
    """Where the elements of theta stand in one factor's Lambda.

    Attributes
    ----------
    blocks : tuple of int
        Sizes of the diagonal blocks, one for each random-effects term of the factor.

    Examples
    --------
    >>> import numpy as np
    >>> Template((2,)).matrix(np.array([1.0, 0.5, 2.0])).tolist()
    [[1.0, 0.0], [0.5, 2.0]]
    """

    blocks: tuple[int, ...]

    @property
    def width(self) -> int:
        """Number of random effects at each level."""
        return sum(self.blocks)

    @cached_property
    def positions(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Row and column in Lambda of every element of theta."""
        rows, columns, start = [], [], 0
        for size in self.blocks:
            column, row = np.triu_indices(size)
            rows.append(row + start)
            columns.append(column + start)
            start += size
        return np.concatenate(rows), np.concatenate(columns)

    @property
    def size(self) -> int:
        """Number of elements of theta."""
        return len(self.positions[0])

    @property
    def diagonal(self) -> NDArray[np.bool_]:
        """Which elements of theta stand on the diagonal of Lambda."""
        rows, columns = self.positions
        return np.asarray(rows == columns)

    def matrix(self, theta: Floats) -> Floats:
        """Return Lambda, shape (width, width)."""
        factor = np.zeros((self.width, self.width))
        factor[self.positions] = theta
        return factor

    def vector(self, factor: Floats) -> Floats:
        """Return the elements of theta in a (width, width) matrix."""
        return np.asarray(factor[self.positions])

    def concentrated(self, theta: Floats, modes: Floats, bound: float) -> tuple[Floats, Floats]:
        """Return an equivalent theta, and modes, with the later columns moved into empty places.

        Where a diagonal element is zero, the columns from there on can be rotated among each
        other without changing the covariance. With as much as possible in the first of them, the
        deviance has a slope in that diagonal element if the effect is correlated with others;
        with nothing there it has none, whatever the correlation.
        """
        factor, modes, start = self.matrix(theta), modes.copy(), 0
        for size in self.blocks:
            end = start + size
            for k in range(start, end - 1):
                if abs(factor[k, k]) <= bound:
                    factor[k, k] = 0.0
                    turn, upper = np.linalg.qr(factor[k + 1 : end, k:end].T, mode="complete")
                    factor[k + 1 : end, k:end] = upper.T
                    modes[:, k:end] = modes[:, k:end] @ turn
            start = end
        return self.vector(factor), modes

    def canonical(self, theta: Floats) -> Floats:
        """Return the equivalent theta with a non-negative diagonal."""
        factor = self.matrix(theta)
        return self.vector(factor * np.where(np.diag(factor) < 0, -1.0, 1.0))


def moment_update(template: Template, theta: Floats, modes: Floats, inverse: Floats) -> Floats:
    """One fixed-point step towards the maximum-likelihood theta.

    The matrix form of Schall (1991, Biometrika 78, 719): with U the mean of u u' and T the mean
    of I - A^-1 over levels, Lambda X Lambda' replaces Lambda Lambda', where X solves
    T^(1/2) X T^(1/2) = U.

    Parameters
    ----------
    template : Template
    theta : (size,) float64
    modes : (levels, width) float64
        Conditional modes u over sigma.
    inverse : (levels, width, width) float64
        Diagonal blocks of A^-1.

    Returns
    -------
    theta : float64 (size,), the next value.
    """
    factor = template.matrix(theta)
    second = modes.T @ modes / len(modes)
    values, vectors = np.linalg.eigh(np.eye(template.width) - inverse.mean(axis=0))
    root = vectors @ np.diag(np.maximum(values, 1e-6) ** -0.5) @ vectors.T
    target = factor @ root @ second @ root @ factor.T
    updated = np.zeros_like(factor)
    start = 0
    for size in template.blocks:
        block = slice(start, start + size)
        updated[block, block] = _lower_root(target[block, block])
        start += size
    return template.vector(updated)


def _lower_root(matrix: Floats) -> Floats:
    """Return a lower-triangular L with L L' near a covariance that may have lost its rank.

    Eigenvalues below 1e-10 of the trace (and of 1, where all are zero) are raised to that.
    """
    values, vectors = np.linalg.eigh(matrix)
    root = vectors * np.sqrt(np.maximum(values, 1e-10 * (1.0 + max(values.sum(), 0.0))))
    upper = np.linalg.qr(root.T, mode="r")
    return np.asarray((upper * np.sign(np.diag(upper))[:, None]).T)
