"""Building architectures by source, and putting weights into them."""

from __future__ import annotations

import inspect
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from imi_bench.errors import NetworkError, UnknownNameError
from imi_bench.extras import require
from imi_bench.vision.card import NetworkCard, Weights

if TYPE_CHECKING:
    from torch import Tensor, nn


def _timm(card: NetworkCard, download: bool) -> nn.Module:
    timm = require("timm", for_=f"network '{card.name}'")
    name = f"{card.architecture}.{card.weights.tag}" if card.weights.tag else card.architecture
    if not name.startswith("hf-hub:") and not timm.is_model(name):
        raise UnknownNameError.among(card.architecture, timm.list_models(), kind="timm network")
    return cast("nn.Module", timm.create_model(name, pretrained=download, **card.arguments))


def _open_clip(card: NetworkCard, download: bool) -> nn.Module:
    open_clip = require("open_clip", for_=f"network '{card.name}'")
    torch = require("torch", for_=f"network '{card.name}'")
    if card.architecture not in open_clip.list_models():
        raise UnknownNameError.among(
            card.architecture, open_clip.list_models(), kind="open_clip network"
        )
    if download and not card.weights.tag and not card.weights.file:
        tags = open_clip.list_pretrained_tags_by_model(card.architecture)
        raise NetworkError(
            "no weights named",
            where=f"open_clip:{card.architecture}",
            wanted=f"pretrained={' or '.join(tags[:6])}",
        )
    options = dict(card.arguments)
    quick = quick_gelu(
        card.architecture, card.weights.tag, asked=options.pop("quick_gelu", None), trained=download
    )
    return cast(
        "nn.Module",
        open_clip.create_model(
            card.architecture,
            pretrained=(card.weights.file or card.weights.tag) if download else None,
            device=torch.get_default_device(),
            **activation_arguments(quick),
            pretrained_image=False,
            pretrained_text=False,
            **options,
        ),
    )


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
    if architecture not in open_clip.list_models():
        raise UnknownNameError.among(
            architecture, open_clip.list_models(), kind="open_clip network"
        )
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


def _torchvision(card: NetworkCard, download: bool) -> nn.Module:
    models = require("torchvision.models", for_=f"network '{card.name}'")
    if card.architecture not in models.list_models():
        raise UnknownNameError.among(
            card.architecture, models.list_models(), kind="torchvision network"
        )
    chosen = None
    if download:
        chosen = models.get_model_weights(card.architecture)[card.weights.tag or "DEFAULT"]
    options = dict(card.arguments)
    if (
        "weights_backbone"
        in inspect.signature(models.get_model_builder(card.architecture)).parameters
    ):
        options.setdefault("weights_backbone", None)  # else it would be downloaded
    return cast("nn.Module", models.get_model(card.architecture, weights=chosen, **options))


def _inception_v1(card: NetworkCard, download: bool) -> nn.Module:
    require("torch", for_=f"network '{card.name}'")
    from imi_bench.vision.inception import InceptionV1

    module = InceptionV1()
    if download:
        load_checkpoint(module, _stored_file(card), rule=card.weights)
    return module


def _pre_relu_resnet(card: NetworkCard, download: bool) -> nn.Module:
    require("torchvision", for_=f"network '{card.name}'")
    from imi_bench.vision.resnet import pre_relu_resnet

    module = pre_relu_resnet(card.architecture)
    if download and card.weights.tag:
        models = require("torchvision.models", for_=f"network '{card.name}'")
        chosen = models.get_model_weights(card.architecture)[card.weights.tag]
        module.load_state_dict(chosen.get_state_dict(progress=False, check_hash=True))
    elif download:
        load_checkpoint(module, _stored_file(card), rule=card.weights)
    return module


BUILDERS: Mapping[str, Callable[[NetworkCard, bool], Any]] = {
    "timm": _timm,
    "open_clip": _open_clip,
    "torchvision": _torchvision,
    "inception_v1": _inception_v1,
    "pre_relu_resnet": _pre_relu_resnet,
}


def _stored_file(card: NetworkCard) -> Path:
    hub = require("torch.hub", for_=f"network '{card.name}'")
    path = Path(hub.get_dir()) / "checkpoints" / (card.weights.file or "")
    if not path.is_file():
        raise NetworkError(
            "weights are absent",
            where=card.name,
            found=f"no {path}",
            wanted=f"{card.weights.file} ({card.weights.origin})",
            do="put the file there, or give it as a local checkpoint",
        )
    return path


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
    state, remarks = _read_state(path, rule)
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


def _one_entry(
    state: Any, path: Path, is_tensor: Callable[[Any], bool]
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The set of weights within what a training script saved: the only one, or a refusal."""
    if isinstance(state, Mapping) and all(is_tensor(value) for value in state.values()):
        return dict(state), ()
    entries = state if isinstance(state, Mapping) else {}
    sets = {
        str(key): value
        for key, value in entries.items()
        if isinstance(value, Mapping) and value and all(is_tensor(v) for v in value.values())
    }
    if len(sets) == 1:
        ((key, value),) = sets.items()
        return dict(value), (f"weights of the entry '{key}' of {path.name}",)
    found = ", ".join(map(str, sets or entries))[:80] or f"a {type(state).__name__}"
    raise NetworkError(
        "checkpoint holds several sets of weights" if sets else "checkpoint is not a state dict",
        where=path,
        found=found,
        wanted="one set" if sets else "tensors by name",
        do="save the one you mean by itself, or name it in a card ([weights] key)",
    )


def _read_state(path: Path, rule: Weights) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    torch = require("torch", for_="reading a checkpoint")
    if not path.is_file():
        raise NetworkError("no such checkpoint", where=path, wanted="a file of weights")
    safetensors = require("safetensors", for_="reading a checkpoint")
    unreadable = (
        safetensors.SafetensorError,
        OSError,
        RuntimeError,
        ValueError,
        EOFError,
        pickle.UnpicklingError,
    )
    try:
        if path.suffix == ".safetensors":
            state = require("safetensors.torch", for_="reading a checkpoint").load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except unreadable as error:
        raise NetworkError(
            "checkpoint cannot be read",
            where=path,
            found=re.sub(r"\s+", " ", str(error))[:160] or type(error).__name__,
            wanted="safetensors, or a torch file of tensors alone",
        ) from error
    if rule.key is not None and isinstance(state, Mapping) and rule.key in state:
        state = state[rule.key]
    return _one_entry(state, path, lambda value: isinstance(value, torch.Tensor))
