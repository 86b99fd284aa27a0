"""The benchmark of a GPU does what it says, at tiny sizes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.benchmark_scripts import benchmark

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "bench_gpu.py"


def test_sides_run_by_turns_and_a_first_turn_is_left_out() -> None:
    ran: list[str] = []

    def one() -> object:
        ran.append("one")
        return lambda: ran.append("after")

    seconds = benchmark("measuring").by_turns({"one": one, "two": lambda: ran.append("two")}, 2)
    assert ran == ["one", "after", "two"] * 3
    assert [values.shape for values in seconds.values()] == [(2, 2), (2, 2)]
    ratio = benchmark("bench_gpu").ratio
    assert ratio(np.array([3.0, 2.0, 9.0]), np.array([2.0, 1.0, 3.0])) == 2.0


@pytest.mark.bench
def test_the_whole_script_runs_without_a_gpu(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, str(SCRIPT), "--device", "cpu", "--json", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "no GPU: tiny sizes" in done.stdout
    assert '"simulated": true' in report.read_text()
