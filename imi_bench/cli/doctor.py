"""`imi-bench doctor`: whether an observer keeps the contract; what is installed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from imi_bench.cli.observer_options import Device, Dtype, WeightsFolder
from imi_bench.cli.output import AsJson, note, print_json, print_table
from imi_bench.errors import CheckFailedError, InputError
from imi_bench.text import plural


def doctor_command(
    observer: Annotated[
        str | None,
        typer.Option("--observer", help="A name of `imi-bench observers list`, or file.py:Class."),
    ] = None,
    this: Annotated[
        bool,
        typer.Option("--self", help="Show versions, platform, extras and cache folder instead."),
    ] = False,
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
    """Check the contract of an observer; exit with 1 where it fails.

    With --self, show what a report of a fault should begin with; it holds no secrets.
    """
    if this == (observer is not None):
        wanted = "one of --observer NAME and --self"
        raise InputError("what is to be looked at", found="both" if this else "none", wanted=wanted)
    if observer is None:
        _show_installation(as_json)
        return
    from imi_bench.observers.doctor import examine

    report = examine(observer, trials, limit=limit, seed=seed, device=device, dtype=dtype)
    if as_json:
        print_json(report)
    else:
        print_table(
            ["property", "outcome", "detail"],
            [(p.name, p.outcome, p.detail) for p in report.properties],
            title=f"{report.observer}: {plural(report.trials, 'trial')} over "
            f"{plural(report.images, 'image')}, "
            f"tolerance {report.tolerance:g}",
        )
    if not report.passed:
        failed = [p.name for p in report.properties if p.outcome == "fail"]
        raise CheckFailedError(
            "the contract does not hold", where=observer, found=", ".join(failed)
        )
    if not as_json:
        note(f"'{report.observer}' keeps the contract")


def _show_installation(as_json: bool) -> None:
    from imi_bench.installation import Installation

    here = Installation.of_this_process()
    extras = here.extras()
    if as_json:
        print_json({**dataclasses.asdict(here), "extras": extras})
        return
    facts = [
        ("imi-bench", here.version + (f", commit {here.commit}" if here.commit else "")),
        ("python", here.python),
        ("platform", f"{here.platform}, {here.cores} cores"),
        ("cache", here.cache + ("" if here.cache_exists else " (not there yet)")),
        *((f"extra {name}", found) for name, found in extras.items()),
        *here.environment.items(),
    ]
    print_table(["", ""], facts)
    rows = [(p.name, p.version or "absent", p.wanted, p.extra or "core") for p in here.packages]
    print_table(["package", "installed", "wanted", "of"], rows)
