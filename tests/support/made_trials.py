"""Made-up trials for tests: in memory, and as folders in the authors' layouts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from imi_bench.tables import BlindTrials, TrialIndex, Trials
from imi_bench.tables.images import Images, png_bytes

N_IMAGES = 40


def make_index(count: int, **columns: object) -> TrialIndex:
    facts: dict[str, object] = {
        "trial_id": [f"t{i}" for i in range(count)],
        "network": ["net"] * count,
        "layer": [f"layer{i % 3}" for i in range(count)],
        "unit": np.arange(count) // 2,
        "mode": ["natural", "synthetic"] * (count // 2) + ["natural"] * (count % 2),
        "difficulty": ["easy"] * count,
        "batch": np.ones(count, int),
        "catch": np.zeros(count, bool),
    }
    return TrialIndex(**{**facts, **columns})


def make_trials(count: int = 12, *, seed: int = 0, references: int = 3) -> Trials:
    rng = np.random.default_rng(seed)
    images, _ = Images.collect([np.full((1, 2, 3), value, np.uint8) for value in range(N_IMAGES)])
    cells = np.array([rng.permutation(N_IMAGES)[: 2 * references + 2] for _ in range(count)])
    return Trials(
        index=make_index(count),
        images=images,
        positive=cells[:, :references],
        negative=cells[:, references:-2],
        queries=cells[:, -2:],
        query_activations=rng.normal(size=(count, 2)),
    )


SIDES = ("max", "min")


def picture(*parts: object) -> bytes:
    """A tiny image of its own for each combination of parts."""
    rng = np.random.default_rng(
        [sum(map(ord, str(part))) * (i + 1) for i, part in enumerate(parts)]
    )
    return png_bytes(rng.integers(0, 256, (3, 4, 3), dtype=np.uint8))


def fill(folder: Path, numbers: range = range(10), *, tag: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for side in SIDES:
        for number in numbers:
            (folder / f"{side}_{number}.png").write_bytes(picture(folder.name, tag, side, number))


def make_unit(
    layer: Path, channel: int, *, batches: int | None = None, synthetic: bool = True
) -> Path:
    unit = layer / f"channel_{channel}"
    if batches is None:
        fill(unit / "natural_images", tag=f"{layer.name}{channel}")
    else:
        for batch in range(batches):
            fill(unit / "natural_images" / f"batch_{batch}", tag=f"{layer.name}{channel}")
    if synthetic:
        fill(unit / "optimized_images", range(9), tag=f"{layer.name}{channel}s")
    return unit


def make_task(folder: Path, *, trials: int = 2, numbers: range = range(9), **index: object) -> Path:
    for trial in range(1, trials + 1):
        where = folder / "trials" / f"trial_{trial}"
        fill(where / "references", numbers, tag=f"{folder.name}{trial}")
        (where / "queries").mkdir()
        for side in SIDES:
            (where / "queries" / f"{side}.png").write_bytes(picture(folder.name, trial, "q", side))
    facts = {"task_name": folder.name, "n_reference_images": 9, "n_trials": trials, **index}
    (folder / "index.json").write_text(json.dumps(facts))
    return folder


def nameless_images(count: int) -> Images:
    blank = np.zeros((1, 1, 3), np.uint8)
    return Images((blank,) * count, np.array([f"{i:04d}" for i in range(count)], dtype=object))


def random_blind_trials(
    rng: np.random.Generator, *, images: int, count: int, k: int
) -> BlindTrials:
    """Trials over images without content; references of either side may repeat."""
    queries = np.array([rng.choice(images, 2, replace=False) for _ in range(count)])
    positive, negative = rng.integers(images, size=(2, count, k))
    return BlindTrials(nameless_images(images), positive, negative, queries)
