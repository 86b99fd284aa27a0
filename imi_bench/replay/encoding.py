"""Encoding what is not on disk yet: images are decoded while the batch before is encoded."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from imi_bench.arrays import Ints, Pixels
from imi_bench.errors import InputError
from imi_bench.observers.instances import refuse_another_instance
from imi_bench.observers.protocol import Encoder, exits_are_faults
from imi_bench.progress import progress
from imi_bench.replay.cache import Store
from imi_bench.replay.plan import Plan
from imi_bench.tables.images import Images

_BATCHES_AHEAD = 2


def encode_all(encoder: Encoder, plan: Plan, codes: Store) -> int:
    """Encode the plan's images that have no code yet.

    Returns
    -------
    int
        Number of images encoded.

    Raises
    ------
    ImageError
        An image that cannot be decoded; the codes before it are kept.
    InputError
        An encoder that does not give one code an image, or gives another than an earlier process
        has kept of one of these images.
    """
    todo = ~codes.known
    known = np.flatnonzero(codes.known)
    if todo.any() and len(known):
        row = known[:1]
        image = plan.images.decode(int(row[0]))
        refuse_another_instance(encoder, image, codes.take(row)[0], where=codes.folder)
    batches = list(plan.batches(todo))
    with progress(f"{encoder.name}: images", total=int(todo.sum()), unit="images") as advance:
        try:
            for rows, pixels in _decoded(plan.images, batches):
                with exits_are_faults(encoder):
                    values = np.asarray(encoder.encode(pixels))
                if values.ndim < 1 or len(values) != len(rows):
                    raise InputError(
                        "not one code an image",
                        where=f"encode of observer '{encoder.name}'",
                        found=f"shape {values.shape}",
                        wanted=f"({len(rows)}, ...)",
                    )
                codes.add(rows, values)
                advance(len(rows))
        finally:
            codes.flush()
    return int(todo.sum())


def _decoded(images: Images, batches: Sequence[Ints]) -> Iterator[tuple[Ints, list[Pixels]]]:
    """Decoded batches, a few ahead; memory holds no more than these."""
    ahead: deque[tuple[Ints, list[Future[Pixels]]]] = deque()
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        try:
            for rows in batches:
                ahead.append((rows, [pool.submit(images.decode, row) for row in rows.tolist()]))
                if len(ahead) > _BATCHES_AHEAD:
                    yield _collected(ahead)
            while ahead:
                yield _collected(ahead)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _collected(ahead: deque[tuple[Ints, list[Future[Pixels]]]]) -> tuple[Ints, list[Pixels]]:
    rows, futures = ahead.popleft()
    return rows, [future.result() for future in futures]
