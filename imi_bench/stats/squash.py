"""The guard against a decision variable that is far out of scale.

One value thirty times as large as the others, on the wrong side, would otherwise decide slope and
lapse of a whole calibration, and cost its trial as many bits as a float can hold.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from imi_bench.arrays import Floats

__all__ = ["LEAST_LAPSE", "REACH", "robust_scale", "squash"]

LEAST_LAPSE = 0.01
"""Share of guesses that a robust fit always allows for."""
REACH = 3.0
"""Robust scales at which evidence stops counting more."""
_LEFT_OUT = 0.01
_NORMAL = (
    0.9616  # of a normal variable cut at its 99 % range: sqrt(1 - 2 c phi(c) / 0.99), c = 2.576
)


def robust_scale(evidence: Floats) -> float:
    """Root mean square evidence without its largest 1 %, over its value for a normal variable.

    About zero, not about the mean: zero is where evidence says nothing. The share that is left out
    is rounded up, so one value however large never counts; evidence that is 0 on most trials and
    speaks on few keeps its scale, which a median would not. 1 where all of it is 0.

    Examples
    --------
    >>> x = np.append(np.random.default_rng(0).normal(size=9999), -1e6)
    >>> round(robust_scale(x), 2)
    1.0
    """
    size = np.sort(np.abs(evidence[np.isfinite(evidence)]))
    kept = size[: len(size) - math.ceil(len(size) * _LEFT_OUT)]
    if kept.any():
        return float(np.sqrt((kept**2).mean())) / _NORMAL
    return float(size[-1]) if size.any() else 1.0


def squash(evidence: ArrayLike, scale: ArrayLike) -> Floats:
    """``3 tanh(z / 3)`` of z = evidence / scale: z near 0, at most 3 far out; odd.

    Examples
    --------
    >>> squash([0.1, -30.0], 1.0).round(3).tolist()
    [0.1, -3.0]
    """
    z = np.asarray(evidence, dtype=np.float64) / np.asarray(scale, dtype=np.float64)
    return np.asarray(REACH * np.tanh(z / REACH))
