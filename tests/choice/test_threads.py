"""The number of threads changes no calibration."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import imi_bench as imi
trials, people = imi.demo_data(n_networks=2, n_batches=1, n_scenes=200, size=16)
run = imi.answer("pixel-l2", trials)
print(imi.calibrate(run, people).hash)
"""


def test_the_hash_does_not_depend_on_threads() -> None:
    hashes = set()
    for threads in ("1", "4"):
        limits = {f"{name}_NUM_THREADS": threads for name in ("OMP", "OPENBLAS", "MKL")}
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, **limits},
            capture_output=True,
            text=True,
            check=True,
        )
        hashes.add(done.stdout.strip())
    assert len(hashes) == 1
    assert len(hashes.pop()) == 64
