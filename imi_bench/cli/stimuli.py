"""`imi-bench stimuli`: trials from a network and a folder of images; a picture of trials."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imi_bench.cli.network_options import (
    Checkpoint,
    Device,
    InputSize,
    Layers,
    NetworkOption,
    Random,
    Seed,
    Workers,
    load,
)
from imi_bench.cli.output import AsJson, note, print_json, print_table
from imi_bench.errors import NotEnoughDataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imi_bench.networks.activation_record import Activations
    from imi_bench.networks.synthetic import References
    from imi_bench.networks.units import Unit
    from imi_bench.vision.loading import LoadedNetwork

group = typer.Typer(no_args_is_help=True, help="Trials from networks and images.")


def register(app: typer.Typer) -> None:
    """Add the group to the program."""
    app.add_typer(group, name="stimuli")


@group.command()
def build(
    network: NetworkOption,
    images: Annotated[Path, typer.Option(help="Folder of images, or .npz with an array `images`.")],
    out: Annotated[Path, typer.Option(help="Folder for stimuli, trials.parquet and run.json.")],
    units: Annotated[int, typer.Option(help="Units to sample; the paper's 84.")] = 84,
    unit: Annotated[
        list[str] | None, typer.Option(help="A unit as layer__channel, instead of sampled ones.")
    ] = None,
    difficulty: Annotated[
        list[str] | None, typer.Option(help="easy, hard99, hard95, hard85; may be repeated.")
    ] = None,
    batches: Annotated[int, typer.Option(help="Main trials a unit.")] = 10,
    references: Annotated[int, typer.Option(help="Reference images a side.")] = 9,
    crop: Annotated[
        int, typer.Option(help="Side of the centre crop; 0: images as they are.")
    ] = 224,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Add trials with feature visualisations.")
    ] = False,
    steps: Annotated[
        int, typer.Option(help="Most steps of gradient ascent, for --synthetic.")
    ] = 192,
    checkpoint: Checkpoint = None,
    random: Random = False,
    layers: Layers = None,
    input_size: InputSize = None,
    batch_size: Annotated[int, typer.Option(help="Images a forward pass.")] = 64,
    precision: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    workers: Workers = 0,
    device: Device = "auto",
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Run a network over images and build natural trials of its units.

    With --synthetic every natural trial has one beside it whose references are feature
    visualisations, at the size of the network's input, and whose queries are the same.
    A pass that was killed goes on where it was: run the same command again.
    """
    from imi_bench.networks.activations import collect_activations
    from imi_bench.networks.collection import open_images
    from imi_bench.networks.exemplars import Design
    from imi_bench.networks.featurevis import Ascent
    from imi_bench.networks.synthetic import synthetic_references
    from imi_bench.networks.trial_folder import build_trials
    from imi_bench.provenance import git_state, package_versions, write_json

    designs = [Design(name, batches, references) for name in dict.fromkeys(difficulty or ["easy"])]
    opened = open_images(images)
    for design in designs:
        design.check(len(opened))
    loaded = load(
        network,
        checkpoint=checkpoint,
        random=random,
        layers=layers,
        input_size=input_size,
        seed=seed,
        device=device,
    )
    started = time.perf_counter()
    chosen = _units(loaded, unit, units, seed)
    found = collect_activations(
        loaded,
        opened,
        out=out / "activations",
        layers=[],
        sampled=chosen,
        batch_size=batch_size,
        precision=precision,
        workers=workers,
    )
    passed = time.perf_counter()
    made: dict[Unit, References] = {}

    def visualised(shown: Sequence[Unit]) -> dict[Unit, References]:
        made.update(
            synthetic_references(
                loaded,
                shown,
                folder=out / "visualisations",
                n_images=references,
                seed=seed,
                ascent=Ascent(steps=steps),
                units_per_group=max(1, batch_size // references),
            )
        )
        return made

    built = build_trials(
        found,
        opened,
        designs=designs,
        crop=crop or None,
        seed=seed,
        out=out,
        synthetic=visualised if synthetic else None,
    )
    found.covariates().to_parquet(out / "units.parquet", index=False)
    left_out = [
        {"unit": str(one.unit), "difficulty": one.difficulty, "reason": one.reason}
        for one in built.left_out
    ]
    shares = _share_beyond(made, found, out) if synthetic else {}
    record = {
        "command": "stimuli build",
        "versions": package_versions(),
        "git": git_state(),
        "seed": seed,
        "network": dict(loaded.record),
        "images": len(opened),
        "difficulties": [design.difficulty for design in designs],
        "batches": batches,
        "references": references,
        "crop": crop,
        "units": [str(one) for one in chosen],
        "synthetic": shares or None,
        "left_out": left_out,
        "trials": len(built.trials),
        "trials_hash": built.trials.hash,
        "seconds": {"activations": passed - started, "trials": time.perf_counter() - passed},
    }
    write_json(out / "run.json", record)
    for line in left_out:
        note(f"left out {line['unit']} ({line['difficulty']}): {line['reason']}")
    for direction, share in shares.items():
        note(
            f"visualisations ({direction}): {share['beyond']:.0%} of units beyond natural images, "
            f"{share['level']:.0%} level with them"
        )
    if as_json:
        print_json(record)
        return
    index = built.trials.index.to_frame()
    counts = index.groupby(["mode", "difficulty"], sort=False)
    print_table(
        ("mode", "difficulty", "units", "trials", "of them catch"),
        [
            (*name, part.groupby(["layer", "unit"]).ngroups, len(part), int(part["catch"].sum()))
            for name, part in counts
        ],
        title=f"{loaded.name}: {out}",
        right=("units", "trials", "of them catch"),
    )


def _share_beyond(
    made: dict[Unit, References], found: Activations, out: Path
) -> dict[str, dict[str, float]]:
    """Write ``visualisations.parquet``; shares of units driven beyond, or level with, natural."""
    from imi_bench.networks.synthetic import compared

    table = compared(made, found)
    table.to_parquet(out / "visualisations.parquet", index=False)
    return {
        str(direction): {name: float(part[name].mean()) for name in ("beyond", "level")}
        for direction, part in table.groupby("direction")
    }


def _units(loaded: LoadedNetwork, named: list[str] | None, count: int, seed: int) -> list[Unit]:
    from imi_bench.networks.units import Unit, sample_units

    if named:
        return [Unit.parse(text) for text in named]
    return list(sample_units(loaded.layers, count, seed=seed))


@group.command()
def show(
    trials: Annotated[Path, typer.Argument(help="Folder of stimuli or tasks, or trials.parquet.")],
    out: Annotated[Path, typer.Option(help="The picture, a .png file.")] = Path("trials.png"),
    unit: Annotated[str | None, typer.Option(help="A unit, as layer__channel.")] = None,
    difficulty: Annotated[str | None, typer.Option(help="One difficulty.")] = None,
    count: Annotated[int, typer.Option(help="At most this many trials.")] = 8,
    tile: Annotated[int, typer.Option(help="Side of an image in pixels.")] = 72,
    as_json: AsJson = False,
) -> None:
    """Draw trials on a contact sheet, the answer included."""
    import numpy as np
    from PIL import Image

    from imi_bench.networks.contact_sheet import contact_sheet
    from imi_bench.networks.units import Unit
    from imi_bench.provenance import atomic_path
    from imi_bench.stimuli.trial_files import read_trials

    read = read_trials(trials)
    keep = np.ones(len(read), dtype=bool)
    if unit is not None:
        wanted = Unit.parse(unit)
        keep &= (read.index.layer == wanted.layer) & (read.index.unit == wanted.channel)
    if difficulty is not None:
        keep &= read.index.difficulty == difficulty
    if not keep.any():
        raise NotEnoughDataError(
            "no such trial",
            where=trials,
            found=f"{len(read)} others",
            wanted=" ".join(part for part in (unit, difficulty) if part),
        )
    shown = read.take(np.flatnonzero(keep)[:count])
    with atomic_path(out) as temporary:
        Image.fromarray(contact_sheet(shown, tile=tile)).save(temporary)
    if as_json:
        print_json({"picture": out, "trials": shown.index.trial_id})
        return
    typer.echo(f"{len(shown)} of {int(keep.sum())} trials drawn to {out}")
