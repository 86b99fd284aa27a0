"""Features of the sets of references that need no people; unchanged when anything is swapped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imi_bench.arrays import Floats
from imi_bench.errors import InputError
from imi_bench.observers.learned import SET_FEATURES, agreement, set_features
from imi_bench.observers.protocol import Encoder
from imi_bench.tables import Trials

__all__ = ["SET_FEATURES", "agreement", "encoded", "set_features"]

_BATCH = 64


def encoded(observer: Encoder, trials: Trials, *, at_once: int = _BATCH) -> NDArray[np.float32]:
    """(N, D) codes of all images of the trials."""
    parts: Sequence[Floats] = [
        np.asarray(observer.encode([trials.images.decode(i) for i in range(a, b)]))
        for a, b in _slices(len(trials.images), at_once)
    ]
    if not parts:
        raise InputError("no images to take features from", where=observer.name)
    codes = np.concatenate(parts)
    return codes.reshape(len(codes), -1).astype(np.float32)


def _slices(count: int, size: int) -> list[tuple[int, int]]:
    return [(start, min(start + size, count)) for start in range(0, count, size)]
