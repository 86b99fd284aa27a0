"""Getting a stranger's submission into memory without trusting it.

A submission is three files of known names. They are read whole, within limits, into bytes; no
path from an archive is ever used to write, so nothing can escape a folder, and nothing is
imported, unpickled or executed. A zip's directory is measured before it is read, since a million
entries fit below any limit on its size.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import struct
import zipfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from imi_bench.provenance import sha256_bytes
from imi_bench.text import one_line

LIMITS = {"submission.toml": 64 << 10, "decisions.parquet": 16 << 20, "run.json": 1 << 20}
OPTIONAL_LIMITS = {"trials.parquet": 16 << 20}
MAX_ENTRIES = 16
MAX_DIRECTORY = 64 << 10
MAX_RATIO = 200
_ALL_LIMITS = LIMITS | OPTIONAL_LIMITS
_JUNK = ("__MACOSX/", ".DS_Store")


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a submission.

    Attributes
    ----------
    file : str
        Which file of the submission; ``.`` for the submission itself.
    field : str
        Dotted field, column or row; empty where the whole file is meant.
    message : str
        Found, wanted, and what to do.

    Examples
    --------
    >>> print(Problem("submission.toml", "name", "found 'A b', wanted lower case"))
    submission.toml: name: found 'A b', wanted lower case
    """

    file: str
    field: str
    message: str

    def __str__(self) -> str:
        line = ": ".join(part for part in (self.file, self.field, self.message) if part)
        return one_line(line)


def hashes(files: dict[str, bytes]) -> dict[str, str]:
    """SHA-256 of each file but ``submission.toml``, in which they stand."""
    return {n: sha256_bytes(d) for n, d in sorted(files.items()) if n != "submission.toml"}


def read_files(path: Path) -> tuple[dict[str, bytes], list[Problem]]:
    """Bytes of the known files of a submission folder or zip, and what is wrong with it.

    Returns
    -------
    files : dict of str to bytes
        Only names in `LIMITS` and `OPTIONAL_LIMITS`; a file over its limit is left out.
    problems : list of Problem
        Missing, oversized, unexpected or unsafe entries.
    """
    if path.is_dir():
        files, problems = _from_folder(path)
    elif path.is_file():
        files, problems = _from_zip(path)
    else:
        return {}, [Problem(".", "", "no folder or zip is here")]
    known = {problem.file for problem in problems}
    if not any(problem.file == "." for problem in problems):
        problems += [
            Problem(name, "", "missing")
            for name in LIMITS
            if name not in files | dict.fromkeys(known)
        ]
    return files, problems


def _from_folder(folder: Path) -> tuple[dict[str, bytes], list[Problem]]:
    files: dict[str, bytes] = {}
    problems: list[Problem] = []
    with os.scandir(folder) as listed:
        entries = sorted(folder / entry.name for entry in islice(listed, MAX_ENTRIES + 1))
    if len(entries) > MAX_ENTRIES:
        return {}, [Problem(".", "", f"more entries than {MAX_ENTRIES}, the most allowed")]
    for entry in entries:
        name = entry.name
        if name in _JUNK:
            continue
        if entry.is_symlink():
            problems.append(Problem(name, "", "is a symbolic link, wanted a plain file"))
        elif name not in _ALL_LIMITS:
            problems.append(_unexpected(name))
        elif not entry.is_file():
            problems.append(Problem(name, "", "is not a plain file"))
        elif (size := entry.stat().st_size) > _ALL_LIMITS[name]:
            problems.append(_too_large(name, size))
        else:
            try:
                data = _read_plain(entry, _ALL_LIMITS[name])
            except OSError as error:
                problems.append(Problem(name, "", f"cannot be read ({error.strerror})"))
                continue
            if len(data) > _ALL_LIMITS[name]:
                problems.append(_too_large(name, len(data)))
            else:
                files[name] = data
    return files, problems


def _read_plain(path: Path, limit: int) -> bytes:
    """At most a byte more than allowed of a file that is plain now, whatever it was before."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with os.fdopen(os.open(path, flags | getattr(os, "O_BINARY", 0)), "rb") as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a plain file")
        return stream.read(limit + 1)


def _from_zip(path: Path) -> tuple[dict[str, bytes], list[Problem]]:
    limit = sum(_ALL_LIMITS.values())
    try:
        data = _read_plain(path.resolve() if path.is_symlink() else path, limit)
        if len(data) > limit:
            return {}, [_too_large(".", max(len(data), path.stat().st_size))]
        if (directory := _directory_problem(data)) is not None:
            return {}, [directory]
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return _from_entries(archive)
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        OSError,
        ValueError,
        EOFError,
        NotImplementedError,
        struct.error,
        LookupError,  # zipfile takes an entry without a name for granted
        ArithmeticError,
    ) as error:
        return {}, [Problem(".", "", f"not a readable zip file ({error})")]


def _directory_problem(data: bytes) -> Problem | None:
    """Measure the directory at the end of a zip, as `zipfile` finds it."""
    tail = data[-(1 << 16) - 22 :]
    end = len(tail) - 22
    if end < 0 or tail[end : end + 4] != b"PK\5\6" or tail[-2:] != b"\0\0":
        end = tail.rfind(b"PK\5\6")
    if end < 0 or len(tail) < end + 22:
        return Problem(".", "", "not a readable zip file (no directory at its end)")
    count, directory = struct.unpack("<HL", tail[end + 10 : end + 16])
    if b"PK\6\7" in tail[max(0, end - 20) : end] or count == 0xFFFF:
        return Problem(".", "", "a zip of more than 4 GB or 65,535 entries, wanted a small one")
    if directory > MAX_DIRECTORY:
        found = f"directory of {directory:,} bytes"
        return Problem(".", "", f"found a {found}, wanted at most {MAX_ENTRIES} entries")
    return None


def _from_entries(archive: zipfile.ZipFile) -> tuple[dict[str, bytes], list[Problem]]:
    entries = [e for e in archive.infolist() if not e.filename.startswith(_JUNK) and not e.is_dir()]
    if len(entries) > MAX_ENTRIES:
        return {}, [Problem(".", "", f"found {len(entries)} entries, wanted at most {MAX_ENTRIES}")]
    files: dict[str, bytes] = {}
    problems: list[Problem] = []
    tops = set()
    for entry in entries:
        name, problem = _safe_name(entry)
        if problem is None:
            tops.add(PurePosixPath(entry.filename).parts[:-1])
            problem = _entry_problem(entry, name, files)
        if problem is not None:
            problems.append(problem)
            continue
        data, problem = _read_entry(archive, entry, name)
        if problem is not None:
            problems.append(problem)
        else:
            files[name] = data
    if len(tops) > 1:
        problems.append(Problem(".", "", "files lie in several folders, wanted one"))
    return files, problems


def _safe_name(entry: zipfile.ZipInfo) -> tuple[str, Problem | None]:
    raw = entry.orig_filename
    parts = PurePosixPath(raw).parts
    if "\x00" in raw or "\\" in raw or raw.startswith("/") or ".." in parts or ":" in raw:
        return "", Problem(raw[:80], "", "unsafe path in the zip")
    if len(parts) > 2:
        return "", Problem(raw[:80], "", "nested too deep, wanted the files in at most one folder")
    return parts[-1] if parts else "", None


def _entry_problem(entry: zipfile.ZipInfo, name: str, files: dict[str, bytes]) -> Problem | None:
    kind = entry.external_attr >> 16
    if stat.S_ISLNK(kind):
        return Problem(name, "", "is a symbolic link, wanted a plain file")
    if entry.flag_bits & 0x1:
        return Problem(name, "", "is encrypted, wanted plain data")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return Problem(name, "", "is compressed by another method than deflate")
    if name not in _ALL_LIMITS:
        return _unexpected(name)
    if name in files:
        return Problem(name, "", "stands in the zip twice")
    if entry.file_size > _ALL_LIMITS[name]:
        return _too_large(name, entry.file_size)
    if entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
        return Problem(name, "", f"compressed more than {MAX_RATIO} times: a zip bomb?")
    return None


def _read_entry(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str
) -> tuple[bytes, Problem | None]:
    # The header's size is a claim: read one byte more than allowed and see.
    try:
        with archive.open(entry) as stream:
            data = stream.read(_ALL_LIMITS[name] + 1)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        return b"", Problem(name, "", f"cannot be unpacked ({error})")
    except Exception as error:  # zlib, lzma and bz2 raise types of their own on damaged data
        return b"", Problem(name, "", f"cannot be unpacked ({type(error).__name__}: {error})")
    if len(data) > _ALL_LIMITS[name]:
        return b"", _too_large(name, len(data))
    return data, None


def _unexpected(name: str) -> Problem:
    return Problem(name[:80], "", f"unexpected, wanted only {', '.join(_ALL_LIMITS)}")


def _too_large(name: str, size: int) -> Problem:
    limit = _ALL_LIMITS.get(name, sum(_ALL_LIMITS.values()))
    return Problem(name, "", f"found {size:,} bytes, wanted at most {limit:,}")
