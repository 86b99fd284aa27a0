"""Weighted correlations of many resamples at once."""

from __future__ import annotations

import numpy as np

from imi_bench.arrays import Floats, Ints

_NO_VARIANCE = 1e-12
_TIED = 1e-12  # of the largest value: what differs less differs by the order of additions only


def moments(x: Floats, y: Floats) -> Floats:
    """(…, 6) the columns ``1, x, y, x^2, y^2, xy`` that `pearson` needs the sums of.

    Centre x and y first: sums of squares lose digits far from zero.
    """
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=-1)


def pearson(sums: Floats) -> Floats:
    """Pearson's r from sums (…, 6) of `moments`; NaN where x or y does not vary.

    Examples
    --------
    >>> x, y = np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 2.0])
    >>> round(float(pearson(moments(x, y).sum(axis=0))), 3)
    0.5
    """
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    var_x, var_y = n * xx - x * x, n * yy - y * y
    flat = (var_x <= _NO_VARIANCE * n * np.abs(xx)) | (var_y <= _NO_VARIANCE * n * np.abs(yy))
    product = np.where(flat, np.nan, var_x * var_y)
    return np.asarray((n * xy - x * y) / np.sqrt(product))


def spearman(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Spearman's rho of P points repeated `weights` times, for each row of weights.

    A point drawn w times stands for w tied points, so its rank is the mean of the w places it
    takes: exact for integer weights, and equal to ranking the repeated sample afresh. Values that
    differ by rounding alone (1e-12 of the largest) are tied, on any processor.

    Parameters
    ----------
    x, y : (P,) float64
    weights : (B, P) float64
        Whole numbers.

    Returns
    -------
    (B,) float64
        NaN where x or y does not vary.

    Examples
    --------
    >>> spearman(np.arange(4.0), np.array([0.0, 1.0, 3.0, 2.0]), np.ones((1, 4))).round(3).tolist()
    [0.8]
    """
    by_point = np.ascontiguousarray(weights.T)
    total = by_point.sum(axis=0)
    middle = (total + 1) / 2
    ranks_x, square_x = _midranks(x, by_point)
    ranks_y, square_y = _midranks(y, by_point)
    cross = np.einsum("pb,pb,pb->b", by_point, ranks_x, ranks_y) - total * middle**2
    var_x, var_y = square_x - total * middle**2, square_y - total * middle**2
    flat = (var_x < 0.1) | (var_y < 0.1)
    return np.asarray(cross / np.sqrt(np.where(flat, np.nan, var_x * var_y)))


def _midranks(values: Floats, by_point: Floats) -> tuple[Floats, Floats]:
    """(P, B) weighted mean rank of each point, and (B,) the weighted sum of their squares."""
    order = np.argsort(values, kind="stable")
    first = np.ones(len(order), dtype=bool)
    first[1:] = np.diff(values[order]) > _TIED * np.abs(values).max(initial=0)
    starts = np.flatnonzero(first)
    group = np.empty(len(order), dtype=np.int64)
    group[order] = np.cumsum(first) - 1
    size = by_point[order]
    if len(starts) < len(order):
        size = np.add.reduceat(size, starts, axis=0)
    rank = np.cumsum(size, axis=0)
    rank -= (size - 1) / 2
    return rank[group], np.einsum("gb,gb,gb->b", size, rank, rank)


def kendall_tau_b(x: Floats, y: Floats) -> Floats:
    """Kendall's tau-b along the last axis, (…, P) to (…); NaN where x or y is constant.

    Values are tied as in `spearman`.

    Examples
    --------
    >>> round(float(kendall_tau_b(np.arange(4.0), np.array([0.0, 1.0, 3.0, 2.0]))), 3)
    0.667
    """
    above = np.triu_indices(x.shape[-1], k=1)
    sign_x, sign_y = _signs(x, above), _signs(y, above)
    untied = np.abs(sign_x).sum(axis=-1) * np.abs(sign_y).sum(axis=-1)
    agreement = (sign_x * sign_y).sum(axis=-1)
    return np.asarray(agreement / np.sqrt(np.where(untied > 0, untied, np.nan)))


def _signs(values: Floats, pairs: tuple[Ints, Ints]) -> Floats:
    difference = values[..., pairs[0]] - values[..., pairs[1]]
    tied = _TIED * np.abs(values).max(axis=-1, keepdims=True, initial=0)
    return np.where(np.abs(difference) > tied, np.sign(difference), 0)
