"""Whether feature visualisations drive their units beyond natural images.

For a sample of units of every trained network in a folder (state dicts named after their timm
architecture, `nets.json` beside them), counts the units whose images all lie, and whose mean
image lies, beyond the 99.9th percentile of the natural images (the 0.1th for direction min), and
those that are level with it: rectified units, silent on either, which nothing can pass.

    python benchmarks/featurevis_percentiles.py --nets ../shared/nets \
        --images ../shared/images/cifar10_test.npz --units 40 --sheet sheet.png
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from measuring import table, write_record

CIFAR = "mean=0.4914,0.4822,0.4465&std=0.2470,0.2435,0.2616"
PERCENTILE = {"max": 99.9, "min": 0.1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--units", type=int, default=40, help="sampled units a network")
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--only", nargs="*", help="names of networks")
    parser.add_argument("--directions", nargs="*", default=["max", "min"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", type=Path, help="contact sheet of some units")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    facts = json.loads((arguments.nets / "nets.json").read_text())
    rows, shown = [], []
    for name in arguments.only or facts:
        found = _network(name, arguments)
        rows += [row for row, _ in found]
        shown += [(f"{name} {row['direction']}", images) for row, images in found]
        told = [{k: v for k, v in row.items() if k != "missed"} for row, _ in found]
        table(told, heading=len(rows) == len(found))
    write_record(arguments.json, rows)
    if arguments.sheet:
        _contact_sheet(arguments.sheet, shown)


def _network(name: str, arguments: argparse.Namespace) -> list[tuple[dict[str, Any], Any]]:
    from imi_bench.networks.activations import collect_activations
    from imi_bench.networks.featurevis import Ascent, visualise
    from imi_bench.networks.units import sample_units
    from imi_bench.vision.loading import load_network

    weights = arguments.nets / f"{name}.safetensors"
    reference = f"timm:{name}?num_classes=10&input_size=32&resize=32&{CIFAR}&checkpoint={weights}"
    network = load_network(reference, device="cpu")
    units = sample_units(network.layers, arguments.units, seed=arguments.seed)
    natural = collect_activations(network, arguments.images, sampled=units, keep=1, batch_size=250)
    ascent = Ascent(steps=arguments.steps) if arguments.steps else Ascent()
    found = []
    for direction in arguments.directions:
        start = time.perf_counter()
        made = visualise(network, units, direction=direction, seed=arguments.seed, ascent=ascent)
        seconds = (time.perf_counter() - start) / len(units)
        limit = natural.percentiles([PERCENTILE[direction]])[0]
        reached = np.stack([one.activation for one in made])
        sign = 1 if direction == "max" else -1
        beyond = sign * (reached - limit[:, None]) > 0
        mean_beyond = sign * (reached.mean(axis=1) - limit) > 0
        row = {
            "network": name,
            "direction": direction,
            "units": len(units),
            "mean_beyond": float(mean_beyond.mean()),
            "every_beyond": float(beyond.all(axis=1).mean()),
            "level": float((reached == limit[:, None]).all(axis=1).mean()),
            "seconds_a_unit": seconds,
            "median_steps": float(np.median([len(one.trace) for one in made])),
            "missed": [str(one.unit) for one, ok in zip(made, mean_beyond, strict=True) if not ok],
        }
        found.append((row, [(str(one.unit), one.images) for one in made[:4]]))
    return found


def _contact_sheet(path: Path, shown: list[tuple[str, Any]]) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    rows = [(f"{title}\n{unit}", images) for title, made in shown for unit, images in made]
    columns = len(rows[0][1])
    figure, axes = plt.subplots(len(rows), columns, figsize=(columns + 2, len(rows)))
    for line, (title, images) in zip(axes, rows, strict=True):
        for axis, image in zip(line, images, strict=True):
            axis.imshow(image, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
        line[0].set_ylabel(title, rotation=0, ha="right", va="center", fontsize=7)
    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
