"""Where files may be written and read: apart from inputs, by one at a time, from plain files."""

from __future__ import annotations

import os
import re
import socket
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from hashlib import sha256
from pathlib import Path

import filelock

from imi_bench.errors import InputError

__all__ = [
    "cache_folder",
    "exclusive",
    "refuse_inside",
    "require_plain",
    "sweep",
    "temporary_prefix",
]

_TEMPORARY = re.compile(r"\..+\.([0-9a-f]{8})-(\d{1,10})-[^.]*(?:\.[^.]*)?")


def cache_folder() -> Path:
    """Where what can be made or fetched anew is kept: ``IMI_BENCH_CACHE``, or the platform's."""
    import platformdirs

    return Path(os.environ.get("IMI_BENCH_CACHE") or platformdirs.user_cache_path("imi-bench"))


def refuse_inside(out: Path, *, inputs: Iterable[Path]) -> None:
    """Refuse an output that is, or lies within, one of the inputs.

    Parameters
    ----------
    out : Path
        Folder or file to be written.
    inputs : iterable of Path
        Folders or files that are read. A folder with an input *file* of the same name as a file
        to be written is an output that is an input: give the file.

    Raises
    ------
    InputError

    Examples
    --------
    >>> refuse_inside(Path("runs/a"), inputs=[Path("stimuli")])
    >>> refuse_inside(Path("stimuli/runs"), inputs=[Path("stimuli")])
    Traceback (most recent call last):
    imi_bench.errors.InputError: the output lies within an input: stimuli/runs: found input ...
    """
    place = out.resolve()
    for source in inputs:
        origin = source.resolve()
        same = place == origin or (origin.is_file() and place == origin.parent)
        if same or (not origin.is_file() and place.is_relative_to(origin)):
            raise InputError(
                "the output is an input" if same else "the output lies within an input",
                where=out,
                found=f"input {source}",
                do="choose another folder for the output",
            )


@contextmanager
def exclusive(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Let one process at a time write into `folder`; a killed one lets go at once.

    The lock is a file in the system's folder for temporary files, so that nothing is left among
    the user's; it holds for the processes of one user on one machine.

    Parameters
    ----------
    folder : Path
    wait : bool
        Wait for the other, saying so on standard error, instead of refusing.

    Raises
    ------
    InputError
        Another process holds it, and `wait` is false.
    """
    owner = os.getuid() if hasattr(os, "getuid") else "user"
    locks = Path(tempfile.gettempdir()) / f"imi-bench-locks-{owner}"
    locks.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = filelock.FileLock(locks / sha256(str(folder.resolve()).encode()).hexdigest()[:32])
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        if not wait:
            raise InputError(
                "another process writes here",
                where=folder,
                do="wait until it has ended, or choose another folder",
            ) from None
        print(f"waiting for another process that writes to {folder}", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def require_plain(path: Path, *, within: Path) -> Path:
    """The same path, if it is a plain file that lies within the folder `within`.

    Raises
    ------
    InputError
        A FIFO, a device, a socket, a folder; a link that leads out of the folder.
    """
    try:
        kind = path.stat().st_mode
    except OSError as error:
        raise InputError("cannot be read", where=path, found=error.strerror) from error
    if not stat.S_ISREG(kind):
        names = {stat.S_IFIFO: "a FIFO", stat.S_IFDIR: "a folder", stat.S_IFSOCK: "a socket"}
        raise InputError(
            "not a plain file",
            where=path,
            found=names.get(stat.S_IFMT(kind), "a device"),
            do="remove it",
        )
    if path.is_symlink() and not path.resolve().is_relative_to(within.resolve()):
        raise InputError(
            "a link that leads out of its folder", where=path, found=path.resolve(), do="remove it"
        )
    return path


def temporary_prefix(path: Path) -> str:
    """Start of the name of a temporary file beside `path`: tells its machine and process."""
    return f".{path.name}.{_machine()}-{os.getpid()}-"


@lru_cache(maxsize=1)
def _machine() -> str:
    return sha256(socket.gethostname().encode()).hexdigest()[:8]


@cache
def swept(folder: Path) -> None:
    """Sweep a folder, once in a process."""
    sweep(folder)


def sweep(folder: Path) -> list[Path]:
    """Remove the temporary files that killed processes of this machine left in a folder.

    Returns
    -------
    list of Path
        What was removed. Files of living processes, and of other machines, stay.
    """
    removed = []
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.name.startswith(".")]
    for name in names:
        found = _TEMPORARY.fullmatch(name)
        if found and found[1] == _machine() and not _alive(int(found[2])):
            (folder / name).unlink(missing_ok=True)
            removed.append(folder / name)
    return removed


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
