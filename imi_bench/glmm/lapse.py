"""A lapse rate in the link: P = lapse / 2 + (1 - lapse) F(eta).

With probability `lapse` the answer has nothing to do with what was shown and is right half of the
time (Wichmann & Hill 2001, Percept. Psychophys. 63, 1293-1313, with guesses spread evenly over
two alternatives). A model without it takes such answers for weak evidence, which draws every
coefficient towards zero.

The likelihood is not concave in eta, so the conditional modes are climbed to by the expected
information wherever the observed one is not positive definite. The Laplace determinant holds the
expected information, as for any link that is not canonical.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from imi_bench.arrays import Floats
from imi_bench.errors import InputError
from imi_bench.glmm.families import Likelihood, RowTerms
from imi_bench.glmm.problem import Problem
from imi_bench.glmm.shape import ShapedLink
from imi_bench.stats.links import Link, link_named

LARGEST_LAPSE = 0.5
SMALLEST_LAPSE = 1e-5
_START = 0.02


def checked_lapse(lapse: float) -> float:
    """Return a lapse rate that can be.

    Raises
    ------
    InputError
        If it is not in [0, 0.5).
    """
    if not 0.0 <= lapse < LARGEST_LAPSE:
        raise InputError(
            "no lapse rate",
            found=lapse,
            wanted="0 <= lapse < 0.5, the share of answers given blindly",
            do="twice the error rate on catch trials is one",
        )
    return float(lapse)


def lapsing(link: Likelihood, lapse: float) -> Likelihood:
    """Return a link with a lapse rate; the link itself where that is zero.

    Parameters
    ----------
    link : Likelihood
        ``logit`` or ``probit``.
    lapse : float
        Share of answers given blindly, in [0, 0.5).

    Examples
    --------
    >>> from imi_bench.glmm.families import binomial_link
    >>> lapsing(binomial_link("logit"), 0.02).probability(np.array([0.0, 50.0])).tolist()
    [0.5, 0.99]
    """
    return _Lapsing(link, checked_lapse(lapse)).link() if lapse else link


@dataclass(frozen=True)
class _Lapsing:
    """The functions of a link at one lapse rate."""

    plain: Likelihood
    lapse: float

    @property
    def sigmoid(self) -> Link:
        return link_named(self.plain.name)

    def link(self) -> ShapedLink:
        return ShapedLink(
            name=self.plain.name,
            canonical=False,
            probability=self.probability,
            log_likelihood=self.log_likelihood,
            terms=self.terms,
            quantile=self.quantile,
            shape_slope=self.shape_slope,
            shape_information=self.shape_information,
        )

    def probability(self, eta: Floats) -> Floats:
        return np.asarray(0.5 * self.lapse + (1.0 - self.lapse) * self.plain.probability(eta))

    def quantile(self, probability: Floats) -> Floats:
        inner = (np.asarray(probability) - 0.5 * self.lapse) / (1.0 - self.lapse)
        return self.plain.quantile(np.clip(inner, 1e-6, 1.0 - 1e-6))

    def log_likelihood(self, successes: Floats, trials: Floats, eta: Floats) -> Floats:
        up, down = self.probability(eta), self.probability(-eta)
        if (trials == 1.0).all():
            return np.asarray(np.log(np.where(successes == 1.0, up, down)))
        return np.asarray(successes * np.log(up) + (trials - successes) * np.log(down))

    def _parts(self, eta: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """Return P, 1 - P, dP/deta, (d2P/deta2) / (dP/deta), dP/dlapse."""
        inner, first, bend, _ = self.sigmoid.derivatives(eta)
        kept = 1.0 - self.lapse
        up = 0.5 * self.lapse + kept * inner
        other = 1.0 - inner if self.lapse else self.plain.probability(-eta)
        return up, 0.5 * self.lapse + kept * other, kept * first, bend, 0.5 - inner

    def terms(self, successes: Floats, trials: Floats, eta: Floats) -> RowTerms:
        up, down, first, bend, _ = self._parts(eta)
        hits, misses = successes / up, (trials - successes) / down
        residual = hits - misses
        spread = first / (up * down)
        weight = trials * first * spread
        return RowTerms(
            score=first * residual,
            weight=weight,
            observed=first * (first * (hits / up + misses / down) - bend * residual),
            slope=weight * (2.0 * bend - spread * (down - up)),
        )

    def shape_slope(
        self,
        successes: Floats,
        trials: Floats,
        eta: Floats,
        on_value: Floats,
        on_score: Floats,
        on_weight: Floats,
    ) -> Floats:
        """Return the slope in the lapse rate itself."""
        up, down, first, _, lifted = self._parts(eta)
        hits, misses = successes / up, (trials - successes) / down
        residual, both = hits - misses, up * down
        weight = trials * first * first / both
        kept = 1.0 - self.lapse
        value = lifted * residual
        score = -first * (residual / kept + lifted * (hits / up + misses / down))
        moved = -weight * (2.0 / kept + lifted * (down - up) / both)
        return np.array([on_value @ value + on_score @ score + on_weight @ moved])

    def shape_information(
        self, successes: Floats, trials: Floats, eta: Floats
    ) -> tuple[Floats, Floats]:
        """Return the expected information with, and within, the lapse rate itself."""
        up, down, first, _, lifted = self._parts(eta)
        share = trials * lifted / (up * down)
        return (share * first)[:, None], np.array([[share @ lifted]])


@dataclass(frozen=True)
class LapseShape:
    """A lapse rate to be estimated: lapse = phi^2 / (2 (1 + phi^2)), in [0, 0.5).

    Near zero the deviance depends on phi through its square, as it does on the standard deviation
    of a random effect, so that a rate of zero is reached and not only approached.

    Attributes
    ----------
    plain : Likelihood
        The link without lapses.
    """

    plain: Likelihood

    @property
    def names(self) -> tuple[str, ...]:
        """The one number reported."""
        return ("lapse",)

    @property
    def size(self) -> int:
        """One parameter."""
        return 1

    def reported(self, internal: Floats) -> tuple[Floats, Floats]:
        """Return the lapse rate and its slope in phi."""
        square = float(internal[0] ** 2)
        slope = LARGEST_LAPSE * 2.0 * float(internal[0]) / (1.0 + square) ** 2
        return np.array([LARGEST_LAPSE * square / (1.0 + square)]), np.array([[slope]])

    def internal(self, lapse: float) -> Floats:
        """Return phi >= 0 of a lapse rate."""
        return np.array([np.sqrt(lapse / (LARGEST_LAPSE - lapse))])

    def link(self, internal: Floats) -> ShapedLink:
        """Return the link at phi; its slopes are in phi."""
        (lapse,), ((slope,),) = self.reported(internal)
        at = _Lapsing(self.plain, float(lapse))

        def shape_slope(*rows: Floats) -> Floats:
            return np.asarray(slope * at.shape_slope(*rows))

        def shape_information(*rows: Floats) -> tuple[Floats, Floats]:
            cross, within = at.shape_information(*rows)
            return slope * cross, slope**2 * within

        return replace(at.link(), shape_slope=shape_slope, shape_information=shape_information)

    def first_look(self, problem: Problem) -> tuple[Problem, Likelihood]:
        """Return the same problem with two lapses in a hundred."""
        return problem, lapsing(self.plain, _START)

    def start(self, problem: Problem, eta: Floats) -> Floats:
        """Begin at two lapses in a hundred."""
        return self.internal(_START)

    def boundary_curvature(self, internal: Floats, gradient: Floats) -> Floats:
        """Return the curvature of a deviance that is linear in the lapse rate near zero."""
        pull = np.maximum(gradient * np.sign(internal), 0.0)
        return np.asarray(pull / np.maximum(np.abs(internal), 1e-12))
