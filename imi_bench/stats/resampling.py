"""The cluster bootstrap, vectorised: resamples are integer weights on units.

Every score is a function of *totals*, sums over units. A resample of units weights each unit by
how often it was drawn, so that all totals of all resamples are one product of matrices::

    weights (B, U)  @  sums of each unit (U, m)  ->  totals (B, m)

Units are drawn within networks, as the study drew them, where every network has at least
`SMALLEST_STRATUM` units; otherwise from all units alike. Sums over human answers can also be
resampled over participants: each answer is then weighted by its unit's weight times its
participant's (Owen 2007, *Annals of Applied Statistics* 1, 386-411, the pigeonhole bootstrap,
which errs on the wide side).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import sparse, stats
from scipy.sparse.csgraph import connected_components

from imi_bench.arrays import Floats, Ints
from imi_bench.errors import InputError
from imi_bench.provenance import generator
from imi_bench.stats.estimate import Estimate

__all__ = ["Draws", "Score", "Sums", "estimate", "resample", "resolvable_difference", "weights"]

Totals = Mapping[str, Floats]

SMALLEST_STRATUM = 5
_CHUNK = 500
_KEPT = 2_000_000
_FEWEST_DEFINED = 0.9


@dataclass(frozen=True, eq=False)
class Sums:
    """What scores are computed from.

    Attributes
    ----------
    units : mapping of str to (U, …) float64
        Sums over each unit's trials or conditions.
    answers : mapping of str to (R,) float64
        One number a human answer, to be summed.
    unit_of_answer, participant : (R,) int64
        Codes of the two clusters each answer belongs to.
    stratum : (U,) int64
        Code of each unit's network.
    """

    units: Mapping[str, Floats]
    answers: Mapping[str, Floats]
    unit_of_answer: Ints
    participant: Ints
    stratum: Ints

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.stratum)


@dataclass(frozen=True)
class Score:
    """A number computed from totals.

    Attributes
    ----------
    name : str
    unit : str
        Unit of the number, for its `Estimate`.
    of : callable
        Totals, each (B, …), to (B,) float64; NaN where undefined. The totals of `Sums.units` and
        ``weights`` (B, U) are there, and those of `Sums.answers`.
    over_people : bool
        The score uses nothing but totals of answers, so participants are resampled as well.
    undefined : str
        Why the value is NaN where it is.
    binomial : bool
        The score is a share of cases that are either so or not.
    """

    name: str
    unit: str
    of: Callable[[Totals], Floats]
    over_people: bool = False
    undefined: str = "no variation to compute it from"
    binomial: bool = False


@dataclass(frozen=True, eq=False)
class Draws:
    """A score on the data, and on each resample.

    Attributes
    ----------
    value : float
    draws : (B,) float64
    score : Score
    clusters : str
        What was resampled, for the method of an `Estimate`.
    """

    value: float
    draws: Floats
    score: Score
    clusters: str = field(default="units")


def weights(stratum: Ints, *, n_resamples: int, rng: np.random.Generator) -> Floats:
    """(n_resamples, U) how often each cluster is drawn, with replacement within its stratum.

    Examples
    --------
    >>> w = weights(np.array([0, 0, 1]), n_resamples=4, rng=np.random.default_rng(0))
    >>> w[:, :2].sum(axis=1).tolist(), w[:, 2].tolist()
    ([2.0, 2.0, 2.0, 2.0], [1.0, 1.0, 1.0, 1.0])
    """
    count = len(stratum)
    drawn = np.empty((n_resamples, count), dtype=np.int64)
    for name in np.unique(stratum):
        members = np.flatnonzero(stratum == name)
        drawn[:, members] = members[rng.integers(0, len(members), (n_resamples, len(members)))]
    drawn += count * np.arange(n_resamples)[:, None]
    flat = np.bincount(drawn.ravel(), minlength=n_resamples * count)
    return flat.reshape(n_resamples, count).astype(np.float64)


def resample(
    sums: Sums, scores: Sequence[Score], *, n_resamples: int, seed: int
) -> dict[str, Draws]:
    """Compute every score on the data and on `n_resamples` resamples.

    The same clusters, seed and number give the same resamples, whatever the scores: differences
    of the draws of two observers on the same trials are paired.

    Raises
    ------
    InputError
        For a negative number of resamples.
    """
    if n_resamples < 0:
        raise InputError("not a number of resamples", found=n_resamples, wanted="0 or more")
    stratum = sums.stratum
    if np.bincount(stratum).min() < SMALLEST_STRATUM:
        stratum = np.zeros_like(stratum)
    where = "units within networks" if stratum.any() else "units"
    columns = _Columns(sums)
    values = _evaluate(scores, columns.totals(np.ones((1, sums.n_units))))
    draws = {score.name: np.empty(n_resamples) for score in scores}
    alone = [score for score in scores if not score.over_people]
    shared = [score for score in scores if score.over_people]
    people = _People(sums) if shared else None
    units = _drawn(stratum, n_resamples=n_resamples, seed=seed, what="units")
    everyone = np.zeros(0 if people is None else people.count, dtype=np.int64)
    persons = _drawn(everyone, n_resamples=n_resamples, seed=seed, what="participants")
    for rows, drawn, also in zip(_chunks(n_resamples), units, persons, strict=True):
        for name, column in _evaluate(alone, columns.totals(drawn)).items():
            draws[name][rows] = column
        if people is not None:
            for name, column in _evaluate(shared, people.totals(drawn, also)).items():
                draws[name][rows] = column
    return {
        score.name: Draws(
            float(values[score.name][0]),
            draws[score.name],
            score,
            f"{where} and participants" if score.over_people else where,
        )
        for score in scores
    }


def _chunks(count: int) -> Iterator[slice]:
    for start in range(0, count, _CHUNK):
        yield slice(start, min(start + _CHUNK, count))


def _drawn(stratum: Ints, *, n_resamples: int, seed: int, what: str) -> Iterable[Floats]:
    """Weights chunk by chunk; small ones are kept, since many observers share their resamples."""
    if n_resamples * len(stratum) <= _KEPT:
        return _kept(stratum.tobytes(), n_resamples, seed, what)
    return _draw(stratum, n_resamples, seed, what)


@lru_cache(maxsize=4)
def _kept(stratum: bytes, n_resamples: int, seed: int, what: str) -> tuple[Floats, ...]:
    return tuple(_draw(np.frombuffer(stratum, dtype=np.int64), n_resamples, seed, what))


def _draw(stratum: Ints, n_resamples: int, seed: int, what: str) -> Iterator[Floats]:
    rng = generator(seed, what)
    for rows in _chunks(n_resamples):
        yield weights(stratum, n_resamples=rows.stop - rows.start, rng=rng)


def _evaluate(scores: Sequence[Score], totals: Totals) -> dict[str, Floats]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return {score.name: score.of(totals) for score in scores}


class _Columns:
    """All sums over units as one matrix."""

    def __init__(self, sums: Sums) -> None:
        columns = dict(sums.units)
        for name, column in sums.answers.items():
            summed = np.bincount(sums.unit_of_answer, column, minlength=sums.n_units)
            columns[name] = summed.astype(np.float64)
        self.shapes = {name: column.shape[1:] for name, column in columns.items()}
        self.matrix = np.column_stack([c.reshape(len(c), -1) for c in columns.values()])

    def totals(self, drawn: Floats) -> Totals:
        product = drawn @ self.matrix
        totals, start = {"weights": drawn}, 0
        for name, shape in self.shapes.items():
            width = int(np.prod(shape))
            totals[name] = product[:, start : start + width].reshape(-1, *shape)
            start += width
        return totals


class _People:
    """Sums over answers by unit and participant, in blocks that share neither."""

    def __init__(self, sums: Sums) -> None:
        self.names = tuple(sums.answers)
        used, person = np.unique(sums.participant, return_inverse=True)
        self.count = len(used)
        cells = sparse.coo_array(
            (np.ones(len(person)), (sums.unit_of_answer, person)), (sums.n_units, self.count)
        )
        graph = sparse.block_array([[None, cells], [cells.T, None]])
        _, block = connected_components(graph, directed=False)
        of_unit, of_person = block[: sums.n_units], block[sums.n_units :]
        self.blocks: list[tuple[Ints, Ints, Floats]] = []
        for name in np.unique(of_person):
            units, persons = np.flatnonzero(of_unit == name), np.flatnonzero(of_person == name)
            rows = np.flatnonzero(of_unit[sums.unit_of_answer] == name)
            cell = np.searchsorted(units, sums.unit_of_answer[rows]) * len(persons)
            cell += np.searchsorted(persons, person[rows])
            shape = (len(units), len(persons))
            table = [
                np.bincount(cell, sums.answers[column][rows], minlength=shape[0] * shape[1])
                for column in self.names
            ]
            self.blocks.append(
                (units, persons, np.concatenate([t.reshape(shape) for t in table], 1))
            )

    def totals(self, by_unit: Floats, by_person: Floats) -> Totals:
        found = np.zeros((len(by_unit), len(self.names)))
        for units, persons, table in self.blocks:
            product = (by_unit[:, units] @ table).reshape(len(by_unit), len(self.names), -1)
            found += np.einsum("bmp,bp->bm", product, by_person[:, persons])
        return {name: found[:, row] for row, name in enumerate(self.names)}


def estimate(
    found: Draws, *, n: int, clusters: int, level: float = 0.95, lowest: float = -np.inf
) -> Estimate:
    """Percentile interval of a score; recentred where `lowest` is given.

    A proportion of 0 or 1 that no resample changes gets the exact binomial interval with every unit
    counted once, since a bootstrap of equal values has no width.

    Parameters
    ----------
    found : Draws
    n, clusters : int
        Answers (or trials) and units behind it.
    level : float
    lowest : float
        Lower end of the score's range, for scores that resampling pushes away from it (the
        calibration error): the percentiles are then moved by the bootstrap's estimate of that
        push, ``mean(draws) - value``, and cut there.
    """
    facts: dict[str, Any] = {"n": n, "clusters": clusters, "unit": found.score.unit, "level": level}
    if np.isnan(found.value):
        return Estimate.undefined(found.score.undefined, **facts)
    if clusters < 2 or not len(found.draws):
        why = "one unit is no sample of units" if clusters < 2 else "no resamples asked for"
        return Estimate(found.value, reason=why, **facts)
    defined = found.draws[np.isfinite(found.draws)]
    if len(defined) < _FEWEST_DEFINED * len(found.draws):
        why = f"undefined in {len(found.draws) - len(defined)} of {len(found.draws)} resamples"
        return Estimate(found.value, reason=why, **facts)
    if found.score.binomial and found.value in (0, 1) and np.ptp(defined) == 0:
        exact = stats.binomtest(round(found.value) * clusters, clusters).proportion_ci(level)
        method = "exact binomial, each unit counting once (all resamples are alike)"
        return Estimate(found.value, float(exact.low), float(exact.high), method=method, **facts)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]).tolist()
    kind = "percentile"
    if np.isfinite(lowest):
        push = float(defined.mean()) - found.value
        low, high, kind = max(lowest, low - push), max(lowest, high - push), "recentred percentile"
    method = f"bootstrap over {found.clusters} ({kind}, {len(found.draws)})"
    return Estimate(found.value, low, high, method=method, **facts)


def resolvable_difference(draws: Floats, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """Smallest true difference between two observers that data like these would show.

    ``sqrt(2) * (z_(1-alpha/2) + z_power) * SE``: two observers with standard error SE each, told
    apart at two-sided `alpha` with `power`, their errors taken as independent. Observers on the
    same trials err alike, so `imi_bench.scores.compare` resolves less than this. NaN without draws.

    Examples
    --------
    >>> draws = np.random.default_rng(0).normal(0, 0.01, 100_000)
    >>> round(resolvable_difference(draws), 3)  # 1.414 * (1.960 + 0.842) * 0.01
    0.04
    """
    defined = draws[np.isfinite(draws)]
    if len(defined) < 2:
        return float("nan")
    factor = np.sqrt(2) * (stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))
    return float(factor * defined.std(ddof=1))
