"""What the program around has set as torch's defaults: no number follows it, and it stays."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import imi_bench as imi

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def defaults() -> Iterator[None]:
    before = torch.get_default_dtype()
    yield
    torch.set_default_dtype(before)
    torch.set_default_device(None)


def network() -> torch.nn.Module:
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, dtype=torch.float32, device="cpu"), torch.nn.ReLU()
    )
    for one in module.parameters():
        one.data = torch.linspace(-1, 1, one.numel(), dtype=torch.float32, device="cpu").view(
            one.shape
        )
    return module


def scores(module: torch.nn.Module) -> np.ndarray:
    images = np.random.default_rng(0).integers(0, 256, (60, 12, 12, 3), np.uint8)
    found = imi.machine_interpretability(
        module, images, observer="pixel-l2", tasks=2, references=2, quantile=0.2, input_size=12
    )
    return found.to_frame().select_dtypes("number").to_numpy()


def random_weights() -> object:
    name = "timm:test_resnet?pretrained=false&seed=3"
    return imi.load_observer(name).describe()["weights"]["sha256"]  # type: ignore[index]


def test_numbers_and_defaults_stay() -> None:
    module = network()
    expected, weights = scores(module), random_weights()
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.default_generator.manual_seed(77)
    state = torch.default_generator.get_state()
    np.testing.assert_array_equal(scores(module), expected)
    assert random_weights() == weights
    assert torch.equal(torch.default_generator.get_state(), state)
    assert torch.get_default_dtype() == torch.float64
    assert torch.get_default_device().type == "meta"
