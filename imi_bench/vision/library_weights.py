"""Trained weights that torchvision publishes, kept as safetensors."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from imi_bench.errors import DownloadError
from imi_bench.extras import require
from imi_bench.places import require_plain
from imi_bench.provenance import atomic_path
from imi_bench.vision.tensor_files import check_file
from imi_bench.vision.weight_files import file_name, stored_file, weights_cache

__all__ = ["LibraryWeights", "locate_library"]


class LibraryWeights(BaseModel):
    """Where trained weights come from: a member of torchvision's enumerations of weights.

    Attributes
    ----------
    source : str
        ``torchvision:ENUM.MEMBER``, such as ``torchvision:AlexNet_Weights.IMAGENET1K_V1``.
    sha256_begins : str
        First digits of the SHA-256 of the published file, which stand in its name; torch compares
        them after the download.
    licence : str
    evidence : str
        How this is known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(pattern=r"^torchvision:\w+\.\w+$")
    sha256_begins: str = Field(pattern=r"^[0-9a-f]{8,64}$")
    licence: str
    evidence: str

    @property
    def pinned(self) -> bool:
        """Always: the checksum is part of it."""
        return True

    def record(self) -> dict[str, Any]:
        """What a description says of the source."""
        return {"source": self.source, "licence": self.licence}


def locate_library(weights: LibraryWeights, *, for_: str) -> Path:
    """Path of the weights as safetensors on this machine, fetched by torch where needed.

    Raises
    ------
    DownloadError
        If they cannot be fetched or are not what the card says.
    """
    enumeration, _, member = weights.source.removeprefix("torchvision:").partition(".")
    given = stored_file(for_)
    path = given or weights_cache() / "torchvision" / f"{enumeration}.{member}.safetensors"
    if path.is_file():
        return check_file(given or require_plain(path, within=weights_cache()))
    models = require("torchvision.models", for_=f"weights of '{for_}'")
    chosen = getattr(models, enumeration)[member]
    if f"-{weights.sha256_begins}" not in chosen.url:
        raise DownloadError(
            "torchvision publishes other weights under this name",
            where=weights.source,
            found=chosen.url.rpartition("/")[2],
            wanted=f"a file whose SHA-256 begins with {weights.sha256_begins}",
        )
    try:
        state = chosen.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise DownloadError(
            f"weights of '{for_}' could not be fetched",
            where=weights.source,
            found=type(error).__name__,
            do="run once with internet access, or put the file into the folder of --weights as "
            f"{file_name(for_)}",
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        require("safetensors.torch", for_="keeping weights").save_file(dict(state), temporary)
    return check_file(path)
