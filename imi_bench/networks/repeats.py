"""Images with the pixels of another one, though their files differ: other formats, other headers.

A collection's files are known by their bytes, which costs no decoding. After a pass over the images
equal pixels have given equal values, so only images whose values agree with those of another one
are decoded again and compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from imi_bench.beside import cores
from imi_bench.networks.collection import ImageSet, pixel_hash
from imi_bench.progress import progress
from imi_bench.text import plural

__all__ = ["distinct", "repeated_files_said", "repeated_pixels"]

_ALIKE = 1e-4  # share of their size by which values of equal pixels may differ by rounding
_DIRECTIONS = 6


def repeated_pixels(images: ImageSet, values: NDArray[Any]) -> int:
    """How many images have the pixels of an earlier one.

    Parameters
    ----------
    images : ImageSet
    values : (N, ...) float array
        What a pass has made of every image: activations, or codes.

    Examples
    --------
    >>> from imi_bench.networks.collection import open_images
    >>> pictures = np.zeros((3, 8, 8, 3), np.uint8)
    >>> pictures[1] = 9
    >>> repeated_pixels(open_images(pictures), pictures.mean((1, 2)))
    1
    """
    if images.by_pixels:
        return images.repeated
    some = _alike(values.reshape(len(values), -1))
    return len(some) - len(set(_hashes(images, some.tolist(), "comparing images that look alike")))


def distinct(images: ImageSet) -> ImageSet:
    """The first image of each content: files of equal bytes, then files of equal pixels.

    All files are decoded for it, once.
    """
    kept = images.unique()
    if images.by_pixels:
        return kept
    first: dict[str, int] = {}
    for number, digest in enumerate(_hashes(kept, range(len(kept)), "hashing pixels")):
        first.setdefault(digest, number)
    return kept.take(np.array(list(first.values()), dtype=np.int64))


def repeated_files_said(images: ImageSet, repeated: int) -> tuple[str, ...]:
    """A line about the repeated images that `ImageSet.cautions` does not know of."""
    more = repeated - images.repeated
    if more <= 0:
        return ()
    return (
        f"warning: {more} of {plural(len(images), 'image')} repeat the pixels of "
        f"another one in a file of "
        "other bytes: they raise scores and stand among their own references; leave them out by "
        "unique=True",
    )


def _alike(values: NDArray[Any]) -> NDArray[np.int64]:
    """Numbers of the rows that another row agrees with, by their projections."""
    drawn = np.random.default_rng(0).standard_normal((values.shape[1], _DIRECTIONS))
    points = np.nan_to_num(np.asarray(values @ drawn.astype(np.float32), dtype=np.float64))
    once, group, count = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    group = group.reshape(-1)
    near = count > 1
    if len(once) > 1:
        reach = _ALIKE * float(np.sqrt(np.mean(once**2))) * _DIRECTIONS**0.5
        distance, _ = cKDTree(once).query(once, k=2)
        near |= distance[:, 1] <= reach
    return np.flatnonzero(near[group])


def _hashes(images: ImageSet, numbers: Sequence[int], label: str) -> list[str]:
    found = []
    with (
        progress(label, total=len(numbers), unit="images") as advance,
        ThreadPoolExecutor(cores() if images.concurrent else 1) as pool,
    ):
        for digest in pool.map(lambda number: pixel_hash(images.read(number)), numbers):
            found.append(digest)
            advance(1)
    return found
