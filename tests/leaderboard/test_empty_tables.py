"""Tables without rows: a column of no type is no fault where there is nothing in it."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq

from imi_bench.leaderboard.parquet import read_table

COLUMNS = {"a": "text", "n": "number", "f": "flag"}


def parquet(rows: int) -> bytes:
    """What old versions of pandas make of columns without a value."""
    stream = io.BytesIO()
    pq.write_table(pa.table({name: pa.nulls(rows) for name in COLUMNS}), stream)
    return stream.getvalue()


def test_no_rows_have_no_wrong_type() -> None:
    frame, refused = read_table(parquet(0), columns=COLUMNS, optional={}, rows=10)
    assert refused == []
    assert frame is not None
    assert frame.shape == (0, 3)
    assert [str(kind) for kind in frame.dtypes] == ["object", "float64", "bool"]


def test_rows_without_a_value_are_refused() -> None:
    frame, refused = read_table(parquet(3), columns=COLUMNS, optional={}, rows=10)
    assert frame is None
    assert {one.column for one in refused} == set(COLUMNS)
