"""Pictures that are alike: equal in every pixel, or with nearly the same perceptual hash.

Near are those whose pHash (package ``imagehash``, extra ``vlm``) differs in at most eight of 64
bits, as they are or mirrored. A crop has another hash.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from imi_bench.arrays import Bools, Floats, Ints, Pixels, Strings
from imi_bench.extras import require
from imi_bench.progress import progress
from imi_bench.provenance import sha256_bytes
from imi_bench.tables.images import Images

BITS = 8  # at most so many of 64 differ
BLOCK = 1024  # pictures whose distances to all others are in memory together


class _Hashed(NamedTuple):
    pixels: str  # SHA-256 of shape and pixels: files of other bytes may hold the same picture
    bits: bytes  # 8 of the picture as it is, 8 of its mirror image


_KNOWN: dict[str, _Hashed] = {}  # by content hash


@dataclass(frozen=True, eq=False)
class Likeness:
    """What N pictures are compared by.

    Attributes
    ----------
    pixels : (N,) str
        SHA-256 of shape and pixels.
    plain, mirrored : (N, 64) bool
        Perceptual hash of each as it is, and of its mirror image.
    """

    pixels: Strings
    plain: Bools
    mirrored: Bools

    @classmethod
    def of(cls, images: Images, rows: Ints) -> Likeness:
        """Of some rows of images; what was hashed once is known by its content.

        Raises
        ------
        MissingExtraError
            Without the package ``imagehash`` (extra ``vlm``).
        """
        names = [str(images.hashes[int(row)]) for row in rows]
        new = {n: int(row) for n, row in zip(names, rows, strict=True) if n not in _KNOWN}
        if new:
            with progress("perceptual hashes", total=len(new), unit="images") as advance:
                for name, row in new.items():
                    _KNOWN[name] = _hashed(images.decode(row))
                    advance(1)
        return cls._of([_KNOWN[name] for name in names])

    @classmethod
    def of_pixels(cls, pictures: Iterable[Pixels]) -> Likeness:
        """Of (H, W, 3) uint8 pictures."""
        return cls._of([_hashed(one) for one in pictures])

    @classmethod
    def _of(cls, hashed: Sequence[_Hashed]) -> Likeness:
        flat = np.frombuffer(b"".join(one.bits for one in hashed), dtype=np.uint8)
        bits = np.unpackbits(flat.reshape(len(hashed), 16), axis=1).astype(bool)
        pixels = np.array([one.pixels for one in hashed], dtype=object)
        return cls(pixels, bits[:, :64], bits[:, 64:])

    def __len__(self) -> int:
        return len(self.plain)

    def take(self, places: Any) -> Likeness:
        """Some of them."""
        return Likeness(self.pixels[places], self.plain[places], self.mirrored[places])

    def pairs(self, other: Likeness) -> Iterator[tuple[int, int, str, float]]:
        """Every pair that is alike.

        Yields
        ------
        place here, place in other : int
        kind : str
            ``equal``, ``near`` or ``near, mirrored``.
        bits : float
            That differ.
        """
        for name, theirs in (("near", other.plain), ("near, mirrored", other.mirrored)):
            for start in range(0, len(self), BLOCK):
                differ = _differ(self.plain[start : start + BLOCK], theirs)
                for i, j in zip(*np.nonzero(differ <= BITS), strict=True):
                    here, there = start + int(i), int(j)
                    equal = name == "near" and self.pixels[here] == other.pixels[there]
                    yield here, there, "equal" if equal else name, float(differ[i, j])

    def alike(self, other: Likeness, *, near: bool) -> Bools:
        """(N,) whether any of the others is equal, or near too."""
        if not near:
            return np.isin(self.pixels.astype(str), other.pixels.astype(str))
        found = np.zeros(len(self), dtype=bool)
        for here, *_ in self.pairs(other):
            found[here] = True
        return found


def _differ(first: Bools, second: Bools) -> Floats:
    """(N, M) numbers of bits that differ."""
    a, b = (np.where(bits, 1.0, -1.0).astype(np.float32) for bits in (first, second))
    differ: Floats = (64 - a @ b.T) / 2
    return differ


def _hashed(pixels: Pixels) -> _Hashed:
    imagehash = require("imagehash", for_="pictures that are nearly equal")
    picture = Image.fromarray(pixels)
    bits = [imagehash.phash(one).hash.ravel() for one in (picture, ImageOps.mirror(picture))]
    digest = sha256_bytes(repr(pixels.shape).encode() + pixels.tobytes())
    return _Hashed(digest, np.packbits(np.concatenate(bits)).tobytes())
