"""Numbers kept on disk under a content hash; survives a kill at any instant.

A store is a folder of shards. A shard is one ``.npy`` file of records (hash, value), written
under a temporary name, flushed and moved, and never changed after. Its name is the SHA-256 of
its bytes, so that damage shows; a damaged shard is removed, reported and computed again. Values
are mapped from disk, not loaded: memory does not grow with the store.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imi_bench.arrays import Array
from imi_bench.errors import InputError
from imi_bench.places import require_plain
from imi_bench.provenance import atomic_path, sha256_bytes, sha256_file, write_json

FLUSH_SECONDS = 5.0
_FLUSH_BYTES = 64 << 20
_STALE_SECONDS = 3600.0


class Store:
    """Values of one shape and dtype under 32-byte keys.

    Parameters
    ----------
    folder : Path
        Made on the first write.
    keys : sequence of str
        Hexadecimal SHA-256 of what is wanted, repetitions allowed; everything below speaks of
        rows of this sequence.
    about : mapping
        What the values are of; written beside them for people to read.
    stored : str, optional
        ``float16``: numbers with a fraction are kept in half the bytes of single precision, rounded
        to eleven binary digits, and given back as float32. As they come by default.

    Attributes
    ----------
    known : (n,) bool
        Rows that have a value.
    damaged : list of str
        One line for each shard that could not be trusted.

    Examples
    --------
    >>> import tempfile
    >>> store = Store(Path(tempfile.mkdtemp()), ["00" * 32, "ff" * 32])
    >>> store.add(np.array([1]), np.array([[0.5, 2.0]]))
    >>> store.flush()
    >>> store.known.tolist(), store.take(np.array([1, 1])).tolist()
    ([False, True], [[0.5, 2.0], [0.5, 2.0]])
    """

    def __init__(
        self,
        folder: Path,
        keys: Sequence[str],
        *,
        about: Mapping[str, Any] | None = None,
        stored: str | None = None,
    ) -> None:
        self.folder, self._about = folder, about
        self._half = stored == "float16"
        self.damaged: list[str] = []
        raw = np.array([bytes.fromhex(key) for key in keys], dtype="S32")
        self._keys, self._key_of_row = np.unique(raw, return_inverse=True)
        self._shard = np.full(len(self._keys), -1, dtype=np.int64)
        self._place = np.zeros(len(self._keys), dtype=np.int64)
        self._shards: list[Array] = []
        self._waiting: list[tuple[Array, Array]] = []
        self._last_flush = time.monotonic()
        self._open()

    @property
    def known(self) -> NDArray[np.bool_]:
        """(n,) rows that have a value on disk."""
        return np.asarray(self._shard[self._key_of_row] >= 0)

    @property
    def kind(self) -> np.dtype[Any] | None:
        """Dtype and shape of one value; None while the store is empty."""
        return None if not self._shards else self._shards[0].dtype["value"]

    def add(self, rows: NDArray[np.int64], values: Array) -> None:
        """Keep the values of some rows; on disk at the latest after the next `flush`.

        Raises
        ------
        InputError
            Values that are not plain numbers, of another shape or dtype than those before, or
            beyond 65,504 where they are kept as float16.
        """
        values = self._rounded(np.ascontiguousarray(values))
        kind = np.dtype((values.dtype, values.shape[1:]))
        before = self._waiting[0][1] if self._waiting else None
        wanted = self.kind if before is None else np.dtype((before.dtype, before.shape[1:]))
        if values.dtype.hasobject or (wanted is not None and kind != wanted):
            raise InputError(
                "codes of another kind than before",
                where=self.folder,
                found=kind,
                wanted=wanted,
                do="an observer whose codes changed must describe itself differently",
            )
        self._waiting.append((self._key_of_row[rows], values))
        due = time.monotonic() - self._last_flush >= FLUSH_SECONDS
        if due or sum(part.nbytes for _, part in self._waiting) >= _FLUSH_BYTES:
            self.flush()

    def _rounded(self, values: Array) -> Array:
        if not self._half or values.dtype.kind != "f" or values.dtype == np.float16:
            return values
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if (np.isinf(half) & np.isfinite(values)).any():
            raise InputError(
                "codes are too large for float16",
                where=self.folder,
                found=f"{float(np.abs(values[np.isfinite(values)]).max()):.3g}",
                wanted="at most 65504",
                do="store them as they are (leave store= out)",
            )
        return half

    def flush(self) -> None:
        """Write what is waiting as one shard."""
        self._last_flush = time.monotonic()
        if not self._waiting:
            return
        at = np.concatenate([part for part, _ in self._waiting])
        values = np.concatenate([part for _, part in self._waiting])
        record = np.dtype([("key", "S32"), ("value", values.dtype, values.shape[1:])])
        records = np.empty(len(at), dtype=record)
        records["key"], records["value"] = self._keys[at], values
        buffer = io.BytesIO()
        np.save(buffer, records, allow_pickle=False)
        data = buffer.getvalue()
        path = self.folder / f"{sha256_bytes(data)}.npy"
        if self._about is not None and not (self.folder / "about.json").is_file():
            write_json(self.folder / "about.json", json.loads(json.dumps(dict(self._about))))
        with atomic_path(path) as temporary:
            temporary.write_bytes(data)
        self._attach(np.load(path, mmap_mode="r", allow_pickle=False), at, np.arange(len(at)))
        self._waiting.clear()  # not before: what could not be written is written by the next flush

    def take(self, rows: NDArray[np.int64]) -> Array:
        """Values of some rows, (len(rows), …).

        Raises
        ------
        KeyError
            If a row has no value.
        """
        at = self._key_of_row[rows]
        shard, place = self._shard[at], self._place[at]
        if len(at) == 0 or shard.min() < 0:
            raise KeyError("no value on disk")
        first = self._shards[shard[0]]["value"]
        values = np.empty((len(at), *first.shape[1:]), dtype=first.dtype)
        for number in np.unique(shard):
            mine = shard == number
            values[mine] = self._shards[number]["value"][place[mine]]
        return values.astype(np.float32) if self._half and values.dtype == np.float16 else values

    def _attach(self, records: Array, at: Array, places: Array) -> None:
        self._shard[at] = len(self._shards)
        self._place[at] = places
        self._shards.append(records)

    def _open(self) -> None:
        if not self.folder.is_dir():
            return
        for path in sorted(self.folder.glob("*.npy")):
            if path.name.startswith("."):
                _remove_if_stale(path)
                continue
            require_plain(path, within=self.folder)
            try:
                records = np.load(path, mmap_mode="r", allow_pickle=False)
                keys = np.ascontiguousarray(records["key"])
                at = np.searchsorted(self._keys, keys).clip(max=max(len(self._keys) - 1, 0))
                places = np.flatnonzero(self._keys[at] == keys) if len(self._keys) else at[:0]
                if places.size and sha256_file(path) != path.stem:
                    raise ValueError("checksum does not match")
                if self._shards and places.size and records.dtype != self._shards[0].dtype:
                    raise ValueError(f"records of {records.dtype}, not {self._shards[0].dtype}")
            # numpy's header parser lets any exception through, tokenize's among them
            except Exception as error:
                self.damaged.append(f"{path}: {error}; removed, computed again")
                path.unlink(missing_ok=True)
                continue
            if places.size:
                self._attach(records, at[places], places)


def _remove_if_stale(path: Path) -> None:
    """Remove what a killed writer left; a younger file may belong to a live one."""
    try:
        if time.time() - path.stat().st_mtime > _STALE_SECONDS:
            path.unlink()
    except FileNotFoundError:
        return
