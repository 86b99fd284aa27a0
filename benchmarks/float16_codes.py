"""What keeping codes as float16 does to decision variables and proportions correct.

    python benchmarks/float16_codes.py [--codes embeddings.npy]

Without a file: simulated rectified features of 1,280 dimensions (not those of any network), each
unit's trials drawn from images that lie along a random direction.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from imi_bench.observers.pooling import decide
from imi_bench.tables import BlindTrials
from imi_bench.tables.images import Images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--codes", type=Path, help="(images, dims) float32, as `mis` keeps them")
    parser.add_argument("--trials", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    if arguments.codes:
        codes = np.load(arguments.codes).reshape(-1, np.load(arguments.codes).shape[-1])
    else:
        codes = np.maximum(rng.normal(0.2, 1.0, (800, 1280)), 0).astype(np.float32)
    trials = drawn(codes, arguments.trials, rng)
    plain = decide(codes, trials)
    half = decide(codes.astype(np.float16).astype(np.float32), trials)
    difference = np.abs(plain - half)
    print(
        f"{len(plain)} trials, {codes.shape[1]} dimensions, median |d| {np.median(abs(plain)):.3g}"
    )
    print(f"largest change {difference.max():.2g}, median {np.median(difference):.2g}")
    print(f"answers that change: {(np.sign(plain) != np.sign(half)).sum()}")
    print(f"proportion correct {np.mean(plain > 0):.4f} and {np.mean(half > 0):.4f}")


def drawn(codes: np.ndarray, count: int, rng: np.random.Generator) -> BlindTrials:
    """Trials whose first query is the strongly activating one, nine references a side."""
    blank = np.zeros((1, 1, 3), dtype=np.uint8)
    names = np.array([f"{i:064x}" for i in range(len(codes))], dtype=object)
    images = Images((blank,) * len(codes), names)
    size = max(20, len(codes) // 20)
    positive, negative, queries = [], [], []
    for _ in range(count):
        order = np.argsort(codes @ rng.normal(size=codes.shape[1]) + rng.normal(0, 20, len(codes)))
        top, bottom = (rng.choice(end, 10, replace=False) for end in (order[-size:], order[:size]))
        positive.append(top[:9])
        negative.append(bottom[:9])
        queries.append([top[9], bottom[9]])
    return BlindTrials(images, np.array(positive), np.array(negative), np.array(queries))


if __name__ == "__main__":
    main()
