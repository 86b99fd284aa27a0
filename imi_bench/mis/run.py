"""The machine interpretability score of every unit of a network, from a folder of images.

::

    MisJob --pieces--> activation shards, embedding shards   (any executor, any order)
           --run_job--> activations.npz, embeddings.npy, scores.parquet, run.json

A job is a value that can be sent to another machine; what it opens (network, images, observer)
is opened once in each process. Where the extremes of all units are too many to hold, the layers
are followed in several passes, which changes no score. Images pass in one fixed shuffled order,
so that among equal activations the kept ones do not follow the names of files.
"""

from __future__ import annotations

import json
import shutil
import time
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imi_bench.errors import InputError
from imi_bench.executors import Executor, Local, Piece
from imi_bench.mis.embeddings import (
    batch_size,
    claim_embeddings,
    embedding_pieces,
    merged_embeddings,
)
from imi_bench.mis.job import MisJob, OpenJob, open_job
from imi_bench.mis.scores import MachineInterpretability
from imi_bench.mis.similarity import Slope, comparison, score_by
from imi_bench.networks.activation_record import Activations
from imi_bench.networks.activations import begin, begin_shard, finish
from imi_bench.networks.memory import check_available
from imi_bench.networks.repeats import repeated_files_said, repeated_pixels
from imi_bench.networks.tasks import Pools, unscorable
from imi_bench.observers.learned import LearnedObserver
from imi_bench.observers.protocol import fingerprint
from imi_bench.plots import BLUE, new_axes
from imi_bench.provenance import git_state, package_versions, write_json, write_table
from imi_bench.results import Result
from imi_bench.text import plural
from imi_bench.vision.device import device_name
from imi_bench.vision.layer_names import layer_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["MisJob", "MisRun", "pieces", "run_job"]


@dataclass(frozen=True, eq=False, repr=False)
class MisRun(Result):
    """What a job gives.

    Attributes
    ----------
    scores : pandas.DataFrame
        One row a unit: network, observer, layer, unit, type, depth, width, spread, score,
        standard_error, hard_score, n_tasks, reason. Empty while shares of the job are missing.
    record : dict
        The content of ``run.json``; empty while shares are missing.
    """

    scores: pd.DataFrame
    record: dict[str, Any]

    shown_columns = ("layer", "type", "depth", "width", "scored", "score", "hard_score")

    @property
    def finished(self) -> bool:
        """Whether every share of the job is done."""
        return bool(self.record)

    @property
    def title(self) -> str:
        """The network, who saw it, how many units were scored, and what to beware of."""
        if not self.finished:
            return "Machine interpretability: shares of the job are missing"
        units, slope = self.record["units"], self.record["slope"]
        warning = f"; {slope['warning']}" if slope["warning"] else ""
        return (
            f"Machine interpretability of {self.record['network_name']}, seen by "
            f"{self.record['observer']['name']}: {units['scored']} of "
            f"{plural(units['count'], 'unit')} "
            f"scored{warning}"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row a unit."""
        return self.scores

    def by_layer(self) -> pd.DataFrame:
        """One row a layer: layer, type, depth, width, scored, score, hard_score (means)."""
        keys = ["layer", "type", "depth", "width"]
        return (
            self.scores.groupby(keys, sort=False, dropna=False)
            .agg(
                scored=("score", "count"),
                score=("score", "mean"),
                hard_score=("hard_score", "mean"),
            )
            .reset_index()
        )

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the score of every unit against the depth of its layer, with layers' means."""
        ax = new_axes(ax)
        if self.finished:
            self._draw(ax)
        ax.set(xlabel="relative depth of the layer", ylabel="MIS (points: units)")
        ax.set_title(self.title, loc="left", fontsize="medium", wrap=True)
        return ax

    def _draw(self, ax: Axes) -> None:
        means = self.by_layer()
        ax.plot(self.scores["depth"], self.scores["score"], ".", color="0.75", markersize=2)
        ax.plot(means["depth"], means["score"], "o-", color=BLUE, markersize=4, linewidth=1)

    def _shown(self) -> pd.DataFrame:
        return self.by_layer() if self.finished else self.scores


def run_job(job: MisJob, *, executor: Executor) -> MisRun:
    """Run a job's pieces on an executor, then finish it unless other shares are missing.

    Raises
    ------
    NotEnoughDataError
        Too few images for the tasks.
    InputError
        A folder that holds another job; an observer that does not embed single images; not
        enough memory.
    """
    opened = open_job(job)
    check_available(opened.needed, device=opened.network.device)
    _claim_scores(job)
    for number, plan in enumerate(opened.plans):
        begin(plan, opened.folder(number))
    claim_embeddings(job)
    opened.decoding.onwards = isinstance(executor, Local)
    started = time.perf_counter()
    try:
        for number in range(len(opened.plans)):
            work = _pieces_of_pass(job, number)
            if number == 0:
                work += embedding_pieces(job)
            label = f"{opened.network.name}: activations and embeddings"
            executor.run(work, label=f"{label}, pass {number + 1} of {len(opened.plans)}")
            if work and all(piece.finished for piece in work):
                _merged(opened, number)  # which frees the disk of its shards
    finally:
        opened.decoding.close()
    if pieces(job):
        return MisRun(pd.DataFrame(), {})
    return _finish(job, seconds={"pieces": time.perf_counter() - started})


def _claim_scores(job: MisJob) -> None:
    """Refuse to go on with shares of a run that is not finished and draws other tasks."""
    path = job.out / "job.json"
    names = ("seed", "n_tasks", "n_references", "quantile", "slope", "slope_source")
    mine = {name: getattr(job, name) for name in names}
    if path.is_file() and not (job.out / "run.json").is_file():
        held = json.loads(path.read_text(encoding="utf-8"))
        changed = [name for name in names if held.get(name) != mine[name]]
        if changed:
            raise InputError(
                "folder holds another run that is not finished",
                where=job.out,
                found=", ".join(f"{name} {held.get(name)}" for name in changed),
                wanted=", ".join(f"{name} {mine[name]}" for name in changed),
                do="give every share the same options, choose another folder, or replace the run",
            )
        return
    write_json(path, mine)


def clear(job: MisJob) -> None:
    """Remove what an earlier run has left in the folder of results, and nothing else there.

    Embeddings in a folder of their own are shared, and stay.
    """
    for folder in ("activations", "embeddings"):
        shutil.rmtree(job.out / folder, ignore_errors=True)
    for file in (
        "embeddings.json",
        "embeddings.npy",
        "embeddings-instance.npy",
        "scores.parquet",
        "run.json",
        "job.json",
    ):
        (job.out / file).unlink(missing_ok=True)


def pieces(job: MisJob) -> list[Piece]:
    """The independent parts of a job that are not merged yet."""
    passes = range(len(open_job(job).plans))
    work = [piece for number in passes for piece in _pieces_of_pass(job, number)]
    return [piece for piece in work + embedding_pieces(job) if not piece.finished]


def _pieces_of_pass(job: MisJob, number: int) -> list[Piece]:
    opened = open_job(job)
    folder = opened.folder(number)
    if (folder / "activations.npz").is_file():
        return []
    return [
        Piece(
            f"activations {number}-{shard}",
            folder / "shards" / f"shard-{shard:04d}.npz",
            partial(_activate, job, number, shard),
        )
        for shard in range(len(opened.shards))
    ]


def _merged(opened: OpenJob, number: int) -> Activations:
    return finish(
        opened.plans[number],
        network=opened.network,
        images=opened.images,
        out=opened.folder(number),
    )


def _finish(job: MisJob, *, seconds: dict[str, float]) -> MisRun:
    """Score every unit, write ``scores.parquet`` and ``run.json``."""
    opened = open_job(job)
    started = time.perf_counter()
    embeddings = merged_embeddings(job)
    slope = Slope.choose(
        job.slope,
        observer=opened.observer.name,
        source_of_given=job.slope_source,
        learned=isinstance(opened.observer, LearnedObserver),
    )
    passes = range(len(opened.plans))
    scores = pd.concat(
        [_scores_of_pass(opened, number, embeddings, slope.value) for number in passes],
        ignore_index=True,
    )
    write_table(job.out / "scores.parquet", scores)
    seconds |= {"score": time.perf_counter() - started}
    repeated = repeated_pixels(opened.images, embeddings)
    record: dict[str, Any] = {
        "command": "mis",
        "versions": package_versions(),
        "git": git_state(),
        "seed": job.seed,
        "seconds": {name: round(value, 6) for name, value in seconds.items()},
        "job": {key: _plain(value) for key, value in vars(job).items()},
        "device": device_name(opened.network.device),
        "network": dict(opened.network.record),
        "network_name": opened.network.name,
        "observer": {
            "name": opened.observer.name,
            "fingerprint": fingerprint(opened.observer),
            "description": dict(opened.observer.describe()),
            "comparison": comparison(opened.observer),
            "batch_size": batch_size(job),
        },
        "slope": asdict(slope),
        "passes": len(opened.plans),
        "images": {
            "count": len(opened.images),
            "fingerprint": opened.images.fingerprint,
            "repeated": repeated,
            "warnings": list(repeated_files_said(opened.images, repeated)),
            "first_of_several": opened.images.first_of_several,
            "remarks": list(opened.images.remarks),
        },
        "units": {"count": len(scores), "scored": int((scores["reason"] == "").sum())},
    }
    write_json(job.out / "run.json", record)
    return MisRun(scores, record)


def _scores_of_pass(
    opened: OpenJob, number: int, embeddings: NDArray[np.float32], slope: float
) -> pd.DataFrame:
    job, found = opened.job, _merged(opened, number)
    units = [str(found.rows.unit(row)) for row in range(found.rows.count)]
    result = score_by(
        opened.observer,
        embeddings,
        _pools(found),
        units=units,
        n_tasks=job.n_tasks,
        n_references=job.n_references,
        slope=slope,
        seed=job.seed,
    )
    return _table(found, result, opened.observer.name)


def _activate(job: MisJob, number: int, shard: int) -> Future[Path]:
    opened = open_job(job)
    return begin_shard(
        opened.plans[number],
        shard,
        network=opened.network,
        folder=opened.folder(number) / "shards",
        decoding=opened.decoding,
    )


def _pools(found: Activations) -> Pools:
    return Pools(
        top=found.top_images.astype(np.int64),
        bottom=found.bottom_images.astype(np.int64),
        reason=unscorable(
            spread=found.spread,
            largest=np.maximum(abs(found.top_values[:, 0]), abs(found.bottom_values[:, 0])),
            top_edge=found.top_values[:, -1],
            bottom_edge=found.bottom_values[:, -1],
        ),
    )


def _table(found: Activations, result: MachineInterpretability, observer: str) -> pd.DataFrame:
    known = layer_table(found.network, found.layers)
    units = known.loc[np.repeat(known.index, known["width"])].reset_index(drop=True)
    units = units.assign(
        observer=observer,
        unit=np.concatenate([np.arange(width) for width in known["width"]]),
        spread=found.spread,
    )[["network", "observer", "layer", "unit", "type", "depth", "width", "spread"]]
    return pd.concat([units, result.to_frame()], axis=1)


def _plain(value: object) -> object:
    """How the record names a part of a job that may be an object in memory."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    return str(getattr(value, "name", None) or type(value).__name__)
