"""Parquet files of strangers: every size is known, and bounded, before anything is expanded.

What a Parquet file's footer says of its sizes is a claim, and a dictionary page or a run of equal
rows turns a hundred bytes into a gigabyte. So the headers of all pages of the wanted columns are
read first (they lie plain between the compressed pages, and Arrow allocates by them): number of
values, bytes once decompressed, encoding. Text is then read as codes into its dictionary, and is
written out only once the length of the whole is known. Source: Apache Parquet's ``parquet.thrift``
and the compact protocol of Thrift.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

MAX_FOOTER = 128 << 10
MAX_COLUMNS = 64
MAX_ROW_GROUPS = 64
MAX_PAGES = 4_000
MAX_DECODED = 48 << 20
MAX_TEXT = 300
_DEEPEST = 12
_DICTIONARY_PAGE, _DATA_PAGE, _DATA_PAGE_V2 = 2, 0, 3
# PLAIN, PLAIN_DICTIONARY, RLE, three that cost no more than their page, RLE_DICTIONARY,
# BYTE_STREAM_SPLIT. DELTA_BYTE_ARRAY is not among them: each value may repeat the one before.
_ENCODINGS = {0, 2, 3, 5, 6, 8, 9}
_PHYSICAL = {
    "text": {"BYTE_ARRAY"},
    "number": {"INT32", "INT64", "FLOAT", "DOUBLE"},
    "flag": {"BOOLEAN"},
}


class RefusedError(Exception):
    """A table that is not read: the column, or empty, and why."""

    def __init__(self, column: str, why: str) -> None:
        self.column, self.why = column, why
        super().__init__(f"{column}: {why}" if column else why)


def read_table(
    data: bytes, *, columns: Mapping[str, str], optional: Mapping[str, str], rows: int
) -> tuple[pd.DataFrame | None, list[RefusedError]]:
    """Read known columns of a table, or say everything that is wrong with it.

    Parameters
    ----------
    data : bytes
        The whole file.
    columns, optional : mapping of str to str
        Kind of each column (``text``, ``number``, ``flag``); those of `optional` may be missing.
    rows : int
        Most rows allowed.

    Returns
    -------
    frame : DataFrame or None
        Without empty cells in columns of text and flags.
    refused : list of RefusedError
    """
    try:
        groups = _row_groups(data, rows)
        file = _open(data)
        if (found := file.metadata.num_columns) > MAX_COLUMNS:
            raise RefusedError("", f"found {found:,} columns, wanted at most {MAX_COLUMNS}")
        present = file.schema_arrow.names
        known = {**columns, **{c: k for c, k in optional.items() if c in present}}
        if refused := _schema_problems(file, columns, known):
            return None, refused
        wanted = list(known)
        _bound_pages(data, groups, wanted)
        texts = [column for column, kind in known.items() if kind == "text"]
        table = _open(data, read_dictionary=texts).read(columns=wanted, use_threads=False)
        return _frame(table, known)
    except RefusedError as refused:
        return None, [refused]
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, MemoryError) as error:
        why = f"not a readable Parquet file ({str(error)[:200] or type(error).__name__})"
        return None, [RefusedError("", why)]


def _open(data: bytes, **how: Any) -> pq.ParquetFile:
    return pq.ParquetFile(
        io.BytesIO(data),
        pre_buffer=False,
        thrift_string_size_limit=MAX_FOOTER,
        thrift_container_size_limit=10_000,
        **how,
    )


@dataclass(frozen=True)
class _Chunk:
    """A column of a row group: its number of values, and where its pages lie."""

    path: str
    values: int
    first: int
    end: int


@dataclass(frozen=True)
class _RowGroup:
    rows: int
    chunks: tuple[_Chunk, ...]


def _row_groups(data: bytes, rows: int) -> list[_RowGroup]:
    """Read from the footer itself: asked for a column's metadata, Arrow can end the process."""
    if len(data) < 12 or data[:4] != b"PAR1" or data[-4:] != b"PAR1":
        raise RefusedError("", "not a readable Parquet file (no PAR1 at its ends)")
    footer = int.from_bytes(data[-8:-4], "little")
    if not 0 < footer <= min(MAX_FOOTER, len(data) - 12):
        raise RefusedError(
            "",
            f"not a readable Parquet file (footer of {footer:,} bytes, most {MAX_FOOTER:,})",
        )
    about = _Compact(data, len(data) - 8 - footer, len(data) - 8, most=footer).struct()[0]
    listed, total = about.get(4, []), about.get(3)
    if not isinstance(listed, list) or not isinstance(total, int):
        raise RefusedError("", "not a readable Parquet file (footer)")
    if len(listed) > MAX_ROW_GROUPS:
        why = f"found {len(listed):,} row groups, wanted at most {MAX_ROW_GROUPS}"
        raise RefusedError("", why)
    groups = [_row_group(group) for group in listed]
    counts = [group.rows for group in groups]
    if min([0, *counts]) < 0 or sum(counts) != total or total > rows:
        found = max(total, sum(counts))
        raise RefusedError("", f"found {found:,} rows, wanted at most {rows:,}")
    return groups


def _row_group(group: Any) -> _RowGroup:
    chunks = group.get(1) if isinstance(group, dict) else None
    rows = group.get(3) if isinstance(group, dict) else None
    if not isinstance(chunks, list) or not isinstance(rows, int):
        raise RefusedError("", "not a readable Parquet file (row group)")
    if len(chunks) > MAX_COLUMNS:
        why = f"found {len(chunks):,} columns in a row group, wanted at most {MAX_COLUMNS}"
        raise RefusedError("", why)
    return _RowGroup(rows, tuple(map(_chunk, chunks)))


def _chunk(chunk: Any) -> _Chunk:
    about = chunk.get(3) if isinstance(chunk, dict) else None
    if not isinstance(about, dict) or chunk.get(1) is not None:
        raise RefusedError("", "not a readable Parquet file (column)")
    path, numbers = about.get(3), [n for n in map(about.get, (5, 7, 9)) if isinstance(n, int)]
    if not isinstance(path, list) or not all(isinstance(part, bytes) for part in path):
        raise RefusedError("", "not a readable Parquet file (name of a column)")
    if len(numbers) != 3:
        raise RefusedError("", "not a readable Parquet file (sizes of a column)")
    values, size, first = numbers
    dictionary = about.get(11)
    if isinstance(dictionary, int) and 0 < dictionary < first:
        first = dictionary
    name = b".".join(path).decode("utf-8", "replace")
    return _Chunk(name, values, first, first + size)


def _schema_problems(
    file: pq.ParquetFile, columns: Mapping[str, str], known: Mapping[str, str]
) -> list[RefusedError]:
    present = file.schema_arrow.names
    refused = [RefusedError(column, "missing column") for column in columns if column not in known]
    refused += [RefusedError(c, "missing column") for c in columns if c not in present]
    doubled = sorted({column for column in present if present.count(column) > 1})
    refused += [RefusedError(column[:80], "column stands twice") for column in doubled]
    if doubled:
        return refused
    for column, kind in known.items():
        if column in present:
            found = file.schema_arrow.field(column).type
            if pa.types.is_null(found) and not file.metadata.num_rows:
                continue  # how old versions of pandas write a column of text without rows
            if not _is_kind(found, kind) or not _is_flat(file, column, kind):
                refused.append(RefusedError(column, f"found type {found}, wanted {kind}"))
    return sorted(refused, key=str)


def _is_kind(type_: Any, kind: str) -> bool:
    if kind == "text":
        inside = type_.value_type if pa.types.is_dictionary(type_) else type_
        return bool(pa.types.is_string(inside) or pa.types.is_large_string(inside))
    if kind == "flag":
        return bool(pa.types.is_boolean(type_))
    return bool(
        pa.types.is_float32(type_) or pa.types.is_float64(type_) or pa.types.is_integer(type_)
    )


def _is_flat(file: pq.ParquetFile, column: str, kind: str) -> bool:
    place = _place(file, column)
    if place is None:
        return False
    found = file.schema.column(place)
    plain = found.max_repetition_level == 0 and found.max_definition_level <= 1
    return plain and found.physical_type in _PHYSICAL[kind]


def _place(file: pq.ParquetFile, column: str) -> int | None:
    places = [i for i in range(len(file.schema)) if file.schema.column(i).path == column]
    return places[0] if len(places) == 1 else None


def _bound_pages(data: bytes, groups: list[_RowGroup], wanted: list[str]) -> None:
    """Refuse what decompressed, or by number of values, exceeds what the footer allows."""
    decoded = pages = 0
    for column in wanted:
        for group in groups:
            rows, found = group.rows, [one for one in group.chunks if one.path == column]
            if len(found) != 1:
                raise RefusedError(column, f"stands {len(found)} times in a row group")
            chunk, values = found[0], 0
            if chunk.values != rows:
                raise RefusedError(column, f"{chunk.values:,} values in {rows:,} rows")
            for page in _pages(data, chunk, column):
                decoded, pages = decoded + page.decoded, pages + 1
                values += 0 if page.dictionary else page.values
                if decoded > MAX_DECODED or pages > MAX_PAGES:
                    raise RefusedError(
                        column,
                        f"{pages:,} pages of {decoded:,} bytes decoded; wanted at most "
                        f"{MAX_PAGES:,} of {MAX_DECODED:,} in the whole file",
                    )
            if values != rows:
                raise RefusedError(
                    column, f"pages hold {values:,} values, the footer says {rows:,}"
                )


@dataclass(frozen=True)
class _Page:
    dictionary: bool
    values: int
    decoded: int


def _pages(data: bytes, chunk: _Chunk, column: str) -> Iterator[_Page]:
    if chunk.values == 0:
        return
    at, end = chunk.first, chunk.end
    if not 4 <= at <= end <= len(data):
        raise RefusedError(column, "column lies outside the file")
    left = chunk.values
    while left > 0:
        header, at = _Compact(data, at, end).struct()
        page = _checked_page(header, column)
        left -= 0 if page.dictionary else page.values
        at += header[3]
        if at > end or left < 0:
            raise RefusedError(column, "pages reach beyond their column")
        yield page


def _checked_page(header: Mapping[int, Any], column: str) -> _Page:
    kind, decoded, stored = (header.get(field) for field in (1, 2, 3))
    if not isinstance(kind, int):
        raise RefusedError(column, "page without a header that can be read")
    about = header.get({_DATA_PAGE: 5, _DICTIONARY_PAGE: 7, _DATA_PAGE_V2: 8}.get(kind, 0))
    if not isinstance(about, dict) or not isinstance(decoded, int) or not isinstance(stored, int):
        raise RefusedError(column, "page without a header that can be read")
    values, encoding = about.get(1), about.get(4 if kind == _DATA_PAGE_V2 else 2)
    if not isinstance(values, int) or min(values, decoded, stored) < 0:
        raise RefusedError(column, "page of negative size")
    if not isinstance(encoding, int) or encoding not in _ENCODINGS:
        raise RefusedError(column, f"encoding {encoding}, wanted plain or dictionary pages")
    dictionary = kind == _DICTIONARY_PAGE
    if dictionary and values > decoded:  # each entry takes a byte at least
        raise RefusedError(column, f"dictionary of {values:,} entries in {decoded:,} bytes")
    return _Page(dictionary, values, decoded)


class _Compact:
    """Thrift's compact protocol, as much of it as footers and page headers use.

    Structs are mappings by number of the field. Every value takes a byte at least, so that the
    time is that of the bytes.
    """

    def __init__(self, data: bytes, at: int, end: int, *, most: int = 64 << 10) -> None:
        self.data, self.at, self.end = data, at, min(end, at + most)

    def struct(self, depth: int = 0) -> tuple[dict[int, Any], int]:
        """The fields of a struct, and where it ends."""
        fields: dict[int, Any] = {}
        number = 0
        while kind := self._byte():
            step = kind >> 4
            number = number + step if step else self._zigzag()
            fields[number] = self._value(kind & 15, depth)
        return fields, self.at

    def _byte(self) -> int:
        if self.at >= self.end:
            raise RefusedError("", "not a readable Parquet file (page header cut short)")
        self.at += 1
        return self.data[self.at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 128:
            value |= (byte & 127) << shift
            shift += 7
            if shift > 63:
                raise RefusedError("", "not a readable Parquet file (page header's number)")
        return value | byte << shift

    def _zigzag(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):
            return kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._zigzag()
        if kind == 7:
            return self._take(8)
        if kind == 8:
            return self._take(self._varint())
        if kind in (9, 10) and depth < _DEEPEST:
            return self._list(depth)
        if kind == 12 and depth < _DEEPEST:
            return self.struct(depth + 1)[0]
        raise RefusedError("", "not a readable Parquet file (page header's field)")

    def _list(self, depth: int) -> list[Any]:
        head = self._byte()
        count, kind = head >> 4, head & 15
        count = self._varint() if count == 15 else count
        if count > self.end - self.at:
            raise RefusedError("", "not a readable Parquet file (list cut short)")
        if kind in (1, 2):
            return [self._byte() == 1 for _ in range(count)]
        return [self._value(kind, depth + 1) for _ in range(count)]

    def _take(self, count: int) -> bytes:
        if count > self.end - self.at:
            raise RefusedError("", "not a readable Parquet file (header cut short)")
        self.at += count
        return self.data[self.at - count : self.at]


_EMPTY = {"text": object, "flag": bool, "number": np.float64}


def _frame(
    table: pa.Table, kinds: Mapping[str, str]
) -> tuple[pd.DataFrame | None, list[RefusedError]]:
    """Columns as NumPy arrays; text is written out only within its bounds."""
    refused, cells, total = [], {}, 0
    for column, kind in kinds.items():
        found = table.column(column)
        if pa.types.is_null(found.type):  # without rows: see `_schema_problems`
            cells[column] = np.array([], dtype=_EMPTY[kind])
            continue
        if found.null_count and kind != "number":
            refused.append(RefusedError(column, f"{found.null_count} empty cells"))
            continue
        if kind != "text":
            cells[column] = found.to_numpy(zero_copy_only=False)
            continue
        parts = []
        for chunk in found.chunks:
            coded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
            lengths = pc.binary_length(coded.dictionary).to_numpy(zero_copy_only=False)
            codes = coded.indices.to_numpy(zero_copy_only=False)
            if lengths.size and lengths.max() > MAX_TEXT:
                refused.append(RefusedError(column, f"{lengths.max():,} bytes of text in a cell"))
                break
            total += int(lengths[codes].sum()) if codes.size else 0
            if total > MAX_DECODED:
                raise RefusedError(column, f"text of {total:,} bytes, wanted {MAX_DECODED:,}")
            words = np.array(coded.dictionary.to_pylist(), dtype=object)
            parts.append(words[codes] if codes.size else np.array([], dtype=object))
        cells[column] = np.concatenate(parts) if parts else np.array([], dtype=object)
    if refused:
        return None, refused
    return pd.DataFrame({c: pd.Series(v, dtype=v.dtype) for c, v in cells.items()}), []
