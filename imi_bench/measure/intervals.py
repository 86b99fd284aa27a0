"""Intervals of weights: bootstrap over units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from imi_bench.measure.head import Head, HeadRows, Shrinkage, fit_head
from imi_bench.measure.table import Table
from imi_bench.provenance import generator
from imi_bench.stats.estimate import Estimate

__all__ = ["weight_intervals"]


def weight_intervals(
    table: Table,
    final: Head,
    names: Sequence[str],
    *,
    shrinkage: Shrinkage,
    n_boot: int,
    seed: int,
    level: float,
    linear: bool = False,
    intercept: bool = False,
) -> dict[str, Estimate]:
    """Refit on units drawn with replacement, at one shrinkage; percentiles of each weight.

    Parameters
    ----------
    table : Table
    final : Head
        The fit to all units, from which each refit climbs.
    names : sequence of str
        Of the observers.
    shrinkage : Shrinkage
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
            shrinkage=shrinkage,
            linear=linear,
            intercept=intercept,
            start=final,
        ).weights
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    method = f"cluster bootstrap over units (percentile, {n_boot})"
    return {
        name: Estimate(float(w), float(lo), float(hi), method=method, **facts)
        for name, w, lo, hi in zip(names, final.weights, low, high, strict=True)
    }
