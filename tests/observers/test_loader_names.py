"""Every option of every loader is in the name and the fingerprint, or is refused as idle."""

from __future__ import annotations

import inspect
import json
from importlib import import_module
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from imi_bench.errors import ImiBenchError, InputError
from imi_bench.observers import catalogue
from imi_bench.observers.card import cards
from imi_bench.observers.encoders import from_timm
from imi_bench.observers.protocol import fingerprint

OTHERWISE: dict[str, list[str]] = {
    "image_size": ["image_size=64"],
    "num_classes": [],  # says what a checkpoint's classifier has; its features are not changed
    "mean": ["mean=0.1,0.2,0.3"],
    "std": ["std=0.1,0.2,0.3"],
    "layer": ["layer=LAYER"],
    "spatial": ["layer=LAYER&spatial=max", "layer=LAYER&spatial=gem"],
    "power": ["layer=LAYER&spatial=gem&power=2"],
    "pooling": ["pooling=max", "pooling=softmax"],
    "similarity": ["similarity=l2"],
    "temperature": ["pooling=softmax&temperature=0.5"],
    "dtype": ["dtype=bf16"],
    "seed": ["seed=3"],
    "quick_gelu": ["quick_gelu=true"],
    "size": ["size=16"],
    "window": ["window=9"],
    "side": ["side=second"],
}
"""What else each option may be, with the options that read it; none: nothing reads it."""
IDLE = {
    "power": ["power=2", "layer=LAYER&power=2", "layer=LAYER&spatial=max&power=2"],
    "spatial": ["spatial=max"],
    "temperature": ["temperature=0.5", "pooling=max&temperature=0.5"],
}
BY_LIBRARY = {
    library: f"imi_bench.observers.encoders:from_{library}"
    for library in ("timm", "open_clip", "torchvision")
}
NOT_ASKED = {"architecture", "name", "checkpoint", "weights", "pretrained", "device"}


def loader_of(name: str) -> Any:
    base = name.partition("?")[0]
    scheme = base.partition(":")[0]
    found = cards()[base].loader if base in cards() else BY_LIBRARY[scheme]
    module, _, attribute = found.partition(":")
    return getattr(import_module(module), attribute)


def references(base: str, layer: str, table: dict[str, list[str]]) -> list[str]:
    options = inspect.signature(loader_of(base)).parameters.keys() - NOT_ASKED
    unknown = options - OTHERWISE.keys()
    assert not unknown, f"options that this test does not know: {unknown}"
    told = [one for name in sorted(options & table.keys()) for one in table[name]]
    joint = "&" if "?" in base else "?"
    return [f"{base}{joint}{one.replace('LAYER', layer)}" for one in told]


def require_told_apart(base: str, layer: str = "") -> None:
    asked = [base, *references(base, layer, OTHERWISE)]
    made = [catalogue.load_observer(one, device="cpu") for one in asked]
    for (one, first), (other, second) in combinations(zip(asked, made, strict=True), 2):
        assert first.name != second.name, (one, other)
        assert fingerprint(first) != fingerprint(second), (one, other)
    for idle in references(base, layer, IDLE):
        with pytest.raises(InputError, match=r"option without effect|no layer to pool"):
            catalogue.load_observer(idle, device="cpu")


@pytest.mark.parametrize("base", ["pixel-cosine", "classical", "ssim", "chance", "one-side"])
def test_options_of_light_observers_are_told_or_refused(base: str) -> None:
    require_told_apart(base)


@pytest.mark.whole
@pytest.mark.vision
@pytest.mark.parametrize(
    ("base", "layer"),
    [
        ("timm:test_resnet?pretrained=false", "conv1_0"),
        ("torchvision:squeezenet1_1?pretrained=false", "features_0"),
        ("open_clip:a-tiny-clip?pretrained=false", "ln_post"),
    ],
)
def test_options_of_encoders_are_told_or_refused(base: str, layer: str, tmp_path: Path) -> None:
    import open_clip

    vision = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8}
    text = {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1}
    path = tmp_path / "a-tiny-clip.json"
    path.write_text(json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(path)
    require_told_apart(base, layer)


@pytest.mark.whole
@pytest.mark.vision
def test_two_files_of_one_name_are_two_observers(tmp_path: Path) -> None:
    import timm
    import torch
    from safetensors.torch import save_file

    made = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        path = tmp_path / str(seed) / "last.safetensors"
        path.parent.mkdir()
        save_file(timm.create_model("test_resnet").state_dict(), path)
        reference = f"timm:test_resnet?checkpoint={path}"
        made.append(catalogue.load_observer(reference, device="cpu"))
        assert from_timm("test_resnet", checkpoint=path, device="cpu").name == made[-1].name
    assert made[0].name != made[1].name
    assert all(str(tmp_path) not in one.name for one in made)


@pytest.mark.vision
def test_what_a_call_says_beside_a_reference_is_in_the_name() -> None:
    loaded = catalogue.load_observer(
        "timm:test_resnet?pretrained=false", device="cpu", dtype="bf16", seed=4
    )
    assert loaded.name == "timm:test_resnet?pretrained=false&dtype=bf16&seed=4"
    again = catalogue.load_observer(loaded.name, device="cpu")
    assert (again.name, fingerprint(again)) == (loaded.name, fingerprint(loaded))
    direct = from_timm("test_resnet", pretrained=False, seed=4, dtype="bf16", device="cpu")
    assert fingerprint(direct) == fingerprint(loaded)
    assert direct.name == "timm:test_resnet?pretrained=false&seed=4&dtype=bf16"


@pytest.mark.parametrize(
    ("reference", "line"),
    [
        ("timm:test_resnet?seed=3", "found seed=3; add pretrained=false"),
        ("clip-vit-b32?seed=3", "found seed=3; add pretrained=false"),
        ("timm:test_resnet?architecture=test_vit", "an architecture twice"),
        ("pixel-l2?size=abc", "not a value for 'size'"),
        ("classical?pooling=7", "not a value for 'pooling'"),
        ("timm:test_resnet?pretrained=false&mean=0.5", "not a value for 'mean'"),
        ("timm:test_resnet.r160_in1k?pretrained=r160_in1k", "two tags"),
        ("vlm:openai/m?near=keep", "near=keep; add shots="),
        ("vlm:openai/m?pool=there", "pool=there; add shots="),
        ("vlm:openai/m?draw=2", "draw=2; add shots="),
        ("vlm:openai/m?max_cost=2", "max_cost=2; add price_in= and price_out="),
        ("vlm:openai/m?samples=4&top_logprobs=5", "top_logprobs=5; leave samples= out"),
        ("timm:test_resnet?checkpoint=a&pretrained=false", "both a checkpoint and random"),
    ],
)
@pytest.mark.vision
def test_what_nothing_reads_is_refused_in_one_line(reference: str, line: str) -> None:
    with pytest.raises(ImiBenchError, match=line) as caught:
        catalogue.load_observer(reference, device="cpu")
    assert "\n" not in str(caught.value)


def test_names_of_served_models_tell_their_options() -> None:
    base = "vlm:openai/m"
    said = ["", "side=64", "layout=separate", "samples=4", "max_tokens=9", "system=a", "system=b"]
    made = [catalogue.load_observer(f"{base}?{one}" if one else base) for one in said]
    assert len({one.name for one in made}) == len({fingerprint(one) for one in made}) == len(said)
    assert made[0].name == base


def test_a_function_of_a_file_is_called_by_its_reference(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def like(one, other, power=2):\n    return 0.0\n")
    made = [catalogue.load_observer(f"{path}:like{end}") for end in ("", "?power=3")]
    assert [one.name for one in made] == ["mine.py:like", "mine.py:like?power=3"]


@pytest.mark.vision
def test_another_tag_of_a_card_is_not_given_the_cards_weights(monkeypatch: Any) -> None:
    from imi_bench.observers import encoders

    asked = []

    def chosen(card: Any, **given: Any) -> Any:
        asked.append(given["pinned"])
        raise InputError("enough")

    monkeypatch.setattr(encoders, "choose_weights", chosen)
    for reference in (
        "clip-vit-b32",
        "clip-vit-b32?image_size=224",
        "clip-vit-b32?pretrained=openai",
    ):
        with pytest.raises(InputError, match="enough"):
            catalogue.load_observer(reference, device="cpu")
    assert [one is None for one in asked] == [False, False, True]
    assert json.dumps(asked[0].record()) == json.dumps(asked[1].record())
