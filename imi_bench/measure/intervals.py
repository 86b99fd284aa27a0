"""Intervals of weights, and calibration error by noise alone: bootstrap over units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from imi_bench.arrays import Floats
from imi_bench.measure.head import Shrinkage, fit_head
from imi_bench.measure.mixture import Mixture
from imi_bench.measure.table import Table
from imi_bench.provenance import generator
from imi_bench.stats.estimate import Estimate, too_few_draws

_DRAWS, _BINS = 1000, 10


def weight_intervals(
    table: Table,
    final: Mixture,
    names: Sequence[str],
    *,
    grid: Sequence[Shrinkage],
    shares: Floats,
    n_boot: int,
    seed: int,
    level: float,
    linear: bool = False,
    intercept: bool = False,
) -> dict[str, Estimate]:
    """Refit on units drawn with replacement; percentiles of each weight.

    Each refit has a shrinkage of its own, drawn by its share.

    Parameters
    ----------
    table : Table
    final : Mixture
        The fit to all units, from which each refit climbs.
    names : sequence of str
        Of the observers.
    grid : sequence of Shrinkage
    shares : (K,) float64
        Of each shrinkage.
    n_boot : int
        Draws; 0 for none.
    seed, level, linear, intercept
        As in `learn`.
    """
    units = table.index.unit_code
    count = int(units.max()) + 1
    facts: dict[str, Any] = {**table.facts(level), "unit": "logit"}
    if why := "no draws asked for" if n_boot == 0 else too_few_draws(n_boot, level):
        return {
            name: Estimate(float(w), reason=why, **facts)
            for name, w in zip(names, final.weights, strict=True)
        }
    rng = generator(seed, "weights", "bootstrap")
    draws = np.empty((n_boot, len(names)))
    drawn = rng.choice(len(grid), size=n_boot, p=shares)
    for draw in range(n_boot):
        times = np.bincount(rng.integers(count, size=count), minlength=count)[units]
        rows = table.rows
        some = replace(rows, successes=rows.successes * times, answers=rows.answers * times)
        draws[draw] = fit_head(
            some.take(times > 0),
            shrinkage=grid[drawn[draw]],
            linear=linear,
            intercept=intercept,
            start=final.heads[min(drawn[draw], len(final.heads) - 1)],
        ).weights
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    method = f"cluster bootstrap over units (percentile, {n_boot})"
    return {
        name: Estimate(float(w), float(lo), float(hi), method=method, **facts)
        for name, w, lo, hi in zip(names, final.weights, low, high, strict=True)
    }


def error_by_noise(p: Floats, table: Table, *, level: float, seed: int) -> Estimate:
    """Expected calibration error that perfectly calibrated predictions of these answers show.

    The gaps of the ten bins are drawn by units with replacement, about what they are: the mean size
    of what moves, and the range that holds `level` of the draws.

    Parameters
    ----------
    p : (T,) float64
        Probability of a correct answer.
    table : Table
    level : float
    seed : int
    """
    units, rows = table.index.unit_code, table.rows
    place = np.searchsorted(np.linspace(0, 1, _BINS + 1)[1:-1], p, side="left")
    count = int(units.max()) + 1
    gaps = np.zeros((count, _BINS))
    np.add.at(gaps, (units, place), rows.answers * p - rows.successes)
    rng = generator(seed, "calibration error", "noise")
    times = rng.multinomial(count, np.full(count, 1 / count), size=_DRAWS)
    sizes = np.abs((times - 1) @ gaps).sum(axis=1) / rows.answers.sum()
    low, high = np.quantile(sizes, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(
        float(sizes.mean()),
        float(low),
        float(high),
        **table.facts(level),
        method=f"bootstrap over units about zero ({_DRAWS})",
    )
