"""Intervals of weights: bootstrap over units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from imi_bench.arrays import Floats
from imi_bench.measure.head import HeadRows, Shrinkage, fit_head
from imi_bench.measure.mixture import Mixture
from imi_bench.measure.table import Table
from imi_bench.provenance import generator
from imi_bench.stats.estimate import Estimate

__all__ = ["weight_intervals"]


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
    facts: dict[str, Any] = {
        "n": int(table.rows.answers.sum()),
        "clusters": count,
        "level": level,
        "unit": "logit",
    }
    if n_boot == 0:
        return {
            name: Estimate(float(w), reason="no draws asked for", **facts)
            for name, w in zip(names, final.weights, strict=True)
        }
    rng = generator(seed, "weights", "bootstrap")
    draws = np.empty((n_boot, len(names)))
    drawn = rng.choice(len(grid), size=n_boot, p=shares)
    for draw in range(n_boot):
        times = np.bincount(rng.integers(count, size=count), minlength=count)[units]
        rows = table.rows
        some = HeadRows(
            rows.evidence,
            rows.features,
            rows.covariates,
            rows.successes * times,
            rows.answers * times,
        )
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
