"""Layers of a network: their names, type, depth, width, and how their output becomes units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from imi_bench.errors import NetworkError, UnknownNameError

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
        Place of its step (a block in the paper's networks, a layer in others) among those of the
        network, 0 to 1, whichever of its layers a pattern picks; see
        `imi_bench.vision.layer_names`.
    width : int
        Number of units.
    batch_axis, channel_axis : int
        Which axes of the module's output count images and units; the mean runs over the others.
    shape : tuple of int
        The module's output shape for one image, batch axis included. That axis is longer than 1
        where each image's windows or tokens stand one after another on it (Swin, LeViT).
    spatial : bool
        Whether the positions are those of a two-dimensional map.
    """

    name: str
    path: str
    type: str
    depth: float
    width: int
    batch_axis: int
    channel_axis: int
    shape: tuple[int, ...]
    spatial: bool = True

    @cached_property
    def positions(self) -> tuple[int, ...]:
        """Axes of the output that count positions or tokens."""
        axes = range(len(self.shape))
        return tuple(axis for axis in axes if axis not in (self.batch_axis, self.channel_axis))

    def fits(self, output: Any) -> bool:
        """Whether an output has the units, and whole images, that the layer was listed with."""
        return (
            hasattr(output, "shape")
            and output.ndim == len(self.shape)
            and output.shape[self.channel_axis] == self.width
            and output.shape[self.batch_axis] % self.parts == 0
        )

    def reduce(self, output: Tensor) -> Tensor:
        """Unit activations (images, units): the mean over positions or tokens, differentiable.

        Half-precision outputs are averaged in, and given back as, float32.
        """
        import torch

        output = output.dequantize() if output.is_quantized else output
        dtype = torch.float32 if output.element_size() < 4 else output.dtype
        if self.parts > 1:
            maps = self.maps(output)
            return maps.mean(dim=tuple(range(2, maps.ndim)), dtype=dtype)
        if not self.positions:
            means = output.to(dtype)
        else:
            means = output.mean(dim=self.positions, dtype=dtype)
        return means if self.batch_axis < self.channel_axis else means.T

    def maps(self, output: Tensor) -> Tensor:
        """The output as (images, units, …positions), a view; quantised numbers as floats."""
        output = output.dequantize() if output.is_quantized else output
        if self.parts == 1:
            return output.permute(self.batch_axis, self.channel_axis, *self.positions)
        batch = self.batch_axis
        moved = [axis + (axis > batch) for axis in (self.channel_axis, *self.positions)]
        parted = output.unflatten(batch, (-1, self.parts))
        return parted.permute(batch, moved[0], batch + 1, *moved[1:])

    @cached_property
    def parts(self) -> int:
        """Rows of the batch axis that belong to one image."""
        return self.shape[self.batch_axis]


@dataclass(frozen=True)
class LeftOut:
    """A module that looks like a layer, and why its units cannot be read.

    Attributes
    ----------
    name, type : str
        As in `Layer`.
    reason : str
    """

    name: str
    type: str
    reason: str


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

    Where two paths would have one name (``repeat.1`` and ``repeat_1``), their dots become hyphens.

    Raises
    ------
    NetworkError
        If two modules share a name even so.

    Examples
    --------
    >>> import torch
    >>> both = torch.nn.ModuleDict({"a_b": torch.nn.ReLU(), "a": torch.nn.ModuleDict()})
    >>> both["a"]["b"] = torch.nn.ReLU()
    >>> path_of_names(both)
    {'a_b': 'a_b', 'a': 'a', 'a-b': 'a.b'}
    """
    paths = [path for path, _ in module.named_modules() if path]
    counts = Counter(released_name(path) for path in paths)
    names: dict[str, str] = {}
    for path in paths:
        plain = released_name(path)
        name = prefix + (plain if counts[plain] == 1 else path.replace(".", "-"))
        if name in names:
            raise NetworkError(
                "two modules have one name",
                where=f"'{name}'",
                found=f"{names[name]} and {path}",
                wanted="names that differ when joined by underscores or hyphens",
            )
        names[name] = path
    return names


@contextmanager
def hooked(
    module: nn.Module, paths: Iterable[str], seen: Any, *, inputs: bool = False
) -> Iterator[None]:
    """While the block runs, call ``seen(path, output)`` whenever one of the modules has run.

    With `inputs`, ``seen(path, output, inputs)``: a tuple of the positional ones.
    """

    def hook_for(path: str) -> Any:
        def hook(_module: nn.Module, given: Any, output: Any) -> None:
            if inputs:
                seen(path, output, given)
            else:
                seen(path, output)

        return hook

    handles = [module.get_submodule(path).register_forward_hook(hook_for(path)) for path in paths]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


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
