"""Units of a network: one channel of one layer; naming and sampling them as in the paper."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from imi_bench.arguments import checked
from imi_bench.errors import NetworkError, NotEnoughDataError
from imi_bench.provenance import generator
from imi_bench.text import plural
from imi_bench.vision.layers import Layer, find_layer, hooked

__all__ = [
    "Layer",
    "Unit",
    "check_units",
    "draw_units",
    "find_layer",
    "hooked",
    "sample_units",
]


@dataclass(frozen=True)
class Unit:
    """One channel of one layer.

    Attributes
    ----------
    layer : str
        Released (underscore) name.
    channel : int

    Examples
    --------
    >>> str(Unit("layer1_0_conv1", 7))
    'layer1_0_conv1__7'
    """

    layer: str
    channel: int

    def __str__(self) -> str:
        return f"{self.layer}__{self.channel}"

    @classmethod
    def parse(cls, text: str) -> Unit:
        """Read ``layer__channel``, the form of the authors' unit files.

        Raises
        ------
        NetworkError
            If the text has no channel.
        """
        layer, _, channel = text.rpartition("__")
        if not layer or not channel.isdigit():
            raise NetworkError("not a unit", where=repr(text), wanted="layer__channel")
        return cls(layer, int(channel))


def check_units(layers: Sequence[Layer], units: Iterable[Unit]) -> tuple[Unit, ...]:
    """The same units with released layer names, each once and each in range.

    Raises
    ------
    UnknownNameError
        For a layer that the network does not have.
    NetworkError
        For a channel beyond its layer's width.
    """
    checked: dict[Unit, None] = {}
    for unit in units:
        layer = find_layer(layers, unit.layer)
        if not 0 <= unit.channel < layer.width:
            raise NetworkError(
                "no such unit",
                where=f"layer '{layer.name}'",
                found=f"channel {unit.channel}",
                wanted=f"0 to {layer.width - 1}",
            )
        checked[Unit(layer.name, unit.channel)] = None
    return tuple(checked)


@checked
def sample_units(layers: Sequence[Layer], count: int, *, seed: int) -> tuple[Unit, ...]:
    """Draw units as the paper did: a layer uniformly, then a channel uniformly in it.

    A unit drawn twice is drawn again (Zimmermann et al. 2023, ``sample_units.py``).

    Raises
    ------
    NotEnoughDataError
        If the layers have fewer than `count` units.

    Examples
    --------
    >>> layers = [Layer("a", "a", "Conv2d", 0.0, 2, 0, 1, (1, 2, 4, 4))]
    >>> sorted(str(unit) for unit in sample_units(layers, 2, seed=0))
    ['a__0', 'a__1']
    """
    return draw_units({layer.name: layer.width for layer in layers}, count, seed=seed)


def draw_units(widths: Mapping[str, int], count: int, *, seed: int) -> tuple[Unit, ...]:
    """Draw units from layers known by name and width alone; see `sample_units`.

    Parameters
    ----------
    widths : mapping of str to int
        Number of units of every layer, in the order of the network.
    count : int
    seed : int

    Raises
    ------
    NotEnoughDataError
        If the layers have fewer than `count` units.

    Examples
    --------
    >>> sorted(str(unit) for unit in draw_units({"a": 2}, 2, seed=0))
    ['a__0', 'a__1']
    """
    names, available = list(widths), sum(widths.values())
    if not 0 < count <= available:
        raise NotEnoughDataError(
            "cannot sample that many units",
            where=plural(len(names), "layer"),
            found=count,
            wanted=f"1 to {available}",
        )
    rng = generator(seed, "units")
    drawn: dict[Unit, None] = {}
    while len(drawn) < count:
        layer = names[int(rng.integers(len(names)))]
        drawn[Unit(layer, int(rng.integers(widths[layer])))] = None
    return tuple(drawn)
