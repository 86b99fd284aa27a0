"""A layer's type and depth are one thing, whoever asks."""

from __future__ import annotations

import numpy as np
import pytest

from imi_bench.vision import card
from imi_bench.vision.layer_names import TYPES, layer_table, layer_types, relative_depths

LARGE = ("convnext_b", "densenet_201")


@pytest.mark.vision
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.whole if n in LARGE else ()) for n in card.names()],
)
def test_a_loaded_network_and_its_layers_names_agree(name: str) -> None:
    from support.structures import structure_of

    network = structure_of(name)
    table = layer_table(network.name, network.layers)
    assert list(table["type"]) == list(layer_types(table["layer"]))
    assert set(table["type"]) <= set(TYPES)
    depths = relative_depths([name] * len(table), table["layer"])
    np.testing.assert_array_equal(table["depth"], depths)
    assert (table["depth"].min(), table["depth"].max()) == (0, 1)
    # a table of some rows in another order says the same of each
    some = table.sample(frac=0.3, random_state=0)
    again = relative_depths(some["network"], some["layer"])
    np.testing.assert_array_equal(some["depth"], again)


@pytest.mark.vision
def test_layers_whose_names_tell_no_blocks_apart_count_one_by_one() -> None:
    from torch import nn

    from imi_bench.vision.loading import load_network

    module = nn.Sequential()
    for number, layer in enumerate((nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3))):
        module.add_module(f"conv{number}", layer)
    network = load_network(module, device="cpu", input_size=8)
    table = layer_table("mine", network.layers)
    assert list(table["type"]) == ["convolution", "normalisation", "convolution"]
    assert list(table["depth"]) == [0, 0.5, 1]


@pytest.mark.vision
@pytest.mark.parametrize(
    ("reference", "first", "last"),
    [
        ("timm:test_efficientnet", "conv_stem", "bn2"),
        ("timm:test_vit", "patch_embed_proj", "norm"),
        ("torchvision:googlenet", "conv1_conv", "inception5b_branch4_1_bn"),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_last_layer_to_run_is_the_deepest_whatever_its_name(
    reference: str, first: str, last: str
) -> None:
    from imi_bench.vision.loading import load_network

    depths = {layer.name: layer.depth for layer in load_network(reference, device="meta").layers}
    assert (depths[first], depths[last]) == (0, 1)
    assert list(depths.values()) == sorted(depths.values())
