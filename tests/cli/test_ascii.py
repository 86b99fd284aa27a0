"""A terminal that knows ASCII alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

PROGRAM = "from imi_bench.cli.app import main; main()"


@pytest.mark.whole
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_ascii_terminal(more: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, "leaderboard", "list", *more],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    text = ended.stdout.decode("ascii")
    assert "observers-mini" in text
    if more:
        assert json.loads(text)["boards"]
