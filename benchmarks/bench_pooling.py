"""Pooling: trials a second at 512 dimensions, and the two ways to similarities side by side.

    python benchmarks/bench_pooling.py --json pooling.json

Codes are random numbers. "rows over matrix" is the time a trial from gathered rows over that from
one matrix of distinct images, interleaved in one run; `decide` picks between them by cost.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

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


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure(images: int, count: int, repeats: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    trials = make_trials(rng, images=images, count=count)
    codes = rng.standard_normal((images, DIMENSIONS)).astype(np.float32)
    row: dict[str, Any] = {"images": images, "trials": count}
    times: dict[str, list[float]] = {}
    for _ in range(repeats):
        for chosen in pooling.POOLINGS:
            spent = seconds(lambda chosen=chosen: pooling.decide(codes, trials, pooling=chosen))
            times.setdefault(chosen, []).append(spent)
        # a matrix of all pairs of 40,000 images would not fit
        for way, advantage in (("rows", -1), ("matrix", np.inf)) if images <= 5000 else ():
            with mock.patch.object(pooling, "_MATRIX_ADVANTAGE", advantage):
                spent = seconds(lambda: pooling.decide(codes, trials))
            times.setdefault(way, []).append(spent)
    median = {name: statistics.median(spent) for name, spent in times.items()}
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
    heads = [f"{name:>11}" for name in pooling.POOLINGS]
    print(f"{'images':>8} {''.join(heads)} {'rows over matrix':>17}")
    for row in rows:
        cells = [f"{row[f'{name}_trials_per_second']:>11,}" for name in pooling.POOLINGS]
        ratio = row["rows_over_matrix"]
        print(f"{row['images']:>8,} {''.join(cells)} {'' if ratio is None else f'{ratio:.2f}':>17}")
    if arguments.json:
        from imi_bench.provenance import write_json

        write_json(arguments.json, {"dimensions": DIMENSIONS, "rows": rows})


if __name__ == "__main__":
    main()
