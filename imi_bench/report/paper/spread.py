"""How units differ once the noise of their few answers is taken away.

True proportions of a network's units are logit-normal: ``logit p = level[network] + sd * z``, with
one `sd` for all networks of a mode, as in the mixed model with a unit's random intercept. Answers
are binomial given the unit. The posterior is summed on a grid (flat priors), so that few units,
units without a wrong answer and a deviation of zero need no care of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special, stats

from imi_bench.arrays import Floats
from imi_bench.errors import NotEnoughDataError

__all__ = ["UnitSpread", "unit_spread"]

_LEVELS = np.linspace(-5.0, 7.0, 61)
_DEVIATIONS = np.linspace(0.0, 3.0, 31)
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(31)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
_DRAWS = 1000


@dataclass(frozen=True, eq=False)
class UnitSpread:
    """The distribution of true proportions over units.

    Attributes
    ----------
    networks : tuple of str
    weight : (K,) float64
        Share of each network's units.
    level : (K,) float64
        Log-odds of each network's median unit.
    sd : float
        Of units within networks, log-odds.
    levels, sds : (K, D) and (D,) float64
        Draws from the posterior.
    """

    networks: tuple[str, ...]
    weight: Floats
    level: Floats
    sd: float
    levels: Floats
    sds: Floats

    def share(self, threshold: float, *, above: bool) -> tuple[float, float, float]:
        """Share of units whose true proportion lies above (or below) a threshold, and 95% ends.

        The interval is the posterior's on the logit scale, about the plug-in value.
        """
        value = float(self.weight @ _tail(threshold, self.level, self.sd, above=above))
        drawn = self.weight @ _tail(threshold, self.levels, self.sds, above=above)
        odds = special.logit(np.clip(drawn, 1e-9, 1 - 1e-9))
        low, middle, high = np.percentile(odds, [2.5, 50, 97.5])
        centre = special.logit(np.clip(value, 1e-9, 1 - 1e-9))
        return (
            value,
            float(special.expit(centre + low - middle)),
            float(special.expit(centre + high - middle)),
        )

    def counting_people(self, factor: Mapping[str, float]) -> UnitSpread:
        """The same, with each network's levels drawn wider by a factor.

        Parameters
        ----------
        factor : mapping of str to float
            By how much the standard error of a network's mean grows once people are a sample too;
            1 where it is not known.
        """
        wide = np.array([factor.get(name, 1.0) for name in self.networks])[:, None]
        middle = self.levels.mean(axis=1, keepdims=True)
        return replace(self, levels=middle + wide * (self.levels - middle))

    def density(self, p: Floats) -> Floats:
        """Density of true proportions."""
        z = (special.logit(p)[:, None] - self.level) / max(self.sd, 1e-3)
        return np.asarray(
            (stats.norm.pdf(z) / max(self.sd, 1e-3) / (p * (1 - p))[:, None]) @ self.weight
        )

    def variance(self) -> float:
        """Variance of true proportions over all units."""
        p = special.expit(self.level[:, None] + self.sd * _NODES)
        mean = float(self.weight @ (p @ _WEIGHTS))
        return float(self.weight @ (p**2 @ _WEIGHTS) - mean**2)

    def shrunken(self, hits: Floats, answers: Floats, network: Sequence[str]) -> Floats:
        """Expected true proportion of each unit given its answers."""
        place = np.array([self.networks.index(str(name)) for name in network])
        p = special.expit(self.level[place][:, None] + self.sd * _NODES)
        weight = np.exp(_likelihood(hits[:, None], answers[:, None], p)) * _WEIGHTS
        return np.asarray((weight * p).sum(axis=1) / weight.sum(axis=1))


def unit_spread(
    hits: Floats, answers: Floats, network: Sequence[str], *, rng: np.random.Generator
) -> UnitSpread:
    """Fit the distribution of units' true proportions.

    Parameters
    ----------
    hits, answers : (U,) float64
        Correct and all answers of each unit; halves are fine.
    network : (U,) str
    rng : numpy.random.Generator
        Of the posterior's draws.

    Raises
    ------
    NotEnoughDataError
        Fewer than two units, or none with two answers: one answer a unit cannot tell a unit's
        proportion from chance, whatever the units are.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> true = special.expit(1.5 + 0.9 * rng.standard_normal(800))
    >>> hits = rng.binomial(30, true).astype(float)
    >>> found = unit_spread(hits, np.full(800, 30.0), ["one"] * 800, rng=rng)
    >>> round(found.sd, 1), bool(found.variance() < (hits / 30).var())
    (0.9, True)
    """
    if len(hits) < 2:
        raise NotEnoughDataError("no distribution of units", found=len(hits), wanted="2 units")
    if (answers < 2).all():
        raise NotEnoughDataError(
            "no distribution of units", found="one answer a unit", wanted="2 answers to some unit"
        )
    names = tuple(dict.fromkeys(map(str, network)))
    group = np.array([names.index(str(name)) for name in network])
    pairs, kind = np.unique(np.column_stack([hits, answers]), axis=0, return_inverse=True)
    counts = np.stack(
        [np.bincount(kind.ravel()[group == k], minlength=len(pairs)) for k in range(len(names))]
    ).astype(float)
    levels, sds = _LEVELS, _DEVIATIONS
    for _ in range(2):  # the second time on a grid as fine as the posterior is narrow
        of_sd, of_level = _posterior(counts, pairs, levels, sds)
        levels, sds = _finer(of_sd, of_level, levels, sds)
    of_sd, of_level = _posterior(counts, pairs, levels, sds)
    sd = float(of_sd @ sds)
    near = int(np.abs(sds - sd).argmin())
    drawn = rng.choice(len(sds), _DRAWS, p=of_sd)
    drawn_levels = []
    for given in of_level:
        below = rng.random(_DRAWS) > np.cumsum(given, axis=0)[:, drawn]
        place = np.minimum(below.sum(axis=0), len(levels) - 1)
        drawn_levels.append(levels[place] + _within(levels, rng))
    return UnitSpread(
        names,
        np.bincount(group) / len(group),
        np.array([float(given[:, near] @ levels) for given in of_level]),
        sd,
        np.array(drawn_levels),
        np.abs(sds[drawn] + _within(sds, rng)),
    )


def _within(grid: Floats, rng: np.random.Generator) -> Floats:
    """Where in its cell of the grid a draw lies."""
    step = float(grid[1] - grid[0])
    return rng.uniform(-step / 2, step / 2, _DRAWS)


def _posterior(
    counts: Floats, pairs: Floats, levels: Floats, sds: Floats
) -> tuple[Floats, list[Floats]]:
    """Posterior of the deviation, and of each network's level given it."""
    table = _grid(pairs, levels, sds)
    logs = [np.tensordot(one, table, 1) for one in counts]
    over_sd = np.sum([special.logsumexp(one, axis=0) for one in logs], axis=0)
    of_sd = np.exp(over_sd - over_sd.max())
    given = [np.exp(one - one.max(axis=0)) for one in logs]
    return of_sd / of_sd.sum(), [one / one.sum(axis=0) for one in given]


def _finer(
    of_sd: Floats, of_level: list[Floats], levels: Floats, sds: Floats
) -> tuple[Floats, Floats]:
    """Grids over what the posterior leaves possible, half a standard deviation a step."""

    def spread(weight: Floats, grid: Floats) -> tuple[float, float]:
        mean = float(weight @ grid)
        step = float(grid[1] - grid[0])
        return mean, float(np.sqrt(weight @ (grid - mean) ** 2 + step**2 / 12))

    middle, width = spread(of_sd, sds)
    low, high = max(middle - 5 * width, 0.0), min(middle + 5 * width, 4.0)
    ends = [spread(one @ of_sd, levels) for one in of_level]
    first = min(m - 5 * w for m, w in ends)
    last = max(m + 5 * w for m, w in ends)
    step = max(min(w for _, w in ends) / 2, (last - first) / 200)
    return (
        np.arange(first, last + step, step),
        np.linspace(low, high, int(np.clip((high - low) / (width / 2), 12, 60))),
    )


def _tail(threshold: float, level: Floats, sd: Floats | float, *, above: bool) -> Floats:
    z = (special.logit(threshold) - level) / np.maximum(sd, 1e-6)
    return np.asarray(stats.norm.sf(z) if above else stats.norm.cdf(z))


def _likelihood(hits: Floats, answers: Floats, p: Floats) -> Floats:
    return np.asarray(special.xlogy(hits, p) + special.xlogy(answers - hits, 1 - p))


def _grid(pairs: Floats, levels: Floats, sds: Floats) -> Floats:
    """(pairs, levels, deviations) log likelihood of each pair of hits and answers."""
    eta = levels[:, None, None] + sds[None, :, None] * _NODES
    right, wrong = special.log_expit(eta), special.log_expit(-eta)
    found = []
    for hits, count in pairs:
        logs = hits * right + (count - hits) * wrong
        top = logs.max(axis=-1)
        found.append(top + np.log(np.exp(logs - top[..., None]) @ _WEIGHTS))
    return np.stack(found)
