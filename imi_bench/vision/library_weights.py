"""Trained weights that torchvision and timm publish at addresses of their own, as safetensors."""

from __future__ import annotations

import re
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from imi_bench.errors import DownloadError, NetworkError
from imi_bench.extras import require
from imi_bench.places import require_plain
from imi_bench.provenance import sha256_file
from imi_bench.vision.kept_tensors import keep_tensors, kept_note
from imi_bench.vision.tensor_files import check_file, read_tensors
from imi_bench.vision.weight_files import file_name, stored_file, weights_cache

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LibraryWeights", "digits_of", "locate_library"]

WRAPPER = "module."  # of training on several devices


class LibraryWeights(BaseModel):
    """Where trained weights come from: a member of a library's registry, at its own address.

    Attributes
    ----------
    source : str
        ``torchvision:ENUM.MEMBER``, such as ``torchvision:AlexNet_Weights.IMAGENET1K_V1``, or
        ``timm:NAME.TAG`` where timm keeps the weights at an address and not on the Hub.
    sha256_begins : str or None
        First digits of the SHA-256 of the published file, which stand in its name and are compared
        with the file; None needs `unpinned_because`.
    key : str or None
        The entry of the file that holds the weights, where it has several.
    licence : str
    evidence : str
        How this is known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(pattern=r"^(torchvision:\w+\.\w+|timm:[\w.]+)$")
    sha256_begins: str | None = Field(default=None, pattern=r"^[0-9a-f]{8,64}$")
    key: str | None = None
    licence: str
    evidence: str
    unpinned_because: str | None = None

    @model_validator(mode="after")
    def _pinned_or_explained(self) -> Self:
        if (self.sha256_begins is None) == (self.unpinned_because is None):
            raise ValueError("give either sha256_begins or unpinned_because")
        return self

    @property
    def pinned(self) -> bool:
        """Whether the checksum is part of it."""
        return self.sha256_begins is not None

    def proves(self, path: Path) -> bool:
        """Whether a file is what this source gave: it says so, and its tensors are as noted.

        Raises
        ------
        DownloadError
            A file that says so, with other tensors.
        """
        return kept_note(path).get("source") == self.source

    def record(self) -> dict[str, Any]:
        """What a description says of the source."""
        said = {"source": self.source, "licence": self.licence}
        return said if self.pinned else {**said, "revision": "unpinned"}


def locate_library(weights: LibraryWeights, *, for_: str) -> Path:
    """Path of the weights as safetensors on this machine, fetched by torch where needed.

    Raises
    ------
    DownloadError
        If they cannot be fetched or are not what the card says.
    NetworkError
        If the file holds more than tensors, or this torch cannot open it safely.
    """
    library, _, member = weights.source.partition(":")
    if (given := stored_file(for_)) is not None:
        return check_file(given)
    path = weights_cache() / library / f"{member}.safetensors"
    if path.is_file():
        kept = check_file(require_plain(path, within=weights_cache()))
        if weights.proves(kept):
            return kept
    address = _address(library, member, for_=for_)
    if weights.pinned and f"-{weights.sha256_begins}" not in address:
        raise DownloadError(
            f"{library} publishes other weights under this name",
            where=weights.source,
            found=address.rpartition("/")[2],
            wanted=f"a file whose SHA-256 begins with {weights.sha256_begins}",
        )
    state = _published(address, weights, for_=for_)
    keep_tensors(state, path, source=weights.source, licence=weights.licence)
    return check_file(path)


def digits_of(address: str) -> str | None:
    """First digits of the SHA-256 that a published file bears in its name, as torch reads them.

    Examples
    --------
    >>> digits_of("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth")
    '7be5be79'
    """
    found = re.search(r"[-_]([0-9a-f]{8,64})\.pth$", address)
    return found and found[1]


def _address(library: str, member: str, *, for_: str) -> str:
    """Where the installed library says that the file is."""
    if library == "timm":
        models = require("timm.models", for_=f"weights of '{for_}'")
        known = models.get_pretrained_cfg(member)
        return str(known.url)
    enumeration, _, name = member.partition(".")
    models = require("torchvision.models", for_=f"weights of '{for_}'")
    return str(getattr(models, enumeration)[name].url)


def _published(address: str, weights: LibraryWeights, *, for_: str) -> dict[str, Tensor]:
    """The tensors at an address; the file stays where the library itself would keep it."""
    hub = require("torch.hub", for_=f"weights of '{for_}'")
    path = Path(hub.get_dir()) / "checkpoints" / address.rpartition("/")[2]
    folder = "the folder of IMI_BENCH_WEIGHTS (--weights)"
    do = f"run once with internet access, or put the file into {folder} as "
    try:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            hub.download_url_to_file(
                address, str(path), hash_prefix=weights.sha256_begins, progress=False
            )
    except (OSError, RuntimeError, HTTPException) as error:
        raise DownloadError(
            f"weights of '{for_}' could not be fetched",
            where=weights.source,
            found=type(error).__name__,
            do=do + file_name(for_),
        ) from error
    if not sha256_file(path).startswith(weights.sha256_begins or ""):
        raise DownloadError(
            "weights are not what their name says",
            where=path,
            found=f"SHA-256 {sha256_file(path)[:12]}…",
            wanted=f"{weights.sha256_begins}…",
            do="delete the file and fetch it again",
        )
    state, _ = read_tensors(path, key=weights.key)
    if not state:
        raise NetworkError("no weights", where=path, found="no tensor")
    wrapped = all(name.startswith(WRAPPER) for name in state)
    return {
        name.removeprefix(WRAPPER) if wrapped else name: tensor.contiguous().clone()
        for name, tensor in state.items()
    }
