"""The structural similarity observer: SSIM of small luminance images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imi_bench.arrays import Floats, Pixels
from imi_bench.errors import InputError, UnknownNameError
from imi_bench.observers.classical import luminance
from imi_bench.observers.pooling import (
    OVER_SIMILARITIES,
    TEMPERATURE,
    Pooling,
    Rows,
    Sides,
    check_options,
    contrast,
)
from imi_bench.observers.protocol import Codes, Named
from imi_bench.tables import BlindTrials

_TRIALS_AT_ONCE = 64


class Ssim(Named):
    """Compares images by their structural similarity (Wang et al., IEEE TIP 2004).

    Mean over local windows of SSIM with the usual constants and sample covariances, equal to
    scikit-image's ``structural_similarity`` to the last bit; each pair of images is compared once
    a chunk of trials.

    Parameters
    ----------
    size : int
        Side in pixels of the luminance image that is compared.
    window : int
        Side of the square window in pixels; odd.
    pooling, temperature
        As in `imi_bench.observers.pooling.pool`.

    Raises
    ------
    InputError
        A window that is even or larger than the image.
    UnknownNameError
        A pooling that needs codes which are vectors.
    """

    def __init__(
        self,
        *,
        name: str = "ssim",
        size: int = 64,
        window: int = 7,
        pooling: Pooling = "mean",
        temperature: float = TEMPERATURE,
    ) -> None:
        if window % 2 == 0 or window > size:
            raise InputError("bad window", where="ssim", found=window, wanted=f"odd, <= {size}")
        UnknownNameError.unless_among(pooling, OVER_SIMILARITIES, kind="pooling of SSIM")
        check_options(pooling, "cosine", temperature)
        self.name, self.size, self.window = name, size, window
        self.pooling, self.temperature = pooling, temperature

    def describe(self) -> Mapping[str, Any]:
        """Parameters that can change an answer."""
        return {
            "kind": "ssim",
            "version": 1,
            "size": self.size,
            "window": self.window,
            "pooling": self.pooling,
            **({"temperature": self.temperature} if self.pooling == "softmax" else {}),
        }

    def encode(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """(len(images), size, size) float32 luminance in [0, 1]."""
        return np.stack([luminance(image, self.size) for image in images]).astype(np.float32)

    def decide(self, trials: BlindTrials, codes: Codes | None) -> Floats:
        """(T,) float64 differences of mean SSIM."""
        if codes is None or codes.shape != (len(trials.images), self.size, self.size):
            found = None if codes is None else codes.shape
            raise InputError("codes do not fit the images", where=self.name, found=found)
        return contrast(
            trials,
            lambda *rows: self._similarities(codes, *rows),
            pooling=self.pooling,
            temperature=self.temperature,
            at_once=_TRIALS_AT_ONCE,
        )

    def _similarities(self, codes: Codes, queries: Rows, positive: Rows, negative: Rows) -> Sides:
        shown = np.concatenate([positive, negative], axis=1)
        pairs = np.stack(np.broadcast_arrays(queries[:, :, None], shown[:, None, :]), axis=-1)
        distinct, place = np.unique(
            np.sort(pairs, axis=-1).reshape(-1, 2), axis=0, return_inverse=True
        )
        used, rows = np.unique(distinct, return_inverse=True)
        values = self.compare(codes[used], rows.reshape(-1, 2))[place.reshape(pairs.shape[:-1])]
        return values[..., : positive.shape[1]], values[..., positive.shape[1] :]

    def compare(self, images: NDArray[Any], pairs: Rows) -> Floats:
        """(P,) mean SSIM of pairs of rows, shape (P, 2), of (M, size, size) images in [0, 1]."""
        return np.concatenate(
            [np.empty(0), *_compared(images.astype(np.float64), pairs, window=self.window)]
        )


# Stabilising constants of Wang et al.: (0.01 L)^2 and (0.03 L)^2, at a range L of 1.
_C1, _C2 = 0.01**2, 0.03**2
_PAIRS_AT_ONCE = 8


def _compared(images: Floats, pairs: Rows, *, window: int) -> Iterator[Floats]:
    """Mean SSIM of a few pairs at a time, as scikit-image computes it, to the last bit.

    An image's own local means and variances are computed once, not again in each of its pairs.
    """
    from scipy.ndimage import uniform_filter

    def local(values: Floats) -> Floats:
        means = uniform_filter(values, size=(0, window, window))
        return np.asarray(means[:, inside, inside])

    edge = (window - 1) // 2
    inside = slice(edge, images.shape[1] - edge)
    sample = window**2 / (window**2 - 1)
    mean = local(images)
    variance = sample * (local(images * images) - mean * mean)
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        one, other = pairs[start : start + _PAIRS_AT_ONCE].T
        product = mean[one] * mean[other]
        covariance = sample * (local(images[one] * images[other]) - product)
        similarity = ((2 * product + _C1) * (2 * covariance + _C2)) / (
            (mean[one] ** 2 + mean[other] ** 2 + _C1) * (variance[one] + variance[other] + _C2)
        )
        yield similarity.reshape(len(one), -1).mean(axis=1)
