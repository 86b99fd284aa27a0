"""Activations that follow from others are those that would have been read."""

from __future__ import annotations

import numpy as np
import pytest

from imi_bench.networks.recording import Recorder, Rows
from imi_bench.networks.routes import routes_of
from imi_bench.networks.units import hooked
from imi_bench.vision.loading import LoadedNetwork, load_network

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.vision


def recorded(network: LoadedNetwork, *, with_routes: bool) -> tuple[np.ndarray, Recorder]:
    """Activations of two batches, a network on a processor taking the way a GPU takes."""
    layers = network.layers
    recorder = Recorder(
        Rows.of(layers),
        (),
        block=10,
        device="cpu",
        routes=routes_of(network, layers, precision="float32") if with_routes else None,
    )
    random = torch.Generator().manual_seed(0)
    with torch.no_grad(), hooked(network.module, recorder.paths, recorder.seen, inputs=True):
        for size in (4, 3):
            network.module(torch.randn(size, 3, 32, 32, generator=random))
            recorder.advance(size)
    return recorder.complete().numpy().copy(), recorder


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("test_resnet", {"layer1.0.bn1": "layer1_0_conv1"}),
        ("test_vit", {"blocks.0.attn.qkv": "blocks_0_norm1", "blocks.1.mlp.fc1": "blocks_1_norm2"}),
        ("test_convnext2", {}),
    ],
)
def test_routes_give_what_is_read(name: str, taken: dict[str, str]) -> None:
    reference = f"timm:{name}?num_classes=10&input_size=32"
    network = load_network(reference, pretrained=False, device="cpu")
    read, _ = recorded(network, with_routes=False)
    followed, recorder = recorded(network, with_routes=True)
    scale = np.abs(read).max(axis=1, keepdims=True)
    np.testing.assert_allclose(followed, read, rtol=1e-4, atol=1e-5 * scale.max())
    assert recorder.routes is not None
    found = {path: route.source for path, route in recorder.routes.taken.items()}
    assert found
    assert found.items() >= taken.items()


class Traps(torch.nn.Module):
    """Inputs that look like another layer's output, and are not."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.changed = torch.nn.Conv2d(8, 8, 1)
        self.strided = torch.nn.Conv2d(8, 16, 1, stride=2)
        self.norm = torch.nn.BatchNorm2d(16)
        self.fair = torch.nn.Conv2d(16, 16, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = self.first(images)
        found.relu_()  # the same tensor, with other values
        found = self.norm(self.strided(self.changed(found)))
        return self.fair(found).mean((2, 3))


def test_a_tensor_that_was_changed_in_place_is_read_again() -> None:
    torch.manual_seed(0)
    network = load_network(Traps(), device="cpu", input_size=32, layers=".*")
    routes = routes_of(network, network.layers, precision="float32")
    found = {path: route.source for path, route in routes.taken.items()}
    assert found == {"norm": "strided", "fair": "norm"}
    read, _ = recorded(network, with_routes=False)
    followed, _ = recorded(network, with_routes=True)
    np.testing.assert_allclose(followed, read, rtol=1e-4, atol=1e-5)


def test_a_layer_that_does_more_than_its_kind_is_read() -> None:

    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3),
        torch.nn.BatchNorm2d(8),
        torch.nn.Conv2d(8, 8, 1),
        torch.nn.ReLU(),
    )
    module[2].register_forward_hook(lambda _module, _inputs, output: output**2)
    network = load_network(module, device="cpu", input_size=32, layers=".*")
    routes = routes_of(network, network.layers, precision="float32")
    assert "2" in network.layer_names
    assert set(routes.taken) == {"1"}
