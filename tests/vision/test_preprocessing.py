"""Inputs are, bit for bit, what the maker's own transform gives, over each whole registry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imi_bench.errors import ImageError, InputError, NetworkError
from imi_bench.vision.card import Preprocessing, resolve
from imi_bench.vision.geometry import versions_of
from imi_bench.vision.loading import load_network
from imi_bench.vision.preprocessing import (
    NO_MAKER,
    Preprocess,
    open_clip_preprocess,
    plain_preprocess,
    timm_preprocess,
    torchvision_preprocess,
)

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.vision

SHAPES = (31, 47), (200, 113)  # height, width


@cache
def photographs() -> tuple[Image.Image, ...]:
    """Smooth pictures that are not square, one small and one large."""
    made = []
    for height, width in SHAPES:
        y, x = np.mgrid[:height, :width] / 20
        waves = [np.sin(x + 2 * y), np.cos(2 * x - y), np.sin(x * y)]
        noise = np.random.default_rng(0).normal(0, 8, (height, width, 3))
        pixels = 128 + 100 * np.stack(waves, axis=-1) + noise
        made.append(Image.fromarray(pixels.clip(0, 255).astype(np.uint8)))
    return tuple(made)


def shrunk(settings: Mapping[str, Any]) -> str:
    """What decides an input, as a key."""
    return repr({name: value for name, value in settings.items() if name != "maker"})


def same(ours: Preprocess, theirs: Any, name: str, *, whole: bool = False) -> None:
    """Equal tensors; or equal pixels, mean and deviation, which is quicker for large inputs."""
    large = not whole and max(ours.size) > 128
    for picture in photographs()[: 1 if large else None]:
        if large and hasattr(theirs, "transforms"):
            *geometry, _, normalize = theirs.transforms
            for step in geometry:
                picture = step(picture)
            assert np.array_equal(ours.geometry(photographs()[0]), picture), name
            assert tuple(torch.as_tensor(ours.mean)) == tuple(torch.as_tensor(normalize.mean)), name
            assert tuple(torch.as_tensor(ours.std)) == tuple(torch.as_tensor(normalize.std)), name
        else:
            assert torch.equal(ours(picture), theirs(picture)), name


def test_pixels_then_normalised_are_the_whole() -> None:
    ours = plain_preprocess()
    for picture in photographs():
        pixels = torch.from_numpy(np.array(ours.pixels(np.asarray(picture))))
        assert torch.equal(ours.normalise(pixels[None])[0], ours(picture))


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_timm_every_tag(whole: bool) -> None:
    import timm
    from timm.data import create_transform, resolve_model_data_config
    from timm.models import get_pretrained_cfg

    seen: dict[str, str] = {}
    tensors: set[tuple[object, ...]] = set()
    names = timm.list_pretrained()
    for name in names:
        config = get_pretrained_cfg(name).to_dict()
        own = resolve_model_data_config(None, pretrained_cfg=config)
        key = repr(sorted(own.items()))
        ours = timm_preprocess(config)
        if key not in seen:  # the same configuration gives the same input
            seen[key] = shrunk(ours.settings)
            values = (ours.mean, ours.std, ours.settings["mode"])
            new = values not in tensors and max(ours.size) <= 256
            same(ours, create_transform(**own), name, whole=whole or new)
            tensors.add(values)
        assert shrunk(ours.settings) == seen[key], name
    assert len(names) > 1500
    assert 100 < len(seen) < 400


def open_clip_tags() -> Iterator[tuple[str, str]]:
    import open_clip

    yield from open_clip.list_pretrained()


def test_open_clip_every_tag() -> None:
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict

    seen: set[str] = set()
    for architecture, tag in open_clip_tags():
        size = open_clip.get_model_config(architecture)["vision_cfg"]["image_size"]
        theirs = merge_preprocess_dict(
            PreprocessCfg(), open_clip.get_pretrained_cfg(architecture, tag)
        )
        theirs["size"] = size
        ours = open_clip_preprocess(architecture, tag)
        assert tag in ours.settings["maker"]
        key = shrunk(ours.settings) + repr(sorted(theirs.items()))
        if key not in seen:
            seen.add(key)
            theirs_whole = image_transform_v2(PreprocessCfg(**theirs), is_train=False)
            same(ours, theirs_whole, tag, whole=max(ours.size) <= 256)
    assert len(seen) > 10


def test_torchvision_every_tag() -> None:
    from torchvision import models

    seen: set[str] = set()
    refused = cropped = 0
    for architecture in models.list_models():
        for weights in models.get_model_weights(architecture):
            preset = weights.transforms()
            if type(preset).__name__ in ("VideoClassification", "OpticalFlow"):
                with pytest.raises(NetworkError, match="does not take single colour images"):
                    torchvision_preprocess(architecture, weights.name)
                refused += 1
                continue
            ours = torchvision_preprocess(architecture, weights.name)
            key = repr(preset) + shrunk(ours.settings)
            if key in seen:
                continue
            seen.add(key)
            if type(preset).__name__ == "ImageClassification":
                same(ours, preset, str(weights))
            else:  # any size there, one size here: the centre of what the maker gives
                cropped += 1
                assert "the centre square" in ours.settings["maker"]
                wide = Image.fromarray(np.full((520, 520, 3), 90, np.uint8))
                fitted = torchvision_preprocess(architecture, weights.name)(wide)
                assert torch.equal(fitted[:, :64, :64], preset(wide)[:, :64, :64])
    assert len(seen) > 20
    assert refused > 5
    assert cropped > 1


def test_what_the_user_asks_for_is_used_and_recorded_beside_the_makers() -> None:
    wanted = Preprocessing(crop=32, resize=40, mean=(0.0, 0.0, 0.0))
    for ours in (
        timm_preprocess({"architecture": "a", "input_size": (3, 64, 64)}, wanted),
        open_clip_preprocess("ViT-B-32", "openai", None, wanted),
        torchvision_preprocess("resnet50", None, wanted),
        plain_preprocess(wanted),
    ):
        assert ours.size == (32, 32)
        assert (ours.settings["size"], ours.settings["resize"]) == ([32, 32], [40, 40])
        assert "mean" in ours.settings["instead_of"]
        picture = photographs()[0]
        assert ours(picture).shape == (3, 32, 32)
    assert timm_preprocess({"architecture": "a"}).settings["instead_of"] == {}
    assert plain_preprocess().settings["maker"] == NO_MAKER


def test_on_a_processor_the_levels_are_looked_up_with_the_bits_of_arithmetic() -> None:
    batch = torch.arange(256 * 6, dtype=torch.int64).view(2, 16, 16, 3).remainder(256).byte()
    for mean, std in (((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ((0.0,) * 3, (1.0,) * 3)):
        ours = plain_preprocess(Preprocessing(crop=16, mean=mean, std=std))
        values = batch.permute(0, 3, 1, 2).float() / torch.tensor([255.0])
        wanted = (values - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)
        assert torch.equal(ours.normalise(batch), wanted)
        assert ours.normalise(batch).stride() == wanted.stride()


def test_one_geometry_has_one_record_whoever_the_maker() -> None:
    config = {"architecture": "a", "crop_pct": 224 / 256, "interpolation": "bilinear"}
    theirs = torchvision_preprocess("resnet50", "IMAGENET1K_V1")
    assert timm_preprocess(config).geometry.record == theirs.geometry.record
    assert plain_preprocess(Preprocessing(resize=256)).geometry.record == theirs.geometry.record
    clip = open_clip_preprocess("ViT-B-32", "openai")
    assert plain_preprocess(Preprocessing(interpolation="bicubic")).geometry == clip.geometry
    squashed = timm_preprocess({**config, "crop_mode": "squash"})
    assert squashed.geometry.record != theirs.geometry.record
    assert "timm" in versions_of(squashed.geometry)


@pytest.mark.parametrize("length", range(32, 64, 3))
def test_a_wanted_length_is_kept_in_timms_way(length: int) -> None:
    ours = timm_preprocess(
        {"architecture": "a", "crop_mode": "squash"}, Preprocessing(crop=32, resize=length)
    )
    picture = photographs()[1]
    assert ours.geometry(picture).size == (32, 32)
    resized = picture.resize((length, length), Image.Resampling.BICUBIC)
    start = round((length - 32) / 2)
    cut = resized.crop((start, start, start + 32, start + 32))
    assert np.array_equal(np.asarray(ours.geometry(picture)), np.asarray(cut))


def test_a_picture_that_scales_to_no_end_is_refused() -> None:
    with pytest.raises(ImageError, match=r"image too narrow to be scaled: an image of 1 x 5000000"):
        plain_preprocess().geometry(Image.new("L", (1, 50_000_000)))


def test_an_input_size_keeps_the_makers_margin() -> None:
    network = load_network("timm:resnet18", device="meta", input_size=112)
    assert network.record["preprocess"]["size"] == [112, 112]
    assert network.record["preprocess"]["resize"] == [117, 117]  # 0.95 of it is seen
    assert network.record["preprocess"]["instead_of"] == {"size": [224, 224], "resize": [235, 235]}


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("open_clip:ViT-B-16-SigLIP?pretrained=webli", {"mode": "squash", "mean": [0.5] * 3}),
        pytest.param(
            "open_clip:MobileCLIP-S1?pretrained=datacompdr",
            {"mean": [0.0] * 3, "std": [1.0] * 3},
            marks=pytest.mark.slow,
        ),
        ("torchvision:efficientnet_b0", {"size": [224, 224], "interpolation": "bicubic"}),
        ("torchvision:swin_v2_t", {"size": [256, 256], "resize": [260, 260]}),
        ("timm:beit_base_patch16_224", {"size": [224, 224], "interpolation": "bicubic"}),
    ],
)
def test_networks_are_loaded_with_their_makers_preprocessing(
    reference: str, expected: dict[str, Any]
) -> None:
    record = load_network(reference, device="meta").record["preprocess"]
    assert {name: record[name] for name in expected} == expected
    assert record["instead_of"] == {}


def test_quick_gelu_is_that_of_open_clips_configuration_for_every_tag() -> None:
    import open_clip

    from imi_bench.vision.weights import quick_gelu

    flags = {
        (architecture, tag): quick_gelu(architecture, tag, asked=None, trained=True)
        for architecture, tag in open_clip_tags()
    }
    for (architecture, tag), flag in flags.items():
        tagged = bool(open_clip.get_pretrained_cfg(architecture, tag).get("quick_gelu"))
        own = bool(open_clip.get_model_config(architecture).get("quick_gelu"))
        assert flag is (tagged or own)
    assert flags["ViT-B-32", "openai"]
    assert not flags["ViT-B-32", "laion2b_s34b_b79k"]


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ("pretrained=openai", "QuickGELU"),
        ("pretrained=laion2b_s34b_b79k", "GELU"),
        ("quick_gelu=true", "QuickGELU"),
        ("", "GELU"),
    ],
)
def test_networks_have_the_activation_function_of_their_tag(options: str, kind: str) -> None:
    network = load_network(f"open_clip:ViT-B-32?{options}", device="meta")
    found = {type(m).__name__ for m in network.module.modules() if "GELU" in type(m).__name__}
    assert found == {kind}


def test_a_checkpoint_without_a_tag_is_refused_where_the_activation_is_not_known(
    tmp_path: Any,
) -> None:
    from imi_bench.observers.catalogue import load_observer

    path = tmp_path / "w.safetensors"
    path.touch()
    for read in (load_observer, load_network):
        with pytest.raises(NetworkError, match="activation function of the weights is not known"):
            read(f"open_clip:ViT-B-32?checkpoint={path}")


@pytest.mark.whole
def test_a_card_of_the_paper_says_where_it_departs_from_todays_maker() -> None:
    card, _ = resolve("convnext_b")
    record = load_network(card, device="meta").record["preprocess"]
    assert record["maker"] == "timm: convnext_base.fb_in1k"
    assert record["instead_of"] == {"interpolation": "bicubic"}


@pytest.mark.parametrize("size", [0, -5])
def test_an_input_size_of_nothing_is_refused(size: int) -> None:
    with pytest.raises(InputError, match="input_size"):
        load_network("timm:test_resnet", device="meta", input_size=size)
