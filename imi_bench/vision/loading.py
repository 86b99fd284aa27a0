"""From a card to a network that runs: its module, preprocessing and layers."""

from __future__ import annotations

import copy
import re
import traceback
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, cast

from imi_bench.arguments import checked
from imi_bench.errors import InputError, NetworkError
from imi_bench.extras import require
from imi_bench.text import plural
from imi_bench.vision import weights
from imi_bench.vision.building import build_module
from imi_bench.vision.card import LayerRule, NetworkCard, resolve
from imi_bench.vision.card import card as packaged_card
from imi_bench.vision.card import names as card_names
from imi_bench.vision.chosen_weights import ChosenWeights, choose_weights
from imi_bench.vision.device import pick_device, single_precision
from imi_bench.vision.layers import Layer, LeftOut, find_layer
from imi_bench.vision.network_names import code_of, digest_of, network_name
from imi_bench.vision.preprocessing import Preprocess, preprocess_for
from imi_bench.vision.references import split_reference
from imi_bench.vision.weight_files import state_hash

if TYPE_CHECKING:
    from torch import nn

    from imi_bench.vision.listing import Listing


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
        What was loaded, as a JSON object: card, hash of the weights, seed, preprocessing, layers
        left out.
    left_out : tuple of LeftOut
        Modules that look like layers, and why their units cannot be read.
    remarks : tuple of str
        What was changed or chosen on the way and should be known, one line each.
    """

    name: str
    module: nn.Module
    preprocess: Preprocess
    layers: tuple[Layer, ...]
    device: str
    record: Mapping[str, Any]
    left_out: tuple[LeftOut, ...] = ()
    remarks: tuple[str, ...] = ()

    @cached_property
    def layer_names(self) -> tuple[str, ...]:
        """Released names of the layers."""
        return tuple(layer.name for layer in self.layers)

    def layer(self, name: str) -> Layer:
        """The layer of that released name or module path; `UnknownNameError` otherwise."""
        return find_layer(self.layers, name)

    @property
    def cautions(self) -> tuple[str, ...]:
        """What should be known before its numbers are read, one line each."""
        settings = self.record["preprocess"]
        instead = ", ".join(
            f"{name} {settings[name]} for {own}" for name, own in settings["instead_of"].items()
        )
        changed = [f"preprocessing of {settings['maker']}, but {instead}"] if instead else []
        reasons = Counter(one.reason for one in self.left_out)
        without = [
            f"left out: {plural(n, 'module')} of {self.name}: {why}" for why, n in reasons.items()
        ]
        return (*self.remarks, *changed, *without)

    @property
    def width(self) -> int:
        """Number of units of all layers."""
        return sum(layer.width for layer in self.layers)


@checked
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
        Of the random weights, unless the reference names one.
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
    _refuse_twice(network, checkpoint=checkpoint, name=name, layers=layers, input_size=input_size)
    structure = device == "meta"
    if isinstance(network, torch.nn.Module):
        module, remarks = _copied(cast("nn.Module", network))
        card, picked = _card_of(name or type(module).__name__), None
        chosen = _of_memory(card, checkpoint, pretrained=pretrained)
    else:
        card, chosen, picked, seed = _asked(
            network, checkpoint, pretrained=pretrained, seed=seed, structure=structure
        )
        module, remarks = _built(card, chosen, seed=seed, structure=structure), ()
    preprocess = preprocess_for(card, module, input_size=input_size)
    whole = module
    if card.layers.inside and hasattr(module, card.layers.inside):
        module = module.get_submodule(card.layers.inside)
    if chosen.local and not structure:
        remarks += weights.load_checkpoint(
            module, cast("Path", chosen.path), rule=card.weights, inside=card.layers.inside
        )
    module, said = _single_precision(module)
    target = device if structure else pick_device(device)
    module = module.to(target).eval().requires_grad_(False)
    rule = picked if layers is None else _rule(card, layers)
    with single_precision(target, doing=f"listing the layers of {card.name}", do="device='cpu'"):
        listing = _listed(module, card, rule, preprocess.size)
    maker = preprocess.settings["maker"]
    known = maker.startswith(("timm", "torchvision", "open_clip"))
    remarks += said if known else (*said, f"preprocessing: {maker}")
    code = code_of(card, whole)
    state = None if structure else state_hash(module.state_dict())
    called = name or network_name(
        network,
        card,
        chosen,
        whole,
        preprocess=preprocess,
        seed=seed,
        input_size=input_size,
        digest=digest_of(code, state),
    )
    return LoadedNetwork(
        name=called,
        module=module,
        preprocess=preprocess,
        layers=listing.layers,
        device=target,
        record={
            "card": card.model_dump(mode="json"),
            "random_seed": seed if chosen.random else None,
            "weights": None if structure else dict(chosen.record),
            "state_sha256": state,
            **code,
            "layers": (rule or card.layers).pattern,
            "left_out": [asdict(one) for one in listing.left_out],
            "preprocess": dict(preprocess.settings),
        },
        left_out=listing.left_out,
        remarks=remarks,
    )


def _refuse_twice(network: object, **arguments: object) -> None:
    """Refuse what a reference says and an argument says again: one of the two would be lost."""
    said = split_reference(network)[1] if isinstance(network, str) else {}
    for name, value in arguments.items():
        names = {"layers": ("layers", "layer"), "input_size": ("input_size", "image_size")}
        in_line = next((one for one in names.get(name, (name,)) if one in said), None)
        if value is not None and in_line is not None:
            raise InputError(
                "one option twice",
                where=network,
                found=f"'{in_line}' in the reference, and {name}={value}",
                do="leave one out",
            )


def _own_weights(where: str) -> InputError:
    return InputError(
        "random weights of a network that brings its own",
        where=where,
        wanted="an architecture of timm, open_clip or torchvision, or a card",
        do="do not ask for random weights",
    )


def _resolved(
    network: str | Path | NetworkCard,
) -> tuple[NetworkCard, Path | None, LayerRule | None]:
    """The card of a reference, its local weights, and the layers that it picks of the card's.

    What a layer's depth is counted in stays the card's, as by `load_network`'s ``layers``.
    """
    if isinstance(network, NetworkCard):
        return network, None, None
    card, file = resolve(str(network))
    plain, _, query = str(network).partition("?")
    kept = [one for one in query.split("&") if one.partition("=")[0] not in ("layers", "layer")]
    if kept == query.split("&"):
        return card, file, None
    own, _ = resolve("?".join([plain, *filter(None, ["&".join(kept)])]))
    return card.model_copy(update={"layers": own.layers}), file, card.layers


def _of_the_paper(card: NetworkCard) -> str:
    """The packaged card that it is, whatever it is called now and whatever its weights."""
    for name in card_names():
        known = packaged_card(name)
        if (known.source, known.architecture, known.layers) == (
            card.source,
            card.architecture,
            card.layers,
        ):
            return name
    return ""


def _asked(
    network: str | Path | NetworkCard,
    checkpoint: Path | None,
    *,
    pretrained: bool,
    seed: int,
    structure: bool,
) -> tuple[NetworkCard, ChosenWeights, LayerRule | None, int]:
    """The card of a reference, its weights, the layers that it picks, and the weights' seed."""
    card, named, picked = _resolved(network)
    seed = seed if card.weights.seed is None else card.weights.seed
    in_line = isinstance(network, str) and ".toml" not in network
    chosen = _chosen(
        card,
        reference=str(network) if in_line else card.name,
        checkpoint=checkpoint or named,
        pretrained=pretrained and not card.weights.random,
        seed=seed,
        structure=structure,
    )
    return card, chosen, picked, seed


def _of_memory(card: NetworkCard, checkpoint: Path | None, *, pretrained: bool) -> ChosenWeights:
    """The weights of a network in memory: those it has, or a file's."""
    if not pretrained:
        raise _own_weights(card.name)
    if checkpoint is not None:
        return choose_weights(card, for_=card.name, checkpoint=checkpoint)
    return ChosenWeights(None, {"source": "in memory"})


def _chosen(
    card: NetworkCard,
    *,
    reference: str,
    checkpoint: Path | None,
    pretrained: bool,
    seed: int,
    structure: bool,
) -> ChosenWeights:
    """The weights; none, and no look for them, where only the structure is wanted."""
    if card.source == "python" and not pretrained:
        raise _own_weights(reference)
    if structure:
        named = None if checkpoint is None else Path(checkpoint)
        drawn = {} if pretrained else {"seed": seed}
        return ChosenWeights(named, drawn, local=named is not None)
    if card.source == "open_clip" and checkpoint is not None:
        asked = card.arguments.get("quick_gelu")
        weights.quick_gelu(card.architecture, card.weights.tag, asked=asked, trained=True)
    if card.source == "python" and checkpoint is None:
        return ChosenWeights(None, {"source": "its own file"})
    return choose_weights(
        card, for_=reference, checkpoint=checkpoint, pretrained=pretrained, seed=seed
    )


def _built(card: NetworkCard, chosen: ChosenWeights, *, seed: int, structure: bool) -> nn.Module:
    """The module, with the weights of a library's source in it; a local file's come later."""
    file = chosen.path
    if structure:
        card, file = _bare(card), None
    elif chosen.local and file is not None:
        arguments = weights.classes_of(card, file) | card.arguments
        card, file = card.model_copy(update={"arguments": arguments}), None
    return build_module(card, file=file, seed=seed, structure=structure)


def _bare(card: NetworkCard) -> NetworkCard:
    """The same network without its weights."""
    without = card.weights.model_copy(update={"random": True})
    return card.model_copy(update={"weights": without})


def _card_of(name: str) -> NetworkCard:
    """The card of a module that has none."""
    try:
        return NetworkCard(name=name, source="python", architecture="")
    except ValueError as error:
        raise NetworkError(
            "not a name for a network",
            found=repr(name),
            wanted="letters, digits, '.', '-' and '_'",
        ) from error


def _copied(given: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """A copy of a network in memory, without what would keep hooks from running."""
    torch = require("torch", for_="loading a network")
    inside, wrapped = given, []
    while True:
        if isinstance(inside, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
            within = inside.module
        elif (within := getattr(inside, "_orig_mod", None)) is None:
            break
        wrapped.append(type(inside).__name__)
        inside = within
    name = type(inside).__name__
    if isinstance(inside, torch.jit.ScriptModule):
        raise NetworkError(
            "a scripted or traced network shows no layers",
            where=name,
            wanted="the module that was scripted",
        )
    if any(torch.nn.parameter.is_lazy(one) for one in inside.parameters()):
        raise NetworkError(
            "a network whose sizes are not known yet",
            where=name,
            found="lazy modules without weights",
            do="run it once on an image",
        )
    try:
        with torch.no_grad():
            module = copy.deepcopy(inside)
    except RuntimeError as error:
        raise NetworkError(
            "network cannot be copied",
            where=name,
            found=shorten(str(error), 120),
            do="remove old-style weight_norm (torch.nn.utils.remove_weight_norm), or detach what "
            "it holds",
        ) from error
    what = ", ".join(wrapped)
    return module, ((f"read without its wrapper {what}",) if wrapped else ())


def _single_precision(module: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """The module with parameters of 32 bits, and a remark where they had others."""
    found = {str(p.dtype) for p in module.parameters() if p.is_floating_point()} - {"torch.float32"}
    if not found:
        return module, ()
    kinds = ", ".join(sorted(kind.removeprefix("torch.") for kind in found))
    return module.float(), (f"weights of {kinds} run in float32",)


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


_OF_ITS_OWN = (
    RuntimeError,
    AssertionError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
)
"""What a network's code raises where its first input is no batch of images, or another size."""


def _listed(
    module: nn.Module, card: NetworkCard, chosen: LayerRule | None, size: tuple[int, int]
) -> Listing:
    from imi_bench.vision.listing import HEADS, list_layers

    settings = getattr(module, "default_cfg", None) or getattr(module, "pretrained_cfg", None) or {}
    classifier = settings.get("classifier") or HEADS
    named = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    paper = _of_the_paper(card)
    try:
        return list_layers(
            module, rule=card.layers, size=size, classifier=named, chosen=chosen, network=paper
        )
    except NotImplementedError:
        if next(module.parameters()).device.type != "meta":
            raise
        built = build_module(_bare(card), file=None, seed=0).eval()
        inside = card.layers.inside
        built = built.get_submodule(inside) if inside and hasattr(built, inside) else built
        return list_layers(
            built, rule=card.layers, size=size, classifier=named, chosen=chosen, network=paper
        )
    except _OF_ITS_OWN as error:
        if isinstance(error, NetworkError):
            raise
        raise NetworkError(
            "network does not run on its input",
            where=card.name,
            found=shorten(_said(error), 240),
            wanted=f"one batch of images of 3 x {size[0]} x {size[1]}",
            do=_remedy(module, error),
        ) from error


def _said(error: Exception) -> str:
    """What an error says; of a check without words, the line that checks."""
    if isinstance(error, AttributeError | LookupError | ArithmeticError):
        return f"{type(error).__name__}: {error}"
    if str(error):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__}: {frames[-1].line}" if frames else type(error).__name__


def _remedy(module: nn.Module, error: Exception) -> str:
    said = str(error)
    first = next((m for m in module.modules() if hasattr(m, "in_channels")), None)
    channels = 3 if first is None else int(first.in_channels)
    if "positional argument" in said or "missing" in said:
        return "it takes several inputs: wrap it in a function of a Python file that takes one"
    if channels != 3 and "channel" in said:
        return (
            f"it takes {plural(channels, 'channel')}: wrap it in a module that takes colour images"
        )
    if isinstance(error, AssertionError | ValueError):
        return (
            "its own code refuses the images: set input_size if it wants another size, or wrap it"
        )
    if isinstance(error, AttributeError | LookupError):
        return "wrap it in a module whose first input is a batch of images (of CLIP, its tower)"
    return "set input_size"
