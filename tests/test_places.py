"""Where files may be written and read."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from imi_bench.errors import InputError
from imi_bench.places import exclusive, refuse_inside, require_plain, sweep, temporary_prefix
from imi_bench.provenance import atomic_path
from imi_bench.replay.cache import Store

HOLD = (
    "import sys; from pathlib import Path; from imi_bench.places import exclusive\n"
    "with exclusive(Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()"
)


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds the folder until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_one_process_at_a_time_and_a_killed_one_lets_go(tmp_path: Path, holder) -> None:
    with pytest.raises(InputError, match="another process writes here"), exclusive(tmp_path):
        pass
    holder.kill()
    holder.wait()
    with exclusive(tmp_path):
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("out", "source", "refused"),
    [
        ("a", "a", True),
        ("a/runs", "a", True),
        ("a/../a/b", "a", True),
        ("b", "a", False),
        ("ab", "a", False),
        (".", "a", False),
        ("d", "d/trials.parquet", True),
        ("d/e", "d/trials.parquet", False),
        ("link", "a", True),
    ],
)
def test_outputs_within_inputs(tmp_path: Path, out: str, source: str, refused: bool) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "trials.parquet").touch()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    if not refused:
        refuse_inside(tmp_path / out, inputs=[tmp_path / source])
        return
    with pytest.raises(InputError, match=r"the output (is|lies within) an input"):
        refuse_inside(tmp_path / out, inputs=[tmp_path / source])


def test_what_the_killed_left_is_swept_and_nobody_elses(tmp_path: Path) -> None:
    mine = tmp_path / f"{temporary_prefix(tmp_path / 'a.csv')}x1.csv"
    ended = 2**30  # more processes than any system counts to
    killed = tmp_path / re.sub(r"-\d+-", f"-{ended}-", mine.name)
    elsewhere = tmp_path / re.sub(r"\.[0-9a-f]{8}-", ".00000000-", killed.name)
    others = tmp_path / ".a.csv.other"
    for path in (mine, killed, elsewhere, others):
        path.touch()
    with atomic_path(tmp_path / "b.csv") as temporary:
        temporary.write_text("whole")
    assert {p.name for p in tmp_path.iterdir()} == {
        mine.name,
        elsewhere.name,
        others.name,
        "b.csv",
    }
    assert sweep(tmp_path) == []


def test_a_cache_reads_plain_files_of_its_own(tmp_path: Path) -> None:
    key = "00" * 32
    store = Store(tmp_path / "cache", [key])
    store.add(np.array([0]), np.zeros((1, 2)))
    store.flush()
    (shard,) = (tmp_path / "cache").glob("*.npy")
    os.mkfifo(tmp_path / "cache" / "pipe.npy")
    with pytest.raises(InputError, match=r"not a plain file.*pipe.npy.*a FIFO"):
        Store(tmp_path / "cache", [key])
    (tmp_path / "cache" / "pipe.npy").unlink()
    outside = shard.rename(tmp_path / shard.name)
    (tmp_path / "cache" / shard.name).symlink_to(outside)
    with pytest.raises(InputError, match="a link that leads out of its folder"):
        Store(tmp_path / "cache", [key])
    with pytest.raises(InputError, match="a device"):
        require_plain(Path("/dev/null"), within=Path("/dev"))
