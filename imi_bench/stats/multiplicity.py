"""p-values adjusted for their number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imi_bench.arrays import Array, Floats


def holm(p: Sequence[float] | Array, families: Sequence[str] | None = None) -> Floats:
    """Adjust p-values for their number by Holm's step-down; NaN stays and does not count.

    Parameters
    ----------
    p : (m,) array_like of float
        Unadjusted p-values.
    families : (m,) sequence of str, optional
        Label of each; adjusted for the number inside a family. One family by default.

    Returns
    -------
    (m,) float64
        The smallest level at which Holm's procedure rejects each hypothesis, at most 1.

    Notes
    -----
    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6 (1979), 65-70. ``statsmodels.stats.multitest.multipletests`` gives the same and
    is the reference of the tests; it collects garbage at every call, which costs more than all
    else where a board is ranked.

    Examples
    --------
    >>> holm([0.01, 0.04, float("nan"), 0.03]).tolist()
    [0.03, 0.06, nan, 0.06]
    """
    values = np.asarray(p, dtype=float)
    labels = np.zeros(len(values)) if families is None else np.asarray(families)
    adjusted = np.full(len(values), np.nan)
    for label in np.unique(labels):
        rows = np.flatnonzero(~np.isnan(values) & (labels == label))
        rising = rows[np.argsort(values[rows], kind="stable")]
        left = np.arange(len(rows), 0, -1)
        adjusted[rising] = np.minimum(np.maximum.accumulate(values[rising] * left), 1.0)
    return adjusted


def holm_shared(p: Sequence[float] | Array, families: Sequence[str] | Array) -> Floats:
    """Adjust p-values over all families together, each with an equal share of the level.

    Holm's step-down with weights: a hypothesis of a family of m weighs 1 / (m families), and
    what one rejection leaves unused goes to all the others. The chance of any false rejection, in
    whichever family, is at most the level, and a large family does not take from a small one.

    Parameters
    ----------
    p : (m,) array_like of float
        Unadjusted p-values; NaN stays and does not count.
    families : (m,) sequence of str
        Label of each.

    Returns
    -------
    (m,) float64
        The smallest level at which the procedure rejects each hypothesis, at most 1.

    Notes
    -----
    Holm (1979), section 4: ordered are p over weight, held against the level over the sum of the
    weights that are left. With one family it is `holm`.

    Examples
    --------
    >>> holm_shared([0.01, 0.02, 0.03], ["a", "b", "b"]).tolist()
    [0.02, 0.04, 0.04]
    """
    values, labels = np.asarray(p, dtype=float), np.asarray(families)
    adjusted = np.full(len(values), np.nan)
    rows = np.flatnonzero(~np.isnan(values))
    _, family, sizes = np.unique(labels[rows], return_inverse=True, return_counts=True)
    weight = 1.0 / sizes[family] / max(len(sizes), 1)
    order = np.argsort(values[rows] / weight, kind="stable")
    left = np.cumsum(weight[order][::-1])[::-1]
    scaled = values[rows][order] / weight[order] * left
    adjusted[rows[order]] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted
