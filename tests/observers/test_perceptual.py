"""LPIPS and DreamSim: the packages' own code with random backbones, and their own numbers."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from imi_bench.errors import DownloadError, InputError, NetworkError, UnknownNameError
from imi_bench.observers.card import cards
from imi_bench.observers.catalogue import load_observer
from imi_bench.observers.contract import check, sample_trials
from imi_bench.observers.protocol import fingerprint
from imi_bench.replay.runner import replay

pytestmark = pytest.mark.vision
torch = pytest.importorskip("torch")
lpips = pytest.importorskip("lpips")
RANDOM = "lpips-alex?pretrained=false&image_size=32"
PICTURES = [
    np.random.default_rng(seed).integers(0, 256, (40, 30 + seed, 3), dtype=np.uint8)
    for seed in range(3)
]


@pytest.fixture(scope="module")
def alex():
    return load_observer(RANDOM, device="cpu")


def test_the_distance_is_the_packages_own(alex) -> None:
    for one, other in ((0, 1), (1, 2), (0, 0)):
        pair = (PICTURES[one], PICTURES[other])
        own = alex.model(*map(alex.tensor, pair)).item()
        assert alex.similarity(*pair) == pytest.approx(-own, abs=1e-7)
    assert alex.similarity(PICTURES[0], PICTURES[0]) == 0
    assert alex.similarity(PICTURES[0], PICTURES[1]) < -1e-3


def test_both_orders_of_a_pair_have_one_value(alex) -> None:
    assert alex.similarity(*PICTURES[:2]) == alex.similarity(*PICTURES[1::-1])


@pytest.mark.whole
def test_it_keeps_the_contract_and_remembers_pairs_on_disk(alex, tmp_path) -> None:
    trials = sample_trials(seed=0, count=2)
    assert check(alex, trials).passed
    first = replay(load_observer(RANDOM, device="cpu"), trials, cache=tmp_path)
    again = load_observer(RANDOM, device="cpu")

    def refuse(*_: object) -> float:
        raise AssertionError("compared again")

    again._compare = refuse
    (answers,) = tmp_path.glob("answers-*")
    shutil.rmtree(answers)
    second = replay(again, trials, seed=1, cache=tmp_path)
    toward = [
        run.decisions.to_frame().set_index("trial_id")["decision_variable"].abs().to_numpy()
        for run in (first, second)
    ]
    np.testing.assert_array_equal(*toward)


@pytest.mark.whole
def test_random_trunks_come_from_the_seed_and_the_description_says_so(alex) -> None:
    state = torch.get_rng_state()
    same, other = (load_observer(f"{RANDOM}&seed={seed}", device="cpu") for seed in (0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert fingerprint(same) == fingerprint(alex) != fingerprint(other)
    assert alex.describe()["weights"]["source"] == "random weights"
    json.dumps(alex.describe())


@pytest.mark.whole
def test_torchvisions_weights_go_into_the_trunk(tmp_path) -> None:
    import torchvision
    from safetensors.torch import save_file

    torch.manual_seed(0)
    whole = torchvision.models.alexnet().state_dict()
    save_file(whole, tmp_path / "alex.safetensors")
    loaded = load_observer(
        f"lpips-alex?checkpoint={tmp_path / 'alex.safetensors'}&image_size=64", device="cpu"
    )
    first = loaded.model.net.slice1[0].weight
    assert torch.equal(first, whole["features.0.weight"])
    save_file({"features.0.weight": torch.ones(2)}, tmp_path / "bad.safetensors")
    with pytest.raises(NetworkError, match="do not fit the trunk"):
        load_observer(f"lpips-alex?checkpoint={tmp_path / 'bad.safetensors'}", device="cpu")


@pytest.mark.whole
def test_what_cannot_be_is_refused_in_one_line(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("IMI_BENCH_CACHE", str(tmp_path))
    monkeypatch.delenv("IMI_BENCH_WEIGHTS", raising=False)

    def offline(*_: object, **__: object) -> None:
        raise OSError("no\nnetwork")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    for name in ("lpips-alex", "dreamsim"):
        with pytest.raises(DownloadError, match="could not be fetched") as caught:
            load_observer(name, device="cpu")
        assert "\n" not in str(caught.value)
    with pytest.raises(UnknownNameError, match="alex"):
        load_observer("lpips-alex?trunk=alexx&pretrained=false")
    with pytest.raises(UnknownNameError, match="clip_vitb32"):
        load_observer("dreamsim?variant=clip_vitb3")
    with pytest.raises(InputError, match="no random backbones"):
        load_observer("dreamsim?pretrained=false")


def test_the_first_digits_on_the_cards_stand_in_torchvisions_names() -> None:
    import torchvision.models as models

    found = [card for card in cards().values() if card.name.startswith("lpips-")]
    assert len(found) == 2
    for card in found:
        enumeration, member = card.weights.source.removeprefix("torchvision:").split(".")
        url = getattr(models, enumeration)[member].url
        assert url.endswith(f"-{card.weights.sha256_begins}.pth")


@pytest.fixture
def small(monkeypatch) -> None:
    """DreamSim over CLIP's architecture with backbones of two blocks."""
    pytest.importorskip("dreamsim")
    from dreamsim.feature_extraction import load_open_clip_as_dino
    from dreamsim.feature_extraction import vision_transformer as vit

    def of_two_blocks(patch_size: int = 32, **_: object):
        return vit.VisionTransformer(
            patch_size=patch_size, embed_dim=48, depth=2, num_heads=4, mlp_ratio=2, qkv_bias=True
        )

    for module in (vit, load_open_clip_as_dino):
        monkeypatch.setattr(module, "vit_base", of_two_blocks)


DREAMSIM = "dreamsim?variant=open_clip_vitb32"


@pytest.mark.filterwarnings("default")
def test_dreamsim_is_its_packages_distance(small) -> None:
    from PIL import Image

    observer = load_observer(f"{DREAMSIM}&pretrained=false", device="cpu")
    codes = observer.encode(PICTURES)
    model, transform = observer.encoder.forward.__self__, observer.encoder.transform
    one, other = (transform(Image.fromarray(p))[None] for p in PICTURES[:2])
    with torch.inference_mode():
        own = 1 - model(one, other).item()
    cosine = codes[0] @ codes[1] / np.linalg.norm(codes[0]) / np.linalg.norm(codes[1])
    assert cosine == pytest.approx(own, abs=1e-6)
    assert observer.describe()["weights"]["source"] == "random weights"


@pytest.mark.whole
@pytest.mark.filterwarnings("default")
def test_dreamsims_random_weights_are_the_seeds_alone_and_run_in_half_precision(small) -> None:
    before = torch.get_rng_state()
    first = load_observer(f"{DREAMSIM}&pretrained=false", device="cpu")
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    again, other = (
        load_observer(f"{DREAMSIM}&pretrained=false{more}", device="cpu")
        for more in ("", "&seed=1")
    )
    assert fingerprint(again) == fingerprint(first) != fingerprint(other)
    wanted = first.encode(PICTURES)
    for dtype in ("bf16", "fp16"):
        lower = load_observer(f"{DREAMSIM}&pretrained=false&dtype={dtype}", device="cpu")
        np.testing.assert_allclose(lower.encode(PICTURES), wanted, atol=0.02)


@pytest.fixture
def archive(small, tmp_path):
    """A folder as the package's archives unpack, of made-up weights and adapter, and its model."""
    import dreamsim

    from imi_bench.observers import dreamsim as room

    load_observer(f"{DREAMSIM}&pretrained=false", device="cpu")  # the package can be imported
    room._write_random(tmp_path, "open_clip_vitb32", seed=5, name="made up")
    model, transform = dreamsim.dreamsim(
        pretrained=False, device="cpu", cache_dir=str(tmp_path), dreamsim_type="open_clip_vitb32"
    )
    torch.manual_seed(0)
    made = {k: 0.3 * torch.randn_like(v) for k, v in model.state_dict().items() if "lora_" in k}
    model.load_state_dict(model.state_dict() | made)
    model.save_pretrained(str(tmp_path / "open_clip_vitb32_single_lora"))
    return tmp_path, model, transform


@pytest.mark.whole
@pytest.mark.filterwarnings("default")
def test_a_folder_of_dreamsims_is_what_its_package_reads_and_recorded_as_a_folder(archive) -> None:
    from PIL import Image

    folder, model, transform = archive
    asked = f"{DREAMSIM}&folder={folder}"
    observer = load_observer(asked, device="cpu")
    codes = observer.encode(PICTURES)
    with torch.inference_mode():
        own = 1 - model(*(transform(Image.fromarray(p)) for p in PICTURES[:2])).item()
    assert codes[0] @ codes[1] == pytest.approx(own, abs=1e-5)
    said = observer.describe()["weights"]
    assert said["source"] == "local folder"
    assert said["unchecked"].startswith("https://")

    file = folder / "open_clip_vitb32_pretrain.pth.tar"
    kept = torch.load(file, weights_only=True)
    kept["state_dict"]["proj"] += 1
    torch.save(kept, file)
    other = load_observer(asked, device="cpu").describe()["weights"]["sha256"]
    assert other != said["sha256"], "the projection is one of the weights"


@pytest.mark.whole
@pytest.mark.filterwarnings("default")
def test_dreamsims_damaged_or_absent_files_are_one_line(archive) -> None:
    folder, model, _ = archive
    asked = f"{DREAMSIM}&folder={folder}"
    with pytest.raises(InputError, match="no such folder of weights"):
        load_observer(f"{asked}-mistyped", device="cpu")
    assert not folder.with_name(f"{folder.name}-mistyped").exists()

    zeros = {k: 0 * v for k, v in model.state_dict().items() if "lora_B" in k}
    model.load_state_dict(model.state_dict() | zeros)
    model.save_pretrained(str(folder / "open_clip_vitb32_single_lora"))
    with pytest.raises(NetworkError, match="adapter was not read"):
        load_observer(asked, device="cpu")
    for damage in (b"", b"\xca\xff\x01" * 99, b"PK\x03\x04 and no more"):
        (folder / "open_clip_vitb32_pretrain.pth.tar").write_bytes(damage)
        with pytest.raises(NetworkError, match="DreamSim cannot be built") as caught:
            load_observer(asked, device="cpu")
        assert "\n" not in str(caught.value)
