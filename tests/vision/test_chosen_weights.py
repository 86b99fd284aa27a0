"""Networks and observers ask one policy for their weights: same places, refusals and records."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import timm
import torch
from safetensors.torch import save_file

from imi_bench.errors import ImiBenchError
from imi_bench.observers.catalogue import load_observer
from imi_bench.provenance import sha256_file
from imi_bench.vision.card import NetworkCard, card, names, resolve
from imi_bench.vision.chosen_weights import registry_source
from imi_bench.vision.library_weights import LibraryWeights
from imi_bench.vision.loading import load_network
from imi_bench.vision.weight_files import WeightFile

pytestmark = pytest.mark.vision
NETWORK = "timm:test_resnet"


def as_network(reference: str) -> tuple[Any, dict[str, Any]]:
    found = load_network(reference, device="cpu")
    return found.record["state_sha256"], dict(found.record["weights"])


def as_observer(reference: str) -> tuple[Any, dict[str, Any]]:
    said = dict(load_observer(reference, device="cpu").describe()["weights"])
    return said.pop("sha256"), said


READERS = (as_network, as_observer)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return timm.create_model("test_resnet", num_classes=10).state_dict()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMI_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)  # a folder that was set hides TORCH_HOME
    monkeypatch.delenv("IMI_BENCH_WEIGHTS", raising=False)
    return tmp_path


class Harm:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch harmed",)


def refused(reference: str) -> str:
    """What both say, in one line, of a reference that neither takes."""
    said = set()
    for read in READERS:
        with pytest.raises(ImiBenchError) as caught:
            read(reference)
        said.add(str(caught.value))
    (only,) = said
    assert "\n" not in only
    return only


@pytest.mark.parametrize("ending", ["pt", "pth", "bin", "ckpt"])
def test_a_pickle_of_more_than_tensors_is_not_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.chdir(folder)
    Path(f"w.{ending}").write_bytes(pickle.dumps({"a": Harm()}, protocol=2))
    assert "weights cannot be read" in refused(f"{NETWORK}?checkpoint=w.{ending}")
    torch.save({"a": Harm()}, f"w.{ending}")
    assert "weights cannot be read" in refused(f"{NETWORK}?checkpoint=w.{ending}")
    assert not Path("harmed").exists()


def test_a_torch_whose_unpickler_may_run_code_opens_no_torch_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, state: dict[str, torch.Tensor]
) -> None:
    torch.save(state, folder / "w.pth")
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    said = refused(f"{NETWORK}?checkpoint={folder / 'w.pth'}")
    assert "found torch 2.5.1+cpu, wanted torch 2.6 or newer, or .safetensors" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("checkpoint=none.pth", "no such file"),
        ("checkpoint=none.safetensors", "no such file"),
        ("checkpoint=none.safetensors&pretrained=false", "both a checkpoint and random weights"),
    ],
)
def test_what_cannot_be_is_refused_alike(options: str, said: str) -> None:
    assert said in refused(f"{NETWORK}?{options}")


@pytest.mark.parametrize("wrapped", [False, True])
def test_safetensors_and_torch_files_give_both_the_same_tensors(
    folder: Path, state: dict[str, torch.Tensor], wrapped: bool
) -> None:
    """A training script's file too, and a classifier of any size without being told."""
    torch.save({"state_dict": state, "epoch": 3} if wrapped else state, folder / "w.pth")
    save_file(state, folder / "w.safetensors")
    for read in READERS:
        torchs, said = read(f"{NETWORK}?checkpoint={folder / 'w.pth'}&num_classes=10")
        assert (torchs, said) == read(f"{NETWORK}?checkpoint={folder / 'w.safetensors'}")
        assert said["source"] == "local file"


def test_both_look_into_the_folder_of_weights_and_say_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, state: dict[str, torch.Tensor]
) -> None:
    monkeypatch.setenv("IMI_BENCH_WEIGHTS", str(folder))
    save_file(state, folder / "timm-test_resnet.safetensors")
    one, other = (read(NETWORK) for read in READERS)
    assert one == other
    assert one[1] == {"source": "folder of weights", "file": "timm-test_resnet.safetensors"}
    (folder / "timm-test_resnet.safetensors").unlink()
    save_file(state, folder / "timm-test_resnet.r160_in1k.safetensors")
    for reference in ("timm:test_resnet.r160_in1k", "timm:test_resnet?pretrained=r160_in1k"):
        assert as_network(reference)[0] == one[0]


def test_both_ask_the_hub_for_the_same_safetensors(
    folder: Path, monkeypatch: pytest.MonkeyPatch, state: dict[str, torch.Tensor]
) -> None:
    import huggingface_hub

    asked = []

    def download(**place: Any) -> str:
        asked.append((place["repo_id"], place["filename"], place["revision"]))
        return str(folder / "kept.safetensors")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    save_file(state, folder / "kept.safetensors")
    one, other = (read(NETWORK) for read in READERS)
    assert one == other
    assert set(asked) == {("timm/test_resnet.r160_in1k", "model.safetensors", "main")}
    assert one[1]["revision"] == "unpinned"
    assert load_network(NETWORK, device="cpu").name == "test_resnet.r160_in1k"
    assert load_network(f"{NETWORK}?name=mine", device="cpu").name == "mine"


def test_a_networks_card_may_pin_a_source_as_an_observers_does(
    folder: Path, monkeypatch: pytest.MonkeyPatch, state: dict[str, torch.Tensor]
) -> None:
    monkeypatch.setenv("IMI_BENCH_WEIGHTS", str(folder))
    save_file(state, folder / "mine.safetensors")
    (folder / "mine.toml").write_text(
        'name = "mine"\nsource = "timm"\narchitecture = "test_resnet"\n'
        f'[weights.source]\nrepo = "me/mine"\nfile = "w.safetensors"\nrevision = "{"0" * 40}"\n'
        f'sha256 = "{"0" * 64}"\nlicence = "MIT"\nevidence = "a test"\n'
    )
    with pytest.raises(ImiBenchError, match="weights are not what the card says"):
        load_network(str(folder / "mine.toml"), device="cpu")


def test_a_file_in_the_folder_of_weights_goes_the_way_of_its_library(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchvision's builders set more by a member of weights than the weights."""
    from torchvision import models

    monkeypatch.setenv("IMI_BENCH_WEIGHTS", str(folder))
    wanted = models.squeezenet1_1(weights=None).state_dict()
    save_file(wanted, folder / "torchvision-squeezenet1_1.safetensors")
    found = load_network("torchvision:squeezenet1_1", device="cpu").module.state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    member = models.SqueezeNet1_1_Weights.DEFAULT
    assert "get_state_dict" not in vars(member)


@pytest.mark.parametrize("name", names())
def test_the_papers_networks_have_a_source_of_safetensors_or_a_file(name: str) -> None:
    described = card(name)
    assert described.weights.file or registry_source(described) is not None


def test_every_weight_of_the_registries_has_a_source() -> None:
    import open_clip
    from torchvision import models

    of_timm = [
        registry_source(NetworkCard(name="x", source="timm", architecture=one))
        for one in timm.list_pretrained()
    ]
    assert all(isinstance(one, WeightFile | LibraryWeights) for one in of_timm)
    clip = [
        registry_source(resolve(f"open_clip:{one}?pretrained={tag}")[0])
        for one, tag in open_clip.list_pretrained()
    ]
    assert all(isinstance(one, WeightFile) for one in clip)
    assert min(len(of_timm), 10 * len(clip)) > 1000
    members = [
        registry_source(resolve(f"torchvision:{one}?pretrained={member.name}")[0])
        for one in models.list_models()
        for member in models.get_model_weights(one)
    ]
    assert all(isinstance(one, LibraryWeights) for one in members)
    for one in (*of_timm, *clip, *members):
        assert one is not None
        assert one.pinned != ("revision" in one.record())


def published(
    folder: Path, state: dict[str, Any], monkeypatch: pytest.MonkeyPatch, *, name: str = "w"
) -> str:
    """timm's registry says that a network's weights lie at an address whose name has digits."""
    torch.save(state, folder / "w.pth")
    digits = sha256_file(folder / "w.pth")[:8]
    (folder / "w.pth").rename(folder / f"{name}-{digits}.pth")
    own = timm.models.get_pretrained_cfg("test_resnet")
    own = replace(own, hf_hub_id=None, url=(folder / f"{name}-{digits}.pth").as_uri())
    monkeypatch.setattr(timm.models, "get_pretrained_cfg", lambda *_: own)
    return digits


def test_what_timm_keeps_at_an_address_is_fetched_with_its_checksum(
    folder: Path, monkeypatch: pytest.MonkeyPatch, state: dict[str, torch.Tensor]
) -> None:
    digits = published(folder, {"state_dict": state, "epoch": 3}, monkeypatch)
    one, other = (read(NETWORK) for read in READERS)
    assert one == other
    assert one[1]["source"] == "timm:test_resnet.r160_in1k"
    assert "revision" not in one[1]
    kept = folder / "torch" / "hub" / "checkpoints" / f"w-{digits}.pth"
    kept.write_bytes(kept.read_bytes() + b"x")
    for file in (folder / "cache").rglob("test_resnet*.safetensors"):
        file.unlink()
    assert "weights are not what their name says" in refused(NETWORK)
    kept.unlink()
    (folder / f"w-{digits}.pth").unlink()
    said = refused(NETWORK)
    assert "could not be fetched" in said
    assert (
        "into the folder of IMI_BENCH_WEIGHTS (--weights) as timm-test_resnet.safetensors" in said
    )


def test_the_encoder_of_a_file_of_several_networks_is_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch, state: dict[str, torch.Tensor]
) -> None:
    """As timm's reader takes it: without the wrapper's prefix."""
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    several = {"encoder": wrapped, "predictor": {"a": torch.ones(1)}, "epoch": 3}
    published(folder, several, monkeypatch, name="ijepa")
    found = load_network(NETWORK, device="cpu").module.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


def test_more_than_tensors_at_an_address_is_not_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    published(folder, {"a": Harm()}, monkeypatch)
    assert "weights cannot be read" in refused(NETWORK)
    assert not Path("harmed").exists()
