"""Fetch the forerunner's tables: from the pinned commit, by the checksums that are shipped."""

from __future__ import annotations

from pathlib import Path

from imi_bench.arguments import checked
from imi_bench.errors import InputError
from imi_bench.places import exclusive
from imi_bench.release.borowski import Experiment, facts
from imi_bench.release.download import Patience
from imi_bench.release.fetch import (
    Fetched,
    RecordFile,
    cache_folder,
    check_sum,
    copied,
    fetch_file,
)
from imi_bench.text import plural

__all__ = ["DATASETS", "dataset_folder", "fetch_pinned", "stored_pinned", "table_path"]

BOROWSKI = "borowski2021"
DATASETS = ("imi", BOROWSKI)
BASE = "https://raw.githubusercontent.com"


def dataset_folder() -> Path:
    """Where the tables are kept, beside the record's."""
    return cache_folder().parent / BOROWSKI


def pinned_files(base: str = BASE) -> tuple[RecordFile, ...]:
    """Every file, with its address at the pinned commit, size and SHA-256."""
    known = facts()
    source = known["dataset"]
    stem = f"{base}/{source['repository']}/{source['commit']}/{source['folder']}"
    entries = [*known["tables"].values(), *known["ratings"].values()]
    return tuple(
        RecordFile(one["file"], f"{stem}/{one['file']}", one["bytes"], "sha256", one["sha256"])
        for one in entries
    )


@checked
def fetch_pinned(
    folder: Path | None = None,
    *,
    source: Path | None = None,
    base: str = BASE,
    patience: Patience | None = None,
) -> tuple[Fetched, ...]:
    """Fetch the tables, or take them from `source`; each must be what its checksum says.

    Parameters
    ----------
    folder : Path, optional
        The cache folder by default.
    source : Path, optional
        Folder with the files, fetched by hand.
    base : str
        Address of the host of raw files.
    patience : Patience, optional

    Raises
    ------
    InputError
        If `source` lacks a file.
    DownloadError
        If a file cannot be fetched, or is not the one that was pinned.
    """
    folder = dataset_folder() if folder is None else folder
    files = pinned_files(base)
    if source is not None and (gone := [f.name for f in files if not (source / f.name).is_file()]):
        raise InputError(
            f"{len(gone)} of {plural(len(files), 'file')} are not there",
            where=source,
            wanted=", ".join(gone),
            do=f"take them from {pinned_files()[0].url.rpartition('/')[0]}",
        )
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder, wait=True):
        if source is None:
            return tuple(fetch_file(file, folder, patience or Patience()) for file in files)
        for file in files:
            check_sum(source / file.name, file)
        return tuple(copied(source / file.name, folder, "ok") for file in files)


def stored_pinned(folder: Path | None = None) -> tuple[Fetched, ...]:
    """The fetched tables, each compared with its checksum.

    Raises
    ------
    InputError
        If one is not there.
    DownloadError
        If one has changed.
    """
    folder = dataset_folder() if folder is None else folder
    found = []
    for file in pinned_files():
        path = folder / file.name
        if not path.is_file():
            raise InputError(
                "not fetched yet", where=path, do=f"run `imi-bench data fetch {BOROWSKI}`"
            )
        check_sum(path, file)
        found.append(Fetched(path, file.size, "ok", "already there"))
    return tuple(found)


def table_path(name: str) -> tuple[Path, Experiment]:
    """The fetched table called ``borowski2021`` (experiment I) or ``borowski2021-II``.

    Raises
    ------
    InputError
        If it is not fetched.
    """
    experiment: Experiment = "II" if name.endswith("-II") else "I"
    wanted = facts()["tables"][experiment]["file"]
    path = next(one.path for one in stored_pinned() if one.path.name == wanted)
    return path, experiment
