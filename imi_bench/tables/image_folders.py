"""Which files below a folder are images, and counts of all that is left out."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from imi_bench.errors import InputError
from imi_bench.text import plural

__all__ = ["SUFFIXES", "Found", "image_files"]

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")


@dataclass(frozen=True, eq=False)
class Found:
    """Image files below a folder in order of names, and what else lies there."""

    images: list[Path]
    hidden: int
    broken: int
    loops: int
    others: Counter[str]

    @property
    def left_out(self) -> list[str]:
        """Counts of what is no image, but of hidden files of other kinds."""
        most = sorted(self.others.items(), key=lambda one: (-one[1], one[0]))
        kinds = ", ".join(f"{kind} {n}" for kind, n in most[:5])
        more = ", ..." if len(self.others) > 5 else ""
        said = [
            (self.hidden, "hidden file", " with the names of images"),
            (self.broken, "link", " to nothing with the names of images"),
            (self.loops, "link", " back to a folder above"),
            (self.others.total(), "file", f" of other formats ({kinds}{more})"),
        ]
        return [f"{plural(count, what)}{rest}" for count, what, rest in said if count]


def image_files(folder: Path) -> Found:
    """What lies in a folder and all its subfolders, linked ones too.

    Raises
    ------
    InputError
        A folder that cannot be read.
    """
    images: list[Path] = []
    hidden = broken = loops = 0
    others: Counter[str] = Counter()
    waiting: list[tuple[Path, frozenset[str]]] = [(folder, frozenset())]
    while waiting:
        place, above = waiting.pop()
        real = os.path.realpath(place)
        if real in above:
            loops += 1
            continue
        for entry in _entries(place):
            path = place / entry.name
            shown, image = not _hidden(path, folder), path.suffix.lower() in SUFFIXES
            if entry.is_dir():
                waiting.append((path, above | {real}))
            elif not image:
                others[path.suffix.lower() or "no suffix"] += shown
            elif not shown:
                hidden += 1
            elif entry.is_file():
                images.append(path)
            else:
                broken += 1
    return Found(sorted(images), hidden, broken, loops, +others)


def _hidden(file: Path, folder: Path) -> bool:
    parts = file.relative_to(folder).parts
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise InputError(
            "folder of images cannot be read", where=folder, found=error.strerror or error
        ) from error
