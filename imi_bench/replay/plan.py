"""What there is to do: which images in which batches, which trials in which chunks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imi_bench.arrays import Ints
from imi_bench.errors import InputError
from imi_bench.observers.protocol import Encoder, Observer
from imi_bench.tables import BlindingKey, BlindTrials, Trials
from imi_bench.tables.align import in_use
from imi_bench.tables.images import Images

BATCH_ON_CPU, BATCH_ON_ACCELERATOR = 32, 256
_CHUNK_BYTES = 256 << 20
_CHUNK_TRIALS = 4096


@dataclass(frozen=True, eq=False)
class Plan:
    """Blind trials over exactly the images they use.

    Attributes
    ----------
    trials : BlindTrials
        What may be shown. Image rows are in the order of content hashes.
    key : BlindingKey
        What may not.
    batch_size : int
        Images in one call of `encode`, or trials in one call of a `decide` without codes.

    Notes
    -----
    Batches are fixed by the content hashes of all images of the plan, whatever is on disk
    already: a batch that a kill cut off is computed again with the same neighbours, so that the
    result of a resumed run equals that of an uninterrupted one to the last bit.
    """

    trials: BlindTrials
    key: BlindingKey
    batch_size: int

    @property
    def images(self) -> Images:
        """The distinct images in use."""
        return self.trials.images

    def batches(self, todo: NDArray[np.bool_]) -> Iterator[Ints]:
        """Image rows still to encode, batch by batch."""
        for start in range(0, len(self.images), self.batch_size):
            rows = start + np.flatnonzero(todo[start : start + self.batch_size])
            if rows.size:
                yield rows

    def chunks(self, *, code_bytes: int | None) -> Iterator[Ints]:
        """Trial rows, chunk by chunk, such that the codes of a chunk fit a fixed budget."""
        size = self.batch_size
        if code_bytes is not None:
            images = 2 + 2 * self.trials.positive.shape[1]
            size = int(np.clip(_CHUNK_BYTES // (images * max(code_bytes, 1)), 1, _CHUNK_TRIALS))
        for start in range(0, len(self.trials), size):
            yield np.arange(start, min(start + size, len(self.trials)))

    def shown(self, rows: Ints) -> tuple[Ints, BlindTrials]:
        """The images that some trials use, and these trials over those images alone."""
        return _compact(self.trials, rows)

    def trial_keys(self) -> list[str]:
        """Content hash of what each trial shows, in the order it is shown."""
        digests = np.array([bytes.fromhex(h) for h in self.images.hashes], dtype="S32")
        shown = np.hstack([self.trials.queries, self.trials.positive, self.trials.negative])
        return [hashlib.sha256(digests[row].tobytes()).hexdigest() for row in shown]


def make_plan(
    observer: Observer, trials: Trials, *, seed: int, batch_size: int | str = "auto"
) -> Plan:
    """Blind the trials and choose the batch size.

    ``auto`` is the observer's own ``batch_size``, if it has one; else 32 on a CPU and 256 on an
    accelerator (its ``device``) for an encoder, and 1 for an observer of whole trials.

    Raises
    ------
    InputError
        A batch size that is neither ``auto`` nor a positive number.
    """
    blind = trials.blind(seed=seed)
    if blind.key is None:
        raise InputError("trials were blinded without a key")
    _, shown = _compact(blind, slice(None))
    return Plan(shown, blind.key, _batch_size(observer, batch_size))


def _batch_size(observer: Observer, wanted: int | str) -> int:
    if wanted == "auto":
        own = getattr(observer, "batch_size", None)
        if own is not None:
            return int(own)
        if not isinstance(observer, Encoder):
            return 1
        on_cpu = str(getattr(observer, "device", "cpu")).startswith("cpu")
        return BATCH_ON_CPU if on_cpu else BATCH_ON_ACCELERATOR
    if not str(wanted).isdecimal() or int(wanted) < 1:
        raise InputError("bad batch size", found=repr(wanted), wanted="auto or a number above 0")
    return int(wanted)


def _compact(trials: BlindTrials, rows: Ints | slice) -> tuple[Ints, BlindTrials]:
    """Some trials over the images they use, renumbered in the same order."""
    used, (positive, negative, queries) = in_use(
        trials.positive[rows], trials.negative[rows], trials.queries[rows]
    )
    return used, BlindTrials(trials.images.anonymous(used), positive, negative, queries)
