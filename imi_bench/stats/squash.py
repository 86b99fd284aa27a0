"""The guard against a decision variable that is far out of scale.

One value thirty times as large as the others, on the wrong side, would otherwise decide slope and
lapse of a whole calibration, and cost its trial as many bits as a float can hold. Three things
together prevent that: a scale that few values cannot move, evidence that counts no more than three
such scales (`squash`), and values that no scale explains, which count as nothing said
(`out_of_scale`).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from imi_bench.arrays import Bools, Floats

LEAST_LAPSE = 0.01
"""Share of guesses that a robust fit always allows for."""
REACH = 3.0
"""Robust scales at which evidence stops counting more."""
FAR = 8.0
"""Robust scales beyond which a value may be taken for a fault of the observer."""
APART = 3.0
"""Times the next smaller value that it must be besides: a heavy tail has no such gap."""
_LEFT_OUT = 0.05
_FEW = 0.01
_WIDEST = 5.0  # scales that the 95 % quantile may lie out: sparse evidence keeps its voice
_CUT = float(ndtri(1 - _LEFT_OUT / 2))
_DENSITY = math.exp(-(_CUT**2) / 2) / math.sqrt(2 * math.pi)
# Root mean square of a standard normal variable cut at its 95 % range.
_NORMAL = math.sqrt(1 - 2 * _CUT * _DENSITY / (1 - _LEFT_OUT))


def robust_scale(evidence: Floats) -> float:
    """Root mean square evidence without its largest 5 %, over its value for a normal variable.

    About zero, not about the mean: zero is where evidence says nothing. The share that is left out
    is rounded up, so one value however large never counts. Evidence that is 0 on most trials and
    speaks on few keeps its scale, which a median would not: the scale is at least a fifth of the
    largest value kept, and the largest value of all where every one kept is 0. 1 where all of it
    is 0.

    Examples
    --------
    >>> x = np.append(np.random.default_rng(0).normal(size=9999), -1e6)
    >>> round(robust_scale(x), 2)
    1.0
    """
    size = np.sort(np.abs(evidence[np.isfinite(evidence)]))
    kept = size[: len(size) - math.ceil(len(size) * _LEFT_OUT)]
    if kept.any():
        middling = float(np.sqrt((kept**2).mean())) / _NORMAL
        return max(middling, float(kept[-1]) / _WIDEST)
    return float(size[-1]) if size.any() else 1.0


def out_of_scale(evidence: Floats) -> Bools:
    """Values that no scale explains: beyond eight robust scales, and apart from all the others.

    Apart: at least three times the largest value that is left. Observers with heavy tails (a
    discriminant of well separated sets) say large things often, and keep them. At most 1 % of the
    values, rounded up, can be out of scale. No answer of anybody is looked at; NaN is not out of
    scale.

    Examples
    --------
    >>> x = np.append(np.random.default_rng(0).normal(size=399), -30.0)
    >>> out_of_scale(x).nonzero()[0].tolist()
    [399]
    >>> bool(out_of_scale(np.geomspace(0.1, 30, 400)).any())
    False
    """
    size = np.abs(evidence)
    told = np.sort(size[np.isfinite(size)])
    if len(told) < 2:
        return np.zeros(len(size), dtype=bool)
    few = math.ceil(len(told) * _FEW)
    apart = (told[1:] > FAR * robust_scale(told)) & (told[1:] >= APART * told[:-1])
    apart[:-few] = False
    if not apart.any():
        return np.zeros(len(size), dtype=bool)
    return np.asarray(size >= told[1:][apart][0], dtype=bool)


def squash(evidence: ArrayLike, scale: ArrayLike) -> Floats:
    """``3 tanh(z / 3)`` of z = evidence / scale: z near 0, at most 3 far out; odd.

    Examples
    --------
    >>> squash([0.1, -30.0], 1.0).round(3).tolist()
    [0.1, -3.0]
    """
    z = np.asarray(evidence, dtype=np.float64) / np.asarray(scale, dtype=np.float64)
    return np.asarray(REACH * np.tanh(z / REACH))
