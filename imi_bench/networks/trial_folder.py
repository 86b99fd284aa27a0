"""Exemplars to trials: crops in memory, or the authors' layout on disk with a trial table."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imi_bench.arrays import Pixels
from imi_bench.errors import InputError
from imi_bench.networks.activation_record import Activations
from imi_bench.networks.collection import ImageSet, open_images
from imi_bench.networks.exemplars import (
    Design,
    Exemplars,
    LeftOut,
    choose_exemplars,
    images_shown,
)
from imi_bench.networks.synthetic import References
from imi_bench.networks.units import Unit
from imi_bench.progress import progress
from imi_bench.provenance import atomic_path, sha256_file
from imi_bench.stimuli.layouts import NATURAL, SYNTHETIC
from imi_bench.stimuli.trial_table import NAMES, to_table, write_trials
from imi_bench.tables import TrialIndex, Trials
from imi_bench.tables.images import Images
from imi_bench.text import plural
from imi_bench.vision.preprocessing import Preprocess, centre_crop, from_settings

LAYOUT = "stimuli"
_RESIZE_OVER_CROP = 256 / 224


@dataclass(frozen=True, eq=False)
class BuiltTrials:
    """Trials of a network's units.

    Attributes
    ----------
    trials : Trials
    left_out : tuple of LeftOut
        Units that could not be used, and why.
    """

    trials: Trials
    left_out: tuple[LeftOut, ...]


def assemble_trials(
    activations: Activations,
    images: object,
    *,
    units: Iterable[Unit] | None = None,
    designs: Sequence[Design] = (Design(),),
    catch: bool = True,
    crop: int | Preprocess | Literal["seen"] | None = "seen",
    seed: int = 0,
    out: Path | None = None,
    synthetic: Callable[[Sequence[Unit]], Mapping[Unit, References]] | None = None,
) -> BuiltTrials:
    """Natural trials of sampled units, and synthetic ones, in memory or on disk.

    Parameters
    ----------
    activations : Activations
        Of a pass over the same images.
    images : object
        ImageSet or anything `open_images` takes.
    units, designs, catch, seed
        As for `choose_exemplars`.
    crop : "seen", Preprocess, int or None
        What the trials show. ``seen``: the pixels that the network saw, by the record of the pass;
        a number: a centre crop of that side, after scaling the shorter side to 256/224 of it, as
        the authors' scripts have it (224), whatever the network saw; None: the whole images.
    out : Path, optional
        Folder for ``trials.parquet`` and, with nine references, the authors' layout
        ``stimuli/NETWORK[_hardP]/LAYER/channel_N/natural_images/batch_K/{max,min}_I.png``
        (another number of references: ``images/HASH.png``). Equal calls give equal bytes.
    synthetic : callable, optional
        Given the units that have natural trials, their synthetic references, as many as natural
        ones. Every natural trial then has a synthetic one beside it, with the same queries (of a
        catch trial the last reference of either side); the references lie in
        ``optimized_images/{max,min}_I.png``.

    Raises
    ------
    InputError
        If the images are not those of the pass; also all that `choose_exemplars` raises.
    """
    opened = open_images(images)
    seen = activations.record.get("images", opened.fingerprint)
    if opened.names.tolist() != activations.image_names.tolist() or seen != opened.fingerprint:
        raise InputError(
            "images are not those of the activation pass",
            found=plural(len(opened), "image"),
            wanted=f"the {plural(len(activations.image_names), 'image')} it saw, unchanged",
        )
    exemplars = choose_exemplars(activations, units=units, designs=designs, catch=catch, seed=seed)
    shown = exemplars.index[["layer", "unit"]].drop_duplicates()
    made = synthetic([Unit(*row) for row in shown.itertuples(index=False)]) if synthetic else {}
    if crop == "seen":
        crop = _seen(activations)
    crops = _crops(exemplars, opened, crop)
    drawn = [image for one in made.values() for side in one.images for image in side]
    collected, rows = Images.collect([*crops.values(), *drawn])
    row_of = dict(zip(crops, rows.tolist(), strict=False))
    drawn_rows = rows[len(crops) :].reshape(len(made), 2, designs[0].references)
    trials = _to_trials(
        exemplars, collected, row_of, dict(zip(made, drawn_rows, strict=True)), made
    )
    if out is not None and designs[0].references == 9:
        _write_layout(exemplars, trials, row_of, out)
    elif out is not None:
        write_trials(trials, out)
    return BuiltTrials(trials, exemplars.left_out)


def _seen(activations: Activations) -> Preprocess:
    settings = activations.record.get("network", {}).get("preprocess")
    if not settings:
        raise InputError(
            "the pass does not say what the network saw",
            where=activations.network,
            do="give crop: a number of pixels, or None for whole images",
        )
    return from_settings(settings)


def _crops(
    exemplars: Exemplars, images: ImageSet, crop: int | Preprocess | None
) -> dict[int, Pixels]:
    shown = list(images_shown(exemplars))
    crops: dict[int, Pixels] = {}
    with progress("cropping images", total=len(shown), unit="images") as advance:
        for number in shown:
            pixels = images.read(number)
            if isinstance(crop, Preprocess):
                pixels = crop.pixels(pixels)
            elif crop is not None:
                pixels = centre_crop(pixels, crop=crop, resize=round(crop * _RESIZE_OVER_CROP))
            crops[number] = pixels
            advance(1)
    return crops


def _to_trials(
    exemplars: Exemplars,
    images: Images,
    row_of: dict[int, int],
    drawn: Mapping[Unit, NDArray[np.int64]],
    made: Mapping[Unit, References],
) -> Trials:
    """Natural trials, then the same with the drawn references, (2, K) image rows a unit."""

    def rows(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        flat = [row_of[number] for number in numbers.ravel().tolist()]
        return np.array(flat, dtype=np.int64).reshape(numbers.shape)

    sides = [(rows(exemplars.high[:, :-1]), rows(exemplars.low[:, :-1]))]
    queries, activations = [rows(exemplars.queries)], [exemplars.query_activations]
    frames = [exemplars.index]
    if drawn:
        units = [
            Unit(*unit)
            for unit in zip(exemplars.index["layer"], exemplars.index["unit"], strict=True)
        ]
        synthetic = np.stack([drawn[unit] for unit in units])
        sides.append((synthetic[:, 0], synthetic[:, 1]))
        frames.append(exemplars.index.assign(mode="synthetic"))
        # a catch trial's queries are the last of its own references, as the authors' max_8, min_8
        catch = exemplars.index["catch"].to_numpy(dtype=bool)[:, None]
        queries.append(np.where(catch, synthetic[:, :, -1], queries[0]))
        reached = np.stack([made[unit].activation[:, -1] for unit in units])
        activations.append(np.where(catch, reached, activations[0]))
    frame = pd.concat(frames, ignore_index=True)
    frame.insert(0, "trial_id", TrialIndex.canonical_ids(frame))
    return Trials(
        index=TrialIndex.from_frame(frame),
        images=images,
        positive=np.concatenate([positive for positive, _ in sides]),
        negative=np.concatenate([negative for _, negative in sides]),
        queries=np.concatenate(queries),
        query_activations=np.concatenate(activations),
    )


def _write_layout(exemplars: Exemplars, trials: Trials, row_of: dict[int, int], out: Path) -> None:
    """Write every image where the authors' layout has it; the table names one place of each.

    The folder gets its name when it is complete, the table comes last. What a build that was
    killed in between has left, or the same build before, is kept.

    Raises
    ------
    InputError
        If other stimuli are there.
    """
    target = out / LAYOUT
    out.mkdir(parents=True, exist_ok=True)
    place: dict[int, str] = {}
    with (
        tempfile.TemporaryDirectory(prefix=f".{LAYOUT}.", dir=out) as temporary,
        progress("writing trials", total=len(trials), unit="trials") as advance,
    ):
        whole = Path(temporary, LAYOUT)

        def write(folder: str, end: str, rows: Iterable[int]) -> None:
            for rank, row in enumerate(rows):
                name = f"{folder}/{end}_{rank}.png"
                place.setdefault(row, f"{LAYOUT}/{name}")
                (whole / name).write_bytes(trials.images.file_bytes(row))

        natural = len(exemplars.index)
        for position, facts in enumerate(trials.index.to_frame().to_dict("records")):
            folder = _image_folder(facts)
            if not (whole / folder).exists():  # all batches share a unit's synthetic references
                (whole / folder).mkdir(parents=True)
                for end, numbers, side in (
                    ("max", exemplars.high, trials.positive),
                    ("min", exemplars.low, trials.negative),
                ):
                    if position < natural:
                        write(folder, end, [row_of[n] for n in numbers[position].tolist()])
                    else:
                        write(folder, end, side[position].tolist())
            advance(1)
        if not target.exists():
            whole.rename(target)
        elif _files(whole) != _files(target):
            raise InputError(
                "folder holds other stimuli", where=target, do="choose another, or remove them"
            )
    names = [place[row] for row in range(len(trials.images))]
    with atomic_path(out / NAMES[0]) as table:
        to_table(trials, names).to_parquet(table, index=False)


def _files(folder: Path) -> dict[Path, str]:
    """Content hash of every file, by its path within the folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): sha256_file(path) for path in files}


def _image_folder(facts: Mapping[Hashable, Any]) -> str:
    suffix = "" if facts["difficulty"] == "easy" else f"_{facts['difficulty']}"
    unit = f"{facts['network']}{suffix}/{facts['layer']}/channel_{facts['unit']}"
    if facts["mode"] == "synthetic":
        return f"{unit}/{SYNTHETIC}"
    return f"{unit}/{NATURAL}/batch_{facts['batch']}"
