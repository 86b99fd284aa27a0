"""Polynomials and splines: what is learnt from the first rows, and the columns for any rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import interpolate, linalg

from imi_bench.arrays import Floats
from imi_bench.errors import ModelError
from imi_bench.text import plural


@dataclass(frozen=True, eq=False)
class Scaling:
    """Subtract a centre, divide by a scale: R's ``scale``."""

    centre: float
    spread: float

    @classmethod
    def learn(cls, x: Floats, *, center: bool = True, scale: bool = True) -> Scaling:
        """Take mean and standard deviation (root mean square where nothing is subtracted)."""
        middle = float(np.nanmean(x)) if center else 0.0
        count = int(np.isfinite(x).sum())
        spread = float(np.sqrt(np.nansum((x - middle) ** 2) / max(count - 1, 1))) if scale else 1.0
        return cls(middle, spread)

    def columns(self, x: Floats) -> Floats:
        """Return float64 (n,)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((x - self.centre) / self.spread)


@dataclass(frozen=True, eq=False)
class Polynomial:
    """Orthogonal polynomials by their three-term recurrence, as R's ``poly`` stores them.

    Kennedy & Gentle (1980), Statistical Computing, pp. 343-344. `norms` is empty for raw powers.
    """

    degree: int
    centres: Floats
    norms: Floats

    @classmethod
    def learn(cls, x: Floats, *, degree: int, raw: bool) -> Polynomial:
        """Learn the recurrence on the rows that are there."""
        seen = x[~np.isnan(x)]
        if degree >= len(np.unique(seen)):
            raise ModelError(
                "a polynomial needs more distinct values than its degree",
                found=f"degree {degree}, {plural(len(np.unique(seen)), 'distinct value')}",
            )
        if raw:
            return cls(degree, np.empty(0), np.empty(0))
        before, now = np.zeros_like(seen), np.ones_like(seen)
        centres, norms = [], [1.0, float(len(seen))]
        for _ in range(degree):
            centres.append(float(now @ (seen * now)) / norms[-1])
            last = norms[-2] if len(centres) > 1 else 1.0
            before, now = now, (seen - centres[-1]) * now - norms[-1] / last * before
            norms.append(float(now @ now))
        return cls(degree, np.array(centres), np.array(norms))

    def columns(self, x: Floats) -> Floats:
        """Return float64 (n, degree)."""
        if not len(self.norms):
            return x[:, None] ** np.arange(1, self.degree + 1)
        before, now = np.zeros_like(x), np.ones_like(x)
        columns = []
        for k, centre in enumerate(self.centres):
            last = self.norms[k] if k else 1.0
            before, now = now, (x - centre) * now - self.norms[k + 1] / last * before
            columns.append(now / np.sqrt(self.norms[k + 2]))
        return np.stack(columns, axis=1)


def quantile_knots(x: Floats, count: int) -> Floats:
    """Return `count` inner knots at equally spaced quantiles of the rows inside the boundary."""
    shares = np.linspace(0.0, 1.0, count + 2)[1:-1]
    return np.asarray(np.quantile(x[~np.isnan(x)], shares))


@dataclass(frozen=True, eq=False)
class BSpline:
    """B-splines, as R's ``bs``: beyond the boundary the outermost polynomials go on."""

    knots: Floats
    degree: int
    intercept: bool

    @classmethod
    def make(
        cls, inner: Floats, boundary: tuple[float, float], *, degree: int, intercept: bool
    ) -> BSpline:
        """Put the knots together, the boundary repeated."""
        low, high = ([end] * (degree + 1) for end in boundary)
        return cls(np.concatenate([low, np.sort(inner), high]), degree, intercept)

    def columns(self, x: Floats) -> Floats:
        """Return float64 (n, k)."""
        count = len(self.knots) - self.degree - 1
        basis = interpolate.BSpline(self.knots, np.eye(count), self.degree, extrapolate=True)(x)
        return np.asarray(basis if self.intercept else basis[:, 1:])


@dataclass(frozen=True, eq=False)
class NaturalSpline:
    """Natural cubic splines, as R's ``ns``: second derivative zero at the boundary, then lines."""

    knots: Floats
    boundary: tuple[float, float]
    intercept: bool

    @classmethod
    def make(
        cls, inner: Floats, boundary: tuple[float, float], *, intercept: bool
    ) -> NaturalSpline:
        """Put the knots together, the boundary repeated."""
        low, high = ([end] * 4 for end in boundary)
        return cls(np.concatenate([low, np.sort(inner), high]), boundary, intercept)

    def columns(self, x: Floats) -> Floats:
        """Return float64 (n, k), in the coordinates that R's QR decomposition gives."""
        spline = interpolate.BSpline(self.knots, np.eye(len(self.knots) - 4), 3)
        low, high = self.boundary
        inside = np.clip(x, low, high)
        # The last knot is inside the last piece; on it scipy takes the limit from the left.
        basis = spline(inside) + (x - inside)[:, None] * spline.derivative()(inside)
        bend = spline.derivative(2)(np.array(self.boundary))
        if not self.intercept:
            basis, bend = basis[:, 1:], bend[:, 1:]
        rotation = linalg.qr(bend.T)[0]
        return np.asarray((basis @ rotation)[:, 2:])
