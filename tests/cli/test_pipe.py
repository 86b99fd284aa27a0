"""A reader that leaves early, such as `head`: every verb ends quietly with code 0."""

from __future__ import annotations

import errno
import io
import os
import sys

import pytest
from support.small_study import SmallStudy

from imi_bench.cli.app import main


class Left(io.StringIO):
    """A pipe that nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    def fileno(self) -> int:
        return os.open(os.devnull, os.O_WRONLY)  # rich puts another file in its place


@pytest.mark.parametrize(
    "verb",
    [
        "--help",
        "score --help",
        "observers list",
        "networks list --json",
        "score --decisions {0}/pixel-l2 --responses {0}/people --resamples 20",
        "score --decisions {0}/pixel-l2 --responses {0}/people --resamples 20 --json",
        "run --observer chance --trials {0}/trials --limit 5 --out {1}",
        "leaderboard list",
    ],
)
@pytest.mark.parametrize("both", [False, True], ids=["stdout", "stderr too"])
def test_ends_quietly(
    verb: str,
    both: bool,
    shared_study: SmallStudy,
    tmp_path: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = verb.format(shared_study.folder, tmp_path).split()
    told = Left() if both else io.StringIO()
    monkeypatch.setattr(told, "close", lambda: None)
    monkeypatch.setattr(sys, "argv", ["imi-bench", *words])
    monkeypatch.setattr(sys, "stdout", Left())
    monkeypatch.setattr(sys, "stderr", told)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "fault" not in told.getvalue()
    assert "Traceback" not in told.getvalue()
