"""Pooling: trials a second at 512 dimensions, and the two ways to similarities side by side.

    python benchmarks/bench_pooling.py --json pooling.json

Codes are random numbers. "rows over matrix" is the time a trial from gathered rows over that from
one matrix of distinct images, interleaved in one run; `decide` picks between them by cost.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from measuring import by_turns, table, write_record

from imi_bench.observers import pooling
from imi_bench.tables import BlindTrials
from imi_bench.tables.images import Images

DIMENSIONS, REFERENCES = 512, 9


def make_trials(rng: np.random.Generator, *, images: int, count: int) -> BlindTrials:
    blank = np.zeros((1, 1, 3), np.uint8)
    names = np.array([f"{row:064d}" for row in range(images)], dtype=object)
    first = rng.integers(images, size=count)
    queries = np.stack([first, (first + rng.integers(1, images, size=count)) % images], axis=1)
    positive, negative = rng.integers(images, size=(2, count, REFERENCES))
    return BlindTrials(Images((blank,) * images, names), positive, negative, queries)


def measure(images: int, count: int, repeats: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    trials = make_trials(rng, images=images, count=count)
    codes = rng.standard_normal((images, DIMENSIONS)).astype(np.float32)
    row: dict[str, Any] = {"images": images, "trials": count}

    def by(advantage: float) -> None:
        with mock.patch.object(pooling, "_MATRIX_ADVANTAGE", advantage):
            pooling.decide(codes, trials)

    runs = {name: partial(pooling.decide, codes, trials, pooling=name) for name in pooling.POOLINGS}
    if images <= 5000:  # a matrix of all pairs of 40,000 images would not fit
        runs |= {"rows": partial(by, -1), "matrix": partial(by, np.inf)}
    median = {name: float(np.median(s[:, 0])) for name, s in by_turns(runs, repeats).items()}
    row |= {f"{name}_trials_per_second": round(count / median[name]) for name in pooling.POOLINGS}
    row["rows_over_matrix"] = median["rows"] / median["matrix"] if "rows" in median else None
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = [measure(n, arguments.trials, arguments.repeats) for n in (400, 3000, 40_000)]
    print("trials a second by pooling, 512 dimensions, 9 + 9 references")
    table(rows)
    write_record(arguments.json, {"dimensions": DIMENSIONS, "rows": rows})


if __name__ == "__main__":
    main()
