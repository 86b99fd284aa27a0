"""What a layer's released name says: how deep it is, and of which type. No weights needed."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from imi_bench.errors import InputError
from imi_bench.release.published import published
from imi_bench.simulation.parameters import layer_names

__all__ = ["TYPES", "layer_types", "relative_depths"]

TYPES = ("convolution", "normalisation", "linear", "block")
_NORM = re.compile(r"(?:^|_)(?:bn|norm|ln)\d*(?:_pre|_post)?(?:_\d+)?$")
_LINEAR = re.compile(r"(?:^|_)(?:fc\d*|c_fc|c_proj|qkv|proj|attn\w*|mlp|linear\d*)$")
_CONV = re.compile(r"conv|\dx\d|pool_reduce|downsample|bottleneck")
_KIND = re.compile(r"^(?:conv|bn|norm|ln|fc|relu|downsample)\d*$")
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
    networks, layers : str each, one a row.

    Returns
    -------
    (rows,) float64
        A block counts as one step (a residual block, an inception module, a dense or transformer
        layer). The blocks of the paper's networks are known; of any other network, those that
        occur are counted, so its depth is relative to the layers shown.

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
        known = layer_names(network) if network in published().networks else ()
        blocks = sorted({_block(name) for name in known} | {_block(name) for name in own})
        if len(blocks) < 2:
            raise InputError("no depth", where=network, found=f"one block, {next(iter(own))}")
        for name in own:
            found[network, name] = blocks.index(_block(name)) / (len(blocks) - 1)
    return np.array([found[pair] for pair in zip(names, shown, strict=True)])
