"""Content hashes of files, remembered where a file cannot have changed without showing it.

On POSIX systems every change of a file's content or name sets its change time (``st_ctime``),
which no program can set back. A hash is remembered with device, inode, size, modification and
change time, and used again if all are the same and the change time is well before the moment of
hashing (a change within one tick of the clock would not show). Anywhere else every file is read.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from imi_bench.errors import ImageError
from imi_bench.places import cache_folder
from imi_bench.provenance import sha256_bytes, sha256_file, write_json

_TICK_NS = 2_000_000_000
_FEW = 1000  # files that are read again sooner than remembered


class FileHashes:
    """SHA-256 of the files below a folder, within a ``with`` block.

    Parameters
    ----------
    folder : Path
    memory : Path, optional
        File of what is remembered; by default one in the user's cache folder.
    """

    def __init__(self, folder: Path, *, memory: Path | None = None) -> None:
        name = f"{sha256_bytes(os.fsencode(folder.resolve()))}.json"
        self.memory = memory or cache_folder() / "file-hashes" / name
        self._before: dict[str, list[int | str]] = {}
        self._now: dict[str, list[int | str]] = {}
        self.read = 0

    def __enter__(self) -> Self:
        if os.name == "posix" and self.memory.is_file():
            try:
                self._before = dict(json.loads(self.memory.read_text(encoding="utf-8")))
            except (OSError, ValueError):
                self._before = {}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if kind is None and os.name == "posix" and self.read and len(self._now) >= _FEW:
            try:
                write_json(self.memory, self._now)
            except OSError:
                return  # a cache that cannot be written is read again

    def of(self, file: Path) -> str:
        """SHA-256 of a file's bytes.

        Raises
        ------
        ImageError
            If it cannot be read.
        """
        try:
            stamp = _stamp(file)
            held = self._before.get(str(file))
            if held is None or held[:-1] != stamp:
                self.read += 1
                began = time.time_ns()
                held = [*stamp, sha256_file(file)]
                settled = _stamp(file) == stamp and int(stamp[-1]) < began - _TICK_NS
            else:
                settled = True
        except OSError as error:
            raise ImageError(
                "image cannot be read", where=file, found=error.strerror or error
            ) from error
        if settled:
            self._now[str(file)] = held
        return str(held[-1])


def _stamp(file: Path) -> list[int | str]:
    about = file.stat()
    return [about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns]
