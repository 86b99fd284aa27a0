"""Tensors kept as safetensors beside a note of where they come from and of their hash.

What is read again is compared with that note, so that a file that was damaged or changed, or that
somebody put in its place, is not taken for what was kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from imi_bench.errors import DownloadError
from imi_bench.extras import require
from imi_bench.provenance import atomic_path
from imi_bench.vision.weight_files import state_hash

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["keep_tensors", "kept_note"]

_HASH = "state_sha256"


def keep_tensors(state: Mapping[str, Tensor], path: Path, **note: str) -> None:
    """Write tensors atomically, with a note of text values and their hash.

    Parameters
    ----------
    state : mapping
        Tensors by name.
    path : Path
        A ``.safetensors`` file; its folder is made.
    **note : str
        Such as ``source``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"format": "pt", **note, _HASH: state_hash(state)}
    with atomic_path(path) as temporary:
        require("safetensors.torch", for_="keeping weights").save_file(
            dict(state), temporary, metadata=about
        )


def kept_note(path: Path) -> Mapping[str, str]:
    """The note of a file that `keep_tensors` wrote; empty for any other file.

    Raises
    ------
    DownloadError
        If the tensors are not those that were kept.
    """
    safetensors = require("safetensors", for_="reading weights")
    with safetensors.safe_open(path, framework="pt") as file:
        note = dict(file.metadata() or {})
    if _HASH not in note:
        return {}
    load = require("safetensors.torch", for_="reading weights").load_file
    if (found := state_hash(load(path))) != note[_HASH]:
        raise DownloadError(
            "weights are not what was kept",
            where=path,
            found=f"tensors with SHA-256 {found[:12]}…",
            wanted=f"{note[_HASH][:12]}…",
            do="delete the file and fetch it again",
        )
    return note
