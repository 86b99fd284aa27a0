from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from imi_bench.errors import CardError, InputError, UnknownNameError
from imi_bench.observers.catalogue import load_observer
from imi_bench.vision import card

NINE = {
    "googlenet",
    "densenet_201",
    "resnet50",
    "resnet50-l2",
    "clip-resnet50",
    "wide_resnet50",
    "in1k-vit_b32",
    "clip-vit_b32",
    "convnext_b",
}


def test_the_nine_networks_have_cards_named_after_themselves() -> None:
    assert set(card.names()) == NINE
    assert all(card.card(name).name == name for name in NINE)


def test_covariates_are_complete_and_sourced() -> None:
    table = card.covariates()
    assert set(table["network"]) == NINE
    assert not table.isna().any(axis=None)
    for name in card.COVARIATES:
        assert (table[name] > 0).all()
        assert table[f"{name}_source"].str.len().gt(10).all()
    for family in card.FAMILIES:
        assert table[f"{family}_source"].str.len().gt(10).all()
    assert table["top1"].between(0.5, 1).all()
    assert table["year"].between(2012, 2023).all()


def test_families_agree_with_what_the_networks_are_called(shared: Path) -> None:
    """A ViT is a transformer, CLIP learns from language, the robust one is called robust."""
    networks = json.loads((shared / "imi" / "published.json").read_text())["networks"]
    for row in card.covariates().to_dict("records"):
        label = networks[row["network"]]["label"]
        assert (row["architecture"] == "transformer") == ("ViT" in label)
        assert (row["training"] == "language") == ("CLIP" in label)
        assert (row["training"] == "robust") == ("Robust" in label)


@pytest.mark.whole
def test_covariates_load_no_torch() -> None:
    code = (
        "import sys; from imi_bench.vision.card import covariates; covariates();"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_top1_and_weights_are_the_published_ones(shared: Path) -> None:
    published = json.loads((shared / "imi" / "published.json").read_text())
    table = card.covariates().set_index("network")
    for name, facts in published["networks"].items():
        assert table.loc[name, "top1"] == facts["top1"]
        assert table.loc[name, "label"] == facts["label"]
        weights = card.card(name).weights
        said = published["weights"][name]
        assert any(part and part in said for part in (weights.tag, weights.file)) or (
            weights.origin.split()[1] in said or "Lucid" in said
        )


def test_googlenet_transform_is_255_x_minus_117() -> None:
    asked = card.card("googlenet").preprocessing
    assert asked.mean is not None
    assert asked.std is not None
    for x in (0.0, 0.3, 1.0):
        assert (x - asked.mean[0]) / asked.std[0] == pytest.approx(255 * x - 117)
    assert asked.crop == 229


def test_references_read_as_cards() -> None:
    found, checkpoint = card.resolve(
        "timm:test_resnet?checkpoint=w.safetensors&num_classes=10&input_size=32&mean=.1,.2,.3"
    )
    assert (found.source, found.architecture, found.name) == ("timm", "test_resnet", "test_resnet")
    assert found.arguments == {"num_classes": 10}
    assert found.preprocessing.mean == (0.1, 0.2, 0.3)
    assert (found.preprocessing.crop, found.preprocessing.resize) == (32, None)
    whole, _ = card.resolve("timm:test_resnet?input_size=32&resize=32")
    assert (whole.preprocessing.crop, whole.preprocessing.resize) == (32, 32)
    assert checkpoint == Path("w.safetensors")
    tower, _ = card.resolve("open_clip:RN50?pretrained=openai&name=clip")
    assert (tower.name, tower.weights.tag, tower.layers.prefix) == ("clip", "openai", "visual_")
    assert card.resolve("nets/mine.py:build?width=2.5")[0].architecture == "nets/mine.py:build"


def test_a_card_takes_the_options_of_a_reference(tmp_path: Path) -> None:
    found, checkpoint = card.resolve("resnet50?input_size=64&layers=layer4.*&checkpoint=w.pth")
    own = card.card("resnet50")
    assert (found.preprocessing.crop, found.preprocessing.resize) == (64, 73)
    assert (own.preprocessing.crop, own.preprocessing.resize) == (224, 256)
    assert (found.name, found.layers.pattern, checkpoint) == ("resnet50", "layer4.*", Path("w.pth"))
    named = {
        tag: card.resolve(f"resnet50?pretrained={tag}")[0].name
        for tag in ("IMAGENET1K_V1", "IMAGENET1K_V2")
    }
    assert named == {"IMAGENET1K_V1": "resnet50", "IMAGENET1K_V2": "resnet50.IMAGENET1K_V2"}
    assert card.resolve("resnet50?input_size=64&resize=64")[0].preprocessing.resize == 64
    assert card.resolve("resnet50?pretrained=false")[0].weights.random
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nsource = "timm"\narchitecture = "test_vit"\n')
    assert card.resolve(f"{path}?num_classes=10")[0].arguments == {"num_classes": 10}


def test_networks_take_the_words_of_observers() -> None:
    """Names, not a pattern: a dot in them is a dot."""
    found, _ = card.resolve("open_clip:RN50?image_size=96&layer=visual_layer1_0_conv1,visual_bn.1")
    assert found.preprocessing.crop == 96
    assert found.layers.pattern == r"layer1_0_conv1|bn\.1"
    with pytest.raises(CardError, match="one option by two names"):
        card.resolve("timm:test_resnet?image_size=96&input_size=96")


def test_a_card_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nsource = "timm"\narchitecture = "test_vit"\n')
    assert card.resolve(str(path))[0] == card.NetworkCard(
        name="mine", source="timm", architecture="test_vit"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "not TOML"),
        ('name = "a"\nsource = "timm"', "field 'architecture'"),
        ('name = "a"\nsource = "timm"\narchitecture = "b"\nwidth = 3', "field 'width'"),
        ('name = "a"\nsource = "timm"\narchitecture = "b"\nlayers.pattern = "("', "layers.pattern"),
        ('name = "a/b"\nsource = "timm"\narchitecture = "b"', "field 'name'"),
    ],
)
def test_bad_cards_are_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(CardError, match=said) as caught:
        card.read_card(path)
    assert "bad.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_names_and_options_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'resnet50'"):
        card.resolve("resnt50")
    with pytest.raises(CardError, match="mean"):
        card.resolve("timm:test_resnet?mean=1,2")
    with pytest.raises(CardError, match="cannot be read"):
        card.resolve("nowhere.toml")


def test_networks_and_observers_share_one_language() -> None:
    found, _ = card.resolve("timm:test_resnet?num_classes=10&input_size=32&pretrained=false")
    assert (found.arguments, found.preprocessing.crop) == ({"num_classes": 10}, 32)
    assert found.weights.random
    assert found.weights.tag is None
    assert "random" not in found.model_dump(mode="json")["weights"]
    assert card.resolve("open_clip:RN50?pretrained=openai")[0].weights.tag == "openai"
    for wrong in ("timm:test_resnet?num_classes", "timm:test_resnet?a=1&a=2"):
        with pytest.raises(InputError, match=r"options cannot be read|option given twice"):
            card.resolve(wrong)
        with pytest.raises(InputError, match=r"options cannot be read|option given twice"):
            load_observer(wrong)


def test_random_weights_have_a_seed_in_the_reference_as_observers_have() -> None:
    found, _ = card.resolve("timm:test_resnet?pretrained=false&seed=3")
    assert (found.weights.random, found.weights.seed, found.arguments) == (True, 3, {})
    with pytest.raises(CardError, match="a seed draws random weights: timm:test_resnet"):
        card.resolve("timm:test_resnet?seed=3")
    with pytest.raises(CardError, match="network reference is invalid"):
        card.resolve("timm:test_resnet?pretrained=false&seed=x")
