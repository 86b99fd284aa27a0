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
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

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
    print(
        f"{'network':<14} {'units':>8} {'bare, img/s':>12} {'pass, img/s':>12} {'ratio':>7} "
        f"{'of CPU':>7}"
    )
    for row in rows:
        print(
            f"{row['network']:<14} {row['units']:>8,} {row['bare_images_per_second']:>12.2f} "
            f"{row['pass_images_per_second']:>12.2f} {row['ratio']:>7.3f} "
            f"{row['processor_ratio']:>7.3f}"
        )
    if arguments.json:
        from imi_bench.provenance import write_json

        write_json(
            arguments.json,
            {
                "device": arguments.device,
                "precision": arguments.precision,
                "threads": arguments.threads,
                "images": arguments.images,
                "simulated": True,
                "rows": rows,
            },
        )


def _measure(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    import torch

    from imi_bench.networks.activations import plan_activations, run_shard
    from imi_bench.networks.collection import open_images
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
        for _ in forward_batches(
            network,
            images,
            range(len(images)),
            batch_size=arguments.batch_size,
            precision=arguments.precision,
        ):
            pass
        settle()

    def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            run_shard(plan, 0, network=network, images=images, folder=Path(folder))

    wall: dict[str, list[float]] = {"bare": [], "pass": []}
    processor: dict[str, list[float]] = {"bare": [], "pass": []}
    bare()
    for _ in range(arguments.repeats):
        for name_of_side, action in (("bare", bare), ("pass", whole)):
            started, spent = time.perf_counter(), time.process_time()
            action()
            wall[name_of_side].append(time.perf_counter() - started)
            processor[name_of_side].append(time.process_time() - spent)
    return {
        "network": name,
        "units": network.width,
        "bare_images_per_second": len(images) / statistics.median(wall["bare"]),
        "pass_images_per_second": len(images) / statistics.median(wall["pass"]),
        "ratio": _ratio(wall),
        "processor_ratio": _ratio(processor),
    }


def _ratio(times: dict[str, list[float]]) -> float:
    pairs = zip(times["pass"], times["bare"], strict=True)
    return statistics.median(whole / bare for whole, bare in pairs)


if __name__ == "__main__":
    main()
