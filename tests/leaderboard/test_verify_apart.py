"""A submission that ends the process which reads it ends nothing else; builds take turns."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from joblib.externals.loky import get_reusable_executor
from support.deadly_judge import DeadlyJudge
from support.made_submissions import made_board

from imi_bench.leaderboard.archive import Problem
from imi_bench.leaderboard.verify import judge_each, lasting


@pytest.mark.whole
def test_a_submission_that_ends_its_process_is_named_and_the_others_are_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # on one core all would be judged in this process
    monkeypatch.setattr("imi_bench.leaderboard.verify.effective_n_jobs", lambda _: 2)
    paths = [Path(str(number)) for number in range(48)]
    try:
        found = judge_each(DeadlyJudge(), paths)  # type: ignore[arg-type]
    finally:
        get_reusable_executor().shutdown(wait=True)
    assert [str(found[path][0]) for path in paths if path.name != "31"] == [
        str(Problem(".", "", f"read {path}")) for path in paths if path.name != "31"
    ]
    deadly = found[Path("31")]
    assert "ends the process that reads it" in str(deadly[0])
    assert not lasting(deadly)


@pytest.mark.whole
def test_two_builds_at_once_take_turns_and_leave_one_whole_board(tmp_path: Path) -> None:
    board = made_board(tmp_path, names=[f"observer-{number}" for number in range(3)])
    program = "from imi_bench.cli.app import main; main()"
    command = [sys.executable, "-c", program, "leaderboard", "build", str(board.folder)]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)
    ]
    ended = [(*process.communicate(), process.returncode) for process in running]
    assert [code for *_, code in ended] == [0] * 4, ended
    check = subprocess.run([*command[:-2], "check", command[-1]], capture_output=True, check=False)
    assert check.returncode == 0, check.stderr
    assert not [path for path in board.folder.rglob(".*") if path.is_file()]
