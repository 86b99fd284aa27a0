"""Where the gate turns: an observer is degraded step by step and held against itself.

The texture observer on the mini-benchmark (simulated images), first with images at lower and lower
resolution, then with its features rounded to fewer and fewer levels.

    python benchmarks/gate_turns.py [--max-drop 0.03]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from PIL import Image

from imi_bench.arrays import Pixels
from imi_bench.gate.verdict import gate
from imi_bench.observers.catalogue import load_observer
from imi_bench.replay.runner import replay
from imi_bench.simulation.world import build
from imi_bench.tables import BlindTrials


class Degraded:
    """An observer that sees smaller images, or keeps fewer levels of each feature."""

    def __init__(self, *, side: int | None = None, levels: int | None = None) -> None:
        self._inner, self._side, self._levels = load_observer("oriented-energy"), side, levels
        self.name = f"oriented-energy, {f'{side} px' if side else f'{levels} levels'}"

    def describe(self) -> dict[str, object]:
        return {**self._inner.describe(), "side": self._side, "levels": self._levels}

    def encode(self, images: Sequence[Pixels]) -> np.ndarray:
        if self._side:
            small = (Image.fromarray(i).resize((self._side, self._side)) for i in images)
            images = [
                np.asarray(s.resize(i.shape[1::-1])) for s, i in zip(small, images, strict=True)
            ]
        codes = np.asarray(self._inner.encode(images))
        if self._levels:
            top = 0.25
            codes = np.round(np.clip(codes / top, -1, 1) * self._levels) / self._levels * top
        return codes

    def decide(self, trials: BlindTrials, codes: np.ndarray) -> object:
        return self._inner.decide(trials, codes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-drop", type=float, default=0.03)
    arguments = parser.parse_args()
    world = build(seed=0)
    trials = world.trials
    baseline = replay(load_observer("oriented-energy"), trials).decisions
    steps = [Degraded(side=side) for side in (80, 64, 48, 32, 16, 8, 4)]
    steps += [Degraded(levels=levels) for levels in (256, 64, 16, 8, 4, 2, 1)]
    print("| observer | accuracy | drop | verdict | trials to settle |")
    print("|---|---|---|---|---|")
    for step in steps:
        decisions = replay(step, trials).decisions
        result = gate(decisions, against=baseline, trials=trials.index, max_drop=arguments.max_drop)
        whole = result.comparisons[0]
        drop = f"{whole.drop.value:+.3f} [{whole.drop.low:+.3f}, {whole.drop.high:+.3f}]"
        settle = "" if whole.trials_to_settle is None else f"{whole.trials_to_settle:,}"
        if whole.verdict == "cannot tell" and not settle:
            settle = "no number"
        print(f"| {step.name} | {whole.new.value:.3f} | {drop} | {result.verdict} | {settle} |")


if __name__ == "__main__":
    main()
