"""Units that like bright images: a task that a scripted model can do as well as it is told to."""

from __future__ import annotations

from typing import Any

import numpy as np

from imi_bench.tables import TrialIndex, Trials
from imi_bench.tables.images import Images


def bright_trials(units: int = 12, *, batches: int = 1, seed: int = 0) -> Trials:
    """Units that like bright images; every picture is another."""
    rng = np.random.default_rng(seed)
    count = units * batches

    def patch(level: float) -> np.ndarray[Any, Any]:
        noise = rng.integers(-12, 13, (8, 8, 3))
        return np.clip(level + noise, 0, 255).astype(np.uint8)

    images, place = Images.collect(
        [
            patch(level)
            for _ in range(count)
            for level in (*rng.normal(170, 15, 9), *rng.normal(90, 15, 9), 160.0, 100.0)
        ]
    )
    place = place.reshape(count, 20)
    unit = np.repeat(np.arange(units), batches)
    batch = np.tile(np.arange(batches), units)
    names = [f"net/layer/{u}/natural/easy/{b}" for u, b in zip(unit, batch, strict=True)]
    index = TrialIndex(
        trial_id=np.array(names, dtype=object),
        network=np.full(count, "net", dtype=object),
        layer=np.full(count, "layer", dtype=object),
        unit=unit,
        mode=np.full(count, "natural", dtype=object),
        difficulty=np.full(count, "easy", dtype=object),
        batch=batch,
        catch=np.zeros(count, dtype=bool),
    )
    return Trials(index, images, place[:, :9], place[:, 9:18], place[:, 18:], simulated=True)


class Colours:
    """Codes by which many pictures are close; a crop changes them little."""

    name = "colours"

    def describe(self) -> dict[str, str]:
        return {}

    def encode(self, images: Any) -> Any:
        return np.array([i.reshape(-1, 3).mean(axis=0) - 127 for i in images])

    def decide(self, trials: Any, codes: Any = None) -> Any:
        raise NotImplementedError
