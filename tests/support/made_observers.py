"""Observers for tests: fast, slow, failing, and one whose codes show who sat in its batch."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imi_bench.arrays import Pixels
from imi_bench.observers.pooling import decide
from imi_bench.tables import BlindTrials


def hold(begun: int) -> None:
    """Wait to be killed in the batch behind as many as ``IMI_TEST_HOLD`` says."""
    if begun > float(os.environ.get("IMI_TEST_HOLD", "inf")):
        time.sleep(600)


class MeanColour:
    """Three numbers an image; counts what it is asked."""

    name = "mean-colour"

    def __init__(self, **description: object) -> None:
        self.description = description
        self.seen: list[int] = []

    def describe(self) -> Mapping[str, Any]:
        return {"kind": "mean colour", **self.description}

    def encode(self, images: Sequence[Pixels]) -> np.ndarray:
        self.seen.append(len(images))
        return np.stack([image.mean(axis=(0, 1)) for image in images])

    def decide(self, trials: BlindTrials, codes: np.ndarray | None) -> np.ndarray:
        assert codes is not None
        assert trials.key is None
        return decide(codes, trials, similarity="l2")


class BatchSensitive(MeanColour):
    """Its codes carry a trace of the batch, as those of a GPU do in the last bits.

    May be held to be killed; appends one line a batch to the file named by ``IMI_TEST_LOG``.
    """

    name = "batch-sensitive"
    batch_size = 4

    def encode(self, images: Sequence[Pixels]) -> np.ndarray:
        codes = super().encode(images)
        if log := os.environ.get("IMI_TEST_LOG"):
            with Path(log).open("a") as stream:
                stream.write(f"{len(images)}\n")
        hold(self.seen.count(self.batch_size))
        return codes * (1 + 1e-9 * codes.sum())


class WholeTrials:
    """Sees whole trials, one at a time: compares mean brightness."""

    name = "whole-trials"

    def __init__(self) -> None:
        self.asked = 0

    def describe(self) -> Mapping[str, Any]:
        return {"kind": "brightness of whole trials"}

    def decide(self, trials: BlindTrials, codes: None) -> np.ndarray:
        assert codes is None
        self.asked += len(trials)
        hold(self.asked)
        light = [trials.images.decode(row).mean() for row in range(len(trials.images))]
        bright = np.array(light)
        toward = bright[trials.positive].mean(axis=1) - bright[trials.negative].mean(axis=1)
        return toward * (bright[trials.queries[:, 0]] - bright[trials.queries[:, 1]])
