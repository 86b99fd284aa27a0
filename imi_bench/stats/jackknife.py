"""The jackknife, clustered two ways: how far a score would move with other units and other people.

Every score is a function of *totals*, sums over units (`Sums`, `Score`). Leaving one unit out is
one subtraction, so the score without each unit costs no more than one resample each. Units are
taken within networks, as the study drew them, where every network has at least `SMALLEST_STRATUM`
units; otherwise all alike. For scores whose totals are sums of human answers, every participant
and every pair of unit and participant is left out as well, and the three variances are combined::

    variance = max(by unit, by unit + by participant - by unit and participant)

which is the two-way cluster-robust variance (Cameron, Gelbach & Miller 2011, *J. Business &
Economic Statistics* 29, 238-249) with the unit clustering as its floor. Intervals are Student's t,
on a scale on which the score has no end (Fisher's z, logit) where it has one. Differences of two
observers come from the differences of what each loses without a unit, so that what makes a unit
hard for both cancels (`imi_bench.stats.intervals`). `benchmarks/interval_coverage.py` measures
coverage.

Other sources: Efron & Tibshirani (1993), chapter 11, for the jackknife; Cameron & Miller (2015),
*J. Human Resources* 50, 317-372, for its use with few clusters (CV3) and t.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from imi_bench.arrays import Floats, Ints
from imi_bench.stats import noise
from imi_bench.stats.sums import OverPlaces, Placed, Score, Sums, Totals, renumbered

__all__ = ["MANY_UNITS", "Jackknife", "Spread", "combined", "jackknives"]

SMALLEST_STRATUM = 5
MANY_UNITS = 40
"""Beyond this many units, what correcting a bias adds to the variance is not worth its time."""
_CHUNK = 4000


@dataclass(frozen=True, eq=False)
class Spread:
    """What each cluster moves a score by; sums of squares are variances.

    Attributes
    ----------
    by_unit : (U,) float64
    by_participant, by_cell : (P,), (K,) float64
        By participant, and by pair of unit and participant; empty where people do not enter.
    stratum : (U,) int64
    """

    by_unit: Floats
    by_participant: Floats
    by_cell: Floats
    stratum: Ints

    def minus(self, other: Spread) -> Spread:
        """Of the difference of two scores on the same clusters."""
        return Spread(
            self.by_unit - other.by_unit,
            self.by_participant - other.by_participant,
            self.by_cell - other.by_cell,
            self.stratum,
        )

    def times(self, factor: float) -> Spread:
        """Of a multiple of the score."""
        return Spread(
            factor * self.by_unit,
            factor * self.by_participant,
            factor * self.by_cell,
            self.stratum,
        )

    @cached_property
    def variance(self) -> float:
        """Two-way, not below that by unit."""
        return sum(self._parts)

    @cached_property
    def df(self) -> float:
        """Degrees of freedom (Satterthwaite 1946): units less strata, fewer where people count."""
        return self._satterthwaite(self._free)

    @cached_property
    def uneven_df(self) -> float:
        """Degrees of freedom, fewer where few units carry the variance.

        A sum of squares s varies with ``sum(x^4) - s^2 / n``, and one with d degrees of freedom
        with ``2 s^2 / d``: d for units, which of normal ones are about as many, and at least 1.
        """
        squares = self.by_unit**2
        if not squares.any():
            return self.df
        uneven = float(squares @ squares) / float(squares.sum()) ** 2 - 1 / len(squares)
        return self._satterthwaite(
            max(1.0, min(self._free, 2 / uneven)) if uneven > 0 else self._free
        )

    @property
    def _free(self) -> float:
        return float(len(self.by_unit) - len(np.unique(self.stratum)))

    def _satterthwaite(self, units: float) -> float:
        by_unit, more = self._parts
        if self.variance == 0 or more == 0:
            return units
        people = len(self.by_participant) - 1
        return self.variance**2 / (by_unit**2 / units + more**2 / people)

    @cached_property
    def _parts(self) -> tuple[float, float]:
        """Variance by unit, and what participants add."""
        squares = [float(part @ part) for part in (self.by_unit, self.by_participant, self.by_cell)]
        return squares[0], max(0.0, squares[1] - squares[2])


@dataclass(frozen=True, eq=False)
class Jackknife:
    """A score on the data, and without each unit, participant, and pair of both.

    Attributes
    ----------
    score : Score
    value : float
    without_unit : (U,) float64
    without_participant, without_cell : (P,), (K,) float64
        Empty for scores that do not only use human answers.
    stratum : (U,) int64
        Units of one stratum are exchanged for one another.
    draws : (B,) float64
        Of scores that are not smooth: the score with normal noise of the size of the sampling error
        added to every total; B = 0 for all others.
    without_pair : (U (U - 1) / 2,) float64
        Without every two units, in the order of `numpy.triu_indices`, of curved scores of at most
        `MANY_UNITS` units; empty for all others.
    made_of : tuple of Jackknife
        What the score was `combined` from.
    least, trials : float
        Of a kappa, as its score has them on these data.
    """

    score: Score
    value: float
    without_unit: Floats
    without_participant: Floats
    without_cell: Floats
    stratum: Ints
    draws: Floats = field(default_factory=lambda: np.zeros(0))
    without_pair: Floats = field(default_factory=lambda: np.zeros(0))
    made_of: tuple[Jackknife, ...] = ()
    least: float = -1.0
    trials: float = math.inf

    @cached_property
    def spread(self) -> Spread:
        """What each cluster moves the score by."""
        person, cell = (
            _moved(one, of=len(one)) for one in (self.without_participant, self.without_cell)
        )
        return Spread(self._by_unit(self.without_unit), person, cell, self.stratum)

    @cached_property
    def corrected_spread(self) -> Spread:
        """What each cluster moves the score less its bias by, at least as much as the score.

        The bias is estimated from the same units, and so varies with them: it is computed anew
        without each unit, from all pairs that hold that unit.
        """
        if not len(self.without_pair):
            return self.spread
        corrected = self._by_unit(self._corrected_without_unit())
        if not corrected @ corrected > self.spread.by_unit @ self.spread.by_unit:
            return self.spread
        return replace(self.spread, by_unit=corrected)

    def _by_unit(self, without: Floats) -> Floats:
        count = len(without)
        by_unit = np.empty(count)
        for code in np.unique(self.stratum):
            rows = self.stratum == code
            by_unit[rows] = _moved(without[rows], of=count)
        return by_unit

    def _corrected_without_unit(self) -> Floats:
        """(U,) the score less its bias, without each unit."""
        count = len(self.without_unit)
        pairs = np.full((count, count), np.nan)
        first, second = np.triu_indices(count, 1)
        pairs[first, second] = pairs[second, first] = self.without_pair
        left = self.without_unit.copy()
        for code in np.unique(self.stratum):
            inside = self.stratum == code
            shared = np.where(inside & ~np.eye(count, dtype=bool), pairs, 0.0).sum(axis=1)
            size = inside.sum() - inside
            left -= (size - 1) * (shared / size - self.without_unit)
        return left

    @cached_property
    def bias(self) -> float:
        """What few units push the score by on average (Quenouille 1956), strata apart."""
        pushed = 0.0
        for code in np.unique(self.stratum):
            rows = self.stratum == code
            pushed += (rows.sum() - 1) * float(self.without_unit[rows].mean() - self.value)
        return pushed

    @property
    def clusters(self) -> str:
        """What was left out, for the method of an `Estimate`."""
        where = "units within networks" if self.stratum.any() else "units"
        return f"{where} and participants" if len(self.without_participant) else where


def combined(score: Score, of: Callable[..., Floats], *parts: Jackknife) -> Jackknife:
    """A score computed from others, on the data and without each cluster.

    Participants are left out only where they are for every part.
    """
    names = ["without_unit"]
    if all(len(part.without_pair) for part in parts):
        names += ["without_pair"]
    if all(len(part.without_participant) for part in parts):
        names += ["without_participant", "without_cell"]
    none = np.zeros(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(of(*(np.float64(part.value) for part in parts)))
        without = {name: of(*(getattr(part, name) for part in parts)) for name in names}
    return Jackknife(
        score,
        value,
        without["without_unit"],
        without.get("without_participant", none),
        without.get("without_cell", none),
        parts[0].stratum,
        without_pair=without.get("without_pair", none),
        made_of=parts,
    )


def jackknives(
    sums: Sums, scores: Sequence[Score], *, n_draws: int, seed: int
) -> dict[str, Jackknife]:
    """Compute every score on the data, and without each cluster.

    Parameters
    ----------
    sums : Sums
    scores : sequence of Score
    n_draws, seed : int
        Of the scores that are not smooth. The same clusters, seed and number give the same noise,
        so that differences of two observers' draws are paired.
    """
    alone = {**sums.units, **sums.by(sums.unit_of_answer, sums.n_units)}
    totals = {name: column.sum(axis=0, keepdims=True) for name, column in alone.items()}
    totals["weights"] = np.ones((1, sums.n_units))
    stratum = sums.stratum
    if np.bincount(stratum).min() < SMALLEST_STRATUM:
        stratum = np.zeros_like(stratum)
    person = renumbered(sums.participant)[1]
    pair = sums.unit_of_answer * (int(person.max(initial=0)) + 1) + person
    cell = renumbered(pair)[1]
    values = _evaluate(scores, totals)
    units = _without(scores, alone, totals, weights=np.eye(sums.n_units))
    pairs = _pairs([score for score in scores if score.curved], alone, totals)
    shared = [score for score in scores if score.over_people]
    people = _apart(sums, shared, person)
    cells = _apart(sums, shared, cell)
    rough = [score for score in scores if score.scale in ("drawn", "drawn fisher")]
    draws = noise.draw(
        sums, rough, person=person, cell=cell, stratum=stratum, n_draws=n_draws, seed=seed
    )
    none = np.zeros(0)
    return {
        score.name: Jackknife(
            score=score,
            value=float(values[score.name][0]),
            without_unit=units[score.name],
            without_participant=people.get(score.name, none),
            without_cell=cells.get(score.name, none),
            stratum=stratum,
            draws=draws.get(score.name, none),
            without_pair=pairs.get(score.name, none),
            least=-1.0 if score.least is None else float(score.least(totals)[0]),
            trials=math.inf if score.trials is None else float(score.trials(totals)[0]),
        )
        for score in scores
    }


def _apart(sums: Sums, scores: Sequence[Score], group: Ints) -> dict[str, Floats]:
    """Scores over answers without each group of answers."""
    groups = int(group.max(initial=-1)) + 1
    found, others = {}, []
    for score in scores:
        table = sums.answers.get(score.of.table) if isinstance(score.of, OverPlaces) else None
        if isinstance(score.of, OverPlaces) and isinstance(table, Placed):
            with np.errstate(divide="ignore", invalid="ignore"):
                found[score.name] = score.of.without(table, group, groups)
        else:
            others.append(score)
    read = {score.of.table for score in scores if isinstance(score.of, OverPlaces)}
    rest = {name: column for name, column in sums.answers.items() if name not in read}
    return found | _apart_by_all_sums(replace(sums, answers=rest), others, group, groups)


def _apart_by_all_sums(
    sums: Sums, scores: Sequence[Score], group: Ints, groups: int
) -> dict[str, Floats]:
    """Scores that may read any of the sums, which are made for some groups at a time."""
    if not scores:
        return {}
    if not any(isinstance(column, Placed) for column in sums.answers.values()):
        return _without(scores, sums.by(group, groups), sums.by(np.zeros_like(group), 1))
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(0, groups + _CHUNK, _CHUNK))
    totals = sums.by(np.zeros_like(group), 1)
    found = []
    for part, first in enumerate(range(0, groups, _CHUNK)):
        rows = order[starts[part] : starts[part + 1]]
        taken = sums.take(rows)
        of_group = taken.by(group[rows] - first, min(_CHUNK, groups - first))
        found.append(_without(scores, of_group, totals))
    return {score.name: np.concatenate([one[score.name] for one in found]) for score in scores}


def _pairs(scores: Sequence[Score], alone: Totals, totals: Totals) -> dict[str, Floats]:
    """Scores without every two units."""
    count = totals["weights"].shape[1]
    if not scores or not 2 < count <= MANY_UNITS:
        return {}
    first, second = np.triu_indices(count, 1)
    both = {name: column[first] + column[second] for name, column in alone.items()}
    ones = np.eye(count)
    return _without(scores, both, totals, weights=ones[first] + ones[second])


def _without(
    scores: Sequence[Score], part: Totals, totals: Totals, *, weights: Floats | None = None
) -> dict[str, Floats]:
    """Scores of the totals less each row of the parts, in chunks of rows."""
    count = len(next(iter(part.values())))
    found = []
    for start in range(0, count, _CHUNK):
        rows = slice(start, min(start + _CHUNK, count))
        rest = {name: totals[name] - column[rows] for name, column in part.items()}
        if weights is not None:
            rest["weights"] = 1.0 - weights[rows]
        found.append(_evaluate(scores, rest))
    return {score.name: np.concatenate([one[score.name] for one in found]) for score in scores}


def _evaluate(scores: Sequence[Score], totals: Totals) -> dict[str, Floats]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return {score.name: np.asarray(score.of(totals)) for score in scores}


def _moved(without: Floats, *, of: int) -> Floats:
    """Deviations from their mean, scaled so that squares sum to the jackknife's variance.

    `of` is the number of clusters of all strata together: leaving one of n in this stratum out
    moves a mean over `of` by ``1 / (of - 1)`` of its deviation, and ``n / (n - 1)`` unbiases.
    """
    count = len(without)
    if count < 2:
        return np.full(count, np.nan)
    scale = (of - 1) / of * np.sqrt(count / (count - 1))
    return np.asarray((without.mean() - without) * scale)
