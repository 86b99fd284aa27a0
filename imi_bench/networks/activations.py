"""One pass over a collection of images: extremes of every unit, all values of sampled units.

::

    plan_activations -> begin -> [run_shard, run_shard, …] -> finish -> Activations
    (all of it: collect_activations)

The images are cut into shards. A finished shard is one file, moved into place whole; a pass that
was killed goes on after the last finished one and ends with the same bytes, and so do shards run
elsewhere in any order. The matrix of images by units never exists for all units:

======================  ==============================================================
on the device           `imi_bench.networks.memory.pass_bytes`, whatever the number of images
on disk, a shard        units x 16 keep bytes + images x sampled units x 4 bytes
in the result           the same, over all images
======================  ==============================================================
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imi_bench.errors import InputError, NetworkError
from imi_bench.executors import Executor, Local, Piece, chosen, require_finished, settle
from imi_bench.extras import require
from imi_bench.networks.activation_plan import (
    KEEP,
    ActivationPlan,
    block_size,
    plan_activations,
)
from imi_bench.networks.activation_record import Activations
from imi_bench.networks.collection import ImageSet, open_images
from imi_bench.networks.decoding import Decoding
from imi_bench.networks.extremes import Extremes
from imi_bench.networks.forward import forward_batches
from imi_bench.networks.kept_pixels import say_kept
from imi_bench.networks.recipe import PassRecipe
from imi_bench.networks.recording import MEASURES, Recorder, Rows
from imi_bench.networks.routes import routes_of
from imi_bench.networks.units import Unit, hooked
from imi_bench.progress import progress
from imi_bench.provenance import atomic_path, git_state, package_versions, write_json
from imi_bench.text import plural
from imi_bench.vision.device import begin_fetch, device_name, single_precision
from imi_bench.vision.loading import LoadedNetwork

if TYPE_CHECKING:
    from torch import Tensor

FILE = "activations.npz"


def run_shard(
    plan: ActivationPlan,
    number: int,
    *,
    network: LoadedNetwork,
    images: ImageSet,
    folder: Path,
    decoding: Decoding | None = None,
) -> Path:
    """Compute one shard, unless its file is there.

    Parameters
    ----------
    decoding : Decoding, optional
        Of these images in the plan's batches; by this process if left out.

    Returns
    -------
    Path
        ``folder/shard-NNNN.npz``.

    Raises
    ------
    NetworkError
        If an activation is not a finite number.
    """
    decoding = decoding or _Way(workers=0).decoding(plan, network, images)
    return begin_shard(plan, number, network=network, folder=folder, decoding=decoding).result()


def begin_shard(
    plan: ActivationPlan,
    number: int,
    *,
    network: LoadedNetwork,
    folder: Path,
    decoding: Decoding,
) -> Future[Path]:
    """Compute one shard as `run_shard`; on a GPU the next may begin while the file is written."""
    path = folder / f"shard-{number:04d}.npz"
    done: Future[Path] = Future()
    if path.is_file():
        done.set_result(path)
        return done
    doing = f"{network.name} in batches of {plan.batch_size} images"
    with single_precision(network.device, doing=doing, do="a smaller batch_size= or memory="):
        passing = _ShardPass(plan, plan.shards[number], network, decoding.images)
        passing.run(decoding)
        arrays = passing.begin_arrays()

    def write() -> Path:
        with atomic_path(path) as temporary:
            np.savez(temporary, allow_pickle=False, **arrays())
        return path

    if network.device.startswith("cuda"):
        return _writer().submit(write)
    done.set_result(write())
    return done


@lru_cache(maxsize=1)
def _writer() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1)


class _ShardPass:
    """What is held while the images of a shard pass."""

    def __init__(
        self, plan: ActivationPlan, numbers: range, network: LoadedNetwork, images: ImageSet
    ) -> None:
        torch = require("torch", for_="recording activations")
        self.plan, self.numbers, self.network, self.images = plan, numbers, network, images
        layers = tuple(network.layer(name) for name in plan.layers)
        self.rows = Rows.of(layers)
        block = block_size(plan.keep, plan.batch_size, device=network.device)
        self.block = min(block, -(-len(numbers) // plan.batch_size) * plan.batch_size)
        cuda = network.device.startswith("cuda")
        self.recorder = Recorder(
            self.rows,
            plan.sampled,
            block=self.block,
            device=network.device,
            routes=routes_of(network, layers, precision=plan.precision) if cuda else None,
        )
        self.extremes = Extremes(self.rows.count, keep=plan.keep, device=network.device)
        columns = [self.rows.row(unit) for unit in plan.sampled]
        self.columns = torch.tensor(columns, dtype=torch.int64, device=network.device)
        self.values = torch.empty(
            (len(numbers), len(columns)), dtype=torch.float32, device=network.device
        )
        self.done = 0

    def run(self, decoding: Decoding) -> None:
        """Let the images pass."""
        recorder = self.recorder
        forward = forward_batches(
            self.network, decoding, self.numbers, precision=self.plan.precision
        )
        with hooked(self.network.module, recorder.paths, recorder.seen, inputs=True):
            for size in forward:
                recorder.advance(size)
                if recorder.filled == self.block:
                    self._flush()
        if recorder.filled:
            self._flush()

    def _flush(self) -> None:
        torch = require("torch", for_="recording activations")
        filled = self.recorder.complete()
        first, count = self.numbers.start + self.done, filled.shape[1]
        _check_finite(filled, self.rows, self.network.name, self.images, first)
        numbers = torch.arange(first, first + count, device=self.network.device)
        self.extremes.update(filled, numbers)
        self.values[self.done : self.done + count] = filled[self.columns].T
        self.done += count

    def begin_arrays(self) -> Callable[[], dict[str, NDArray[Any]]]:
        """Begin to bring home what the file holds."""
        values = begin_fetch({"values": self.values})
        sums, keys = self.recorder.covariate_sums(), self.extremes.begin_keys()

        def arrived() -> dict[str, NDArray[Any]]:
            return {**values(), "sums": sums(), **keys()}

        return arrived


def _check_finite(filled: Tensor, rows: Rows, network: str, images: ImageSet, first: int) -> None:
    torch = require("torch", for_="recording activations")
    if bool(torch.isfinite(filled.sum())):  # one NaN or infinity would show in the sum
        return
    bad = ~torch.isfinite(filled)
    if bool(bad.any()):
        row, column = torch.nonzero(bad)[0].tolist()
        raise NetworkError(
            "activation is not a finite number",
            where=f"{network}, unit {rows.unit(row)}, image '{images.names[first + column]}'",
            found=f"{float(filled[row, column])} (and {int(bad.sum()) - 1} more in this block)",
            wanted="finite activations",
            do="check the weights and preprocessing, or use float32",
        )


def merge_shards(
    plan: ActivationPlan, *, network: LoadedNetwork, images: ImageSet, folder: Path
) -> Activations:
    """Put the finished shards together.

    Raises
    ------
    InputError
        If a shard is missing.
    """
    layers = tuple(network.layer(name) for name in plan.layers)
    extremes = Extremes(Rows.of(layers).count, keep=plan.keep)
    values = np.empty((plan.images, len(plan.sampled)), dtype=np.float32)
    sums = np.zeros((len(MEASURES), len(plan.sampled)))
    for number, shard in enumerate(plan.shards):
        path = folder / f"shard-{number:04d}.npz"
        if not path.is_file():
            raise InputError(
                "shard is missing",
                where=path,
                found=f"{len(list(folder.glob('shard-*.npz')))} of "
                f"{plural(len(plan.shards), 'shard')}",
                do="run it",
            )
        with np.load(path, allow_pickle=False) as part:
            extremes.absorb({end: part[end] for end in ("top", "bottom")})
            values[shard.start : shard.stop] = part["values"]
            sums += part["sums"]
    sparsity, silent, contrast = sums / plan.images
    return Activations(
        network=network.name,
        layers=layers,
        image_names=images.names,
        sampled=plan.sampled,
        values=values,
        sparsity=sparsity,
        silent=silent,
        contrast=contrast,
        record={
            "network": dict(network.record),
            "fingerprint": plan.fingerprint,
            "keep": plan.keep,
            "precision": plan.precision,
            "images": images.fingerprint,
        },
        **extremes.arrays(),
    )


def collect_activations(
    network: LoadedNetwork,
    images: object,
    *,
    out: Path | None = None,
    layers: Sequence[str] | None = None,
    sampled: Iterable[Unit] = (),
    keep: int = KEEP,
    batch_size: int = 64,
    shard_size: int | None = None,
    precision: str = "float32",
    workers: int | None = None,
    keep_pixels: bool = False,
    executor: str | Executor = "local",
    recipe: PassRecipe | None = None,
) -> Activations:
    """Plan a pass, run its shards, and merge them; goes on where a killed pass stopped.

    Parameters
    ----------
    images : object
        ImageSet or anything `open_images` takes.
    out : Path, optional
        Folder for ``activations.npz`` and ``run.json``, and for finished shards meanwhile.
    workers : int or None
        Processes that decode images, 0: none but this one. None: on a GPU one for each core.
    keep_pixels : bool
        Take decoded pixels from the cache, and put them there for other networks
        (`imi_bench.networks.kept_pixels`). What they will take is printed on standard error first.
        Changes no byte of the result.
    executor : str or Executor
        ``local``, ``ray``, ``ray:ADDRESS``, or an object of `imi_bench.executors`: who runs the
        shards. Changes no byte of the result.
    recipe : PassRecipe, optional
        How other processes open network and images; by default these are sent to them.

    Raises
    ------
    SharesMissingError
        The executor ran one share, and others are missing.
    InputError
        If `out` holds another pass; also all that `plan_activations`, `run_shard` raise.

    Examples
    --------
    >>> from imi_bench.vision.loading import load_network
    >>> network = load_network("timm:test_resnet", pretrained=False, input_size=32, device="cpu")
    >>> pictures = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    >>> found = collect_activations(network, pictures, layers=["bn1"], keep=3)
    >>> found.top_images.shape
    (32, 3)
    """
    opened = open_images(images)
    plan = plan_activations(
        network,
        opened,
        layers=layers,
        sampled=sampled,
        keep=keep,
        batch_size=batch_size,
        shard_size=shard_size,
        precision=precision,
    )
    who, way = chosen(executor), _Way(workers, keep_pixels)
    if keep_pixels:
        print(say_kept(network.preprocess, opened), file=sys.stderr)
    sent = replace(recipe or PassRecipe(network, opened), stamp=plan.fingerprint)
    if out is None:
        with tempfile.TemporaryDirectory() as folder:
            _run_all(plan, network, opened, Path(folder), way, who, sent)
            return merge_shards(plan, network=network, images=opened, folder=Path(folder))
    shards = begin(plan, out)
    started = time.perf_counter()
    if shards is not None:
        _run_all(plan, network, opened, shards, way, who, sent)
    return finish(plan, network=network, images=opened, out=out, started=started)


def _run_all(
    plan: ActivationPlan,
    network: LoadedNetwork,
    images: ImageSet,
    folder: Path,
    way: _Way,
    executor: Executor,
    recipe: PassRecipe,
) -> None:
    if not isinstance(executor, Local):
        pieces = [
            Piece(
                f"activations {number}",
                folder / f"shard-{number:04d}.npz",
                partial(_run_sent, plan, number, recipe, folder, way),
            )
            for number in range(len(plan.shards))
        ]
        executor.run(pieces, label=f"activations of {network.name}")
        require_finished(pieces, where=folder)
        return
    decoding = way.decoding(plan, network, images, onwards=True)
    with progress(f"activations of {network.name}", total=plan.images, unit="images") as advance:
        late: object = None
        for number, shard in enumerate(plan.shards):
            begun = begin_shard(plan, number, network=network, folder=folder, decoding=decoding)
            settle(late)
            late = begun
            advance(len(shard))
        settle(late)


def _run_sent(
    plan: ActivationPlan, number: int, recipe: PassRecipe, folder: Path, way: _Way
) -> None:
    network, images = recipe.open_network(), recipe.open_images()
    decoding = way.decoding(plan, network, images)
    run_shard(plan, number, network=network, images=images, folder=folder, decoding=decoding)


@dataclass(frozen=True)
class _Way:
    """How images are decoded."""

    workers: int | None
    keep_pixels: bool = False

    def decoding(
        self,
        plan: ActivationPlan,
        network: LoadedNetwork,
        images: ImageSet,
        *,
        onwards: bool = False,
    ) -> Decoding:
        return Decoding(
            network.preprocess,
            images,
            batch_size=plan.batch_size,
            workers=self.workers,
            device=network.device,
            onwards=onwards,
            keep_pixels=self.keep_pixels,
        )


def begin(plan: ActivationPlan, out: Path) -> Path | None:
    """Claim a folder for a pass, new or resumed.

    Returns
    -------
    Path or None
        Folder for the shards; None if the pass is finished.

    Raises
    ------
    InputError
        If the folder holds another pass.
    """
    claim = out / "plan.json"
    settings = asdict(plan) | {
        "layers": list(plan.layers),
        "sampled": [str(unit) for unit in plan.sampled],
    }
    if claim.is_file():
        held = json.loads(claim.read_text(encoding="utf-8"))
        if held["fingerprint"] != plan.fingerprint:
            changed = [
                f"{name} {held.get(name)}" if isinstance(value, int | str) else f"other {name}"
                for name, value in settings.items()
                if name != "fingerprint" and held.get(name) != value
            ]
            raise InputError(
                "folder holds another pass",
                where=out,
                found=", ".join(changed) or "another network, or other images",
                do="choose another folder, or the same network, images and options",
            )
    else:
        write_json(claim, settings)
    if (out / FILE).is_file():
        return None
    shards = out / "shards"
    shards.mkdir(exist_ok=True)
    return shards


def finish(
    plan: ActivationPlan,
    *,
    network: LoadedNetwork,
    images: ImageSet,
    out: Path,
    started: float | None = None,
) -> Activations:
    """Merge a folder's shards into ``activations.npz`` and remove them; read it if it is there.

    Raises
    ------
    InputError
        If a shard is missing.
    """
    path, shards = out / FILE, out / "shards"
    if not path.is_file():
        try:
            merge_shards(plan, network=network, images=images, folder=shards).save(path)
        except (InputError, OSError):
            if not path.is_file():  # else another process has merged and removed the shards
                raise
        seconds = {} if started is None else {"pass": time.perf_counter() - started}
        write_json(
            out / "run.json",
            {
                "command": "activations",
                "versions": package_versions(),
                "git": git_state(),
                "network": dict(network.record),
                "device": device_name(network.device),
                "plan": plan.fingerprint,
                "images": len(images),
                "seconds": seconds,
            },
        )
    shutil.rmtree(shards, ignore_errors=True)
    return Activations.load(path)
