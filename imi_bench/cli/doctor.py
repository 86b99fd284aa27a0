"""`imi-bench doctor`: whether an observer keeps the contract."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imi_bench.cli.observer_options import Device, Dtype, ObserverName, WeightsFolder
from imi_bench.cli.output import AsJson, note, print_json, print_table
from imi_bench.errors import CheckFailedError

if TYPE_CHECKING:
    from imi_bench.tables import Trials


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command()(doctor)


def doctor(
    observer: ObserverName,
    trials: Annotated[
        Path | None, typer.Option(help="Trials to check on; made-up ones by default.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Use at most this many of them.")] = 16,
    seed: Annotated[int, typer.Option(help="Of sides and permutations.")] = 0,
    device: Device = "auto",
    dtype: Dtype = "float32",
    weights: WeightsFolder = None,
    as_json: AsJson = False,
) -> None:
    """Check the contract of an observer; exit with 1 where it fails."""
    from imi_bench.observers.catalogue import load_observer
    from imi_bench.observers.contract import check
    from imi_bench.observers.instances import Recipe

    chosen = load_observer(observer, device=device, dtype=dtype, seed=seed)
    recipe = Recipe(observer, device=device, dtype=dtype, seed=seed)
    report = check(chosen, _trials(trials, limit=limit, seed=seed), seed=seed, recipe=recipe)
    if as_json:
        print_json(report)
    else:
        print_table(
            ["property", "outcome", "detail"],
            [(p.name, p.outcome, p.detail) for p in report.properties],
            title=f"{report.observer}: {report.trials} trials over {report.images} images, "
            f"tolerance {report.tolerance:g}",
        )
    if not report.passed:
        failed = [p.name for p in report.properties if p.outcome == "fail"]
        raise CheckFailedError(
            "the contract does not hold", where=observer, found=", ".join(failed)
        )
    if not as_json:
        note(f"'{report.observer}' keeps the contract")


def _trials(path: Path | None, *, limit: int, seed: int) -> Trials:
    """Made-up trials, or the wanted number of those on disk, evenly spaced."""
    import numpy as np

    from imi_bench.observers.contract import sample_trials

    if path is None:
        return sample_trials(seed=seed, count=min(limit, 8))
    from imi_bench.stimuli.trial_files import read_trials

    trials = read_trials(path)
    kept = np.unique(np.linspace(0, len(trials) - 1, min(limit, len(trials))).astype(int))
    return trials.take(kept)
