"""Building architectures by source, and putting weights into them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from imi_bench.errors import NetworkError, UnknownNameError
from imi_bench.extras import require
from imi_bench.vision.card import NetworkCard, Weights
from imi_bench.vision.chosen_weights import HUB, as_safetensors, timm_config
from imi_bench.vision.tensor_files import read_tensors, tensor_shapes

if TYPE_CHECKING:
    from torch import Tensor, nn


def _timm(card: NetworkCard, file: Path | None) -> nn.Module:
    timm = require("timm", for_=f"network '{card.name}'")
    arguments = dict(card.arguments)
    if card.architecture.startswith(HUB):
        whole = not card.weights.random
        return cast("nn.Module", timm.create_model(card.architecture, whole, **arguments))
    own = timm_config(card)
    if file is not None:
        file = as_safetensors(file, key=card.weights.key)
        arguments |= _of_the_file(file, own, arguments.get("num_classes"))
    tag = card.weights.tag
    name = f"{card.architecture}.{tag}" if tag else card.architecture
    return cast("nn.Module", timm.create_model(name, file is not None, **arguments))


def _of_the_file(path: Path, own: Any, asked: int | None) -> dict[str, Any]:
    """Arguments of `timm.create_model` that load a file strictly, whatever its classifier."""
    classes = _classes(path, own) or 0
    if asked is not None and asked != classes:
        raise NetworkError(
            "classifier of another size", where=path, found=f"{classes} classes", wanted=asked
        )
    overlay = {
        "file": str(path),
        "num_classes": classes,
        "custom_load": False,
        "label_offset": 0,
    }
    return {"num_classes": classes, "pretrained_cfg_overlay": overlay}


def _classes(path: Path, own: Any) -> int | None:
    """Number of classes of the classifier in a safetensors file; None without one."""
    head = own.classifier if isinstance(own.classifier, str) else (own.classifier or ("",))[0]
    return tensor_shapes(path).get(f"{head}.weight", (None,))[0]


def classes_of(card: NetworkCard, path: Path) -> dict[str, Any]:
    """The argument that gives a timm network the classifier of a safetensors file, if it has one.

    Raises
    ------
    NetworkError
        If the file is damaged.
    """
    if card.source != "timm" or path.suffix != ".safetensors":
        return {}
    classes = _classes(path, timm_config(card))
    return {} if classes is None else {"num_classes": classes}


def _open_clip(card: NetworkCard, file: Path | None) -> nn.Module:
    open_clip = require("open_clip", for_=f"network '{card.name}'")
    torch = require("torch", for_=f"network '{card.name}'")
    UnknownNameError.unless_among(
        card.architecture, open_clip.list_models(), kind="open_clip network"
    )
    options, tag = dict(card.arguments), card.weights.tag
    asked = options.pop("quick_gelu", None)
    quick = quick_gelu(card.architecture, tag, asked=asked, trained=file is not None)
    built = open_clip.create_model(
        card.architecture,
        pretrained=None if file is None else str(as_safetensors(file, key=card.weights.key)),
        device=torch.get_default_device(),
        **activation_arguments(quick),
        pretrained_image=False,
        pretrained_text=False,
        **options,
    )
    kinds = {type(part).__name__ for part in built.visual.modules()}
    if asked and "QuickGELU" not in kinds and (tag is not None or card.weights.random):
        raise NetworkError(  # weights without a tag may have to say which they are
            "option without effect",
            where=f"open_clip:{card.architecture}",
            found="quick_gelu=true, and an image tower without this function",
            do="leave quick_gelu out",
        )
    return cast("nn.Module", built)


def quick_gelu(architecture: str, tag: str | None, *, asked: bool | None, trained: bool) -> bool:
    """Whether an open_clip network has OpenAI's fast GELU, by open_clip's own configuration.

    Parameters
    ----------
    architecture : str
    tag : str or None
        Of open_clip's registry.
    asked : bool or None
        What the user says.
    trained : bool
        Whether there are trained weights, which only work with the function they had in training.

    Raises
    ------
    UnknownNameError
        No such tag.
    NetworkError
        Trained weights without a tag, of an architecture whose tags disagree.
    """
    open_clip = require("open_clip", for_=f"network '{architecture}'")
    UnknownNameError.unless_among(architecture, open_clip.list_models(), kind="open_clip network")
    own = bool((open_clip.get_model_config(architecture) or {}).get("quick_gelu", False))
    known = open_clip.list_pretrained_tags_by_model(architecture)
    of_tag = {
        name: own or bool(open_clip.get_pretrained_cfg(architecture, name).get("quick_gelu", False))
        for name in known
    }
    if tag is not None and tag not in of_tag:
        raise UnknownNameError.among(tag, known, kind=f"tag of '{architecture}'")
    if asked is not None:
        return asked
    if tag is not None:
        return of_tag[tag]
    if trained and len(set(of_tag.values())) > 1:
        fast = [name for name, flag in of_tag.items() if flag]
        raise NetworkError(
            "activation function of the weights is not known",
            where=f"open_clip:{architecture}",
            found=f"tags with QuickGELU ({', '.join(fast)}) and without",
            do="name the tag (pretrained=TAG), or quick_gelu=true or false",
        )
    return own


def activation_arguments(quick: bool) -> dict[str, bool]:
    """Arguments of open_clip's `create_model` that set the activation function."""
    return {"force_quick_gelu": True} if quick else {"quick_gelu": False}


def _torchvision(card: NetworkCard, file: Path | None) -> nn.Module:
    models = require("torchvision.models", for_=f"network '{card.name}'")
    UnknownNameError.unless_among(
        card.architecture, models.list_models(), kind="torchvision network"
    )
    options = dict(card.arguments)
    builder = models.get_model_builder(card.architecture)
    if "weights_backbone" in inspect.signature(builder).parameters:
        options.setdefault("weights_backbone", None)  # else it would be downloaded
    members = models.get_model_weights(card.architecture)
    tag = card.weights.tag or "DEFAULT"
    if file is None:
        built = builder(weights=None, **options)
        side = members[tag].meta.get("min_size", (None,))[0] if tag in members.__members__ else None
        if side not in (None, getattr(built, "image_size", side)) and "image_size" not in options:
            built = builder(weights=None, image_size=side, **options)  # as its weights would
        return cast("nn.Module", built)
    chosen = members[tag]
    with _tensors_of(chosen, file):
        return cast("nn.Module", builder(weights=chosen, **options))


@contextmanager
def _tensors_of(member: Any, file: Path) -> Iterator[None]:
    """Let torchvision's builder, which sets more than weights by a member, read a file of ours."""
    member.get_state_dict = lambda *_, **__: read_tensors(file)[0]
    try:
        yield
    finally:
        del member.get_state_dict


def _inception_v1(card: NetworkCard, file: Path | None) -> nn.Module:
    require("torch", for_=f"network '{card.name}'")
    from imi_bench.vision.inception import InceptionV1

    return _filled(InceptionV1(), card, file)


def _pre_relu_resnet(card: NetworkCard, file: Path | None) -> nn.Module:
    require("torchvision", for_=f"network '{card.name}'")
    from imi_bench.vision.resnet import pre_relu_resnet

    return _filled(pre_relu_resnet(card.architecture), card, file)


def _filled(module: nn.Module, card: NetworkCard, file: Path | None) -> nn.Module:
    if file is not None:
        load_checkpoint(module, file, rule=card.weights)
    return module


BUILDERS: Mapping[str, Callable[[NetworkCard, Path | None], Any]] = {
    "timm": _timm,
    "open_clip": _open_clip,
    "torchvision": _torchvision,
    "inception_v1": _inception_v1,
    "pre_relu_resnet": _pre_relu_resnet,
}


_WRAPPERS = ("module.", "_orig_mod.", "model.")


def load_checkpoint(
    module: nn.Module, path: Path, *, rule: Weights | None = None, inside: str = ""
) -> tuple[str, ...]:
    """Put the weights of a file into a module, all of them or none; what to know of them.

    Parameters
    ----------
    module : torch.nn.Module
    path : Path
        safetensors, or a torch file that holds tensors alone (nothing is unpickled).
    rule : Weights, optional
        Entry and key prefix of the state dict in the file.
    inside : str
        Prefix that keys may have and the module's have not (``visual``).

    Returns
    -------
    tuple of str
        The entry of the file they came from, prefixes taken off, and precisions, where not plain.

    Raises
    ------
    NetworkError
        Missing or unreadable file; several sets of weights; keys or shapes that do not fit.
    """
    rule, path = rule or Weights(), Path(path)
    state, remarks = read_tensors(path, key=rule.key)
    for prefix in (rule.key_prefix, f"{inside}." if inside else ""):
        if prefix and any(key.startswith(prefix) for key in state):
            state = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    wanted = module.state_dict()
    state, said = _without_wrapper(state, wanted)
    counters = {key for key in wanted if key.endswith("num_batches_tracked")}
    state |= {key: wanted[key] for key in counters - set(state)}  # old files have none
    for key, tensor in wanted.items():
        if key not in state:
            raise NetworkError(
                "checkpoint does not fit",
                where=f"{path}, tensor '{key}'",
                found="no such tensor",
                wanted=f"shape {tuple(tensor.shape)}",
            )
        if state[key].shape != tensor.shape:
            raise NetworkError(
                "checkpoint does not fit",
                where=f"{path}, tensor '{key}'",
                found=f"shape {tuple(state[key].shape)}",
                wanted=f"shape {tuple(tensor.shape)}",
            )
    extra = sorted(set(state) - set(wanted))
    if extra:
        raise NetworkError(
            "checkpoint does not fit",
            where=f"{path}, tensor '{extra[0]}'",
            found=f"{len(extra)} tensors that the network has not",
            wanted="the same names",
        )
    kinds = {str(v.dtype) for v in state.values() if v.is_floating_point()} - {"torch.float32"}
    if kinds:
        named = ", ".join(sorted(kind.removeprefix("torch.") for kind in kinds))
        said += (f"{path.name} has weights of {named}: they run in float32",)
    module.load_state_dict(state)
    return remarks + said


def _without_wrapper(
    state: dict[str, Tensor], wanted: Mapping[str, Any]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors without the prefixes that training wrappers give to every key."""
    removed = []
    while state and not set(state) & set(wanted):
        prefix = next((p for p in _WRAPPERS if all(key.startswith(p) for key in state)), None)
        if prefix is None:
            break
        removed.append(prefix)
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state, ((f"checkpoint read without the prefix {''.join(removed)}",) if removed else ())
