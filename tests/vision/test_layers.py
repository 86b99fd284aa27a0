from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from support.structures import structure_of

from imi_bench.errors import NetworkError, NotEnoughDataError, UnknownNameError
from imi_bench.networks.units import Unit, check_units, sample_units
from imi_bench.vision import card
from imi_bench.vision.layers import Layer, find_layer, path_of_names, released_name
from imi_bench.vision.loading import LoadedNetwork, load_network

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.vision


@pytest.fixture(scope="module", params=card.names())
def structure(request: pytest.FixtureRequest) -> LoadedNetwork:
    return structure_of(request.param)


# The rules of published.json, written again from its words.
RULES = {
    "googlenet": lambda n: n.startswith("mixed") and "pre_relu_conv" in n,
    "densenet_201": lambda n: (
        (n.startswith("features_denseblock") and n.endswith(("conv1", "conv2", "norm1", "norm2")))
        or (n.startswith("features_transition") and n.endswith(("conv", "norm")))
    ),
    "clip-vit_b32": lambda n: (
        n.startswith("visual_transformer_resblocks")
        and n.endswith(("ln_1", "ls_1", "ln_2", "mlp_c_fc", "mlp_c_proj", "ls_2"))
    ),
    "in1k-vit_b32": lambda n: (
        n.startswith("blocks_")
        and n.endswith(("norm1", "ls1", "norm2", "mlp_fc1", "mlp_fc2", "ls2"))
    ),
    "convnext_b": lambda n: bool(
        re.fullmatch(r"stages_\d+_blocks_\d+(_conv_dw|_norm|_mlp_fc1|_mlp_fc2)?", n)
    ),
    "clip-resnet50": lambda n: (
        n.startswith("visual_layer")
        and n.endswith(("conv1", "conv2", "conv3", "bn1", "bn2", "bn3", "shortcut"))
    ),
}
RULES |= {
    name: lambda n: (
        n.startswith("layer")
        and n.endswith(("conv1", "conv2", "conv3", "bn1", "bn2", "bn3", "shortcut"))
    )
    for name in ("resnet50", "resnet50-l2", "wide_resnet50")
}
# Layers by hand: blocks x kinds; DenseNet-201 has 6 + 12 + 48 + 32 layers and 3 transitions.
LAYERS = {
    "googlenet": 9 * 6,
    "densenet_201": 98 * 4 + 3 * 2,
    "clip-vit_b32": 12 * 6,
    "in1k-vit_b32": 12 * 6,
    "convnext_b": (3 + 3 + 27 + 3) * 5,
    "clip-resnet50": 16 * 6,
    "resnet50": 16 * 7,
    "resnet50-l2": 16 * 7,
    "wide_resnet50": 16 * 7,
}


def test_paths_map_to_released_names_and_back(structure: LoadedNetwork) -> None:
    prefix = card.card(structure.name).layers.prefix
    paths = path_of_names(structure.module, prefix=prefix)
    modules = dict(structure.module.named_modules())
    assert set(paths.values()) == set(modules) - {""}
    assert all(released_name(path, prefix=prefix) == name for name, path in paths.items())
    assert all(paths[layer.name] == layer.path for layer in structure.layers)


def test_layers_are_those_the_paper_sampled(structure: LoadedNetwork) -> None:
    prefix = card.card(structure.name).layers.prefix
    names = path_of_names(structure.module, prefix=prefix)
    assert set(structure.layer_names) == {n for n in names if RULES[structure.name](n)}
    assert len(structure.layers) == LAYERS[structure.name]


def test_widths_and_axes_agree_with_the_modules(structure: LoadedNetwork) -> None:
    for layer in structure.layers:
        part = structure.module.get_submodule(layer.path)
        known = [
            getattr(part, name)
            for name in ("out_channels", "num_features", "out_features")
            if hasattr(part, name)
        ]
        if not known and hasattr(part, "normalized_shape"):
            known = [part.normalized_shape[-1]]
        assert known in ([], [layer.width])
        assert layer.shape[layer.channel_axis] == layer.width
        assert layer.shape[layer.batch_axis] == 1
    depths = [layer.depth for layer in structure.layers]
    assert (depths[0], depths[-1]) == (0.0, 1.0)
    assert depths == sorted(depths)


def test_parameter_covariate_is_the_architectures(structure: LoadedNetwork) -> None:
    counted = sum(parameter.numel() for parameter in structure.module.parameters())
    assert card.card(structure.name).covariates["parameters"].value == counted


def test_googlenet_has_the_layers_of_the_released_stimuli(shared: Path) -> None:
    released = {folder.name for folder in (shared / "imi" / "stimuli").glob("mixed*")}
    assert released
    assert released <= set(structure_of("googlenet").layer_names)


def test_random_weights_are_seeded_and_leave_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    one, same, other = (
        load_network("timm:test_resnet?input_size=32", pretrained=False, seed=seed, device="cpu")
        for seed in (1, 1, 2)
    )
    assert torch.equal(before, torch.random.get_rng_state())
    assert one.record["state_sha256"] == same.record["state_sha256"]
    assert one.record["state_sha256"] != other.record["state_sha256"]
    assert one.name == "test_resnet-random1-input_size.32"
    assert other.name == "test_resnet-random2-input_size.32"


@pytest.mark.whole
def test_pre_relu_resnet_computes_what_torchvisions_does() -> None:
    from torchvision.models import resnet50

    ours = load_network("resnet50", pretrained=False, seed=3, device="cpu").module
    theirs = resnet50()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), theirs.eval()(x))


def test_inception_runs_on_its_own_input_size_and_pads_as_tensorflow() -> None:
    network = load_network("googlenet", pretrained=False, device="cpu")
    assert len(network.module.state_dict()) == 2 * (3 + 9 * 6 + 1)
    with torch.inference_mode():
        assert network.module(torch.zeros(1, 3, 229, 229)).shape == (1, 1008)
    assert find_layer(network.layers, "mixed5b_1x1_pre_relu_conv").shape == (1, 384, 7, 7)


def test_reduction_is_the_mean_over_positions_wherever_the_channels_are() -> None:
    values = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).reshape(2, 3, 4, 5)
    mean = values.mean(dim=(2, 3))
    first = Layer("a", "a", "Conv2d", 0.0, 3, 0, 1, (1, 3, 4, 5))
    last = Layer("a", "a", "Linear", 0.0, 3, 0, 3, (1, 4, 5, 3))
    tokens = Layer("a", "a", "LayerNorm", 0.0, 3, 1, 2, (20, 1, 3))
    assert torch.equal(first.reduce(values), mean)
    torch.testing.assert_close(last.reduce(values.permute(0, 2, 3, 1)), mean)
    sequence_first = values.flatten(2).permute(2, 0, 1)
    torch.testing.assert_close(tokens.reduce(sequence_first), mean)
    assert torch.equal(tokens.maps(sequence_first), values.flatten(2))
    units_first = Layer("a", "a", "Identity", 0.0, 2, 1, 0, (2, 1, 4, 5))
    assert torch.equal(units_first.reduce(values), mean.T)
    assert first.reduce(values.half()).dtype == torch.float32


def test_any_module_in_python_is_a_network_and_stays_as_it_was() -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten())
    network = load_network(module, input_size=8, name="mine", device="cpu")
    assert [(la.name, la.type, la.width) for la in network.layers] == [("0", "Conv2d", 4)]
    assert module.training
    assert module[0].weight.requires_grad
    other = load_network(
        torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3)), input_size=8, name="mine", device="cpu"
    )
    assert network.record["state_sha256"] != other.record["state_sha256"]


def test_a_function_in_a_file_is_a_network(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text("import torch\ndef build(width):\n    return torch.nn.Conv2d(3, width, 1)\n")
    with pytest.raises(NetworkError, match="no layer matches"):
        load_network(f"{path}:build?width=5&input_size=4", device="cpu")  # the root is no layer
    path.write_text(
        "import torch\ndef build(width):\n"
        "    return torch.nn.Sequential(torch.nn.Conv2d(3, width, 3))\n"
    )
    network = load_network(f"{path}:build?width=5&input_size=4", device="cpu")
    assert network.width == 5


def test_names_that_collide_have_hyphens() -> None:
    module = torch.nn.Module()
    module.add_module("a_b", torch.nn.Conv2d(3, 2, 1))
    module.add_module("a", torch.nn.Module())
    module.a.add_module("b", torch.nn.Conv2d(3, 2, 1))
    assert path_of_names(module, prefix="v_") == {"v_a_b": "a_b", "v_a": "a", "v_a-b": "a.b"}
    module.add_module("a-b", torch.nn.Conv2d(3, 2, 1))
    with pytest.raises(NetworkError, match="two modules have one name: 'a-b'"):
        path_of_names(module)


def test_sampling_draws_a_layer_uniformly_then_a_channel() -> None:
    layers = [
        Layer("narrow", "narrow", "Conv2d", 0.0, 50, 0, 1, (1, 50, 2, 2)),
        Layer("wide", "wide", "Conv2d", 1.0, 5000, 0, 1, (1, 5000, 2, 2)),
    ]
    # One draw each from 400 seeds: half fall into either layer, whatever its width.
    drawn = [sample_units(layers, 1, seed=seed)[0] for seed in range(400)]
    counts = Counter(unit.layer for unit in drawn)
    assert abs(counts["narrow"] - 200) < 5 * np.sqrt(400 / 4)
    channels = [unit.channel for unit in drawn if unit.layer == "wide"]
    assert abs(np.mean(channels) - 2500) < 5 * 5000 / np.sqrt(12 * len(channels))
    sample = sample_units(layers, 60, seed=0)
    assert len(set(sample)) == 60
    assert sample == sample_units(layers, 60, seed=0)
    assert sample[:20] == sample_units(layers, 20, seed=0)
    with pytest.raises(NotEnoughDataError, match="found 6000, wanted 1 to 5050"):
        sample_units(layers, 6000, seed=0)


def test_units_are_checked() -> None:
    layers = [Layer("v_a_0", "a.0", "Conv2d", 0.0, 4, 0, 1, (1, 4, 2, 2))]
    assert check_units(layers, [Unit("a.0", 3), Unit("v_a_0", 3)]) == (Unit("v_a_0", 3),)
    with pytest.raises(NetworkError, match="found channel 4, wanted 0 to 3"):
        check_units(layers, [Unit("v_a_0", 4)])
    with pytest.raises(UnknownNameError, match="unknown layer: found 'a_1'"):
        check_units(layers, [Unit("a_1", 0)])
    with pytest.raises(NetworkError, match="wanted layer__channel"):
        Unit.parse("layer1_0_conv1")


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("googlenet", {}, "weights are absent: googlenet: .* inception5h.pth"),
        ("resnet50-l2", {}, "weights are absent: resnet50-l2"),
        ("timm:test_resnet?input_size=32", {"checkpoint": "none"}, "no weights: .*no such file"),
        ("timm:test_resnet?input_size=32", {"checkpoint": "bad"}, "not a safetensors file"),
        ("timm:test_resnet?input_size=32", {"checkpoint": "other"}, "no such tensor"),
        (
            "timm:test_resnet?input_size=32&num_classes=7",
            {"checkpoint": "good"},
            r"tensor 'fc.weight': found shape \(5, 96\), wanted shape \(7, 96\)",
        ),
        ("timm:test_resnet?colour=red", {"pretrained": False}, "cannot be built"),
        ("timm:test_vit?input_size=30", {"pretrained": False}, "does not run on its input"),
        ("open_clip:RN50", {}, "no weights named: .*openai"),
    ],
)
def test_bad_networks_get_one_clear_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    options: dict[str, object],
    said: str,
) -> None:
    from safetensors.torch import save_file

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    if "checkpoint" in options:
        path = tmp_path / f"{options['checkpoint']}.safetensors"
        if options["checkpoint"] == "good":
            kept = load_network("timm:test_resnet?num_classes=5", pretrained=False, device="cpu")
            save_file(kept.module.state_dict(), path)
        elif options["checkpoint"] == "other":
            save_file({"other": torch.zeros(2)}, path)
        elif options["checkpoint"] == "bad":
            path.write_bytes(b"not a safetensors file")
        options = {"checkpoint": path}
    with pytest.raises(NetworkError, match=said) as caught:
        load_network(name, device="cpu", **options)
    assert "\n" not in str(caught.value)


def test_unknown_architectures_suggest_known_ones() -> None:
    for name, near in (("timm:test_resnt", "test_resnet"), ("torchvision:resnet5O", "resnet50")):
        with pytest.raises(UnknownNameError, match=f"did you mean '{near}'"):
            load_network(name, pretrained=False)


def test_a_pattern_that_is_none_is_refused_in_one_line() -> None:
    with pytest.raises(NetworkError, match=r"not a pattern for layers.*found '\(' \(missing \)"):
        load_network("timm:test_resnet", pretrained=False, device="meta", layers="(")
