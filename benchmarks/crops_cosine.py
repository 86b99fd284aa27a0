"""From which cosine are two pictures crops of each other? Hits and false alarms of a threshold.

Of each photograph crops of several areas are made, at random places (aspect kept), and set against
all photographs by the codes of an observer. A hit: the crop and its own photograph reach the
threshold. A false alarm: a crop and another photograph do.

    python benchmarks/crops_cosine.py --images FOLDER --observer NAME [--count 100] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from measuring import write_record
from PIL import Image

from imi_bench.fewshot.loading import encoder_of
from imi_bench.stats.proportions import proportion

AREAS = (0.9, 0.7, 0.5, 0.3)
LEAST = (0.7, 0.8, 0.85, 0.9, 0.95)


def unit_codes(encoder: object, pixels: list[np.ndarray]) -> np.ndarray:  # type: ignore[type-arg]
    """(N, D) codes of length one."""
    parts = [
        np.asarray(encoder.encode(pixels[i : i + 16]), dtype=np.float64)  # type: ignore[attr-defined]
        for i in range(0, len(pixels), 16)
    ]
    flat = np.concatenate(parts).reshape(len(pixels), -1)
    return np.asarray(flat / np.linalg.norm(flat, axis=1, keepdims=True))


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--images", type=Path, required=True)
    options.add_argument("--observer", default="efficientnet-lite0")
    options.add_argument("--count", type=int, default=100)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    encoder = encoder_of(given.observer)
    rng = np.random.default_rng(given.seed)
    files = sorted(given.images.glob("*.jpg"))
    chosen = sorted(rng.permutation(len(files))[: given.count])
    pictures = [Image.open(files[i]).convert("RGB") for i in chosen]
    own = unit_codes(encoder, [np.asarray(p) for p in pictures])
    rows = []
    for area in AREAS:
        crops = []
        for picture in pictures:
            width, height = (round(side * area**0.5) for side in picture.size)
            left = int(rng.integers(picture.width - width + 1))
            top = int(rng.integers(picture.height - height + 1))
            crop = picture.crop((left, top, left + width, top + height))
            crops.append(np.asarray(crop.resize(picture.size, Image.Resampling.BICUBIC)))
        alike = unit_codes(encoder, crops) @ own.T
        hits, others = np.diag(alike), alike[~np.eye(len(alike), dtype=bool)]
        for least in LEAST:
            hit = proportion(int((hits >= least).sum()), len(hits))
            alarm = proportion(int((others >= least).sum()), len(others))
            row = {"area": area, "least": least, "hit": hit.value, "low": hit.low}
            row |= {"high": hit.high, "alarms": alarm.value, "pairs": len(others)}
            rows.append(row)
            print(json.dumps(row), flush=True)
    write_record(given.json, rows)


if __name__ == "__main__":
    main()
