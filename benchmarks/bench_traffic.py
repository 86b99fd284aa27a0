"""Bytes and kernels that hooks add to a forward pass, counted: needs no GPU, and times nothing.

    python benchmarks/bench_traffic.py
    python benchmarks/bench_traffic.py --network timm:vit_base_patch16_224 --precision bfloat16

Every operation of torch that is no view counts as a kernel, and what it takes and gives as bytes
that pass through memory. Two batches, of two and of three images, pass; bytes of an image are their
difference, in which weights cancel. Hooks read as on a GPU, by `imi_bench.networks.routes`. Caches
and fused kernels make real traffic smaller, and arithmetic real time longer: the ratio of bytes is
what hooks cost where memory decides alone.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import table, write_record
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

NETWORKS = ("resnet50", "timm:vit_base_patch16_224", "timm:convnext_base")
_NO_KERNEL = ("aten.detach", "aten.empty", "aten.new_empty", "aten._unsafe_view")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", nargs="*", default=NETWORKS)
    parser.add_argument("--precision", nargs="*", default=["float32", "bfloat16"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in options.network:
        for precision in options.precision:
            rows.append(counted(name, precision))
            table(rows[-1:], heading=len(rows) == 1)
    write_record(options.json, {"traffic": rows})


class Counting(TorchDispatchMode):
    """Counts kernels and bytes while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels, self.bytes = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if not func.is_view and not str(func).startswith(_NO_KERNEL):
            tensors = [t for t in tree_leaves((args, kwargs, found)) if torch.is_tensor(t)]
            self.kernels += 1
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return found


def counted(name: str, precision: str) -> dict[str, Any]:
    """One network: what passes without and with hooks on all layers."""
    from imi_bench.networks.recording import Recorder, Rows
    from imi_bench.networks.routes import routes_of
    from imi_bench.networks.units import hooked
    from imi_bench.vision.loading import load_network

    network = load_network(name, pretrained=False, device="cpu")
    routes = routes_of(network, network.layers, precision=precision)
    layout = torch.contiguous_format if precision == "float32" else torch.channels_last
    read: Counter[str] = Counter()

    def passed(images: int, *, hooks: bool) -> Counting:
        recorder = Recorder(Rows.of(network.layers), (), block=images, device="cpu", routes=routes)
        pixels = np.random.default_rng(0).integers(0, 256, (images, *network.preprocess.size, 3))
        batch = network.preprocess.normalise(torch.from_numpy(pixels.astype(np.uint8)))

        def seen(path: str, output: Any, inputs: Any) -> None:
            before = counting.bytes
            recorder.seen(path, output, inputs)
            read[network.module.get_submodule(path).__class__.__name__] += counting.bytes - before

        half = precision != "float32"
        with (
            torch.no_grad(),
            torch.autocast("cpu", dtype=getattr(torch, precision), enabled=half),
            hooked(network.module, recorder.paths if hooks else [], seen, inputs=True),
            Counting() as counting,
        ):
            network.module(batch.contiguous(memory_format=layout))
            if hooks:
                recorder.advance(images)
        return counting

    bare, with_hooks = ([passed(n, hooks=hooks) for n in (2, 3)] for hooks in (False, True))
    mb = [(three.bytes - two.bytes) / 1e6 for two, three in (bare, with_hooks)]
    (most, share), *_ = read.most_common(1)
    return {
        "network": network.name,
        "precision": precision,
        "layers": len(network.layers),
        "not_read": len(routes.taken),
        "kernels": bare[0].kernels,
        "kernels_hooks": with_hooks[0].kernels - bare[0].kernels,
        "mb_an_image": mb[0],
        "mb_hooks": mb[1] - mb[0],
        "bytes_ratio": mb[1] / mb[0],
        "most_of_it": f"{most} {share / read.total():.0%}",
    }


if __name__ == "__main__":
    main()
