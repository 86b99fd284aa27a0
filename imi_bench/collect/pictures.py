"""Images as a browser gets them: pixels and nothing else, under addresses that tell nothing."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

from imi_bench.collect.experiment import Screen
from imi_bench.collect.links import token
from imi_bench.tables.images import Images

LARGEST = 448  # pixels of the longer side; people see 224 at a device ratio of up to 2
_CACHE_BYTES = 256 * 2**20
_PAD = 12  # length, kind and checksum of an empty chunk


class Pictures:
    """PNG files made from pixels: no metadata, and the two queries of a trial equally long.

    Parameters
    ----------
    images : Images
    """

    def __init__(self, images: Images) -> None:
        self.images = images
        self._lock = threading.Lock()
        self._made: OrderedDict[int, bytes] = OrderedDict()
        self._size = 0

    def png(self, row: int) -> bytes:
        """The image as a bare PNG file, its longer side at most `LARGEST`."""
        with self._lock:
            if row in self._made:
                self._made.move_to_end(row)
                return self._made[row]
        from PIL import Image

        picture = Image.fromarray(self.images.decode(row))
        if max(picture.size) > LARGEST:
            picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
        stream = io.BytesIO()
        picture.save(stream, "PNG", compress_level=6)
        data = stream.getvalue()
        with self._lock:
            self._made[row] = data
            self._size += len(data)
            while self._size > _CACHE_BYTES and len(self._made) > 1:
                self._size -= len(self._made.popitem(last=False)[1])
        return data

    def served(self, row: int, *, beside: int = -1) -> bytes:
        """The file as sent; a query is filled up to the length of the one `beside` it."""
        data = self.png(row)
        if beside < 0:
            return data
        return padded(data, max(len(data), len(self.png(beside))) + _PAD)


def padded(png: bytes, length: int) -> bytes:
    """The PNG file with a chunk before its end that every reader skips, `length` bytes in all.

    Parameters
    ----------
    png : bytes
    length : int
        At least twelve more than the file has.
    """
    body = bytes(length - len(png) - _PAD)
    kind = b"fiLl"  # ancillary, private, safe to copy: PNG specification, section 5.4
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return png[:-12] + chunk + png[-12:]


class Addresses:
    """Opaque names of every image that one session sees, and what stands behind each.

    The name of a place on a screen is a keyed hash of session, block, number and place. It differs
    from session to session and says neither which image it is nor on which side of the key it is.
    """

    def __init__(self, secret: bytes, session: str, *, public: str) -> None:
        self._secret, self._session = secret, session
        self.folder = f"image/{public}/" if public else "image/"
        self._rows: dict[str, tuple[int, int]] = {}

    def screen(self, screen: Screen, *, block: str, number: int) -> dict[str, Any]:
        """What the browser is told of a screen: addresses, nothing else."""

        def place(name: str, row: int, beside: int = -1) -> str:
            text = f"{self._session}|{block}|{number}|{name}"
            address = token(self._secret, "image", text)
            self._rows[address] = (row, beside)
            return f"{self.folder}{address}.png"

        def side(name: str, rows: Sequence[int]) -> list[str]:
            return [place(f"{name}{i}", row) for i, row in enumerate(rows)]

        shown: dict[str, Any] = {
            "block": block,
            "number": number,
            "left": side("left", screen.left),
            "right": side("right", screen.right),
        }
        if screen.upper >= 0:
            shown["queries"] = [
                place("upper", screen.upper, screen.lower),
                place("lower", screen.lower, screen.upper),
            ]
        return shown

    def items(self) -> Iterable[tuple[str, tuple[int, int]]]:
        """Every name, with the row of its image and of the query beside it."""
        return self._rows.items()

    def behind(self, address: str) -> tuple[int, int] | None:
        """Row of the image, and of the query beside it (-1); None for an unknown name."""
        return self._rows.get(address)
