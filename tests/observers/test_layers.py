"""Observers over inner layers: hand-computed pooling, patches, and references' options."""

from __future__ import annotations

import numpy as np
import pytest

from imi_bench.errors import InputError, NetworkError, UnknownNameError
from imi_bench.observers.catalogue import load_observer
from imi_bench.observers.contract import check, sample_trials
from imi_bench.observers.protocol import fingerprint

pytestmark = pytest.mark.vision
torch = pytest.importorskip("torch")
BASE = "timm:test_resnet?pretrained=false&image_size=32"
PICTURES = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)


def unit(values: np.ndarray, axis: int) -> np.ndarray:
    return values / np.linalg.norm(values, axis=axis, keepdims=True)


@pytest.fixture(scope="module")
def maps() -> np.ndarray:
    """(3, C, P) output of one layer, by a hook of this test's own."""
    observer = load_observer(BASE, device="cpu")
    import timm
    from PIL import Image

    transform = observer.encoder.transform
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = timm.create_model("test_resnet").eval()
    kept = []
    network.layer2[0].conv1.register_forward_hook(lambda *seen: kept.append(seen[2]))
    with torch.inference_mode():
        network(torch.stack([transform(Image.fromarray(one)) for one in PICTURES]))
    return kept[0].flatten(2).double().numpy()


@pytest.mark.parametrize("spatial", ["mean", "max", "gem", "aligned"])
def test_positions_are_pooled_as_written(maps, spatial) -> None:
    name = f"{BASE}&layer=layer2_0_conv1&spatial={spatial}" + "&power=2" * (spatial == "gem")
    codes = load_observer(name, device="cpu").encode(list(PICTURES))
    expected = {
        "mean": lambda: unit(maps.mean(2), 1),
        "max": lambda: unit(maps.max(2), 1),
        "gem": lambda: unit((np.maximum(maps, 1e-6) ** 2).mean(2) ** 0.5, 1),
        "aligned": lambda: (unit(maps, 1) / maps.shape[2] ** 0.5).reshape(3, -1),
    }[spatial]()
    np.testing.assert_allclose(codes, expected, atol=2e-6)


@pytest.mark.parametrize("power", [40, 200])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0])
def test_no_power_of_the_generalised_mean_leaves_the_range_of_its_numbers(power, scale) -> None:
    """Nor do those of half precision, whatever the size of the activations."""
    from torch import nn

    from imi_bench.observers.layers import layer_codes

    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2))
    batch = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * scale
    forward, _ = layer_codes(module, "0", size=(8, 8), spatial="gem", power=power)
    with torch.inference_mode():
        maps = module[0](batch).flatten(2).double().clamp(min=1e-6).numpy()
        codes, half = forward(batch), module.half() and forward(batch.half())
    largest = maps.max(2, keepdims=True)
    expected = unit((((maps / largest) ** power).mean(2) ** (1 / power)) * largest[..., 0], 1)
    np.testing.assert_allclose(codes.numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(half.float().numpy(), expected, atol=4e-3)


def test_best_match_is_the_mean_of_the_largest_cosines_both_ways(maps) -> None:
    observer = load_observer(f"{BASE}&layer=layer2_0_conv1&spatial=best-match", device="cpu")
    codes = observer.encode(list(PICTURES))
    patches = unit(maps, 1).transpose(0, 2, 1)
    np.testing.assert_allclose(codes, patches, atol=2e-6)
    trials = sample_trials(seed=0, count=4)
    report = check(observer, trials)
    assert [p for p in report.properties if p.outcome == "fail"] == []


def test_one_position_makes_best_match_the_cosine() -> None:
    """With a single patch an image, both are the plain embedding's decision."""
    from imi_bench.observers.layers import BestMatch
    from imi_bench.observers.pooling import decide

    trials = sample_trials(seed=1, count=6).blind(seed=0)
    codes = unit(np.random.default_rng(0).normal(size=(len(trials.images), 1, 5)), 2)
    observer = BestMatch(lambda images: codes, name="patches", description={})
    np.testing.assert_allclose(observer.decide(trials, codes), decide(codes[:, 0], trials))


def test_a_layer_is_read_before_what_follows_changes_it_in_place() -> None:
    """The ReLU of a block writes into the output of its last norm."""
    from torch import nn

    from imi_bench.observers.layers import layer_codes

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True)).eval()
        batch = torch.randn(2, 3, 8, 8)
    forward, _ = layer_codes(module, "1", size=(8, 8), spatial="aligned")
    with torch.inference_mode():
        maps = module[1](module[0](batch)).flatten(2).double().numpy()
        codes = forward(batch).numpy()
    assert (codes < 0).any()
    np.testing.assert_allclose(codes, (unit(maps, 1) / 6).reshape(2, -1), atol=2e-6)


def test_several_layers_weigh_the_same() -> None:
    one, other, both = (
        load_observer(f"{BASE}&layer={names}", device="cpu").encode(list(PICTURES))
        for names in ("conv1_0", "layer2_0_conv1", "conv1_0,layer2_0_conv1")
    )
    np.testing.assert_allclose(both, np.concatenate([one, other], axis=1), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(one, axis=1), 1, atol=1e-6)


def test_layer_and_pooling_are_part_of_the_fingerprint() -> None:
    options = ["", "&layer=conv1_0", "&layer=conv1_0&spatial=max", "&layer=layer1_0_conv1"]
    prints = {fingerprint(load_observer(BASE + extra, device="cpu")) for extra in options}
    assert len(prints) == len(options)


def test_what_cannot_be_is_refused() -> None:
    for extra, error, text in (
        ("&layer=nope", UnknownNameError, "layer"),
        ("&layer=conv1_0&spatial=mode", UnknownNameError, "spatial pooling"),
        ("&spatial=max", InputError, "no layer"),
        ("&layer=conv1_0,layer1_0_conv1&spatial=best-match", InputError, "several layers"),
        ("&layer=conv1_0&spatial=gem&power=0", InputError, "bad power"),
        ("&layer=conv1_0&spatial=best-match&similarity=l2", InputError, "are cosines"),
        ("&layer=conv1_0,conv1_0", InputError, "a layer named twice"),
    ):
        with pytest.raises(error, match=text):
            load_observer(BASE + extra, device="cpu")


def test_num_classes_and_hub_names_are_options_of_observers_too(tmp_path) -> None:
    import timm
    from safetensors.torch import save_file

    path = tmp_path / "ten.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=10).state_dict(), path)
    base = f"timm:test_resnet?checkpoint={path}&image_size=32"
    assert fingerprint(load_observer(f"{base}&num_classes=10", device="cpu")) == fingerprint(
        load_observer(base, device="cpu")
    )
    with pytest.raises(NetworkError, match="found 10 classes"):
        load_observer(f"{base}&num_classes=7", device="cpu")
    with pytest.raises(InputError, match="a Hub repository brings its weights"):
        load_observer("timm:hf-hub:me/mine?pretrained=false")


def test_cards_take_the_words_of_networks() -> None:
    with pytest.raises(InputError, match="one option by two names"):
        load_observer("resnet50?input_size=96&image_size=96")
    one, other = (
        load_observer(f"resnet50?pretrained=false&{word}=32", device="cpu").describe()
        for word in ("input_size", "image_size")
    )
    assert one["preprocessing"] == other["preprocessing"]


def test_input_size_crops_the_same_share_for_networks_and_observers() -> None:
    from imi_bench.vision.loading import load_network

    references = ("timm:test_resnet?input_size=96", "timm:test_resnet")
    one = load_network(references[0], device="meta").preprocess.settings
    other = load_network(references[1], device="meta", input_size=96).preprocess.settings
    seen = load_observer("timm:test_resnet?input_size=96&pretrained=false").describe()
    for settings in (other, seen["preprocessing"]):
        assert (settings["size"], settings["resize"]) == (one["size"], one["resize"])
    whole = load_network("timm:test_resnet?input_size=96&resize=96", device="meta")
    assert whole.preprocess.settings["resize"] != one["resize"]
