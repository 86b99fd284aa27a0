"""The observer's side of a job: an embedding of every image, in pieces, then one file.

They depend on the images and the observer alone, so that runs of several networks can share them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imi_bench.arrays import Ints, Pixels
from imi_bench.errors import InputError
from imi_bench.executors import Piece
from imi_bench.mis.job import MisJob, OpenJob, open_job
from imi_bench.observers.embedding import Embedding
from imi_bench.observers.instances import refuse_another_instance
from imi_bench.observers.protocol import Codes, fingerprint
from imi_bench.places import require_plain
from imi_bench.provenance import atomic_path, write_json
from imi_bench.replay.encoding import decoded


def claim_embeddings(job: MisJob) -> None:
    """Refuse a folder whose embeddings are another observer's, or of other images.

    Raises
    ------
    InputError
    """
    opened, path = open_job(job), _folder(job) / "embeddings.json"
    mine = {
        "observer": opened.observer.name,
        "fingerprint": fingerprint(opened.observer),
        "images": opened.images.fingerprint,
    }
    if not path.is_file():
        write_json(path, mine)
    elif json.loads(path.read_text(encoding="utf-8")) != mine:
        raise InputError(
            "folder holds other embeddings",
            where=path,
            wanted=f"those of '{opened.observer.name}' and {len(opened.images)} images",
            do="choose another folder",
        )


@lru_cache(maxsize=1)
def _same_instance(job: MisJob) -> None:
    """Refuse, once in a process, to add to embeddings of another instance of the observer."""
    opened, path = open_job(job), _folder(job) / "embeddings-instance.npy"
    image = opened.images.read(0)
    if path.is_file():
        before = np.load(require_plain(path, within=_folder(job)), allow_pickle=False)
        refuse_another_instance(opened.observer, image, before, where=path)
        return
    code = np.asarray(opened.observer.encode([image]))[0]
    with atomic_path(path) as temporary:
        np.save(temporary, code, allow_pickle=False)


def embedding_pieces(job: MisJob) -> list[Piece]:
    """The shards that are not merged yet."""
    if _merged(job).is_file():
        return []
    return [
        Piece(f"embeddings {shard.start}", _file(job, shard), partial(_embed, job, shard))
        for shard in open_job(job).shards
    ]


def merged_embeddings(job: MisJob) -> NDArray[np.float32]:
    """The embeddings of all images, mapped from one file; the shards are removed."""
    path = _merged(job)
    shards = open_job(job).shards
    if not path.is_file():
        try:
            _merge(job, shards)
        except OSError:
            if not path.is_file():  # else another process has merged and removed the shards
                raise
    for shard in shards:
        _file(job, shard).unlink(missing_ok=True)
    merged: NDArray[np.float32] = np.load(
        require_plain(path, within=_folder(job)), mmap_mode="r", allow_pickle=False
    )
    return merged


def _merge(job: MisJob, shards: tuple[range, ...]) -> None:
    shape = (shards[-1].stop, *np.load(_file(job, shards[0]), mmap_mode="r").shape[1:])
    with atomic_path(_merged(job)) as temporary:
        whole = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
        for shard in shards:
            whole[shard.start : shard.stop] = np.load(_file(job, shard), mmap_mode="r")
        whole.flush()


def _embed(job: MisJob, shard: range) -> None:
    if _merged(job).is_file():  # by another run, meanwhile
        return
    _same_instance(job)
    opened = open_job(job)
    parts = []
    starts = range(shard.start, shard.stop, job.batch_size)
    batches = (np.arange(start, min(start + job.batch_size, shard.stop)) for start in starts)
    threads = None if opened.images.concurrent else 1
    read, encode = _ways(opened)
    for rows, pixels in decoded(read, batches, threads=threads):
        parts.append(np.asarray(encode(rows, pixels), dtype=np.float32))
    with atomic_path(_file(job, shard)) as temporary:
        np.save(temporary, np.concatenate(parts), allow_pickle=False)


def _ways(opened: OpenJob) -> tuple[Callable[[int], Pixels], Callable[[Ints, list[Pixels]], Codes]]:
    """How an image is read, and a batch of them encoded: scaled while others pass, if it can be."""
    observer, scaled = opened.observer, opened.seen_by_observer()
    if scaled is None or not isinstance(observer, Embedding):
        return opened.images.read, lambda _, pixels: observer.encode(pixels)

    def encode(rows: Ints, pixels: list[Pixels]) -> Codes:
        batch = np.stack(pixels)
        scaled.keep(rows, batch)
        return observer.encode_pixels(batch)

    return scaled.one, encode


def _folder(job: MisJob) -> Path:
    return job.embeddings or job.out


def _merged(job: MisJob) -> Path:
    return _folder(job) / "embeddings.npy"


def _file(job: MisJob, shard: range) -> Path:
    """Of the images of a shard, since runs that share the folder may cut them otherwise."""
    return _folder(job) / "embeddings" / f"images-{shard.start:08d}-{shard.stop:08d}.npy"
