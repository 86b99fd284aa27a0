"""Means over units and draws of solved trials, and what several draws say together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from imi_bench.arrays import Floats
from imi_bench.stats.estimate import Estimate
from imi_bench.text import plural

_NOTHING = 1e-24  # a variance that is rounding alone


def draws_of(answers: pd.DataFrame) -> Any:
    """(n,) labels of the draws: where solved trials come from several pools, one a pool."""
    draws = answers["draw"].astype(str)
    return (answers["shots_from"].astype(str) + draws if "shots_from" in answers else draws).array


def two_way_mean(
    values: Floats,
    units: Any,
    draws: Any,
    *,
    level: float = 0.95,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> Estimate:
    """A mean whose interval clusters by unit and by draw.

    Cameron, Gelbach and Miller's two-way variance (2011, equation 2.9), never below that by unit
    alone; Student's t with the smaller number of clusters less one. A mean at an end of what it can
    be gets the exact binomial interval with every unit counted once; other values that are the same
    in every unit show no spread, and have none.

    Parameters
    ----------
    values : (n,) float64
    units, draws : Any
        (n,) labels.
    level : float
    bounds : (float, float)
        What a mean can be.

    Examples
    --------
    >>> two_way_mean(np.array([1.0, 0, 1, 1]), np.array(list("aabb")), np.zeros(4)).value
    0.75
    """
    from scipy import stats

    unit, draw = (pd.factorize(np.asarray(labels))[0] for labels in (units, draws))
    count, n_units, n_draws = len(values), unit.max() + 1, draw.max() + 1
    mean = float(np.mean(values))
    facts: dict[str, Any] = {"n": count, "clusters": int(n_units), "level": level}
    if n_units < 2:
        return Estimate(mean, reason="one unit: no interval", **facts)
    rest = np.asarray(values) - mean

    def variance(code: Any) -> float:
        groups = code.max() + 1
        if groups < 2:
            return 0.0
        sums = np.bincount(code, weights=rest)
        return float((sums**2).sum() / count**2 * groups / (groups - 1))

    by_unit = variance(unit)
    both = variance(pd.factorize(unit * n_draws + draw)[0]) if n_draws > 1 else by_unit
    total = max(by_unit, by_unit + variance(draw) - both) if n_draws > 1 else by_unit
    if total <= _NOTHING:
        if bounds == (0.0, 1.0) and mean in bounds:
            ends = stats.binomtest(round(mean) * n_units, int(n_units)).proportion_ci(level)
            method = "exact binomial, each unit counting once (all units are alike)"
            return Estimate(mean, float(ends.low), float(ends.high), method=method, **facts)
        return Estimate(mean, reason="the same in every unit: no interval", **facts)
    df = min(n_units, n_draws) - 1 if n_draws > 1 and total > by_unit else n_units - 1
    half = float(stats.t.ppf(0.5 + level / 2, df) * math.sqrt(total))
    return Estimate(
        mean,
        max(bounds[0], mean - half),
        min(bounds[1], mean + half),
        method=f"two-way clusters (unit, draw), t with {df} degrees of freedom",
        **facts,
    )


def over_draws(
    found: Sequence[Estimate], *, level: float = 0.95, correlation: bool = False
) -> Estimate:
    """One estimate from one a draw: Rubin's rules (1987, equations 3.1.2 to 3.1.6).

    The within-draw variance is read off each interval (as normal), the between-draw variance off
    the values.

    Parameters
    ----------
    found : sequence of Estimate
    level : float
    correlation : bool
        On the scale of Fisher's z, so that no end goes beyond 1.
    """
    from scipy import stats

    defined = [e for e in found if not math.isnan(e.value)]
    if not defined:
        return Estimate.undefined(found[0].reason if found else "no draw")
    values, lows, highs = np.array([(e.value, e.low, e.high) for e in defined]).T
    facts: dict[str, Any] = {
        "level": level,
        "n": defined[0].n,
        "clusters": defined[0].clusters,
        "unit": defined[0].unit,
    }
    scale = ""
    if correlation:
        scale = " of Fisher's z"
        if (np.abs([values, lows, highs]) >= 1).any():
            why = "a correlation of one in a draw: no interval over draws"
            return Estimate(float(values.mean()), reason=why, **facts)
        values, lows, highs = np.arctanh([values, lows, highs])
    z = stats.norm.ppf(0.5 + level / 2)
    within = ((highs - lows) / (2 * z)) ** 2
    count = len(values)
    between = float(values.var(ddof=1)) if count > 1 else 0.0
    extra = (1 + 1 / count) * between
    total = float(within.mean()) + extra
    mean = float(values.mean())
    back = math.tanh if correlation else float
    if math.isnan(total):
        return Estimate(back(mean), reason="an interval of a draw is undefined", **facts)
    df = math.inf if extra == 0 else (count - 1) * (total / extra) ** 2
    half = float(stats.t.ppf(0.5 + level / 2, df) * math.sqrt(total))
    method = f"{plural(count, 'draw')} by Rubin's rules{scale}"
    return Estimate(back(mean), back(mean - half), back(mean + half), method=method, **facts)
