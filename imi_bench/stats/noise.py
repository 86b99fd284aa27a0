"""Totals with noise of the size of their sampling error, for scores that are not smooth.

Units count by what they deviate from their stratum's mean, participants by what they add beyond the
answers themselves; counts of answers are held. Normal weights on clusters are the multiplier
bootstrap (Wu 1986, *Annals of Statistics* 14, 1261-1295), in one product of matrices; each draw is
scaled as Student's t is, for the few units that its variance comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from scipy import special

from imi_bench.arrays import Floats, Ints
from imi_bench.provenance import generator
from imi_bench.stats.sums import Placed, Score, Sums


def draw(
    sums: Sums,
    scores: Sequence[Score],
    *,
    person: Ints,
    cell: Ints,
    stratum: Ints,
    n_draws: int,
    seed: int,
) -> dict[str, Floats]:
    """Scores of tables of answers with noise.

    Parameters
    ----------
    sums : Sums
    scores : sequence of Score
        That use nothing but `Placed` answers.
    person, cell : (R,) int64
        Code of each answer's participant, and of its pair of unit and participant.
    stratum : (U,) int64
    n_draws, seed : int

    Returns
    -------
    mapping of str to (n_draws,) float64
    """
    if not scores or not n_draws:
        return {}
    noise = _Noise(sums, person, cell, stratum, n_draws, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {s.name: s.of(_Noisy(noise, s.settled)) for s in scores}


class _Noise(dict[str, Floats]):
    """Normal noise of every total of a table (B, k, m), made when a score first asks for it."""

    def __init__(
        self, sums: Sums, person: Ints, cell: Ints, stratum: Ints, n_draws: int, seed: int
    ) -> None:
        super().__init__()
        self._sums, self._person, self._cell, self._stratum = sums, person, cell, stratum
        self._n_draws, self._seed = n_draws, seed

    def table(self, name: str) -> Placed:
        """The answers of a table."""
        table = self._sums.answers[name]
        if not isinstance(table, Placed):
            raise TypeError(f"'{name}' is no table of answers")
        return table

    def __missing__(self, name: str) -> Floats:
        table, stratum = self.table(name), self._stratum
        n_draws, seed = self._n_draws, self._seed
        n_units, n_people = len(stratum), int(self._person.max()) + 1
        rest = table.residuals
        by_unit = rest.sums(self._sums.unit_of_answer, n_units).reshape(n_units, -1)
        by_person = rest.sums(self._person, n_people).reshape(n_people, -1)
        by_unit = _centred(by_unit, stratum)
        squares = (by_person**2).sum(axis=0)
        of_cell = rest.squares(self._cell).ravel()
        more = np.sqrt(np.maximum(0, 1 - of_cell / np.where(squares > 0, squares, np.inf)))
        noise = _normal(n_draws, n_units, seed=seed, stream="units") @ by_unit
        noise += _normal(n_draws, n_people, seed=seed, stream="participants") @ (by_person * more)
        self[name] = noise.reshape(n_draws, table.count, -1)
        return self[name]

    @property
    def heavy(self) -> Floats:
        """(B, 1, 1) what makes the noise Student's."""
        df = len(self._stratum) - len(np.unique(self._stratum))
        return _heavier(self._n_draws, df=df, seed=self._seed)[:, None, None]


class _Noisy(dict[str, Floats]):
    """The tables with their noise, around the totals seen or around settled ones."""

    def __init__(self, noise: _Noise, settled: Callable[[Floats, Floats], Floats] | None) -> None:
        super().__init__()
        self._noise, self._settled = noise, settled

    def __missing__(self, name: str) -> Floats:
        table, noise = self._noise.table(name), self._noise[name]
        middle = table.sums(np.zeros_like(table.place), 1)[0]
        if self._settled is not None:
            middle = self._settled(middle, noise)
        self[name] = middle + self._noise.heavy * noise
        return self[name]


@lru_cache(maxsize=8)
def _normal(n_draws: int, count: int, *, seed: int, stream: str) -> Floats:
    """(n_draws, count) weights; the same for every observer of a study."""
    weights = generator(seed, stream).standard_normal((n_draws, count))
    weights.setflags(write=False)
    return weights


@lru_cache(maxsize=8)
def _heavier(n_draws: int, *, df: int, seed: int) -> Floats:
    """(n_draws,) what makes normal noise Student's: the variance of few units is not known."""
    if df < 1:
        return np.ones(n_draws)
    chances = (np.arange(n_draws) + 0.5) / n_draws
    ratios = np.sqrt(df / (2 * special.gammaincinv(df / 2, chances)))
    return np.asarray(generator(seed, "scale").permutation(ratios))


def _centred(by_unit: Floats, stratum: Ints) -> Floats:
    """Deviations from the stratum's mean, unbiased for their sum's variance."""
    size = np.bincount(stratum)
    mean = np.zeros((len(size), by_unit.shape[1]))
    for column, summed in zip(by_unit.T, mean.T, strict=True):
        summed += np.bincount(stratum, column, minlength=len(size))
    mean /= size[:, None]
    scale = np.sqrt(size / np.maximum(size - 1, 1))
    return np.asarray((by_unit - mean[stratum]) * scale[stratum, None])
