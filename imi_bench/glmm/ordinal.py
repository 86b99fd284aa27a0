"""Cumulative links for ordered answers: P(Y <= k) = F(alpha_k - eta).

The thresholds alpha are ordered; a positive effect shifts answers upwards, as in R's
``ordinal::clmm``. A row's derivatives are those of ``log(F(h) - F(l))`` with h and l the
thresholds above and below its answer less eta; the weight is the observed information, which is
positive since both links are log-concave.

What is optimised is a centre and the logarithms of increments, so that thresholds cannot cross.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from imi_bench.arguments import checked_fields
from imi_bench.arrays import Floats
from imi_bench.errors import ModelError, UnknownNameError
from imi_bench.glmm.families import Likelihood, LinkName, RowTerms, binomial_link
from imi_bench.glmm.problem import Problem
from imi_bench.glmm.shape import ShapedLink
from imi_bench.stats.links import Link, link_named
from imi_bench.text import plural

ThresholdName = Literal["flexible", "symmetric"]
_BEYOND = 1e3  # stands for infinity: every derivative of a link is zero there
_NEWTON_STEPS = 30


def category_probabilities(link: LinkName, thresholds: Floats, eta: Floats) -> Floats:
    """Return the probability of each ordered answer, float64 (..., categories).

    Parameters
    ----------
    link : LinkName
        ``logit`` or ``probit``.
    thresholds : (categories - 1,) float64
        Increasing.
    eta : ndarray of float64
        Linear predictor, any shape.

    Examples
    --------
    >>> category_probabilities("logit", np.array([0.0]), np.zeros(1)).tolist()
    [[0.5, 0.5]]
    """
    value = link_named(link).value
    gap = np.asarray(thresholds) - np.asarray(eta)[..., None]
    ends = np.full((*gap.shape[:-1], 1), _BEYOND)
    high, low = np.concatenate([gap, ends], -1), np.concatenate([-ends, gap], -1)
    flip = np.where(high + low > 0.0, -1.0, 1.0)
    return np.asarray(flip * (value(flip * high) - value(flip * low)))


@dataclass(frozen=True)
class _Row:
    """Densities at both thresholds over the probability between them, with two derivatives each.

    ``upper`` holds f(h)/p, f'(h)/p, f''(h)/p and ``lower`` the same at l.
    """

    upper: tuple[Floats, Floats, Floats]
    lower: tuple[Floats, Floats, Floats]

    @property
    def score(self) -> Floats:
        return np.asarray(self.lower[0] - self.upper[0])

    @property
    def observed(self) -> Floats:
        return np.asarray(self.score**2 - self.upper[1] + self.lower[1])

    @property
    def slope(self) -> Floats:
        """Return d(observed information) / d(eta)."""
        a, b, s = self.upper, self.lower, self.score
        return np.asarray(-2.0 * s * self.observed + a[2] - b[2] + s * (a[1] - b[1]))

    @property
    def by_upper(self) -> tuple[Floats, Floats, Floats]:
        """Return derivatives of log-likelihood, score and information in h at fixed eta."""
        (a, a1, a2), (b, b1, _), s = self.upper, self.lower, self.score
        moved = a * a - a1 - a * b
        return a, moved, 2.0 * s * moved - a2 + a1 * a - b1 * a

    @property
    def by_lower(self) -> tuple[Floats, Floats, Floats]:
        """Return derivatives of log-likelihood, score and information in l at fixed eta."""
        (a, a1, _), (b, b1, b2), s = self.upper, self.lower, self.score
        moved = b1 + b * b - a * b
        return -b, moved, 2.0 * s * moved - a1 * b + b2 + b1 * b


@dataclass(frozen=True)
class _Cumulative:
    """The functions of a cumulative link at one set of thresholds."""

    name: LinkName
    sigmoid: Link
    thresholds: Floats
    mixing: Floats

    @cached_property
    def bounds(self) -> Floats:
        """The thresholds with the two ends."""
        return np.concatenate([[-_BEYOND], self.thresholds, [_BEYOND]])

    def _gaps(self, response: Floats, eta: Floats) -> tuple[Floats, Floats, Floats]:
        """Return h, l and the probability between them, exact in both tails."""
        category = response.astype(np.intp)
        high, low = self.bounds[category + 1] - eta, self.bounds[category] - eta
        flip = np.where(high + low > 0.0, -1.0, 1.0)
        value = self.sigmoid.value
        return high, low, flip * (value(flip * high) - value(flip * low))

    def _densities(self, at: Floats, probability: Floats) -> tuple[Floats, Floats, Floats]:
        _, density, bend, turn = self.sigmoid.derivatives(at)
        first = density / probability
        return first, first * bend, first * (bend * bend + turn)

    def _row(self, response: Floats, eta: Floats) -> _Row:
        high, low, probability = self._gaps(response, eta)
        return _Row(self._densities(high, probability), self._densities(low, probability))

    def log_likelihood(self, response: Floats, trials: Floats, eta: Floats) -> Floats:
        return np.asarray(trials * np.log(self._gaps(response, eta)[2]))

    def terms(self, response: Floats, trials: Floats, eta: Floats) -> RowTerms:
        row = self._row(response, eta)
        weight = trials * row.observed
        return RowTerms(trials * row.score, weight, weight, trials * row.slope)

    def _by_threshold(self, response: Floats, upper: Floats, lower: Floats) -> Floats:
        """Sum what belongs to the threshold above, and below, each answer; float64 (K - 1,)."""
        category, count = response.astype(np.intp), len(self.thresholds) + 1
        above = np.bincount(category, weights=upper, minlength=count)[:-1]
        return np.asarray(above + np.bincount(category, weights=lower, minlength=count)[1:])

    def shape_slope(
        self,
        response: Floats,
        trials: Floats,
        eta: Floats,
        on_value: Floats,
        on_score: Floats,
        on_weight: Floats,
    ) -> Floats:
        row = self._row(response, eta)
        upper, lower = (
            trials * (on_value * value + on_score * score + on_weight * weight)
            for value, score, weight in (row.by_upper, row.by_lower)
        )
        return self.mixing.T @ self._by_threshold(response, upper, lower)

    def shape_information(
        self, response: Floats, trials: Floats, eta: Floats
    ) -> tuple[Floats, Floats]:
        row, category = self._row(response, eta), response.astype(np.intp)
        (a, a1, _), (b, b1, _) = row.upper, row.lower
        count, index = len(self.thresholds), np.arange(len(eta))
        cross = np.zeros((count + 2, len(eta)))
        cross[category + 1, index] = -trials * row.by_upper[1]
        cross[category, index] = -trials * row.by_lower[1]
        within = np.diag(self._by_threshold(response, trials * (a * a - a1), trials * (b * b + b1)))
        inner = np.bincount(category, weights=-trials * a * b, minlength=count + 1)[1:-1]
        within += np.diag(inner, 1) + np.diag(inner, -1)
        return cross[1:-1].T @ self.mixing, self.mixing.T @ within @ self.mixing

    def _no_quantile(self, _: Any) -> Any:
        raise NotImplementedError("ordered answers have thresholds, not a quantile")

    def link(self) -> ShapedLink:
        return ShapedLink(
            name=self.name,
            canonical=True,
            probability=lambda eta: 1.0 - self.sigmoid.value(self.thresholds[-1] - eta),
            log_likelihood=self.log_likelihood,
            terms=self.terms,
            quantile=self._no_quantile,
            shape_slope=self.shape_slope,
            shape_information=self.shape_information,
        )


@checked_fields
@dataclass(frozen=True)
class Thresholds:
    """The thresholds of a cumulative link as alpha = J (c, exp(gamma)).

    Attributes
    ----------
    name : LinkName
        ``logit`` or ``probit``.
    categories : tuple of str
        Labels of the ordered answers, lowest first; two or more.
    kind : ThresholdName
        ``flexible``, or ``symmetric`` about a centre.
    anchored : bool
        The centre is zero: the middle threshold of flexible ones, the centre of symmetric
        ones; for fixed effects with a constant among them.

    Raises
    ------
    UnknownNameError
        If there is no such kind.
    ModelError
        If the only threshold is anchored: two answers, and a constant among the fixed effects.

    Examples
    --------
    >>> Thresholds("logit", ("1", "2", "3"), "symmetric").design.tolist()
    [[1.0, -1.0], [1.0, 1.0]]
    """

    name: LinkName
    categories: tuple[str, ...]
    kind: ThresholdName = "flexible"
    anchored: bool = False

    def __post_init__(self) -> None:
        if self.kind not in ("flexible", "symmetric"):
            raise UnknownNameError.among(
                self.kind, ("flexible", "symmetric"), kind="kind of thresholds"
            )
        if self.size == 0:
            raise ModelError(
                "no thresholds to fit",
                found=f"{plural(len(self.categories), 'ordered answer')}: "
                f"{', '.join(self.categories)}",
                wanted="3 or more",
                do="two answers are those of the binomial family",
            )

    @cached_property
    def design(self) -> Floats:
        """J, float64 (thresholds, parameters)."""
        count = len(self.categories) - 1
        if self.kind == "flexible":
            middle, each = (count - 1) // 2, np.arange(count)
            above = [(each >= k).astype(float) for k in range(middle + 1, count)]
            below = [-(each <= k).astype(float) for k in range(middle)]
            return np.column_stack([np.ones(count), *below, *above])[:, int(self.anchored) :]
        place = np.arange(count) - (count - 1) / 2.0
        steps = count // 2
        reach = np.abs(place) + (0.5 if count % 2 == 0 else 0.0)
        columns = [np.sign(place) * (reach >= step) for step in range(1, steps + 1)]
        if count % 2 == 0 and steps:
            columns[0] = np.sign(place)
        return np.column_stack([np.ones(count), *columns])[:, int(self.anchored) :]

    @property
    def names(self) -> tuple[str, ...]:
        """R's names, such as ``1|2``."""
        pairs = zip(self.categories[:-1], self.categories[1:], strict=True)
        return tuple(f"{low}|{high}" for low, high in pairs)

    @property
    def size(self) -> int:
        """Number of internal parameters."""
        return self.design.shape[1]

    def reported(self, internal: Floats) -> tuple[Floats, Floats]:
        """Return the thresholds and their derivatives in the internal parameters."""
        centre = 0 if self.anchored else 1
        natural = np.concatenate([internal[:centre], np.exp(internal[centre:])])
        scale = np.concatenate([np.ones(centre), natural[centre:]])
        return self.design @ natural, self.design * scale

    def internal(self, thresholds: Floats) -> Floats:
        """Return the internal parameters nearest to some thresholds."""
        natural = np.linalg.lstsq(self.design, thresholds, rcond=None)[0]
        centre = 0 if self.anchored else 1
        return np.concatenate([natural[:centre], np.log(np.maximum(natural[centre:], 1e-3))])

    def link(self, internal: Floats) -> ShapedLink:
        """Return the link at internal parameters."""
        thresholds, mixing = self.reported(internal)
        return _Cumulative(self.name, link_named(self.name), thresholds, mixing).link()

    def first_look(self, problem: Problem) -> tuple[Problem, Likelihood]:
        """Return the answers cut in two as evenly as they can be, or at the anchor."""
        counts = np.bincount(problem.response.astype(np.intp), minlength=len(self.categories))
        cut = int(np.abs(np.cumsum(counts)[:-1] - 0.5 * counts.sum()).argmin())
        if self.anchored:
            cut = (len(self.categories) - 2) // 2
        ones = np.ones((len(problem.response), 0 if self.anchored else 1))
        above = problem.with_response(problem.trials * (problem.response > cut))
        return replace(above, basis=np.hstack([ones, problem.basis])), binomial_link(self.name)

    def start(self, problem: Problem, eta: Floats) -> Floats:
        """Return thresholds that maximise the likelihood at a given linear predictor."""
        response = problem.response.astype(np.intp)
        counts = np.bincount(response, weights=problem.trials, minlength=len(self.categories))
        share = (np.cumsum(counts)[:-1] + 0.5) / (counts.sum() + 1.0)
        internal = self.internal(link_named(self.name).inverse(share) + float(eta.mean()))
        rows = (problem.response, problem.trials, eta)
        height = float(self.link(internal).log_likelihood(*rows).sum())
        zero = np.zeros(len(eta))
        for _ in range(_NEWTON_STEPS):
            link = self.link(internal)
            slope = link.shape_slope(*rows, zero + 1.0, zero, zero)
            step = np.linalg.lstsq(link.shape_information(*rows)[1], slope, rcond=None)[0]
            if float(slope @ step) < 1e-6:
                break
            length = min(1.0, 2.0 / float(np.abs(step).max()))
            while length > 1e-4:
                with np.errstate(divide="ignore", invalid="ignore"):
                    rise = float(self.link(internal + length * step).log_likelihood(*rows).sum())
                if rise > height:
                    break
                length *= 0.5
            internal, height = internal + length * step, max(rise, height)
        return internal

    def boundary_curvature(self, internal: Floats, gradient: Floats) -> Floats:
        """Thresholds have no boundary."""
        return np.zeros(len(internal))
