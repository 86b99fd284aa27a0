"""Encoding what is not on disk yet: images are decoded while the batch before is encoded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imi_bench.arrays import Ints, Pixels
from imi_bench.beside import cores
from imi_bench.errors import ImiBenchError, InputError
from imi_bench.observers.instances import refuse_another_instance
from imi_bench.observers.protocol import Encoder, ObserverExitError, exits_are_faults
from imi_bench.progress import progress
from imi_bench.replay.cache import Store
from imi_bench.replay.plan import Plan
from imi_bench.tables.images import Images

_BATCHES_AHEAD = 2
_GIVE_UP_AFTER = 20


@dataclass
class Encoded:
    """What became of the images that had no code yet.

    Attributes
    ----------
    count : int
        Images encoded.
    failures : dict of int to str
        Rows of images on which `encode` raised, and what.
    in_a_row : int
        Failures since the last success.
    """

    count: int = 0
    in_a_row: int = 0
    failures: dict[int, str] = field(default_factory=dict)


def encode_all(encoder: Encoder, plan: Plan, codes: Store) -> Encoded:
    """Encode the plan's images that have no code yet.

    An image on which `encode` raises is left without a code, and the rest go on: its batch is
    encoded image by image.

    Raises
    ------
    ImageError
        An image that cannot be decoded; the codes before it are kept.
    InputError
        An encoder that does not give one code an image, or gives another than an earlier process
        has kept of one of these images.
    Exception
        What `encode` raises, if it raises on 20 images in a row.
    """
    todo = ~codes.known
    known = np.flatnonzero(codes.known)
    if todo.any() and len(known):
        row = known[:1]
        image = plan.images.decode(int(row[0]))
        refuse_another_instance(encoder, image, codes.take(row)[0], where=codes.folder)
    return encode_batches(encoder, plan.images, list(plan.batches(todo)), codes)


def encode_batches(
    encoder: Encoder, images: Images, batches: Sequence[Ints], codes: Store
) -> Encoded:
    """Encode batches of images into a store; gives what became of them."""
    done = Encoded()
    total = sum(len(rows) for rows in batches)
    with progress(f"{encoder.name}: images", total=total, unit="images") as advance:
        try:
            for rows, pixels in decoded(images.decode, batches):
                _encode(encoder, rows, pixels, codes, done)
                advance(len(rows))
        finally:
            codes.flush()
    return done


def _encode(
    encoder: Encoder, rows: Ints, pixels: list[Pixels], codes: Store, done: Encoded
) -> None:
    """One batch at once; image by image if that fails, to find which image it was."""
    try:
        codes.add(rows, _values(encoder, pixels))
        done.count, done.in_a_row = done.count + len(rows), 0
        return
    except (ImiBenchError, ObserverExitError, MemoryError):
        raise
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":
            raise
        if len(rows) == 1:
            _failed(encoder, int(rows[0]), error, done)
            return
    for place in range(len(rows)):
        _encode(encoder, rows[place : place + 1], pixels[place : place + 1], codes, done)


def _values(encoder: Encoder, pixels: list[Pixels]) -> NDArray[Any]:
    with exits_are_faults(encoder):
        given = encoder.encode(pixels)
    try:
        values = np.asarray(given)
    except (ValueError, TypeError) as error:
        found: object = error
    else:
        found = f"{values.dtype} {values.shape}"
        numbers = values.dtype.kind in "biufc"
        if values.ndim > 0 and len(values) == len(pixels) and numbers:
            return values
    raise InputError(
        "not one code an image",
        where=f"encode of observer '{encoder.name}'",
        found=found,
        wanted=f"numbers ({len(pixels)}, ...)",
    )


def _failed(encoder: Encoder, row: int, error: Exception, done: Encoded) -> None:
    """Record the failure; raise it where it looks like a fault of the program, not of the image."""
    done.failures[row] = f"{type(error).__name__}: {error}"
    done.in_a_row += 1
    if done.in_a_row >= _GIVE_UP_AFTER:
        error.add_note(
            f"observer '{encoder.name}' failed on {done.in_a_row} images in a row; "
            "what was encoded before is kept"
        )
        raise error


def decoded(
    read: Callable[[int], Pixels], batches: Iterable[Ints], *, threads: int | None = None
) -> Iterator[tuple[Ints, list[Pixels]]]:
    """Batches of images, read a few ahead; memory holds no more than these.

    Parameters
    ----------
    read : callable
        Pixels of an image by its number.
    batches : iterable of int64 array
        Numbers of images.
    threads : int, optional
        One for each core if left out.
    """
    ahead: deque[tuple[Ints, list[Future[Pixels]]]] = deque()
    with ThreadPoolExecutor(max_workers=threads or cores()) as pool:
        try:
            for rows in batches:
                ahead.append((rows, [pool.submit(read, row) for row in rows.tolist()]))
                if len(ahead) > _BATCHES_AHEAD:
                    yield _collected(ahead)
            while ahead:
                yield _collected(ahead)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _collected(ahead: deque[tuple[Ints, list[Future[Pixels]]]]) -> tuple[Ints, list[Pixels]]:
    rows, futures = ahead.popleft()
    return rows, [future.result() for future in futures]
