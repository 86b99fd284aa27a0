"""Images on their way to a network: decoded and cropped ahead of it by other processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np

from imi_bench.arrays import Ints, Pixels
from imi_bench.beside import cores
from imi_bench.errors import CheckFailedError, ImiBenchError
from imi_bench.extras import require
from imi_bench.networks.collection import ImageSet
from imi_bench.networks.kept_pixels import KeptPixels
from imi_bench.vision.preprocessing import Preprocess

if TYPE_CHECKING:
    from torch import Tensor

_MOST_WORKERS = 16


class Decoding:
    """Batches of a collection's images as a network wants them, in their order.

    Shards that follow one another are one stream: the processes that decode stay, and are ahead of
    the network when it comes to the next shard.

    Parameters
    ----------
    preprocess : Preprocess
    images : ImageSet
    batch_size : int
    workers : int or None
        Processes; 0: this one. None: one for each core on a GPU, unless the images are of a dataset
        object, which may not bear it; this one on a processor.
    device : str
        Of the network. For CUDA batches lie in pinned memory.
    onwards : bool
        Whether all images from the first that is asked for on will be. Otherwise that is believed
        once two shards in a row were asked for.
    keep_pixels : bool
        Whether pixels are taken from the cache and put there
        (`imi_bench.networks.kept_pixels`). Changes no pixel.
    """

    def __init__(
        self,
        preprocess: Preprocess,
        images: ImageSet,
        *,
        batch_size: int,
        workers: int | None = None,
        device: str = "cpu",
        onwards: bool = False,
        keep_pixels: bool = False,
    ) -> None:
        self.preprocess, self.images, self.keep_pixels = preprocess, images, keep_pixels
        self.batch_size, self.workers = batch_size, _workers(workers, images, device)
        self._pinned = device.startswith("cuda")
        self.onwards = onwards
        self._stream: Iterator[Tensor] | None = None
        self._next, self._until = 0, -1  # of the stream

    def batches(self, numbers: range) -> Iterator[Tensor]:
        """(B, height, width, 3) uint8 batches of some images.

        Raises
        ------
        ImageError
            An image that cannot be decoded, or that has changed while its pixels are kept.
        CheckFailedError
            A process that decodes died.
        """
        if self._stream is None or self._next != numbers.start or self._until < numbers.stop:
            follows = self.onwards or self._until == numbers.start
            follows = follows and len(numbers) % self.batch_size == 0
            self._next, self._until = numbers.start, len(self.images) if follows else numbers.stop
            self._stream = _told(self._begun(range(self._next, self._until)))
        for batch in self._stream:
            self._next += len(batch)
            yield batch
            if self._next >= numbers.stop:
                break
        if self._next == self._until:
            self.close()

    def close(self) -> None:
        """End the processes."""
        self._stream = None

    def _begun(self, numbers: range) -> Iterator[Tensor]:
        torch = require("torch", for_="loading images")
        size = self.batch_size
        batches = [numbers[start : start + size] for start in range(0, len(numbers), size)]
        workers = min(self.workers, len(batches))
        loader = torch.utils.data.DataLoader(
            ScaledImages(self.preprocess, self.images, keep=self.keep_pixels),
            batch_sampler=batches,
            num_workers=workers,
            pin_memory=self._pinned,
            multiprocessing_context="fork" if workers and _forks() else None,
            collate_fn=_whole,
            generator=torch.Generator(),  # else it draws from the caller's random numbers
        )
        with torch.device("cpu"):  # where its generator is
            return iter(loader)


def _whole(batch: Pixels) -> Tensor:
    tensor: Tensor = require("torch", for_="loading images").from_numpy(batch)
    return tensor


def _workers(wanted: int | None, images: ImageSet, device: str) -> int:
    if wanted is not None:
        return wanted
    many = device.startswith("cuda") and images.concurrent and _forks()
    return min(cores(), _MOST_WORKERS) if many else 0


def _forks() -> bool:
    """Whether new processes share what this one holds, so that nothing must be sent to them."""
    return "fork" in multiprocessing.get_all_start_methods()


def _told(batches: Iterator[Tensor]) -> Iterator[Tensor]:
    """Batches; what goes wrong in a process that decodes is told as in this one."""
    try:
        yield from batches
    except ImiBenchError as error:  # torch has put the traceback of the other process into it
        _, marker, line = str(error).rpartition(f"{type(error).__name__}: ")
        raise type(error)(line if marker else str(error)) from None
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise CheckFailedError(
            "a process that decodes images died",
            found=shorten(str(error), 160),
            do="run the command again with fewer workers=: what is finished is kept",
        ) from None


class ScaledImages:
    """The images as a network takes them, in batches; torch's loader asks for these.

    Parameters
    ----------
    preprocess : Preprocess
    images : ImageSet
    keep : bool
        As `Decoding`'s `keep_pixels`.
    """

    def __init__(self, preprocess: Preprocess, images: ImageSet, *, keep: bool = False) -> None:
        self.preprocess, self.images = preprocess, images
        self.kept = KeptPixels(preprocess, images) if keep else None

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, numbers: list[int]) -> Pixels:
        """(B, height, width, 3) uint8 pixels of some images."""
        batch = np.empty((len(numbers), *self.preprocess.size, 3), dtype=np.uint8)
        for place, number in enumerate(numbers):
            batch[place] = self.one(number)
        self.keep(numbers, batch)
        return batch

    def keep(self, numbers: Sequence[int] | Ints, batch: Pixels) -> None:
        """Put the pixels of some images on disk, if they are to be kept and are not there."""
        if self.kept is not None:
            self.kept.add(numbers, batch)

    def one(self, number: int) -> Pixels:
        """(height, width, 3) uint8 pixels of an image."""
        held = None if self.kept is None else self.kept.take(number)
        if held is not None:
            return held
        picture = self.images.picture(number, known=self.kept is not None)
        return np.asarray(self.preprocess.geometry(picture))
