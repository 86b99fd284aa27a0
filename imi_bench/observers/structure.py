"""The structural similarity observer: SSIM of small luminance images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imi_bench.arrays import Floats, Pixels
from imi_bench.errors import InputError, UnknownNameError
from imi_bench.observers.classical import luminance
from imi_bench.observers.pooling import OVER_SIMILARITIES, Pooling, Rows, Sides, contrast
from imi_bench.observers.protocol import Codes
from imi_bench.tables import BlindTrials

_TRIALS_AT_ONCE = 64


class Ssim:
    """Compares images by their structural similarity (Wang et al., IEEE TIP 2004).

    Mean over local windows of SSIM with the usual constants and sample covariances, by
    scikit-image's ``structural_similarity``; each pair of images is compared once a chunk of
    trials.

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
        temperature: float = 0.1,
    ) -> None:
        if window % 2 == 0 or window > size:
            raise InputError("bad window", where="ssim", found=window, wanted=f"odd, <= {size}")
        if pooling not in OVER_SIMILARITIES:
            raise UnknownNameError.among(pooling, OVER_SIMILARITIES, kind="pooling of SSIM")
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
        from skimage.metrics import structural_similarity

        known = images.astype(np.float64)
        found = [
            structural_similarity(known[one], known[other], win_size=self.window, data_range=1.0)
            for one, other in pairs
        ]
        return np.array(found, dtype=np.float64)
