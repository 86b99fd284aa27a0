"""Where networks compute, and what single precision means there.

On CUDA torch lets convolutions round their inputs to TensorFloat-32 (10 bits of 23) unless told
otherwise, and takes whichever convolution is fastest, some of which add in another order each time.
Here float32 is IEEE single precision, and the same call gives the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from imi_bench.arguments import checked
from imi_bench.errors import InputError
from imi_bench.extras import require

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "begin_fetch",
    "device_name",
    "drawn_from",
    "is_device",
    "pick_device",
    "single_precision",
]


def pick_device(wanted: str) -> str:
    """The device to run on: what is wanted, or the best there is for ``auto``.

    Parameters
    ----------
    wanted : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N`` (the GPU of that number) or ``mps``.

    Raises
    ------
    InputError
        An unknown device, or one this machine does not have.

    Examples
    --------
    >>> pick_device("cpu")
    'cpu'
    """
    torch = require("torch", for_="running an encoder")
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    usable = [device for device, present in there.items() if present]
    if wanted == "auto":
        return usable[0]
    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count() if there["cuda"] else 0)]
    if wanted not in (*usable, *gpus):
        raise InputError(
            "no such device here", found=wanted, wanted=", ".join(["auto", *usable, *gpus])
        )
    return wanted


@checked
def is_device(name: str) -> bool:
    """Whether a name is one that `pick_device` knows, on this machine or another.

    Examples
    --------
    >>> is_device("cuda:1"), is_device("gpu")
    (True, False)
    """
    return re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name) is not None


def device_name(device: str) -> str:
    """A device as records name it: a GPU with its model.

    Examples
    --------
    >>> device_name("cpu")
    'cpu'
    """
    if not device.startswith("cuda"):
        return device
    cuda = require("torch", for_="naming a GPU").cuda
    return f"{device} ({cuda.get_device_name(device)})" if cuda.is_available() else device


@contextmanager
def single_precision(device: str, *, doing: str, do: str) -> Iterator[None]:
    """While the block runs, float32 on a GPU is IEEE's, and algorithms are repeatable ones.

    Parameters
    ----------
    device : str
    doing, do : str
        What takes memory and what makes it less, for the error.

    Raises
    ------
    InputError
        If the device's memory runs out.
    """
    torch = require("torch", for_="running a network")
    if not device.startswith("cuda"):
        yield
        return
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32
    try:
        matmul.allow_tf32 = False
        with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            yield
    except torch.cuda.OutOfMemoryError as error:
        free, total = (one / 1e9 for one in torch.cuda.mem_get_info(device))
        torch.cuda.empty_cache()
        raise InputError(
            "not enough memory on the device",
            where=f"{doing} on {device_name(device)}",
            found=f"{free:.1f} of {total:.1f} GB free",
            wanted=_asked_for(str(error)),
            do=do,
        ) from None
    finally:
        matmul.allow_tf32 = before


@contextmanager
def drawn_from(seed: int, *, device: str = "cpu") -> Iterator[None]:
    """While the block runs, what torch draws comes from a seed alone, in float32.

    Whatever generator, number type or device the program around has made its default: they are as
    before afterwards, and the same seed gives the same weights everywhere.

    Parameters
    ----------
    seed : int
    device : str
        Where new tensors are.

    Examples
    --------
    >>> torch = require("torch", for_="an example")
    >>> with drawn_from(3):
    ...     first = torch.rand(1)
    >>> with drawn_from(3):
    ...     print(torch.rand(1) == first)
    tensor([True])
    """
    torch = require("torch", for_="drawing random weights")
    before = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]), torch.device(device):
        torch.default_generator.manual_seed(seed)
        try:
            torch.set_default_dtype(torch.float32)
            yield
        finally:
            torch.set_default_dtype(before)


def begin_fetch(tensors: Mapping[str, Tensor]) -> Callable[[], dict[str, NDArray[Any]]]:
    """Begin to bring tensors from a GPU, which goes on with its work.

    Returns
    -------
    callable
        Waits, from any thread, and gives them as arrays.
    """
    torch = require("torch", for_="reading from a device")
    if not any(one.is_cuda for one in tensors.values()):
        return lambda: {name: one.cpu().numpy() for name, one in tensors.items()}
    coming = {}
    for name, one in tensors.items():
        coming[name] = torch.empty(one.shape, dtype=one.dtype, pin_memory=True)
        coming[name].copy_(one, non_blocking=True)
    sent = torch.cuda.Event()
    sent.record(torch.cuda.current_stream(next(iter(tensors.values())).device))

    def arrived() -> dict[str, NDArray[Any]]:
        sent.synchronize()
        return {name: one.numpy() for name, one in coming.items()}

    return arrived


def _asked_for(said: str) -> str:
    found = re.search(r"Tried to allocate ([\d.]+ \wi?B)", said)
    return f"{found[1]} more" if found else "more"
