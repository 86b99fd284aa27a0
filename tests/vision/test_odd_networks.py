"""Networks unlike those of the registries: every number is a plain hook's, or is refused aloud."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from support.odd_networks import BATCH_MATTERS, ODDITIES, Body, odd  # noqa: E402

from imi_bench.errors import ImiBenchError, NetworkError  # noqa: E402
from imi_bench.networks.activations import collect_activations  # noqa: E402
from imi_bench.networks.units import Unit  # noqa: E402
from imi_bench.vision.loading import load_network  # noqa: E402

nn = torch.nn
pytestmark = pytest.mark.vision
IMAGES = np.random.default_rng(0).integers(0, 256, (7, 24, 20, 3), dtype=np.uint8)


def loaded(module: Any) -> Any:
    return load_network(module, device="cpu", input_size=16, name="odd")


def recorded(network: Any) -> dict[str, Any]:
    """(images, units) by path, as a pass records them in batches of three."""
    units = [Unit(layer.name, i) for layer in network.layers for i in range(layer.width)]
    found = collect_activations(network, IMAGES, layers=[], sampled=units, keep=2, batch_size=3)
    cuts = np.cumsum([layer.width for layer in network.layers])[:-1]
    parts = np.split(found.values, cuts, axis=1)
    return {layer.path: part for layer, part in zip(network.layers, parts, strict=True)}


def by_hand(network: Any) -> dict[str, Any]:
    """The same by hooks on a batch of one image, with the axis that torch documents."""
    rows: dict[str, list[Any]] = {layer.path: [] for layer in network.layers}

    def keep(path: str, part: Any) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> None:
            last = isinstance(part, nn.Linear | nn.LayerNorm)
            maps = output if last else output.movedim(1, -1)
            rows[path].append(maps.reshape(-1, maps.shape[-1]).double().mean(0))

        return hook

    handles = []
    for path in rows:
        part = network.module.get_submodule(path)
        handles.append(part.register_forward_hook(keep(path, part)))
    for image in IMAGES:
        pixels = torch.from_numpy(np.array(network.preprocess.pixels(image)))
        with torch.no_grad():
            network.module(network.preprocess.normalise(pixels[None]))
    for handle in handles:
        handle.remove()
    return {path: torch.stack(values).numpy() for path, values in rows.items()}


@pytest.mark.parametrize("name", ODDITIES)
def test_units_are_those_of_plain_hooks_or_left_out_with_a_reason(name: str) -> None:
    network = loaded(odd(name))
    width = ODDITIES[name][2]
    ours, theirs = recorded(network), by_hand(network)
    assert set(ours) >= {"c1", "n1", "c2", "fcx"}
    for path, wanted in theirs.items():
        np.testing.assert_allclose(ours[path], wanted, rtol=1e-4, atol=1e-5, err_msg=path)
    if width is None:
        assert not any(path.startswith("extra") for path in ours)
        assert any(one.name.startswith("extra") for one in network.left_out), network.left_out
    else:
        assert ours["extra"].shape == (len(IMAGES), width)


@pytest.mark.parametrize("name", BATCH_MATTERS)
def test_layers_that_other_images_or_chance_change_are_left_out(name: str) -> None:
    network = loaded(odd(name))
    said = {one.name: one.reason for one in network.left_out}
    for layer in ("c2", "fcx"):
        assert said[layer] == "other images of the batch, or chance, change its output"
    assert [layer.path for layer in network.layers] == ["c1", "n1"]


def test_a_layer_that_some_images_pass_by_is_refused_when_it_happens() -> None:
    network = loaded(Body(nn.Conv2d(8, 8, 1), lambda layer, x: layer(x)))
    network.module.between = lambda layer, x: layer(x) if x.mean() > 1e9 else x
    with pytest.raises(NetworkError, match="layer did not run for some images: extra"):
        recorded(network)


@pytest.mark.parametrize("rows", [1, 2])
def test_a_layer_that_changes_its_output_is_refused_when_it_happens(rows: int) -> None:
    network = loaded(Body(nn.Conv2d(8, 8, 1), lambda layer, x: layer(x)))
    network.module.between = lambda layer, x: layer(x[:rows]).mean(0, keepdim=True) + x
    with pytest.raises(NetworkError, match="rows of 3 images"):
        recorded(network)


@pytest.mark.whole
def test_wrappers_are_taken_off_and_said() -> None:
    plain = odd("plain")
    wanted = recorded(loaded(plain))
    wrapped = {
        "DataParallel": nn.DataParallel(plain),
        "OptimizedModule": torch.compile(plain, backend="eager"),
    }
    for name, module in wrapped.items():
        network = loaded(module)
        assert f"read without its wrapper {name}" in network.remarks
        np.testing.assert_array_equal(recorded(network)["c2"], wanted["c2"])


class Wrapper(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = odd("plain")

    def forward(self, x: Any) -> Any:
        return {"logits": self.model(x)}


def test_the_head_of_a_network_within_another_is_no_layer() -> None:
    network = loaded(Wrapper())
    assert [(one.name, one.reason) for one in network.left_out] == [
        ("model_head", "classifier head")
    ]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_quantised_networks_are_read_as_the_numbers_they_stand_for() -> None:
    from torch.ao import quantization

    body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3))
    wrapped = quantization.QuantWrapper(body).eval()
    wrapped.qconfig = quantization.get_default_qconfig("fbgemm")
    prepared = quantization.prepare(wrapped)
    prepared(torch.rand(2, 3, 16, 16))
    network = loaded(quantization.convert(prepared))
    assert [layer.width for layer in network.layers] == [8, 6]
    output: dict[str, Any] = {}
    part = network.module.get_submodule(network.layers[1].path)
    part.register_forward_hook(lambda _m, _i, found: output.update(maps=found.dequantize()))
    found = recorded(network)[network.layers[1].path]
    pixels = torch.from_numpy(np.array(network.preprocess.pixels(IMAGES[0])))
    network.module(network.preprocess.normalise(pixels[None]))
    np.testing.assert_allclose(found[0], output["maps"].mean((0, 2, 3)).numpy(), atol=1e-6)


def traced(module: Any) -> Any:
    with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of newer torch
        return torch.jit.trace(module.eval(), torch.rand(1, 3, 16, 16))


class Towers(Body):
    """Takes text first, as CLIP of transformers does."""

    def forward(self, text: Any = None, image: Any = None) -> Any:
        return super().forward(image.float())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: traced(odd("plain")), "no layers"),
        (lambda: nn.Sequential(nn.LazyConv2d(4, 1)), "sizes are not known yet"),
        (lambda: Towers(), "does not run on its input: odd: found AttributeError"),
    ],
)
def test_what_cannot_be_read_at_all_is_one_line(make: Any, said: str) -> None:
    with pytest.raises(ImiBenchError, match=said) as refused:
        loaded(make())
    assert "\n" not in str(refused.value)


def test_a_span_within_the_rounding_of_its_size_is_constant() -> None:
    from imi_bench.networks.tasks import find_pools

    values = np.full((20, 3), 3.0, dtype=np.float32)
    values[:, 1] += np.linspace(0, 1e-6, 20)  # 3 is known to about 3e-6 here
    values[:, 2] += np.linspace(0, 1e-4, 20)
    reason = find_pools(values, size=4, order=np.arange(20)).reason
    assert [str(one).partition(":")[0] for one in reason] == ["constant", "constant", ""]


HEADLESS: dict[str, Any] = {
    "linear": lambda: nn.Linear(8, 5),
    "convolution of 1 x 1": lambda: nn.Sequential(nn.Unflatten(1, (8, 1, 1)), nn.Conv2d(8, 5, 1)),
    "flattened": lambda: nn.Sequential(
        nn.Unflatten(1, (8, 1, 1)), nn.Conv2d(8, 5, 1), nn.Flatten()
    ),
    "softmax": lambda: nn.Sequential(nn.Linear(8, 5), nn.Softmax(1)),
    "logarithm": lambda: nn.Sequential(nn.Linear(8, 5), nn.LogSoftmax(1)),
    "dropout": lambda: nn.Sequential(nn.Linear(8, 5), nn.Dropout()),
}


@pytest.mark.parametrize("kind", HEADLESS)
def test_a_head_without_a_name_is_what_gives_the_networks_output(kind: str) -> None:
    body = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 8)]
    network = loaded(nn.Sequential(*body, nn.ReLU(), HEADLESS[kind]()))
    assert [layer.path for layer in network.layers] == ["0", "4"]
    assert [one.reason for one in network.left_out] == [
        "classifier head: its output is the network's"
    ]


@pytest.mark.parametrize("end", [nn.ReLU(inplace=True), nn.BatchNorm1d(5), nn.Conv1d(1, 1, 1)])
def test_a_last_layer_whose_output_is_changed_is_none(end: Any) -> None:
    first = [nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)]
    last = nn.Sequential(nn.Unflatten(1, (1, 5)), end) if isinstance(end, nn.Conv1d) else end
    network = loaded(nn.Sequential(*first, last))
    assert "3" in [layer.path for layer in network.layers]


class Encoder(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 4, stride=4)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, **options)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.final = nn.LayerNorm(16)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Any) -> Any:
        tokens = self.encoder(self.stem(x).flatten(2).mT)
        return self.head(self.final(tokens.mean(1)))


@pytest.mark.parametrize("first", [False, True])
def test_torchs_own_encoder_is_read_without_its_fused_path_and_in_the_order_it_runs(
    first: bool,
) -> None:
    torch.manual_seed(0)
    network = loaded(Encoder(norm_first=first))
    ours, theirs = recorded(network), by_hand(network)
    for path, wanted in theirs.items():
        np.testing.assert_allclose(ours[path], wanted, rtol=1e-4, atol=1e-5, err_msg=path)
    assert len(theirs) == 2 + 2 * 4
    ran: list[str] = []
    parts = [network.module.get_submodule(path) for path in theirs]
    for path, part in zip(theirs, parts, strict=True):
        part.register_forward_hook(lambda *_, path=path: ran.append(path))
    network.module(torch.zeros(1, 3, 16, 16))
    depths = {layer.path: layer.depth for layer in network.layers}
    np.testing.assert_allclose([depths[path] for path in ran], np.linspace(0, 1, len(ran)))
    only = Unit("encoder_layers_1_linear1", 3)  # of a pass that follows this layer alone
    alone = collect_activations(network, IMAGES, layers=[], sampled=[only], keep=2, batch_size=3)
    wanted = theirs["encoder.layers.1.linear1"][:, 3]
    np.testing.assert_allclose(alone.values[:, 0], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("side", [7, 8])  # maps of 8 x 8 positions have as many rows as units
def test_global_response_norm_is_read_along_its_channels(channels_last: bool, side: int) -> None:
    from timm.layers.grn import GlobalResponseNorm

    torch.manual_seed(0)
    norm = GlobalResponseNorm(8, channels_last=channels_last)
    norm.weight.data.normal_()
    norm.bias.data.normal_()

    def between(layer: Any, x: Any) -> Any:
        x = torch.nn.functional.adaptive_avg_pool2d(x, side)
        return layer(x.movedim(1, -1)).movedim(-1, 1) if channels_last else layer(x)

    network = loaded(Body(norm, between))
    layer = network.layer("extra")
    assert (layer.type, layer.width) == ("GlobalResponseNorm", 8)
    rows: list[Any] = []
    network.module.extra.register_forward_hook(
        lambda _m, _i, out: rows.append(out if channels_last else out.movedim(1, -1))
    )
    for image in IMAGES:
        pixels = torch.from_numpy(np.array(network.preprocess.pixels(image)))
        network.module(network.preprocess.normalise(pixels[None]))
    wanted = np.stack([row[0].double().mean((0, 1)).numpy() for row in rows])
    np.testing.assert_allclose(recorded(network)["extra"], wanted, rtol=1e-4, atol=1e-5)


@dataclass
class Answers:
    age: Any
    kinds: Any


class AnObject(nn.Module):
    def __init__(self, form: Any) -> None:
        super().__init__()
        self.body, self.form = nn.Conv2d(3, 8, 3), form
        self.age, self.kinds = nn.Linear(8, 1), nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        code = self.body(x).mean((2, 3))
        return self.form(age=self.age(code), kinds=self.kinds(code).softmax(1))


@pytest.mark.parametrize("form", [Answers, SimpleNamespace, dict])
def test_heads_are_found_in_whatever_form_a_network_answers(form: Any) -> None:
    network = loaded(AnObject(form))
    assert [layer.name for layer in network.layers] == ["body"]


class SlightNoise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.still, self.noisy, self.fc = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 1), nn.Linear(6, 2)

    def forward(self, x: Any) -> Any:
        x = self.still(x)
        return self.fc(self.noisy(x + 1e-4 * torch.randn(1)).mean((2, 3)))


def test_a_layer_that_chance_moves_however_little_is_none() -> None:
    network = loaded(SlightNoise())
    assert [layer.name for layer in network.layers] == ["still"]
    assert "chance" in network.left_out[0].reason


def with_hook(module: Any) -> None:
    module.get_submodule("0").register_forward_hook(lambda _m, _i, found: 3 * found)


def with_another(module: Any) -> None:
    module.get_submodule("0").register_forward_hook(lambda _m, _i, found: 7 * found)


CHANGES = {
    "nothing": lambda module: None,
    "hook": with_hook,
    "another hook": with_another,
    "hook before": lambda m: m[0].register_forward_pre_hook(lambda _m, seen: (seen[0] - 1,)),
    "attribute": lambda module: setattr(module, "factor", 2.0),
    "another attribute": lambda module: setattr(module, "factor", 5.0),
    "tensor": lambda module: setattr(module, "offset", torch.ones(2)),
    "another tensor": lambda module: setattr(module, "offset", torch.zeros(2)),
    "hidden buffer": lambda m: m.register_buffer("kept", torch.ones(2), persistent=False),
    "another buffer": lambda m: m.register_buffer("kept", torch.zeros(2), persistent=False),
    "forward": lambda module: setattr(module, "forward", lambda images: images.mean((2, 3))),
}


def test_networks_in_memory_that_may_answer_differently_share_no_name_and_no_code() -> None:
    """By weights and text alone one would be given what was computed of the other."""
    from imi_bench.vision.card import NetworkCard
    from imi_bench.vision.network_names import code_of

    card = NetworkCard(name="odd", source="python", architecture="")
    found = {}
    for kind, change in CHANGES.items():
        module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        change(module)
        found[kind] = code_of(card, module)["code"]
        assert code_of(card, module)["code"] == found[kind], kind
    assert len(set(found.values())) == len(CHANGES)
