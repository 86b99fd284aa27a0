"""From a card to a network that runs: its module, preprocessing and layers."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from imi_bench.errors import NetworkError
from imi_bench.extras import require
from imi_bench.vision import weights
from imi_bench.vision.building import build_module
from imi_bench.vision.card import LayerRule, NetworkCard, resolve
from imi_bench.vision.encoder import pick_device
from imi_bench.vision.layer_names import depths_in_order
from imi_bench.vision.layers import Layer, find_layer, list_layers
from imi_bench.vision.preprocessing import Preprocess, preprocess_for
from imi_bench.vision.weight_files import state_hash

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, eq=False)
class LoadedNetwork:
    """A network ready to run.

    Attributes
    ----------
    name : str
        Stands in trial tables. ``…-random<seed>`` for random weights of another network's card.
    module : torch.nn.Module
        In evaluation mode, on `device`, no parameter requires a gradient.
    preprocess : Preprocess
    layers : tuple of Layer
        In the order they run.
    device : str
    record : dict
        What was loaded, as a JSON object: card, hash of the weights, seed, preprocessing.
    """

    name: str
    module: nn.Module
    preprocess: Preprocess
    layers: tuple[Layer, ...]
    device: str
    record: Mapping[str, Any]

    @cached_property
    def layer_names(self) -> tuple[str, ...]:
        """Released names of the layers."""
        return tuple(layer.name for layer in self.layers)

    def layer(self, name: str) -> Layer:
        """The layer of that released name or module path; `UnknownNameError` otherwise."""
        return find_layer(self.layers, name)

    @property
    def width(self) -> int:
        """Number of units of all layers."""
        return sum(layer.width for layer in self.layers)


def load_network(
    network: str | Path | NetworkCard | nn.Module,
    *,
    checkpoint: Path | None = None,
    pretrained: bool = True,
    seed: int = 0,
    device: str = "auto",
    name: str | None = None,
    layers: str | None = None,
    input_size: int | None = None,
) -> LoadedNetwork:
    """Load a network, its preprocessing and its layers.

    Parameters
    ----------
    network : str, Path, NetworkCard or torch.nn.Module
        A card's name, a reference (see `imi_bench.vision.card`), a card, or a module (copied).
    checkpoint : Path, optional
        Local weights, safetensors or a torch file of tensors, instead of downloaded ones.
    pretrained : bool
        False: random weights from `seed`, nothing is downloaded.
    seed : int
        Of the random weights.
    device : str
        ``auto`` takes a GPU where there is one; ``meta`` builds the structure alone.
    name : str, optional
        Another name for trial tables.
    layers : str, optional
        Regular expression of released layer names, without the prefix, instead of the card's.
    input_size : int, optional
        Side of the input in pixels instead of the card's.

    Raises
    ------
    UnknownNameError
        No such card or architecture; no such layer.
    NetworkError
        Weights that are absent or do not fit.
    DownloadError
        Weights that cannot be fetched.
    InputError
        A device that this machine does not have.
    MissingExtraError
        Without torch (extra ``vision``).

    Examples
    --------
    >>> network = load_network("timm:test_resnet", device="meta")
    >>> network.name, network.layers[0].name, network.layers[0].width
    ('test_resnet', 'conv1_0', 16)
    """
    torch = require("torch", for_="loading a network")
    structure = device == "meta"
    random = False
    if isinstance(network, torch.nn.Module):
        module = copy.deepcopy(cast("nn.Module", network))
        card = NetworkCard(name=name or type(module).__name__, source="python", architecture="")
    else:
        card, named = (network, None) if isinstance(network, NetworkCard) else resolve(str(network))
        checkpoint = checkpoint or named
        pretrained = pretrained and not card.weights.random
        random = checkpoint is None and not pretrained and not structure
        download = checkpoint is None and pretrained and not structure
        if card.source == "open_clip" and checkpoint is not None:
            asked = card.arguments.get("quick_gelu")
            weights.quick_gelu(card.architecture, card.weights.tag, asked=asked, trained=True)
        module = build_module(card, download=download, seed=seed, structure=structure)
    preprocess = preprocess_for(card, module, input_size=input_size)
    if card.layers.inside and hasattr(module, card.layers.inside):
        module = module.get_submodule(card.layers.inside)
    if checkpoint is not None and not structure:
        weights.load_checkpoint(module, checkpoint, rule=card.weights, inside=card.layers.inside)
    target = device if structure else pick_device(device)
    module = module.to(target).eval().requires_grad_(False)
    rule = card.layers if layers is None else _rule(card, layers)
    return LoadedNetwork(
        name=name or (f"{card.name}-random{seed}" if random else card.name),
        module=module,
        preprocess=preprocess,
        layers=_layers(module, rule, preprocess.size, card),
        device=target,
        record={
            "card": card.model_dump(mode="json"),
            "random_seed": seed if random else None,
            "state_sha256": None if structure else state_hash(module.state_dict()),
            "layers": rule.pattern,
            "preprocess": dict(preprocess.settings),
        },
    )


def _rule(card: NetworkCard, pattern: str) -> LayerRule:
    try:
        re.compile(pattern)
    except re.error as error:
        raise NetworkError(
            "not a pattern for layers",
            where=card.name,
            found=f"'{pattern}' ({error})",
            wanted="a regular expression for the whole layer name, such as 'layer4_.*'",
        ) from error
    return card.layers.model_copy(update={"pattern": pattern})


def _layers(
    module: nn.Module, rule: LayerRule, size: tuple[int, int], card: NetworkCard
) -> tuple[Layer, ...]:
    settings = getattr(module, "default_cfg", None) or getattr(module, "pretrained_cfg", None) or {}
    classifier = settings.get("classifier") or ("fc", "classifier", "head")
    named = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    try:
        found = list_layers(module, rule=rule, size=size, classifier=named)
    except (RuntimeError, AssertionError, ValueError, TypeError) as error:
        if isinstance(error, NetworkError):
            raise
        raise NetworkError(
            "network does not run on its input",
            where=card.name,
            found=error,
            wanted=f"images of {size[0]} x {size[1]} pixels",
            do="set input_size",
        ) from error
    depths = depths_in_order(card.name, [layer.name for layer in found]).tolist()
    return tuple(replace(one, depth=depth) for one, depth in zip(found, depths, strict=True))
