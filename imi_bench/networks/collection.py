"""A numbered collection of images: a folder, an array, or any dataset object.

A collection is known by the content of its images, not by names, sizes or classes: what was kept
of a collection is found again for the same pictures only.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imi_bench.arrays import Pixels
from imi_bench.errors import ImageError, InputError
from imi_bench.networks.file_hashes import FileHashes
from imi_bench.progress import progress
from imi_bench.provenance import sha256_bytes, sha256_json
from imi_bench.tables.images import decode_bytes
from imi_bench.tables.pixels import RULES, rgb_pixels

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")


@dataclass(frozen=True, eq=False)
class ImageSet:
    """N images, decoded when asked for.

    Attributes
    ----------
    names : (N,) str
        File names relative to the folder, or numbers; unique.
    read : callable
        Pixels of one image by its number, (H, W, 3) uint8 RGB.
    content : callable
        (N,) SHA-256 of every image: of a file's bytes, or of the pixels; computed when asked for.
    remarks : tuple of str
        What was left out or read in a way that should be known, one line each.
    """

    names: NDArray[np.object_]
    read: Callable[[int], Pixels]
    content: Callable[[], list[str]]
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def hashes(self) -> NDArray[np.object_]:
        """(N,) SHA-256 of the content of every image."""
        return np.array(self.content(), dtype=object)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the names and contents of all images, and of how files are decoded."""
        return sha256_json([RULES, self.names.tolist(), self.hashes.tolist()])

    @cached_property
    def repeated(self) -> int:
        """How many images have the content of an earlier one."""
        return len(self) - len(set(self.hashes.tolist()))

    @property
    def cautions(self) -> tuple[str, ...]:
        """What should be known of the images, one line each; they are hashed for it."""
        if not self.repeated:
            return self.remarks
        return (
            *self.remarks,
            f"warning: {self.repeated} of {len(self)} images repeat another one: they raise scores "
            "and stand among their own references; leave them out by --unique",
        )

    def take(self, numbers: NDArray[np.int64]) -> ImageSet:
        """Some of the images, in that order."""

        def read(number: int) -> Pixels:
            return self.read(int(numbers[number]))

        def content() -> list[str]:
            kept: list[str] = self.hashes[numbers].tolist()
            return kept

        return ImageSet(self.names[numbers], read, content, self.remarks)

    def unique(self) -> ImageSet:
        """The first image of each content.

        Examples
        --------
        >>> twice = open_images(np.zeros((2, 8, 8, 3), np.uint8))
        >>> twice.repeated, len(twice.unique())
        (1, 1)
        """
        first: dict[str, int] = {}
        for number, digest in enumerate(self.hashes.tolist()):
            first.setdefault(digest, number)
        return self.take(np.array(list(first.values()), dtype=np.int64))


def open_images(source: object) -> ImageSet:
    """Open a folder, an array, or a dataset object.

    Parameters
    ----------
    source : object
        Path or str, (N, H, W, 3) uint8 array, or dataset
        A folder is searched with all its subfolders, linked ones too, in the order of the names;
        hidden files and folders (``._x.jpg``) are left out, and `remarks` counts them. A ``.npz``
        file gives its array ``images``. A dataset has a length and gives, by number, a Pillow
        image or an array, alone, first in a tuple (torchvision), or as the entry ``image``
        (Hugging Face).

    Raises
    ------
    InputError
        A folder without images, or something else than the above.

    Examples
    --------
    >>> images = open_images(np.zeros((2, 8, 8, 3), np.uint8))
    >>> len(images), images.read(1).shape
    (2, (8, 8, 3))
    """
    if isinstance(source, ImageSet):
        return source
    if isinstance(source, str | Path):
        path = Path(source)
        return _from_archive(path) if path.suffix == ".npz" else _from_folder(path)
    if isinstance(source, np.ndarray):
        return _from_array(source, "array")
    if hasattr(source, "__len__") and hasattr(source, "__getitem__"):
        return _from_dataset(source)
    raise InputError(
        "not a collection of images",
        found=type(source).__name__,
        wanted="a folder, an array (N, H, W, 3) uint8, or a dataset with a length",
    )


def _from_folder(folder: Path) -> ImageSet:
    if not folder.is_dir():
        raise InputError("no such folder of images", where=folder, wanted="a folder or .npz file")
    found, others = _files_below(folder)
    files = [file for file in found if not _hidden(file, folder)]
    if not files:
        raise InputError(
            "folder with no images",
            where=folder,
            found=f"{others} other files, {len(found)} hidden images",
            wanted=", ".join(SUFFIXES),
        )
    names = [file.relative_to(folder).as_posix() for file in files]

    def read(number: int) -> Pixels:
        try:
            return decode_bytes(files[number].read_bytes(), where=files[number])
        except OSError as error:
            raise ImageError("image cannot be read", where=files[number], found=error) from error

    def content() -> list[str]:
        with FileHashes(folder) as hashes:
            return _each(len(files), lambda number: hashes.of(files[number]))

    hidden = len(found) - len(files)
    remarks = (f"{hidden} hidden files with the names of images are left out",) if hidden else ()
    return ImageSet(np.array(names, dtype=object), read, content, remarks)


def _files_below(folder: Path) -> tuple[list[Path], int]:
    """Image files of all subfolders, linked ones too, in order of names; how many others."""
    images: list[Path] = []
    others = 0
    waiting: list[tuple[Path, frozenset[str]]] = [(folder, frozenset())]
    while waiting:
        place, above = waiting.pop()
        real = os.path.realpath(place)
        if real in above:  # a link to a folder that it lies in
            continue
        for entry in os.scandir(place):
            path = place / entry.name
            if entry.is_dir():
                waiting.append((path, above | {real}))
            elif path.suffix.lower() in SUFFIXES and entry.is_file():
                images.append(path)
            else:
                others += 1
    return sorted(images), others


def _hidden(file: Path, folder: Path) -> bool:
    parts = file.relative_to(folder).parts
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _each(count: int, hash_of: Callable[[int], str]) -> list[str]:
    """Hash every image, with progress."""
    hashes = []
    with progress("hashing images", total=count, unit="images") as advance:
        for number in range(count):
            hashes.append(hash_of(number))
            advance(1)
    return hashes


def _from_archive(path: Path) -> ImageSet:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            images = archive["images"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise InputError(
            "archive of images cannot be read",
            where=path,
            found=error,
            wanted="a .npz file with an array 'images'",
        ) from error
    return _from_array(images, str(path))


def _from_array(images: NDArray[Any], where: str) -> ImageSet:
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or not len(images):
        raise InputError(
            "not images",
            where=where,
            found=f"{images.dtype} {images.shape}",
            wanted="uint8 (at least one, height, width, 3)",
        )
    return ImageSet(
        _numbers(len(images)),
        images.__getitem__,
        lambda: _each(len(images), lambda number: pixel_hash(images[number])),
    )


def _from_dataset(dataset: Any) -> ImageSet:
    if not len(dataset):
        raise InputError("dataset with no images", where=type(dataset).__name__, found="length 0")

    def read(number: int) -> Pixels:
        item = dataset[number]
        if isinstance(item, dict):
            item = item.get("image")
        elif isinstance(item, tuple | list):
            item = item[0]
        where = f"{type(dataset).__name__}[{number}]"
        pixels = rgb_pixels(item, where=where) if isinstance(item, Image.Image) else np.array(item)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ImageError(
                "dataset gives no image",
                where=where,
                found=f"{type(item).__name__} {pixels.dtype} {pixels.shape}",
                wanted="a Pillow image or uint8 (height, width, 3)",
                do="remove its transform",
            )
        return pixels

    return ImageSet(
        _numbers(len(dataset)),
        read,
        lambda: _each(len(dataset), lambda number: pixel_hash(read(number))),
    )


def pixel_hash(pixels: Pixels) -> str:
    """SHA-256 of the shape and values of an image."""
    return sha256_bytes(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes())


def _numbers(count: int) -> NDArray[np.object_]:
    width = len(str(count - 1))
    return np.array([f"{number:0{width}d}" for number in range(count)], dtype=object)
