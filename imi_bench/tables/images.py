"""Distinct images by content hash, decoded on demand."""

from __future__ import annotations

import base64
import io
import os
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from imi_bench.arrays import Pixels, read_only
from imi_bench.documents import parse_json, reading
from imi_bench.errors import ImageError
from imi_bench.provenance import plain, sha256_bytes, sha256_columns
from imi_bench.results import Brief
from imi_bench.tables.pixels import rgb_image

MAX_PIXELS = 64_000_000
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")


@dataclass(frozen=True, eq=False, repr=False)
class Images(Brief):
    """N distinct images.

    Attributes
    ----------
    sources : tuple of (Path or (H, W, 3) uint8 array)
        Where the pixels come from. RGB.
    hashes : (N,) str
        SHA-256 of the file's bytes; for an array of its `png_bytes`, so that writing it to a file
        and reading that changes nothing. Unique.

    Examples
    --------
    >>> black = np.zeros((2, 2, 3), np.uint8)
    >>> images, rows = Images.collect([black, black + 255, black])
    >>> len(images), rows.tolist()
    (2, [0, 1, 0])
    """

    sources: tuple[Path | Pixels, ...]
    hashes: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.sources)

    def to_json(self) -> dict[str, Any]:
        """JSON object: of each image its hash, and where its file is or, in memory, the file."""
        sources = [
            {"path": str(one)} if isinstance(one, Path) else {"png": plain(png_bytes(one))}
            for one in self.sources
        ]
        return {"sources": sources, "hashes": self.hashes.tolist()}

    @classmethod
    @reading("set of images")
    def from_json(cls, record: str | Mapping[str, Any]) -> Images:
        """Read back what `to_json` gave; files are read when they are decoded, not before.

        Raises
        ------
        InputError
            If it is no such record.
        ImageError
            An image in the record is damaged.
        """
        found = parse_json(record) if isinstance(record, str) else record
        hashes = np.array([str(one) for one in found["hashes"]], dtype=object)
        sources = [
            Path(one["path"]) if "path" in one else _kept(one["png"], digest)
            for one, digest in zip(found["sources"], hashes, strict=True)
        ]
        return Images(tuple(sources), hashes)

    @classmethod
    def collect(cls, sources: Sequence[Path | Pixels]) -> tuple[Images, NDArray[np.int64]]:
        """Hash the sources and keep one of each content.

        Returns
        -------
        images : Images
        rows : (len(sources),) int64
            The row of `images` that each source became.

        Raises
        ------
        ImageError
            If a file cannot be read or an array is not (H, W, 3) uint8.
        """
        by_path: dict[Path, str] = {}
        hashes = []
        for source in sources:
            if isinstance(source, Path):
                if source not in by_path:
                    by_path[source] = sha256_bytes(read_image_file(source))
                hashes.append(by_path[source])
            else:
                hashes.append(sha256_bytes(png_bytes(source)))
        return cls.from_hashes(sources, hashes)

    @classmethod
    def from_hashes(
        cls, sources: Sequence[Path | Pixels], hashes: Sequence[str]
    ) -> tuple[Images, NDArray[np.int64]]:
        """As `collect`, with content hashes that are already known."""
        row_of_hash: dict[str, int] = {}
        kept: list[Path | Pixels] = []
        rows = np.empty(len(sources), dtype=np.int64)
        for position, (source, digest) in enumerate(zip(sources, hashes, strict=True)):
            if digest not in row_of_hash:
                row_of_hash[digest] = len(kept)
                kept.append(source)
            rows[position] = row_of_hash[digest]
        return cls(tuple(kept), np.array(list(row_of_hash), dtype=object)), rows

    def decode(self, row: int) -> Pixels:
        """Pixels of one image, (H, W, 3) uint8 RGB, which nobody can write into.

        Raises
        ------
        ImageError
            If the file is gone, changed since it was hashed, truncated or not an image.
        """
        source = self.sources[row]
        if not isinstance(source, Path):
            return read_only(source)
        return decode_bytes(self.file_bytes(row), where=source)

    def file_bytes(self, row: int) -> bytes:
        """The image as a file: its bytes on disk, or `png_bytes` of the array.

        Raises
        ------
        ImageError
            If the file is gone or changed since it was hashed.
        """
        source = self.sources[row]
        if not isinstance(source, Path):
            return png_bytes(source)
        data = read_image_file(source)
        if sha256_bytes(data) != self.hashes[row]:
            raise ImageError(
                "image changed while it was used",
                where=source,
                do="run again on a folder nothing writes to",
            )
        return data

    def anonymous(self, rows: NDArray[np.int64]) -> Images:
        """Some of the images, in the order of `rows`; file names stay behind `decode`."""
        return AnonymousImages((), self.hashes[rows], self, rows)

    def part(self, rows: NDArray[np.int64]) -> Images:
        """Some of the images without the rest, so that they can be sent elsewhere."""
        return Images(tuple(self.sources[int(row)] for row in rows), self.hashes[rows])

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the set of images."""
        return sha256_columns({"hashes": np.sort(self.hashes.astype(str)).astype(object)})


@dataclass(frozen=True, eq=False, repr=False)
class AnonymousImages(Images):
    """Images without their sources, which may be file names: what an observer receives."""

    _known: Images
    _rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.hashes)

    def __repr__(self) -> str:
        return f"AnonymousImages({len(self)})"

    def to_json(self) -> dict[str, Any]:
        """They have none: what is anonymous stays where it is.

        Raises
        ------
        ImageError
            Always.
        """
        raise ImageError("anonymous images have no JSON", do="write the trials they are of")

    def decode(self, row: int) -> Pixels:
        """Pixels of one image; see `Images.decode`."""
        return self._known.decode(int(self._rows[row]))

    def anonymous(self, rows: NDArray[np.int64]) -> Images:
        """Some of the images, in the order of `rows`."""
        return AnonymousImages((), self.hashes[rows], self._known, self._rows[rows])

    def part(self, rows: NDArray[np.int64]) -> Images:
        """Some of the images without the rest, still anonymous."""
        known = self._known.part(self._rows[rows])
        return AnonymousImages((), self.hashes[rows], known, np.arange(len(rows)))


def _kept(png: str, digest: str) -> Pixels:
    data = base64.b64decode(png, validate=True)
    if sha256_bytes(data) != digest:
        raise ImageError("image is not the one that its hash names", where=digest[:12])
    return decode_bytes(data, where=digest[:12])


def png_bytes(pixels: Pixels) -> bytes:
    """One fixed PNG file for an array: the same bytes on every platform.

    The pixels are stored uncompressed, because what a compressor emits depends on its version.

    Raises
    ------
    ImageError
        If the array is not (H, W, 3) uint8 with at least one pixel.

    Notes
    -----
    PNG specification, third edition: filter type 0, colour type 2, depth 8; stored blocks as in
    RFC 1951, section 3.2.4, at most 65,535 bytes each, inside the zlib frame of RFC 1950.
    """
    array: NDArray[Any] = np.asarray(pixels)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ImageError(
            "not an RGB image",
            where="array",
            found=f"{array.dtype} {array.shape}",
            wanted="uint8 (height, width, 3)",
        )
    height, width, _ = array.shape
    lines = np.zeros((height, 1 + 3 * width), dtype=np.uint8)
    lines[:, 1:] = array.reshape(height, 3 * width)
    raw = lines.tobytes()
    blocks = [raw[start : start + 65_535] for start in range(0, len(raw), 65_535)]
    stored = b"".join(
        struct.pack("<BHH", last, len(block), 65_535 - len(block)) + block
        for block, last in zip(blocks, [0] * (len(blocks) - 1) + [1], strict=True)
    )
    data = b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(raw))

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def hash_checked(path: Path) -> str:
    """Content hash of an image file, after a check that it is one and that it is whole.

    A PNG file is checked by the checksums of its parts, about six times as fast as decoding it;
    other formats are decoded.

    Raises
    ------
    ImageError
        If the file is missing, truncated, damaged or not an image.
    """
    data = read_image_file(path)
    with _blamed_on(path, data), Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        _refuse_large(image, where=path)
        _refuse_several(image, where=path)
        if image.format == "PNG":
            image.verify()
        else:
            image.load()
    return sha256_bytes(data)


def read_image_file(path: Path) -> bytes:
    """Bytes of an image file.

    Raises
    ------
    ImageError
        If it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(
            "image cannot be read", where=path, found=error.strerror or error, wanted="a file"
        ) from error


def decode_bytes(data: bytes, *, where: object, first: bool = False) -> Pixels:
    """Decode an image file's bytes to (H, W, 3) uint8 RGB, as `opened_bytes`."""
    return np.asarray(opened_bytes(data, where=where, first=first))


def opened_bytes(data: bytes, *, where: object, first: bool = False) -> Image.Image:
    """Decode an image file's bytes to a Pillow image in RGB.

    By the rules of `imi_bench.tables.pixels`. Only common raster formats are tried.

    Parameters
    ----------
    data : bytes
    where : object
        For messages.
    first : bool
        Whether the first picture of a file of several is meant: of an animation, of pages.

    Raises
    ------
    ImageError
        Truncated, larger than `MAX_PIXELS`, not an image, or several without `first`.
    """
    with _blamed_on(where, data), Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        _refuse_large(image, where=where)
        if not first:
            _refuse_several(image, where=where)
        image.load()
        return rgb_image(image, where=where)


def _refuse_large(image: Image.Image, *, where: object) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ImageError(
            "image too large",
            where=where,
            found=f"{image.width} x {image.height} pixels",
            wanted=f"at most {MAX_PIXELS} pixels",
        )


def holds_several(path: Path) -> bool:
    """Whether a file holds several pictures, whatever it is called. Only its beginning is read.

    Frames of an animation, pages, further views of a camera's JPEG file. What cannot be read at all
    holds none; it is refused when it is decoded.
    """
    if _is_one_jpeg(path):
        return False
    try:
        with _blamed_on(path, b"?"), Image.open(path, formats=_FORMATS) as image:
            return bool(getattr(image, "is_animated", False))
    except ImageError:
        return False


def _is_one_jpeg(path: Path) -> bool:
    """Whether a file is JPEG without an index of further pictures, by the marks of its segments.

    CIPA DC-007: the index stands in an application segment 2 that begins with ``MPF``.
    """
    try:
        with path.open("rb") as stream:
            if stream.read(2) != b"\xff\xd8":
                return False
            while (head := stream.read(4))[:1] == b"\xff" and len(head) == 4:
                if head[1] == 0xDA:  # pixels follow
                    return True
                length = int.from_bytes(head[2:], "big") - 2
                start = stream.read(min(4, max(length, 0)))
                if head[1] == 0xE2 and start == b"MPF\0":
                    return False
                stream.seek(length - len(start), os.SEEK_CUR)
    except (OSError, ValueError):
        return False
    return False


def _refuse_several(image: Image.Image, *, where: object) -> None:
    if getattr(image, "is_animated", False):
        raise ImageError(
            "several pictures in one file",
            where=where,
            found=f"{getattr(image, 'n_frames', 2)} frames or pages",
            wanted="one picture",
            do="save the one that is meant",
        )


@contextmanager
def _blamed_on(where: object, data: bytes) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Corrupt EXIF data")  # says nothing then
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # refused by its size
            yield
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        found = "an empty file" if not data else f"{len(data)} bytes of something else"
        raise ImageError(
            "not an image", where=where, found=found, wanted=f"one of {', '.join(_FORMATS)}"
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            "image too large", where=where, found=error, wanted=f"at most {MAX_PIXELS} pixels"
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        raise ImageError(
            "image is damaged or truncated", where=where, found=error, do="fetch the file again"
        ) from error
