"""Observers that need no learning: pixels, structure, colour and texture statistics.

Every one first resizes the whole image to a square, so that images of any size compare.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imi_bench.arrays import Floats, Pixels
from imi_bench.errors import UnknownNameError
from imi_bench.observers.embedding import Embedding
from imi_bench.observers.pooling import TEMPERATURE, Pooling

# What a part without content (no edges, say) still shares with other such images.
_FLOOR = 0.1


def thumbnail(image: Pixels, size: int) -> Floats:
    """Resize to (size, size, 3) in [0, 1], antialiased, aspect ratio given up."""
    small = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(small, dtype=np.float64) / 255


def luminance(image: Pixels, size: int) -> Floats:
    """(size, size) luma in [0, 1] of the thumbnail (ITU-R BT.601, as Pillow's mode L)."""
    return np.asarray(thumbnail(image, size) @ np.array([0.299, 0.587, 0.114]))


class Part(Protocol):
    """A description of one image as a vector of unit length."""

    def describe(self) -> Mapping[str, Any]:
        """Parameters that can change the vector."""
        ...

    def __call__(self, image: Pixels) -> Floats:
        """(D,) vector."""
        ...


class ColourHistogram:
    """Joint histogram of CIELAB colours, smoothed over neighbouring bins.

    The vector is the square root of the bin fractions: its dot product is the Bhattacharyya
    coefficient of two histograms. CIELAB distances approximate perceived colour differences
    (CIE 1976).
    """

    bins = (8, 12, 12)  # of lightness, a* and b*
    size = 96  # of the thumbnail's side, in pixels
    _RANGE = ((0.0, 100.0), (-100.0, 100.0), (-110.0, 110.0))

    def describe(self) -> Mapping[str, Any]:
        """Parameters that can change the vector."""
        return {"part": "colour", "version": 1, "bins": list(self.bins), "size": self.size}

    def __call__(self, image: Pixels) -> Floats:
        """(prod(bins),) square roots of bin fractions."""
        from scipy.ndimage import gaussian_filter
        from skimage.color import rgb2lab

        colours = rgb2lab(thumbnail(image, self.size)).reshape(-1, 3)
        places = [
            np.clip((colours[:, axis] - low) / (high - low) * count, 0, count - 1).astype(int)
            for axis, ((low, high), count) in enumerate(zip(self._RANGE, self.bins, strict=True))
        ]
        flat = np.ravel_multi_index(tuple(places), self.bins)
        counts = np.bincount(flat, minlength=int(np.prod(self.bins))).reshape(self.bins)
        smooth = gaussian_filter(counts.astype(np.float64), sigma=0.75, mode="nearest")
        return np.asarray(np.sqrt(smooth / smooth.sum()).ravel())


class OrientedEnergy:
    """Energy of Gabor quadrature pairs over scales and orientations, averaged in a coarse grid.

    Amplitudes are compressed by a square root, as contrast is in early vision, and averaged in
    cells, so that texture counts and exact position does not.

    Parameters
    ----------
    grid : int
        Cells along each side, a divisor of `size`.
    """

    wavelengths = (4, 8, 16)  # of the filters, in pixels of the thumbnail; bandwidth one octave
    orientations = 6  # spaced evenly over half a turn
    size = 96  # of the thumbnail's side, in pixels

    def __init__(self, *, grid: int = 3) -> None:
        self.grid = grid

    def describe(self) -> Mapping[str, Any]:
        """Parameters that can change the vector."""
        return {
            "part": "texture",
            "version": 1,
            "wavelengths": list(self.wavelengths),
            "orientations": self.orientations,
            "grid": self.grid,
            "size": self.size,
        }

    @cached_property
    def _bank(self) -> tuple[NDArray[np.complex64], int]:
        """Transfer functions (F, S, S) of the filters, and the margin to pad by."""
        from scipy import fft
        from skimage.filters import gabor_kernel

        kernels = [
            gabor_kernel(1 / wavelength, theta=np.pi * turn / self.orientations, bandwidth=1)
            for wavelength in self.wavelengths
            for turn in range(self.orientations)
        ]
        margin = max(max(kernel.shape) for kernel in kernels) // 2 + 1
        side = fft.next_fast_len(self.size + 2 * margin)
        bank = np.zeros((len(kernels), side, side), dtype=np.complex64)
        for plane, kernel in zip(bank, kernels, strict=True):
            rows, columns = kernel.shape
            plane[:rows, :columns] = kernel
            plane[:] = np.roll(plane, (-(rows // 2), -(columns // 2)), axis=(0, 1))
        return fft.fft2(bank), margin

    def __call__(self, image: Pixels) -> Floats:
        """(grid * grid * wavelengths * orientations + 1,) unit vector."""
        from scipy import fft

        bank, margin = self._bank
        grey = luminance(image, self.size)
        padded = np.pad((grey - grey.mean()).astype(np.float32), margin, mode="symmetric")
        responses = fft.fft2(padded, s=bank.shape[1:]) * bank
        # back axis by axis, as `ifft2` does, and only where the image is
        inside, share = slice(margin, margin + self.size), np.float32(1 / bank[0].size)
        responses = fft.ifft(responses, axis=1, norm="forward", overwrite_x=True)[:, inside] * share
        responses = fft.ifft(responses, axis=2, norm="forward", overwrite_x=True)[:, :, inside]
        amplitude = np.abs(responses)
        cell = self.size // self.grid
        shape = (len(bank), self.grid, cell, self.grid, cell)
        return _unit_with_floor(np.sqrt(amplitude.reshape(shape).mean(axis=(2, 4))))


class Gradients:
    """Histogram of oriented gradients (Dalal & Triggs, CVPR 2005), from scikit-image."""

    size = 128  # of the thumbnail's side, in pixels
    cell = 16  # side of a cell in pixels; blocks of two by two cells, nine orientations

    def describe(self) -> Mapping[str, Any]:
        """Parameters that can change the vector."""
        return {"part": "gradients", "version": 1, "size": self.size, "cell": self.cell}

    def __call__(self, image: Pixels) -> Floats:
        """(D,) unit vector."""
        from skimage.feature import hog

        cells = (self.cell, self.cell)
        return _unit_with_floor(
            hog(
                luminance(image, self.size),
                orientations=9,
                pixels_per_cell=cells,
                cells_per_block=(2, 2),
                block_norm="L2-Hys",
            )
        )


def _unit_with_floor(vector: Floats) -> Floats:
    """Append a small constant and bring to unit length, so that an empty vector has a direction."""
    extended = np.append(vector.ravel(), _FLOOR)
    return np.asarray(extended / np.linalg.norm(extended))


PARTS: Mapping[str, type[ColourHistogram] | type[OrientedEnergy] | type[Gradients]] = {
    "colour": ColourHistogram,
    "texture": OrientedEnergy,
    "gradients": Gradients,
}


# Inverse standard deviation of each part's similarity over all pairs of 150 ImageNet photographs,
# rounded: the parts then vary alike. No answers, of people or machines, went into it.
BALANCED: Mapping[str, float] = {"colour": 7, "texture": 27, "gradients": 12}


class Pixel:
    """Encoder: the thumbnail itself.

    Codes are divided by the root of their length, so that a Euclidean distance is the root mean
    square difference of intensities in [0, 1].
    """

    def __init__(self, *, size: int = 64) -> None:
        self.size = size

    def describe(self) -> Mapping[str, Any]:
        """Parameters that can change a code."""
        return {"kind": "pixel", "version": 1, "size": self.size}

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """(len(images), size * size * 3) float32."""
        codes = np.stack([thumbnail(image, self.size).ravel() for image in images])
        return np.asarray(codes / np.sqrt(codes.shape[1]), dtype=np.float32)


class Classical:
    """Encoder: unit vectors of the parts, weighted so that cosines add up.

    The cosine of two codes is the weighted mean of the cosines of their parts.

    Parameters
    ----------
    weights : mapping of str to float
        Mapping of part name to positive weight
        Parts are ``colour``, ``texture``, ``gradients``.

    Raises
    ------
    UnknownNameError
        A part that does not exist.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        for part in weights:
            UnknownNameError.unless_among(part, PARTS, kind="part of the classical observer")
        total = sum(weights.values())
        self.weights = {part: weight / total for part, weight in weights.items()}
        self.parts: dict[str, Part] = {part: PARTS[part]() for part in weights}

    def describe(self) -> Mapping[str, Any]:
        """Parts, their parameters and weights."""
        return {
            "kind": "classical",
            "weights": self.weights,
            "floor": _FLOOR,
            "parts": [part.describe() for part in self.parts.values()],
        }

    def __call__(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """(len(images), D) float32 of unit length."""
        return np.asarray(np.stack([self._code(image) for image in images]), dtype=np.float32)

    def _code(self, image: Pixels) -> Floats:
        return np.concatenate(
            [
                np.sqrt(self.weights[name]) * _remembered(name, part, image)
                for name, part in self.parts.items()
            ]
        )


_MOST_REMEMBERED = 3000
_memory: OrderedDict[tuple[str, bytes], Floats] = OrderedDict()


def _remembered(name: str, part: Part, image: Pixels) -> Floats:
    """A part's code of an image, from the last few thousand: several observers share parts."""
    pixels = np.ascontiguousarray(image)
    content = hashlib.sha256(pixels.data)
    content.update(repr((pixels.shape, pixels.dtype.str, part.describe())).encode())
    key = (name, content.digest())
    if (code := _memory.get(key)) is None:
        code = part(image)
        code.flags.writeable = False
        with contextlib.suppress(KeyError):
            while len(_memory) >= _MOST_REMEMBERED:
                _memory.popitem(last=False)
        _memory[key] = code
    return code


def pixel(
    *,
    name: str = "pixel-cosine",
    similarity: str = "cosine",
    size: int = 64,
    pooling: Pooling = "mean",
    temperature: float = TEMPERATURE,
) -> Embedding:
    """Observer that compares thumbnails pixel by pixel (loader of the pixel cards)."""
    return Embedding(
        Pixel(size=size),
        name=name,
        pooling=pooling,
        similarity=similarity,
        temperature=temperature,
    )


def classical(
    *,
    name: str = "classical",
    weights: Mapping[str, float] | None = None,
    pooling: Pooling = "mean",
    temperature: float = TEMPERATURE,
) -> Embedding:
    """Observer of colour and texture statistics (loader of the classical cards).

    Parameters
    ----------
    weights : mapping, optional
        As in `Classical`; `BALANCED` by default.
    """
    encoder = Classical(BALANCED if weights is None else weights)
    return Embedding(encoder, name=name, pooling=pooling, temperature=temperature)
