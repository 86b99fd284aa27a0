"""What scoring every unit of many networks on many images costs: time, GPU hours, memory.

Measured here, in processor seconds of one core: scoring a unit, decoding an image, a forward pass
of ResNet-50. Rates of a GPU are options, whose defaults were measured on one NVIDIA H200 with 16
cores by ``bench_gpu.py``; that the average network is as large as ViT-B or ConvNeXt-B is assumed.

    python benchmarks/cost.py --images ../shared/images/imagenet1k_sample
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measuring import by_turns, write_record

HOUR = 3600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="photographs to decode")
    parser.add_argument("--networks", type=int, default=835)
    parser.add_argument("--n-images", type=int, default=1_281_167)
    parser.add_argument("--units", type=int, default=70_000_000, help="of all networks")
    parser.add_argument("--quantile", type=float, nargs="*", default=[0.02, 0.002, 0.0005])
    parser.add_argument("--gpus", type=int, nargs="*", default=[1, 8, 64])
    parser.add_argument("--gpu-rate", type=float, default=1_200.0, help="images/s, network")
    parser.add_argument("--observer-rate", type=float, default=1_250.0, help="images/s")
    parser.add_argument("--hooks", type=float, default=1.06, help="pass over bare forward pass")
    parser.add_argument(
        "--decode-rate", type=float, help="photographs/s of one core; measured here if left out"
    )
    parser.add_argument("--cores", type=int, default=16, help="assumed cores beside each GPU")
    parser.add_argument("--memory", type=float, default=64.0, help="GB, for the extremes")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    measured = {
        "score a unit (N=20, K=9, 1,792 dims)": _score_a_unit(),
        "decode and crop a photograph": _decode(options.images),
        "forward pass of ResNet-50, 224 px": _forward(),
    }
    report = {
        "measured_core_seconds": measured,
        "assumed": {k: v for k, v in vars(options).items() if k not in ("images", "json")},
        "cost": [_cost(options, measured, gpus) for gpus in options.gpus],
        "memory": [_memory(options, quantile) for quantile in options.quantile],
    }
    _print(report, options)
    write_record(options.json, report)


def _cost(options: argparse.Namespace, measured: dict[str, float], gpus: int) -> dict[str, float]:
    """Hours of wall clock; passes, decoding and scoring overlap, the slowest one decides."""
    score, decode, _ = measured.values()
    decode = 1 / options.decode_rate if options.decode_rate else decode
    cores = options.cores * gpus
    seen = options.networks * options.n_images
    observer = options.n_images / options.observer_rate / gpus
    passes = seen * options.hooks / options.gpu_rate / gpus
    decoding = seen * decode / cores
    scoring = options.units * score / cores
    return {
        "gpus": gpus,
        "observer_h": observer / HOUR,
        "passes_h": passes / HOUR,
        "decoding_h": decoding / HOUR,
        "scoring_h": scoring / HOUR,
        "wall_h": (observer + max(passes, decoding + scoring)) / HOUR,
        "gpu_h": (observer + max(passes, decoding + scoring)) * gpus / HOUR,
    }


def _memory(options: argparse.Namespace, quantile: float) -> dict[str, float]:
    """A network of average size: bytes of all its units at once, and passes within a memory."""
    from imi_bench.networks.memory import pass_bytes

    units = round(options.units / options.networks)
    kept = math.ceil(options.n_images * quantile)
    needed = pass_bytes(units, keep=kept, batch_size=64)
    shard = min(max(math.ceil(options.n_images / 64), 4 * kept, 2048), options.n_images)
    shards = math.ceil(options.n_images / shard)
    return {
        "quantile": quantile,
        "kept": kept,
        "units": units,
        "gigabytes": needed / 1e9,
        "disk_gigabytes": units * 16 * min(kept, shard) * shards / 1e9,
        "passes": math.ceil(needed / 1e9 / options.memory),
    }


def _score_a_unit() -> float:
    from imi_bench.mis.scores import machine_interpretability_score

    rng = np.random.default_rng(0)
    embeddings = rng.standard_normal((10_000, 1_792), dtype=np.float32)
    activations = rng.standard_normal((10_000, 200), dtype=np.float32)

    def run() -> None:
        machine_interpretability_score(embeddings, activations, slope=5.0, seed=0, threads=1)

    return _core_seconds(run) / 200


def _decode(folder: Path) -> float:
    from imi_bench.networks.collection import open_images
    from imi_bench.vision.preprocessing import centre_crop

    images = open_images(folder)
    count = min(len(images), 100)

    def run() -> None:
        for number in range(count):
            centre_crop(images.read(number), crop=224, resize=256)

    return _core_seconds(run) / count


def _forward() -> float:
    import timm
    import torch

    torch.set_num_threads(1)
    network = timm.create_model("resnet50", pretrained=False).eval()
    batch = torch.zeros(8, 3, 224, 224)

    def run() -> None:
        with torch.inference_mode():
            network(batch)

    return _core_seconds(run) / 8


def _core_seconds(run: Callable[[], None]) -> float:
    return float(np.median(by_turns({"run": run}, 3)["run"][:, 1]))


def _print(report: dict[str, Any], options: argparse.Namespace) -> None:
    print("| measured, one core | seconds | a second |\n|---|---|---|")
    for name, seconds in report["measured_core_seconds"].items():
        print(f"| {name} | {seconds:.5f} | {1 / seconds:,.0f} |")
    print(
        f"\n{options.networks} networks, {options.n_images:,} images, {options.units:,} units; "
        f"on one GPU: {options.gpu_rate:,.0f} images/s (network), "
        f"{options.observer_rate:,.0f} (observer), {options.cores} cores.\n"
    )
    print("| GPUs | observer, h | passes, h | decoding, h | scoring, h | wall, h | GPU hours |")
    print("|---|---|---|---|---|---|---|")
    for row in report["cost"]:
        print("| " + " | ".join(f"{value:,.1f}" for value in row.values()) + " |")
    print(
        f"\n| quantile | images kept an end | all units at once, GB | passes within "
        f"{options.memory:g} GB | shards on disk, GB |\n|---|---|---|---|---|"
    )
    for row in report["memory"]:
        print(
            f"| {row['quantile']} | {row['kept']:,} | {row['gigabytes']:,.1f} | {row['passes']} "
            f"| {row['disk_gigabytes']:,.0f} |"
        )


if __name__ == "__main__":
    main()
