"""Find fixed effects that have no finite estimate because they separate the answers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from imi_bench.arrays import Floats
from imi_bench.glmm.design import Design

_LARGE_EFFECT = 10.0
_LARGE_ERROR = 4.0


def suspicious_columns(design: Design, estimate: Floats, standard_error: Floats) -> list[str]:
    """Name the columns whose effect over their range is huge, or hardly known at all."""
    span = np.where((span := np.ptp(design.fixed, axis=0)) > 0, span, np.abs(design.fixed[0]))
    huge = (np.abs(estimate) * span > _LARGE_EFFECT) | ~(standard_error * span < _LARGE_ERROR)
    return [name for name, flag in zip(design.names, huge, strict=True) if flag]


def known_where_data_lie(design: Design, estimate: Floats, covariance: Floats) -> bool:
    """Whether all rows' expectations are moderate and known, whatever single columns are.

    The effect of x beside x:z is that at z = 0: where z lies far from zero it is large and hardly
    known, although no answers are nearly separated. What counts there is how far, and how surely,
    the fixed part takes every row from the middle of all: half of what is large over a range.
    """
    centred = design.fixed - design.fixed.mean(axis=0)
    away = np.abs(centred @ estimate).max(initial=0.0)
    variance = np.einsum("np,pq,nq->n", centred, covariance, centred, optimize=True)
    known = variance.max(initial=0.0) <= (_LARGE_ERROR / 2) ** 2
    return bool(away <= _LARGE_EFFECT / 2 and known)


def separated_columns(design: Design) -> list[str]:
    """Name the fixed effects along which the likelihood never stops rising."""
    fixed, response, trials = design.fixed, design.response, design.trials
    if design.family == "ordinal":
        fixed, response, trials = _cut(design)
    flags = separating(fixed, response, trials)[: len(design.names)]
    return [name for name, flag in zip(design.names, flags, strict=True) if flag]


def _cut(design: Design) -> tuple[Floats, Floats, Floats]:
    """Return ordered answers as one binary answer at every threshold, with its indicator."""
    count = len(design.categories) - 1
    rows = [np.hstack([design.fixed, -np.eye(count)[np.full(design.n, k)]]) for k in range(count)]
    above = [design.trials * (design.response > k) for k in range(count)]
    return np.concatenate(rows), np.concatenate(above), np.tile(design.trials, count)


def separating(fixed: Floats, successes: Floats, trials: Floats) -> NDArray[np.bool_]:
    """Flag the columns that separate successes from failures.

    A direction d separates the answers when x'd >= 0 in every row with a success, x'd <= 0 in
    every row with a failure, and not all are zero. A linear programme finds one or shows that
    there is none (Konis 2007, Linear programming algorithms for detecting separated data,
    DPhil thesis, Oxford).

    Parameters
    ----------
    fixed : (n, p) float64
    successes, trials : (n,) float64

    Returns
    -------
    flags : bool (p,), which columns the separating direction uses; none where there is none.

    Examples
    --------
    >>> x = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0], [1.0, 3.0]])
    >>> separating(x, np.array([0.0, 0.0, 1.0, 1.0]), np.ones(4)).tolist()
    [True, True]
    >>> separating(x, np.array([0.0, 1.0, 0.0, 1.0]), np.ones(4)).tolist()
    [False, False]
    """
    none = np.zeros(fixed.shape[1], dtype=bool)
    rows, sums = _distinct_rows(fixed, successes, trials)
    scale = np.maximum(np.abs(rows).max(axis=0), 1e-300)
    rows = rows / scale
    mixed = (sums[:, 0] > 0) & (sums[:, 1] > 0)
    sign = np.where(sums[:, 0] > 0, 1.0, -1.0)
    pure = rows[~mixed] * sign[~mixed, None]
    if not len(pure):
        return none
    result = optimize.linprog(
        -pure.sum(axis=0),
        A_ub=-pure,
        b_ub=np.zeros(len(pure)),
        A_eq=rows[mixed] if mixed.any() else None,
        b_eq=np.zeros(int(mixed.sum())) if mixed.any() else None,
        bounds=(-1.0, 1.0),
        method="highs",
    )
    if result.x is None or float(np.sum(pure @ result.x)) < 1e-6:
        return none
    return np.asarray(np.abs(result.x) > 1e-6)


def _distinct_rows(fixed: Floats, successes: Floats, trials: Floats) -> tuple[Floats, Floats]:
    """Return the distinct rows of the fixed design, with successes and failures in each."""
    rows, which = np.unique(fixed, axis=0, return_inverse=True)
    hits = np.bincount(which.ravel(), weights=successes, minlength=len(rows))
    total = np.bincount(which.ravel(), weights=trials, minlength=len(rows))
    return rows, np.stack([hits, total - hits], axis=1)
