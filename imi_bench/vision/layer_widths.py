"""How many units a layer of the paper's networks has, by its name: facts of their architectures.

Nothing is loaded and no torch is needed; a test compares every value with the modules themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

from imi_bench.arrays import Floats

__all__ = ["INCEPTION_WIDTHS", "layer_widths"]

# Block: input width, then 1x1, 3x3 bottleneck, 5x5 bottleneck, pool reduction, 3x3, 5x5.
INCEPTION_WIDTHS: dict[str, tuple[int, ...]] = {
    "mixed3a": (192, 64, 96, 16, 32, 128, 32),
    "mixed3b": (256, 128, 128, 32, 64, 192, 96),
    "mixed4a": (480, 192, 96, 16, 64, 204, 48),
    "mixed4b": (508, 160, 112, 24, 64, 224, 64),
    "mixed4c": (512, 128, 128, 24, 64, 256, 64),
    "mixed4d": (512, 112, 144, 32, 64, 288, 64),
    "mixed4e": (528, 256, 160, 32, 128, 320, 128),
    "mixed5a": (832, 256, 160, 48, 128, 320, 128),
    "mixed5b": (832, 384, 192, 48, 128, 384, 128),
}
_BRANCHES = ("1x1", "3x3_bottleneck", "5x5_bottleneck", "pool_reduce", "3x3", "5x5")
_RESNETS = {"resnet50": 1, "resnet50-l2": 1, "clip-resnet50": 1, "wide_resnet50": 2}
_DENSE_BLOCKS, _DENSE_START, _GROWTH, _BOTTLENECK = (6, 12, 48, 32), 64, 32, 4
_CONVNEXT, _VIT, _MLP = (128, 256, 512, 1024), 768, 4


def layer_widths(networks: Iterable[str], layers: Iterable[str]) -> Floats:
    """Number of channels (or of a transformer's features) of each layer.

    Parameters
    ----------
    networks, layers : iterable of str
        One a row.

    Returns
    -------
    (rows,) float64
        NaN for a network or a layer that is not known here.

    Notes
    -----
    He et al., arXiv 1512.03385; Zagoruyko and Komodakis, arXiv 1605.07146; Huang et al., arXiv
    1608.06993 (growth 32, bottleneck 4); Liu et al., arXiv 2201.03545 (base); Dosovitskiy et al.,
    arXiv 2010.11929 (base); InceptionV1 as in TensorFlow's ``inception5h``.

    Examples
    --------
    >>> layer_widths(["resnet50", "convnext_b", "mine"], ["layer2_0_conv3",
    ...     "stages_1_blocks_0_mlp_fc1", "conv1"]).tolist()
    [512.0, 1024.0, nan]
    """
    pairs = zip(networks, layers, strict=True)
    return np.array([_width(str(network), str(layer)) for network, layer in pairs], dtype=float)


def _width(network: str, layer: str) -> float:
    if network in ("googlenet", "inceptionv1"):
        if layer in INCEPTION_WIDTHS:
            return _joined(layer)
        found = re.fullmatch(r"(mixed\d[a-e])_(\w+?)(?:_pre_relu_conv)?", layer)
        if not found or found[1] not in INCEPTION_WIDTHS or found[2] not in _BRANCHES:
            return np.nan
        return INCEPTION_WIDTHS[found[1]][1 + _BRANCHES.index(found[2])]
    if network in _RESNETS:
        return _resnet(layer.removeprefix("visual_"), _RESNETS[network])
    if network == "densenet_201":
        return _dense(layer.removeprefix("features_"))
    if network == "convnext_b":
        found = re.fullmatch(r"stages_(\d)_blocks_\d+(_conv_dw|_norm|_mlp_fc1|_mlp_fc2)?", layer)
        if not found or int(found[1]) >= len(_CONVNEXT):
            return np.nan
        return _CONVNEXT[int(found[1])] * (_MLP if found[2] == "_mlp_fc1" else 1)
    if network.endswith("vit_b32"):
        found = re.search(
            r"blocks_\d+(?:_(norm1|norm2|ln_1|ln_2|ls_1|ls_2|ls1|ls2|attn|"
            r"mlp_c_fc|mlp_fc1|mlp_c_proj|mlp_fc2|attn_proj|attn_qkv))?$",
            layer,
        )
        if not found:
            return np.nan
        many = {"mlp_c_fc": _MLP, "mlp_fc1": _MLP, "attn_qkv": 3}
        return _VIT * many.get(found[1] or "", 1)
    return np.nan


def _joined(block: str) -> float:
    """Channels of an Inception block: its branches' ends, one behind the other."""
    one, _, _, pool, three, five = INCEPTION_WIDTHS[block][1:]
    return one + three + five + pool


def _resnet(layer: str, wide: int) -> float:
    found = re.fullmatch(
        r"layer([1-4])_\d+(?:_((?:conv|bn)[123]|downsample(?:_[01])?|shortcut))?", layer
    )
    if not found:
        return np.nan
    base = 64 * 2 ** (int(found[1]) - 1)
    return base * wide if found[2] and found[2][-1] in "12" and "down" not in found[2] else base * 4


def _dense(layer: str) -> float:
    found = re.fullmatch(r"denseblock([1-4])_denselayer(\d+)_(norm|conv)([12])", layer)
    if not found:
        return np.nan
    block, place = int(found[1]) - 1, int(found[2])
    if not 1 <= place <= _DENSE_BLOCKS[block]:
        return np.nan
    width = _DENSE_START
    for count in _DENSE_BLOCKS[:block]:
        width = (width + _GROWTH * count) // 2
    if found[4] == "2":
        return _GROWTH if found[3] == "conv" else _GROWTH * _BOTTLENECK
    return width + _GROWTH * (place - 1) if found[3] == "norm" else _GROWTH * _BOTTLENECK
