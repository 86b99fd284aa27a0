"""What the cache holds, and emptying it: everything in it can be computed or fetched again.

One folder, ``$IMI_BENCH_CACHE`` or the user's cache folder; what lies where stands in
``docs/cache.md``. Only the kinds below are ever removed, and only by name: anything else in the
folder is left alone.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from imi_bench.arguments import checked
from imi_bench.errors import InputError, UnknownNameError
from imi_bench.places import cache_folder

__all__ = ["KINDS", "CacheEntry", "cache_info", "prune_cache"]

KINDS = {
    "codes": "an observer's codes of images",
    "answers": "an observer's answers to whole trials",
    "pairs": "an observer's similarities of pairs of images",
    "pixels": "decoded images as networks take them",
    "weights": "trained weights as safetensors",
    "file-hashes": "content hashes of image files",
}


@dataclass(frozen=True)
class CacheEntry:
    """One folder of the cache.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    name : str
        Folder within the cache.
    of : str
        What it belongs to: the architecture or library where it is said, else empty.
    bytes, files : int
    days : float
        Since a file in it was last written.
    """

    kind: str
    name: str
    of: str
    bytes: int
    files: int
    days: float


@checked
def cache_info(folder: str | Path | None = None) -> pd.DataFrame:
    """What the cache holds, largest first.

    Parameters
    ----------
    folder : str or Path, optional
        Another cache than the user's own.

    Returns
    -------
    pandas.DataFrame
        One row a folder, with the fields of `CacheEntry`; empty where there is no cache.

    Examples
    --------
    >>> import tempfile
    >>> len(cache_info(tempfile.mkdtemp()))
    0
    """
    fields = list(CacheEntry.__dataclass_fields__)
    rows = sorted(_entries(_root(folder)), key=lambda one: (-one.bytes, one.name))
    return pd.DataFrame([vars(row) for row in rows], columns=fields)


@checked
def prune_cache(
    folder: str | Path | None = None,
    *,
    kinds: list[str] | None = None,
    days: float = 0.0,
    remove: bool = False,
) -> pd.DataFrame:
    """Remove folders of the cache that nothing has been written to for a time.

    Parameters
    ----------
    folder : str or Path, optional
    kinds : list of str, optional
        Of `KINDS`; all but ``weights`` if None.
    days : float
        Without a new file for at least so long.
    remove : bool
        False: only say what would go.

    Returns
    -------
    pandas.DataFrame
        What went, or would go, as `cache_info` gives it.

    Raises
    ------
    UnknownNameError
        A kind that is none.
    InputError
        Negative days.
    """
    chosen = [kind for kind in KINDS if kind != "weights"] if kinds is None else kinds
    for kind in chosen:
        UnknownNameError.unless_among(kind, KINDS, kind="kind of cache")
    if not days >= 0:
        raise InputError("bad age", found=days, wanted="days, 0 or more")
    found = cache_info(folder)
    gone = found[found["kind"].isin(chosen) & (found["days"] >= days)].reset_index(drop=True)
    if remove:
        for name in gone["name"]:
            shutil.rmtree(_root(folder) / name)
    return gone


def _root(folder: str | Path | None) -> Path:
    return cache_folder() if folder is None else Path(folder)


def _entries(root: Path) -> list[CacheEntry]:
    found = []
    for top in sorted(root.iterdir()) if root.is_dir() else ():
        kind = next((k for k in KINDS if top.name == k or top.name.startswith(f"{k}-")), None)
        if kind is None or top.is_symlink() or not top.is_dir():
            continue
        # file hashes are one folder; of the others each observer or package has its own
        parts = [top] if kind == "file-hashes" else sorted(p for p in top.iterdir() if p.is_dir())
        found += [_entry(kind, part, root) for part in parts if not part.is_symlink()]
    return found


def _entry(kind: str, folder: Path, root: Path) -> CacheEntry:
    stats = [path.lstat() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    last = max((one.st_mtime for one in stats), default=folder.stat().st_mtime)
    return CacheEntry(
        kind=kind,
        name=str(folder.relative_to(root)),
        of=_of(folder),
        bytes=sum(one.st_size for one in stats),
        files=len(stats),
        days=round(max(time.time() - last, 0.0) / 86400, 3),
    )


def _of(folder: Path) -> str:
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    said = [about.get(key) for key in ("architecture", "trunk", "variant", "function", "kind")]
    return next((str(one) for one in said if one), "") if isinstance(about, dict) else ""
