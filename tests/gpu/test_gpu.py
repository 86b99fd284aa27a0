"""What must hold on a GPU (tox -e gpu): nothing here runs without one."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from imi_bench.cli.app import app
from imi_bench.errors import InputError
from imi_bench.mis.scores import machine_interpretability_score
from imi_bench.networks.activations import collect_activations
from imi_bench.networks.extremes import Extremes
from imi_bench.networks.featurevis import Ascent, visualise
from imi_bench.networks.fourier import sampled
from imi_bench.networks.memory import available_bytes, pass_bytes
from imi_bench.networks.units import sample_units
from imi_bench.observers.catalogue import load_observer
from imi_bench.observers.encoders import from_timm
from imi_bench.vision.device import device_name, pick_device
from imi_bench.vision.loading import LoadedNetwork, load_network

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.gpu

NETWORKS = ("test_resnet", "test_convnext2", "test_vit")


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (96, 40, 48, 3), dtype=np.uint8)


def network(name: str, device: str) -> LoadedNetwork:
    return load_network(
        f"timm:{name}?num_classes=10&input_size=32", pretrained=False, device=device
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_activations_are_those_of_the_processor(name: str, pictures: np.ndarray) -> None:
    found = {}
    for device in ("cpu", "cuda"):
        loaded = network(name, device)
        units = sample_units(loaded.layers, 20, seed=0)
        found[device] = collect_activations(
            loaded, pictures, sampled=units, keep=20, batch_size=16, shard_size=48
        )
    cpu, gpu = found["cpu"], found["cuda"]
    # TensorFloat-32, which torch takes for convolutions unless told otherwise, is off by 1e-3
    np.testing.assert_allclose(
        gpu.values, cpu.values, rtol=2e-5, atol=2e-6 * np.abs(cpu.values).max()
    )
    np.testing.assert_allclose(gpu.top_values, cpu.top_values, rtol=2e-5, atol=1e-5)
    one, other = gpu.covariates(), cpu.covariates()
    for column in ("sparsity", "silent", "contrast"):
        np.testing.assert_allclose(one[column], other[column], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_the_same_pass_gives_the_same_bytes(
    precision: str, pictures: np.ndarray, tmp_path: Path
) -> None:
    loaded = network("test_resnet", "cuda")
    for name, workers in (("one", 0), ("other", 2)):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
            collect_activations(
                loaded,
                pictures,
                out=tmp_path / name,
                sampled=sample_units(loaded.layers, 20, seed=0),
                keep=20,
                batch_size=16,
                shard_size=32,
                precision=precision,
                workers=workers,
            )
    one, other = ((tmp_path / name / "activations.npz").read_bytes() for name in ("one", "other"))
    assert one == other
    record = json.loads((tmp_path / "one" / "run.json").read_text())
    assert record["device"] == device_name("cuda") != "cuda"


def test_what_enters_the_network_has_the_bits_of_the_processor(pictures: np.ndarray) -> None:
    preprocess = network("test_resnet", "cpu").preprocess
    batch = torch.from_numpy(pictures)
    sent = preprocess.normalise(batch.cuda())
    assert torch.equal(sent.cpu(), preprocess.normalise(batch))


def test_extremes_with_many_equal_values_are_those_of_the_processor() -> None:
    random = torch.Generator().manual_seed(0)
    values = torch.randint(-3, 4, (300, 700), generator=random).float()
    found = {}
    for device in ("cpu", "cuda"):
        extremes = Extremes(len(values), keep=30, device=device)
        for start in range(0, 700, 100):
            part = values[:, start : start + 100].to(device)
            extremes.update(part, torch.arange(start, start + 100, device=device))
        found[device] = extremes.arrays()
    for name, array in found["cpu"].items():
        np.testing.assert_array_equal(found["cuda"][name], array)


def test_codes_are_those_of_the_processor(pictures: np.ndarray) -> None:
    for name in NETWORKS:
        cpu, gpu = (
            from_timm(name, pretrained=False, device=device).encode(list(pictures))
            for device in ("cpu", "cuda")
        )
        gap = np.linalg.norm(gpu - cpu, axis=1) / np.linalg.norm(cpu, axis=1)
        assert gap.max() < 1e-5, name


def test_scores_from_the_device_are_the_same_numbers() -> None:
    random = torch.Generator().manual_seed(0)
    embeddings = torch.randn(2000, 64, generator=random)
    activations = torch.randn(2000, 50, generator=random)
    cpu = machine_interpretability_score(embeddings, activations, slope=5.0, seed=0)
    gpu = machine_interpretability_score(embeddings.cuda(), activations.cuda(), slope=5.0, seed=0)
    np.testing.assert_array_equal(gpu.margin, cpu.margin)


def test_feature_visualisations_are_repeatable() -> None:
    for name in NETWORKS:
        loaded = network(name, "cuda")
        units = sample_units(loaded.layers, 4, seed=0)
        one, other = (
            visualise(loaded, units, n_images=3, ascent=Ascent(steps=12)) for _ in range(2)
        )
        for first, second in zip(one, other, strict=True):
            assert first.trace.tolist() == second.trace.tolist(), name
            np.testing.assert_array_equal(first.images, second.images)


def test_reading_rows_is_grid_sample() -> None:
    random = torch.Generator(device="cuda").manual_seed(0)
    images = torch.rand(3, 2, 9, 7, generator=random, device="cuda", requires_grad=True)
    grid = torch.rand(3, 9, 7, 2, generator=random, device="cuda") * 4 - 2
    wanted = torch.nn.functional.grid_sample(
        images, grid, padding_mode="reflection", align_corners=False
    )
    found = sampled(images, grid)
    torch.testing.assert_close(found, wanted)
    gradients = [torch.autograd.grad(one.square().sum(), images)[0] for one in (found, wanted)]
    torch.testing.assert_close(*gradients)


def test_a_device_that_is_absent_is_one_line(tmp_path: Path) -> None:
    count = torch.cuda.device_count()
    assert pick_device("auto") == "cuda"
    assert pick_device(f"cuda:{count - 1}") == f"cuda:{count - 1}"
    with pytest.raises(InputError, match=f"no such device here: found cuda:{count}, wanted auto, "):
        pick_device(f"cuda:{count}")
    with pytest.raises(InputError, match="no such device here"):
        load_network("timm:test_resnet", pretrained=False, device="cuda:77")


def test_an_observer_from_a_file_is_given_the_device_or_refuses_it(tmp_path: Path) -> None:
    (tmp_path / "deaf.py").write_text(
        "import numpy as np\n\n\nclass Deaf:\n    name = 'deaf'\n\n"
        "    def describe(self):\n        return {}\n\n"
        "    def encode(self, images):\n        return np.zeros((len(images), 2))\n\n"
        "    def decide(self, trials, codes):\n        return np.zeros(len(trials))\n"
    )
    with pytest.raises(InputError, match="the observer takes no device"):
        load_observer(f"{tmp_path}/deaf.py:Deaf", device="cuda")
    (tmp_path / "told.py").write_text(
        (tmp_path / "deaf.py").read_text()
        + "\n\nclass Told(Deaf):\n"
        + "    def __init__(self, device='cpu'):\n        self.device = device\n"
    )
    assert load_observer(f"{tmp_path}/told.py:Told", device="cuda").device == "cuda"


def test_memory_that_runs_out_is_one_line(pictures: np.ndarray) -> None:
    loaded = network("test_resnet", "cuda")
    free = available_bytes("cuda")
    assert free is not None
    assert pass_bytes(100_000, keep=110, batch_size=64, device="cuda") < free
    fraction = (torch.cuda.memory_allocated() + 2**24) / torch.cuda.mem_get_info()[1]
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(fraction)
    try:
        with pytest.raises(InputError, match="not enough memory on the device") as caught:
            collect_activations(loaded, np.tile(pictures, (30, 1, 1, 1)), keep=5, batch_size=2880)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "\n" not in str(caught.value)
    assert "smaller batch_size=" in str(caught.value)
    # and what is smaller runs
    collect_activations(loaded, pictures[:8], keep=5, batch_size=8)


def test_the_command_line_runs_there_and_records_it(pictures: np.ndarray, tmp_path: Path) -> None:
    for number, picture in enumerate(np.tile(pictures, (3, 1, 1, 1))):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / "photos" / f"{number:03d}.png")
    command = (
        f"mis --network timm:test_resnet?input_size=32 --random --images {tmp_path / 'photos'} "
        f"--observer pixel-cosine --slope 5 --quantile 0.05 --tasks 3 --layers layer4_.* "
        f"--workers 0 --out {tmp_path / 'out'}"
    )
    ran = CliRunner().invoke(app, command.split())
    assert ran.exit_code == 0, ran.output
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["device"] == device_name("cuda")
