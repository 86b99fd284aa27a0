"""A numbered collection of images: a folder, an array, or any dataset object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from imi_bench.arrays import Pixels
from imi_bench.errors import ImageError, InputError
from imi_bench.provenance import sha256_bytes, sha256_json
from imi_bench.tables.images import decode_bytes

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
    fingerprint : str
        Changes when the collection does: names and file sizes, or the values of an array.
    """

    names: NDArray[np.object_]
    read: Callable[[int], Pixels]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.names)


def open_images(source: object) -> ImageSet:
    """Open a folder, an array, or a dataset object.

    Parameters
    ----------
    source : Path or str, (N, H, W, 3) uint8 array, or dataset
        A folder is searched with all its subfolders, in the order of the names; a ``.npz`` file
        gives its array ``images``. A dataset has a length and gives, by number, a Pillow image or
        an array, alone, first in a tuple (torchvision), or as the entry ``image`` (Hugging Face).

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
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file())
    if not files:
        others = sum(1 for f in folder.rglob("*") if f.is_file())
        raise InputError(
            "folder with no images",
            where=folder,
            found=f"{others} other files",
            wanted=", ".join(SUFFIXES),
        )
    names = [file.relative_to(folder).as_posix() for file in files]

    def read(number: int) -> Pixels:
        try:
            return decode_bytes(files[number].read_bytes(), where=files[number])
        except OSError as error:
            raise ImageError("image cannot be read", where=files[number], found=error) from error

    sizes = [file.stat().st_size for file in files]
    return ImageSet(np.array(names, dtype=object), read, sha256_json([names, sizes]))


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
    digest = sha256_bytes(repr(images.shape).encode() + np.ascontiguousarray(images).tobytes())
    return ImageSet(_numbers(len(images)), images.__getitem__, digest)


def _from_dataset(dataset: Any) -> ImageSet:
    if not len(dataset):
        raise InputError("dataset with no images", where=type(dataset).__name__, found="length 0")

    def read(number: int) -> Pixels:
        item = dataset[number]
        if isinstance(item, dict):
            item = item.get("image")
        elif isinstance(item, tuple | list):
            item = item[0]
        convert = getattr(item, "convert", None)
        pixels = np.asarray(convert("RGB") if convert else item)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ImageError(
                "dataset gives no image",
                where=f"{type(dataset).__name__}[{number}]",
                found=f"{type(item).__name__} {pixels.dtype} {pixels.shape}",
                wanted="a Pillow image or uint8 (height, width, 3)",
                do="remove its transform",
            )
        return pixels

    identity = [type(dataset).__qualname__, len(dataset), str(getattr(dataset, "_fingerprint", ""))]
    return ImageSet(_numbers(len(dataset)), read, sha256_json(identity))


def _numbers(count: int) -> NDArray[np.object_]:
    width = len(str(count - 1))
    return np.array([f"{number:0{width}d}" for number in range(count)], dtype=object)
