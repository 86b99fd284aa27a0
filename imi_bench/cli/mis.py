"""`imi-bench mis`: the machine interpretability score of every unit of a network."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imi_bench.cli import network_options as options
from imi_bench.cli.observer_options import WeightsFolder
from imi_bench.cli.output import AsJson, new_folder, note, print_json, print_table
from imi_bench.errors import InputError
from imi_bench.text import plural

if TYPE_CHECKING:
    from imi_bench.mis.run import MisRun


def mis_command(
    network: options.NetworkOption,
    images: options.Images,
    observer: Annotated[str, typer.Option(help="A name of `imi-bench observers list`.")],
    out: Annotated[
        Path, typer.Option(help="Folder for scores.parquet and run.json.", callback=new_folder)
    ],
    slope: Annotated[
        float | None,
        typer.Option(
            help="From margin to probability; belongs to the observer. DreamSim's 0.16 if left out."
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Take the slope from a calibration of this observer (`score`'s file)."),
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(help="Folder for the observer's embeddings, shared by runs on these images."),
    ] = None,
    tasks: Annotated[int, typer.Option(help="Tasks a unit.")] = 20,
    references: options.References = 9,
    quantile: Annotated[
        float, typer.Option(help="Share of the images at each end that tasks are drawn from.")
    ] = 0.02,
    shard: options.Shard = None,
    executor: options.ExecutorName = "local",
    gpus: options.Gpus = 0.0,
    checkpoint: options.Checkpoint = None,
    random: options.Random = False,
    layers: options.Layers = None,
    input_size: options.InputSize = None,
    batch_size: options.BatchSize = 64,
    shard_size: Annotated[
        int | None,
        typer.Option(help="Images a piece; about 64 pieces of 2,048 or more if left out."),
    ] = None,
    precision: options.Precision = "float32",
    memory: Annotated[
        float | None,
        typer.Option(help="Gigabytes for units' extremes; more passes where they are too few."),
    ] = None,
    workers: options.Workers = None,
    keep_pixels: options.KeepPixels = False,
    device: options.Device = "auto",
    weights: WeightsFolder = None,
    seed: Annotated[int, typer.Option(help="Of the tasks' draws and of random weights.")] = 0,
    unique: options.Unique = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace another run that --out holds.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Score every unit of a network by how well an observer tells the ends of it apart.

    A run that was killed goes on where it was: run the same command again. With --shard the
    command that finds all shares done, or one without --shard, finishes the run.
    """
    from imi_bench.executors import choose
    from imi_bench.mis.interpretability import machine_interpretability

    source = None
    if calibration is not None:
        slope, source = _calibrated(calibration, observer, given=slope)
    if force and shard is not None:
        raise InputError("a share cannot replace a run", found="--force", do="leave one out")
    done = machine_interpretability(
        network,
        images,
        observer=observer,
        slope=slope,
        slope_source=source,
        tasks=tasks,
        references=references,
        quantile=quantile,
        checkpoint=checkpoint,
        pretrained=not random,
        layers=layers,
        input_size=input_size,
        batch_size=batch_size,
        shard_size=shard_size,
        precision=precision,
        memory=memory,
        workers=workers,
        keep_pixels=keep_pixels,
        device=device,
        seed=seed,
        out=out,
        embeddings=embeddings,
        unique=unique,
        force=force,
        executor=choose(executor, shard=shard, gpus=gpus),
        tell=note,
    )
    if not done.finished:
        note(f"share {shard} is done; other shares are missing in {out}")
        if as_json:
            print_json({"out": out, "finished": False})
        return
    show_scores(done, out, as_json=as_json)


def _calibrated(path: Path, observer: str, *, given: float | None) -> tuple[float, str]:
    from imi_bench.choice.calibration import Calibration
    from imi_bench.choice.natural_slope import natural_slope
    from imi_bench.observers.catalogue import load_observer

    if given is not None:
        raise InputError("two slopes", found="--slope and --calibration", do="leave one out")
    return natural_slope(Calibration.read(path), observer=load_observer(observer).name, where=path)


def show_scores(done: MisRun, out: Path, *, as_json: bool) -> None:
    """Print what a run found: a table of its layers, or one JSON object."""
    table = done.by_layer()
    if done.record["slope"]["warning"]:
        note(f"warning: {done.record['slope']['warning']}")
    for line in done.record["images"]["warnings"]:
        note(line)
    if as_json:
        print_json(
            {"out": out, "finished": True, "layers": table.to_dict("records"), "run": done.record}
        )
        return
    means = table[["score", "hard_score"]].map(lambda m: "–" if isnan(m) else f"{m:.3f}")
    numbers = ["depth", "units", "scored", "MIS", "hard MIS"]
    print_table(
        ["layer", "type", *numbers],
        [
            [row.layer, row.type, f"{row.depth:.2f}", row.width, row.scored, *shown]
            for row, shown in zip(table.itertuples(), means.itertuples(index=False), strict=True)
        ],
        title=f"{done.scores['network'][0]}, seen by {done.scores['observer'][0]}",
        right=numbers,
    )
    units, slope = done.record["units"], done.record["slope"]
    note(f"slope {slope['value']:g}: {slope['source']}")
    for reason, count in done.scores["reason"].value_counts().drop("", errors="ignore").items():
        note(f"not scored: {plural(count, 'unit')} ({reason})")
    note(f"{units['scored']} of {plural(units['count'], 'unit')} scored; written to {out}")
