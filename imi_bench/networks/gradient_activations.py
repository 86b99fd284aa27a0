"""Activations that a gradient can climb, also where a rectified unit is silent.

A rectifier passes no gradient to an image on which the unit is silent at every position. There the
ascent follows the values that enter the rectifier, as Lucid's redirected gradients do
(`lucid.misc.redirected_relu_grad`): towards direction max until the unit wakes, towards min beyond
the point where it falls silent. This holds for a rectifier that ends the unit's own layer and is a
module of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from imi_bench.extras import require
from imi_bench.networks.units import Unit
from imi_bench.vision.layers import hooked
from imi_bench.vision.loading import LoadedNetwork

if TYPE_CHECKING:
    from torch import Tensor, nn


def unit_activations(
    network: LoadedNetwork, images: Tensor, units: Sequence[Unit]
) -> tuple[Tensor, Tensor]:
    """Activation of each unit on its own images (n rows of `images` each), and what to climb.

    Returns
    -------
    activation : (units, n) tensor
    driven : (units, n) tensor
        The same, but for images on which a rectified unit is silent: there the mean of the
        values that enter the rectifier.
    """
    torch = require("torch", for_="feature visualisation")
    layers = {layer.path: layer for layer in (network.layer(unit.layer) for unit in units)}
    reduced: dict[str, Tensor] = {}
    entering: dict[str, Tensor] = {}

    def seen(path: str, output: Tensor) -> None:
        layer, before = layers[path], entering.get(path)
        after = layer.reduce(output)
        reduced[layer.name] = torch.stack([after, after])
        if before is not None and torch.equal(before.detach().relu(), output.detach()):
            reduced[layer.name] = torch.stack(
                [after, torch.where(after == 0, layer.reduce(before), after)]
            )

    with _rectified(network.module, layers, entering), hooked(network.module, layers, seen):
        network.module(network.preprocess.normalise_unit(images))
    n = len(images) // len(units)
    activation, driven = torch.stack(
        [reduced[u.layer][:, i * n : (i + 1) * n, u.channel] for i, u in enumerate(units)], dim=1
    )
    return activation, driven


@contextmanager
def _rectified(
    module: nn.Module, paths: Iterable[str], entering: dict[str, Tensor]
) -> Iterator[None]:
    """While the block runs, keep what enters the last rectifier of each of the modules."""
    torch = require("torch", for_="feature visualisation")

    def hook_for(path: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            entering[path] = inputs[0].clone()  # the rectifier may work in place

        return hook

    handles = []
    for path in paths:
        within = [m for m in module.get_submodule(path).modules() if isinstance(m, torch.nn.ReLU)]
        handles += [part.register_forward_pre_hook(hook_for(path)) for part in within[-1:]]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
