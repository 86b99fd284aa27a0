"""Progress bars keep one line at 80 columns, and none is shown where nothing is to do."""

from __future__ import annotations

import io
import sys

import pytest

from imi_bench.progress import progress


class Terminal(io.StringIO):
    """A stream that says that somebody watches."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("total", [0, 13])
def test_a_bar_keeps_its_line(monkeypatch: pytest.MonkeyPatch, total: int) -> None:
    watched = Terminal()
    monkeypatch.setattr(sys, "stderr", watched)
    monkeypatch.setenv("COLUMNS", "80")
    with progress("validating and scoring", total=total, unit="submissions") as advance:
        advance(total)
    told = watched.getvalue()
    assert ("submissions/s" in told) == (total > 0)
    lines = [line for line in told.replace("\r", "\n").splitlines() if "submissions/s" in line]
    assert all("validating" in line for line in lines)
