"""The observer's side of a job: an embedding of every image, in pieces, then one file.

They depend on the images and the observer alone, so that runs of several networks can share them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

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
from imi_bench.text import plural


def claim_embeddings(job: MisJob) -> None:
    """Refuse a folder whose embeddings are another observer's, or of other images.

    Raises
    ------
    InputError
    """
    opened, path = open_job(job), _claim(job)
    mine = {
        "observer": opened.observer.name,
        "fingerprint": fingerprint(opened.observer),
        "images": opened.images.fingerprint,
    }
    held = _held(job)
    if not held:
        write_json(path, {**mine, "batch_size": job.batch_size})
    elif {name: value for name, value in held.items() if name != "batch_size"} != mine:
        raise InputError(
            "folder holds other embeddings",
            where=path,
            wanted=f"those of '{opened.observer.name}' and {plural(len(opened.images), 'image')}",
            do="choose another folder",
        )


def batch_size(job: MisJob) -> int:
    """Images that the observer sees at once: as many as where the folder's embeddings began.

    Codes from batches of another size differ by rounding, and those of one folder are of one kind.
    """
    return int(_held(job).get("batch_size", job.batch_size))


def embeddings_said(job: MisJob) -> tuple[str, ...]:
    """A line where the embeddings of a folder are in batches of another size than the job's."""
    held = batch_size(job)
    if held == job.batch_size:
        return ()
    return (f"embeddings in batches of {held} images, as those that {_folder(job)} holds",)


def _shards(job: MisJob) -> list[range]:
    """Image numbers of each piece: as the network's, of whole batches."""
    shards, size = open_job(job).shards, batch_size(job)
    step = -(-len(shards[0]) // size) * size
    count = shards[-1].stop
    return [range(start, min(start + step, count)) for start in range(0, count, step)]


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
        for shard in _shards(job)
    ]


def merged_embeddings(job: MisJob) -> NDArray[np.float32]:
    """The embeddings of all images, mapped from one file; the shards are removed."""
    path = _merged(job)
    shards = _shards(job)
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


def _merge(job: MisJob, shards: Sequence[range]) -> None:
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
    size = batch_size(job)
    starts = range(shard.start, shard.stop, size)
    batches = (np.arange(start, min(start + size, shard.stop)) for start in starts)
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


def _claim(job: MisJob) -> Path:
    return _folder(job) / "embeddings.json"


def _held(job: MisJob) -> dict[str, Any]:
    """What the folder says of its embeddings; nothing before there are some."""
    path = _claim(job)
    if not path.is_file():
        return {}
    held: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return held


def _merged(job: MisJob) -> Path:
    return _folder(job) / "embeddings.npy"


def _file(job: MisJob, shard: range) -> Path:
    """Of the images of a shard, since runs that share the folder may cut them otherwise."""
    return _folder(job) / "embeddings" / f"images-{shard.start:08d}-{shard.stop:08d}.npy"
