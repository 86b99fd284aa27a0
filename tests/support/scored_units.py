"""Machine interpretability scores of a small network with random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import imi_bench as imi


def scored_units(folder: Path) -> Path:
    """The folder of scores; the images have a band of their own brightness each."""
    folder.mkdir(exist_ok=True)
    images = np.random.default_rng(0).integers(0, 255, (80, 32, 32, 3), dtype=np.uint8)
    images[:, 8:24] //= np.arange(1, 81, dtype=np.uint8)[:, None, None, None] % 7 + 1
    np.savez(folder / "images.npz", images=images)
    imi.machine_interpretability(
        "timm:test_resnet?num_classes=10&input_size=32",
        folder / "images.npz",
        observer="pixel-cosine",
        tasks=5,
        references=3,
        quantile=0.1,
        pretrained=False,
        layers="conv1_0|bn1|layer2_0_conv1",
        device="cpu",
        out=folder / "out",
    )
    return folder / "out"
