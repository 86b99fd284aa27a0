"""Which modules of a network are layers, how their output becomes units, and what is left out.

A module is tried twice, on one image and on two. Its units are counted by its own parameters (the
channels of a convolution, the features of a linear map or a normalisation); the axis of the output
that has as many is the units' axis, the one that doubles counts images, and the mean runs over the
rest. What does not fit is left out by one of these reasons, never guessed:

- the classifier head (the last layer of ``fc``, ``classifier``, ``head``, …; of timm as it says);
- a module that never runs as one: its weights are used within the module around it (BEiT's ``qkv``,
  the ``out_proj`` of torch's attention), or it serves training only;
- a module that runs more than once: which run would be its activation is not defined;
- an output that is no tensor, does not grow with the number of images, or mixes them;
- an output without an axis for the units of its parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from imi_bench.errors import NetworkError
from imi_bench.vision.card import LayerRule
from imi_bench.vision.layer_names import depths_in_order
from imi_bench.vision.layers import Layer, LeftOut, hooked, path_of_names

HEADS = ("fc", "classifier", "head", "heads", "aux_classifier", "logits", "last_linear")
"""Names of classifiers where a library does not say which module it is."""
_LONGEST_MATCH = 1.0  # seconds for one name
_KINDS = ("Conv", "Linear", "Norm")
_FIRST = (nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm)
_COUNTS = ("out_channels", "out_features", "num_features", "num_channels")


@dataclass(frozen=True)
class Listing:
    """The layers of a network in the order they run, and the modules left out with a reason."""

    layers: tuple[Layer, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(eq=False)
class _Trial:
    """What the modules gave for some number of images, in the order they ran."""

    shapes: dict[str, tuple[int, ...] | None] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)

    def seen(self, path: str, output: Any) -> None:
        self.shapes[path] = tuple(output.shape) if isinstance(output, torch.Tensor) else None
        self.runs[path] = self.runs.get(path, 0) + 1


def list_layers(
    module: nn.Module,
    *,
    rule: LayerRule,
    size: tuple[int, int],
    classifier: Sequence[str] = HEADS,
    chosen: LayerRule | None = None,
    network: str = "",
) -> Listing:
    """Find a network's layers by its rule, and their form by two small forward passes.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode; on the meta device nothing is computed.
    rule : LayerRule
        Decides what the layers are, and with that how deep each of them is.
    size : (int, int)
        Height and width of the input image in pixels.
    classifier : sequence of str
        Paths whose last layer is the classifier head.
    chosen : LayerRule, optional
        The layers to give, instead of all that `rule` gives.
    network : str
        Its name in trial tables, by which the paper's networks are known.

    Returns
    -------
    Listing

    Raises
    ------
    NetworkError
        If no layer is left.
    """
    names = {path: name for name, path in path_of_names(module, prefix=rule.prefix).items()}
    every = _matching(module, rule, names)
    wanted = every if chosen is None else _matching(module, chosen, names)
    tried = sorted({*every, *wanted})
    one, two = (_tried(module, tried, size=size, images=images) for images in (1, 2))
    found: dict[str, Layer] = {}
    reasons: dict[str, str] = {}
    heads = _heads(list(one.shapes), classifier)
    for path in tried:
        part = module.get_submodule(path)
        form = _form(part, path, one, two, size) if path not in heads else "classifier head"
        if isinstance(form, str):
            reasons[path] = form
        else:
            found[path] = Layer(names[path], path, type(part).__name__, 0.0, *form)
    for path in _mixing(module, found.values(), size):
        reasons[path] = "its rows belong to several images at a time"
        del found[path]
    order = [path for path in one.shapes if path in found]
    depths = _depths(order, set(every), names, network)
    layers = tuple(_at(found[path], depths[path]) for path in order if path in set(wanted))
    left_out = tuple(
        LeftOut(names[path], type(module.get_submodule(path)).__name__, reasons[path])
        for path in names
        if path in reasons and path in set(wanted)
    )
    if not layers:
        pattern = (chosen or rule).pattern
        wish = f"a name like {pattern!r}" if pattern else "a convolution or linear map"
        more = f"; left out: {left_out[0].name} ({left_out[0].reason})" if left_out else ""
        raise NetworkError(
            "no layer matches",
            where=type(module).__name__,
            found=f"{sum(1 for _ in module.modules())} modules{more}",
            wanted=wish,
        )
    return Listing(layers, left_out)


def _at(layer: Layer, depth: float) -> Layer:
    return Layer(**{**vars(layer), "depth": depth})


def _depths(
    order: Sequence[str], every: set[str], names: Mapping[str, str], network: str
) -> dict[str, float]:
    """Depth of each module, in the order they run, by the layers of `every`.

    A module that is none of them is as deep as the last of them that ran before it.
    """
    layers = [path for path in order if path in every]
    known = dict(
        zip(
            layers,
            depths_in_order(network, [names[path] for path in layers]).tolist(),
            strict=True,
        )
    )
    depths, last = {}, 0.0
    for path in order:
        last = known.get(path, last)
        depths[path] = last
    return depths


def _matching(module: nn.Module, rule: LayerRule, names: Mapping[str, str]) -> list[str]:
    if rule.pattern:
        bare = {path: name.removeprefix(rule.prefix) for path, name in names.items()}
        return [path for path, name in bare.items() if _fits(rule.pattern, name)]
    return [
        path
        for path in names
        if any(kind in type(part := module.get_submodule(path)).__name__ for kind in _KINDS)
        and next(part.parameters(recurse=False), None) is not None
    ]


def _fits(pattern: str, name: str) -> bool:
    """Whether the pattern is that of the whole name; one that backtracks without end is refused.

    `regex` reads what `re` reads, and can be told to stop.
    """
    import regex

    try:
        return regex.fullmatch(pattern, name, timeout=_LONGEST_MATCH) is not None
    except TimeoutError:
        raise NetworkError(
            "a pattern that does not come to an end",
            found=f"'{pattern}' on '{name}' after {_LONGEST_MATCH:g} s",
            wanted="a pattern without nested repetitions, such as 'layer4_.*'",
        ) from None


def _heads(ran: Sequence[str], classifier: Sequence[str]) -> set[str]:
    """The last layer, of those that ran, within each of the classifiers."""
    heads = set()
    for root in classifier:
        inside = [path for path in ran if path == root or path.startswith(f"{root}.")]
        heads.update(inside[-1:])
    return heads


def _tried(
    module: nn.Module, paths: Iterable[str], *, size: tuple[int, int], images: int
) -> _Trial:
    trial = _Trial()
    like = next(module.parameters(), torch.zeros(()))
    with hooked(module, paths, trial.seen), torch.no_grad():
        module(torch.zeros(images, 3, *size, device=like.device, dtype=like.dtype))
    return trial


def _form(
    part: nn.Module, path: str, one: _Trial, two: _Trial, size: tuple[int, int]
) -> tuple[int, int, int, tuple[int, ...], bool] | str:
    """Width, axes of images and units, shape, whether a map; or why there is none."""
    runs = one.runs.get(path, 0)
    if runs == 0 or path not in two.shapes:
        return "never runs as a module of its own"
    if runs > 1:
        return f"runs {runs} times for an image"
    shape, doubled = one.shapes[path], two.shapes[path]
    if shape is None or doubled is None:
        return "its output is no tensor"
    pairs = list(zip(shape, doubled, strict=False))
    batches = [a for a, (n, m) in enumerate(pairs) if m == 2 * n and n > 0]
    same = all(n == m for a, (n, m) in enumerate(pairs) if a not in batches)
    if len(shape) != len(doubled) or len(batches) != 1 or not same or len(shape) < 2:
        return "its output does not grow with the number of images"
    batch = batches[0]
    channel = _unit_axis(part, shape, batch)
    if isinstance(channel, str):
        return channel
    sides = [side for axis, side in enumerate(shape) if axis not in (batch, channel)]
    spatial = len(sides) == 2 and shape[batch] == 1 and _like_the_image(sides, size)
    return shape[channel], batch, channel, shape, spatial


def _like_the_image(sides: Sequence[int], size: tuple[int, int]) -> bool:
    """Whether a map has the shape of the image, up to the rounding of strides."""
    return abs(sides[0] * size[1] - sides[1] * size[0]) <= max(size)


def _unit_axis(part: nn.Module, shape: tuple[int, ...], batch: int) -> int | str:
    """Axis of the output that counts the units of the module's parameters, or why there is none."""
    width = _own_width(part)
    if isinstance(width, str):
        return width
    others = [axis for axis in range(len(shape)) if axis != batch]
    usual = _usual_axis(part, len(shape))
    if width is None:
        return _guess_of_a_container(part, shape, batch)
    fitting = [axis for axis in others if shape[axis] == width]
    if len(fitting) == 1:
        return fitting[0]
    if usual in fitting:
        return usual
    return f"its parameters have {width} units, its output {shape}"


def _own_width(part: nn.Module) -> int | str | None:
    """Number of units by the module's own account; None where it has none."""
    if any(kind in type(part).__name__ for kind in _KINDS):
        for name in _COUNTS:
            if isinstance(count := getattr(part, name, None), int):
                return count
        normalised = getattr(part, "normalized_shape", None)
        if normalised is not None:
            sides = (normalised,) if isinstance(normalised, int) else tuple(normalised)
            return sides[0] if len(sides) == 1 else f"normalises over axes of {sides} together"
    return None


def _usual_axis(part: nn.Module, dimensions: int) -> int:
    kind = type(part).__name__
    first = isinstance(part, _FIRST) or "2d" in kind.lower()
    first = first or kind.startswith(("Conv", "BatchNorm", "GroupNorm", "InstanceNorm"))
    return 1 if first else dimensions - 1


def _guess_of_a_container(part: nn.Module, shape: tuple[int, ...], batch: int) -> int:
    """Units' axis of a module without parameters of its own kind, which a pattern names.

    Tokens have their channels last. Of a map, the axis that differs from the two sides; where all
    are equal, the axis of the last layer inside, or else the first.
    """
    if len(shape) != 4:
        return len(shape) - 1
    if shape[1] == shape[2] == shape[3]:
        widths = [p for p in part.modules() if isinstance(_own_width(p), int)]
        return _usual_axis(widths[-1], 4) if widths else 1
    return 3 if shape[1] == shape[2] and batch == 0 else 1


def _mixing(module: nn.Module, layers: Iterable[Layer], size: tuple[int, int]) -> list[str]:
    """Paths of layers whose first rows change with the second image; none on the meta device."""
    parted = {layer.path: layer for layer in layers if layer.shape[layer.batch_axis] > 1}
    like = next(module.parameters(), torch.zeros(()))
    if not parted or like.device.type == "meta":
        return []
    random = torch.Generator().manual_seed(0)
    drawn = torch.rand((3, 3, *size), generator=random).to(like.device, like.dtype)
    first: list[dict[str, torch.Tensor]] = []
    for pair in (drawn[[0, 1]], drawn[[0, 2]]):
        rows: dict[str, torch.Tensor] = {}

        def seen(path: str, output: torch.Tensor, rows: dict[str, torch.Tensor] = rows) -> None:
            axis = parted[path].batch_axis
            rows[path] = output.narrow(axis, 0, parted[path].shape[axis]).clone()

        with hooked(module, parted, seen), torch.no_grad():
            module(pair)
        first.append(rows)
    return [
        path for path in parted if not torch.allclose(first[0][path], first[1][path], atol=1e-4)
    ]
