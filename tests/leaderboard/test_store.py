"""What is kept of a board between two builds."""

from __future__ import annotations

from imi_bench.leaderboard.archive import Problem
from imi_bench.leaderboard.verify import lasting


def test_a_fault_of_the_program_is_not_kept() -> None:
    own = [Problem("decisions.parquet", "trial_id", "found 'x', wanted an id of the board")]
    fault = "cannot be scored: a fault of the program (KeyError: 'a'); please report it"
    assert lasting(own)
    assert lasting(None)
    assert not lasting([*own, Problem(".", "", fault)])
