"""A layer's type and depth: one definition, from its name and its module's class.

The *type* is one of `TYPES`. The *depth* of a layer is 0 at the first and 1 at the last step of its
network: a step is a block in the paper's networks, and a layer, in the order they run, in any
other. What builds trials, scores units, models people and simulates them takes both from here. No
weights are needed, and no torch.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imi_bench.errors import InputError
from imi_bench.vision.card import names as card_names

if TYPE_CHECKING:
    from imi_bench.vision.layers import Layer

__all__ = [
    "TYPES",
    "depths_in_order",
    "layer_table",
    "layer_types",
    "paper_layers",
    "relative_depths",
    "type_of_module",
]

TYPES = ("convolution", "normalisation", "linear", "block")
_NORM = re.compile(r"(?:^|_)(?:bn|norm|ln)\d*(?:_pre|_post)?(?:_\d+)?$")
_LINEAR = re.compile(r"(?:^|_)(?:fc\d*|c_fc|c_proj|qkv|proj|attn\w*|mlp|linear\d*)$")
_CONV = re.compile(r"conv|\dx\d|pool_reduce|downsample|bottleneck")
_KIND = re.compile(r"^(?:conv|bn|norm|ln|ls|fc|act|relu|attn|mlp|se|downsample)\d*$")
_STAGE_LETTER = re.compile(r"^mixed(\d+)([a-z])$")


def layer_types(layers: Iterable[str]) -> NDArray[np.object_]:
    """Type of each layer by its name: one of `TYPES`.

    A name that ends in none of a convolution's, normalisation's or linear map's words stands for
    the output of a whole block.

    Examples
    --------
    >>> layer_types(["layer3_1_bn2", "mixed4a_3x3_pre_relu_conv", "blocks_2_mlp_fc1"]).tolist()
    ['normalisation', 'convolution', 'linear']
    """
    return np.array([_type(name) for name in layers], dtype=object)


def _type(name: str) -> str:
    if _NORM.search(name):
        return "normalisation"
    if _LINEAR.search(name):
        return "linear"
    return "convolution" if _CONV.search(name) else "block"


def type_of_module(name: str) -> str:
    """Type of a layer by the class of its module: one of `TYPES`.

    Examples
    --------
    >>> [type_of_module(name) for name in ("Conv2d", "LayerNorm2d", "Linear", "ConvNeXtBlock")]
    ['convolution', 'normalisation', 'linear', 'block']
    """
    if "Norm" in name:
        return "normalisation"
    if re.search(r"Conv(Transpose)?\d?d(Same)?$|^Conv", name) and "Block" not in name:
        return "convolution"
    return "linear" if "Linear" in name else "block"


def _block(name: str) -> tuple[int, ...]:
    """Stage and block numbers of a layer; stems come first, transitions after their stage.

    >>> _block("visual_layer3_1_conv2"), _block("mixed4b_1x1_pre_relu_conv"), _block("conv1")
    ((3, 1), (4, 1), ())
    """
    numbers: list[int] = []
    for word in name.split("_"):
        letter = _STAGE_LETTER.match(word)
        if letter:
            return int(letter[1]), ord(letter[2]) - ord("a")
        if word.startswith("transition"):
            return int(word.removeprefix("transition")), 10_000
        if _KIND.match(word):
            break
        digits = re.fullmatch(r"[a-z]*?(\d+)", word)
        if digits:
            numbers.append(int(digits[1]))
    return tuple(numbers)


def relative_depths(networks: Iterable[str], layers: Iterable[str]) -> NDArray[np.float64]:
    """Relative depth of each layer's block: 0 the network's first block, 1 its last.

    Parameters
    ----------
    networks, layers : iterable of str
        Str each, one a row.

    Returns
    -------
    (rows,) float64
        A block counts as one step (a residual block, an inception module, a dense or transformer
        layer). The blocks of the paper's networks are known, and what lies between two of them
        (a transition) is as deep as the second; of any other network those that occur are
        counted, so its depth is relative to the layers shown, and only as good as its names: take
        that of its `layer_table` (or ``units.parquet``) where there is one.

    Raises
    ------
    InputError
        If a network of one's own has a single block: it has no depth.

    Examples
    --------
    >>> relative_depths(["resnet50"] * 3, ["layer1_0_bn1", "layer3_0_conv2", "layer4_2_conv3"])
    array([0.        , 0.46666667, 1.        ])
    """
    names, shown = list(networks), list(layers)
    found: dict[tuple[str, str], float] = {}
    for network in dict.fromkeys(names):
        own = dict.fromkeys(b for a, b in zip(names, shown, strict=True) if a == network)
        known = paper_layers(network) if network in card_names() else ()
        blocks = sorted({_block(name) for name in known or own})
        if len(blocks) < 2:
            raise InputError(
                "no depth",
                where=network,
                found=f"one block by the layers' names, {next(iter(own))}",
                do="give the layers' depths: columns='units.parquet'",
            )
        for name in own:
            found[network, name] = _place(_block(name), blocks)
    return np.array([found[pair] for pair in zip(names, shown, strict=True)])


def _place(block: tuple[int, ...], blocks: Sequence[tuple[int, ...]]) -> float:
    return min(bisect_left(blocks, block), len(blocks) - 1) / (len(blocks) - 1)


def depths_in_order(layers: Sequence[str], *, network: str | None = None) -> NDArray[np.float64]:
    """Depths of all layers of a network, given in the order they run.

    Parameters
    ----------
    layers : sequence of str
        Released names.
    network : str, optional
        One of the paper's: its blocks count, as `relative_depths` says. Of any other each layer is
        one step: its names may tell no blocks apart, or the wrong ones (EfficientNet's last norm
        is ``bn2``).

    Returns
    -------
    (layers,) float64
        A single layer has no depth (NaN).

    Examples
    --------
    >>> depths_in_order(["conv_stem", "blocks_0_conv", "bn2"]).tolist()
    [0.0, 0.5, 1.0]
    """
    if network is not None:
        return relative_depths([network] * len(layers), layers)
    return np.linspace(0, 1, len(layers)) if len(layers) > 1 else np.full(len(layers), np.nan)


def layer_table(network: str, layers: Sequence[Layer]) -> pd.DataFrame:
    """Type, depth and width of layers of a loaded network.

    Parameters
    ----------
    network : str
        Its name in trial tables.
    layers : sequence of Layer

    Returns
    -------
    pandas.DataFrame
        One row a layer: network, layer, type (one of `TYPES`), depth (float64), width (units); as
        `imi_bench.effects` takes it.
    """
    return pd.DataFrame(
        {
            "network": network,
            "layer": [layer.name for layer in layers],
            "type": [type_of_module(layer.type) for layer in layers],
            "depth": [layer.depth for layer in layers],
            "width": [layer.width for layer in layers],
        }
    )


def paper_layers(network: str) -> tuple[str, ...]:
    """Layers from input to output, named in the manner of the released table.

    Close to the real architectures; exact for none of them (`imi_bench.vision.card` is).
    """
    if network == "googlenet":
        blocks = [
            f"{stage}{part}"
            for stage, parts in ((3, "ab"), (4, "abcde"), (5, "ab"))
            for part in parts
        ]
        branches = ("1x1", "3x3_bottleneck", "3x3", "5x5_bottleneck", "5x5", "pool_reduce")
        return tuple(f"mixed{block}_{kind}_pre_relu_conv" for block in blocks for kind in branches)
    if network == "densenet_201":
        return tuple(
            f"features_denseblock{block}_denselayer{layer}_{kind}"
            for block, count in enumerate((6, 12, 48, 32), start=1)
            for layer in range(1, count + 1)
            for kind in ("norm1", "conv1", "norm2", "conv2")
        )
    if network.endswith("vit_b32"):
        stem, kinds = (
            ("visual_transformer_resblocks", ("ln_1", "ln_2", "mlp_c_fc", "mlp_c_proj"))
            if network.startswith("clip")
            else ("blocks", ("norm1", "norm2", "mlp_fc1", "mlp_fc2"))
        )
        return tuple(f"{stem}_{block}_{kind}" for block in range(12) for kind in kinds)
    if network == "convnext_b":
        return tuple(
            f"stages_{stage}_blocks_{block}{kind}"
            for stage, count in enumerate((3, 3, 27, 3))
            for block in range(count)
            for kind in ("_conv_dw", "_norm", "_mlp_fc1", "_mlp_fc2", "")
        )
    stem = "visual_layer" if network.startswith("clip") else "layer"
    return tuple(
        f"{stem}{stage}_{block}_{kind}{index}"
        for stage, count in enumerate((3, 4, 6, 3), start=1)
        for block in range(count)
        for index in (1, 2, 3)
        for kind in ("conv", "bn")
    )
