"""`imi-bench doctor`: whether an observer keeps the contract."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imi_bench.cli.observer_options import Device, Dtype, ObserverName, WeightsFolder
from imi_bench.cli.output import AsJson, note, print_json, print_table
from imi_bench.errors import CheckFailedError


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
    from imi_bench.observers.doctor import examine

    report = examine(observer, trials, limit=limit, seed=seed, device=device, dtype=dtype)
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
