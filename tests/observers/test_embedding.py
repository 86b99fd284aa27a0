"""Encoders: any callable, local checkpoints, seeded random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imi_bench.errors import (
    DownloadError,
    ImiBenchError,
    InputError,
    NetworkError,
    UnknownNameError,
)
from imi_bench.observers import catalogue
from imi_bench.observers.card import cards
from imi_bench.observers.contract import check, sample_trials
from imi_bench.observers.embedding import Embedding
from imi_bench.observers.protocol import fingerprint
from imi_bench.provenance import sha256_file
from imi_bench.vision import tensor_files, weight_files
from imi_bench.vision.weight_files import WeightFile

TRIALS = sample_trials(count=2, references=3)
CIFAR = "image_size=32&mean=0.4914,0.4822,0.4465&std=0.2470,0.2435,0.2616"
EMBEDDINGS = [card for card in cards().values() if isinstance(card.weights, WeightFile)]


def pictures(*sizes: tuple[int, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def brightness(images):
    return np.array([[image.mean(), 1.0] for image in images])


def test_any_callable_is_an_observer() -> None:
    observer = Embedding(brightness, name="b", description={"version": 1}, similarity="l2")
    assert check(observer, TRIALS).passed
    assert observer.describe() == {
        "version": 1,
        "comparison": {"pooling": "mean", "similarity": "l2"},
    }


@pytest.mark.parametrize(
    ("encoder", "options", "message"),
    [
        (brightness, {}, "without a description"),
        (brightness, {"description": {}, "pooling": "median"}, "unknown pooling"),
    ],
)
def test_a_callable_must_be_described(encoder, options, message) -> None:
    with pytest.raises(InputError, match=message):
        Embedding(encoder, name="b", **options)


@pytest.mark.parametrize("codes", [np.zeros(2), np.zeros((3, 1))])
def test_a_callable_must_give_one_code_an_image(codes) -> None:
    observer = Embedding(lambda images: codes, name="b", description={})
    with pytest.raises(InputError, match="no code an image"):
        observer.encode(pictures((2, 2), (2, 2)))


@pytest.fixture
def saved(tmp_path) -> Path:
    safetensors = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "w.safetensors"
    safetensors.save_file({"a": np.ones((2, 3), np.float32)}, path)
    return path


@pytest.mark.vision
def test_shapes_are_read_without_the_tensors(saved) -> None:
    assert tensor_files.tensor_shapes(saved) == {"a": (2, 3)}


@pytest.mark.vision
@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "not a safetensors file"), (b"\x80\x04 a pickle renamed", "not a safetensors file")],
)
def test_a_file_that_only_looks_like_safetensors_is_refused(tmp_path, content, message) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(NetworkError, match=message):
        catalogue.load_observer(f"timm:test_resnet?checkpoint={path}")


@pytest.mark.vision
def test_a_truncated_file_is_refused(saved) -> None:
    saved.write_bytes(saved.read_bytes()[:-4])
    with pytest.raises(NetworkError, match="not a safetensors file"):
        tensor_files.check_file(saved)


@pytest.mark.vision
@pytest.mark.parametrize("card", EMBEDDINGS, ids=lambda card: card.name)
def test_without_a_download_one_clear_line_says_what_to_do(card, monkeypatch) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked = []

    def refuse(**place):
        asked.append(place)
        raise LocalEntryNotFoundError("no\nnetwork")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(DownloadError, match=f"'{card.name}.checkpoint=FILE") as caught:
        catalogue.load_observer(card.name)
    assert "\n" not in str(caught.value)
    assert {place["revision"] for place in asked} == {card.weights.revision or "main"}


@pytest.mark.vision
def test_a_download_with_another_checksum_is_refused(saved, monkeypatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda **place: str(saved))
    facts = {"repo": "me/mine", "file": "w.safetensors", "licence": "MIT", "evidence": "a test"}
    right = WeightFile(**facts, revision="0" * 40, sha256=sha256_file(saved))
    assert weight_files.locate(right, for_="mine") == saved
    wrong = WeightFile(**facts, revision="0" * 40, sha256="0" * 64)
    with pytest.raises(DownloadError, match="not what the card says"):
        weight_files.locate(wrong, for_="mine")


@pytest.mark.vision
@pytest.mark.parametrize("card", EMBEDDINGS, ids=lambda card: card.name)
def test_a_card_agrees_with_the_librarys_own_registry(card) -> None:
    """Names of architecture, tag and repository; the networks themselves are large."""
    timm, open_clip = pytest.importorskip("timm"), pytest.importorskip("open_clip")
    architecture = card.parameters["architecture"]
    if "open_clip" in card.loader:
        own = open_clip.get_pretrained_cfg(architecture, card.parameters["pretrained"])
        assert own["hf_hub"].rstrip("/") == card.weights.repo
    else:
        own = timm.models.get_pretrained_cfg(architecture)
        assert own.hf_hub_id == card.weights.repo
        assert own.license == card.weights.licence.lower()


@pytest.mark.vision
@pytest.mark.parametrize(
    "network", ["test_resnet", "test_convnext2", "test_mambaout", "test_byobnet"]
)
def test_a_local_checkpoint_loads_whatever_its_classifier(shared, network) -> None:
    import safetensors.torch
    import timm
    import torch

    path = shared / "nets" / f"{network}.safetensors"
    observer = catalogue.load_observer(f"timm:{network}?checkpoint={path}&{CIFAR}")
    images = pictures((32, 32), (32, 32), (50, 40))
    codes = observer.encode(images)

    reference = timm.create_model(network, num_classes=10)
    reference.load_state_dict(safetensors.torch.load_file(path))
    reference.eval()
    transform = observer.encoder.transform

    batch = torch.stack([transform(Image.fromarray(image)) for image in images])
    assert batch.shape == (3, 3, 32, 32)
    with torch.inference_mode():
        expected = reference.forward_head(reference.forward_features(batch), pre_logits=True)
        np.testing.assert_allclose(codes, expected.numpy(), atol=1e-5)
        logits = reference.get_classifier()(torch.from_numpy(codes))
        np.testing.assert_allclose(logits, reference(batch), atol=1e-4)
    described = observer.describe()
    assert described["weights"]["source"] == "local file"
    assert described["preprocessing"]["mean"] == [0.4914, 0.4822, 0.4465]
    assert str(shared) not in json.dumps(described)
    digits = described["weights"]["sha256"][:8]
    assert observer.name == f"timm:{network}?checkpoint={network}.safetensors@{digits}&{CIFAR}"


@pytest.mark.vision
def test_a_trained_network_tells_classes_apart(shared) -> None:
    """Trials from CIFAR-10 test images, a class against another: well above one half."""
    from imi_bench.tables import BlindTrials
    from imi_bench.tables.images import Images

    data = np.load(shared / "images" / "cifar10_test.npz")
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(60):
        one, other = rng.choice(10, 2, replace=False)
        chosen = [
            rng.choice(np.flatnonzero(data["labels"] == c), 6, replace=False) for c in (one, other)
        ]
        rows.append(np.concatenate(chosen))
    rows = np.array(rows)
    used, place = np.unique(rows, return_inverse=True)
    images, _ = Images.collect(list(data["images"][used]))
    place = place.reshape(rows.shape)
    trials = BlindTrials(images, place[:, :5], place[:, 6:11], place[:, [5, 11]])
    path = shared / "nets" / "test_resnet.safetensors"
    observer = catalogue.load_observer(f"timm:test_resnet?checkpoint={path}&{CIFAR}")
    values = observer.decide(
        trials, observer.encode([images.decode(r) for r in range(len(images))])
    )
    assert (values > 0).mean() > 0.85


@pytest.mark.vision
@pytest.mark.parametrize(
    "name",
    [
        "timm:test_vit?pretrained=false&image_size=32",
        "timm:test_resnet?pretrained=false&image_size=32&pooling=prototype",
        "timm:test_convnext2?pretrained=false&image_size=32&similarity=l2",
        "timm:test_resnet?pretrained=false&image_size=32&dtype=bf16",
        "timm:test_resnet?pretrained=false&image_size=32&dtype=fp16",
    ],
)
def test_encoders_keep_the_contract(name) -> None:
    report = check(catalogue.load_observer(name, device="cpu"), TRIALS)
    assert [p for p in report.properties if p.outcome == "fail"] == []


@pytest.fixture
def tiny_clip(tmp_path):
    open_clip = pytest.importorskip("open_clip")
    vision = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8}
    text = {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1}
    path = tmp_path / "tiny-test-clip.json"
    path.write_text(json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(path)
    return "tiny-test-clip"


@pytest.mark.vision
def test_an_open_clip_encoder_with_random_and_with_saved_weights(tiny_clip, tmp_path) -> None:
    import open_clip
    import safetensors.torch

    drawn = catalogue.load_observer(f"open_clip:{tiny_clip}?pretrained=false&seed=3", device="cpu")
    assert check(drawn, TRIALS).passed
    assert drawn.describe()["weights"]["source"] == "random weights"
    model = open_clip.create_model(tiny_clip)
    path = tmp_path / "clip.safetensors"
    safetensors.torch.save_file(model.state_dict(), path)
    loaded = catalogue.load_observer(f"open_clip:{tiny_clip}?checkpoint={path}", device="cpu")
    image = pictures((32, 32))
    batch = loaded.encoder.transform(Image.fromarray(image[0]))[None]
    expected = model.eval().encode_image(batch).detach().numpy()
    np.testing.assert_allclose(loaded.encode(image), expected, atol=1e-5)
    with pytest.raises(NetworkError, match="no source of weights"):
        catalogue.load_observer(f"open_clip:{tiny_clip}")


@pytest.mark.vision
@pytest.mark.parametrize("network", ["mobilenet_v3_small", "squeezenet1_1"])
def test_a_torchvision_observer_reads_what_the_classifier_reads(network, tmp_path) -> None:
    import safetensors.torch
    import torch
    import torchvision

    torch.manual_seed(7)
    theirs = torchvision.models.get_model(network, weights=None, num_classes=10).eval()
    path = tmp_path / "own.safetensors"
    safetensors.torch.save_file(theirs.state_dict(), path)
    own = f"torchvision:{network}?checkpoint={path}&num_classes=10&input_size=64"
    observer = catalogue.load_observer(own, device="cpu")
    assert isinstance(observer, Embedding)
    image = pictures((70, 90))[0]
    preset = torchvision.models.get_model_weights(network).DEFAULT.transforms(
        crop_size=64, resize_size=round(64 * 256 / 224)
    )
    batch = preset(Image.fromarray(image))[None]
    read = {}
    last = theirs.classifier[-1] if network == "mobilenet_v3_small" else theirs.classifier[1]
    last.register_forward_pre_hook(lambda _, given: read.update(codes=given[0]))
    with torch.no_grad():
        theirs(batch)
    codes = read["codes"] if read["codes"].ndim == 2 else read["codes"].mean((2, 3))
    np.testing.assert_allclose(observer.encode([image]), codes.numpy(), rtol=1e-4, atol=1e-5)
    described = observer.describe()
    assert described["library"] == "torchvision"
    assert described["weights"]["source"] != "random weights"
    assert described["preprocessing"]["maker"].startswith("torchvision: ")


@pytest.mark.vision
def test_a_torchvision_observer_of_random_weights_keeps_the_contract_and_says_so() -> None:
    name = "torchvision:squeezenet1_1?pretrained=false&seed=3&input_size=64"
    observer = catalogue.load_observer(name, device="cpu")
    report = check(observer, TRIALS)
    assert [p for p in report.properties if p.outcome == "fail"] == []
    assert observer.describe()["weights"]["source"] == "random weights"
    other = catalogue.load_observer(name.replace("seed=3", "seed=4"), device="cpu")
    assert fingerprint(observer) != fingerprint(other)
    inner = catalogue.load_observer(f"{name}&layer=features_0&spatial=gem", device="cpu")
    assert inner.encode(pictures((64, 64))).shape == (1, 64)


@pytest.mark.vision
def test_random_weights_come_from_the_seed_alone_and_say_so() -> None:
    import torch

    torch.manual_seed(11)
    state = torch.get_rng_state()
    one, again, other = (
        catalogue.load_observer(f"timm:test_resnet?pretrained=false&seed={seed}&image_size=32")
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    image = pictures((32, 32))
    np.testing.assert_array_equal(one.encode(image), again.encode(image))
    assert not np.allclose(one.encode(image), other.encode(image))
    assert fingerprint(one) == fingerprint(again) != fingerprint(other)
    assert one.describe()["weights"]["source"] == "random weights"
    assert (
        catalogue.load_observer("timm:test_resnet?pretrained=false", seed=2).describe()["weights"]
        == (other.describe()["weights"])
    )


@pytest.mark.vision
def test_fingerprint_covers_weights_preprocessing_and_dtype(shared) -> None:
    path = shared / "nets" / "test_resnet.safetensors"
    base = f"timm:test_resnet?checkpoint={path}&image_size=32"
    names = [base, f"{base}&mean=0.4,0.4,0.4", f"{base}&dtype=bf16", f"{base}&similarity=l2"]
    names.append("timm:test_resnet?pretrained=false&image_size=32")
    prints = [fingerprint(catalogue.load_observer(name)) for name in names]
    assert len(set(prints)) == len(names)
    assert fingerprint(catalogue.load_observer(base, device="cpu")) == prints[0]


@pytest.mark.vision
@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("timm:test_resnett?pretrained=false", UnknownNameError, "did you mean 'test_resnet"),
        ("timm:resnet50.a1_in1?pretrained=false", UnknownNameError, "did you mean 'a1_in1k'"),
        ("open_clip:ViT-B-3?pretrained=false", UnknownNameError, "did you mean 'ViT-B-32"),
        ("open_clip:RN50?pretrained=openia", UnknownNameError, "did you mean 'openai'"),
        ("torchvision:resnet1?pretrained=false", UnknownNameError, "did you mean 'resnet18'"),
        ("torchvision:resnet18?pretrained=V2", UnknownNameError, "DEFAULT, IMAGENET1K_V1"),
        ("torchvision:fcn_resnet50?pretrained=false", InputError, "no classifier.*add layer="),
        ("timm:test_resnet?pretrained=false&checkpoint=a.safetensors", InputError, "drop one"),
        ("timm:test_resnet?checkpoint=none.safetensors", NetworkError, "no such file"),
        ("timm:test_resnet?pretrained=false&dtype=int8", InputError, "one of bf16, float32, fp16"),
        ("timm:test_resnet?pretrained=false&device=tpu", InputError, "no such device"),
    ],
)
def test_bad_requests_get_one_clear_line(name, error, message) -> None:
    with pytest.raises(error, match=message) as caught:
        catalogue.load_observer(name)
    assert isinstance(caught.value, ImiBenchError)
    assert "\n" not in str(caught.value)


@pytest.mark.vision
def test_weights_of_another_network_do_not_fit(shared) -> None:
    path = shared / "nets" / "test_byobnet.safetensors"
    with pytest.raises(NetworkError, match="weights do not fit the network"):
        catalogue.load_observer(f"timm:test_resnet?checkpoint={path}")


@pytest.mark.vision
def test_pixels_that_are_scaled_already_give_the_codes_of_whole_images() -> None:
    pytest.importorskip("timm")
    observer = catalogue.load_observer(f"timm:test_resnet?pretrained=false&{CIFAR}", device="cpu")
    assert isinstance(observer, Embedding)
    images = pictures((40, 50), (32, 32), (90, 33))
    scaled = np.stack([observer.preprocess.pixels(image) for image in images])
    assert scaled.shape == (3, 32, 32, 3)
    np.testing.assert_array_equal(observer.encode_pixels(scaled), observer.encode(images))
    by_hand = Embedding(brightness, name="b", description={"version": 1})
    assert by_hand.preprocess is None
