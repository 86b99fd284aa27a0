"""Layers of many architectures against hooks of torch's own, and nothing left out unsaid."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from support.benchmark_scripts import benchmark

from imi_bench.errors import ImiBenchError
from imi_bench.vision.card import LayerRule
from imi_bench.vision.layers import Layer
from imi_bench.vision.loading import LoadedNetwork, load_network

torch = pytest.importorskip("torch")
listing = pytest.importorskip("imi_bench.vision.listing")
nn = torch.nn
pytestmark = pytest.mark.vision

CHANNELS_FIRST = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
)
REASONS = (
    "classifier head",
    "never runs as a module of its own",
    "runs ",
    "its output is no tensor",
    "its output does not grow with the number of images",
    "other images of the batch, or chance, change its output",
    "its own weights are no ",
    "its parameters have ",
    "normalises over axes of ",
)


def candidates(module: Any) -> set[str]:
    """Convolutions, linear maps and normalisations with parameters, by their class.

    A module named so that holds another of them is a block (ConvNeXt's).
    """
    named = {
        path
        for path, part in module.named_modules()
        if path
        and any(kind in type(part).__name__ for kind in ("Conv", "Linear", "Norm"))
        and any(True for _ in part.parameters(recurse=False))
    }
    return {one for one in named if not any(other.startswith(f"{one}.") for other in named)}


def says_what_it_leaves_out(network: LoadedNetwork) -> None:
    listed = {layer.path for layer in network.layers}
    names = {one.name for one in network.left_out if not one.reason.startswith("its own weights")}
    assert len(listed) + len(names) == len(candidates(network.module))
    assert all(one.reason.startswith(REASONS) for one in network.left_out)
    for layer in network.layers:
        part = network.module.get_submodule(layer.path)
        sizes = {size for p in part.parameters(recurse=False) for size in p.shape}
        assert layer.width in sizes, layer


def plainly(network: LoadedNetwork, images: Any) -> dict[str, Any]:
    """Mean over positions of every plain torch module, by its class's documented axes."""
    found: dict[str, Any] = {}

    def keep(path: str, part: Any) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            if isinstance(part, CHANNELS_FIRST) or "2d" in type(part).__name__:
                rows = output.flatten(2).mean(2) if output.ndim > 2 else output
            elif output.ndim == 3 and output.shape[1] == len(images) != output.shape[0]:
                rows = output.mean(0)  # the sequence first
            else:
                rows = output.flatten(1, -2).mean(1) if output.ndim > 2 else output
            found[path] = rows.unflatten(0, (len(images), -1)).mean(1)

        return hook

    handles = [
        network.module.get_submodule(layer.path).register_forward_hook(
            keep(layer.path, network.module.get_submodule(layer.path))
        )
        for layer in network.layers
        if "Block" not in layer.type
    ]
    with torch.inference_mode():
        network.module(images)
    for handle in handles:
        handle.remove()
    return found


def reduced(network: LoadedNetwork, images: Any) -> dict[str, Any]:
    from imi_bench.vision.layers import hooked

    by_path = {layer.path: layer for layer in network.layers}
    found: dict[str, Any] = {}

    def seen(path: str, output: Any) -> None:
        found[path] = by_path[path].reduce(output)
        maps = by_path[path].maps(output)
        assert maps.shape[:2] == (len(images), by_path[path].width)

    with hooked(network.module, by_path, seen), torch.inference_mode():
        network.module(images)
    return found


SWIN = "embed_dim=24&img_size=56"
QUICK = [
    "timm:test_vit2",
    "timm:test_convnext2?input_size=64",
    "timm:test_mambaout?input_size=32",
    "timm:test_byobnet?input_size=32",
    f"timm:swin_tiny_patch4_window7_224?{SWIN}&input_size=56",
    "timm:mobilevitv2_050?input_size=64",
    "torchvision:squeezenet1_1?input_size=64",
]
LONGER = [
    "timm:test_resnet?input_size=32",
    "timm:test_vit",
    "timm:test_efficientnet?input_size=32",
    f"timm:swinv2_tiny_window8_256?{SWIN.replace('56', '64')}&input_size=64",
    "timm:levit_128s",
    "timm:mobilevit_xxs?input_size=64",
    "timm:xcit_nano_12_p16_224?input_size=64",
    "timm:tnt_s_legacy_patch16_224",
    "timm:davit_tiny?input_size=64",
    "timm:maxvit_rmlp_pico_rw_256",
    "timm:vit_base_patch16_xp_224",
    "torchvision:shufflenet_v2_x0_5?input_size=64",
    "torchvision:mnasnet0_5?input_size=64",
    "torchvision:swin_t?input_size=64",
]


@pytest.mark.parametrize(
    "reference", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in LONGER)]
)
def test_activations_are_those_of_independent_hooks(reference: str) -> None:
    network = load_network(reference, pretrained=False, device="cpu")
    says_what_it_leaves_out(network)
    images = torch.rand((3, 3, *network.preprocess.size), generator=torch.manual_seed(0))
    ours, theirs = reduced(network, images), plainly(network, images)
    assert len(theirs) > 5
    for path, wanted in theirs.items():
        torch.testing.assert_close(ours[path], wanted, rtol=1e-4, atol=1e-5, msg=path)


@pytest.mark.parametrize(
    ("reference", "count", "some"),
    [
        ("timm:swin_tiny_patch4_window7_224", 81, {}),
        ("torchvision:vit_b_16", 50, {"heads_head": "classifier head"}),
        ("torchvision:vgg11", 10, {"classifier_6": "classifier head"}),
        ("timm:beit_base_patch16_224", 62, {"blocks_0_attn_qkv": "never runs"}),
        ("open_clip:ViT-B-32", 51, {"visual_transformer_resblocks_0_attn_out_proj": "never runs"}),
        ("torchvision:regnet_y_400mf", None, {}),
        pytest.param("timm:inception_resnet_v2", None, {}, marks=pytest.mark.whole),
    ],
)
def test_layers_left_out_are_named_with_a_reason(
    reference: str, count: int | None, some: dict[str, str]
) -> None:
    network = load_network(reference, device="meta")
    assert count is None or len(network.layers) == count
    said = {one.name: one.reason for one in network.left_out}
    assert {name: said[name].startswith(reason) for name, reason in some.items()} == dict.fromkeys(
        some, True
    )
    assert network.record["left_out"][:1] == [vars(one) for one in network.left_out[:1]]
    says_what_it_leaves_out(network)


@pytest.mark.parametrize("size", [56, 112, 224])
def test_the_number_of_layers_does_not_depend_on_the_input_size(size: int) -> None:
    network = load_network(
        f"timm:swin_tiny_patch4_window7_224?img_size={size}&input_size={size}", device="meta"
    )
    assert len(network.layers) == 81


class Scale(nn.Module):
    """A normalisation by another's class, which bears the name and says no axis."""

    def __init__(self, units: int, *, first: bool) -> None:
        super().__init__()
        self.weight, self.first = nn.Parameter(torch.ones(units)), first

    def forward(self, x: Any) -> Any:
        return x * (self.weight.view(-1, 1, 1) if self.first else self.weight)


class ScaleNorm(Scale):
    pass


class FirstLayerNorm(nn.LayerNorm):
    def forward(self, x: Any) -> Any:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("side", [32, 64])
def test_as_many_positions_as_units_lose_no_layer_and_swap_no_axis(side: int, device: str) -> None:
    """At 64 pixels the map has 16 channels and 16 x 16 positions."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 16, 4, stride=4)
            self.first, self.derived = ScaleNorm(16, first=True), FirstLayerNorm(16)
            self.last = ScaleNorm(16, first=False)

        def forward(self, x: Any) -> Any:
            x = self.derived(self.first(self.stem(x)))
            return self.last(x.permute(0, 2, 3, 1)).mean((1, 2))

    found = listing.list_layers(Net().to(device).eval(), rule=LayerRule(), size=(side, side))
    axes: dict[str, int] = {layer.name: layer.channel_axis for layer in found.layers}
    assert axes == {"stem": 1, "first": 1, "derived": 1, "last": 3}
    assert not found.left_out


class Odd(nn.Module):
    """Every form whose axes have been read wrongly, and what cannot be read."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.group = nn.GroupNorm(4, 16)
        self.instance = nn.InstanceNorm1d(16, affine=True, track_running_stats=True)
        self.cube, self.cube_norm = nn.Conv3d(16, 6, 1), nn.BatchNorm3d(6)
        self.last_norm = nn.LayerNorm(16)  # on (B, 16, 16, 16): as many channels as rows
        self.twice = nn.Linear(16, 16)
        self.query_norm = nn.LayerNorm(4)
        self.table = nn.Linear(2, 3)
        self.unused = nn.Linear(2, 2)
        self.both = nn.LayerNorm((16, 16))
        self.head = nn.Linear(16, 5)

    def forward(self, x: Any) -> Any:
        x = self.first(x)
        tokens = self.instance(self.group(x.flatten(2)))
        self.cube_norm(self.cube(x.unsqueeze(2)))
        self.both(x)
        y = self.last_norm(x.permute(0, 2, 3, 1))
        y = self.twice(self.twice(y))
        self.query_norm(tokens.transpose(1, 2).unflatten(2, (4, 4)).transpose(1, 2))
        self.table(torch.zeros(7, 2, device=x.device))
        return self.head(y.mean((1, 2)))


def odd() -> Any:
    return listing.list_layers(Odd().eval(), rule=LayerRule(), size=(16, 16))


def test_units_are_those_of_the_modules_own_parameters() -> None:
    found = {layer.name: layer for layer in odd().layers}
    forms: dict[str, tuple[int, int, bool]] = {
        "first": (16, 1, True),
        "group": (16, 1, False),
        "instance": (16, 1, False),
        "cube": (6, 1, False),
        "cube_norm": (6, 1, False),
        "last_norm": (16, 3, True),
        "query_norm": (4, 3, False),
    }
    assert {
        name: (layer.width, layer.channel_axis, layer.spatial) for name, layer in found.items()
    } == forms


def test_what_cannot_be_read_is_left_out_with_its_reason() -> None:
    assert {one.name: one.reason for one in odd().left_out} == {
        "twice": "runs 2 times for an image",
        "table": "its output does not grow with the number of images",
        "unused": "never runs as a module of its own",
        "both": "normalises over axes of (16, 16) together",
        "head": "classifier head",
    }


class Mixer(nn.Module):
    """Mixes positions of what is normalised over channels, over which the mean then runs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 32, 4, stride=4), nn.LayerNorm(32)
        self.mix = nn.Linear(16, 24)

    def forward(self, x: Any) -> Any:
        x = self.norm(self.stem(x).flatten(2).transpose(1, 2))
        return self.mix(x.transpose(1, 2)).mean((1, 2))


def test_what_differs_between_images_by_rounding_alone_is_left_out() -> None:
    network = Mixer().eval()
    found = listing.list_layers(network, rule=LayerRule(), size=(16, 16))
    assert [layer.name for layer in found.layers] == ["stem", "norm"]
    assert [one.reason for one in found.left_out] == [
        "its mean over positions is one constant of its own"
    ]
    with torch.no_grad():
        network.norm.weight.uniform_(0.5, 2, generator=torch.Generator().manual_seed(0))
    trained = listing.list_layers(network, rule=LayerRule(), size=(16, 16))
    assert [layer.name for layer in trained.layers] == ["stem", "norm", "mix"]


class Mixed(nn.Module):
    """Windows of all images one after another, those of an image not together."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.windows = nn.Conv2d(3, 4, 1), nn.Linear(4, 6)

    def forward(self, x: Any) -> Any:
        x = self.first(x).flatten(2).permute(2, 0, 1)  # positions, images, channels
        return self.windows(x.flatten(0, 1)).mean()


def test_rows_that_belong_to_several_images_are_left_out() -> None:
    found = listing.list_layers(Mixed().eval(), rule=LayerRule(), size=(4, 4))
    assert [layer.name for layer in found.layers] == ["first"]
    assert found.left_out[0].reason.startswith("other images of the batch")


def test_depth_is_that_of_the_whole_network_whichever_layers_are_chosen() -> None:
    whole = load_network("timm:test_resnet", device="meta")
    some = load_network("timm:test_resnet", device="meta", layers="layer[23].*conv1")
    depths: dict[str, float] = {layer.name: layer.depth for layer in whole.layers}
    assert some.layers
    assert {layer.name: layer.depth for layer in some.layers} == {
        layer.name: depths[layer.name] for layer in some.layers
    }
    blocks: tuple[Layer, ...] = load_network(
        "timm:test_resnet", device="meta", layers=r"layer\d_\d"
    ).layers
    assert all(0 < layer.depth < 1 or layer is blocks[-1] for layer in blocks)


@pytest.mark.whole
def test_two_tags_and_two_files_of_one_architecture_have_two_names() -> None:
    names = {
        load_network(reference, device="meta").name
        for reference in (
            "open_clip:RN50?pretrained=openai",
            "open_clip:RN50?pretrained=yfcc15m",
            "torchvision:resnet18?pretrained=IMAGENET1K_V1",
            "timm:test_resnet?checkpoint=one.safetensors",
            "timm:test_resnet?checkpoint=two.safetensors",
            "timm:test_resnet?checkpoint=test_resnet.safetensors",
            "resnet50?checkpoint=mine.safetensors",
            "resnet50?checkpoint=resnet50-0676ba61.pth",
            "googlenet?checkpoint=inception5h.pth",
        )
    }
    assert names == {
        "RN50.openai",
        "RN50.yfcc15m",
        "resnet18.IMAGENET1K_V1",
        "test_resnet-one",
        "test_resnet-two",
        "test_resnet",
        "resnet50-mine",  # its accuracy and training are not the card's
        "resnet50",
        "googlenet",
    }


@pytest.mark.whole
@pytest.mark.parametrize("network", ["timm:test_resnet", "resnet50", "clip-resnet50"])
def test_depth_does_not_depend_on_how_layers_are_picked_or_the_network_called(network: str) -> None:
    picked = "layer4_.*conv1"
    whole = {one.name: one.depth for one in load_network(network, device="meta").layers}
    for reference, layers in (
        (f"{network}?layers={picked}", None),
        (f"{network}?name=mine&layers={picked}", None),
        (f"{network}?name=mine", picked),
    ):
        found = load_network(reference, device="meta", layers=layers).layers
        assert found
        assert {one.name: one.depth for one in found}.items() <= whole.items(), reference


def test_what_ends_in_a_layer_keeps_its_axis_where_there_are_as_many_positions() -> None:
    from timm.layers import ConvNormAct

    for side in (16, 24):
        module = nn.Sequential(ConvNormAct(3, 8, 3), ConvNormAct(8, 16, 3, stride=2))
        found = load_network(module, device="cpu", input_size=side * 2, layers="1", name="x")
        assert [(one.width, one.channel_axis) for one in found.layers] == [(16, 1)], side


class Particular(nn.Module):
    """Refuses images beyond black and some white."""

    def __init__(self, most: float) -> None:
        super().__init__()
        self.most = most
        self.first = nn.Conv2d(3, 2, 3)

    def forward(self, x: Any) -> Any:
        if x.min() < 0 or x.max() > self.most:
            raise AssertionError
        return self.first(x)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (nn.Sequential(nn.Conv2d(1, 2, 3)), "takes 1 channel.*wrap it in a module"),
        (nn.Bilinear(3, 3, 2), "takes several inputs: wrap it"),
        (
            Particular(0.5),
            "found AssertionError: raise AssertionError.*its own code refuses the images",
        ),
    ],
)
def test_networks_of_another_input_get_a_remedy(module: Any, said: str) -> None:
    with pytest.raises(ImiBenchError, match=said):
        load_network(module, device="cpu", input_size=8)


@pytest.mark.whole
@pytest.mark.parametrize("tag", ["vit_b_16?pretrained=IMAGENET1K_SWAG_E2E_V1", "vit_h_14"])
def test_torchvisions_transformers_have_the_size_of_their_weights_without_them(tag: str) -> None:
    network = load_network(f"torchvision:{tag}", device="meta")
    assert network.module.image_size == network.preprocess.size[0] > 224


@pytest.mark.whole
def test_a_text_tower_that_is_not_there_is_not_called_weights() -> None:
    with pytest.raises(ImiBenchError, match=r"text tower cannot be fetched.*HF_HOME"):
        load_network("open_clip:roberta-ViT-B-32", device="meta")


def test_a_grey_network_of_the_registry_gets_the_same_remedy() -> None:
    with pytest.raises(ImiBenchError, match=r"takes 1 channel.*wrap it in a module"):
        load_network("timm:test_resnet?in_chans=1", device="meta")


def test_a_network_that_checks_the_range_of_its_input_is_listed_within_it() -> None:
    network = load_network(Particular(1), device="cpu", input_size=8, name="particular")
    assert [layer.name for layer in network.layers] == ["first"]


def test_half_precision_runs_in_single_and_says_so() -> None:
    module = nn.Sequential(nn.Conv2d(3, 2, 3)).half()
    network = load_network(module, device="cpu", input_size=8, name="half")
    assert "weights of float16 run in float32" in network.remarks
    with pytest.raises(ImiBenchError, match="not a name for a network: found 'my net'"):
        load_network(module, device="cpu", name="my net")


@pytest.mark.slow
@pytest.mark.parametrize("source", ["timm", "torchvision", "open_clip"])
def test_the_whole_registry_says_what_it_leaves_out(source: str, tmp_path: Path) -> None:
    """Structure alone, on the meta device; what does not run says so in one line."""
    script = benchmark("registry_listing")
    store, names = tmp_path / "registry.jsonl", script.architectures(source)
    for name in names:
        script.sweep(source, name, Namespace(store=store, largest=4e8), script.listed)
    rows = script.kept(store).values()
    assert len(rows) == len(names)
    assert not [row for row in rows if row.get("surprises") or row["outcome"] == "fault"]
    refused = {row["name"]: row["said"] for row in rows if row["outcome"] == "refused"}
    assert not [said for said in refused.values() if "\n" in said]
    assert len(refused) < 0.2 * len(names), refused


@pytest.mark.whole
@pytest.mark.parametrize(
    ("name", "heads"), [("ssdlite320_mobilenet_v3_large", 12), ("lraspp_mobilenet_v3_large", 2)]
)
def test_no_head_of_a_detection_or_segmentation_network_is_a_layer(name: str, heads: int) -> None:
    network = load_network(
        f"torchvision:{name}?input_size=96&num_classes=11", pretrained=False, device="cpu"
    )
    left = [one.name for one in network.left_out if one.reason == "classifier head"]
    assert len(left) == heads
    assert not [layer.name for layer in network.layers if layer.width % 11 == 0]
