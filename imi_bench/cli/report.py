"""`imi-bench report`: a page from what a demo or runs left on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imi_bench.cli.answers import say_which
from imi_bench.cli.output import AsJson, ending, note, print_json
from imi_bench.provenance import PAGES
from imi_bench.text import plural

if TYPE_CHECKING:
    from imi_bench.report.contents import ReportData
    from imi_bench.report.mis.page import MisPage
    from imi_bench.report.units.page import UnitsPage


def report_command(
    folder: Annotated[
        list[Path],
        typer.Argument(
            help="What `imi-bench demo`, `run`, `stimuli build` or `mis` wrote; several runs, or a "
            "folder of runs.",
        ),
    ],
    responses: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Human answers to these trials: released CSV, folder with responses.parquet, or "
            "`imi`.",
        ),
    ] = None,
    trials: Annotated[
        Path | None, typer.Option(help="Where the trials are now, if they were moved.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The page; report.html in the folder, or here for several, by default.",
            callback=ending(*PAGES, what="page"),
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of folds and resampling.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Write a self-contained page: figures, a table of observers, and a trial browser.

    Of a network's units, for what `stimuli build` wrote: figures, contact sheets and layers. For
    what `mis` wrote: scores by layer, the best and the worst units with their images.
    """
    from imi_bench.report.mis.page import MisPage
    from imi_bench.report.page import report as write_report
    from imi_bench.report.units.page import UnitsPage

    answers = None if responses is None else say_which(responses)
    page = write_report(folder, responses=answers, trials=trials, out=out, seed=seed)
    if isinstance(page, UnitsPage):
        record, notes = _of_units(page)
    elif isinstance(page, MisPage):
        record, notes = _of_scores(page)
    else:
        record, notes = _of_runs(page.exhibit)
    if as_json:
        print_json({"report": page.path, "bytes": page.path.stat().st_size, **record})
        return
    for line in notes:
        note(line)
    typer.echo(page.path)


Told = tuple[dict[str, Any], list[str]]
"""What a page says as JSON, and in lines."""


def _of_runs(data: ReportData) -> Told:
    missing = {run.name: int((~run.decisions.answered).sum()) for run in data.runs}
    record = {
        "simulated": data.simulated,
        "observers": [run.name for run in data.runs],
        "trials": len(data.trials),
        "answers": 0 if data.study is None else len(data.study.responses),
        "unanswered": missing,
    }
    people = "no human answers (--responses FILE adds them)"
    if data.study is not None:
        people = f"{plural(len(data.study.responses), 'answer')} of the {data.panel_name.lower()}"
    made_up = "SIMULATED data: images, units or answers were made up"
    notes = [made_up] if data.simulated else []
    count = len(data.machines)
    notes.append(f"{plural(count, 'observer')} on {plural(len(data.trials), 'trial')}; {people}")
    for name, lost in missing.items():
        if lost:
            notes.append(
                f"warning: {name}: {lost} of {plural(len(data.trials), 'trial')} have no answer"
            )
    return record, notes


def _of_units(page: UnitsPage) -> Told:
    built = page.built
    record = {
        "simulated": built.trials.simulated,
        "random_weights": built.random,
        "units": len(built.units),
        "trials": len(built.trials),
        "trials_drawn": page.sheets,
    }
    notes = ["SIMULATED data: the images were made up"] if built.trials.simulated else []
    if built.random:
        notes.append("RANDOM weights: nothing here says anything of a trained network")
    drawn = f"{page.sheets} of {plural(len(built.trials), 'trial')} drawn"
    return record, [*notes, f"{built.network}: {plural(len(built.units), 'unit')}, {drawn}"]


def _of_scores(page: MisPage) -> Told:
    scored = page.scored
    count, known = len(scored.scores), int(scored.scores[scored.measure].notna().sum())
    record = {
        "random_weights": scored.random,
        "observer_random": scored.observer_random,
        "units": count,
        "scored": known,
        "units_drawn": page.sheets,
        "without_images": scored.without_images or None,
    }
    notes = []
    if scored.random or scored.observer_random:
        whose = "network" if scored.random else "observer"
        notes.append(f"RANDOM weights of the {whose}: nothing here says anything of a trained one")
    if scored.without_images:
        notes.append(f"no images on the page: {scored.without_images}")
    line = f"{scored.network}: {known:,} of {plural(count, 'unit')} scored, {page.sheets} drawn"
    return record, [*notes, line]
