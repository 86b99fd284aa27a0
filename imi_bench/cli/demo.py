"""`imi-bench demo`: the whole study on the embedded mini-benchmark."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imi_bench.cli.output import AsJson, interval_plot, new_folder, note, print_json, print_table
from imi_bench.stats.estimate import bracketed
from imi_bench.text import plural

if TYPE_CHECKING:
    from imi_bench.study import StudySoFar


def demo_command(
    out: Annotated[
        Path, typer.Option(help="Folder for trials, runs and report.html.", callback=new_folder)
    ],
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace other runs in --out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make simulated trials and participants, run the light observers, write a report.

    Needs no network and no torch. Uses two cores where there are two.
    """
    from imi_bench.beside import cores
    from imi_bench.study import STEPS, Plan, light_observers, run_study

    started = time.perf_counter()
    plan = Plan(out, light_observers(), seed=seed, force=force, processes=min(2, cores()))
    done = run_study(
        plan,
        tell=lambda step: note(f"[{STEPS.index(step) + 1}/{len(STEPS)}] {step.name}: {step.doc}"),
    )
    for name, why in done.skipped.items():
        note(f"not run: {name} ({why})")
    if as_json:
        print_json(done.told())
        return
    _show(done)
    note(f"{time.perf_counter() - started:.0f} s")
    typer.echo(f"Report: {done.page}")


def _show(done: StudySoFar) -> None:
    """The observers, best first, beside the panel."""
    from imi_bench.report.figures import PANEL
    from imi_bench.report.summary import Stratum
    from imi_bench.study import made

    summary, everything = made(done.summary), Stratum()
    labels = done.exhibit.labels
    rows = [["simulated panel", str(summary.correct[PANEL, everything]), "", ""]]
    names = summary.best_first(summary.scores)
    for name in names:
        found = [summary.scores[name].scores[part].estimate for part in ("unit_pearson", "bits")]
        rows.append([labels[name], str(summary.correct[name, everything]), *map(str, found)])
    size = summary.correct[names[0], everything]
    axis, drawn = interval_plot(
        [summary.correct[name, everything] for name in (PANEL, *names)], reference=0.5
    )
    print_table(
        ["observer", "proportion correct", axis, "r with the panel", "bits/answer above chance"],
        [[*row[:2], plot, *row[2:]] for row, plot in zip(rows, drawn, strict=True)],
        title=f"SIMULATED data: {size.n} trials of {plural(size.clusters, 'unit')}, "
        f"value [95% interval]; "
        "line: chance",
        right=["proportion correct", "r with the panel", "bits/answer above chance"],
        spare=[axis],
    )
    if done.learned is not None:
        frame = done.learned.to_frame()
        print_table(
            ["learned measure and its parts", "bits/answer above chance"],
            [
                [row["part"], bracketed(row["bits"], row["low"], row["high"])]
                for row in frame.to_dict("records")
            ],
            title=f"SIMULATED data, held out by {done.learned.by}: value [95% interval] where one "
            f"was computed; learned less best single {done.learned.difference} bits/answer",
        )
