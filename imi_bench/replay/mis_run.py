"""The machine interpretability score of every unit of a network, from a folder of images.

::

    MisJob --pieces--> activation shards, embedding shards   (any executor, any order)
           --run_job--> activations.npz, embeddings.npy, scores.parquet, run.json

A job is a value that can be sent to another machine; what it opens (network, images, observer)
is opened once in each process. Images pass in one fixed shuffled order, so that among equal
activations the kept ones do not follow the names of files.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imi_bench.errors import InputError
from imi_bench.networks.activation_plan import ActivationPlan, plan_activations
from imi_bench.networks.activation_record import Activations
from imi_bench.networks.activations import begin, finish, run_shard
from imi_bench.networks.images import ImageSet, open_images
from imi_bench.networks.loading import LoadedNetwork, load_network
from imi_bench.networks.mis import MachineInterpretability, image_order
from imi_bench.networks.tasks import Pools, pool_size, unscorable
from imi_bench.observers.catalogue import load
from imi_bench.observers.protocol import Encoder, fingerprint
from imi_bench.provenance import (
    atomic_path,
    git_state,
    package_versions,
    sha256_json,
    write_json,
)
from imi_bench.replay.executors import Executor, Piece
from imi_bench.replay.mis_scoring import Slope, comparison, score_by


@dataclass(frozen=True)
class MisJob:
    """What to score, with what, how.

    Attributes
    ----------
    network, observer : str
        References as in `imi_bench.networks.card` and `imi_bench.observers.catalogue`.
    images : Path
        Folder, or ``.npz`` file with an array ``images``.
    out : Path
        Folder of results, seen by all machines that work on the job.
    slope : float or None
        From margin to probability; belongs to the observer. None: the one published with
        DreamSim (see `imi_bench.replay.mis_scoring.Slope`).
    seed : int
        Of the tasks' draws, and of random weights.
    n_tasks, n_references, quantile
        As in `imi_bench.networks.mis.machine_interpretability_score`.
    checkpoint, pretrained, layers, input_size, device
        As in `imi_bench.networks.loading.load_network`.
    batch_size, shard_size, precision, workers
        Of the pass over the images, as in `imi_bench.networks.activations.collect_activations`.
    """

    network: str
    images: Path
    observer: str
    out: Path
    slope: float | None = None
    seed: int = 0
    n_tasks: int = 20
    n_references: int = 9
    quantile: float = 0.02
    checkpoint: Path | None = None
    pretrained: bool = True
    layers: str | None = None
    input_size: int | None = None
    device: str = "auto"
    batch_size: int = 64
    shard_size: int | None = None
    precision: str = "float32"
    workers: int = 0


@dataclass(frozen=True, eq=False)
class MisRun:
    """What a finished job gives.

    Attributes
    ----------
    scores : pandas.DataFrame
        One row a unit: network, observer, layer, unit, layer_type, depth, width, spread, score,
        standard_error, hard_score, n_tasks, reason.
    record : dict
        The content of ``run.json``.
    """

    scores: pd.DataFrame
    record: dict[str, Any]


def run_job(job: MisJob, *, executor: Executor) -> MisRun | None:
    """Run a job's pieces on an executor, then finish it; None while other shares are missing.

    Raises
    ------
    NotEnoughDataError
        Too few images for the tasks.
    InputError
        A folder that holds another job; an observer that does not embed single images.
    """
    opened = _open(job)
    begin(opened.plan, job.out / "activations")
    _claim(job, opened)
    work = pieces(job)
    started = time.perf_counter()
    executor.run(work, label=f"{opened.network.name}: activations and embeddings")
    if not all(piece.finished for piece in work):
        return None
    return _finish(job, seconds={"pieces": time.perf_counter() - started})


def pieces(job: MisJob) -> list[Piece]:
    """The independent parts of a job that are not merged yet."""
    plan = _open(job).plan
    work = []
    for number in range(len(plan.shards)):
        if not (job.out / "activations" / "activations.npz").is_file():
            file = job.out / "activations" / "shards" / f"shard-{number:04d}.npz"
            work.append(Piece(f"activations {number}", file, partial(_activate, job, number)))
        if not (job.out / "embeddings.npy").is_file():
            file = _embedding_file(job, number)
            work.append(Piece(f"embeddings {number}", file, partial(_embed, job, number)))
    return work


def _finish(job: MisJob, *, seconds: dict[str, float]) -> MisRun:
    """Merge the finished pieces, score every unit, write ``scores.parquet`` and ``run.json``."""
    opened = _open(job)
    started = time.perf_counter()
    found = finish(
        opened.plan, network=opened.network, images=opened.images, out=job.out / "activations"
    )
    embeddings = _merged_embeddings(job, opened.plan)
    merged = time.perf_counter()
    units = [str(found.rows.unit(row)) for row in range(found.rows.count)]
    slope = Slope.choose(job.slope, observer=opened.observer.name)
    result = score_by(
        opened.observer, embeddings, _pools(found), units=units, n_tasks=job.n_tasks,
        n_references=job.n_references, slope=slope.value, seed=job.seed,
    )  # fmt: skip
    scores = _table(found, result, opened.observer.name)
    with atomic_path(job.out / "scores.parquet") as temporary:
        scores.to_parquet(temporary, index=False)
    seconds |= {"merge": merged - started, "score": time.perf_counter() - merged}
    record: dict[str, Any] = {
        "command": "mis",
        "versions": package_versions(),
        "git": git_state(),
        "seed": job.seed,
        "seconds": {name: round(value, 6) for name, value in seconds.items()},
        "job": {key: _plain(value) for key, value in asdict(job).items()},
        "network": dict(opened.network.record),
        "observer": {
            "name": opened.observer.name,
            "fingerprint": fingerprint(opened.observer),
            "comparison": comparison(opened.observer),
        },
        "slope": asdict(slope),
        "images": {"count": len(opened.images), "fingerprint": opened.images.fingerprint},
        "units": {"count": len(scores), "scored": int((scores["reason"] == "").sum())},
    }
    write_json(job.out / "run.json", record)
    return MisRun(scores, record)


@dataclass(frozen=True, eq=False)
class _Opened:
    """What a process opens for a job."""

    job: MisJob
    network: LoadedNetwork
    images: ImageSet
    plan: ActivationPlan

    @cached_property
    def observer(self) -> Encoder:
        observer = load(self.job.observer, device=self.job.device)
        if not isinstance(observer, Encoder):
            raise InputError(
                "observer does not embed single images", where=self.job.observer,
                wanted="one with `encode`",
            )  # fmt: skip
        comparison(observer)
        return observer


@lru_cache(maxsize=1)
def _open(job: MisJob) -> _Opened:
    images = _shuffled(open_images(job.images))
    size = pool_size(len(images), quantile=job.quantile, n_references=job.n_references)
    network = load_network(
        job.network, checkpoint=job.checkpoint, pretrained=job.pretrained, seed=job.seed,
        device=job.device, layers=job.layers, input_size=job.input_size,
    )  # fmt: skip
    plan = plan_activations(
        network, images, keep=size, batch_size=job.batch_size, shard_size=job.shard_size,
        precision=job.precision,
    )  # fmt: skip
    return _Opened(job, network, images, plan)


def _shuffled(images: ImageSet) -> ImageSet:
    position = np.argsort(image_order(len(images)))

    def read(number: int) -> NDArray[np.uint8]:
        return images.read(int(position[number]))

    return ImageSet(images.names[position], read, sha256_json(["shuffled", images.fingerprint]))


def _activate(job: MisJob, number: int) -> None:
    opened = _open(job)
    run_shard(
        opened.plan, number, network=opened.network, images=opened.images,
        folder=job.out / "activations" / "shards", workers=job.workers,
    )  # fmt: skip


def _embed(job: MisJob, number: int) -> None:
    opened = _open(job)
    shard = opened.plan.shards[number]
    parts = []
    for start in range(shard.start, shard.stop, job.batch_size):
        rows = range(start, min(start + job.batch_size, shard.stop))
        codes = opened.observer.encode([opened.images.read(row) for row in rows])
        parts.append(np.asarray(codes, dtype=np.float32))
    with atomic_path(_embedding_file(job, number)) as temporary:
        np.save(temporary, np.concatenate(parts), allow_pickle=False)


def _embedding_file(job: MisJob, number: int) -> Path:
    return job.out / "embeddings" / f"shard-{number:04d}.npy"


def _merged_embeddings(job: MisJob, plan: ActivationPlan) -> NDArray[np.float32]:
    """The embeddings of all images, mapped from one file; the shards are removed."""
    path = job.out / "embeddings.npy"
    files = [_embedding_file(job, number) for number in range(len(plan.shards))]
    if not path.is_file():
        shape = (plan.images, *np.load(files[0], mmap_mode="r").shape[1:])
        with atomic_path(path) as temporary:
            whole = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
            for file, shard in zip(files, plan.shards, strict=True):
                whole[shard.start : shard.stop] = np.load(file, mmap_mode="r")
            whole.flush()
    for file in files:
        file.unlink(missing_ok=True)
    merged: NDArray[np.float32] = np.load(path, mmap_mode="r")
    return merged


def _claim(job: MisJob, opened: _Opened) -> None:
    """Refuse a folder whose embeddings are another observer's, or of other images."""
    path = job.out / "embeddings.json"
    mine = {
        "observer": opened.observer.name,
        "fingerprint": fingerprint(opened.observer),
        "images": opened.images.fingerprint,
    }
    if not path.is_file():
        write_json(path, mine)
    elif json.loads(path.read_text(encoding="utf-8")) != mine:
        raise InputError(
            "folder holds other embeddings", where=path,
            wanted=f"those of '{opened.observer.name}' and {len(opened.images)} images",
            do="choose another folder",
        )  # fmt: skip


def _pools(found: Activations) -> Pools:
    return Pools(
        top=found.top_images.astype(np.int64),
        bottom=found.bottom_images.astype(np.int64),
        reason=unscorable(
            spread=found.spread,
            top_edge=found.top_values[:, -1],
            bottom_edge=found.bottom_values[:, -1],
        ),
    )


def _table(found: Activations, result: MachineInterpretability, observer: str) -> pd.DataFrame:
    layers = [layer for layer in found.layers for _ in range(layer.width)]
    units = pd.DataFrame(
        {
            "network": found.network,
            "observer": observer,
            "layer": [layer.name for layer in layers],
            "unit": np.concatenate([np.arange(layer.width) for layer in found.layers]),
            "layer_type": [layer.type for layer in layers],
            "depth": [layer.depth for layer in layers],
            "width": [layer.width for layer in layers],
            "spread": found.spread,
        }
    )
    return pd.concat([units, result.to_frame()], axis=1)


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value
