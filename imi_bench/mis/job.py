"""A job of machine interpretability scores: what to do, and what a process opens to do it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from imi_bench.errors import InputError
from imi_bench.mis.scores import image_order
from imi_bench.mis.similarity import comparison
from imi_bench.networks.activation_plan import ActivationPlan, plan_activations
from imi_bench.networks.collection import ImageSet, open_images
from imi_bench.networks.decoding import Decoding, ScaledImages
from imi_bench.networks.kept_pixels import say_kept
from imi_bench.networks.memory import layers_by_pass, pass_bytes
from imi_bench.networks.repeats import distinct
from imi_bench.networks.tasks import pool_size
from imi_bench.observers.catalogue import TakesNoDeviceError, load_observer
from imi_bench.observers.embedding import Embedding
from imi_bench.observers.protocol import Encoder, Observer
from imi_bench.vision.loading import LoadedNetwork, load_network

if TYPE_CHECKING:
    from torch import nn

    from imi_bench.vision.card import NetworkCard


_REMEMBERED = 512 << 20
"""Bytes of decoded images that the network's pass leaves in memory for the observer."""


@dataclass(frozen=True)
class MisJob:
    """What to score, with what, how.

    Attributes
    ----------
    network : str, Path, NetworkCard or torch.nn.Module
        As in `imi_bench.vision.loading.load_network`.
    observer : str or Observer
        As in `imi_bench.observers.catalogue.load_observer`.
    images : Path or ImageSet
        Folder, or ``.npz`` file with an array ``images``; images in memory.
    out : Path
        Folder of results, seen by all machines that work on the job.
    slope : float or None
        From margin to probability; belongs to the observer. None: the one published with
        DreamSim (see `imi_bench.mis.similarity.Slope`).
    slope_source : str or None
        Where a given slope comes from, for the record.
    seed : int
        Of the tasks' draws, and of random weights.
    n_tasks, n_references, quantile
        As in `imi_bench.mis.scores.machine_interpretability_score`.
    checkpoint, pretrained, layers, input_size, device
        As in `imi_bench.vision.loading.load_network`.
    memory : float or None
        Gigabytes for the extremes of all units: as many passes over the images as that takes,
        some layers each. None: one pass. Does not change the scores.
    embeddings : Path or None
        Folder of the observer's embeddings, which runs of other networks on the same images may
        share, also at the same time. None: `out`.
    unique : bool
        Keep one image of each content; the others would be their own references.
    batch_size, shard_size, precision, workers, keep_pixels : int, str, bool or None
        Of the pass over the images, as in `imi_bench.networks.activations.collect_activations`.
    """

    network: str | Path | NetworkCard | nn.Module
    images: Path | ImageSet
    observer: str | Observer
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
    workers: int | None = None
    memory: float | None = None
    embeddings: Path | None = None
    unique: bool = False
    slope_source: str | None = None
    keep_pixels: bool = False

    def __hash__(self) -> int:
        """Of what names it: observers and networks in memory need not be hashable."""
        return hash((self.out, self.seed, self.n_tasks, self.quantile))


@dataclass(frozen=True, eq=False)
class OpenJob:
    """What a process opens for a job; one plan for each pass over the images."""

    job: MisJob
    network: LoadedNetwork
    images: ImageSet
    plans: tuple[ActivationPlan, ...]

    @property
    def shards(self) -> tuple[range, ...]:
        """Image numbers of each shard, the same in all passes."""
        return self.plans[0].shards

    @property
    def needed(self) -> int:
        """Bytes that the largest pass takes for the extremes of its units."""
        widths = [sum(self.network.layer(n).width for n in plan.layers) for plan in self.plans]
        first = self.plans[0]
        return pass_bytes(
            max(widths), keep=first.keep, batch_size=first.batch_size, device=self.network.device
        )

    def folder(self, number: int) -> Path:
        """Where a pass keeps its activations."""
        whole = self.job.out / "activations"
        return whole if len(self.plans) == 1 else whole / f"pass-{number:03d}"

    @cached_property
    def decoding(self) -> Decoding:
        """The images on their way to the network, shard after shard."""
        return Decoding(
            self.network.preprocess,
            self.images,
            batch_size=self.plans[0].batch_size,
            workers=self.job.workers,
            device=self.network.device,
            keep_pixels=self.job.keep_pixels,
        )

    @cached_property
    def _placed_observer(self) -> tuple[Observer, bool]:
        """The observer, and whether it was given the job's device."""
        try:
            return load_observer(self.job.observer, device=self.job.device), True
        except TakesNoDeviceError:
            return load_observer(self.job.observer), False

    @property
    def device_said(self) -> tuple[str, ...]:
        """A line where the job's device is the network's alone, since the observer takes none."""
        observer, placed = self._placed_observer
        if placed:
            return ()
        return (f"observer '{observer.name}' takes no device: {self.job.device} is the network's",)

    @cached_property
    def observer(self) -> Encoder:
        """The observer, opened when first asked for."""
        observer, _ = self._placed_observer
        if not isinstance(observer, Encoder):
            raise InputError(
                "observer does not embed single images",
                where=observer.name,
                wanted="one with `encode`",
            )
        comparison(observer)
        return observer

    def seen_by_observer(self) -> ScaledImages | None:
        """The images as the observer takes them, where it says how; None where it scales them."""
        observer: Encoder = self.observer
        if not isinstance(observer, Embedding) or type(observer).encode is not Embedding.encode:
            return None
        if observer.preprocess is None:
            return None
        return ScaledImages(observer.preprocess, self.images, keep=self.job.keep_pixels)


def kept_pixels_said(opened: OpenJob) -> list[str]:
    """What keeping pixels will take, a line for each way of scaling that is not the same.

    Raises
    ------
    InputError
        Less room on the disk than that.
    """
    if not opened.job.keep_pixels:
        return []
    seen, ways = opened.seen_by_observer(), [opened.network.preprocess]
    if seen is not None and seen.preprocess.geometry.record != ways[0].geometry.record:
        ways.append(seen.preprocess)
    return [say_kept(way, opened.images) for way in ways]


@lru_cache(maxsize=1)
def open_job(job: MisJob) -> OpenJob:
    """Open the network and the images of a job, once in a process."""
    images = open_images(job.images)
    images = _shuffled(distinct(images) if job.unique else images)
    size = pool_size(len(images), quantile=job.quantile, n_references=job.n_references)
    network = load_network(
        job.network,
        checkpoint=job.checkpoint,
        pretrained=job.pretrained,
        seed=job.seed,
        device=job.device,
        layers=job.layers,
        input_size=job.input_size,
    )
    if network.device == "cpu" and not job.workers and not job.keep_pixels:
        images = images.remembering(_REMEMBERED)
    budget = None if job.memory is None else job.memory * 1e9
    followed = layers_by_pass(
        network.layers, budget=budget, keep=size, batch_size=job.batch_size, device=network.device
    )
    plans = tuple(
        plan_activations(
            network,
            images,
            layers=layers,
            keep=size,
            batch_size=job.batch_size,
            shard_size=job.shard_size,
            precision=job.precision,
        )
        for layers in followed
    )
    return OpenJob(job, network, images, plans)


def _shuffled(images: ImageSet) -> ImageSet:
    return images.take(np.argsort(image_order(len(images))))
