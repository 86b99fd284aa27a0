"""The small trained networks and the images beside the checkout, loaded once."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from imi_bench.arrays import Pixels
from imi_bench.vision.loading import LoadedNetwork, load_network

TRAINED = ("resnet10t", "test_byobnet", "test_convnext2", "test_mambaout", "test_resnet")
OPTIONS = (
    "num_classes=10&input_size=32&resize=32&mean=0.4914,0.4822,0.4465&std=0.2470,0.2435,0.2616"
)


def reference(name: str) -> str:
    """One-line reference of an architecture trained on CIFAR-10, without its weights."""
    return f"timm:{name}?{OPTIONS}"


@cache
def trained(shared: Path, name: str) -> LoadedNetwork:
    """A trained network on the CPU."""
    return load_network(
        reference(name), checkpoint=shared / "nets" / f"{name}.safetensors", device="cpu"
    )


@cache
def random(name: str) -> LoadedNetwork:
    """The same architecture with random weights."""
    return load_network(reference(name), pretrained=False, seed=0, device="cpu")


@cache
def cifar(shared: Path) -> Pixels:
    """(6000, 32, 32, 3) test images of CIFAR-10."""
    with np.load(shared / "images" / "cifar10_test.npz") as archive:
        images: Pixels = archive["images"]
    return images
