"""Unit activations that need not be read, since they follow from others that are.

A unit's activation is a mean over positions, and means pass through linear maps: the mean output of
a linear map, a 1 x 1 convolution or a normalisation with fixed statistics is that map of its mean
input. Where this input is the output of another layer that is followed, or has fewer channels than
the output, most of the memory traffic of hooks on a GPU goes. It is equal but for rounding.

Nothing is assumed of a network. Two made-up images pass first, every layer is read, and a route is
one that gave the same numbers. It is taken where, at that very run of the layer, its input is the
tensor that the other layer gave, not changed since (torch counts changes in place).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

import numpy as np

from imi_bench.extras import require
from imi_bench.provenance import generator
from imi_bench.vision.device import single_precision
from imi_bench.vision.layers import Layer, hooked
from imi_bench.vision.loading import LoadedNetwork

if TYPE_CHECKING:
    from torch import Tensor, nn

_AGREE = {"float32": 1e-4, "bfloat16": 3e-2, "float16": 4e-3}
"""Largest difference on the made-up images, as a share of the layer's largest activation."""
_FEWER = 0.67  # channels of the input, as a share of the output's, for which it is read instead


@dataclass(frozen=True, eq=False)
class Route:
    """From the means of a layer's input to those of its output.

    Attributes
    ----------
    layer : Layer
    module : torch.nn.Module
        Linear, Conv2d of 1 x 1 or BatchNorm2d.
    source : str or None
        Layer whose output is the input; None: the input is read.
    """

    layer: Layer
    module: nn.Module
    source: str | None

    @property
    def inputs(self) -> int:
        """How many means the input has."""
        part: Any = self.module
        return int(part.num_features if hasattr(part, "num_features") else part.weight.shape[1])

    def output(self, means: Tensor, precision: str) -> Tensor:
        """(units, images) means of the output from (inputs, images) means of the input."""
        torch = require("torch", for_="recording activations")
        part: Any = self.module
        if isinstance(part, torch.nn.BatchNorm2d):
            scale = (part.running_var + part.eps).rsqrt()
            scale = scale if part.weight is None else scale * part.weight
            shifted = (means - part.running_mean[:, None]) * scale[:, None]
            return shifted if part.bias is None else shifted + part.bias[:, None]
        weight = part.weight.flatten(1).to(getattr(torch, precision)).float()
        found = weight @ means
        return found if part.bias is None else found + part.bias.float()[:, None]


class Routes:
    """Which layers of a network need not be read; made by `routes_of`.

    Parameters
    ----------
    taken : dict of str to Route
        By module path.
    precision : str
    """

    def __init__(self, taken: dict[str, Route], precision: str) -> None:
        self.taken, self.precision = taken, precision
        self._given: dict[int, tuple[Any, str, int]] = {}

    def given(self, layer: Layer, output: Tensor) -> None:
        """Note what a layer gave, for those that take it."""
        self._given[id(output)] = (ref(output), layer.name, output._version)

    def origin(self, inputs: tuple[Any, ...]) -> str | None:
        """The layer whose output, unchanged, is the only input."""
        held = self._given.get(id(inputs[0])) if len(inputs) == 1 else None
        if held is None or held[0]() is not inputs[0] or inputs[0]._version != held[2]:
            return None
        return held[1]

    def forget(self) -> None:
        """A batch has passed."""
        self._given.clear()


def routes_of(network: LoadedNetwork, layers: tuple[Layer, ...], *, precision: str) -> Routes:
    """The routes of a network, found by running it on two made-up images; once in a process.

    Parameters
    ----------
    network : LoadedNetwork
    layers : tuple of Layer
        That are followed.
    precision : str
        Of the pass.
    """
    known = _KNOWN.setdefault(network.module, {})
    key = (layers, precision)
    if key not in known:
        known.clear()
        known[key] = _found(network, layers, precision)
    return known[key]


_KNOWN: WeakKeyDictionary[Any, dict[tuple[Any, ...], Routes]] = WeakKeyDictionary()


def _found(network: LoadedNetwork, layers: tuple[Layer, ...], precision: str) -> Routes:
    torch = require("torch", for_="recording activations")
    by_path = {layer.path: layer for layer in layers}
    modules = {path: network.module.get_submodule(path) for path in by_path}
    mapping = {path for path, part in modules.items() if _maps_means(part)}
    routes = Routes({}, precision)
    read: dict[str, Tensor] = {}
    compared: list[tuple[Route, Tensor]] = []

    def seen(path: str, output: Any, inputs: tuple[Any, ...]) -> None:
        layer = by_path[path]
        if not layer.fits(output):
            return
        read[layer.name] = layer.reduce(output).T
        source = routes.origin(inputs)
        if path in mapping and _reducible(layer, inputs, output, source):
            route = Route(layer, modules[path], source)
            means = layer.reduce(inputs[0]).T if source is None else read[source]
            with torch.autocast(output.device.type, enabled=False):
                gap = (route.output(means, precision) - read[layer.name]).abs().amax()
            compared.append((route, gap <= _AGREE[precision] * read[layer.name].abs().amax()))
        routes.given(layer, output)

    noise = generator(0, "routes").integers(0, 256, (2, *network.preprocess.size, 3))
    pixels = torch.from_numpy(noise.astype(np.uint8)).to(network.device)
    kind, dtype = network.device.partition(":")[0], getattr(torch, precision)
    with (
        torch.no_grad(),
        single_precision(network.device, doing=f"{network.name} on two images", do="device='cpu'"),
        hooked(network.module, by_path, seen, inputs=True),
        torch.autocast(kind, dtype=dtype, enabled=precision != "float32"),
    ):
        network.module(network.preprocess.normalise(pixels))
    if compared:
        agreed = torch.stack([same for _, same in compared]).tolist()
        routes.taken = {
            route.layer.path: route
            for (route, _), same in zip(compared, agreed, strict=True)
            if same
        }
    routes.forget()
    return routes


def _reducible(layer: Layer, inputs: tuple[Any, ...], output: Tensor, source: str | None) -> bool:
    """Whether the input has the output's positions, and is read already or has fewer channels."""
    if len(inputs) != 1 or layer.parts > 1 or not hasattr(inputs[0], "shape"):
        return False
    came, went = list(inputs[0].shape), list(output.shape)
    if len(came) != len(went):
        return False
    few, many = came.pop(layer.channel_axis), went.pop(layer.channel_axis)
    return came == went and (source is not None or few <= _FEWER * many)


def _maps_means(part: nn.Module) -> bool:
    """Whether a module is one of those, itself and not a relative, with nothing hooked to it."""
    nn = require("torch", for_="recording activations").nn
    if part._forward_pre_hooks or part._forward_hooks or part.training:
        return False
    if type(part) is nn.Conv2d:
        plain = part.stride == (1, 1) and part.padding in ((0, 0), "valid") and part.groups == 1
        return part.kernel_size == (1, 1) and plain
    if type(part) is nn.BatchNorm2d:
        return part.running_mean is not None
    return type(part) is nn.Linear
