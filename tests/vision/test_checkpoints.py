"""Checkpoints as training scripts save them: read as what they hold, said, or refused."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from imi_bench.errors import NetworkError
from imi_bench.vision.loading import load_network

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.vision

NETWORK = "timm:test_resnet?num_classes=10&input_size=32&resize=32"
OPTIMIZER = {"state": {}, "param_groups": []}


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return dict(load_network(NETWORK, pretrained=False, seed=5, device="cpu").module.state_dict())


def prefixed(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + key: value for key, value in state.items()}


@pytest.mark.parametrize(
    ("wrapped", "said"),
    [
        (lambda s: s, ""),
        (lambda s: {"state_dict": prefixed(s, "module."), "epoch": 3}, "without the prefix module"),
        (lambda s: {"model": s, "optimizer": OPTIMIZER}, "entry 'model'"),
        (lambda s: {"state_dict": prefixed(s, "model."), "lr": 1}, "without the prefix model"),
        (lambda s: prefixed(s, "module._orig_mod."), "without the prefix module._orig_mod"),
        (lambda s: {k: v for k, v in s.items() if "num_batches" not in k}, ""),
    ],
)
def test_wrapped_weights_are_those_inside(
    wrapped: Any, said: str, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(wrapped(state), path)
    found = load_network(NETWORK, checkpoint=path, device="cpu")
    assert all(torch.equal(found.module.state_dict()[key], state[key]) for key in state)
    assert said in "; ".join(found.remarks)


def test_half_precision_in_the_file_is_said(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "half.pth"
    torch.save({key: value.half() for key, value in state.items()}, path)
    assert "float16" in "; ".join(load_network(NETWORK, checkpoint=path, device="cpu").remarks)


@pytest.mark.parametrize(
    ("wrapped", "said"),
    [
        (lambda s: {"state_dict": s, "state_dict_ema": s}, "several sets"),
        (lambda s: list(s.values()), "not a state dict"),
        (lambda s: prefixed(s, "encoder."), "does not fit"),
    ],
)
def test_what_is_not_clear_is_refused(
    wrapped: Any, said: str, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(wrapped(state), path)
    with pytest.raises(NetworkError, match=said):
        load_network(NETWORK, checkpoint=path, device="cpu")


def test_a_scripted_network_is_no_checkpoint_and_says_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "scripted.pt"
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of newer torch
        traced = torch.jit.trace(torch.nn.Conv2d(3, 2, 1), torch.zeros(1, 3, 4, 4))
    traced.save(path)
    with pytest.raises(NetworkError, match="weights cannot be read"):
        load_network(NETWORK, checkpoint=path, device="cpu")


@pytest.mark.parametrize(
    "text",
    [
        "def net(): raise RuntimeError('no')",
        "import nowhere_at_all",
        "def net(): raise SystemExit(0)",
        "raise SystemExit(0)",
    ],
)
def test_a_function_that_fails_is_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(NetworkError, match=r"cannot be (built|imported)"):
        load_network(f"{path}:net", device="cpu")
