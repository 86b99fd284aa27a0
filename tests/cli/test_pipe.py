"""A reader that leaves early, such as `head`: every verb ends quietly with code 0."""

from __future__ import annotations

import ast
import errno
import io
import os
import sys
from pathlib import Path

import pytest
from support.small_study import SmallStudy
from support.verbs import commands

from imi_bench import cli
from imi_bench.cli.app import main


class Left(io.StringIO):
    """A pipe that nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    def fileno(self) -> int:
        return os.open(os.devnull, os.O_WRONLY)  # rich puts another file in its place


HELPS = tuple(f"{name} --help".strip() for name in sorted(commands()))


def test_the_tree_of_verbs_is_whole() -> None:
    assert len(HELPS) > 60
    assert "leaderboard build --help" in HELPS


def test_no_verb_keeps_a_broken_pipe_to_itself() -> None:
    """`main` ends quietly on one, whatever verb was printing, if nothing else catches it."""
    broad = ("OSError", "Exception", "BaseException", "BrokenPipeError", "IOError")
    catchers = {
        path.stem
        for path in Path(cli.__path__[0]).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or any(name in ast.unparse(node.type) for name in broad))
    }
    assert catchers == {"app", "guard"}  # guard looks at folders and prints nothing


@pytest.mark.parametrize(
    "verb",
    [
        *HELPS,
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
    words = [word.format(shared_study.folder, tmp_path) for word in verb.split()]
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
