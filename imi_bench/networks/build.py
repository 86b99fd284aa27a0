"""From a network and a folder of images to trials of the network's units, in one call."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from imi_bench.arguments import checked, refuse_idle
from imi_bench.errors import InputError
from imi_bench.executors import Executor
from imi_bench.executors import chosen as choose_executor
from imi_bench.networks.activation_record import Activations
from imi_bench.networks.activations import collect_activations
from imi_bench.networks.collection import ImageSet, open_images
from imi_bench.networks.exemplars import Design, Reading
from imi_bench.networks.featurevis import Ascent
from imi_bench.networks.memory import check_ascent
from imi_bench.networks.recipe import PassRecipe, forget
from imi_bench.networks.repeats import repeated_files_said, repeated_pixels
from imi_bench.networks.synthetic import References, compared, synthetic_references
from imi_bench.networks.trial_folder import BuiltTrials, assemble_trials
from imi_bench.networks.units import Unit, sample_units
from imi_bench.places import refuse_inside
from imi_bench.provenance import git_state, package_versions, plain, write_json
from imi_bench.tables import Skipped, Trials
from imi_bench.vision.device import device_name
from imi_bench.vision.layer_names import layer_table
from imi_bench.vision.loading import LoadedNetwork

if TYPE_CHECKING:
    from torch import nn

    from imi_bench.vision.card import NetworkCard

__all__ = ["build_trials"]


@checked
def build_trials(
    network: str | Path | NetworkCard | nn.Module | LoadedNetwork,
    images: object,
    *,
    units: int | Sequence[str | Unit] = 84,
    difficulties: Sequence[str] = ("easy",),
    batches: int = 10,
    references: int = 9,
    crop: int | Literal["seen"] | None = "seen",
    design: str = "paper",
    unique: bool = False,
    synthetic: bool = False,
    steps: int = Ascent.steps,
    group: int | None = None,
    checkpoint: str | Path | None = None,
    pretrained: bool = True,
    layers: str | None = None,
    input_size: int | None = None,
    batch_size: int = 64,
    precision: str = "float32",
    workers: int | None = None,
    keep_pixels: bool = False,
    device: str = "auto",
    seed: int = 0,
    out: str | Path | None = None,
    executor: str | Executor = "local",
) -> Trials:
    """Run a network over images and build natural (and synthetic) trials of its units.

    Parameters
    ----------
    network : str, Path, NetworkCard, torch.nn.Module or LoadedNetwork
        As in `imi_bench.vision.loading.load_network`.
    images : object
        Str, Path, (N, H, W, 3) uint8 array, or dataset
        As in `imi_bench.networks.collection.open_images`.
    units : int, or sequence of str
        How many to sample (the paper's 84), or which, as ``layer__channel``.
    difficulties : sequence of str
        ``easy``, ``hard99``, ``hard95``, ``hard85``.
    batches, references : int
        Main trials a unit; reference images a side.
    crop : "seen", int or None
        What the trials show: what the network saw, a centre crop of that side, the whole images.
    design : {"paper", "script"}
        See `imi_bench.networks.exemplars.Design`.
    unique : bool
        Keep one image of each content; repeated ones are counted in the record and the notes.
    synthetic : bool
        Put beside every natural trial one whose references are feature visualisations, at the
        size of the network's input, and whose queries are the same.
    steps : int
        Most steps of gradient ascent of a visualisation.
    group : int, optional
        Units visualised at a time, which bounds the memory; by default what the batch size holds.
    checkpoint, pretrained, layers, input_size, device
        As in `imi_bench.vision.loading.load_network`; not used for one that is loaded.
    batch_size, precision, workers, keep_pixels : int, str and bool
        Of the pass over the images, as in `imi_bench.networks.activations.collect_activations`.
    seed : int
        Of random weights, sampled units and dealt images.
    out : str or Path, optional
        Folder for stimuli, ``trials.parquet``, ``units.parquet`` and ``run.json``; a call that was
        killed goes on where it was. In memory by default.
    executor : str or Executor
        ``local``, ``ray``, ``ray:ADDRESS``, or an object of `imi_bench.executors`: who runs the
        pass over the images and the visualisations. Changes no byte of the result.

    Returns
    -------
    Trials
        `skipped` names the units that could not be used, `source` is the whole record.

    Raises
    ------
    SharesMissingError
        The executor ran one share of a stage, and others are missing.
    NotEnoughDataError
        Too few images for the trials asked, or too few units.
    NetworkError, UnknownNameError, InputError
        A network, unit, difficulty or folder that does not fit.

    Examples
    --------
    ``build_trials("timm:resnet10t", "photos/", units=8, difficulties=["easy", "hard95"])``
    """
    designs = [
        Design(name, batches, references, cast("Reading", design))
        for name in dict.fromkeys(difficulties)
    ]
    for option, value, free in (("steps", steps, Ascent.steps), ("group", group, None)):
        refuse_idle(option, value, free=free, unless=synthetic, do="add synthetic=True")
    if isinstance(crop, int) and crop < 1:
        raise InputError("no crop", found=crop, wanted="pixels, None for whole images, or 'seen'")
    if not designs:
        raise InputError("no trials asked", found="no difficulty", wanted="easy, hard95, ...")
    if out is not None and isinstance(images, str | Path):
        refuse_inside(Path(out), inputs=[Path(images)])
    recipe = PassRecipe(
        network,
        Path(images).absolute() if isinstance(images, str | Path) else open_images(images),
        unique=unique,
        checkpoint=None if checkpoint is None else Path(checkpoint).absolute(),
        pretrained=pretrained,
        layers=layers,
        input_size=input_size,
        seed=seed,
        device=device,
    )
    forget()
    return _built(
        recipe,
        designs,
        units=units,
        crop=crop,
        ascent=Ascent(steps=steps) if synthetic else None,
        group=group or max(1, batch_size // references),
        collect=partial(
            collect_activations,
            batch_size=batch_size,
            precision=precision,
            workers=workers,
            keep_pixels=keep_pixels,
        ),
        out=None if out is None else Path(out),
        executor=executor,
    )


def _built(
    recipe: PassRecipe,
    designs: Sequence[Design],
    *,
    units: int | Sequence[str | Unit],
    crop: int | Literal["seen"] | None,
    ascent: Ascent | None,
    group: int,
    collect: Callable[..., Activations],
    out: Path | None,
    executor: str | Executor,
) -> Trials:
    """Pass, visualisations (with an `ascent`) and trials of what a recipe opens, and the record."""
    opened, seed, references = recipe.open_images(), recipe.seed, designs[0].references
    for one in designs:
        one.check(len(opened))
    loaded, who = recipe.open_network(), choose_executor(executor)
    if ascent is not None:
        check_ascent(loaded, group=group, images=references)
    started = time.perf_counter()
    chosen = _units(loaded, units, seed)
    found = collect(
        loaded,
        opened,
        out=None if out is None else out / "activations",
        layers=[],
        sampled=chosen,
        executor=who,
        recipe=recipe,
    )
    passed = time.perf_counter()
    repeated = repeated_pixels(opened, found.values)
    visualise = partial(
        synthetic_references,
        loaded,
        n_images=references,
        seed=seed,
        ascent=ascent,
        units_per_group=group,
        executor=who,
        recipe=recipe,
    )
    built, made = _assembled(
        found,
        opened,
        designs=designs,
        crop=crop,
        seed=seed,
        out=out,
        visualise=None if ascent is None else visualise,
    )
    shares = {} if ascent is None else _share_beyond(made, found, out)
    record = {
        "command": "stimuli build",
        "versions": package_versions(),
        "git": git_state(),
        "device": device_name(loaded.device),
        "seed": seed,
        **_about(loaded, opened, built, repeated),
        **_about_designs(designs),
        "crop": crop or 0,
        "cautions": _cautions(loaded, opened, repeated, crop),
        "units": [str(one) for one in chosen],
        "synthetic": shares or None,
        "seconds": {"activations": passed - started, "trials": time.perf_counter() - passed},
    }
    if out is not None:
        found.covariates().to_parquet(out / "units.parquet", index=False)
        write_json(out / "run.json", plain(record))
    return _with_findings(built.trials, record, shares)


def _assembled(
    found: Activations,
    opened: ImageSet,
    *,
    designs: Sequence[Design],
    crop: int | Literal["seen"] | None,
    seed: int,
    out: Path | None,
    visualise: Callable[..., dict[Unit, References]] | None,
) -> tuple[BuiltTrials, dict[Unit, References]]:
    """The trials, and the visualisations beside them; in memory these lie nowhere for long."""
    made: dict[Unit, References] = {}
    with ExitStack() as stack:
        place = out or Path(stack.enter_context(tempfile.TemporaryDirectory()))

        def visualised(shown: Sequence[Unit]) -> dict[Unit, References]:
            if visualise is not None:
                made.update(visualise(shown, folder=place / "visualisations"))
            return made

        built = assemble_trials(
            found,
            opened,
            designs=designs,
            crop=crop,
            seed=seed,
            out=out,
            synthetic=None if visualise is None else visualised,
        )
    return built, made


def _about(
    loaded: LoadedNetwork, opened: ImageSet, built: BuiltTrials, repeated: int
) -> dict[str, Any]:
    """What the record says of the network, the images and the trials."""
    layers = layer_table(loaded.name, loaded.layers)[["layer", "type", "depth", "width"]]
    return {
        "network": dict(loaded.record),
        "network_layers": layers.to_dict("records"),
        "images": len(opened),
        "images_repeated": repeated,
        "images_fingerprint": opened.fingerprint,
        "left_out": [
            {"unit": str(one.unit), "difficulty": one.difficulty, "reason": one.reason}
            for one in built.left_out
        ],
        "trials": len(built.trials),
        "trials_hash": built.trials.hash,
    }


def _about_designs(designs: Sequence[Design]) -> dict[str, Any]:
    return {
        "difficulties": [one.difficulty for one in designs],
        "design": designs[0].reading,
        "batches": designs[0].batches,
        "references": designs[0].references,
    }


def _with_findings(
    trials: Trials, record: dict[str, Any], shares: dict[str, dict[str, float]]
) -> Trials:
    """The trials with what was left out, and how the visualisations fared."""
    return replace(
        trials,
        skipped=tuple(
            Skipped(f"{one['unit']} ({one['difficulty']})", one["reason"])
            for one in record["left_out"]
        ),
        notes=(
            *record["cautions"],
            *(
                f"visualisations ({direction}): {share['beyond']:.0%} of units beyond natural "
                f"images, {share['level']:.0%} level with them"
                for direction, share in shares.items()
            ),
        ),
        source=record,
    )


def _cautions(
    loaded: LoadedNetwork, opened: ImageSet, repeated: int, crop: int | str | None
) -> list[str]:
    more = repeated_files_said(opened, repeated)
    return [*loaded.cautions, *opened.cautions, *more, _shown(crop, loaded)]


def _shown(crop: int | str | None, loaded: LoadedNetwork) -> str:
    height, width = loaded.preprocess.size
    if crop == "seen":
        return f"trials show what the network saw, {width} x {height} pixels"
    return f"trials show {f'a centre crop of {crop} pixels' if crop else 'whole images'}"


def _units(loaded: LoadedNetwork, units: int | Sequence[str | Unit], seed: int) -> list[Unit]:
    if isinstance(units, int):
        return list(sample_units(loaded.layers, units, seed=seed))
    return [one if isinstance(one, Unit) else Unit.parse(one) for one in units]


def _share_beyond(
    made: dict[Unit, References], found: Activations, folder: Path | None
) -> dict[str, dict[str, float]]:
    """Shares of units driven beyond, or level with, natural images; the table goes to `folder`."""
    table = compared(made, found)
    if folder is not None:
        table.to_parquet(folder / "visualisations.parquet", index=False)
    return {
        str(direction): {name: float(part[name].mean()) for name in ("beyond", "level")}
        for direction, part in table.groupby("direction")
    }
