"""Two references to networks that differ have two names; what changes nothing changes none."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from imi_bench.errors import ImiBenchError, InputError
from imi_bench.networks.recipe import PassRecipe
from imi_bench.vision.card import Preprocessing
from imi_bench.vision.loading import load_network

torch = pytest.importorskip("torch")
nn = torch.nn
pytestmark = pytest.mark.vision

SCALING: dict[str, Any] = {
    "crop": ["input_size=64", "image_size=96"],
    "resize": ["resize=200"],
    "mode": ["mode=squash"],
    "interpolation": ["interpolation=nearest"],
    "mean": ["mean=0.1,0.2,0.3", "mean=0.3,0.2,0.1"],
    "std": ["std=0.1,0.2,0.3"],
}
OTHERS = ["num_classes=7", "drop_rate=0.5", "output_stride=16", "in_chans=3&num_classes=7"]


def name_of(reference: Any, **options: Any) -> str:
    return load_network(reference, device="meta", **options).name


@pytest.mark.whole
@pytest.mark.parametrize("base", ["timm:test_resnet", "torchvision:squeezenet1_1"])
def test_every_option_of_a_reference_is_in_its_name(base: str) -> None:
    assert SCALING.keys() == Preprocessing.model_fields.keys()
    asked = [one for ways in SCALING.values() for one in ways]
    asked += OTHERS if base.startswith("timm") else []
    asked += ["pretrained=false", "pretrained=false&seed=3", "checkpoint=a.pth", "checkpoint=b.pth"]
    names = {one: name_of(f"{base}?{one}" if one else base) for one in ("", *asked)}
    for one, other in combinations(names, 2):
        assert names[one] != names[other], (one, other)


@pytest.mark.whole
def test_one_network_has_one_name_however_it_is_asked_for() -> None:
    base = "timm:test_resnet"
    small = name_of(f"{base}?input_size=64")
    assert small == "test_resnet-input_size.64"
    assert small == name_of(f"{base}?image_size=64") == name_of(base, input_size=64)
    assert name_of(f"{base}?mean=1,1,1&resize=99") == name_of(f"{base}?resize=99&mean=1,1,1")
    # what its maker does anyway, which layers are followed, and another's word
    assert name_of(f"{base}?input_size=160") == name_of(f"{base}?layers=bn1") == name_of(base)
    assert name_of(f"{base}?name=mine&input_size=64") == "mine"


@pytest.mark.whole
def test_a_card_with_options_is_not_the_papers_network() -> None:
    names = {one: name_of(f"resnet50?{one}") for one in ("input_size=64", "input_size=224", "")}
    assert names == {
        "input_size=64": "resnet50-input_size.64",
        "input_size=224": "resnet50",
        "": "resnet50",
    }


def test_networks_of_ones_own_are_told_apart_by_code_and_weights(tmp_path: Path) -> None:
    code = (
        "import torch\ndef make(width=2):\n"
        "    return torch.nn.Sequential(torch.nn.Conv2d(3, width, 3))\n"
    )
    named = set()
    for folder, text in (("a", code), ("b", code + "# another\n")):
        path = tmp_path / folder / "net.py"
        path.parent.mkdir()
        path.write_text(text)
        named |= {load_network(f"{path}:make{end}", device="cpu").name for end in ("", "?width=3")}
    assert len(named) == 4
    assert all(name.startswith("net.make-") for name in named)
    both = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        both.append(load_network(nn.Sequential(nn.Conv2d(3, 2, 3)), device="cpu", input_size=32))
    assert len({one.name for one in both}) == 2
    module = nn.Sequential(nn.Conv2d(3, 2, 3))
    assert load_network(module, device="cpu", name="mine").name == "mine"


def test_an_edit_of_a_networks_file_is_another_network(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    records = []
    for act in ("ReLU", "GELU"):  # the same weights
        path.write_text(
            "import torch\ndef make():\n    torch.manual_seed(0)\n"
            f"    return torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.{act}())\n"
        )
        records.append(load_network(f"{path}:make", device="cpu").record)
    assert records[0]["state_sha256"] == records[1]["state_sha256"]
    assert records[0]["code"] != records[1]["code"]


@pytest.mark.whole
def test_two_files_of_one_name_are_two_networks(tmp_path: Path) -> None:
    import timm

    names = []
    for seed in (1, 2):
        path = tmp_path / str(seed) / "last.pth"
        path.parent.mkdir()
        torch.manual_seed(seed)
        torch.save(timm.create_model("test_resnet").state_dict(), path)
        names.append(load_network(f"timm:test_resnet?checkpoint={path}", device="cpu").name)
    assert len(set(names)) == 2
    assert all(name.startswith("test_resnet-last.") for name in names)


def test_what_would_be_lost_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import torch\ndef make():\n    return torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3))\n"
    )
    own, base = f"{tmp_path / 'net.py'}:make", "timm:test_resnet"
    refused: list[tuple[Any, dict[str, Any], str]] = [
        (f"{base}?input_size=32", {"input_size": 64}, "one option twice"),
        (f"{base}?image_size=32", {"input_size": 64}, "one option twice"),
        (f"{base}?layer=bn1", {"layers": "bn1"}, "one option twice"),
        (f"{base}?checkpoint=a.pth", {"checkpoint": Path("b.pth")}, "one option twice"),
        (f"{base}?name=a", {"name": "b"}, "one option twice"),
        (own, {"pretrained": False}, "random weights of a network that brings its own"),
        (nn.Conv2d(3, 2, 3), {"pretrained": False}, "random weights of a network"),
        (f"{own}?pretrained=false", {}, r"unexpected keyword argument .pretrained."),
        ("open_clip:RN50?pretrained=openai&quick_gelu=true", {}, "option without effect"),
    ]
    for reference, options, line in refused:
        with pytest.raises(ImiBenchError, match=line) as caught:
            load_network(reference, device="meta", **options)
        assert "\n" not in str(caught.value)
    loaded = load_network(own, device="cpu", input_size=32)
    for options in ({"pretrained": False}, {"device": "cuda"}, {"layers": "0"}):
        with pytest.raises(InputError, match="a network that is loaded already"):
            PassRecipe(loaded, None, **options).open_network()
