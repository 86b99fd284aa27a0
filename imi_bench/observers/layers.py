"""Codes from layers inside a network: pooled over positions, or patch by patch.

``layer=NAME`` (several joined by commas) names layers as `imi-bench networks units` does; their
maps are brought to one code by ``spatial``:

- ``mean`` and ``max`` over positions, or ``gem``, the generalised mean of power `power`;
- ``aligned``: positions stand beside each other, each of unit length, so that the cosine of two
  codes is the mean over positions of the cosines of patches at the same place;
- ``best-match``: the mean over one image's patches of the largest cosine to a patch of the other,
  averaged over both directions.

Every layer's part has unit length before several are joined, so that each weighs the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from imi_bench.arguments import refuse_idle
from imi_bench.errors import InputError, UnknownNameError
from imi_bench.extras import require
from imi_bench.observers.embedding import Embedding
from imi_bench.observers.pooling import Rows, Sides, contrast
from imi_bench.observers.protocol import Codes
from imi_bench.tables import BlindTrials
from imi_bench.vision.card import LayerRule
from imi_bench.vision.layers import Layer, find_layer, hooked

__all__ = ["POWER", "SPATIAL", "BestMatch", "Spatial", "check_power", "layer_codes"]

Spatial = Literal["mean", "max", "gem", "aligned", "best-match"]
SPATIAL: tuple[str, ...] = get_args(Spatial)
POWER = 3.0
"""Of the generalised mean, where none is asked for."""


def layer_codes(
    module: Any,
    names: str | Sequence[str],
    *,
    size: tuple[int, int],
    spatial: str = "mean",
    power: float = POWER,
    where: str = "observer",
) -> tuple[Callable[[Any], Any], dict[str, Any]]:
    """A function from a batch of inputs to codes of layers, and its description.

    Parameters
    ----------
    module : torch.nn.Module
    names : str or sequence of str
        Layers, joined by commas.
    size : (int, int)
        Height and width of the input.
    spatial : {"mean", "max", "gem", "aligned", "best-match"}
    power : float
        Of the generalised mean, ``mean(max(x, 1e-6) ** power) ** (1 / power)``; negative
        activations count as none (Radenovic, Tolias & Chum, arXiv 1711.02512).
    where : str
        For messages.

    Returns
    -------
    forward : callable
        (B, 3, H, W) to (B, D); (B, P, D) for ``best-match``.
    description : dict

    Raises
    ------
    UnknownNameError
        No such layer or way of pooling.
    InputError
        A power that is not positive; layers joined patch by patch.
    """
    UnknownNameError.unless_among(spatial, SPATIAL, kind="spatial pooling")
    if not power > 0:
        raise InputError("bad power", where=where, found=power, wanted="above 0")
    check_power(power, layer=True, spatial=spatial, where=where)
    wanted = names.split(",") if isinstance(names, str) else list(names)
    from imi_bench.vision.listing import HEADS, list_layers

    listing = list_layers(module, rule=LayerRule(), size=size, classifier=HEADS, network=where)
    layers = [find_layer(listing.layers, name) for name in wanted]
    if len(set(wanted)) < len(wanted):
        raise InputError("a layer named twice", where=where, found=", ".join(wanted), wanted="once")
    if spatial == "best-match" and len(layers) > 1:
        raise InputError(
            "patches of several layers", where=where, found=", ".join(wanted), wanted="one layer"
        )
    torch = require("torch", for_=where)

    by_path = {layer.path: layer for layer in layers}

    def forward(batch: Any) -> Any:
        parts: dict[str, Any] = {}

        def seen(path: str, output: Any) -> None:
            # at once: what runs next may change the output in place (a residual sum, a ReLU)
            parts[path] = _pooled(torch, by_path[path], output, spatial, power)

        with hooked(module, by_path, seen):
            module(batch)
        ordered = [parts[layer.path] for layer in layers]
        return ordered[0] if len(ordered) == 1 else torch.cat(ordered, dim=1)

    described: dict[str, Any] = {"layers": [layer.name for layer in layers], "spatial": spatial}
    return forward, described | ({"power": power} if spatial == "gem" else {})


def check_power(power: float, *, layer: bool, spatial: str, where: object) -> None:
    """Refuse a power that no generalised mean reads."""
    reads = layer and spatial == "gem"
    do = "add spatial='gem'" if layer else "add layer= and spatial='gem'"
    refuse_idle("power", power, free=POWER, unless=reads, do=do, where=where)


def _pooled(torch: Any, layer: Layer, output: Any, spatial: str, power: float) -> Any:
    """(B, D) code of one layer, of unit length; (B, P, C) patches for ``best-match``."""
    maps = layer.maps(output).flatten(2).float()
    unit = torch.nn.functional.normalize
    if spatial == "best-match":
        return unit(maps, dim=1).transpose(1, 2)
    if spatial == "aligned":
        return unit(maps, dim=1).flatten(1) / maps.shape[2] ** 0.5
    if spatial == "mean":
        return unit(maps.mean(2), dim=1)
    if spatial == "max":
        return unit(maps.amax(2), dim=1)
    least = maps.clamp(min=1e-6)
    largest = least.amax(2, keepdim=True)  # a power of shares of it leaves no number's range
    means = (least / largest).pow(power).mean(2).pow(1 / power)
    return unit(means * largest[:, :, 0], dim=1)


class BestMatch(Embedding):
    """Images as sets of patches, compared by the best match of each; see the module's docstring.

    Its codes are (P, C) patches of unit length, so it does not embed single images into one vector.
    """

    def decide(self, trials: BlindTrials, codes: Codes | None) -> NDArray[np.float64]:
        """(T,) decision variables, in units of the cosine.

        Raises
        ------
        InputError
            Without codes, or with codes that are no patches.
        """
        if codes is None or np.ndim(codes) != 3:
            raise InputError("no patches", where=self.name, do="call encode first")

        def similarities(queries: Rows, positive: Rows, negative: Rows) -> Sides:
            return _matches(codes, queries, positive), _matches(codes, queries, negative)

        return contrast(
            trials,
            similarities,
            pooling=self.pooling,
            temperature=self.temperature,
            at_once=16,
        )


def _matches(codes: Codes, queries: Rows, side: Rows) -> NDArray[np.float64]:
    """(T, 2, K) best matches of both queries with the references of a side."""
    found = np.empty((*queries.shape, side.shape[1]))
    for trial, (asked, shown) in enumerate(zip(queries, side, strict=True)):
        for place, query in enumerate(asked):
            one = codes[query].astype(np.float64)
            for k, reference in enumerate(shown):
                cosines = one @ codes[reference].astype(np.float64).T
                found[trial, place, k] = (cosines.max(0).mean() + cosines.max(1).mean()) / 2
    return found
