"""`imi-bench run`: observers answer trials from disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imi_bench.cli.network_options import ExecutorName, Gpus, Shard
from imi_bench.cli.observer_options import Device, Dtype, WeightsFolder
from imi_bench.cli.output import AsJson, interval_plot, new_folder, note, print_json, print_table
from imi_bench.errors import InputError
from imi_bench.text import plural

if TYPE_CHECKING:
    from imi_bench.observers.protocol import Observer
    from imi_bench.replay.run import Run
    from imi_bench.tables import Trials

_MOST_LINES = 20


def run_command(
    observer: Annotated[
        list[str],
        typer.Option(
            "--observer",
            metavar="NAME",
            help="A name of `imi-bench observers list`, or file.py:Class; repeat for several.",
        ),
    ],
    trials: Annotated[
        Path, typer.Option(help="Folder of stimuli or tasks, trials.parquet or trials.csv.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for decisions.parquet and run.json; of several, for a folder each.",
            callback=new_folder,
        ),
    ],
    mode: Annotated[
        list[str] | None, typer.Option(help="Only trials of this mode: natural or synthetic.")
    ] = None,
    difficulty: Annotated[
        list[str] | None, typer.Option(help="Only this difficulty, such as easy; repeatable.")
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(help="Only trials of this network; where the folders name none, its name."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most so many trials, evenly spaced.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides which query is shown first.")] = 0,
    device: Device = "auto",
    dtype: Dtype = "float32",
    weights: WeightsFolder = None,
    batch_size: Annotated[str, typer.Option(help="auto, or images encoded at once.")] = "auto",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out and list trials with bad files.")
    ] = False,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for codes of images; the user's cache by default.")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(help="float16: keep codes in half the disk, rounded (docs/cache.md)."),
    ] = None,
    shard: Shard = None,
    executor: ExecutorName = "local",
    gpus: Gpus = 0.0,
    force: Annotated[bool, typer.Option("--force", help="Replace another run in --out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let observers answer trials; a run that was killed goes on where it was.

    With --shard images are encoded into --cache, which all shares must see; the command that finds
    all shares done, or one without --shard, finishes the run.
    """
    from imi_bench.executors import SharesMissingError, choose
    from imi_bench.observers.catalogue import load_observer
    from imi_bench.observers.instances import Recipe
    from imi_bench.observers.protocol import Encoder
    from imi_bench.replay.runner import replay

    workers = choose(executor, shard=shard, gpus=gpus)

    chosen = [load_observer(one, device=device, dtype=dtype, seed=seed) for one in observer]
    folders = _folders(chosen, out)
    encode = [isinstance(one, Encoder) for one in chosen]
    read = _read(trials, network or [], mode or [], difficulty or [], limit, skip_bad=skip_bad)
    done, missing = [], []
    for name, one, folder, encodes in zip(observer, chosen, folders, encode, strict=True):
        try:
            found = replay(
                one,
                read,
                seed=seed,
                batch_size=batch_size,
                out=folder,
                cache=cache,
                force=force,
                about={"source": dict(read.source)} if read.source else None,
                store=store if encodes or not any(encode) else None,
                executor=workers,
                recipe=Recipe(name, device, dtype, seed),
            )
        except SharesMissingError as error:
            note(f"{one.name}: share {shard} is done; {error.found}; the others are missing")
            missing.append(one.name)
            continue
        _tell_run(found, folder)
        done.append(found)
    if missing:
        if as_json:
            print_json({"out": out, "finished": False, "missing": missing})
        return
    if as_json:
        records = [
            {"out": folder, "reused": one.reused, "accuracy": one.accuracy, "record": one.record}
            for one, folder in zip(done, folders, strict=True)
        ]
        print_json(records[0] if len(records) == 1 else {"out": out, "runs": records})
    elif len(done) == 1:
        _show(done[0])
    else:
        _show_several(done)
    if not as_json:
        note(f"next: imi-bench report {out} [--responses FILE]")


def _folders(chosen: Sequence[Observer], out: Path) -> list[Path]:
    """The folder itself for one observer, one in it for each of several."""
    from imi_bench.replay.output import folder_name

    if len(chosen) == 1:
        return [out]
    names = [folder_name(one.name) for one in chosen]
    if len(set(names)) < len(names):
        raise InputError(
            "two observers of one name",
            found=", ".join(one.name for one in chosen),
            do="run them into two --out folders; `imi-bench compare` takes both",
        )
    if (out / "run.json").exists():
        raise InputError("the folder holds another run", where=out, do="choose another --out")
    return [out / name for name in names]


def _read(
    path: Path,
    network: list[str],
    mode: list[str],
    difficulty: list[str],
    limit: int | None,
    *,
    skip_bad: bool,
) -> Trials:
    """Read the trials, say what was left out, and keep those that were asked for."""
    from imi_bench.stimuli.trial_files import read_trials
    from imi_bench.tables.index import split_difficulty
    from imi_bench.tables.selection import select

    name = network[0] if len(network) == 1 else "unnamed"
    read = read_trials(path, network=name, skip_bad=skip_bad)
    _tell(read)
    known = {str(name) for name in read.index.network}
    told = [(one, "easy") if one in known else split_difficulty(one) for one in network]
    levels = [level for _, level in told if level != "easy"]
    kept = select(
        read,
        network=[base for base, _ in told],
        mode=mode,
        difficulty=[*difficulty, *levels],
        limit=limit,
    )
    if len(kept) < len(read):
        note(f"{len(kept)} of {plural(len(read), 'trial')} were selected")
    return kept


def _tell(read: Trials) -> None:
    """Nothing is left out silently."""
    lines = [f"note: {line}" for line in read.notes]
    skipped = [f"skipped {one.where}: {one.reason}" for one in read.skipped]
    for kind in (lines, skipped):
        for line in kind[:_MOST_LINES]:
            note(line)
        if len(kind) > _MOST_LINES:
            note(f"… {len(kind) - _MOST_LINES} more such lines, listed in run.json")
    if skipped:
        note(f"skipped {len(skipped)} in all")


def _tell_run(done: Run, folder: Path) -> None:
    """How a run went, in a line, and each of its first failures."""
    record = done.record
    answers, images = record["answers"], record["images"]
    if done.reused:
        note(
            f"{folder} holds this very run already, in batches of {record['batch_size']}: nothing "
            "was computed (--force runs it again)"
        )
    elif len(sizes := record["cache"]["batch_sizes"]) > 1 or sizes not in (
        [],
        [record["batch_size"]],
    ):
        of = " and ".join(map(str, sizes))
        note(f"codes come from batches of {of} images: equal but for rounding (docs/cache.md)")
    for damaged in record["cache"]["damaged"] if not done.reused else ():
        note(f"damaged file in the cache: {damaged}")
    counts = ", ".join(f"{n} {status}" for status, n in answers["by_status"].items() if n)
    work = plural(images["distinct"], "image")
    if not done.reused:
        work += f", {images['embedded']} embedded, {images['cache_hits']} from the cache"
    note(
        f"{done.decisions.observer}: {plural(record['trials']['count'], 'trial')} "
        f"({counts}); {work}; " + (f"in {folder}" if done.reused else f"written to {folder}")
    )
    if missing := int((~done.decisions.answered).sum()):
        note(
            f"warning: {missing} of {plural(len(done.decisions), 'trial')} have no answer "
            "(each counts one half, what a guess earns)"
        )
    for failure in answers["failures"][:5]:
        note(f"  failed: {failure['trial_id']}: {failure['message']}")
    if len(answers["failures"]) > 5:
        note(f"  … {len(answers['failures']) - 5} more, listed in {folder / 'run.json'}")


def _made_up(done: Run) -> str:
    return " (SIMULATED trials)" if done.record["simulated"] else ""


def _answered(done: Run) -> str:
    return f"{int(done.decisions.answered.sum())} of {len(done.decisions)}"


def _show(done: Run) -> None:
    parts = [pair for group in done.accuracy.values() for pair in group.items()]
    axis, drawn = interval_plot([e for _, e in parts], reference=0.5)
    print_table(
        ["trials", "n", "correct", "95% Wilson interval", axis],
        [
            [name, str(e.n), f"{e.value:.3f}", f"{e.low:.3f} to {e.high:.3f}", plot]
            for (name, e), plot in zip(parts, drawn, strict=True)
        ],
        title=f"{done.decisions.observer}: proportion correct{_made_up(done)}; answered "
        f"{_answered(done)} trials; line: chance",
        right=["n", "correct", "95% Wilson interval"],
        spare=[axis],
    )


def _show_several(done: Sequence[Run]) -> None:
    """A row an observer, the best first."""
    ordered = sorted(done, key=lambda one: -_overall(one).value)
    axis, drawn = interval_plot([_overall(one) for one in ordered], reference=0.5)
    groups = [
        (group, name)
        for group in ("mode", "difficulty")
        for name in ordered[0].accuracy.get(group, {})
        if len(ordered[0].accuracy[group]) > 1
    ]
    print_table(
        ["observer", "correct", axis, *(name for _, name in groups), "answered"],
        [
            [
                one.decisions.observer,
                str(_overall(one)),
                plot,
                *(f"{one.accuracy[group][name].value:.3f}" for group, name in groups),
                _answered(one),
            ]
            for one, plot in zip(ordered, drawn, strict=True)
        ],
        title=f"Proportion correct [95% Wilson interval]{_made_up(done[0])}; line: chance",
        right=["correct", *(name for _, name in groups), "answered"],
        spare=[axis, *(name for group, name in groups if group == "difficulty")],
    )


def _overall(done: Run) -> Any:
    parts = done.accuracy
    return next(iter(next(iter(parts.values())).values()))
