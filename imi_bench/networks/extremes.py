"""The most and least activating images of every unit, kept while a stream goes by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imi_bench.extras import require
from imi_bench.vision.device import begin_fetch

if TYPE_CHECKING:
    from torch import Tensor

_ENDS = ("top", "bottom")
_LAST = 2**31 - 1  # also the mask of a float's bits below its sign
_OTHER_END = -1 << 32  # flips the value's part of a key: its order is reversed
UNITS_AT_A_TIME = {"cpu": 2048, "accelerator": 8192}
"""A processor's cache then holds the temporaries; an accelerator has enough to do."""


class Extremes:
    """Streaming extremes of U units on a device: the `keep` largest and smallest activations.

    Equal activations go to the earlier image, so the result depends neither on the batch size nor
    on how the stream was cut or in which order its parts were merged.

    Parameters
    ----------
    units : int
    keep : int
        Images kept at either end.
    device : str
    by_value : bool, optional
        Whether to select by values first, and by keys only where values are equal at the edge:
        half the work of a GPU, which is where it is done if left out.

    Notes
    -----
    Value and image number share one int64 key, whose order is that of the values and, where they
    are equal, that of the images: no two keys are equal, and a partial selection (``topk``) is
    enough. A unit costs 2 x `keep` x 8 bytes. Only units that a new image enters are selected
    again: late in a long stream that is nearly none.
    """

    def __init__(
        self, units: int, *, keep: int, device: str = "cpu", by_value: bool | None = None
    ) -> None:
        torch = require("torch", for_="keeping extremes")
        self.keep = keep
        self._keys = {
            end: torch.empty((units, 0), dtype=torch.int64, device=device) for end in _ENDS
        }
        # Temporaries of some units at a time stay in a processor's cache: three times as fast.
        self._step = units_at_a_time(device)
        self._by_value = device != "cpu" if by_value is None else by_value

    def update(self, values: Tensor, images: Tensor) -> None:
        """Take in a block.

        Parameters
        ----------
        values : Tensor
            (U, n) float32 tensor.
        images : Tensor
            (n,) int64 tensor
            Image numbers, below 2**31.
        """
        width = min(self.keep, self._keys["top"].shape[1] + values.shape[1])
        grown = {end: kept.new_empty((len(kept), width)) for end, kept in self._keys.items()}
        for start in range(0, len(values), self._step):
            part = slice(start, start + self._step)
            for end, new in self._new_keys(values[part], images):
                grown[end][part] = self._taken_in(self._keys[end][part], new)
        self._keys = grown

    def _new_keys(self, values: Tensor, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Keys of a block at either end: of all its images, or of those that may be kept."""
        if self._by_value and values.shape[1] > self.keep:
            for end in _ENDS:
                yield end, self._selected_by_value(values, images, end)
            return
        keys = _top_keys(values, images)
        yield "top", keys
        yield "bottom", keys ^ _OTHER_END

    def _selected_by_value(self, values: Tensor, images: Tensor, end: str) -> Tensor:
        torch = require("torch", for_="keeping extremes")
        flip = 0 if end == "top" else _OTHER_END
        chosen = values.topk(self.keep, dim=1, largest=end == "top", sorted=False)
        edge = chosen.values.amin(1) if end == "top" else chosen.values.amax(1)
        keys = _top_keys(chosen.values, images[chosen.indices]) ^ flip
        # which of equal values are chosen is not defined: where some are left out, keys decide
        there, taken = ((one == edge[:, None]).sum(1) for one in (values, chosen.values))
        tied = torch.nonzero(there != taken).squeeze(1)
        if len(tied):
            keys[tied] = self._selected(_top_keys(values[tied], images) ^ flip)
        return keys

    def absorb(self, part: Mapping[str, NDArray[np.int64]]) -> None:
        """Take in the `keys` of another part of the stream."""
        torch = require("torch", for_="keeping extremes")
        for end in _ENDS:
            self._keys[end] = self._taken_in(self._keys[end], torch.from_numpy(part[end]))

    def _taken_in(self, kept: Tensor, new: Tensor) -> Tensor:
        torch = require("torch", for_="keeping extremes")
        if kept.shape[1] < self.keep:
            return self._selected(torch.cat([kept, new], 1))
        entered = torch.nonzero(new.amax(1) > kept.amin(1)).squeeze(1)
        if len(entered) == len(kept):
            return self._selected(torch.cat([kept, new], 1))
        if len(entered):
            kept[entered] = self._selected(torch.cat([kept[entered], new[entered]], 1))
        return kept

    def _selected(self, keys: Tensor) -> Tensor:
        if keys.shape[1] <= self.keep:
            return keys
        largest: Tensor = keys.topk(self.keep, dim=1, sorted=False).values
        return largest

    def keys(self) -> dict[str, NDArray[np.int64]]:
        """What is kept, as one key an image, in no order: ``top`` and ``bottom``, (U, kept)."""
        return self.begin_keys()()

    def begin_keys(self) -> Callable[[], dict[str, NDArray[np.int64]]]:
        """Begin to bring home the `keys`; the result waits for them and gives them."""
        return begin_fetch(self._keys)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """``top_values``, ``top_images``, ``bottom_values``, ``bottom_images``: (U, kept).

        The most extreme first.
        """
        found: dict[str, NDArray[Any]] = {}
        for end, kept in self._keys.items():
            keys = kept.sort(dim=1, descending=True).values
            if end == "bottom":
                keys ^= _OTHER_END
            values, images = _from_top_keys(keys)
            found[f"{end}_values"] = values.cpu().numpy()
            found[f"{end}_images"] = images.cpu().numpy()
        return found


def units_at_a_time(device: str) -> int:
    """How many units are selected from at the same time, which bounds the temporaries."""
    return UNITS_AT_A_TIME["cpu" if device == "cpu" else "accelerator"]


def _top_keys(values: Tensor, images: Tensor) -> Tensor:
    """Keys that grow with the value and, for equal values, fall with the image number."""
    torch = require("torch", for_="keeping extremes")
    # IEEE floats order like integers once the bits below a set sign are flipped; + 0.0 makes
    # -0.0 equal to 0.0.
    bits = (values + 0.0).view(torch.int32)
    ordered = (bits >> 31).bitwise_and_(_LAST).bitwise_xor_(bits)
    keys: Tensor = ordered.long().bitwise_left_shift_(32).bitwise_or_(_LAST - images)
    return keys


def _from_top_keys(keys: Tensor) -> tuple[Tensor, Tensor]:
    torch = require("torch", for_="keeping extremes")
    ordered = (keys >> 32).int()
    values = (ordered ^ ((ordered >> 31) & _LAST)).view(torch.float32)
    return values, (_LAST - (keys & 0xFFFFFFFF)).int()
