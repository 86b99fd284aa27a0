"""Which weights a network or an observer gets: one policy, one order of places, one record.

1. Random weights, where they are asked for in so many words.
2. A file that the reference names (``checkpoint=FILE``).
3. The source that a card pins: a Hub repository at a commit, a package, a member of torchvision's
   enumerations. The folder of ``--weights`` and the caches are looked into before anything is
   downloaded.
4. For a network without one: NAME.safetensors in the folder of ``--weights``; the file of its card
   in torch's folder of checkpoints; what the library's own registry names, on the Hub or at an
   address of its own.

A file of the folder of weights that a pinned source cannot be compared with (no checksum on the
card, no note of what it was fetched from) is recorded as a file of that folder.

Whatever is opened is safetensors, or a torch file of tensors alone
(`imi_bench.vision.tensor_files`). The libraries' own readers, some of which unpickle what they
get, are not used. What a registry names without a revision or a checksum is recorded as unpinned.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imi_bench.errors import InputError, NetworkError, UnknownNameError
from imi_bench.extras import require
from imi_bench.places import require_plain
from imi_bench.provenance import sha256_file
from imi_bench.vision.card import NetworkCard
from imi_bench.vision.kept_tensors import keep_tensors, kept_note
from imi_bench.vision.library_weights import LibraryWeights, digits_of
from imi_bench.vision.tensor_files import check_file, read_tensors
from imi_bench.vision.weight_files import (
    TENSOR_FILES,
    RegistryFile,
    WeightFile,
    file_name,
    stored_file,
    weights_cache,
)
from imi_bench.vision.weight_sources import WeightSource, find_weights

__all__ = ["ChosenWeights", "as_safetensors", "choose_weights", "registry_source"]

HUB = "hf-hub:"


@dataclass(frozen=True)
class ChosenWeights:
    """The weights that were chosen, and what a record says of them.

    Attributes
    ----------
    path : Path or None
        The file; None for random weights and for a Hub repository that brings its own.
    record : mapping
        `source` and what else is known of it; JSON values, without folders of this machine.
    local : bool
        Whether the reference named the file itself.
    """

    path: Path | None
    record: Mapping[str, Any]
    local: bool = False

    @property
    def random(self) -> bool:
        """Whether the weights are drawn from a seed."""
        return "seed" in self.record


def choose_weights(
    card: NetworkCard,
    *,
    for_: str,
    checkpoint: str | Path | None = None,
    pinned: WeightSource | None = None,
    pretrained: bool = True,
    seed: int = 0,
) -> ChosenWeights:
    """Choose the weights of a network or an observer, as the module's docstring says.

    Parameters
    ----------
    card : NetworkCard
        Architecture, tag and the file or source that it names.
    for_ : str
        The name or reference that was asked for: its file in the folder of weights
        (`imi_bench.vision.weight_files.file_name`), and in messages.
    checkpoint : path, optional
        Local file instead.
    pinned : WeightFile, PackagedWeights or LibraryWeights, optional
        The source of an observer's card.
    pretrained : bool
        False: random weights.
    seed : int
        Of random weights.

    Raises
    ------
    InputError
        A file and random weights at once.
    NetworkError
        No source, a file that is not there or is not one of tensors.
    DownloadError
        Weights that cannot be fetched, or are not what the card says.
    UnknownNameError
        A tag that the library does not know.

    Examples
    --------
    >>> from imi_bench.vision.card import resolve
    >>> described, _ = resolve("timm:test_resnet")
    >>> choose_weights(described, for_="timm:test_resnet", pretrained=False, seed=3).record
    {'source': 'random weights', 'seed': 3}
    """
    if card.architecture.startswith(HUB):
        if checkpoint is not None or not pretrained:
            raise InputError(
                "a Hub repository brings its weights",
                where=for_,
                do="name the architecture itself for a local checkpoint or random weights",
            )
        return ChosenWeights(None, {"source": card.architecture, "revision": "unpinned"})
    if not pretrained:
        if checkpoint is not None:
            raise InputError("both a checkpoint and random weights", where=for_, do="drop one")
        return ChosenWeights(None, {"source": "random weights", "seed": seed})
    if checkpoint is not None:
        return ChosenWeights(check_file(Path(checkpoint)), {"source": "local file"}, local=True)
    source = pinned or card.weights.source
    if source is None and (own := stored_file(for_)) is not None:
        return ChosenWeights(check_file(own), {"source": "folder of weights", "file": own.name})
    if source is None and card.weights.file:
        return _in_torchs_folder(card, for_)
    source = source or registry_source(card)
    if source is None:
        raise NetworkError(
            "no source of weights",
            where=for_,
            do="add ?checkpoint=FILE.safetensors, a pretrained tag, or ?pretrained=false&seed=0",
        )
    path = find_weights(source, for_=for_)
    if stored_file(for_) is None or source.proves(path):
        return ChosenWeights(path, source.record())
    said = source.record()["source"]
    warnings.warn(
        f"weights of '{for_}' are what the folder of weights has, compared with nothing: "
        f"{path.name} for {said}",
        stacklevel=2,
    )
    record = {"source": "folder of weights", "file": path.name, "unchecked": said}
    return ChosenWeights(path, record)


def _in_torchs_folder(card: NetworkCard, for_: str) -> ChosenWeights:
    hub = require("torch.hub", for_=f"network '{card.name}'")
    path = Path(hub.get_dir()) / "checkpoints" / str(card.weights.file)
    if not path.is_file():
        raise NetworkError(
            "weights are absent",
            where=for_,
            found=f"no {path}",
            wanted=f"{card.weights.file} ({card.weights.origin})",
            do=f"put the file there, or {file_name(for_)} into the folder of IMI_BENCH_WEIGHTS "
            "(--weights), or give it as a local checkpoint",
        )
    record = {"source": card.weights.origin, "file": str(card.weights.file)}
    return ChosenWeights(check_file(path), record)


def as_safetensors(path: Path, *, key: str | None = None) -> Path:
    """The file for a library that is to open it: a torch file's tensors are kept in the cache.

    Raises
    ------
    NetworkError
        A torch file that holds more than tensors, or several sets of them.
    """
    if path.suffix == ".safetensors":
        return path
    kept = weights_cache() / "converted" / f"{sha256_file(path)}-{key or ''}.safetensors"
    if not kept.is_file():
        state, _ = read_tensors(path, key=key)
        plain = {name: tensor.contiguous().clone() for name, tensor in state.items()}
        keep_tensors(plain, kept, source="a torch file")
    check_file(require_plain(kept, within=weights_cache()))
    kept_note(kept)
    return kept


def registry_source(card: NetworkCard) -> WeightSource | None:
    """Where the library's own registry keeps an architecture's weights.

    Returns
    -------
    WeightFile, LibraryWeights or None
        None: the registry names none, or keeps them as something else than tensors.

    Raises
    ------
    UnknownNameError
        An architecture or a tag that it does not know.
    NetworkError
        An open_clip architecture without a tag.
    """
    by_library = {"timm": _of_timm, "open_clip": _of_open_clip, "torchvision": _of_torchvision}
    if card.source == "pre_relu_resnet":
        return _of_torchvision(card)
    return by_library[card.source](card) if card.source in by_library else None


def timm_config(card: NetworkCard) -> Any:
    """What timm's registry says of an architecture and its tag."""
    timm = require("timm", for_=f"network '{card.name}'")
    base, _, tag = card.architecture.partition(".")
    tag = card.weights.tag or tag
    if not timm.is_model(base):
        raise UnknownNameError.among(base, timm.list_models(), kind="timm network")
    try:
        return timm.models.get_pretrained_cfg(f"{base}.{tag}" if tag else base)
    except RuntimeError:
        tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{base}.*")]
        raise UnknownNameError.among(tag, tags, kind=f"tag of '{base}'") from None


def _of_timm(card: NetworkCard) -> WeightSource | None:
    own = timm_config(card)
    if own.hf_hub_id:
        file = own.hf_hub_filename or "model.safetensors"
        return _on_hub(own.hf_hub_id, file, library="timm", licence=own.license)
    if not own.url or not own.url.endswith((".pth", ".pth.tar", ".pt")):
        return None
    digits = digits_of(own.url)
    return LibraryWeights(
        source=f"timm:{own.architecture}" + (f".{own.tag}" if own.tag else ""),
        sha256_begins=digits,
        key="encoder" if "ijepa" in own.url else None,  # beside a predictor and a teacher
        licence=own.license or "unknown",
        evidence="timm's registry",
        unpinned_because=None if digits else "its address bears no checksum",
    )


def _of_open_clip(card: NetworkCard) -> WeightFile | None:
    open_clip = require("open_clip", for_=f"network '{card.name}'")
    known = open_clip.list_pretrained_tags_by_model(card.architecture)
    if card.weights.tag is None and known:
        raise NetworkError(
            "no weights named",
            where=f"open_clip:{card.architecture}",
            wanted=f"pretrained={' or '.join(known[:6])}",
        )
    if card.weights.tag is not None and card.weights.tag not in known:
        raise UnknownNameError.among(card.weights.tag, known, kind=f"tag of '{card.architecture}'")
    tag = open_clip.get_pretrained_cfg(card.architecture, card.weights.tag) if known else {}
    owner, _, rest = str(tag.get("hf_hub", "")).partition("/")
    repo, _, file = rest.partition("/")
    if not repo:
        return None
    return _on_hub(f"{owner}/{repo}", file or "open_clip_model.safetensors", library="open_clip")


def _on_hub(repo: str, file: str, *, library: str, licence: str | None = None) -> WeightFile | None:
    if not file.endswith(TENSOR_FILES):
        return None
    return RegistryFile(
        repo=repo,
        file=file,
        licence=licence or "unknown",
        evidence=f"{library}'s registry",
        unpinned_because=f"{library}'s registry names no revision",
    )


def _of_torchvision(card: NetworkCard) -> LibraryWeights | None:
    models = require("torchvision.models", for_=f"network '{card.name}'")
    UnknownNameError.unless_among(
        card.architecture, models.list_models(), kind="torchvision network"
    )
    members = models.get_model_weights(card.architecture)
    tag = card.weights.tag or "DEFAULT"
    UnknownNameError.unless_among(tag, members.__members__, kind=f"tag of '{card.architecture}'")
    digits = digits_of(members[tag].url)
    if digits is None:
        return None
    return LibraryWeights(
        source=f"torchvision:{members.__name__}.{members[tag].name}",
        sha256_begins=digits,
        licence="unknown",
        evidence="torchvision's registry",
    )
