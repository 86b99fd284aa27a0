"""Decoded pixels on disk: an image is decoded once for all networks that take it the same way.

A folder of the cache holds images as one geometry scales and crops them, before mean and deviation.
What it is of stands in its name: a hash of the geometry and of the versions of all that decodes and
scales. An image in it is known by the hash of its content. So other files, another geometry or
another Pillow find nothing, and there is nothing that could be stale.

One file holds the images of a batch, an index (content, checksum) and their pixels. It is written
by the process that decoded them, moved into place whole and never changed: a kill leaves nothing
half-written, and processes that write at the same time write each its own, at worst the same images
twice. An image that does not match its checksum is told, and decoded again.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from shutil import disk_usage
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from imi_bench.arrays import Ints, Pixels
from imi_bench.errors import InputError
from imi_bench.networks.collection import ImageSet
from imi_bench.places import cache_folder
from imi_bench.provenance import atomic_path, sha256_bytes, sha256_json, write_json
from imi_bench.tables.pixels import RULES
from imi_bench.text import plural
from imi_bench.vision.geometry import versions_of
from imi_bench.vision.preprocessing import Preprocess

__all__ = ["KeptPixels", "say_kept"]

_INDEX = np.dtype([("content", "S32"), ("check", "<u4")])


class KeptPixels:
    """The pixels of a collection's images that are on disk, and where others are put.

    Parameters
    ----------
    preprocess : Preprocess
        Its geometry counts; mean and deviation do not.
    images : ImageSet
        Is hashed.

    Attributes
    ----------
    folder : Path
        Made on the first write.
    known : (N,) bool
        Images whose pixels were there when this was opened.

    Examples
    --------
    ``KeptPixels(network.preprocess, open_images("photos")).known.sum()``
    """

    def __init__(self, preprocess: Preprocess, images: ImageSet) -> None:
        self.size = (*preprocess.size, 3)
        self._about = {
            "kind": f"{preprocess.size[0]} x {preprocess.size[1]} pixels",
            "geometry": dict(preprocess.geometry.record),
            "versions": dict(versions_of(preprocess.geometry)),
        }
        identity = sha256_json([self._about["geometry"], self._about["versions"]])
        self.folder = cache_folder() / f"pixels-{RULES}" / identity[:32]
        every = np.array([bytes.fromhex(one) for one in images.hashes], dtype="S32")
        self._contents, self._content_of = np.unique(every, return_inverse=True)
        self._file = np.full(len(self._contents), -1, dtype=np.int32)
        self._place = np.zeros(len(self._contents), dtype=np.int32)
        self._files: list[Path] = []
        self._opened: dict[int, tuple[NDArray[Any], Pixels]] = {}
        self._find()

    @property
    def known(self) -> NDArray[np.bool_]:
        """(N,) images that are on disk."""
        return np.asarray(self._file[self._content_of] >= 0)

    @property
    def missing_bytes(self) -> int:
        """What the images that are not there will take."""
        return int((self._file < 0).sum()) * int(np.prod(self.size))

    def take(self, number: int) -> Pixels | None:
        """(height, width, 3) pixels of an image; None if they are not there, gone, or damaged."""
        content = self._content_of[number]
        file = int(self._file[content])
        if file < 0:
            return None
        if file not in self._opened:
            try:
                self._opened[file] = _opened(self._files[file], self.size)
            except (OSError, ValueError):  # pruned, or found damaged by another process, since
                self._file[self._file == file] = -1
                return None
        index, stored = self._opened[file]
        pixels, held = stored[self._place[content]], index[self._place[content]]
        if _check(self._contents[content], pixels) == held["check"]:
            return pixels
        path = self._files[file]
        print(f"{path}: damaged; removed, its images are decoded again", file=sys.stderr)
        path.unlink(missing_ok=True)
        self._file[self._file == file] = -1
        return None

    def add(self, numbers: Sequence[int] | Ints, pixels: Pixels) -> None:
        """Keep the pixels (B, height, width, 3) of those images that are not there, as one file.

        Raises
        ------
        InputError
            The disk does not take them.
        """
        contents = self._content_of[np.asarray(numbers)]
        new = self._file[contents] < 0
        if not new.any():
            return
        pixels = pixels[new]
        index = np.empty(len(pixels), dtype=_INDEX)
        index["content"] = self._contents[contents[new]]
        index["check"] = [
            _check(content, one) for content, one in zip(index["content"], pixels, strict=True)
        ]
        path = self.folder / f"{sha256_bytes(index.tobytes())}.pixels"
        try:
            if not (self.folder / "about.json").is_file():
                write_json(self.folder / "about.json", self._about)
            with atomic_path(path) as temporary, temporary.open("wb") as stream:
                np.save(stream, index, allow_pickle=False)
                np.save(stream, np.ascontiguousarray(pixels), allow_pickle=False)
        except OSError as error:
            raise InputError(
                "pixels cannot be kept",
                where=self.folder,
                found=error.strerror or error,
                do="make room, or leave keep_pixels= out",
            ) from error

    def _find(self) -> None:
        """Look up which images the folder's files hold."""
        if not self.folder.is_dir():
            return
        for path in sorted(self.folder.glob("*.pixels")):
            if path.name.startswith("."):
                continue
            try:
                index, _ = _opened(path, self.size)
            # numpy's header parser lets any exception through, tokenize's among them
            except Exception as error:
                print(f"{path}: {error}; removed, decoded again", file=sys.stderr)
                path.unlink(missing_ok=True)
                continue
            at = np.searchsorted(self._contents, index["content"])
            at = at.clip(max=len(self._contents) - 1)
            places = np.flatnonzero(self._contents[at] == index["content"])
            self._file[at[places]], self._place[at[places]] = len(self._files), places
            self._files.append(path)


def say_kept(preprocess: Preprocess, images: ImageSet) -> str:
    """A line about what will be written, before it is.

    Raises
    ------
    InputError
        Less room on the disk than that.
    """
    kept = KeptPixels(preprocess, images)
    there, needed = int(kept.known.sum()), kept.missing_bytes
    place = next(folder for folder in (kept.folder, *kept.folder.parents) if folder.is_dir())
    free = disk_usage(place).free
    if needed > free:
        raise InputError(
            "no room to keep pixels",
            where=kept.folder,
            found=f"{_size(free)} free",
            wanted=f"{_size(needed)} for {plural(len(images) - there, 'image')}",
            do="set IMI_BENCH_CACHE to a folder on another disk, or leave keep_pixels= out",
        )
    height, width, _ = kept.size
    of_them = f", {there:,} of them there already" if there else ""
    return (
        f"keeps pixels: {len(images):,} images of {height} x {width}{of_them}; "
        f"{_size(needed)} to write to {kept.folder}"
    )


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def _check(content: bytes, pixels: Pixels) -> int:
    return crc32(np.ascontiguousarray(pixels).data, crc32(content))


def _opened(path: Path, size: tuple[int, ...]) -> tuple[NDArray[Any], Pixels]:
    """Index, and pixels mapped from disk.

    Raises
    ------
    ValueError
        A file that is not whole, or of another kind.
    """
    with path.open("rb") as stream:
        index = np.lib.format.read_array(stream, allow_pickle=False)
        np.lib.format.read_magic(stream)
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        start = stream.tell()
    whole = start + int(np.prod(shape))
    if index.dtype != _INDEX or dtype != np.uint8 or shape != (len(index), *size):
        raise ValueError(f"holds {dtype} {shape}")
    if path.stat().st_size != whole:
        raise ValueError(f"{path.stat().st_size} bytes, not {whole}")
    return index, np.memmap(path, dtype=np.uint8, mode="r", offset=start, shape=shape)
