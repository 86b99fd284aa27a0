r"""Discriminants fitted to a trial's own references, without any answer of people; arrays only.

The mean of similarities weighs every feature of a code alike. A person who looks at nine images of
either kind notices what is *consistent* in them; so do these two rules, each a linear function f
of a query's code, with the decision variable f(first query) - f(second query).

**Ridge.** Regression of the labels +1 and -1 on the 2K references with a penalty. In terms of the
matrix S of similarities among references, centred to S_c = H S H, the coefficients are

    a = (S_c + lambda tr(S_c) / (2K - 1) I)^-1 y,     f(q) = sum_k a_k s(q, e_k)

(kernel ridge regression: Saunders, Gammerman & Vovk, ICML 1998). The labels sum to 0 and the
centred matrix has no part along (1, ..., 1), so the a_k sum to 0 and constants in s drop out; a
similarity need therefore be positive definite only up to a constant, as minus a Euclidean distance
is. With lambda to infinity a is proportional to y: pooling by the mean.

**t-discriminant.** A diagonal discriminant in which each feature d counts by how surely the two
sets differ in it,

    w_d = |t_d| (m+_d - m-_d) / s_d^2,    t_d = (m+_d - m-_d) / (s_d sqrt(2 / K)),
    s_d^2 = pooled variance within the sets + its mean over all features,

the last term keeping features without spread from counting without end (as the fudge factor of
Tusher, Tibshirani & Chu, PNAS 2001). Without |t_d| it is the usual diagonal linear discriminant
(Dudoit, Fridlyand & Speed, JASA 2002). With one reference a side nothing is known of the spread,
and w is the difference of the two.
"""

from __future__ import annotations

import numpy as np

from imi_bench.arrays import Floats

__all__ = ["RIDGE", "ridge_contrast", "t_weights"]

RIDGE = 1.0
"""lambda: the penalty in units of the mean variance along a direction of the references."""


def ridge_contrast(among: Floats, queries: Floats, *, penalty: float = RIDGE) -> Floats:
    """Decision variables of the ridge discriminant.

    Parameters
    ----------
    among : (C, 2K, 2K) float64
        Similarities among references, the K positive ones first.
    queries : (C, 2, 2K) float64
        Similarity of each query to each reference.
    penalty : float
        Lambda.

    Returns
    -------
    (C,) float64
        NaN where a similarity is; 0 where all references are alike.

    Examples
    --------
    >>> codes = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> ridge_contrast((codes @ codes.T)[None], codes[None], penalty=1.0).round(6).tolist()
    [1.0]
    """
    size = among.shape[-1]
    labels = np.repeat([1.0, -1.0], size // 2)
    centred = among - among.mean(axis=1, keepdims=True)
    centred -= centred.mean(axis=2, keepdims=True)
    defined = np.isfinite(centred).all(axis=(1, 2)) & np.isfinite(queries).all(axis=(1, 2))
    spread = np.trace(centred, axis1=1, axis2=2) / max(size - 1, 1)
    alike = ~(spread > 1e-12 * np.abs(among).max(axis=(1, 2), initial=0))
    solvable = defined & ~alike
    found = np.where(defined, 0.0, np.nan)
    system = centred[solvable] + penalty * spread[solvable, None, None] * np.eye(size)
    weights = np.linalg.solve(system, np.broadcast_to(labels[:, None], (len(system), size, 1)))
    difference = queries[solvable, 0] - queries[solvable, 1]
    found[solvable] = np.einsum("ck,ck->c", difference, weights[..., 0])
    return found


def t_weights(positive: Floats, negative: Floats) -> Floats:
    """Weights of the t-discriminant.

    Parameters
    ----------
    positive, negative : (C, K, D) float64
        Codes of the references.

    Returns
    -------
    (C, D) float64
        Positive where the positive references are higher.

    Examples
    --------
    >>> positive, negative = np.array([[[1.0, 0.5], [1.0, 1.5]]]), np.array([[[0.0, 0.5]] * 2])
    >>> t_weights(positive, negative).round(3).tolist()
    [[22.627, 1.089]]
    """
    count = positive.shape[1]
    difference = positive.mean(axis=1) - negative.mean(axis=1)
    if count < 2:
        return np.asarray(difference)
    within = (positive.var(axis=1, ddof=1) + negative.var(axis=1, ddof=1)) / 2
    typical = within.mean(axis=1, keepdims=True)
    variance = np.where(typical > 0, within + typical, 1.0)
    t = difference / np.sqrt(variance * 2 / count)
    return np.asarray(np.abs(t) * difference / variance)
