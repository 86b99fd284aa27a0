"""What a network is called in tables: two that differ never share a name.

A name is that of the architecture and its weights, then whatever else a reference asks for:

==============================  ================================================================
``timm:resnet18``               ``resnet18.a1_in1k``, the tag that timm takes
``…&checkpoint=mine.pth``       ``resnet18-mine.1f2e3d4c``, with the first digits of the weights
``…?pretrained=false&seed=3``   ``resnet18-random3``
``…?input_size=64``             ``resnet18.a1_in1k-input_size.64``
``net.py:make?width=2``         ``net.make-1f2e3d4c-width.2``, with digits of its code and weights
a network in memory             ``ResNet-1f2e3d4c``
==============================  ================================================================

``name=`` is the user's own word. Which `layers` are followed names nothing: their units are the
same. So are an option of preprocessing that says what the maker does anyway, and ``image_size``
for ``input_size``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imi_bench.extras import require
from imi_bench.provenance import sha256_bytes, sha256_file, sha256_json
from imi_bench.vision.card import NetworkCard, Preprocessing, resolve
from imi_bench.vision.chosen_weights import ChosenWeights
from imi_bench.vision.code_identity import class_source
from imi_bench.vision.module_state import module_state
from imi_bench.vision.preprocessing import Preprocess, preprocess_for
from imi_bench.vision.references import option_value, split_reference

if TYPE_CHECKING:
    from torch import nn

__all__ = ["code_of", "digest_of", "network_name"]

DIGITS = 8
_UNNAMED = ("checkpoint", "pretrained", "seed", "name", "layers", "layer")
_LIBRARIES = ("torch", "torchvision", "timm", "open_clip")


def network_name(
    network: object,
    card: NetworkCard,
    chosen: ChosenWeights,
    module: nn.Module,
    *,
    preprocess: Preprocess,
    seed: int,
    input_size: int | None,
    digest: str,
) -> str:
    """The name of a loaded network.

    Parameters
    ----------
    network : object
        What was asked for: a reference, a card or a module.
    card : NetworkCard
        What it resolved to.
    chosen : ChosenWeights
    module : torch.nn.Module
        As its maker built it.
    preprocess : Preprocess
        What is done to its images.
    seed : int
        Of random weights.
    input_size : int, optional
        That was asked for beside the reference.
    digest : str
        Hash of the weights, and of the code where it is the user's; empty without weights.
    """
    reference = str(network) if isinstance(network, str | Path) else ""
    base, options = split_reference(reference)
    ending = _ending(reference, card, module, preprocess=preprocess, input_size=input_size)
    if chosen.random:
        return f"{card.name}-random{seed}{ending}"
    if "name" in options:
        return f"{card.name}{ending if input_size is not None else ''}"
    if isinstance(network, NetworkCard) or base.endswith(".toml"):  # named by its writer
        digest = "" if card.source == "python" else digest
    return f"{_with_weights(card, chosen, module, digest=digest[:DIGITS])}{ending}"


def _with_weights(
    card: NetworkCard, chosen: ChosenWeights, module: nn.Module, *, digest: str
) -> str:
    if chosen.local and chosen.path is not None:
        return _after_file(chosen.path, card, digest)
    if card.source == "python" or chosen.record.get("source") == "folder of weights":
        return "-".join(filter(None, (card.name, digest)))
    tag = _default_tag(card, module) if "licence" in chosen.record else None
    return card.name if tag is None else f"{card.name}.{tag}"


def _after_file(checkpoint: Path, card: NetworkCard, digest: str) -> str:
    """The name with a file of one's own; the file that the card itself names is the card's."""
    if _is_the_cards(checkpoint, card):
        return card.name
    stem = re.sub(r"[^\w.\-]", "_", checkpoint.stem)
    whose = card.name if stem in ("", card.name) else f"{card.name}-{stem}"
    return ".".join(filter(None, (whose, digest)))


def _is_the_cards(checkpoint: Path, card: NetworkCard) -> bool:
    """Whether a file is the one a card names; where that ends in digits of its hash, by these."""
    if checkpoint.name == card.weights.file:
        return True
    if checkpoint.stem not in card.weights.origin.split():
        return False
    digits = re.search(r"-([0-9a-f]{8})$", checkpoint.stem)
    if digits is None or not checkpoint.is_file():
        return digits is not None
    return sha256_file(checkpoint).startswith(digits[1])


def _default_tag(card: NetworkCard, module: nn.Module) -> str | None:
    """The tag that a library took for a reference without one; None where one is named."""
    if card.weights.tag is not None or card.weights.source is not None:
        return None
    if card.source == "timm" and "." not in card.architecture:
        return getattr(module, "pretrained_cfg", {}).get("tag") or None
    if card.source == "torchvision":
        models = require("torchvision.models", for_="the name of a network's weights")
        return str(models.get_model_weights(card.architecture).DEFAULT.name)
    return None


def _ending(
    reference: str,
    card: NetworkCard,
    module: nn.Module,
    *,
    preprocess: Preprocess,
    input_size: int | None,
) -> str:
    """What is asked for beside architecture and weights, in one order whatever that of asking."""
    base, given = split_reference(reference)
    asked = {key: option_value(text) for key, text in given.items() if key not in _UNNAMED}
    if "image_size" in asked:
        asked["input_size"] = asked.pop("image_size")
    if input_size is not None:
        asked["input_size"] = input_size
    scaling = {"input_size", *Preprocessing.model_fields}
    if scaling & asked.keys() and not _differs(base, card, module, preprocess):
        asked = {key: value for key, value in asked.items() if key not in scaling}
    return "".join(f"-{key}.{_said(value)}" for key, value in sorted(asked.items()))


def _differs(base: str, card: NetworkCard, module: nn.Module, preprocess: Preprocess) -> bool:
    """Whether images are seen otherwise than without any option."""
    own = resolve(base)[0].preprocessing if base else Preprocessing()
    plain = preprocess_for(card.model_copy(update={"preprocessing": own}), module)
    return plain.settings != preprocess.settings


def _said(value: Any) -> str:
    """A value in letters that names may have; a hash of what cannot be put so."""
    if isinstance(value, list) and all(isinstance(one, int | float) for one in value):
        return "_".join(json.dumps(one) for one in value)
    if isinstance(value, str):
        plain = re.fullmatch(r"[\w.]*[A-Za-z][\w.]*", value) is not None
        return value if plain else sha256_bytes(value.encode())[:DIGITS]
    if value is None or isinstance(value, bool | int | float):
        return json.dumps(value)
    return sha256_json(value)[:DIGITS]


def code_of(card: NetworkCard, module: nn.Module) -> dict[str, str]:
    """Fingerprint of a user's own code, as the record has it: ``{"code": SHA-256}``; or nothing.

    Of a file, its bytes; of a network in memory, its structure and the classes in it that are of
    none of the libraries, hooks, attributes and tensors that are no weights. What they import is
    not followed.
    """
    if card.source != "python":
        return {}
    file = Path(card.architecture.rpartition(":")[0])
    if card.architecture and file.is_file():
        return {"code": sha256_file(file)}
    kinds = {type(part) for part in module.modules()}
    own = [kind for kind in kinds if kind.__module__.partition(".")[0] not in _LIBRARIES]
    shown = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(module))
    sources = sorted((class_source(kind) for kind in own), key=lambda one: sorted(one.items()))
    state = module_state(module, libraries=_LIBRARIES)
    return {"code": sha256_json([shown, sources, *([state] if state else [])])}


def digest_of(code: Mapping[str, str], state: str | None) -> str:
    """Hash of weights, and of the code where it is the user's; empty without weights."""
    if state is None:
        return ""
    return sha256_json([*code.values(), state]) if code else state
