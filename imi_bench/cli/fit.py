"""`imi-bench fit`: a mixed model from a formula and a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from imi_bench.cli.lapse import lapse_rate
from imi_bench.cli.output import AsJson, ending, note, print_json


def fit_command(
    formula: Annotated[
        str, typer.Argument(help='lme4 formula, such as "correct ~ mode + (1|unit)".')
    ],
    data: Annotated[
        Path, typer.Argument(help="CSV, TSV or Parquet. Quoted CSV columns hold labels.")
    ],
    family: Annotated[
        str, typer.Option(help="binomial, gaussian, or ordinal (ordered answers).")
    ] = "binomial",
    link: Annotated[str | None, typer.Option(help="logit or probit (binomial, ordinal).")] = None,
    method: Annotated[str, typer.Option(help="ML, or REML (gaussian).")] = "ML",
    nagq: Annotated[int, typer.Option(help="Quadrature nodes; 1 is Laplace.")] = 1,
    lapse: Annotated[
        str,
        typer.Option(
            help="Share of answers given blindly (binomial): P = lapse/2 + (1 - lapse) F(eta). "
            "A number such as 0.02, or estimate."
        ),
    ] = "0",
    thresholds: Annotated[str, typer.Option(help="flexible or symmetric (ordinal).")] = "flexible",
    levels: Annotated[
        str | None,
        typer.Option(help="The ordered answers, lowest first, with commas (ordinal)."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Trials behind each row's proportion, what the residual variance is divided by "
            "(gaussian), or how often a row was seen (ordinal): a column."
        ),
    ] = None,
    firth: Annotated[
        bool,
        typer.Option(
            "--firth", help="Bias-reduced fixed effects, finite also for separated answers (logit)."
        ),
    ] = False,
    latex: Annotated[bool, typer.Option("--latex", help="Print a LaTeX table.")] = False,
    save: Annotated[
        Path | None,
        typer.Option(
            help="Write everything as JSON, for `imi-bench model`.",
            callback=ending(".json", what="model"),
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fit a generalised linear mixed model.

    Rows with a missing value (NA or an empty field, as in R) are dropped and counted. Exit code
    1: the fit did not converge, or an effect has no finite estimate.
    """
    from imi_bench.glmm import fit as fit_model
    from imi_bench.glmm.saved import save_model
    from imi_bench.glmm.tables import read_table

    ordered = None if levels is None else [label.strip() for label in levels.split(",")]
    result = fit_model(
        formula,
        read_table(data),
        family=cast(Any, family),
        link=cast(Any, link),
        method=cast(Any, method),
        nagq=nagq,
        lapse=lapse_rate(lapse, "estimate"),
        thresholds=cast(Any, thresholds),
        levels=ordered,
        weights=weights,
    )
    if firth and result.design is not None:
        from imi_bench.glmm.firth import bias_reduced

        result = bias_reduced(result.design, options=result.options)
    for remark in result.remarks:
        note(remark)
    if save is not None:
        save_model(result, save, data=data, levels=ordered, weights=weights)
    if as_json:
        print_json(result)
    else:
        typer.echo(result.to_latex() if latex else result.summary(), nl=False)
    if not result.converged:
        note(f"warning: not converged: {result.reason}")
        raise typer.Exit(1)
