"""Nested folds: everything that is weighed or fitted comes from units that are not predicted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import xlogy

from imi_bench.arrays import Bools, Floats, Ints, Strings
from imi_bench.errors import LeakageError, NotEnoughDataError
from imi_bench.measure.boosting import Boosted, fit_boosted
from imi_bench.measure.head import Head, HeadRows, Shrinkage, fit_head
from imi_bench.measure.mixture import Mixture, joined, stacked_shares
from imi_bench.provenance import generator
from imi_bench.text import plural

__all__ = [
    "Fitted",
    "OutOfFold",
    "Stacked",
    "fit_stacked",
    "fold_of",
    "grid_for",
    "log_likelihood",
    "out_of_fold",
]

OBSERVER_GRID = tuple(
    Shrinkage(weights=w, slope=s) for w in (0.0, 0.1, 0.3, 1.0) for s in (0.0, 0.1, 0.3)
)
MEASURE_GRID = tuple(
    Shrinkage(weights=w, slope=s, covariates=b)
    for w in (0.1, 0.3)
    for s in (0.0, 0.3)
    for b in (0.1, 0.3, 1.0)
)
SINGLE = Shrinkage(weights=10.0)
EQUAL = Shrinkage(weights=0.0)
_INNER = 4


def grid_for(head: str, *, features: bool) -> tuple[Shrinkage, ...]:
    """The shrinkages that a head is fitted at; without features there is no slope to shrink."""
    grid = OBSERVER_GRID if head == "observer" else MEASURE_GRID
    return grid if features else tuple(one for one in grid if one.slope == 0)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A head, and the units whose answers it has seen: in its fit, or in the choice of it.

    Attributes
    ----------
    head : Head, Mixture or Boosted
    seen : frozenset of str
    columns : tuple of int, optional
        The observers it looks at; all of them if None.
    """

    head: Head | Mixture | Boosted
    seen: frozenset[str]
    columns: tuple[int, ...] | None = None

    def predict(self, rows: HeadRows, units: Strings) -> Floats:
        """(T,) probability of a correct answer.

        Raises
        ------
        LeakageError
            If a row's unit is among those whose answers were seen.
        """
        if known := self.seen.intersection(units.tolist()):
            raise LeakageError(
                "a measure would be scored on what it was fitted or chosen on",
                where=f"unit '{min(known)}' ({plural(len(known), 'such unit')})",
                wanted="units whose answers it never saw",
                do="take out-of-fold predictions",
            )
        if self.columns is not None:
            rows = rows.columns(list(self.columns))
        return self.head.probability(rows)


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Predictions of every trial by fits that never saw its unit.

    Attributes
    ----------
    fold : (T,) int64
    learned, equal, single, base : (T,) float64
        Probability of a correct answer: by the whole; by equal weights; by the best single
        observer of the training folds; by the base rate of the trial's cell.
    singles : (T, J) float64
        By each observer alone.
    fits : tuple of Fitted
        One a fold.
    log : list of dict
        Of each fold: the shares of the shrinkages, and what they are taken from.
    """

    fold: Ints
    learned: Floats
    equal: Floats
    single: Floats
    base: Floats
    singles: Floats
    fits: tuple[Fitted, ...]
    log: list[dict[str, Any]]


def log_likelihood(p: Floats, rows: HeadRows) -> float:
    """Nats of the answers, without binomial coefficients."""
    misses = rows.answers - rows.successes
    return float((xlogy(rows.successes, p) + xlogy(misses, 1 - p)).sum())


@dataclass(frozen=True, eq=False)
class Stacked:
    """A mixture over a grid of shrinkages, and how the inner folds came to it.

    Attributes
    ----------
    fitted : Fitted
        A mixture, or boosting where the inner folds predict people better by it.
    mixture : Mixture
        On all rows.
    bits : list of float
        Bits an answer above chance, in the inner folds, of each shrinkage (and of boosting).
    shares : (K,) float64
        Of each shrinkage.
    whole : float
        Bits of the mixture in the inner folds.
    """

    fitted: Fitted
    mixture: Mixture
    bits: list[float]
    shares: Floats
    whole: float

    def best(self, grid: Sequence[Shrinkage]) -> Shrinkage:
        """The shrinkage that predicts best alone."""
        return grid[int(np.argmax(self.bits[: len(grid)]))]


def fit_stacked(
    rows: HeadRows,
    units: Strings,
    grid: Sequence[Shrinkage],
    *,
    seed: int,
    linear: bool = False,
    intercept: bool = False,
    boosting: bool = False,
) -> Stacked:
    """Fit with every shrinkage, and share out by what predicts inner folds of whole units.

    With `boosting` gradient boosting takes the place of the mixture where it predicts better.
    """
    options: dict[str, Any] = {"linear": linear, "intercept": intercept}
    told, boosted = _inner(rows, fold_of(units, _INNER, seed=seed), grid, seed, boosting, options)
    shares = stacked_shares(told, rows, units) if len(grid) > 1 else np.ones(1)
    nats = [log_likelihood(p, rows) for p in (*told, *boosted, shares @ told)]
    *bits, whole = (1 + np.array(nats) / np.log(2) / rows.answers.sum()).tolist()
    heads: list[Head] = []
    for shrinkage in grid:
        start = heads[-1] if heads else None
        heads.append(fit_head(rows, shrinkage=shrinkage, start=start, **options))
    mixture = joined(heads, shares)
    wins = boosting and bits[-1] > whole
    head = fit_boosted(rows, seed=seed) if wins else mixture
    return Stacked(Fitted(head, frozenset(units.tolist())), mixture, bits, shares, whole)


def _inner(
    rows: HeadRows,
    fold: Ints,
    grid: Sequence[Shrinkage],
    seed: int,
    boosting: bool,
    options: dict[str, Any],
) -> tuple[Floats, Floats]:
    """(K, T) predictions of inner folds by each shrinkage, and (0 or 1, T) by boosting."""
    told = np.full((len(grid), len(fold)), 0.5)
    boosted = np.full((int(boosting), len(fold)), 0.5)
    if len(grid) + boosting > 1:
        for held in range(fold.max() + 1):
            train, test = rows.take(fold != held), rows.take(fold == held)
            start = None
            for place, shrinkage in enumerate(grid):
                start = fit_head(train, shrinkage=shrinkage, start=start, **options)
                told[place, fold == held] = start.probability(test)
            if boosting:
                boosted[0, fold == held] = fit_boosted(train, seed=seed).probability(test)
    return told, boosted


def single_head(rows: HeadRows, column: int) -> tuple[Head, float]:
    """One observer calibrated as well as it can be, and its log-likelihood on the same rows.

    Its evidence counts as it is or squashed, whichever fits these rows better: the yardstick is
    never weaker than what `score` says of the observer.
    """
    own = rows.columns([column])
    heads = [fit_head(own, shrinkage=SINGLE, linear=linear) for linear in (False, True)]
    told = [log_likelihood(head.probability(own), own) for head in heads]
    return heads[int(np.argmax(told))], max(told)


def best_single(rows: HeadRows, units: Strings, candidates: Sequence[int]) -> Fitted:
    """The candidate whose calibrated likelihood of these answers is largest."""
    made = [single_head(rows, j) for j in candidates]
    place = int(np.argmax([told for _, told in made]))
    return Fitted(made[place][0], frozenset(units.tolist()), (candidates[place],))


def base_rates(successes: Floats, answers: Floats, cells: Strings, train: Bools) -> Floats:
    """(T,) proportion correct of each trial's cell among training rows, half an answer added."""
    successes, answers = successes[train], answers[train]
    everything = (successes.sum() + 0.5) / (answers.sum() + 1)
    rate = {}
    for cell in np.unique(cells.astype(str)):
        own = cells[train] == cell
        rate[cell] = (successes[own].sum() + everything) / (answers[own].sum() + 1)
    return np.array([rate[str(cell)] for cell in cells])


def out_of_fold(
    rows: HeadRows,
    *,
    units: Strings,
    cells: Strings,
    fold: Ints,
    grid: Sequence[Shrinkage],
    baseline: Sequence[int] | None = None,
    seed: int = 0,
    linear: bool = False,
    intercept: bool = False,
    boosting: bool = False,
    shared: Callable[[Bools], Bools] | None = None,
) -> OutOfFold:
    """Predict every fold from the others.

    Parameters
    ----------
    rows : HeadRows
    units, cells : (T,) str
        Unit of each trial; its cell of the base rate (mode and difficulty).
    fold : (T,) int64
    grid : sequence of Shrinkage
        To average over, with shares from inner folds.
    baseline : sequence of int, optional
        Observers that the best single one is chosen among; all by default.
    seed : int
        Of inner folds.
    linear, intercept
        As in `fit_head`.
    boosting : bool
        As in `fit_stacked`.
    shared : callable, optional
        Takes the mask of the test rows, gives a mask of the rows to drop from training.
    """
    count, observers = rows.evidence.shape
    baseline = range(observers) if baseline is None else baseline
    told = {name: np.full(count, np.nan) for name in ("learned", "equal", "single", "base")}
    singles = np.full((count, observers), np.nan)
    fits: list[Fitted] = []
    log: list[dict[str, Any]] = []
    for held in range(fold.max() + 1):
        test = fold == held
        train = _training(test, shared, held=held)
        some, other, seen = rows.take(train), rows.take(test), units[train]
        stacked = fit_stacked(
            some, seen, grid, seed=seed, linear=linear, intercept=intercept, boosting=boosting
        )
        best = stacked.fitted
        alone = best_single(some, seen, baseline)
        equal = fit_head(some.columns(slice(None)), shrinkage=EQUAL)
        together = Fitted(equal, best.seen, tuple(range(observers)))
        told["learned"][test] = best.predict(other, units[test])
        told["single"][test] = alone.predict(other, units[test])
        told["equal"][test] = together.predict(other, units[test])
        told["base"][test] = base_rates(rows.successes, rows.answers, cells, train)[test]
        for j in range(observers):
            own = Fitted(single_head(some, j)[0], best.seen, (j,))
            singles[test, j] = own.predict(other, units[test])
        fits.append(best)
        log.append(
            {
                "fold": held,
                "units": len(set(seen.tolist())),
                "single": alone.columns,
                "grid": [vars(s) for s in grid],
                "inner_bits": stacked.bits,
                "shares": stacked.shares.tolist(),
                "stacked_bits": stacked.whole,
                "best": vars(stacked.best(grid)),
                "boosted": isinstance(best.head, Boosted),
                "dropped": int((~test & ~train).sum()),
            }
        )
    return OutOfFold(fold=fold, singles=singles, fits=tuple(fits), log=log, **told)


def _training(test: Bools, shared: Callable[[Bools], Bools] | None, *, held: int) -> Bools:
    """The rows that a fold is learnt from."""
    train = ~test if shared is None else ~test & ~shared(test)
    if not train.any():
        raise NotEnoughDataError(
            "no trial is left to learn from",
            where=f"fold {held}",
            found="every other trial shares pictures with it",
        )
    return train


def fold_of(clusters: Strings, n_folds: int, *, seed: int) -> Ints:
    """(T,) fold of each cluster's trials, dealt evenly by a seed."""
    names, code = np.unique(clusters.astype(str), return_inverse=True)
    dealt = generator(seed, "inner folds").permutation(len(names)) % min(n_folds, len(names))
    return np.asarray(dealt[code], dtype=np.int64)
