"""Feature visualisation of units whose best image is known, and of trained ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imi_bench.errors import InputError, NetworkError, UnknownNameError
from imi_bench.networks.units import Unit

pytestmark = pytest.mark.vision
torch = pytest.importorskip("torch")
pytest.importorskip("timm")

from imi_bench.networks.featurevis import Ascent, visualise  # noqa: E402
from imi_bench.networks.fourier import random_spectrum, random_view, render  # noqa: E402
from imi_bench.networks.gradient_activations import unit_activations  # noqa: E402
from imi_bench.vision.loading import load_network  # noqa: E402

QUICK = Ascent(steps=40, patience=12)
FAR = Ascent(steps=150, patience=75, diversity=0.0, learning_rate=0.2)


class Colours(torch.nn.Module):
    """A convolution whose units are red minus the mean, the sum of colours, and a vertical edge."""

    def __init__(self) -> None:
        super().__init__()
        self.map = torch.nn.Conv2d(3, 3, 3, padding=1, padding_mode="replicate", bias=False)
        weight = torch.zeros(3, 3, 3, 3)
        weight[0, :, 1, 1] = torch.tensor([2.0, -1.0, -1.0])
        weight[1, :, 1, 1] = 1.0
        weight[2, :, :, 0], weight[2, :, :, 2] = -1.0, 1.0
        self.map.weight = torch.nn.Parameter(weight)

    def forward(self, images):
        return self.map(images)


@pytest.fixture(scope="module")
def colours():
    return load_network(Colours(), input_size=24, device="cpu")


@pytest.fixture(scope="module")
def made(colours):
    return {
        direction: visualise(
            colours, [Unit("map", 0), Unit("map", 1)], direction=direction, n_images=3, ascent=FAR
        )
        for direction in ("max", "min")
    }


@pytest.mark.whole
def test_red_unit_becomes_red_and_its_opposite_not(made):
    red, blue = (made[d][0].images.reshape(-1, 3).mean(axis=0) for d in ("max", "min"))
    assert red[0] > 2 * red[1:].max()
    assert blue[1:].min() > 2 * blue[0]


@pytest.mark.whole
def test_sum_unit_becomes_white_and_black(made):
    assert made["max"][1].images.mean() > 200
    assert made["min"][1].images.mean() < 60


@pytest.mark.whole
def test_activation_is_that_of_the_finished_images(colours, made):
    for one in (*made["max"], *made["min"]):
        with torch.inference_mode():
            batch = colours.preprocess.normalise(torch.from_numpy(one.images))
            output = colours.module(batch)[:, one.unit.channel].mean(dim=(1, 2))
        np.testing.assert_allclose(one.activation, output.numpy(), atol=1e-4)


@pytest.mark.whole
def test_trace_rises_or_falls(made):
    for direction, sign in (("max", 1), ("min", -1)):
        for one in made[direction]:
            assert sign * (one.trace[-5:].mean() - one.trace[:5].mean()) > 0


@pytest.mark.whole
def test_deterministic_by_seed_and_independent_of_neighbours(colours, made):
    again = visualise(colours, [Unit("map", 1)], n_images=3, ascent=FAR)[0]
    assert np.abs(again.images.astype(int) - made["max"][1].images).max() <= 2
    other = visualise(colours, [Unit("map", 1)], n_images=3, ascent=FAR, seed=1)[0]
    assert np.abs(again.images.astype(int) - other.images).max() > 20


@pytest.mark.whole
def test_stops_early_on_a_plateau(colours):
    ascent = Ascent(steps=400, patience=10, least_gain=0.05)
    [one] = visualise(colours, [Unit("map", 1)], n_images=1, ascent=ascent)
    assert one.stopped
    assert 20 <= len(one.trace) < 400


@pytest.mark.whole
def test_diversity_makes_images_differ(colours):
    def likeness(weight):
        ascent = replace(QUICK, diversity=weight)
        [one] = visualise(colours, [Unit("map", 2)], n_images=4, ascent=ascent)
        pooled = one.images.reshape(4, 8, 3, 8, 3, 3).mean(axis=(2, 4)).reshape(4, -1)
        cosines = np.corrcoef(pooled)
        return (cosines.sum() - 4) / 12

    assert likeness(2.0) < likeness(0.0) - 0.05


class Threshold(torch.nn.Module):
    """One rectified unit: the sum of normalised colours, which is -6 to 7.3, above 5."""

    def __init__(self) -> None:
        super().__init__()
        self.map = torch.nn.Sequential(torch.nn.Conv2d(3, 1, 1), torch.nn.ReLU(inplace=True))
        torch.nn.init.constant_(self.map[0].weight, 1.0)
        torch.nn.init.constant_(self.map[0].bias, -5.0)

    def forward(self, images):
        return self.map(images)


@pytest.mark.whole
def test_silent_rectified_units_wake_and_fall_further():
    network = load_network(Threshold(), input_size=16, layers="map", device="cpu")
    ascent = replace(FAR, spread=0.05)
    up, down = (
        visualise(network, [Unit("map", 0)], direction=direction, n_images=2, ascent=ascent)[0]
        for direction in ("max", "min")
    )
    assert up.trace[0] == 0
    assert up.activation.min() > 0.5
    assert down.activation.max() == 0
    assert down.images.mean() < 60


@pytest.mark.whole
def test_transformer_units():
    network = load_network("timm:test_vit", pretrained=False, layers=".*mlp_fc1", device="cpu")
    layer = network.layers[0]
    assert len(layer.shape) == 3
    [one] = visualise(network, [Unit(layer.name, 3)], n_images=2, ascent=Ascent(steps=15))
    noise = np.random.default_rng(0).integers(0, 256, one.images.shape, dtype=np.uint8)
    with torch.inference_mode():
        scaled = torch.from_numpy(noise).permute(0, 3, 1, 2) / 255
        natural, _ = unit_activations(network, scaled, [one.unit])
    assert one.activation.min() > natural.max()


def test_rendered_noise_has_equal_energy_an_octave():
    random = torch.Generator().manual_seed(0)
    image = render(random_spectrum(200, size=32, spread=0.05, generator=random)).logit()
    energy = torch.fft.rfft2(image.mean(dim=1)).abs().square().mean(dim=0)[0, 1:16]
    rings = torch.arange(1, 16) ** 2 * energy
    assert rings.max() / rings.min() < 2


def test_middle_view_is_the_image_itself():
    images = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(random_view(images, torch.full((2, 4), 0.5)), images)
    shifted = random_view(images, torch.tensor([[1.0, 0.5, 0.5, 0.5]] * 2))
    torch.testing.assert_close(shifted[..., :-1], images[..., 1:])


def test_bad_input(colours):
    unit = Unit("map", 0)
    for change, error, message in (
        ({"direction": "up"}, InputError, "unknown direction"),
        ({"n_images": 0}, InputError, "too few images"),
        ({"units": [Unit("map", 3)]}, NetworkError, "channel 3"),
        ({"units": [Unit("mop", 0)]}, UnknownNameError, "did you mean 'map'"),
    ):
        with pytest.raises(error, match=message):
            visualise(colours, **({"units": [unit]} | change))
    with pytest.raises(InputError, match="steps out of range"):
        Ascent(steps=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_resnet", "test_byobnet"])
def test_trained_units_go_beyond_natural_images(shared, name):
    from imi_bench.networks.activations import collect_activations
    from imi_bench.networks.units import sample_units

    cifar = "mean=0.4914,0.4822,0.4465&std=0.2470,0.2435,0.2616"
    weights = shared / "nets" / f"{name}.safetensors"
    network = load_network(
        f"timm:{name}?num_classes=10&input_size=32&resize=32&{cifar}&checkpoint={weights}",
        device="cpu",
    )
    units = sample_units(network.layers, 10, seed=3)
    natural = collect_activations(
        network, shared / "images" / "cifar10_test.npz", sampled=units, keep=1
    )
    reached = np.array([one.activation.mean() for one in visualise(network, units)])
    assert (reached > natural.percentiles([99.9])[0]).mean() >= 0.9
