"""Widths of the paper's layers against the modules themselves (on the meta device)."""

from __future__ import annotations

import numpy as np
import pytest

from imi_bench.vision.layer_names import paper_layers
from imi_bench.vision.layer_widths import INCEPTION_WIDTHS, layer_widths

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")
torchvision = pytest.importorskip("torchvision")
open_clip = pytest.importorskip("open_clip")


def _made(network: str) -> object:
    with torch.device("meta"):
        if network == "googlenet":
            from imi_bench.vision.inception import InceptionV1

            return InceptionV1()
        named = {
            "densenet_201": torchvision.models.densenet201,
            "resnet50": torchvision.models.resnet50,
            "resnet50-l2": torchvision.models.resnet50,
            "wide_resnet50": torchvision.models.wide_resnet50_2,
        }
        if network in named:
            return named[network](weights=None)
        if network == "clip-vit_b32":
            return open_clip.transformer.VisionTransformer(224, 32, 768, 12, 12, 4.0)
        name = {"in1k-vit_b32": "vit_base_patch32_224", "convnext_b": "convnext_base"}[network]
        return timm.create_model(name, pretrained=False)


def _of_module(module: object) -> int:
    for name in ("out_channels", "out_features", "num_features", "normalized_shape"):
        value = getattr(module, name, None)
        if value is not None:
            return int(value[0] if isinstance(value, tuple) else value)
    return int(module.conv_dw.out_channels)


NETWORKS = (
    "googlenet",
    "densenet_201",
    "resnet50",
    "resnet50-l2",
    "wide_resnet50",
    "in1k-vit_b32",
    "clip-vit_b32",
    "convnext_b",
)


@pytest.mark.parametrize("network", NETWORKS)
def test_widths_are_those_of_the_modules(network: str) -> None:
    modules = {name.replace(".", "_"): one for name, one in _made(network).named_modules()}
    names = paper_layers(network)
    widths = layer_widths([network] * len(names), names)
    assert np.isfinite(widths).all()
    for name, width in zip(names, widths, strict=True):
        assert _of_module(modules[name.removeprefix("visual_")]) == width, name


def test_clip_resnet_has_the_widths_of_openclip() -> None:
    with torch.device("meta"):
        tower = open_clip.modified_resnet.ModifiedResNet((3, 4, 6, 3), 1024, 32, width=64)
    modules = {name.replace(".", "_"): one for name, one in tower.named_modules()}
    names = paper_layers("clip-resnet50")
    widths = layer_widths(["clip-resnet50"] * len(names), names)
    for name, width in zip(names, widths, strict=True):
        assert _of_module(modules[name.removeprefix("visual_")]) == width, name


def test_unknown_is_not_guessed() -> None:
    pairs = [("mine", "conv1"), ("resnet50", "weird"), ("convnext_b", "head"), ("googlenet", "x")]
    assert np.isnan(layer_widths(*zip(*pairs, strict=True))).all()


def test_blocks_of_the_forerunners_network_feed_the_next() -> None:
    blocks = list(INCEPTION_WIDTHS)
    ends = layer_widths(["inceptionv1"] * len(blocks), blocks)
    feeds = [INCEPTION_WIDTHS[name][0] for name in blocks[1:]]
    assert ends[:-1].tolist() == feeds
    assert ends[-1] == 1024  # what the classifier reads
