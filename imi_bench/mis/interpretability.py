"""The machine interpretability score of every unit of a network, in one call."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from imi_bench.arguments import checked, refuse_idle
from imi_bench.executors import Executor, choose
from imi_bench.mis.embeddings import embeddings_said
from imi_bench.mis.job import MisJob, kept_pixels_said, open_job
from imi_bench.mis.run import MisRun, clear, run_job
from imi_bench.networks.collection import open_images
from imi_bench.places import refuse_inside

if TYPE_CHECKING:
    from torch import nn

    from imi_bench.observers.protocol import Observer
    from imi_bench.vision.card import NetworkCard

__all__ = ["machine_interpretability"]


@checked
def machine_interpretability(
    network: str | Path | NetworkCard | nn.Module,
    images: object,
    *,
    observer: str | Path | Observer | Callable[..., Any],
    slope: float | None = None,
    slope_source: str | None = None,
    tasks: int = 20,
    references: int = 9,
    quantile: float = 0.02,
    checkpoint: str | Path | None = None,
    pretrained: bool = True,
    layers: str | None = None,
    input_size: int | None = None,
    batch_size: int = 64,
    shard_size: int | None = None,
    precision: str = "float32",
    memory: float | None = None,
    workers: int | None = None,
    keep_pixels: bool = False,
    device: str = "auto",
    seed: int = 0,
    out: str | Path | None = None,
    embeddings: str | Path | None = None,
    unique: bool = False,
    force: bool = False,
    executor: str | Executor = "local",
    tell: Callable[[str], None] = lambda line: None,
) -> MisRun:
    """Score every unit of a network by how well an observer tells the ends of it apart.

    Parameters
    ----------
    network : str, Path, NetworkCard or torch.nn.Module
        As in `imi_bench.vision.loading.load_network`.
    images : object
        Str, Path, (N, H, W, 3) uint8 array, or dataset
        As in `imi_bench.networks.collection.open_images`.
    observer : str, Path, Observer, function or torch.nn.Module
        As in `imi_bench.observers.catalogue.load_observer`; one that embeds single images.
    slope : float, optional
        From margin to probability; belongs to the observer. The one published with DreamSim by
        default, with a warning in the record for any other observer.
    slope_source : str, optional
        Where the slope comes from, for the record (see `imi_bench.choice.natural_slope`).
    tasks, references : int
        Tasks a unit; reference images a side.
    quantile : float
        Share of the images at each end that tasks are drawn from.
    checkpoint, pretrained, layers, input_size, device
        As in `imi_bench.vision.loading.load_network`.
    batch_size, shard_size, precision, memory, workers : int, float or str, optional
        Of the pass over the images; see `imi_bench.mis.job.MisJob`.
    keep_pixels : bool
        Keep decoded pixels in the cache for other networks on these images, and take those that
        are there; changes no score.
    seed : int
        Of the tasks' draws, and of random weights.
    out : str or Path, optional
        Folder of results, from which a call that was killed goes on; a temporary one by default.
    embeddings : str or Path, optional
        Folder of the observer's embeddings, shared by runs on the same images.
    unique : bool
        Keep one image of each content; repeated ones are counted.
    force : bool
        Replace another run that `out` holds.
    executor : str or Executor
        ``local``, ``ray``, ``ray:ADDRESS``, or an object of `imi_bench.executors`. Networks,
        observers and images in memory need ``local``.
    tell : callable
        Called with a line about the size of the work before it starts.

    Returns
    -------
    MisRun
        Not `finished` where the executor runs one share and others are missing.

    Raises
    ------
    NotEnoughDataError
        Too few images for the tasks.
    InputError
        A folder that holds another job; an observer that does not embed single images; not
        enough memory.

    Examples
    --------
    ``machine_interpretability("timm:resnet10t", "photos/", observer="dreamsim").to_frame()``
    """
    refuse_idle("slope_source", slope_source, unless=slope is not None, do="add slope=")
    if isinstance(images, str | Path):
        for written in (out, embeddings):
            if written is not None:
                refuse_inside(Path(written), inputs=[Path(images)])
    with ExitStack() as stack:
        folder = out or stack.enter_context(tempfile.TemporaryDirectory())
        job = MisJob(
            network=network,
            images=Path(images).absolute()
            if isinstance(images, str | Path)
            else open_images(images),
            observer=str(observer) if isinstance(observer, Path) else cast("Observer", observer),
            out=Path(folder).absolute(),
            slope=slope,
            slope_source=slope_source,
            seed=seed,
            n_tasks=tasks,
            n_references=references,
            quantile=quantile,
            checkpoint=None if checkpoint is None else Path(checkpoint).absolute(),
            pretrained=pretrained,
            layers=layers,
            input_size=input_size,
            device=device,
            batch_size=batch_size,
            shard_size=shard_size,
            precision=precision,
            workers=workers,
            keep_pixels=keep_pixels,
            memory=memory,
            embeddings=None if embeddings is None else Path(embeddings).absolute(),
            unique=unique,
        )
        open_job.cache_clear()  # files may have changed since an earlier call of this process
        if force:
            clear(job)
        opened = open_job(job)
        tell(
            f"{opened.network.width:,} units, {opened.plans[0].keep:,} images kept an end: about "
            f"{opened.needed / 1e9:.2g} GB, {len(opened.plans)} "
            f"{'pass' if len(opened.plans) == 1 else 'passes'} over the images"
        )
        for line in (*opened.network.cautions, *opened.images.cautions):
            tell(line)
        for line in (*opened.device_said, *kept_pixels_said(opened), *embeddings_said(job)):
            tell(line)
        if precision != "float32":
            tell(f"{precision}: activations are rounded, so single units' hard score can move")
        chosen = choose(executor) if isinstance(executor, str) else executor
        return run_job(job, executor=chosen)
