"""Which modules of a network are layers, how their output becomes units, and what is left out.

Layers are torch's convolutions, linear maps and normalisations and what is derived from them, and
modules with weights of their own that are named so and hold no other layer (ConvNeXt's blocks bear
the name and hold layers: they are blocks). A module is tried twice, on one image and on this and
another. Its units are counted by its own parameters (the channels of a convolution, the features of
a linear map or a normalisation); the axis of the output that has as many is the units' axis, the
one that doubles counts images, and the mean runs over the rest. What does not fit is left out by
one of these reasons, never guessed:

- the classifier head: the last layer of ``fc``, ``classifier``, ``head``, … (of timm as it says),
  and whatever its name a linear map or 1 x 1 convolution whose output is the network's own, as it
  is, reshaped, or through a softmax or sigmoid; the last layers of torchvision's detection and
  segmentation networks, of which there are several;
- a module that never runs as one: its weights are used within the module around it (BEiT's ``qkv``,
  the ``out_proj`` of torch's attention), or it serves training only;
- a module that runs more than once: which run would be its activation is not defined;
- an output that is no tensor of real numbers, or does not grow with the number of images;
- an output that another image of the batch, or chance, changes (windows of several images in one
  row, normalisation over the batch, dropout that stays on);
- an output without an axis for the units of its parameters, or whose mean over positions is the
  same for every image (instance normalisation, the token mixing of an MLP-Mixer without training);
- weights that belong to no such layer (recurrent cells, the input projection of torch's attention).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from imi_bench.errors import NetworkError
from imi_bench.vision.card import LayerRule, card
from imi_bench.vision.card import names as card_names
from imi_bench.vision.layer_names import depths_in_order
from imi_bench.vision.layers import Layer, LeftOut, hooked, path_of_names
from imi_bench.vision.network_outputs import Outputs, heads_in_torchvision, maps_points

HEADS = ("fc", "classifier", "head", "heads", "aux_classifier", "logits", "last_linear")
"""Names of classifiers where a library does not say which module it is."""
_LONGEST_MATCH = 1.0  # seconds for one name
_KINDS = ("Conv", "Linear", "Norm")
_FIRST = (nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm)
_NATIVE = (*_FIRST, nn.Linear, nn.LayerNorm, *((nn.RMSNorm,) if hasattr(nn, "RMSNorm") else ()))
_ELSEWHERE = (nn.Embedding, nn.EmbeddingBag, nn.PReLU)  # weights, but no units of an image
_ALIKE = 2e-3  # share of an output by which kernels for another batch may differ
_ROUNDING = 1e-6  # the same, of one batch that passes twice
_MARKS = 3
_COUNTS = ("out_channels", "out_features", "num_features", "num_channels")


@dataclass(frozen=True)
class Listing:
    """The layers of a network in the order they run, and the modules left out with a reason."""

    layers: tuple[Layer, ...]
    left_out: tuple[LeftOut, ...]


@dataclass(eq=False)
class _Trial:
    """What the modules gave for some number of images, in the order they ran."""

    module: nn.Module
    size: tuple[int, int]
    before: _Trial | None = None
    shapes: dict[str, tuple[int, ...] | None] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    marks: dict[str, tuple[float, ...]] = field(default_factory=dict)
    points: frozenset[str] = frozenset()
    outputs: Outputs = field(default_factory=Outputs)
    heads: frozenset[str] = frozenset()
    constant: set[str] = field(default_factory=set)
    by_chance: bool = False

    def seen(self, path: str, output: Any) -> None:
        self.runs[path] = self.runs.get(path, 0) + 1
        if not isinstance(output, torch.Tensor) or output.is_nested or output.is_complex():
            self.shapes[path] = None
            return
        self.shapes[path] = tuple(output.shape)
        if path in self.points:
            self.outputs.add(path, output)
        if output.device.type != "meta":
            self.marks[path] = _mark(self._first(path, output))
            if self.before is not None and self._means_agree(path, output):
                self.constant.add(path)

    def _means_agree(self, path: str, output: torch.Tensor) -> bool:
        """Whether two images differ, but not in any unit's mean over positions.

        After a normalisation over what is then averaged, whose weights are still equal (the token
        mixing of MLP-Mixers), only rounding is left of it.
        """
        part = self.module.get_submodule(path)
        form = "" if self.before is None else _form(part, path, self.before, self, self.size)
        if isinstance(form, str):
            return False
        layer = Layer("", path, "", 0.0, *form)
        maps = layer.maps(output).float()
        rounding = _ROUNDING * maps.square().mean().sqrt()
        gap = (maps[0] - maps[1]).abs()
        means = layer.reduce(output)
        return bool(gap.max() > 8 * rounding >= 8 * (means[0] - means[1]).abs().max())

    def _first(self, path: str, output: torch.Tensor) -> torch.Tensor:
        """The part of an output that stands where the output for the first image stood."""
        shape = None if self.before is None else self.before.shapes.get(path)
        if shape is not None and len(shape) == output.ndim:
            for axis, (few, many) in enumerate(zip(shape, output.shape, strict=True)):
                if many == 2 * few:
                    return output.narrow(axis, 0, few)
        return output


def _mark(output: torch.Tensor) -> tuple[float, ...]:
    """Size of an output and its projections on fixed random directions, as shares of that size."""
    values = output.dequantize() if output.is_quantized else output
    flat = values.detach().to("cpu", torch.float32).flatten()
    if not flat.numel():
        return (0.0,)
    size = float(flat.square().mean().sqrt())
    drawn = _directions(1 << (flat.numel() + _MARKS - 2).bit_length())
    scale = max(size, 1e-6) * math.sqrt(flat.numel())
    return size, *(float(flat @ drawn[k : k + flat.numel()]) / scale for k in range(_MARKS))


@lru_cache(maxsize=1)
def _largest() -> dict[int, torch.Tensor]:
    return {}


def _directions(count: int) -> torch.Tensor:
    kept = _largest()
    if not kept or max(kept) < count:
        kept.clear()
        random = torch.Generator().manual_seed(1)
        kept[count] = torch.randn(count, generator=random, dtype=torch.float32, device="cpu")
    return next(iter(kept.values()))


def _alike(one: tuple[float, ...], other: tuple[float, ...], share: float = _ALIKE) -> bool:
    """Whether two outputs of one image agree; what is not finite is told when it is recorded."""
    if not all(map(math.isfinite, (*one, *other))):
        return True
    same_size = abs(one[0] - other[0]) <= share * max(one[0], other[0], 1e-6)
    return same_size and all(abs(a - b) <= share for a, b in zip(one[1:], other[1:], strict=True))


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
        Its name in trial tables; with the layer rule of its card it is one of the paper's.

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
    one = _tried(module, tried, size=size, images=1)
    again = _tried(module, tried, size=size, images=1) if one.by_chance else None
    try:
        two = _tried(module, tried, size=size, images=2, before=one)
    except (AssertionError, ValueError):  # of a network that checks the range of its input
        two = _tried(module, tried, size=size, images=2, before=one, within_one=True)
    found: dict[str, Layer] = {}
    reasons: dict[str, str] = {}
    heads = _heads(list(one.shapes), classifier) | heads_in_torchvision(module)
    for path in tried:
        part = module.get_submodule(path)
        form = _form(part, path, one, two, size) if path not in heads else "classifier head"
        if path in one.heads & two.heads and not isinstance(form, str):
            form = "classifier head: its output is the network's"
        if path in two.constant and not isinstance(form, str):
            form = "its mean over positions is one constant of its own"
        if isinstance(form, str):
            reasons[path] = form
        else:
            found[path] = Layer(names[path], path, type(part).__name__, 0.0, *form)
    for path in [path for path in found if path in one.marks]:
        chance = again is not None and not _alike(one.marks[path], again.marks[path], _ROUNDING)
        if chance or not _alike(one.marks[path], two.marks[path]):
            reasons[path] = "other images of the batch, or chance, change its output"
            del found[path]
    order = [path for path in one.shapes if path in found]
    blocks = network if network in card_names() and rule == card(network).layers else None
    depths = _depths(order, set(every), names, blocks)
    layers = tuple(_at(found[path], depths[path]) for path in order if path in set(wanted))
    if chosen is None and not rule.pattern:
        reasons |= _weights_elsewhere(module, names, every)
        wanted = [*wanted, *reasons]
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
    order: Sequence[str], every: set[str], names: Mapping[str, str], network: str | None
) -> dict[str, float]:
    """Depth of each module, in the order they run, by the layers of `every`.

    A module that is none of them is as deep as the last of them that ran before it.
    """
    layers = [path for path in order if path in every]
    known = dict(
        zip(
            layers,
            depths_in_order([names[path] for path in layers], network=network).tolist(),
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
    return [path for path in names if is_layer(module.get_submodule(path))]


def is_layer(part: nn.Module) -> bool:
    """Whether a module is a convolution, linear map or normalisation, and no block of them.

    Examples
    --------
    >>> is_layer(nn.Conv2d(3, 4, 1)), is_layer(nn.Sequential(nn.Conv2d(3, 4, 1)))
    (True, False)
    """
    if isinstance(part, _NATIVE):
        return True
    return _named_so(part) and not any(
        isinstance(inner, _NATIVE) or _named_so(inner)
        for inner in part.modules()
        if inner is not part
    )


def _named_so(part: nn.Module) -> bool:
    """Named as a layer, with weights of its own (quantised ones are no parameters)."""
    return any(kind in type(part).__name__ for kind in _KINDS) and (
        next(part.parameters(recurse=False), None) is not None
        or any(isinstance(getattr(part, name, None), int) for name in _COUNTS)
    )


def _weights_elsewhere(
    module: nn.Module, names: Mapping[str, str], layers: Iterable[str]
) -> dict[str, str]:
    """Modules that are no layers and have matrices of weights of their own."""
    inside = tuple(f"{path}." for path in layers)
    return {
        path: "its own weights are no convolution's, linear map's or normalisation's"
        for path in names
        if path not in set(layers)
        and not path.startswith(inside)
        and not isinstance(part := module.get_submodule(path), _ELSEWHERE)
        and any(
            "weight" in name and value.ndim > 1
            for name, value in part.named_parameters(recurse=False)
        )
    }


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
    """The last layer, of those that ran, within each of the classifiers.

    Where all that runs lies within one module (a wrapper), the classifiers are that module's.
    """
    heads: set[str] = set()
    if not ran:
        return heads
    parents = [path.split(".")[:-1] for path in ran]
    alike = [len(set(parts)) == 1 for parts in zip(*parents, strict=False)]
    wrapper = parents[0][: alike.index(False)] if False in alike else parents[0][: len(alike)]
    ends = [".".join([*wrapper[:n], name]) for n in range(len(wrapper) + 1) for name in classifier]
    for root in ends:
        inside = [path for path in ran if path == root or path.startswith(f"{root}.")]
        heads.update(inside[-1:])
    return heads


def _tried(
    module: nn.Module,
    paths: Iterable[str],
    *,
    size: tuple[int, int],
    images: int,
    before: _Trial | None = None,
    within_one: bool = False,
) -> _Trial:
    paths = list(paths)
    points = frozenset(path for path in paths if maps_points(module.get_submodule(path)))
    trial = _Trial(module, size, before, points=points)
    floating = (p for p in module.parameters() if p.is_floating_point())
    like = next(floating, torch.zeros((), dtype=torch.float32))
    random = torch.Generator().manual_seed(0)
    drawn = torch.rand((2, 3, *size), generator=random, dtype=torch.float32, device="cpu")
    # unlike the first, to show what the batch decides together
    drawn[1] = drawn[1] ** 6 if within_one else 8 * drawn[1] - 4
    drawn = drawn[:images]
    before_it = _random_states(like.device)
    with hooked(module, paths, trial.seen), torch.no_grad():
        trial.heads = trial.outputs.given(module(drawn.to(like.device, like.dtype)))
    trial.by_chance = _random_states(like.device) != before_it
    return trial


def _random_states(device: torch.device) -> list[bytes]:
    """Where torch's random numbers stand, which a network that draws some moves on."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return [state.numpy().tobytes() for state in states]


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
        return "its output is no tensor of real numbers"
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
    if sides and _constant(part):
        return "its mean over positions is one constant of its own"
    spatial = len(sides) == 2 and shape[batch] == 1 and _like_the_image(sides, size)
    return shape[channel], batch, channel, shape, spatial


def _constant(part: nn.Module) -> bool:
    """Whether a normalisation takes every unit's own mean over positions away."""
    if isinstance(part, nn.modules.instancenorm._InstanceNorm):
        return part.running_mean is None
    return isinstance(part, nn.GroupNorm) and part.num_groups == part.num_channels


def _like_the_image(sides: Sequence[int], size: tuple[int, int]) -> bool:
    """Whether a map has the shape of the image, up to the rounding of strides."""
    return abs(sides[0] * size[1] - sides[1] * size[0]) <= max(size)


def _unit_axis(part: nn.Module, shape: tuple[int, ...], batch: int) -> int | str:
    """Axis of the output that counts the units of the module's parameters, or why there is none."""
    width = _own_width(part)
    if isinstance(width, str):
        return width
    others = [axis for axis in range(len(shape)) if axis != batch]
    usual: int | None = _usual_axis(part, len(shape))
    if not isinstance(part, _NATIVE) and "2d" not in type(part).__name__:
        said = getattr(part, "channel_dim", None)  # as timm's global response normalisation says
        usual = said % len(shape) if isinstance(said, int) else None
    if width is None:
        return _guess_of_a_container(part, shape, batch)
    fitting = [axis for axis in others if shape[axis] == width]
    if len(fitting) > 1 and not type(part).__module__.startswith("torch."):
        held = [axis for axis in fitting if not _counts_positions(part, shape, axis)]
        fitting = held if len(held) == 1 else fitting
        if len(fitting) > 1 and usual is None and next(part.children(), None) is not None:
            usual = _guess_of_a_container(part, shape, batch)
    if len(fitting) == 1 or usual in fitting:
        return usual if usual in fitting else fitting[0]
    return f"its parameters have {width} units, its output {shape}"


def _counts_positions(part: nn.Module, shape: tuple[int, ...], axis: int) -> bool:
    """Whether a module that keeps the shape of its input takes one more along an axis.

    Along the units' axis it cannot: its own parameters do not fit any more.
    """
    like = next(part.parameters(), torch.zeros((), dtype=torch.float32))
    longer = (*shape[:axis], shape[axis] + 1, *shape[axis + 1 :])
    try:
        with torch.no_grad():
            given = torch.zeros(longer, device=like.device, dtype=like.dtype)
            return part.forward(given).shape == longer  # not a run of the module: without hooks
    except Exception:  # whatever a module of another's says to a shape that it does not take
        return False


def _own_width(part: nn.Module) -> int | str | None:
    """Number of units by the module's own account; None where it has none."""
    if isinstance(part, _NATIVE) or any(kind in type(part).__name__ for kind in _KINDS):
        for name in _COUNTS:
            if isinstance(count := getattr(part, name, None), int):
                return count
        normalised = getattr(part, "normalized_shape", None)
        if normalised is not None:
            sides = (normalised,) if isinstance(normalised, int) else tuple(normalised)
            return sides[0] if len(sides) == 1 else f"normalises over axes of {sides} together"
        lengths = {len(p) for p in part.parameters(recurse=False) if p.ndim == 1}
        return lengths.pop() if len(lengths) == 1 else None
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
