"""The cache is listed and emptied by kind and age; nothing else in its folder is touched."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from imi_bench.errors import InputError, UnknownNameError
from imi_bench.observers.catalogue import load_observer
from imi_bench.observers.contract import sample_trials
from imi_bench.replay.cache_folder import cache_info, prune_cache
from imi_bench.replay.runner import replay
from imi_bench.tables.pixels import RULES


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    replay(load_observer("pixel-cosine"), sample_trials(seed=0, count=2), cache=tmp_path)
    for name, size in (("weights/mine-1.0/w.safetensors", 1000), ("incontext.db", 7)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size))
    (tmp_path / "mine").mkdir()
    (tmp_path / f"codes-{RULES}" / "linked").symlink_to(tmp_path / "mine")
    return tmp_path


def test_it_says_how_much_lies_where(cache: Path) -> None:
    found = cache_info(cache)
    assert sorted(found["kind"]) == ["codes", "weights"]
    codes = found.set_index("kind").loc["codes"]
    files = [p for p in (cache / codes["name"]).iterdir()]
    assert codes["files"] == len(files)
    assert codes["bytes"] == sum(p.stat().st_size for p in files)
    assert codes["days"] < 1


def test_only_what_is_asked_for_goes_and_only_when_asked(cache: Path) -> None:
    before = sorted(cache.rglob("*"))
    assert prune_cache(cache)["kind"].tolist() == ["codes"]
    assert sorted(cache.rglob("*")) == before
    assert len(prune_cache(cache, days=1, remove=True)) == 0
    old = time.time() - 3 * 86400
    for path in (cache / f"codes-{RULES}").rglob("*"):
        if not path.is_symlink():
            os.utime(path, (old, old))
    assert prune_cache(cache, days=2, remove=True)["kind"].tolist() == ["codes"]
    assert cache_info(cache)["kind"].tolist() == ["weights"]
    assert (cache / "incontext.db").is_file()
    assert (cache / "mine").is_dir()
    assert prune_cache(cache, kinds=["weights"], remove=True)["bytes"].tolist() == [1000]


def test_a_kind_that_is_none_is_refused(cache: Path) -> None:
    with pytest.raises(UnknownNameError, match="kind of cache"):
        prune_cache(cache, kinds=["code"])
    with pytest.raises(InputError, match="bad age"):
        prune_cache(cache, days=-1)
