"""Means over units and draws of solved trials, and what several draws say together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from imi_bench.arrays import Floats
from imi_bench.stats.estimate import Estimate


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
    alone; Student's t with the smaller number of clusters less one.

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
    df = min(n_units, n_draws) - 1 if n_draws > 1 and total > by_unit else n_units - 1
    half = float(stats.t.ppf(0.5 + level / 2, df) * math.sqrt(total))
    return Estimate(
        mean,
        max(bounds[0], mean - half),
        min(bounds[1], mean + half),
        method=f"two-way clusters (unit, draw), t with {df} degrees of freedom",
        **facts,
    )


def over_draws(found: Sequence[Estimate], *, level: float = 0.95) -> Estimate:
    """One estimate from one a draw: Rubin's rules (1987, equations 3.1.2 to 3.1.6).

    The within-draw variance is read off each interval (as normal), the between-draw variance off
    the values.
    """
    from scipy import stats

    defined = [e for e in found if not math.isnan(e.value)]
    if not defined:
        return Estimate.undefined(found[0].reason if found else "no draw")
    values = np.array([e.value for e in defined])
    z = stats.norm.ppf(0.5 + level / 2)
    within = np.array([((e.high - e.low) / (2 * z)) ** 2 for e in defined])
    count = len(values)
    between = float(values.var(ddof=1)) if count > 1 else 0.0
    total = float(within.mean()) + (1 + 1 / count) * between
    extra = (1 + 1 / count) * between
    df = math.inf if extra == 0 else (count - 1) * (total / extra) ** 2
    half = (
        float(stats.t.ppf(0.5 + level / 2, df) * math.sqrt(total)) if total == total else math.nan
    )
    mean = float(values.mean())
    first = defined[0]
    return Estimate(
        mean,
        mean - half,
        mean + half,
        level=level,
        method=f"{count} draws by Rubin's rules",
        n=first.n,
        clusters=first.clusters,
        unit=first.unit,
        reason="" if half == half else "an interval of a draw is undefined",
    )
