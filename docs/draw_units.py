"""Draw `docs/figures/efficientnet-lite0-*.png`: units of a real network with their exemplars.

    imi-bench observers fetch efficientnet-lite0 --to weights
    python docs/draw_units.py --weights weights

EfficientNet-Lite0, trained on ImageNet-1k, sees crops of the dozen public-domain pictures that
scikit-image carries: pictures that may be shown here, which ImageNet's may not. One sheet has
natural exemplars, the other feature visualisations beside the same queries.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage import data

import imi_bench as imi

FIGURES = Path(__file__).resolve().parent / "figures"
PICTURES = (
    "astronaut",
    "brick",
    "camera",
    "cell",
    "chelsea",
    "coffee",
    "coins",
    "grass",
    "gravel",
    "hubble_deep_field",
    "retina",
    "rocket",
)
"""Public domain, CC0, or without known restrictions, by scikit-image's own account."""
COLOURS = 128


def crops(each: int, *, side: int = 224, seed: int = 0) -> NDArray[np.uint8]:
    """Square crops of every picture, from 96 pixels to its whole height, scaled to one side."""
    random = np.random.default_rng(seed)
    found = []
    for name in PICTURES:
        picture = Image.fromarray(np.asarray(getattr(data, name)())).convert("RGB")
        for _ in range(each):
            length = int(random.integers(96, min(picture.size) + 1))
            left, top = (int(random.integers(0, span - length + 1)) for span in picture.size)
            box = (left, top, left + length, top + length)
            found.append(np.asarray(picture.resize((side, side), box=box, reducing_gap=3)))
    return np.stack(found)


def main() -> None:
    """Build trials of a few units and draw two sheets of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True, help="folder of fetched weights")
    parser.add_argument("--units", type=int, default=6)
    parser.add_argument("--references", type=int, default=4)
    parser.add_argument("--crops", type=int, default=50, help="of every picture")
    parser.add_argument("--steps", type=int, default=96, help="0: natural exemplars alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tile", type=int, default=72)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trials = imi.build_trials(
            "timm:tf_efficientnet_lite0",
            crops(arguments.crops, seed=arguments.seed),
            checkpoint=arguments.weights / "efficientnet-lite0.safetensors",
            units=arguments.units,
            batches=1,
            references=arguments.references,
            synthetic=arguments.steps > 0,
            steps=arguments.steps or 1,
            seed=arguments.seed,
            device="cpu",
            out=Path(folder) / "trials",
        )
        print(trials, *trials.notes, sep="\n")
        for mode in ("natural", "synthetic") if arguments.steps else ("natural",):
            shown = trials.where(mode=mode, catch=False)
            sheet = shown.show(slice(None), tile=arguments.tile)
            target = FIGURES / f"efficientnet-lite0-{mode}.png"
            sheet.quantize(COLOURS, method=Image.Quantize.MEDIANCUT).save(target, optimize=True)
            print(target.name, sheet.size, f"{target.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
