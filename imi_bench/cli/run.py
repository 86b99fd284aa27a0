"""`imi-bench run`: one observer answers trials from disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imi_bench.cli.observer_options import Device, Dtype, ObserverName, WeightsFolder
from imi_bench.cli.output import AsJson, note, print_json, print_table

if TYPE_CHECKING:
    from imi_bench.replay.run import Run
    from imi_bench.tables import Trials

_MOST_LINES = 20


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command()(run)


def run(
    observer: ObserverName,
    trials: Annotated[
        Path, typer.Option(help="Folder of stimuli or tasks, trials.parquet or trials.csv.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for decisions.parquet and run.json.")],
    seed: Annotated[int, typer.Option(help="Decides which query is shown first.")] = 0,
    device: Device = "auto",
    dtype: Dtype = "float32",
    weights: WeightsFolder = None,
    batch_size: Annotated[str, typer.Option(help="auto, or images encoded at once.")] = "auto",
    network: Annotated[
        str, typer.Option(help="The network, where the folders do not tell it.")
    ] = "unnamed",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out and list trials with bad files.")
    ] = False,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for codes of images; the user's cache by default.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace another run in --out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Let an observer answer trials; a run that was killed goes on where it was."""
    from imi_bench.observers.catalogue import load_observer
    from imi_bench.replay.runner import answer
    from imi_bench.stimuli.trial_files import read_trials

    chosen = load_observer(observer, device=device, dtype=dtype, seed=seed)
    read = read_trials(trials, network=network, skip_bad=skip_bad)
    _tell(read)
    done = answer(
        chosen,
        read,
        seed=seed,
        batch_size=batch_size,
        out=out,
        cache=cache,
        force=force,
    )
    if done.reused:
        note(f"{out} holds this very run already: nothing was computed (--force runs it again)")
    for damaged in done.record["cache"]["damaged"] if not done.reused else ():
        note(f"damaged file in the cache: {damaged}")
    _show(done, out, as_json=as_json)


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


def _show(done: Run, out: Path, *, as_json: bool) -> None:
    table = done.accuracy
    if as_json:
        print_json({"out": out, "reused": done.reused, "accuracy": table, "record": done.record})
        return
    record = done.record
    print_table(
        ["trials", "n", "correct", "95% Wilson interval"],
        [
            [name, str(e.n), f"{e.value:.3f}", f"{e.low:.3f} to {e.high:.3f}"]
            for parts in table.values()
            for name, e in parts.items()
        ],
        title=f"{done.decisions.observer}: proportion correct"
        + (" (simulated trials)" if record["simulated"] else ""),
        right=["n", "correct", "95% Wilson interval"],
    )
    counts = ", ".join(f"{n} {status}" for status, n in record["answers"]["by_status"].items() if n)
    images = record["images"]
    note(
        f"{record['trials']['count']} trials ({counts}); {images['distinct']} images, "
        f"{images['embedded']} embedded, {images['cache_hits']} from the cache; written to {out}"
    )
    for failure in record["answers"]["failures"][:5]:
        note(f"  failed: {failure['trial_id']}: {failure['message']}")
