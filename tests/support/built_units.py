"""Trials of a made-up network of two layers over made-up images, as a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import imi_bench as imi

__all__ = ["build_units"]


def build_units(out: Path) -> Path:
    """Build them into `out`: three units, two main trials each."""
    import torch

    from imi_bench.vision.loading import load_network

    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, stride=4), torch.nn.ReLU(), torch.nn.Conv2d(6, 5, 3, stride=2)
    )
    images = np.random.default_rng(0).integers(0, 255, (240, 32, 32, 3), dtype=np.uint8)
    images[:, 8:24] //= np.arange(1, 241, dtype=np.uint8)[:, None, None, None] % 7 + 1
    loaded = load_network(network, input_size=32, name="two-layers", device="cpu")
    imi.build_trials(loaded, images, units=["0__1", "0__4", "2__0"], batches=2, out=out)
    return out
