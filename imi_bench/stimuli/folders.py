"""Folders as untrusted input: what is in them, what leads out of them, what was wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

from imi_bench.errors import InputError, TrialError
from imi_bench.tables import Skipped
from imi_bench.text import plural


@dataclass
class Findings:
    """What was wrong or unknown while a folder was read.

    Attributes
    ----------
    skip_bad : bool
        Collect errors in `skipped` instead of raising the first.
    skipped : list of Skipped
    notes : list of str
        Things that are no error but should be known: ignored files, guesses.
    """

    skip_bad: bool = False
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def bad(self, where: object, error: InputError) -> None:
        """Raise the error, or skip what it is about."""
        if not self.skip_bad:
            raise error
        self.skipped.append(Skipped(str(where), str(error)))

    def ignored(self, folder: Path, names: Iterable[str]) -> None:
        """Note entries of a folder that the layout does not know."""
        if names := sorted(names):
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            self.notes.append(f"ignored in {folder}: {', '.join(names[:5])}{more}")


class Listing:
    """The entries of one folder inside `root`.

    Attributes
    ----------
    path : Path
    files, folders : list of str
        Names in natural order (``channel_2`` before ``channel_10``); entries that lead out of
        `root` are in neither.
    broken : set of str
        Those of `files` that lead to nothing.
    outside : dict of str to str
        Symbolic links that leave `root`, and where they lead.
    """

    def __init__(self, path: Path, *, root: Path) -> None:
        self.path, self.root = path, root
        self.files: list[str] = []
        self.broken: set[str] = set()
        self.folders: list[str] = []
        self.outside: dict[str, str] = {}
        try:
            with os.scandir(path) as entries:
                for entry in sorted(entries, key=lambda entry: natural_key(entry.name)):
                    self._sort_in(entry)
        except OSError as error:
            raise TrialError(
                "folder cannot be read", where=path, found=error.strerror, wanted="a folder"
            ) from error

    def _sort_in(self, entry: os.DirEntry[str]) -> None:
        if entry.is_symlink():
            target = Path(os.path.realpath(entry.path))
            if not target.is_relative_to(self.root):
                self.outside[entry.name] = str(target)
                return
        if entry.is_dir():
            self.folders.append(entry.name)
        else:
            self.files.append(entry.name)
            if not entry.is_file():
                self.broken.add(entry.name)

    def leaves(self, name: str) -> TrialError:
        """The error for an entry that leads out of the folder."""
        return TrialError(
            "symbolic link leaves the folder",
            where=self.path / name,
            found=self.outside[name],
            wanted=f"a path inside {self.root}",
        )

    def need(self, names: Iterable[str], *, count: str) -> tuple[Path, ...]:
        """Paths of the named files.

        Raises
        ------
        TrialError
            For the first that is missing or leads out of the folder.
        """
        names, present = list(names), set(self.files) - self.broken
        if missing := [name for name in names if name not in present]:
            if missing[0] in self.outside:
                raise self.leaves(missing[0])
            raise TrialError(
                "image missing",
                where=self.path / missing[0],
                found=f"{len(names) - len(missing)} of {plural(len(names), 'file')}",
                wanted=count,
            )
        return tuple(self.path / name for name in names)


def natural_key(name: str) -> list[tuple[int, str]]:
    """Key that sorts numbers in names by value.

    Examples
    --------
    >>> sorted(["channel_10", "channel_9"], key=natural_key)
    ['channel_9', 'channel_10']
    """
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)
    ]


def path_inside(root: Path, name: object, *, where: object) -> Path:
    """The file that a table of trials names, if the name stays inside `root`.

    Parameters
    ----------
    root : Path
        Resolved.
    name : object
        Relative path with forward slashes.
    where : object
        Row and column, for the error.

    Raises
    ------
    TrialError
        No text, absolute, with ``..``, or a symbolic link out of `root`.
    """
    wanted = f"a relative path inside {root}"
    if not isinstance(name, str) or not name or "\0" in name:
        raise TrialError("no image path", where=where, found=repr(name), wanted=wanted)
    if (
        PurePosixPath(name).is_absolute()
        or PureWindowsPath(name).anchor
        or ".." in PureWindowsPath(name).parts
    ):
        raise TrialError(
            "image path leaves the folder", where=where, found=repr(name), wanted=wanted
        )
    target = Path(os.path.realpath(root / name))
    if not target.is_relative_to(root):
        raise TrialError(
            "image path leaves the folder",
            where=where,
            found=f"{name!r} -> {target}",
            wanted=wanted,
        )
    return root / name
