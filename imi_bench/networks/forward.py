"""Running a network over many images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np

from imi_bench.errors import CheckFailedError, ImiBenchError
from imi_bench.extras import require
from imi_bench.networks.collection import ImageSet
from imi_bench.vision.loading import LoadedNetwork
from imi_bench.vision.preprocessing import Preprocess

if TYPE_CHECKING:
    from torch import Tensor


def forward_batches(
    network: LoadedNetwork,
    images: ImageSet,
    numbers: range,
    *,
    batch_size: int,
    precision: str = "float32",
    workers: int = 0,
) -> Iterator[int]:
    """Run the network over some images, batch after batch; yields each batch's size.

    Pixels are decoded and cropped by `workers` processes (pinned memory on CUDA), sent as bytes,
    and normalised on the device; channels last and autocast on CUDA.
    """
    torch = require("torch", for_="running a network")
    cuda = network.device.startswith("cuda")
    if cuda:
        network.module.to(memory_format=torch.channels_last)
    loader = torch.utils.data.DataLoader(
        _Pixels(network.preprocess, images, numbers),
        batch_size=batch_size,
        num_workers=workers,
        pin_memory=cuda,
    )
    kind, dtype = network.device.partition(":")[0], getattr(torch, precision)
    for pixels in _read(loader):
        with (
            torch.inference_mode(),
            torch.autocast(kind, dtype=dtype, enabled=precision != "float32"),
        ):
            batch = network.preprocess.normalise(pixels.to(network.device, non_blocking=True))
            if cuda:
                batch = batch.contiguous(memory_format=torch.channels_last)
            network.module(batch)
        yield len(pixels)


def _read(loader: Iterable[Tensor]) -> Iterator[Tensor]:
    """Batches; what goes wrong in a process that decodes is told as in this one."""
    try:
        yield from loader
    except ImiBenchError as error:  # torch has put the traceback of the other process into it
        _, marker, line = str(error).rpartition(f"{type(error).__name__}: ")
        raise type(error)(line if marker else str(error)) from None
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise CheckFailedError(
            "a process that decodes images died",
            found=shorten(str(error), 160),
            do="run the command again with fewer --workers: what is finished is kept",
        ) from None


@dataclass(frozen=True)
class _Pixels:
    """The images of a shard as torch's loader wants them."""

    preprocess: Preprocess
    images: ImageSet
    numbers: range

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, position: int) -> Tensor:
        torch = require("torch", for_="loading images")
        pixels = self.preprocess.pixels(self.images.read(self.numbers[position]))
        return torch.from_numpy(np.array(pixels))
