"""Passes over images and feature visualisations by shares and on Ray: the same bytes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from support.ray_cluster import cluster

pytest.importorskip("timm")
from imi_bench.executors import Local, Ray, Shard, SharesMissingError
from imi_bench.networks.activations import collect_activations
from imi_bench.networks.build import build_trials
from imi_bench.vision.loading import load_network

pytestmark = pytest.mark.vision
NETWORK = "timm:test_resnet?num_classes=10&input_size=32"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
    pixels[:20] //= 4
    path = tmp_path_factory.mktemp("pictures") / "images.npz"
    np.savez(path, images=pixels)
    return path


def built(pictures, out, executor):
    return build_trials(
        NETWORK,
        pictures,
        units=["conv1_0__3", "layer2_0_conv1__1", "layer3_0_conv1__0"],
        batches=2,
        synthetic=True,
        steps=4,
        group=1,
        pretrained=False,
        layers="conv1_0|layer[23]_0_conv1",
        batch_size=4,
        device="cpu",
        out=out,
        executor=executor,
    )


def contents(folder: Path) -> dict[str, str]:
    """Hashes of everything but the records, which hold times."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("run.json", "plan.json")
    }


@pytest.fixture(scope="module")
def whole(pictures, tmp_path_factory):
    out = tmp_path_factory.mktemp("built") / "whole"
    return out, built(pictures, out, "local")


@pytest.mark.whole
def test_shares_of_the_visualisations_give_the_same_files(pictures, whole, tmp_path):
    out = tmp_path / "shares"
    with pytest.raises(SharesMissingError, match="2 of 3 pieces done"):
        built(pictures, out, Shard(0, 2))
    trials = built(pictures, out, Shard(1, 2))
    assert trials.hash == whole[1].hash
    assert contents(out) == contents(whole[0])


def test_shares_of_a_pass_give_the_same_activations(pictures, tmp_path):
    network = load_network(NETWORK, pretrained=False, device="cpu", layers="conv1_0")
    options = {"batch_size": 4, "shard_size": 8, "keep": 5}
    plain = collect_activations(network, pictures, out=tmp_path / "plain", **options)
    for index in (2, 0):
        with pytest.raises(SharesMissingError):
            collect_activations(
                network, pictures, out=tmp_path / "out", executor=Shard(index, 3), **options
            )
    last = collect_activations(
        network, pictures, out=tmp_path / "out", executor=Shard(1, 3), **options
    )
    np.testing.assert_array_equal(last.top_images, plain.top_images)
    assert contents(tmp_path / "out") == contents(tmp_path / "plain")


@pytest.mark.whole
def test_overwritten_pictures_are_read_again_in_the_same_process(pictures, tmp_path):
    path = tmp_path / "images.npz"
    path.write_bytes(pictures.read_bytes())
    first = built(path, tmp_path / "one", Local())
    np.savez(path, images=255 - np.load(pictures)["images"])
    assert built(path, tmp_path / "two", Local()).hash != first.hash


@pytest.mark.cluster
@pytest.mark.filterwarnings("default")
def test_ray_gives_the_same_files(pictures, whole, tmp_path):
    pytest.importorskip("ray")
    with cluster():
        trials = built(pictures, tmp_path / "ray", Ray())
    assert trials.hash == whole[1].hash
    assert contents(tmp_path / "ray") == contents(whole[0])


@pytest.mark.whole
def test_a_network_of_one_layer_has_no_depth(pictures, tmp_path):
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
    options = {"units": 1, "batches": 1, "references": 2, "input_size": 32}
    build_trials(module, pictures, out=tmp_path / "out", **options)
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert '"depth": null' in json.dumps(record)
