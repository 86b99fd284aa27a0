"""Layers of a network: their names, type, depth, width, and how their output becomes units."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imi_bench.errors import NetworkError, UnknownNameError
from imi_bench.extras import require
from imi_bench.vision.card import LayerRule

_LONGEST_MATCH = 1.0  # seconds for one name

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Layer:
    """One layer whose channels are units.

    Attributes
    ----------
    name : str
        Module path joined by underscores, with the network's prefix, as released.
    path : str
        Module path in the loaded network, joined by dots.
    type : str
        Class of the module: ``Conv2d``, ``BatchNorm2d``, ``LayerNorm``, ``Linear``, …
    depth : float
        Of its block among those of the network, 0 to 1; see `imi_bench.vision.layer_names`.
    width : int
        Number of units.
    batch_axis, channel_axis : int
        Which axes of the module's output count images and units; the mean runs over the others.
    shape : tuple of int
        The module's output shape for one image, batch axis included.
    """

    name: str
    path: str
    type: str
    depth: float
    width: int
    batch_axis: int
    channel_axis: int
    shape: tuple[int, ...]

    @property
    def positions(self) -> tuple[int, ...]:
        """Axes of the output that count positions or tokens."""
        axes = range(len(self.shape))
        return tuple(axis for axis in axes if axis not in (self.batch_axis, self.channel_axis))

    def reduce(self, output: Tensor) -> Tensor:
        """Unit activations (images, units): the mean over positions or tokens, differentiable.

        Half-precision outputs are averaged in, and given back as, float32.
        """
        import torch

        dtype = torch.float32 if output.element_size() < 4 else output.dtype
        if not self.positions:
            means = output.to(dtype)
        else:
            means = output.mean(dim=self.positions, dtype=dtype)
        return means if self.batch_axis < self.channel_axis else means.T

    def maps(self, output: Tensor) -> Tensor:
        """The output as (images, units, …positions), a view."""
        return output.permute(self.batch_axis, self.channel_axis, *self.positions)


def released_name(path: str, *, prefix: str = "") -> str:
    """Underscore name of a module path.

    Examples
    --------
    >>> released_name("layer1.0.conv1", prefix="visual_")
    'visual_layer1_0_conv1'
    """
    return prefix + path.replace(".", "_")


def path_of_names(module: nn.Module, *, prefix: str = "") -> dict[str, str]:
    """Module path of every released name; the way back, which needs the module tree.

    Raises
    ------
    NetworkError
        If two modules share an underscore name.
    """
    paths: dict[str, str] = {}
    for path, _ in module.named_modules():
        if not path:
            continue
        name = released_name(path, prefix=prefix)
        if name in paths:
            raise NetworkError(
                "two modules have one name",
                where=f"'{name}'",
                found=f"{paths[name]} and {path}",
                wanted="names that differ when joined by underscores",
            )
        paths[name] = path
    return paths


def list_layers(
    module: nn.Module, *, rule: LayerRule, size: tuple[int, int], classifier: Sequence[str] = ()
) -> tuple[Layer, ...]:
    """Find a network's layers by its rule, and their form by two small forward passes.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode; on the meta device nothing is computed.
    rule : LayerRule
    size : (int, int)
        Height and width of the input image in pixels.
    classifier : sequence of str
        Paths of modules that the default rule leaves out.

    Returns
    -------
    tuple of Layer
        In the order they run.

    Raises
    ------
    NetworkError
        If no module matches the rule.
    """
    wanted = _matching(module, rule, classifier)
    one = _output_shapes(module, wanted, size=size, images=1)
    two = _output_shapes(module, wanted, size=size, images=2)
    found = []
    for path, shape in one.items():
        axes = [a for a, (n, m) in enumerate(zip(shape, two[path], strict=True)) if m == 2 * n]
        if len(axes) != 1 or len(shape) < 2 or shape[axes[0]] != 1:
            continue
        found.append((path, shape, axes[0]))
    if not found:
        wish = f"a name like {rule.pattern!r}" if rule.pattern else "a convolution or linear map"
        raise NetworkError(
            "no layer matches",
            where=type(module).__name__,
            found=f"{sum(1 for _ in module.modules())} modules",
            wanted=wish,
        )
    layers = []
    for position, (path, shape, batch) in enumerate(found):
        part = module.get_submodule(path)
        channel = _channel_axis(part, shape, batch)
        layers.append(
            Layer(
                name=released_name(path, prefix=rule.prefix),
                path=path,
                type=type(part).__name__,
                depth=position / max(len(found) - 1, 1),
                width=shape[channel],
                batch_axis=batch,
                channel_axis=channel,
                shape=shape,
            )
        )
    return tuple(layers)


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


def _matching(module: nn.Module, rule: LayerRule, classifier: Sequence[str]) -> list[str]:
    paths = path_of_names(module)
    if rule.pattern:
        return [path for name, path in paths.items() if _fits(rule.pattern, name)]
    return [
        path
        for path, part in module.named_modules()
        if path
        and any(kind in type(part).__name__ for kind in ("Conv", "Linear", "Norm"))
        and next(part.parameters(recurse=False), None) is not None
        and not any(path == c or path.startswith(f"{c}.") for c in classifier)
    ]


def _output_shapes(
    module: nn.Module, paths: Iterable[str], *, size: tuple[int, int], images: int
) -> dict[str, tuple[int, ...]]:
    torch = require("torch", for_="listing the layers of a network")
    shapes: dict[str, tuple[int, ...]] = {}

    def seen(path: str, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            shapes[path] = tuple(output.shape)

    like = next(module.parameters(), torch.zeros(()))
    with hooked(module, paths, seen), torch.no_grad():
        module(torch.zeros(images, 3, *size, device=like.device, dtype=like.dtype))
    return shapes


@contextmanager
def hooked(module: nn.Module, paths: Iterable[str], seen: Any) -> Iterator[None]:
    """While the block runs, call ``seen(path, output)`` whenever one of the modules has run."""

    def hook_for(path: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            seen(path, output)

        return hook

    handles = [module.get_submodule(path).register_forward_hook(hook_for(path)) for path in paths]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _channel_axis(part: nn.Module, shape: tuple[int, ...], batch: int) -> int:
    """Which axis counts the units.

    Tokens have their channels last. In a map the module's type decides (convolutions and batch
    normalisations first, linear maps last); for any other module the axis that differs from the
    two sides of the square map.
    """
    kind = type(part).__name__
    if len(shape) != 4:
        first = len(shape) == 3 and kind in ("Conv1d", "BatchNorm1d")
        return 1 if first else len(shape) - 1
    if kind.startswith("Linear") or kind == "LayerNorm":
        return 3
    if kind.startswith(("Conv", "BatchNorm", "GroupNorm")) or kind == "LayerNorm2d":
        return 1
    return 3 if shape[1] == shape[2] != shape[3] else 1


def find_layer(layers: Sequence[Layer], name: str) -> Layer:
    """The layer of that released name or module path.

    Raises
    ------
    UnknownNameError
        If there is none; the message names the nearest.
    """
    for layer in layers:
        if name in (layer.name, layer.path):
            return layer
    raise UnknownNameError.among(name, [layer.name for layer in layers], kind="layer")
