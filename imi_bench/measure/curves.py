"""Learning curves: what more units, or more answers a unit, would have been worth.

The measure is learnt again from some of the training units of every fold, or from some of the
answers of each unit, at the one shrinkage that predicts best in the training set's inner folds, and
scored on the same held-out units; the whole that it is compared with is learnt at it as well. Units
and answers are drawn at random, several times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import special

from imi_bench.arrays import Bools, Floats, Ints
from imi_bench.measure.head import HeadRows, Shrinkage, fit_head
from imi_bench.measure.table import Table
from imi_bench.plots import BLUE, new_axes
from imi_bench.provenance import generator
from imi_bench.results import Result
from imi_bench.stats.estimate import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEWEST = 10


@dataclass(frozen=True, eq=False, repr=False)
class Curves(Result):
    """Scores by how much was learnt from.

    Attributes
    ----------
    table : DataFrame
        One row a size: ``curve`` (units, answers), ``units``, ``answers_a_unit`` (mean),
        ``bits``, and ``lost`` with ``low`` and ``high``: bits lost against learning from all.
    fewer_units, fewer_answers : Estimate
        Bits lost by learning from about half of the units, and of the answers of each unit.
    draws : int
    """

    table: pd.DataFrame
    fewer_units: Estimate
    fewer_answers: Estimate
    draws: int

    @property
    def title(self) -> str:
        """What to collect next."""
        return f"Learning curves: {self.advice}"

    def to_frame(self) -> pd.DataFrame:
        """One row a size, as `table`."""
        return self.table

    @property
    def advice(self) -> str:
        """What to collect next, and how surely that is known."""
        units, answers = self.fewer_units, self.fewer_answers
        told = (
            f"{self._size('units', 'units')} cost {units} bits an answer, "
            f"{self._size('answers', 'answers_a_unit')} a unit {answers}"
        )
        if not (units.low > 0 or answers.low > 0):
            return f"{told}: the curve is flat, more of either is not known to help"
        if units.value >= answers.value:
            best = "new units, even with few answers each"
        else:
            best = "more answers to the units at hand"
        return f"{told}: collect {best} (plan with `imi-bench power`, run with `imi-bench collect`)"

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw bits against the answers learnt from: by fewer units, and by fewer answers each."""
        ax = new_axes(ax)
        everything = self.table[self.table["curve"] == "all"]
        labels = {"units": "fewer units", "answers": "fewer answers a unit"}
        for colour, (curve, label) in zip((BLUE, "#de8f05"), labels.items(), strict=True):
            some = self.table[self.table["curve"] == curve]
            some = pd.concat([everything, some])
            count = some["units"] * some["answers_a_unit"]
            bits = some["bits"]
            below, above = some["high"] - some["lost"], some["lost"] - some["low"]
            error = np.nan_to_num(np.stack([below, above]))
            ax.errorbar(count, bits, error, label=label, color=colour, marker="o", markersize=4)
        ax.set(xscale="log", xlabel="answers learnt from", ylabel="bits an answer, held-out units")
        ax.legend(frameon=False, loc="lower right")
        return ax

    def _size(self, curve: str, column: str) -> str:
        sizes = self.table.loc[self.table["curve"] == curve, column]
        everything = float(self.table.loc[self.table["curve"] == "all", column].iloc[0])
        fewer = float(sizes.iloc[0]) if len(sizes) else everything
        return f"{fewer:.0f} of {everything:.0f} {curve}"

    def to_json(self) -> dict[str, Any]:
        """JSON object, with what to collect next."""
        return {**super().to_json(), "advice": self.advice}


def learning_curves(
    table: Table,
    *,
    fold: Ints,
    best: Sequence[Shrinkage],
    draws: int,
    seed: int,
    level: float = 0.95,
    linear: bool = False,
    intercept: bool = False,
    shared: Callable[[Bools], Bools] | None = None,
) -> Curves:
    """Learn again from less.

    Parameters
    ----------
    table : Table
    fold : (T,) int64
        What is held out.
    best : sequence of Shrinkage
        Of each fold, by its training units.
    draws : int
        Of units and answers, for each size.
    seed, level, linear, intercept, shared
        As in `imi_bench.measure.learned.learn`.
    """
    learner = _Learner(table, fold, tuple(best), linear, intercept, shared)
    units = int(min(len(learner.units_without(k)) for k in range(len(best))))
    a_unit = float(table.rows.answers.sum() / len(set(table.index.unit_id)))
    whole = learner.bits(None, None, generator(seed, "curves"))
    rows: list[dict[str, Any]] = []
    half: dict[str, Estimate] = {}
    plan: list[tuple[str, int | None, int | None]] = [("units", n, None) for n in _sizes(units)]
    plan += [("answers", None, n) for n in _sizes(a_unit, least=1)]
    for curve, count, answers in plan:
        draws_of = [
            learner.bits(count, answers, generator(seed, "curves", curve, str(count or answers), i))
            for i in range(draws)
        ]
        told = np.mean(draws_of, axis=0)
        lost = _difference(whole, told, table, level=level)
        rows.append(
            {
                "curve": curve,
                "units": count or units,
                "answers_a_unit": answers or a_unit,
                "bits": float(told.sum() / table.rows.answers.sum()),
                "lost": lost.value,
                "low": lost.low,
                "high": lost.high,
            }
        )
        half.setdefault(curve, lost)  # the largest size that is not all of them comes first
    everything = {"units": units, "answers_a_unit": a_unit, "lost": 0.0}
    bits = float(whole.sum() / table.rows.answers.sum())
    rows.append({"curve": "all", **everything, "low": math.nan, "high": math.nan, "bits": bits})
    none = Estimate.undefined("too few to halve")
    return Curves(pd.DataFrame(rows), half.get("units", none), half.get("answers", none), draws)


def _sizes(most: float, *, least: int = _FEWEST) -> list[int]:
    """Half, a quarter and so on, and the least."""
    found, size = [], int(most // 2)
    while size > least:
        found.append(size)
        size //= 2
    return [*found, least] if most > least else []


@dataclass(frozen=True, eq=False)
class _Learner:
    table: Table
    fold: Ints
    best: tuple[Shrinkage, ...]
    linear: bool
    intercept: bool
    shared: Callable[[Bools], Bools] | None

    def training(self, held: int) -> Bools:
        """Rows that a fold may learn from."""
        test = self.fold == held
        return ~test if self.shared is None else ~test & ~self.shared(test)

    def units_without(self, held: int) -> Ints:
        """Units of the training rows of a fold."""
        return np.unique(self.table.index.unit_code[self.training(held)])

    def bits(self, units: int | None, answers: int | None, rng: np.random.Generator) -> Floats:
        """(T,) bits of each trial's answers, learnt from so many units and answers of each."""
        rows, found = self.table.rows, np.empty(len(self.fold))
        for held, shrinkage in enumerate(self.best):
            test = self.fold == held
            train = self.training(held)
            if units is not None:
                kept = rng.choice(self.units_without(held), units, replace=False)
                train = train & np.isin(self.table.index.unit_code, kept)
            some = rows.take(train)
            if answers is not None:
                some = _thinned(some, self.table.index.unit_code[train], answers, rng)
            head = fit_head(some, shrinkage=shrinkage, linear=self.linear, intercept=self.intercept)
            other = rows.take(test)
            found[test] = _trial_bits(head.probability(other), other)
        return found


def _thinned(rows: HeadRows, unit: Ints, answers: int, rng: np.random.Generator) -> HeadRows:
    """Some answers of each unit, drawn without replacement from all of its trials'."""
    hits, misses = np.zeros(len(unit)), np.zeros(len(unit))
    for one in np.unique(unit):
        own = np.flatnonzero(unit == one)
        counts = np.concatenate([rows.successes[own], rows.answers[own] - rows.successes[own]])
        counts = counts.astype(np.int64)
        drawn = rng.multivariate_hypergeometric(counts, min(answers, int(counts.sum())))
        hits[own], misses[own] = drawn[: len(own)], drawn[len(own) :]
    kept: Bools = hits + misses > 0
    return replace(rows, successes=hits, answers=hits + misses).take(kept)


def _trial_bits(p: Floats, rows: HeadRows) -> Floats:
    misses = rows.answers - rows.successes
    return rows.answers + rows.successes * np.log2(p) + misses * np.log2(1 - p)


def _difference(whole: Floats, told: Floats, table: Table, *, level: float) -> Estimate:
    """Bits lost an answer, with a jackknife interval over units."""
    code = table.index.unit_code
    total, answers = np.bincount(code, whole - told), np.bincount(code, table.rows.answers)
    count = len(total)
    value = float(total.sum() / answers.sum())
    without = (total.sum() - total) / (answers.sum() - answers)
    error = math.sqrt((count - 1) / count * float(((without - without.mean()) ** 2).sum()))
    half = float(special.stdtrit(count - 1, (1 + level) / 2)) * error
    return Estimate(
        value,
        value - half,
        value + half,
        **table.facts(level),
        unit="bits/answer",
        method=f"jackknife over units, t({count - 1})",
    )
