"""The store on disk: whole or absent, checked, mapped, the same after any interruption."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from imi_bench.errors import InputError
from imi_bench.places import cache_folder
from imi_bench.replay import cache
from imi_bench.replay.cache import Store

KEYS = [hashlib.sha256(bytes([i])).hexdigest() for i in range(12)]


def filled(folder: Path, values: np.ndarray, *, rows: list[int] | None = None) -> Store:
    store = Store(folder, KEYS)
    store.add(np.arange(len(values)) if rows is None else np.array(rows), values)
    store.flush()
    return store


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.npy"))


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=25,
)
@given(
    values=hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.uint8, np.float16, np.int64, np.bool_]),
        st.tuples(st.just(12), st.integers(1, 3), st.integers(1, 4)),
    ),
    order=st.permutations(range(12)),
)
def test_values_come_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, values: np.ndarray, order: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("store")
    filled(folder, values)
    asked = [KEYS[i] for i in order]
    again = Store(folder, asked)
    assert again.known.all()
    assert again.kind == np.dtype((values.dtype, values.shape[1:]))
    taken = again.take(np.arange(12))
    assert taken.dtype == values.dtype
    assert taken.tobytes() == values[order].tobytes()


def test_hashes_that_end_in_zeros_stay_apart(tmp_path: Path) -> None:
    keys = ["ab" * 31 + "00", "ab" * 30 + "0000", "ab" * 32, "00" * 32]
    store = Store(tmp_path, keys)
    store.add(np.arange(4), np.arange(4.0)[:, None])
    store.flush()
    assert Store(tmp_path, keys[::-1]).take(np.arange(4)).ravel().tolist() == [3, 2, 1, 0]
    assert not Store(tmp_path, ["ab" * 29 + "000000"]).known.any()


def test_repeated_keys_share_a_value(tmp_path: Path) -> None:
    store = Store(tmp_path, [KEYS[0], KEYS[1], KEYS[0]])
    store.add(np.array([0]), np.array([[5.0]]))
    store.flush()
    assert store.known.tolist() == [True, False, True]
    assert store.take(np.array([2])).tolist() == [[5.0]]


def test_parts_of_many_runs_come_together(tmp_path: Path) -> None:
    filled(tmp_path, np.array([[1.0], [2.0]]), rows=[0, 1])
    filled(tmp_path, np.array([[3.0], [4.0]]), rows=[2, 1])
    store = Store(tmp_path, KEYS)
    assert store.known.tolist() == [True] * 3 + [False] * 9
    assert store.take(np.array([2, 0])).ravel().tolist() == [3.0, 1.0]
    assert store.take(np.array([1])).item() in (2.0, 4.0)
    with pytest.raises(KeyError):
        store.take(np.array([0, 7]))


def test_nothing_to_ask_and_nothing_there(tmp_path: Path) -> None:
    filled(tmp_path, np.ones((2, 1)))
    assert Store(tmp_path, []).known.tolist() == []
    empty = Store(tmp_path / "nowhere", KEYS)
    assert not empty.known.any()
    assert empty.kind is None
    empty.flush()
    assert not (tmp_path / "nowhere").exists()


def test_the_name_is_the_checksum(tmp_path: Path) -> None:
    filled(tmp_path, np.ones((3, 2)))
    (path,) = shards(tmp_path)
    assert path.stem == hashlib.sha256(path.read_bytes()).hexdigest()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(place=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_no_flipped_byte_is_ever_trusted(
    tmp_path_factory: pytest.TempPathFactory, place: int, flip: int
) -> None:
    folder = tmp_path_factory.mktemp("store")
    values = np.arange(6.0).reshape(3, 2)
    filled(folder, values)
    (path,) = shards(folder)
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= flip
    path.write_bytes(data)
    store = Store(folder, KEYS[:3])
    assert not store.known.any()
    store.add(np.arange(3), values)
    store.flush()
    assert np.array_equal(Store(folder, KEYS[:3]).take(np.arange(3)), values)


@pytest.mark.parametrize("length", [0, 5, 60, 130, 200, -1])
def test_a_cut_shard_is_removed_and_reported(length: int, tmp_path: Path) -> None:
    filled(tmp_path, np.arange(6.0).reshape(3, 2))
    (path,) = shards(tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    store = Store(tmp_path, KEYS)
    assert not store.known.any()
    assert len(store.damaged) == 1
    assert path.name in store.damaged[0]
    assert not path.exists()
    assert Store(tmp_path, KEYS).damaged == []


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    store = Store(tmp_path, KEYS)
    assert "evil.npy" in store.damaged[0]
    assert not store.known.any()


def test_one_bad_shard_costs_only_itself(tmp_path: Path) -> None:
    filled(tmp_path, np.array([[1.0]]), rows=[0])
    (first,) = shards(tmp_path)
    filled(tmp_path, np.array([[2.0]]), rows=[1])
    first.write_bytes(first.read_bytes()[:-1] + b"\xff")
    store = Store(tmp_path, KEYS)
    assert store.known[:2].tolist() == [False, True]
    assert store.take(np.array([1])).item() == 2.0


def test_what_a_killed_writer_left_is_not_read_and_goes_later(tmp_path: Path) -> None:
    filled(tmp_path, np.ones((1, 1)))
    young, old = tmp_path / ".x.abc.npy", tmp_path / ".x.def.npy"
    for path in (young, old):
        path.write_bytes(b"half")
    long_ago = time.time() - 7200
    os.utime(old, (long_ago, long_ago))
    store = Store(tmp_path, KEYS)
    assert store.damaged == []
    assert young.exists()
    assert not old.exists()


@pytest.mark.parametrize(
    "values",
    [np.ones((2, 3)), np.ones((2, 2), np.float32), np.array([[None, 1]] * 2, dtype=object)],
    ids=["shape", "dtype", "objects"],
)
def test_values_of_another_kind_are_refused(values: np.ndarray, tmp_path: Path) -> None:
    filled(tmp_path, np.ones((2, 2)))
    store = Store(tmp_path, KEYS)
    with pytest.raises(InputError, match="codes of another kind"):
        store.add(np.array([4, 5]), values)
    fresh = Store(tmp_path / "fresh", KEYS)
    fresh.add(np.array([0, 1]), np.ones((2, 2)))
    with pytest.raises(InputError, match="codes of another kind"):
        fresh.add(np.array([4, 5]), values)


def test_it_flushes_by_time_and_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path, KEYS)
    store.add(np.array([0]), np.ones((1, 1)))
    assert shards(tmp_path) == []
    monkeypatch.setattr(cache, "FLUSH_SECONDS", 0.0)
    store.add(np.array([1]), np.ones((1, 1)))
    assert len(shards(tmp_path)) == 1
    monkeypatch.setattr(cache, "FLUSH_SECONDS", 1e9)
    monkeypatch.setattr(cache, "_FLUSH_BYTES", 16)
    store.add(np.array([2, 3]), np.ones((2, 1)))
    assert len(shards(tmp_path)) == 2
    assert store.known[:4].all()


def test_it_says_what_it_is_of(tmp_path: Path) -> None:
    store = Store(tmp_path, KEYS, about={"weights": "abc"})
    store.add(np.array([0]), np.ones((1, 1)))
    store.flush()
    assert '"weights": "abc"' in (tmp_path / "about.json").read_text()


def test_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IMI_BENCH_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("IMI_BENCH_CACHE")
    assert cache_folder().name == "imi-bench"


def test_what_could_not_be_written_is_written_by_the_next_flush(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    store = Store(tmp_path / "codes", KEYS)
    store.add(np.arange(4), np.ones((4, 2), np.float32))
    with monkeypatch.context() as patch:
        patch.setattr(cache, "atomic_path", full)
        with pytest.raises(OSError, match="No space"):
            store.flush()
    store.flush()
    assert store.take(np.arange(4)).tolist() == np.ones((4, 2)).tolist()
