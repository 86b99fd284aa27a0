"""`imi-bench power`: how large a study must be to see a scale effect."""

from __future__ import annotations

from typing import Annotated

import typer

from imi_bench.cli.output import AsJson, print_json, print_table


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("power")(power_command)


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
    from imi_bench.glmm.power import Plan, needed_networks, needed_units, power, smallest_slope

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
    found = power(plan, slope=slope, alpha=alpha)
    more = {
        "smallest_slope": smallest_slope(plan, wanted=wanted, alpha=alpha),
        "needed_networks": needed_networks(plan, slope=slope, wanted=wanted, alpha=alpha),
        "needed_units": needed_units(plan, slope=slope, wanted=wanted, alpha=alpha),
        "wanted": wanted,
    }
    if as_json:
        print_json({**found.to_json(), **more})
        return
    none = "no number suffices"
    least = more["smallest_slope"]
    smallest = "none is" if least is None else f"{least:.3f}"
    print_table(
        ["quantity", "value"],
        [
            [
                "study",
                f"{networks} networks x {units} units x {answers_per_unit} answers = "
                f"{plan.answers:,} answers by {plan.participants:,} people",
            ],
            ["standard error of the slope", f"{found.se:.3f} log-odds"],
            [f"power to see a slope of {slope:g}", f"{found.power:.1%} (alpha {alpha:g})"],
            [f"power to show that it is below {slope:g}", f"{found.equivalence:.1%} (none true)"],
            [f"smallest slope seen with {wanted:.0%}", smallest],
            [f"networks for {wanted:.0%}, the rest equal", more["needed_networks"] or none],
            [f"units of each network for {wanted:.0%}", more["needed_units"] or none],
        ],
        title="Power of the two-stage t between networks"
        + (" of exactly that spread" if chosen else ", themselves a sample"),
    )
