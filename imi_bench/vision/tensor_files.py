"""Files of tensors: the one place that opens them, for observers and for networks.

A file is safetensors, or what ``torch.save`` wrote of tensors alone. The second kind is a pickle,
which can run any program when it is opened, so it goes through torch's unpickler of tensors; where
the installed torch has one that could be made to run code (before 2.6, CVE-2025-32434), it is
refused unopened.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from imi_bench.errors import NetworkError
from imi_bench.extras import require

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SAFE_TORCH", "check_file", "read_tensors", "tensor_shapes", "unpickled_tensors"]

SAFE_TORCH = (2, 6)
"""The first torch whose unpickler of tensors is not known to run code."""

KINDS = "safetensors, or a torch file of tensors alone"
_CONVERT = "convert it with safetensors.torch.save_file where you trust it"


def check_file(path: Path) -> Path:
    """Refuse what is no file of tensors; a torch file is looked at when it is read.

    Raises
    ------
    NetworkError
        A missing or damaged file; a torch file where this torch cannot open it safely.
    """
    if not path.is_file():
        raise NetworkError("no weights", where=path, found="no such file", wanted=KINDS)
    if path.suffix == ".safetensors":
        tensor_shapes(path)
    else:
        _refuse_old_torch(path)
    return path


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in a safetensors file, without reading them.

    Raises
    ------
    NetworkError
        If the file is no safetensors file or is truncated.
    """
    safetensors = require("safetensors", for_="reading weights")
    try:
        with safetensors.safe_open(path, framework="np") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise NetworkError("not a safetensors file", where=path, found=error) from error


def unpickled_tensors(file: Path | IO[bytes], *, where: str | Path) -> Any:
    """What a torch file holds, if that is tensors in containers; nothing of it is run.

    Parameters
    ----------
    file : Path or file
    where : str or Path
        For messages.

    Raises
    ------
    NetworkError
        Anything else in it, a damaged file, or a torch whose unpickler is not safe.
    """
    torch = require("torch", for_="reading weights")
    _refuse_old_torch(where)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*TorchScript archive")  # refused below
            return torch.load(file, map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise NetworkError(
            "weights cannot be read",
            where=where,
            found=re.sub(r"\s+", " ", str(error))[:160] or type(error).__name__,
            wanted=KINDS,
            do=_CONVERT,
        ) from error


def read_tensors(
    path: Path, *, key: str | None = None
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The one set of weights that a file holds, and what to know of it.

    Parameters
    ----------
    path : Path
    key : str, optional
        The entry that holds it, where a training script saved more than one.

    Raises
    ------
    NetworkError
        As `check_file` and `unpickled_tensors`; no set of weights, or several.
    """
    torch = require("torch", for_="reading weights")
    check_file(path)
    if path.suffix == ".safetensors":
        state: Any = require("safetensors.torch", for_="reading weights").load_file(path)
    else:
        state = unpickled_tensors(path, where=path)
    if key is not None and isinstance(state, Mapping) and key in state:
        state = state[key]
    return _one_entry(state, path, lambda value: isinstance(value, torch.Tensor))


def _refuse_old_torch(where: str | Path) -> None:
    """No torch file is opened by a torch that may run what it holds."""
    version = require("torch", for_="reading weights").__version__
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < SAFE_TORCH:
        raise NetworkError(
            "torch files are refused: this torch may run what they hold",
            where=where,
            found=f"torch {version}",
            wanted=f"torch {'.'.join(map(str, SAFE_TORCH))} or newer, or .safetensors",
            do=_CONVERT,
        )


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
