"""Content hashes, atomic files, seeds, package versions and git state."""

from __future__ import annotations

import base64
import dataclasses
import errno
import hashlib
import json
import math
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

from imi_bench.errors import InputError
from imi_bench.places import swept, temporary_prefix

_REPORTED_PACKAGES = (
    "imi-bench",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scikit-image",
    "statsmodels",
    "pillow",
    "torch",
    "torchvision",
    "timm",
    "open_clip_torch",
    "safetensors",
)


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of `data` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(value: object) -> str:
    """SHA-256 of a JSON value in canonical form (sorted keys, no spaces, UTF-8).

    JSON may hold half a surrogate pair, which has bytes of its own here.

    Examples
    --------
    >>> sha256_json({"b": 1, "a": 2}) == sha256_json({"a": 2, "b": 1})
    True
    """
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256_bytes(canonical.encode("utf-8", "surrogatepass"))


Column: TypeAlias = "NDArray[Any] | Sequence[str]"


def sha256_columns(columns: Mapping[str, Column] | Iterable[tuple[str, Column]]) -> str:
    """SHA-256 of named columns: their names, order, dtypes, shapes and values.

    Pairs of name and column are taken one at a time, so that they need not all be in memory.
    Text columns are hashed by their UTF-8 values, so that the storage (object, fixed width,
    pandas string) does not matter; floats by their IEEE bytes.
    """
    import numpy as np

    digest = hashlib.sha256()
    for name, column in columns.items() if isinstance(columns, Mapping) else columns:
        values = np.asarray(column)
        if values.dtype.kind in "OUT":
            text = json.dumps([str(v) for v in values.tolist()], ensure_ascii=False).encode()
            body, kind = np.frombuffer(text, dtype=np.uint8), "text"
        else:
            body = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
            kind = values.dtype.str
        digest.update(f"{name}|{kind}|{values.shape}|{body.nbytes}|".encode())
        digest.update(body.data)
    return digest.hexdigest()


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; move it into place when the block ends well.

    A reader sees the old file or the whole new one, never a part; a block that raises leaves
    nothing behind. The temporary file is flushed to disk before the move. What a killed process
    left in the folder is removed (`imi_bench.places.sweep`) before this one's first file there.

    Raises
    ------
    OSError
        A full disk, a limit, a folder that cannot be written: with the name of `path`.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> target = pathlib.Path(tempfile.mkdtemp()) / "a.txt"
    >>> with atomic_path(target) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    swept(path.parent.absolute())
    handle, name = tempfile.mkstemp(
        prefix=temporary_prefix(path), suffix=path.suffix, dir=path.parent
    )
    os.close(handle)
    temporary = Path(name)
    temporary.chmod(0o666 & ~_umask())
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.filename is None:  # a write that failed does not say where
            raise _named(error, path) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@cache
def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


def _named(error: OSError, path: Path) -> OSError:
    """The same error with the file's name; some libraries tell the cause by text alone."""
    number = error.errno
    if number is None:
        text = str(error).casefold()
        if "no space" in text or "written" in text:  # numpy: "4096 requested and 512 written"
            number = errno.ENOSPC
    if number is None:
        return OSError(errno.EIO, str(error)[:200], str(path))
    return OSError(number, os.strerror(number), str(path))


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Write a table atomically and without its index, as its suffix says: see `TABLES`.

    Raises
    ------
    InputError
        Another suffix: what it names would be written as something else.
    """
    kind = table_kind(path)
    with atomic_path(path) as temporary:
        if kind == ".parquet":
            frame.to_parquet(temporary, index=False)
        else:
            frame.to_csv(temporary, index=False, sep="\t" if kind == ".tsv" else ",")


TABLES = (".csv", ".tsv", ".parquet")
PAGES = (".html", ".htm")


def table_kind(path: Path) -> str:
    """Which of `TABLES` a file's name asks for.

    Raises
    ------
    InputError
        None of them.

    Examples
    --------
    >>> table_kind(Path("rows.CSV"))
    '.csv'
    """
    check_name(path, *TABLES, what="table")
    return path.suffix.lower()


def check_name(path: str | Path, *suffixes: str, what: str) -> None:
    """Refuse a file's name that promises another form than what is written there.

    Parameters
    ----------
    path : str or Path
    suffixes : str
        Ends that the name may have; the empty one stands for a name without any.
    what : str
        What is written.

    Raises
    ------
    InputError
        Another end.

    Examples
    --------
    >>> check_name("model.JSON", ".json", what="model")
    """
    if Path(path).suffix.lower() not in suffixes:
        *others, last = [one for one in suffixes if one]
        listed = f"{', '.join(others)} or {last}" if others else last
        if "" in suffixes:
            listed += ", or in nothing"
        raise InputError(f"not a {what}'s name", where=path, wanted=f"a name that ends in {listed}")


def write_json(path: Path, value: object) -> None:
    """Write a JSON value atomically, indented, with a final newline.

    Raises
    ------
    ValueError
        For NaN or infinity, which JSON does not have: turn them into ``None`` and a reason first.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def generator(seed: int, *stream: str | int) -> np.random.Generator:
    """Independent generator for a named stream of one recorded seed.

    The same (seed, stream) gives the same numbers on every platform, whatever was drawn
    elsewhere: ``generator(0, "bootstrap")`` and ``generator(0, "sides")`` do not interact.

    Raises
    ------
    InputError
        A negative seed.

    Examples
    --------
    >>> bool(generator(0, "a").random() == generator(0, "a").random())
    True
    """
    import numpy as np

    if seed < 0:
        raise InputError("a negative seed", found=seed, wanted="0 or more")
    key = int.from_bytes(hashlib.sha256(repr(stream).encode()).digest()[:16], "little")
    return np.random.default_rng(np.random.SeedSequence([seed, key]))


def package_versions() -> dict[str, str]:
    """Versions of Python and of those installed packages that can change a result."""
    return dict(_installed())


@cache
def _installed() -> Mapping[str, str]:
    versions = {"python": platform.python_version()}
    for name in _REPORTED_PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def git_state() -> dict[str, str | bool] | None:
    """Commit and cleanness of the checkout that holds this package; None outside one.

    Of the moment when this process first asked: the code that runs was loaded before.
    """
    state = _checked_out()
    return None if state is None else dict(state)


@cache
def _checked_out() -> Mapping[str, str | bool] | None:
    folder = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *arguments],
            check=True,
            capture_output=True,
            text=True,
            timeout=10,
        ).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": git("status", "--porcelain") != ""}
    except (OSError, subprocess.SubprocessError):
        return None


_INFINITE = {True: "Infinity", False: "-Infinity"}


def plain(value: Any) -> Any:
    """Make a value fit for JSON: what is missing becomes null, paths and numpy values plain.

    Infinite numbers become ``"Infinity"`` and ``"-Infinity"``, which are another thing than
    missing ones; bytes become base64.

    Parameters
    ----------
    value : object
        Mappings, sequences, sets (sorted), results with ``to_json``, other dataclasses, arrays,
        tables (lists by column), paths, numbers, text, bytes.

    Returns
    -------
    dict, list, str, int, float, bool or None

    Examples
    --------
    >>> plain({"a": (1.0, float("nan"), float("inf")), "where": Path("x")})
    {'a': [1.0, None, 'Infinity'], 'where': 'x'}
    """
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, set | frozenset):
        return sorted(plain(part) for part in value)
    if hasattr(value, "columns") and hasattr(value, "iloc"):  # a DataFrame
        return {str(name): plain(value[name]) for name in value.columns}
    if hasattr(value, "to_json") and not hasattr(value, "iloc"):
        return plain(value.to_json())
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else _INFINITE[value > 0]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if type(value).__name__ in ("NAType", "NaTType"):  # missing values of pandas
        return None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    return str(value)


def from_null(value: float | str | None) -> float:
    """Read a number that `plain` wrote: null is NaN, ``"Infinity"`` is infinite.

    Raises
    ------
    ValueError
        Other text.

    Examples
    --------
    >>> from_null(None), from_null(2), from_null("-Infinity")
    (nan, 2.0, -inf)
    """
    if isinstance(value, str) and value not in _INFINITE.values():
        raise ValueError(f"no number: {value!r:.40}")
    return math.nan if value is None else float(value)
