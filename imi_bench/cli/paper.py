"""`imi-bench paper`: the paper, figure by figure, from the answers of people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imi_bench.cli.answers import Answers, say_which
from imi_bench.cli.output import AsJson, new_folder, print_json


def paper_command(
    responses: Answers,
    out: Annotated[
        Path, typer.Option(help="Folder: page, figures, tables, record.", callback=new_folder)
    ],
    decisions: Annotated[
        list[Path] | None, typer.Option(help="An observer's run, to stand beside people.")
    ] = None,
    stimuli: Annotated[
        Path | None,
        typer.Option(help="Trials with images: shows the easiest and hardest units."),
    ] = None,
    ordinal: Annotated[
        bool, typer.Option(help="Fit the model of six ordered answers as well.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Of bootstraps and split halves.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Draw the paper: twelve questions, each with its answer, figures, numbers and code.

    Of people's answers: `imi`, `borowski2021`, a released or simulated table, a study.
    """
    from imi_bench.report.paper.page import paper

    say_which(responses)
    done = paper(
        responses,
        decisions=decisions or (),
        out=out,
        stimuli=stimuli,
        ordinal=ordinal,
        seed=seed,
    )
    if as_json:
        print_json(
            {
                "page": done.path,
                "simulated": done.simulated,
                "panels": done.to_frame().to_dict("records"),
            }
        )
        return
    typer.echo(done.summary())
    typer.echo(str(done.path))
