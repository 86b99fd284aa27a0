"""`imi-bench power`: how large a study must be to see a scale effect."""

from __future__ import annotations

from typing import Annotated

import typer

from imi_bench.cli.output import AsJson, print_json, print_table


def power_command(
    slope: Annotated[
        float, typer.Option(help="Log-odds for one unit of the covariate (tenfold parameters).")
    ],
    networks: Annotated[int, typer.Option(help="Networks.")] = 9,
    units: Annotated[int, typer.Option(help="Units of each network.")] = 84,
    answers_per_unit: Annotated[int, typer.Option(help="Answers to each unit.")] = 30,
    answers_per_participant: Annotated[int, typer.Option(help="Answers of each person.")] = 40,
    spread: Annotated[
        float, typer.Option(help="Standard deviation of the covariate over networks.")
    ] = 0.38,
    mean: Annotated[float, typer.Option(help="Proportion correct of a typical unit.")] = 0.83,
    unit_sd: Annotated[float, typer.Option(help="Between units, log-odds.")] = 0.9,
    participant_sd: Annotated[float, typer.Option(help="Between people, log-odds.")] = 0.4,
    network_sd: Annotated[float, typer.Option(help="Between networks, log-odds.")] = 0.2,
    chosen: Annotated[
        bool,
        typer.Option("--chosen", help="Networks of exactly that spread, not a sample with it."),
    ] = False,
    wanted: Annotated[float, typer.Option(help="Power to reach.")] = 0.8,
    alpha: Annotated[float, typer.Option(help="Level of the two-sided test.")] = 0.05,
    as_json: AsJson = False,
) -> None:
    """Say whether a study sees a slope, and how many networks or units it would take."""
    from imi_bench.glmm.power import Plan, size_study

    plan = Plan(
        networks=networks,
        units=units,
        answers_per_unit=answers_per_unit,
        answers_per_participant=answers_per_participant,
        spread=spread,
        mean=mean,
        unit_sd=unit_sd,
        participant_sd=participant_sd,
        network_sd=network_sd,
        chosen=chosen,
    )
    found = size_study(plan, slope=slope, wanted=wanted, alpha=alpha)
    if as_json:
        print_json(found)
        return
    rows = found.to_frame().itertuples(index=False, name=None)
    print_table(["quantity", "value"], [*rows], title=found.title)
