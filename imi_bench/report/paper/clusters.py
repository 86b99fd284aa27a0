"""Means of answers whose people and units are both a sample: two-way cluster-robust intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from imi_bench.arrays import Bools, Floats, Ints

__all__ = ["clustered_means", "clustered_variance", "of_units", "people_factor"]

_STRATA = {"participant": ("network", "mode", "difficulty"), "unit_id": ("network",)}


def clustered_means(rows: pd.DataFrame, value: str, by: list[str]) -> pd.DataFrame:
    """Mean of `value` in each group of `by`, with a 95% interval over people and units.

    Parameters
    ----------
    rows : DataFrame
        One row an answer: `value`, `by`, `participant`, and `unit_id` where units are a sample
        too; `network`, `mode`, `difficulty` where there are several, which are fixed.
    value : str
    by : list of str

    Returns
    -------
    DataFrame
        `by`, `mean`, `low`, `high`, `answers`, `people`. No interval (NaN) for a single person;
        ends of proportions are kept within 0 and 1.

    Notes
    -----
    The ratio of sums, linearised; variance of people plus that of units less that of answers
    (Cameron, Gelbach and Miller 2011, *Journal of Business & Economic Statistics* 29, 238-249),
    each within networks (people: within conditions), and Student's t for the fewer of the two.
    A person who gave more answers weighs more.
    """
    found = []
    every = rows[value].to_numpy(float)
    proportions = bool(len(every) and every.min() >= 0 and every.max() <= 1)
    for key, at in rows.groupby(by, observed=True, sort=True).indices.items():
        part = np.zeros(len(rows), dtype=bool)
        part[at] = True
        numbers = rows[value].to_numpy(float)
        mean = float(numbers[part].mean())
        influence = np.where(part, numbers - mean, 0.0) / part.sum()
        variance, df = clustered_variance(influence, rows, part)
        half = stats.t.ppf(0.975, df) * np.sqrt(variance) if df > 0 else np.nan
        low, high = mean - half, mean + half
        if proportions and np.isfinite(half):
            low, high = max(low, 0.0), min(high, 1.0)
        named = dict(zip(by, key if isinstance(key, tuple) else (key,), strict=True))
        found.append(
            {
                **named,
                "mean": mean,
                "low": low,
                "high": high,
                "answers": int(part.sum()),
                "people": rows["participant"][part].nunique(),
            }
        )
    return pd.DataFrame(found)


def people_factor(rows: pd.DataFrame) -> dict[str, float]:
    """By how much a network's standard error grows when people are a sample as well as units.

    Parameters
    ----------
    rows : DataFrame
        One row an answer of one kind of references: `network`, `participant`, `unit_id`,
        `correct`.

    Returns
    -------
    dict of str to float
        1 or more; nothing for a network of one unit or one person.
    """
    found = {}
    for network, part in rows.groupby("network", observed=True):
        answers = part.reset_index(drop=True)
        influence = of_units(answers)
        both, df = clustered_variance(influence, answers)
        alone, _ = clustered_variance(influence, answers.drop(columns="participant"))
        if df > 0 and alone > 0:
            found[str(network)] = float(np.sqrt(both / alone))
    return found


def of_units(rows: pd.DataFrame) -> Floats:
    """Influence of each answer on the mean of units' proportions, whose answers share a weight."""
    by = rows.groupby("unit_id", observed=True)["correct"]
    weight = 1.0 / (by.transform("size") * by.ngroups)
    return (weight * (rows["correct"] - float(by.mean().mean()))).to_numpy(float)


def clustered_variance(
    influence: Floats, rows: pd.DataFrame, used: Bools | None = None
) -> tuple[float, int]:
    """Variance of a sum of answers' influences, and its degrees of freedom.

    Parameters
    ----------
    influence : (R,) float64
    rows : (R,) DataFrame
        `participant`, and any of `unit_id`, `network`, `mode`, `difficulty`.
    used : (R,) bool, optional
        Answers that count clusters; all by default.
    """
    used = np.ones(len(rows), dtype=bool) if used is None else used
    variances, freedom, clusters = [], [], {}
    for name in ("participant", "unit_id"):
        if name not in rows:
            continue
        clusters[name], _ = pd.factorize(rows[name])
        stratum = _codes(rows, _STRATA[name])
        pairs = _pairs(clusters[name], stratum)
        variances.append(_between(influence, *pairs))
        counted = np.flatnonzero(np.bincount(pairs[0], used))
        freedom.append(len(counted) - len(np.unique(pairs[1][counted])))
    if len(variances) == 1:
        return variances[0], min(freedom)
    person, unit = clusters["participant"], clusters["unit_id"]
    cell, _ = pd.factorize(person.astype(np.int64) * (int(unit.max()) + 1) + unit)
    both = _between(influence, *_pairs(cell, _codes(rows, _STRATA["participant"])))
    return max(sum(variances) - both, *variances), min(freedom)


def _pairs(cluster: Ints, stratum: Ints) -> tuple[Ints, Ints]:
    """Number of each answer's cluster within its stratum, and the stratum of each number."""
    strata = int(stratum.max()) + 1
    place, pairs = pd.factorize(cluster.astype(np.int64) * strata + stratum)
    return np.asarray(place, dtype=np.int64), np.asarray(pairs, dtype=np.int64) % strata


def _codes(rows: pd.DataFrame, names: tuple[str, ...]) -> Ints:
    known = [name for name in names if name in rows]
    if not known:
        return np.zeros(len(rows), dtype=np.int64)
    return np.asarray(rows.groupby(known, observed=True).ngroup(), dtype=np.int64)


def _between(influence: Floats, place: Ints, of: Ints) -> float:
    """Variance of the sum over clusters drawn within strata.

    A cluster's total is held against its share of the stratum's; a cluster that is alone in its
    stratum has nobody to be compared with and counts by its total.
    """
    total = np.bincount(place, influence)
    size = np.bincount(place).astype(float)
    count = np.bincount(of, minlength=int(of.max()) + 1)
    mean = np.bincount(of, total, minlength=len(count)) / np.maximum(
        np.bincount(of, size, minlength=len(count)), 1
    )
    alone = count[of] < 2
    gap = np.where(alone, total, total - size * mean[of])
    factor = np.where(alone, 1.0, count[of] / np.maximum(count[of] - 1, 1))
    return float((factor * gap**2).sum())
