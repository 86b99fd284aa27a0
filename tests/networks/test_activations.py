from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from imi_bench.errors import ImageError, InputError, NetworkError, UnknownNameError
from imi_bench.networks import activations
from imi_bench.networks.activation_record import Activations
from imi_bench.networks.activations import (
    begin,
    collect_activations,
    finish,
    plan_activations,
    run_shard,
)
from imi_bench.networks.collection import open_images
from imi_bench.networks.units import Unit, hooked, sample_units
from imi_bench.vision.card import Preprocessing
from imi_bench.vision.loading import LoadedNetwork, load_network
from imi_bench.vision.preprocessing import centre_crop, plain_preprocess

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.vision

DEADLY_NETWORK = """
import os
import signal
import torch

class Deadly(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.batches = torch.nn.Conv2d(3, 6, 3), 0

    def forward(self, x):
        self.batches += len(x) > 2
        if self.batches == 8 and "IMI_TEST_KILL" in os.environ:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.conv(x)

def build():
    torch.manual_seed(0)
    return Deadly()
"""


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (150, 32, 32, 3), dtype=np.uint8)
    noise[:, :, :, 0] //= rng.integers(1, 9, (150, 1, 1), dtype=np.uint8)
    return noise


@pytest.fixture(scope="module", params=["test_resnet", "test_convnext2", "test_vit"])
def network(request: pytest.FixtureRequest) -> LoadedNetwork:
    return load_network(
        f"timm:{request.param}?num_classes=10&input_size=32", pretrained=False, device="cpu"
    )


def all_at_once(network: LoadedNetwork, pictures: np.ndarray) -> tuple[np.ndarray, dict]:
    """The images-by-units matrix and whole outputs, the plain way."""
    outputs: dict[str, torch.Tensor] = {}

    def seen(path: str, output: torch.Tensor) -> None:
        outputs[path] = output.clone()  # the next layer may work in place

    with hooked(network.module, [la.path for la in network.layers], seen):
        pixels = torch.stack([torch.from_numpy(network.preprocess.pixels(p)) for p in pictures])
        with torch.inference_mode():
            network.module(network.preprocess.normalise(pixels))
    by_name = {la.name: la.maps(outputs[la.path]).flatten(2) for la in network.layers}
    means = [by_name[name].mean(2) for name in network.layer_names]
    return torch.cat(means, 1).numpy(), {n: la for n, la in by_name.items()}


def test_one_pass_finds_what_the_whole_matrix_shows(
    network: LoadedNetwork, pictures: np.ndarray
) -> None:
    units = sample_units(network.layers, 12, seed=1)
    found = collect_activations(
        network, pictures, sampled=units, keep=20, batch_size=16, shard_size=64
    )
    matrix, outputs = all_at_once(network, pictures)
    near = {"rtol": 1e-4, "atol": 1e-5}
    assert found.top_values.shape == (network.width, 20)
    np.testing.assert_allclose(found.top_values, np.sort(matrix, 0)[::-1][:20].T, **near)
    np.testing.assert_allclose(found.bottom_values, np.sort(matrix, 0)[:20].T, **near)
    rows = np.arange(network.width)[:, None]
    np.testing.assert_allclose(matrix[found.top_images, rows], found.top_values, **near)
    columns = [found.rows.row(unit) for unit in units]
    assert [found.rows.unit(row) for row in columns] == list(units)
    np.testing.assert_allclose(found.values, matrix[:, columns], **near)
    np.testing.assert_allclose(
        found.percentiles([5, 95]), np.percentile(found.values.astype(float), [5, 95], axis=0)
    )
    table = found.covariates()
    for row, unit in enumerate(units):
        off = (outputs[unit.layer][:, unit.channel] <= 0).numpy()
        assert table["sparsity"][row] == pytest.approx(off.mean(), abs=2e-3)
        assert table["silent"][row] == pytest.approx(off.all(1).mean(), abs=2e-2)
        assert np.isnan(table["contrast"][row]) == (len(network.layer(unit.layer).shape) != 4)
    assert list(table["width"]) == [network.layer(unit.layer).width for unit in units]


def test_covariates_of_a_map_by_hand() -> None:
    from imi_bench.networks.recording import measures

    sparsity, silent, contrast = measures(torch.tensor([[[[1.0, -2.0], [0.0, 4.0]]]]))
    assert sparsity.item() == 0.5
    assert silent.item() == 0.0
    # Neighbours: |1+2| + |1-0| + |-2-4| + |0-4| = 14, from both sides 28; the border (every cell
    # has two neighbours outside): 2 (1 + 2 + 0 + 4) = 14. Over 4 cells: 42 / 4.
    assert contrast.item() == pytest.approx(10.5)
    tokens = measures(torch.tensor([[[-1.0, -3.0]]]))
    assert [tokens[0].item(), tokens[1].item()] == [1.0, 1.0]
    assert torch.isnan(tokens[2]).all()


def test_contrast_equals_the_padded_definition() -> None:
    from torch.nn import functional as F  # noqa: N812

    from imi_bench.networks.recording import measures

    maps = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    padded = F.pad(maps, (1, 1, 1, 1))
    inside = padded[:, :, 1:-1, 1:-1]
    shifted = [
        padded[:, :, 2:, 1:-1],
        padded[:, :, :-2, 1:-1],
        padded[:, :, 1:-1, 2:],
        padded[:, :, 1:-1, :-2],
    ]
    wanted = sum((other - inside).abs() for other in shifted).mean((2, 3))
    torch.testing.assert_close(measures(maps)[2], wanted)


ODD_NUMBERS = np.array([-2, -0.0, 0, 1, 1.5, 3e38, -3e38, 1e-40], dtype=np.float32)


@given(
    values=arrays(
        np.float32,
        st.tuples(st.integers(1, 4), st.integers(1, 30)),
        elements=st.sampled_from(ODD_NUMBERS.tolist()),
    ),
    keep=st.integers(1, 8),
    cuts=st.lists(st.integers(1, 29), max_size=4),
)
def test_extremes_do_not_depend_on_how_the_stream_is_cut(
    values: np.ndarray, keep: int, cuts: list[int]
) -> None:
    from imi_bench.networks.extremes import Extremes

    units, count = values.shape
    # Equal values go to the earlier image; -0.0 equals 0.0.
    plain = values + np.float32(0)
    top = np.argsort(-plain, axis=1, kind="stable")[:, :keep]
    bottom = np.argsort(plain, axis=1, kind="stable")[:, :keep]
    streamed = Extremes(units, keep=keep)
    by_value = Extremes(units, keep=keep, by_value=True)
    edges = sorted({0, count, *(cut for cut in cuts if cut < count)})
    merged = Extremes(units, keep=keep)
    for start, stop in itertools.pairwise(edges):
        block = torch.from_numpy(values[:, start:stop].copy())
        numbers = torch.arange(start, stop)
        streamed.update(block, numbers)
        by_value.update(block, numbers)
        part = Extremes(units, keep=keep)
        part.update(block, numbers)
        merged.absorb(part.keys())
    for found in (streamed.arrays(), by_value.arrays(), merged.arrays()):
        np.testing.assert_array_equal(found["top_images"], top)
        np.testing.assert_array_equal(found["bottom_images"], bottom)
        np.testing.assert_array_equal(found["top_values"], np.take_along_axis(plain, top, axis=1))


def test_shards_in_any_order_give_the_same_bytes(pictures: np.ndarray, tmp_path: Path) -> None:
    network = load_network("timm:test_resnet?input_size=32", pretrained=False, device="cpu")
    units = sample_units(network.layers, 5, seed=0)
    options = {"sampled": units, "keep": 10, "batch_size": 8, "shard_size": 40}
    collect_activations(network, pictures, out=tmp_path / "local", **options)
    images = open_images(pictures)
    plan = plan_activations(network, images, **options)
    shards = begin(plan, tmp_path / "spread")
    assert shards is not None
    for number in reversed(range(len(plan.shards))):
        run_shard(plan, number, network=network, images=images, folder=shards)
    finish(plan, network=network, images=images, out=tmp_path / "spread")
    one, other = (
        (tmp_path / name / "activations.npz").read_bytes() for name in ("local", "spread")
    )
    assert one == other
    assert not shards.exists()
    assert (tmp_path / "spread" / "run.json").is_file()
    # Finished: read, not run again; a different pass may not use the folder.
    before = (tmp_path / "local" / "activations.npz").stat().st_mtime_ns
    again = collect_activations(network, pictures, out=tmp_path / "local", **options)
    assert (tmp_path / "local" / "activations.npz").stat().st_mtime_ns == before
    assert again.sampled == units
    for other, message in (
        ({"keep": 11}, "found keep 10;"),
        ({"layers": ["bn1"], "batch_size": 20}, "found other layers, batch_size 8;"),
    ):
        with pytest.raises(InputError, match=f"folder holds another pass: .*: {message}"):
            collect_activations(network, pictures, out=tmp_path / "local", **options | other)
    with pytest.raises(InputError, match="found another network, or other images"):
        collect_activations(network, pictures[::-1], out=tmp_path / "local", **options)


def test_another_process_may_merge_first(
    pictures: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = load_network("timm:test_resnet?input_size=32", pretrained=False, device="cpu")
    images = open_images(pictures[:40])
    plan = plan_activations(network, images, layers=["bn1"], batch_size=16, keep=3)
    shards = begin(plan, tmp_path)
    assert shards is not None
    with pytest.raises(InputError, match="shard is missing"):
        finish(plan, network=network, images=images, out=tmp_path)
    for number in range(len(plan.shards)):
        run_shard(plan, number, network=network, images=images, folder=shards)
    merge = activations.merge_shards

    def late(*args, **kwargs):
        monkeypatch.setattr(activations, "merge_shards", merge)
        finish(plan, network=network, images=images, out=tmp_path)  # the other process
        return merge(*args, **kwargs)

    monkeypatch.setattr(activations, "merge_shards", late)
    found = finish(plan, network=network, images=images, out=tmp_path)
    direct = collect_activations(network, pictures[:40], layers=["bn1"], batch_size=16, keep=3)
    np.testing.assert_array_equal(found.top_images, direct.top_images)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes:UserWarning")
def test_images_decoded_by_other_processes_are_the_same(pictures: np.ndarray) -> None:
    network = load_network("timm:test_resnet?input_size=32", pretrained=False, device="cpu")
    units = [Unit("bn1", 3)]
    alone, helped = (
        collect_activations(
            network, pictures[:40], sampled=units, layers=[], batch_size=16, workers=workers
        )
        for workers in (0, 2)
    )
    np.testing.assert_array_equal(alone.values, helped.values)
    np.testing.assert_array_equal(alone.top_images, helped.top_images)


def test_missing_shard_is_named(pictures: np.ndarray, tmp_path: Path) -> None:
    network = load_network("timm:test_resnet?input_size=32", pretrained=False, device="cpu")
    images = open_images(pictures)
    plan = plan_activations(network, images, shard_size=64, layers=["bn1"])
    shards = begin(plan, tmp_path)
    assert shards is not None
    run_shard(plan, 0, network=network, images=images, folder=shards)
    with pytest.raises(InputError, match=r"shard-0001.npz: found 1 of 3 shards"):
        finish(plan, network=network, images=images, out=tmp_path)


@pytest.mark.whole
def test_killed_pass_goes_on_and_ends_with_the_same_file(
    pictures: np.ndarray, tmp_path: Path
) -> None:
    (tmp_path / "deadly.py").write_text(DEADLY_NETWORK)
    np.savez(tmp_path / "pictures.npz", images=pictures)
    script = tmp_path / "pass.py"
    script.write_text(
        "import sys, torch\n"
        "from pathlib import Path\n"
        "from imi_bench.networks.activations import collect_activations\n"
        "from imi_bench.vision.loading import load_network\n"
        "torch.set_num_threads(1)\n"
        "here = Path(sys.argv[1])\n"
        "network = load_network(f'{here}/deadly.py:build?input_size=32', device='cpu')\n"
        "collect_activations(network, here / 'pictures.npz', out=here / 'out', keep=7,\n"
        "                    batch_size=5, shard_size=10)\n"
    )
    victim = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], env={**os.environ, "IMI_TEST_KILL": "1"}
    )
    assert victim.returncode == -signal.SIGKILL
    shards = tmp_path / "out" / "shards"
    finished = {path.name: path.stat().st_mtime_ns for path in shards.glob("shard-*.npz")}
    assert len(finished) == 3  # of two batches each
    assert not (tmp_path / "out" / "activations.npz").exists()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        reference = f"{tmp_path}/deadly.py:build?input_size=32"
        network = load_network(reference, device="cpu")
        images = open_images(tmp_path / "pictures.npz")
        plan = plan_activations(network, images, keep=7, batch_size=5, shard_size=10)
        for number in range(5):
            run_shard(plan, number, network=network, images=images, folder=shards)
        kept = {name: (shards / name).stat().st_mtime_ns for name in finished}
        assert kept == finished
        options = {"keep": 7, "batch_size": 5, "shard_size": 10}
        collect_activations(network, images, out=tmp_path / "out", **options)
        collect_activations(network, images, out=tmp_path / "whole", **options)
    finally:
        torch.set_num_threads(threads)
    resumed, whole = (
        (tmp_path / name / "activations.npz").read_bytes() for name in ("out", "whole")
    )
    assert resumed == whole


def test_activations_survive_the_disk(pictures: np.ndarray, tmp_path: Path) -> None:
    network = load_network("timm:test_resnet?input_size=32", pretrained=False, device="cpu")
    units = [Unit("bn1", 3)]
    found = collect_activations(network, pictures[:20], sampled=units, layers=["bn1"], keep=4)
    found.save(tmp_path / "a.npz")
    loaded = Activations.load(tmp_path / "a.npz")
    assert loaded.layers == found.layers
    assert loaded.sampled == found.sampled
    np.testing.assert_array_equal(loaded.of(units[0]), found.of(units[0]))
    assert loaded.record == found.record
    with pytest.raises(InputError, match="unit was not sampled"):
        loaded.of(Unit("bn1", 4))
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:100])
    with pytest.raises(InputError, match="activations cannot be read"):
        Activations.load(tmp_path / "b.npz")


def test_bfloat16_autocast_agrees_roughly_and_is_another_pass(pictures: np.ndarray) -> None:
    network = load_network("timm:test_resnet?input_size=32", pretrained=False, device="cpu")
    units = [Unit("bn1", channel) for channel in range(8)]
    full, half = (
        collect_activations(network, pictures[:32], sampled=units, layers=[], precision=precision)
        for precision in ("float32", "bfloat16")
    )
    assert np.abs(full.values - half.values).max() > 0
    np.testing.assert_allclose(half.values, full.values, atol=0.05 * np.abs(full.values).max())
    assert full.record["fingerprint"] != half.record["fingerprint"]


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_activations_that_are_no_numbers_are_one_clear_line(
    pictures: np.ndarray, poison: float
) -> None:
    network = load_network("timm:test_resnet?input_size=32", pretrained=False, device="cpu")
    with torch.no_grad():
        network.module.layer1[0].conv1.weight[3] = poison
    with pytest.raises(NetworkError, match="not a finite number: test_resnet-random0") as caught:
        collect_activations(network, pictures[:8], layers=["layer1_0_conv1"])
    assert "unit layer1_0_conv1__3, image '0'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_layers_and_bad_numbers_are_refused(pictures: np.ndarray) -> None:
    network = load_network("timm:test_resnet?input_size=32", pretrained=False, device="cpu")
    with pytest.raises(
        UnknownNameError, match=r"unknown layer: found 'layer1_0_conv3'.* 'layer1_0_conv1'"
    ):
        collect_activations(network, pictures, layers=["layer1_0_conv3"])
    with pytest.raises(InputError, match="keep out of range: found 0"):
        collect_activations(network, pictures, keep=0)
    with pytest.raises(InputError, match="unknown precision"):
        collect_activations(network, pictures, precision="int8")


class Pairs:
    """A torchvision-like dataset of (Pillow image, label)."""

    def __init__(self, pictures: np.ndarray) -> None:
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, number: int) -> object:
        from PIL import Image

        return Image.fromarray(self.pictures[number]), 3


class Rows(Pairs):
    """A Hugging-Face-like dataset of {"image": …}."""

    def __getitem__(self, number: int) -> object:
        return {"image": super().__getitem__(number)[0], "label": 3}


def test_folders_arrays_and_datasets_are_the_same_images(
    pictures: np.ndarray, tmp_path: Path
) -> None:
    from PIL import Image

    few = pictures[:12]
    for number, picture in enumerate(few):
        folder = tmp_path / ("a" if number < 6 else "b")
        folder.mkdir(exist_ok=True)
        Image.fromarray(picture).save(folder / f"{number:02d}.png")
    (tmp_path / "notes.txt").write_text("no image")
    sources = [open_images(source) for source in (few, tmp_path, Pairs(few), Rows(few))]
    for images in sources:
        assert len(images) == 12
        for number in (0, 7, 11):
            np.testing.assert_array_equal(images.read(number), few[number])
    assert sources[1].names[6] == "b/06.png"
    before = sources[1].fingerprint
    (tmp_path / "a" / "00.png").unlink()
    assert open_images(tmp_path).fingerprint != before


def test_bad_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("x")
    with pytest.raises(InputError, match=r"folder with no images: .*found 1 file of other formats"):
        open_images(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        open_images(tmp_path / "none")
    with pytest.raises(InputError, match="not images: array: found float64"):
        open_images(np.zeros((2, 8, 8, 3)))
    with pytest.raises(InputError, match="not a collection of images: found int"):
        open_images(3)
    with pytest.raises(InputError, match="dataset with no images"):
        open_images(Pairs(np.zeros((0, 8, 8, 3), np.uint8)))
    with pytest.raises(ImageError, match="dataset gives no image"):
        open_images([np.zeros((3, 8, 8))]).read(0)
    (tmp_path / "bad.png").write_bytes(b"no png")
    with pytest.raises(ImageError, match=r"bad.png"):
        open_images(tmp_path).read(0)


@pytest.mark.parametrize(("height", "width"), [(300, 500), (257, 256), (500, 333), (40, 60)])
def test_preprocessing_is_torchvisions(height: int, width: int) -> None:
    from PIL import Image
    from torchvision import transforms

    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    theirs = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )(Image.fromarray(picture))
    ours = plain_preprocess(Preprocessing(crop=224, resize=256))
    pixels = torch.from_numpy(np.array(ours.pixels(picture)))
    torch.testing.assert_close(ours.normalise(pixels[None])[0], theirs)
    assert centre_crop(picture, crop=50, resize=30).shape == (50, 50, 3)


@pytest.mark.vision
def test_what_changes_an_output_in_place_changes_no_activation() -> None:
    import torch
    from torch import nn

    head = nn.Sequential(nn.Linear(4, 5), nn.Hardswish(inplace=True), nn.Linear(5, 3))
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = load_network(
        nn.Sequential(body, head, nn.ReLU(inplace=True)), device="cpu", input_size=16
    )
    pictures = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    unit = Unit("1_0", 2)
    found = collect_activations(network, pictures, layers=[], sampled=[unit], keep=2, batch_size=2)
    with torch.no_grad():
        batch = network.preprocess.normalise(torch.from_numpy(pictures))
        body, head = network.module[0], network.module[1]
        wanted = head[0](body(batch))[:, 2]
    np.testing.assert_allclose(found.of(unit), wanted, atol=1e-6)
