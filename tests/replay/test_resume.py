"""Kill a real run with SIGKILL; the same command goes on and its answers are the same bits."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.made_trials import make_trials

from imi_bench.stimuli.trial_files import write_trials

# Flushing at once makes every batch survive; the default is one flush in five seconds.
_PROGRAM = """
import sys
from imi_bench.replay import cache
cache.FLUSH_SECONDS = 0.0
from imi_bench.cli.app import main
main()
"""
_OBSERVERS = Path(__file__).parents[1] / "support" / "made_observers.py"


def start(folder: Path, observer: str, *, hold: float = math.inf) -> subprocess.Popen[str]:
    """A run, which waits to be killed in the batch behind the first `hold`."""
    command = [
        sys.executable,
        "-c",
        _PROGRAM,
        "run",
        "--observer",
        f"{_OBSERVERS}:{observer}",
        "--trials",
        str(folder.parent / "trials"),
        "--out",
        str(folder / "out"),
        "--cache",
        str(folder / "cache"),
        "--json",
    ]
    environment = {
        **os.environ,
        "IMI_TEST_HOLD": str(hold),
        "IMI_TEST_LOG": str(folder / "log"),
    }
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finish(process: subprocess.Popen[str]) -> dict[str, object]:
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    return json.loads(stdout)["record"]


def kill_after(process: subprocess.Popen[str], cache: Path, *, shards: int) -> None:
    """SIGKILL as soon as the cache holds so many shards, in the midst of the next batch."""
    while len([p for p in cache.rglob("*.npy") if not p.name.startswith(".")]) < shards:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def decisions(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "out" / "decisions.parquet").drop(columns="seconds")


@pytest.mark.whole
@pytest.mark.parametrize(
    ("observer", "kills"),
    [
        ("BatchSensitive", (3,)),
        ("WholeTrials", (6,)),
        pytest.param("BatchSensitive", (3, 6), marks=pytest.mark.slow),
    ],
)
def test_kill_and_resume(observer: str, kills: tuple[int, ...], tmp_path: Path) -> None:
    write_trials(make_trials(25), tmp_path / "trials")
    whole = finish(start(tmp_path / "whole", observer))
    killed = tmp_path / "killed"
    for before, shards in pairwise((0, *kills)):
        process = start(killed, observer, hold=shards - before)
        kill_after(process, killed / "cache", shards=shards)
        assert not (killed / "out" / "run.json").exists()
    resumed = finish(start(killed, observer))

    pd.testing.assert_frame_equal(
        decisions(killed), decisions(tmp_path / "whole"), check_exact=True
    )
    assert resumed["cache"]["damaged"] == []
    if observer == "BatchSensitive":
        assert whole["images"] == {"distinct": 40, "embedded": 40, "failed": 0, "cache_hits": 0}
        assert resumed["images"]["cache_hits"] == kills[-1] * 4
        assert resumed["images"]["embedded"] == 40 - kills[-1] * 4
        # a kill costs one stored image that is looked at again, and the batch in flight if begun
        log = sum(int(size) for size in (killed / "log").read_text().split())
        assert 40 + len(kills) <= log <= 40 + len(kills) * (4 + 1)
    else:
        assert whole["answers"]["from_disk"] == 0
        assert resumed["answers"]["from_disk"] == kills[-1]


def test_the_batch_sensitive_observer_would_show_other_batches(tmp_path: Path) -> None:
    """The test above can fail: with other batches its answers differ in the last bits."""
    from support.made_observers import BatchSensitive

    from imi_bench.replay.runner import replay

    one, two = (
        replay(BatchSensitive(), make_trials(25), cache=tmp_path / str(size), batch_size=size)
        for size in (4, 5)
    )
    values = [done.decisions.decision_variable for done in (one, two)]
    assert not np.array_equal(*values)
    assert np.allclose(*values, rtol=1e-3, atol=1e-3)


def test_codes_of_batches_of_another_size_are_told(tmp_path: Path) -> None:
    from support.made_observers import BatchSensitive

    from imi_bench.observers.catalogue import load_observer
    from imi_bench.observers.protocol import Observer
    from imi_bench.replay.runner import replay

    trials = make_trials(25)

    def sizes(observer: Observer, count: int, batch_size: int) -> list[int]:
        some = trials.take(np.arange(count))
        done = replay(observer, some, cache=tmp_path, batch_size=batch_size)
        found: list[int] = done.record["cache"]["batch_sizes"]
        return found

    assert sizes(BatchSensitive(), 2, 4) == [4]
    assert sizes(BatchSensitive(), 2, 5) == [4]
    assert sizes(BatchSensitive(), 25, 5) == [4, 5]
    assert sizes(load_observer("pixel-cosine"), 2, 4) == []
