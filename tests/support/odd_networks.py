"""Networks that have been read wrongly, or could be: one small body, one oddity each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

__all__ = ["BATCH_MATTERS", "ODDITIES", "Body", "odd"]


class Body(nn.Module):
    """Two convolutions, a norm, a linear layer, a head; `between` stands after the norm."""

    def __init__(self, extra: nn.Module | None = None, between: Any = None) -> None:
        super().__init__()
        self.c1, self.n1 = nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8)
        self.extra, self.between = extra, between
        self.c2, self.fcx, self.head = nn.Conv2d(8, 12, 3), nn.Linear(12, 6), nn.Linear(6, 4)

    def forward(self, x: Any) -> Any:
        x = functional.relu(self.n1(self.c1(x)))
        if self.between is not None:
            x = self.between(self.extra, x)
        x = functional.relu(self.c2(x))
        return self.head(self.fcx(x.mean((2, 3))))


class Dense(nn.Linear):
    """A linear map under another name."""


class TimesTwo(nn.Module):
    """Changes the weights of the module it is registered on."""

    def forward(self, weight: Any) -> Any:
        return 2 * weight


def tokens(layer: Any, x: Any) -> Any:
    """A layer of tokens, channels last."""
    return layer(x.movedim(1, -1)).movedim(-1, 1)


def recurrent(layer: Any, x: Any) -> Any:
    return layer(x.flatten(2).mT)[0].mT.unflatten(2, x.shape[2:])


def attention(layer: Any, x: Any) -> Any:
    rows = x.flatten(2).mT
    return layer(rows, rows, rows)[0].mT.unflatten(2, x.shape[2:])


def imaginary(layer: Any, x: Any) -> Any:
    return x + layer(x.movedim(1, -1).to(torch.complex64)).abs().movedim(-1, 1)


def experts(layer: Any, x: Any) -> Any:
    rows = x.movedim(1, -1)
    flat, routed = rows.flatten(0, 2), torch.zeros_like(rows.flatten(0, 2))
    to = flat[:, 0] > flat[:, 1]
    routed[to], routed[~to] = layer[0](flat[to]), layer[1](flat[~to])
    return routed.view_as(rows).movedim(-1, 1)


def doubled_weights() -> nn.Module:
    layer = nn.Conv2d(8, 8, 1, bias=False)
    nn.utils.parametrize.register_parametrization(layer, "weight", TimesTwo())
    return layer


def hooked_layer() -> nn.Module:
    layer = nn.Conv2d(8, 8, 1)
    layer.register_forward_hook(lambda _module, _inputs, output: output * 2)
    return layer


def through(layer: Any, x: Any) -> Any:
    return layer(x)


# name: what stands between, how it runs, and its units' number as layers (None: left out)
ODDITIES: dict[str, tuple[Callable[[], nn.Module], Any, int | None]] = {
    "plain": (lambda: nn.Conv2d(8, 8, 1), through, 8),
    "derived class": (lambda: Dense(8, 8), tokens, 8),
    "parametrised": (doubled_weights, through, 8),
    "output changed by a hook": (hooked_layer, through, 8),
    "no weights": (lambda: nn.BatchNorm2d(8, affine=False), through, 8),
    "no weights, last axis": (lambda: nn.LayerNorm(8, elementwise_affine=False), tokens, 8),
    "in place": (lambda: nn.Conv2d(8, 8, 1), lambda layer, x: layer(x).add_(3).relu_(), 8),
    "instance norm": (lambda: nn.InstanceNorm2d(8, affine=True), through, None),
    "group of one": (lambda: nn.GroupNorm(8, 8), through, None),
    "recurrent": (lambda: nn.LSTM(8, 8, batch_first=True), recurrent, None),
    "attention": (lambda: nn.MultiheadAttention(8, 2, batch_first=True), attention, None),
    "complex": (lambda: nn.Linear(8, 8, dtype=torch.complex64), imaginary, None),
    "runs twice": (lambda: nn.Conv2d(8, 8, 1), lambda layer, x: layer(layer(x)), None),
    "never called": (lambda: nn.Conv2d(8, 8, 1), lambda layer, x: layer.forward(x), None),
    "experts": (lambda: nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)]), experts, None),
    "image by image": (
        lambda: nn.Conv2d(8, 8, 1),
        lambda layer, x: torch.stack([layer(one) for one in x]),
        None,
    ),
}
BATCH_MATTERS: dict[str, Callable[[nn.Module, Any], Any]] = {
    "the batch's own moments": lambda _, x: (x - x.mean((0, 2, 3), keepdim=True)) / x.std(),
    "dropout that stays on": lambda _, x: functional.dropout(x, 0.3, training=True),
    "the images' mean": lambda _, x: x - x.mean(0, keepdim=True),
}


def odd(name: str) -> Body:
    """A network with one oddity, its weights from a fixed seed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if name in BATCH_MATTERS:
            return Body(None, BATCH_MATTERS[name])
        make, run, _ = ODDITIES[name]
        return Body(make(), run)
