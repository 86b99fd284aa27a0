"""Activation pass against the bare forward pass: the cost of hooks, extremes and covariates.

    python benchmarks/bench_activations.py --threads 2
    python benchmarks/bench_activations.py --device cuda --precision bfloat16 --images 4096

Every layer of the network's card is followed, and 84 units are sampled, as in the paper. Both
sides read the same images through the same loader, in alternation within one run; the ratio is
the median over repeats, of wall time and, for one thread on a busy machine, of processor time.
Weights are random and the images noise (simulated): neither changes the work.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from measuring import by_turns, table, write_record

NETWORKS = ("resnet50", "in1k-vit_b32", "googlenet")
UNITS = 84


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", nargs="*", default=NETWORKS)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = [_measure(name, arguments) for name in arguments.network]
    table(rows)
    options = {k: getattr(arguments, k) for k in ("device", "precision", "threads", "images")}
    write_record(arguments.json, {**options, "simulated": True, "rows": rows})


def _measure(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    import torch

    from imi_bench.networks.activations import plan_activations, run_shard
    from imi_bench.networks.collection import open_images
    from imi_bench.networks.decoding import Decoding
    from imi_bench.networks.forward import forward_batches
    from imi_bench.networks.units import sample_units
    from imi_bench.vision.loading import load_network

    torch.set_num_threads(arguments.threads)
    network = load_network(name, pretrained=False, device=arguments.device)
    side = network.preprocess.crop
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (arguments.images, side, side, 3), dtype=np.uint8)
    images = open_images(pictures)
    plan = plan_activations(
        network,
        images,
        sampled=sample_units(network.layers, UNITS, seed=0),
        batch_size=arguments.batch_size,
        shard_size=len(images),
        precision=arguments.precision,
    )

    def settle() -> None:
        if arguments.device.startswith("cuda"):
            torch.cuda.synchronize()

    def bare() -> None:
        decoding = Decoding(network.preprocess, images, batch_size=arguments.batch_size)
        for _ in forward_batches(
            network, decoding, range(len(images)), precision=arguments.precision
        ):
            pass
        settle()

    def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            run_shard(plan, 0, network=network, images=images, folder=Path(folder))

    seconds = by_turns({"bare": bare, "pass": whole}, arguments.repeats)
    ratio, of_processor = np.median(seconds["pass"] / seconds["bare"], axis=0)
    return {
        "network": name,
        "units": network.width,
        "bare_images_per_second": len(images) / float(np.median(seconds["bare"][:, 0])),
        "pass_images_per_second": len(images) / float(np.median(seconds["pass"][:, 0])),
        "ratio": float(ratio),
        "processor_ratio": float(of_processor),
    }


if __name__ == "__main__":
    main()
