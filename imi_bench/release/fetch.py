"""Fetch the released tables: the record's own list of files, its checksums, and nothing else.

Why not `pooch.retrieve`: it downloads to a fresh temporary file, so an interrupted download starts
again from nothing. What is ours here is only the resumable transfer; the checksums are compared by
`pooch.file_hash`, the folder is the platform's own (`platformdirs`). Only CSV tables are taken from
the record; the pickles beside them stay where they are.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

import pooch

from imi_bench import places
from imi_bench.arguments import checked
from imi_bench.errors import DownloadError, InputError
from imi_bench.places import exclusive, require_plain
from imi_bench.provenance import atomic_path, write_json
from imi_bench.release.cells import header
from imi_bench.release.download import Patience, get, transfer
from imi_bench.release.published import published

DOI = str(published().dataset["doi"])
RECORD_URL = f"https://zenodo.org/api/records/{DOI.rpartition('.')[2]}"
RECORD_FILE = "record.json"


@dataclass(frozen=True)
class RecordFile:
    """One file of the record, as its API lists it.

    Attributes
    ----------
    name : str
        File name, without folders.
    url : str
    size : int
        Bytes.
    algorithm, digest : str
        Checksum, such as ``md5`` and 32 hexadecimal digits.
    """

    name: str
    url: str
    size: int
    algorithm: str
    digest: str


@dataclass(frozen=True)
class Fetched:
    """A table at its place.

    Attributes
    ----------
    path : Path
    size : int
        Bytes.
    checksum : str
        ``ok`` where the record's checksum was compared, ``unverified`` where no record was at hand.
    how : str
        ``downloaded``, ``resumed``, ``already there`` or ``copied``.
    """

    path: Path
    size: int
    checksum: str
    how: str


def cache_folder() -> Path:
    """Where fetched tables are kept."""
    return places.cache_folder() / "imi"


@checked
def fetch(
    folder: Path | None = None, *, url: str = RECORD_URL, patience: Patience | None = None
) -> tuple[Fetched, ...]:
    """Download every CSV table of the record into `folder`; what is there and whole is kept.

    Parameters
    ----------
    folder : Path, optional
        The cache folder by default.
    url : str
        Address of the record in the repository's API.
    patience : Patience, optional

    Raises
    ------
    DownloadError
        If the record cannot be reached or read, has no CSV table, or a file is not what its
        checksum says; says what to do offline.
    """
    folder = cache_folder() if folder is None else folder
    patience = patience or Patience()
    record = _get_record(url, patience)
    files = parse_record(record, where=url)
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder, wait=True):
        write_json(folder / RECORD_FILE, record)
        return tuple(fetch_file(file, folder, patience) for file in files)


@checked
def fetch_from(source: Path, folder: Path | None = None) -> tuple[Fetched, ...]:
    """Take CSV tables fetched by hand into `folder`, after the same checks.

    Checksums are compared with ``record.json`` (the API's answer, saved beside the files or by an
    earlier fetch); without one the files are taken as unverified.

    Raises
    ------
    InputError
        If `source` holds no CSV file.
    DownloadError
        If a file is not what its checksum says.
    ResponseError
        If a file is no released table.
    """
    folder = cache_folder() if folder is None else folder
    tables = _tables(source, links=True)
    if not tables:
        raise InputError(
            "no CSV table in this folder",
            where=source,
            wanted="responses_main.csv or its fellows",
            do=f"download them from https://doi.org/{DOI}",
        )
    with exclusive(folder, wait=True):
        return _take(source, folder, tables)


def _take(source: Path, folder: Path, tables: list[Path]) -> tuple[Fetched, ...]:
    known = {file.name: file for file in _stored_record(source) or _stored_record(folder)}
    taken = []
    for table in tables:
        header(table)
        checksum = "unverified"
        if table.name in known:
            check_sum(table, known[table.name])
            checksum = "ok"
        taken.append(copied(table, folder, checksum))
    if (source / RECORD_FILE).is_file() and source.resolve() != folder.resolve():
        copied(source / RECORD_FILE, folder, "")
    return tuple(taken)


def copied(path: Path, folder: Path, checksum: str) -> Fetched:
    """Copy a file into `folder`, whole or not at all."""
    target = folder / path.name
    with atomic_path(target) as temporary:
        shutil.copyfile(path, temporary)
    return Fetched(target, target.stat().st_size, checksum, "copied")


@checked
def stored(folder: Path | None = None) -> tuple[Fetched, ...]:
    """The tables in `folder`, each compared with the checksum in the stored record.

    Raises
    ------
    InputError
        If there is no table.
    DownloadError
        If a table is not what its checksum says.
    """
    folder = cache_folder() if folder is None else folder
    tables = _tables(folder)
    if not tables:
        raise InputError(
            "no released table here",
            where=folder,
            wanted="responses_all.csv or its fellows",
            do="run `imi-bench data fetch`",
        )
    known = [*_stored_record(folder), *known_files()]
    names = {file.name for file in known}
    found = []
    for table in tables:
        for file in known:
            if file.name == table.name:
                check_sum(table, file)
        checksum = "ok" if table.name in names else "unverified"
        found.append(Fetched(table, table.stat().st_size, checksum, "already there"))
    return tuple(found)


def parse_record(record: Any, *, where: object) -> tuple[RecordFile, ...]:
    """The CSV tables that a record's JSON lists, sorted by name.

    Three forms are read: the repository's own (``files`` is a list with ``key``, ``size``,
    ``checksum``, ``links.self``; before 2023 ``filename``, ``filesize``, ``links.download``), the
    export of its software, InvenioRDM (``files.entries`` by name), and that of a record's list of
    files (``entries``, with ``links.content``).

    Raises
    ------
    DownloadError
        If the JSON is not a record, or lists no CSV table.

    Examples
    --------
    >>> file = {"key": "a.csv", "size": 1, "checksum": "md5:" + 32 * "0", "links": {"self": "http://x/a"}}
    >>> parse_record({"files": [file, {**file, "key": "a.pd.pkl"}]}, where="example")[0].name
    'a.csv'
    """
    try:
        listed = _listed(record)
        names = [str(file.get("key") or file["filename"]) for file in listed]
        files = []
        for name, file in zip(names, listed, strict=True):
            plain = PurePosixPath(name).name
            if not plain.lower().endswith(".csv"):
                continue
            if plain.startswith(".") or "\\" in plain:
                raise ValueError(f"name {name!r}")
            algorithm, digest = _checksum(str(file["checksum"]))
            address = _address(file, record, name)
            if urlsplit(address).scheme not in ("http", "https"):
                raise ValueError(f"address {address!r}")
            size = int(file["size"] if "size" in file else file["filesize"])
            if size < 1:
                raise ValueError(f"size {size}")
            files.append(RecordFile(plain, address, size, algorithm, digest))
        if twice := {one.name for one in files if [f.name for f in files].count(one.name) > 1}:
            raise ValueError(f"more than one file called {', '.join(sorted(twice))}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DownloadError(
            "the record's answer is not understood",
            where=where,
            found=f"{type(error).__name__} {error}",
            wanted="files, or files.entries, with key, size, checksum and links",
            do=_by_hand(),
        ) from error
    if not files:
        raise DownloadError(
            "the record lists no CSV table", where=where, found=", ".join(names) or "no file"
        )
    return tuple(sorted(files, key=lambda file: file.name))


def _listed(record: Any) -> list[dict[str, Any]]:
    """The files' entries, in any of the record's forms."""
    files = record["files"] if "files" in record else record["entries"]
    if isinstance(files, dict):
        files = files["entries"]
    if isinstance(files, dict):
        return [{"key": name, **entry} for name, entry in files.items()]
    return list(files)


def _checksum(told: str) -> tuple[str, str]:
    """Algorithm and digest; of one that cannot be the algorithm's nothing is downloaded."""
    algorithm, _, digest = told.rpartition(":")
    algorithm, digest = algorithm or "md5", digest.lower()
    if algorithm not in hashlib.algorithms_available:
        raise ValueError(f"checksum {algorithm!r}")
    length = 2 * hashlib.new(algorithm).digest_size
    if len(digest) != length or not set(digest) <= set("0123456789abcdef"):
        raise ValueError(f"checksum {told!r}")
    return algorithm, digest


def _address(file: dict[str, Any], record: Any, name: str) -> str:
    """Where a file's bytes are; of InvenioRDM's links only ``content`` leads there."""
    links = file.get("links") or {}
    for known in ("content", "self", "download"):
        if address := links.get(known):
            address = str(address)
            whole = known != "self" or "/api/records/" not in address or "/content" in address
            return address if whole else f"{address}/content"
    return f"{record['links']['self']}/files/{quote(name)}/content"


def _tables(folder: Path, *, links: bool = False) -> list[Path]:
    """The CSV files of a folder; hidden ones are what a killed process left half-written."""
    found = sorted(path for path in folder.glob("*.csv") if not path.name.startswith("."))
    return [
        require_plain(path, within=path.resolve().parent if links else folder) for path in found
    ]


def _by_hand() -> str:
    return (
        f"offline, download the CSV files of https://doi.org/{DOI} on another machine and run "
        "`imi-bench data fetch --from FOLDER`"
    )


def _stored_record(folder: Path) -> tuple[RecordFile, ...]:
    path = folder / RECORD_FILE
    if not path.is_file():
        return ()
    try:
        record = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise DownloadError("unreadable record", where=path, found=error) from error
    return parse_record(record, where=path)


def _get_record(url: str, patience: Patience) -> Any:
    body = get(url, patience=patience, remedy=_by_hand())
    try:
        return json.loads(body)
    except ValueError as error:
        raise DownloadError(
            "the record's answer is no JSON", where=url, found=repr(body[:60]), do=_by_hand()
        ) from error


def fetch_file(file: RecordFile, folder: Path, patience: Patience) -> Fetched:
    """Download one file, going on from ``NAME.part`` where an earlier attempt left it."""
    target, part = folder / file.name, folder / f"{file.name}.part"
    if target.is_file() and _matches(target, file):
        return Fetched(target, file.size, "ok", "already there")
    resumed = part.is_file() and 0 < part.stat().st_size <= file.size
    transfer(file.url, part, size=file.size, patience=patience, remedy=_by_hand())
    if resumed and not _matches(part, file):
        # The part may be of an older version of the file: once more, whole.
        part.unlink()
        resumed = False
        transfer(file.url, part, size=file.size, patience=patience, remedy=_by_hand())
    try:
        check_sum(part, file)
    except DownloadError:
        part.unlink()
        raise
    with part.open("rb") as stream:
        os.fsync(stream.fileno())
    part.replace(target)
    return Fetched(target, file.size, "ok", "resumed" if resumed else "downloaded")


def _matches(path: Path, file: RecordFile) -> bool:
    digest = pooch.file_hash(str(path), alg=file.algorithm)
    return path.stat().st_size == file.size and digest == file.digest


def check_sum(path: Path, file: RecordFile) -> None:
    """Refuse a file that is not the one listed.

    Raises
    ------
    DownloadError
        If its size or checksum is another.
    """
    if not _matches(path, file):
        digest = pooch.file_hash(str(path), alg=file.algorithm)
        raise DownloadError(
            "not the file of the record",
            where=path,
            found=f"{file.algorithm} {digest}, {path.stat().st_size} bytes",
            wanted=f"{file.algorithm} {file.digest}, {file.size} bytes",
            do="fetch it again",
        )


@checked
def checksum_lines(found: tuple[Fetched, ...]) -> str:
    """Lines for ``published.toml``: names, bytes and SHA-256 of fetched tables.

    Examples
    --------
    >>> checksum_lines(())
    '[dataset.files]'
    """
    lines = ["[dataset.files]"]
    for one in found:
        digest = pooch.file_hash(str(one.path), alg="sha256")
        lines.append(f'"{one.path.name}" = {{ bytes = {one.size}, sha256 = "{digest}" }}')
    return "\n".join(lines)


def known_files() -> tuple[RecordFile, ...]:
    """The tables whose SHA-256 is kept in ``published.toml``; none as long as nobody has them."""
    files = published().dataset.get("files", {})
    return tuple(
        RecordFile(name, RECORD_URL, int(one["bytes"]), "sha256", str(one["sha256"]))
        for name, one in files.items()
    )
