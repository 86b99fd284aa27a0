"""A numbered collection of images: a folder, an array, or any dataset object.

A collection is known by the content of its images, not by names, sizes or classes: what was kept
of a collection is found again for the same pictures only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imi_bench.arrays import Pixels, read_only
from imi_bench.errors import ImageError, InputError
from imi_bench.networks.file_hashes import FileHashes
from imi_bench.progress import progress
from imi_bench.provenance import sha256_bytes, sha256_json
from imi_bench.tables.image_folders import SUFFIXES, image_files
from imi_bench.tables.images import decode_bytes, holds_several, opened_bytes
from imi_bench.tables.pixels import RULES, rgb_pixels
from imi_bench.text import plural


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
    moving : callable
        Whether an image, by its number, is the first of several in its file.
    concurrent : bool
        Whether several threads or processes may read at the same time. Of a dataset object that is
        not known: it may move in an open file.
    by_pixels : bool
        Whether `content` hashes pixels, so that equal pixels have equal hashes. Of files it does
        not: see `imi_bench.networks.repeats`.
    packed : callable or None
        A file's path and bytes, by the number of its image; None where images are in no files.
    """

    names: NDArray[np.object_]
    read: Callable[[int], Pixels]
    content: Callable[[], list[str]]
    remarks: tuple[str, ...] = ()
    moving: Callable[[int], bool] = lambda _: False
    concurrent: bool = False
    by_pixels: bool = False
    packed: Callable[[int], tuple[Path, bytes]] | None = None

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
        """How many images have the content of an earlier one; files of equal bytes only."""
        return len(self) - len(set(self.hashes.tolist()))

    @cached_property
    def first_of_several(self) -> int:
        """How many images are the first frame or page of a file of several."""
        return sum(self.moving(number) for number in range(len(self)))

    @property
    def cautions(self) -> tuple[str, ...]:
        """What should be known of the images, one line each; they are hashed for it."""
        said, repeated = self.remarks, self.repeated
        if count := self.first_of_several:
            which = "is the first picture" if count == 1 else "are the first pictures"
            said += (f"{count} of {plural(len(self), 'image')} {which} of a file of several",)
        if not repeated:
            return said
        return (
            *said,
            f"warning: {repeated} of {plural(len(self), 'image')} repeat another one: they raise "
            "scores and stand among their own references; leave them out by unique=True",
        )

    def picture(self, number: int, *, known: bool = False) -> Image.Image:
        """One image as Pillow has it, in RGB: the pixels of `read`.

        Parameters
        ----------
        number : int
        known : bool
            Refuse it unless its content is still that of `hashes`.

        Raises
        ------
        ImageError
            An image that cannot be decoded, or has changed.
        """
        if self.packed is None:
            pixels = self.read(number)
            if known:
                self._require_same(number, pixel_hash(pixels), where=self.names[number])
            return Image.fromarray(pixels)
        file, data = self.packed(number)
        if known:
            self._require_same(number, sha256_bytes(data), where=file)
        return opened_bytes(data, where=file, first=True)

    def _require_same(self, number: int, digest: str, *, where: object) -> None:
        if digest != self.hashes[number]:
            raise ImageError(
                "image changed since the images were hashed",
                where=where,
                do="run the command again when nothing writes to the images",
            )

    def take(self, numbers: NDArray[np.int64]) -> ImageSet:
        """Some of the images, in that order."""
        packed = self.packed

        def read(number: int) -> Pixels:
            return self.read(int(numbers[number]))

        def content() -> list[str]:
            kept: list[str] = self.hashes[numbers].tolist()
            return kept

        def moving(number: int) -> bool:
            return self.moving(int(numbers[number]))

        return replace(
            self,
            names=self.names[numbers],
            read=read,
            content=content,
            moving=moving,
            packed=None if packed is None else lambda number: packed(int(numbers[number])),
        )

    def remembering(self, most: int) -> ImageSet:
        """The same images; what is decoded stays in memory, up to that many bytes in all.

        Examples
        --------
        >>> pictures = open_images(np.zeros((2, 8, 8, 3), np.uint8)).remembering(1 << 20)
        >>> pictures.read(1) is pictures.read(1)
        True
        """
        held: dict[int, Pixels] = {}
        room = most

        def read(number: int) -> Pixels:
            nonlocal room
            pixels = held.get(number)
            if pixels is None:
                pixels = read_only(self.read(number))
                if pixels.nbytes <= room:
                    held[number] = pixels
                    room -= pixels.nbytes
            return pixels

        return replace(self, read=read, content=lambda: self.hashes.tolist(), packed=None)

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
        hidden files and folders (``._x.jpg``), broken links and files of other formats are left
        out, and `remarks` counts them. Of a file of several pictures (an animation, pages) the
        first is taken, and `cautions` counts these. A ``.npz``
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
    sized = hasattr(source, "__len__") and hasattr(source, "__getitem__")
    if sized and not isinstance(source, type):
        return _from_dataset(source)
    raise InputError(
        "not a collection of images",
        found=type(source).__name__,
        wanted="a folder, an array (N, H, W, 3) uint8, or a dataset with a length",
    )


def _from_folder(folder: Path) -> ImageSet:
    if not folder.is_dir():
        raise InputError("no such folder of images", where=folder, wanted="a folder or .npz file")
    found = image_files(folder)
    files = found.images
    if not files:
        raise InputError(
            "folder with no images",
            where=folder,
            found=", ".join(found.left_out) or "nothing",
            wanted=", ".join(SUFFIXES),
        )
    names = [file.relative_to(folder).as_posix() for file in files]

    def packed(number: int) -> tuple[Path, bytes]:
        file = files[number]
        try:
            return file, file.read_bytes()
        except OSError as error:
            raise ImageError("image cannot be read", where=file, found=error) from error

    def read(number: int) -> Pixels:
        file, data = packed(number)
        return decode_bytes(data, where=file, first=True)

    def content() -> list[str]:
        with FileHashes(folder) as hashes:
            return _each(len(files), lambda number: hashes.of(files[number]))

    def moving(number: int) -> bool:
        return holds_several(files[number])

    remarks = tuple(f"left out: {what}" for what in found.left_out)
    known = np.array(names, dtype=object)
    return ImageSet(known, read, content, remarks, moving, concurrent=True, packed=packed)


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
    images = read_only(images)
    return ImageSet(
        _numbers(len(images)),
        images.__getitem__,
        lambda: _each(len(images), lambda number: pixel_hash(images[number])),
        concurrent=True,
        by_pixels=True,
    )


def _from_dataset(dataset: Any) -> ImageSet:
    if not len(dataset):
        raise InputError("dataset with no images", where=type(dataset).__name__, found="length 0")

    several: dict[int, bool] = {}  # of what was read; hashing reads all

    def moving(number: int) -> bool:
        if number not in several:
            read(number)
        return several[number]

    def read(number: int) -> Pixels:
        item = dataset[number]
        if isinstance(item, dict):
            item = item.get("image")
        elif isinstance(item, tuple | list):
            item = item[0]
        several[number] = bool(getattr(item, "is_animated", False))
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
        moving=moving,
        by_pixels=True,
    )


def pixel_hash(pixels: Pixels) -> str:
    """SHA-256 of the shape and values of an image."""
    return sha256_bytes(repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes())


def _numbers(count: int) -> NDArray[np.object_]:
    width = len(str(count - 1))
    return np.array([f"{number:0{width}d}" for number in range(count)], dtype=object)
