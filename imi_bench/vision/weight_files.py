"""Files of trained weights from a Hub repository or a folder of one's own: safetensors only.

A folder of one's own, ``--weights DIR`` or ``$IMI_BENCH_WEIGHTS``, is looked into first, for
``NAME.safetensors`` (what `imi-bench observers fetch NAME --to DIR` writes); then the cache of the
Hugging Face client; only then is anything downloaded.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import platformdirs
from pydantic import BaseModel, ConfigDict, Field, model_validator

from imi_bench.errors import DownloadError, NetworkError
from imi_bench.extras import require
from imi_bench.provenance import sha256_columns, sha256_file
from imi_bench.vision.references import option_value, split_reference
from imi_bench.vision.tensor_files import check_file

WEIGHTS_VARIABLE = "IMI_BENCH_WEIGHTS"


class WeightFile(BaseModel):
    """Where trained weights come from: one safetensors file of a Hugging Face Hub repository.

    Attributes
    ----------
    repo, file : str
    revision : str or None
        Commit of the repository, 40 hexadecimal digits; None needs `unpinned_because`.
    sha256 : str or None
        Of the file; checked after the download where it is known.
    licence : str
    evidence : str
        How revision and checksum are known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    file: str = Field(pattern=r"^[\w./-]+\.safetensors$")
    revision: str | None = Field(default=None, pattern=r"^[0-9a-f]{40}$")
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    licence: str
    evidence: str
    unpinned_because: str | None = None

    @model_validator(mode="after")
    def _pinned_or_explained(self) -> Self:
        if (self.revision is None) == (self.unpinned_because is None):
            raise ValueError("give either revision or unpinned_because")
        return self

    @property
    def pinned(self) -> bool:
        """Whether the commit of the repository is fixed."""
        return self.revision is not None

    def proves(self, path: Path) -> bool:
        """Whether a file is known to be the repository's: `locate` compared its checksum."""
        return self.sha256 is not None and path.is_file()

    def record(self) -> dict[str, Any]:
        """What a description says of the source."""
        return {
            "source": self.repo,
            "file": self.file,
            "revision": self.revision or "unpinned",
            "licence": self.licence,
        }


TENSOR_FILES = (".safetensors", ".bin", ".pth", ".pt")
"""Endings of files that may hold tensors alone."""


class RegistryFile(WeightFile):
    """The same from a library's registry, whose file may be one that torch wrote.

    Attributes
    ----------
    repo, file, revision, sha256, licence, evidence, unpinned_because
        As `WeightFile`; the file is opened by `imi_bench.vision.tensor_files` all the same.
    """

    file: str = Field(pattern=r"^[\w./-]+\.(safetensors|bin|pth|pt)$")


def weights_cache() -> Path:
    """Where weights are kept that no other client keeps."""
    root = os.environ.get("IMI_BENCH_CACHE") or platformdirs.user_cache_path("imi-bench")
    return Path(root) / "weights"


def stored_file(name: str) -> Path | None:
    """The file of an observer or a network in the user's own folder of weights; None without one.

    Raises
    ------
    NetworkError
        If ``$IMI_BENCH_WEIGHTS`` (``--weights``) names a folder that is not there.

    Examples
    --------
    >>> file_name("efficientnet-lite0?pooling=max")
    'efficientnet-lite0.safetensors'
    """
    named = os.environ.get(WEIGHTS_VARIABLE)
    if not named:
        return None
    if not Path(named).is_dir():
        raise NetworkError("no such folder of weights", where=named, wanted="a folder")
    path = Path(named) / file_name(name)
    return path if path.is_file() else None


def file_name(name: str) -> str:
    """The name under which the weights of an observer or a network lie in a folder of weights.

    Examples
    --------
    >>> file_name("open_clip:ViT-B-32?pretrained=openai&pooling=max")
    'open_clip-ViT-B-32.openai.safetensors'
    """
    base, options = split_reference(name)
    tag = options.get("pretrained", "")
    named = f"{base}.{tag}" if isinstance(option_value(tag), str) and tag else base
    return re.sub(r"[^\w.-]", "-", named) + ".safetensors"


def locate(weights: WeightFile, *, for_: str) -> Path:
    """Path of the weight file on this machine: own folder, Hub's cache, or downloaded into it.

    Raises
    ------
    DownloadError
        If it cannot be fetched, or its checksum is not that of the card.
    """
    revision, name = weights.revision or "main", for_.partition("?")[0]
    try:
        path = stored_file(for_) or _fetched(weights, revision)
    except (OSError, ValueError) as error:
        # every error of the Hub client (offline, not found, connection) derives from these two
        raise DownloadError(
            f"weights of '{for_}' could not be fetched",
            where=f"{weights.repo}/{weights.file} at {revision[:12]}",
            found=type(error).__name__,
            do="run once with internet access, put the file into the folder of "
            "IMI_BENCH_WEIGHTS (--weights) as "
            f"{file_name(for_)}, or give a file: '{name}?checkpoint=FILE.safetensors'",
        ) from error
    if weights.sha256 is not None and (found := sha256_file(path)) != weights.sha256:
        raise DownloadError(
            "weights are not what the card says",
            where=path,
            found=f"SHA-256 {found}",
            wanted=weights.sha256,
            do="delete the file and fetch it again",
        )
    return check_file(path)


def _fetched(weights: WeightFile, revision: str) -> Path:
    """The file from the Hub's cache, without a look at the network; else downloaded."""
    hub = require("huggingface_hub", for_="downloading weights")
    place: dict[str, str] = {
        "repo_id": weights.repo,
        "filename": weights.file,
        "revision": revision,
    }
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # the client warns of each of its retries
    try:
        return Path(hub.hf_hub_download(**place, local_files_only=True))
    except (OSError, ValueError):
        return Path(hub.hf_hub_download(**place))
    finally:
        logging.disable(before)


def state_hash(state: Mapping[str, Any]) -> str:
    """SHA-256 of a torch state dict: names, dtypes, shapes and values, in order of names.

    Of quantised weights the numbers that they stand for; what is no tensor by its text.
    """
    columns: dict[str, Any] = {}
    for name in sorted(state):
        for key, value in _parts(name, state[name]):
            if not hasattr(value, "detach"):
                columns[key] = np.array([str(value)])
                continue
            tensor = value.detach().cpu()
            tensor = tensor.dequantize() if tensor.is_quantized else tensor
            half = str(tensor.dtype) == "torch.bfloat16" or "float8" in str(tensor.dtype)
            columns[key] = (tensor.float() if half else tensor).numpy()
    return sha256_columns(columns)


def _parts(name: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, tuple):  # packed weights and bias
        return [part for i, one in enumerate(value) for part in _parts(f"{name}.{i}", one)]
    return [(name, value)]
