"""`imi-bench stimuli`: trials from a network and a folder of images; a picture of trials."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imi_bench.cli import network_options as options
from imi_bench.cli.observer_options import WeightsFolder
from imi_bench.cli.output import AsJson, drawable, new_folder, note, print_json, print_table
from imi_bench.errors import InputError, NotEnoughDataError
from imi_bench.text import plural

group = typer.Typer(no_args_is_help=True, help="Trials from networks and images.")


@group.command()
def build(
    network: options.NetworkOption,
    images: options.Images,
    out: Annotated[
        Path,
        typer.Option(help="Folder for stimuli, trials.parquet and run.json.", callback=new_folder),
    ],
    units: Annotated[
        int | None, typer.Option(help="Units to sample; the paper's 84 if left out.")
    ] = None,
    unit: Annotated[
        list[str] | None, typer.Option(help="A unit as layer__channel, instead of sampled ones.")
    ] = None,
    difficulty: Annotated[
        list[str] | None, typer.Option(help="easy, hard99, hard95, hard85; may be repeated.")
    ] = None,
    batches: Annotated[int, typer.Option(help="Main trials a unit.")] = 10,
    references: options.References = 9,
    crop: Annotated[
        int | None,
        typer.Option(
            help="Side of the centre crop that trials show, 0: whole images; what the network saw "
            "if left out."
        ),
    ] = None,
    design: Annotated[
        str, typer.Option(help="paper, or script: as the authors' published script reads.")
    ] = "paper",
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Add trials with feature visualisations.")
    ] = False,
    steps: Annotated[
        int, typer.Option(help="Most steps of gradient ascent, for --synthetic.")
    ] = 192,
    group: Annotated[
        int | None, typer.Option(help="Units visualised at a time; bounds memory.")
    ] = None,
    unique: options.Unique = False,
    checkpoint: options.Checkpoint = None,
    weights: WeightsFolder = None,
    random: options.Random = False,
    layers: options.Layers = None,
    input_size: options.InputSize = None,
    batch_size: options.BatchSize = 64,
    precision: options.Precision = "float32",
    workers: options.Workers = None,
    keep_pixels: options.KeepPixels = False,
    device: options.Device = "auto",
    seed: options.Seed = 0,
    shard: options.Shard = None,
    executor: options.ExecutorName = "local",
    gpus: options.Gpus = 0.0,
    as_json: AsJson = False,
) -> None:
    """Run a network over images and build natural trials of its units.

    With --synthetic every natural trial has one beside it whose references are feature
    visualisations, at the size of the network's input, and whose queries are the same.
    A pass that was killed goes on where it was: run the same command again. With --shard the
    command that finds all shares done goes on: first the pass, then the visualisations.
    """
    from imi_bench.executors import SharesMissingError, choose
    from imi_bench.networks.build import build_trials

    if unit and units is not None:
        raise InputError("units named and sampled", found="--unit and --units", do="leave one out")
    try:
        trials = build_trials(
            network,
            images,
            units=unit or (84 if units is None else units),
            difficulties=difficulty or ("easy",),
            batches=batches,
            references=references,
            crop="seen" if crop is None else crop or None,
            design=design,
            unique=unique,
            group=group,
            synthetic=synthetic,
            steps=steps,
            checkpoint=checkpoint,
            pretrained=not random,
            layers=layers,
            input_size=input_size,
            batch_size=batch_size,
            precision=precision,
            workers=workers,
            keep_pixels=keep_pixels,
            device=device,
            seed=seed,
            out=out,
            executor=choose(executor, shard=shard, gpus=gpus),
        )
    except SharesMissingError as error:
        note(f"share {shard} is done; {error.found} in {error.where}; the others are missing")
        if as_json:
            print_json({"out": out, "finished": False})
        return
    for one in trials.skipped:
        note(f"left out {one.where}: {one.reason}")
    for line in trials.notes:
        note(line)
    if as_json:
        print_json(trials.source)
        return
    counts = trials.index.to_frame().groupby(["mode", "difficulty"], sort=False)
    print_table(
        ("mode", "difficulty", "units", "trials", "of them catch"),
        [
            (*name, part.groupby(["layer", "unit"]).ngroups, len(part), int(part["catch"].sum()))
            for name, part in counts
        ],
        title=f"{trials.index.network[0]}: {out}",
        right=("units", "trials", "of them catch"),
    )
    note(f"next: imi-bench report {out}   a page of the units")


@group.command()
def show(
    trials: Annotated[Path, typer.Argument(help="Folder of stimuli or tasks, or trials.parquet.")],
    out: Annotated[
        Path, typer.Option(help="The picture, a .png file.", callback=drawable(".png"))
    ] = Path("trials.png"),
    unit: Annotated[str | None, typer.Option(help="A unit, as layer__channel.")] = None,
    difficulty: Annotated[str | None, typer.Option(help="One difficulty.")] = None,
    count: Annotated[int, typer.Option(help="At most this many trials.")] = 8,
    tile: Annotated[int, typer.Option(help="Side of an image in pixels.")] = 72,
    as_json: AsJson = False,
) -> None:
    """Draw trials on a contact sheet, the answer included."""
    from imi_bench.networks.units import Unit
    from imi_bench.provenance import atomic_path
    from imi_bench.stimuli.trial_files import read_trials

    read = read_trials(trials)
    wanted: dict[str, object] = {} if difficulty is None else {"difficulty": difficulty}
    if unit is not None:
        named = Unit.parse(unit)
        wanted |= {"layer": named.layer, "unit": named.channel}
    kept = read.where(**wanted)
    if not len(kept):
        raise NotEnoughDataError(
            "no such trial",
            where=trials,
            found=plural(len(read), "other"),
            wanted=" ".join(part for part in (unit, difficulty) if part),
        )
    shown = kept[kept.over_units(count)]
    with atomic_path(out) as temporary:
        shown.show(slice(None), tile=tile).save(temporary)
    if as_json:
        told = {"simulated": shown.simulated, "trials": shown.index.trial_id}
        print_json({"picture": out, **told})
        return
    units = len(set(shown.index.unit_id))
    made_up = "SIMULATED " if kept.simulated else ""
    typer.echo(
        f"{len(shown)} of {len(kept)} {made_up}trials, of {plural(units, 'unit')}, drawn to {out}"
    )
