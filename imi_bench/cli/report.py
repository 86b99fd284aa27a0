"""`imi-bench report`: a page from what a demo or runs left on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imi_bench.cli.answers import say_which
from imi_bench.cli.output import AsJson, note, print_json
from imi_bench.text import plural

if TYPE_CHECKING:
    from imi_bench.report.mis.page import MisPage
    from imi_bench.report.units.page import UnitsPage


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command()(report)


def report(
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
        typer.Option(help="The page; report.html in the folder, or here for several, by default."),
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
        _say_units(page, as_json=as_json)
        return
    if isinstance(page, MisPage):
        _say_scores(page, as_json=as_json)
        return
    data = page.exhibit
    if as_json:
        print_json(
            {
                "report": page.path,
                "bytes": page.path.stat().st_size,
                "simulated": data.simulated,
                "observers": [run.name for run in data.runs],
                "trials": len(data.trials),
                "answers": 0 if data.study is None else len(data.study.responses),
                "unanswered": {run.name: int((~run.decisions.answered).sum()) for run in data.runs},
            }
        )
        return
    if data.simulated:
        note("SIMULATED data: images, units or answers were made up")
    people = "no human answers (--responses FILE adds them)"
    if data.study is not None:
        people = f"{len(data.study.responses):,} answers of the {data.panel_name.lower()}"
    count = len(data.machines)
    note(f"{plural(count, 'observer')} on {len(data.trials):,} trials; {people}")
    for run in data.runs:
        if missing := int((~run.decisions.answered).sum()):
            note(f"warning: {run.name}: {missing} of {len(data.trials)} trials have no answer")
    typer.echo(page.path)


def _say_units(page: UnitsPage, *, as_json: bool) -> None:
    built = page.built
    if as_json:
        print_json(
            {
                "report": page.path,
                "bytes": page.path.stat().st_size,
                "simulated": built.trials.simulated,
                "random_weights": built.random,
                "units": len(built.units),
                "trials": len(built.trials),
                "trials_drawn": page.sheets,
            }
        )
        return
    if built.trials.simulated:
        note("SIMULATED data: the images were made up")
    if built.random:
        note("RANDOM weights: nothing here says anything of a trained network")
    note(
        f"{built.network}: {len(built.units)} units, {page.sheets} of {len(built.trials):,} "
        "trials drawn"
    )
    typer.echo(page.path)


def _say_scores(page: MisPage, *, as_json: bool) -> None:
    scored = page.scored
    known = int(scored.scores[scored.measure].notna().sum())
    if as_json:
        print_json(
            {
                "report": page.path,
                "bytes": page.path.stat().st_size,
                "random_weights": scored.random,
                "observer_random": scored.observer_random,
                "units": len(scored.scores),
                "scored": known,
                "units_drawn": page.sheets,
                "without_images": scored.without_images or None,
            }
        )
        return
    if scored.random or scored.observer_random:
        whose = "network" if scored.random else "observer"
        note(f"RANDOM weights of the {whose}: nothing here says anything of a trained one")
    if scored.without_images:
        note(f"no images on the page: {scored.without_images}")
    note(f"{scored.network}: {known:,} of {len(scored.scores):,} units scored, {page.sheets} drawn")
    typer.echo(page.path)
