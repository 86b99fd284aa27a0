"""`imi-bench model`: what a saved mixed model says beyond its coefficients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from imi_bench.cli.model_shown import draw, number, p_value, print_rows, print_tests
from imi_bench.cli.output import AsJson, drawable, note, print_json, print_table, tabular
from imi_bench.text import plural

if TYPE_CHECKING:
    from imi_bench.glmm.result import GlmmResult

group = typer.Typer(
    no_args_is_help=True,
    help="Tests, means, predictions and checks of a model saved by `imi-bench fit --save`.",
)

Saved = Annotated[Path, typer.Argument(help="JSON of `imi-bench fit --save`.")]
Data = Annotated[Path | None, typer.Option(help="The model's table, where it is not where it was.")]
Level = Annotated[float, typer.Option(help="Coverage of the intervals.")]
Seed = Annotated[int, typer.Option(help="Of everything drawn.")]
Figure = Annotated[
    Path | None,
    typer.Option(help="Draw to this PNG, SVG or PDF.", callback=drawable(".png", ".svg", ".pdf")),
]
Over = Annotated[
    str,
    typer.Option(
        help="population (averaged over random effects), zero (a typical level) or conditional."
    ),
]
Scale = Annotated[str, typer.Option(help="response (probability, value) or link.")]
Above = Annotated[
    str | None, typer.Option(help="Ordered answers: the probability of a higher one than this.")
]


def _load(path: Path, data: Path | None) -> GlmmResult:
    from imi_bench.glmm.saved import load_model
    from imi_bench.glmm.tables import SIMULATED

    result = load_model(path, data=data)
    if not result.converged:
        note(f"warning: not converged: {result.reason}")
    for remark in result.remarks:
        if remark == SIMULATED:
            note(remark)
    return result


@group.command("anova")
def anova_command(
    models: Annotated[list[Path], typer.Argument(help="Two or more saved models.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Likelihood ratios of nested models of the same rows."""
    from imi_bench.glmm.comparison import anova

    first, *others = (_load(path, data) for path in models)
    found = anova(first, *others)
    if as_json:
        print_json(found.to_json())
        return
    print_table(
        ("model", "parameters", "logLik", "AIC", "BIC"),
        [
            [
                str(k + 1),
                row["parameters"],
                *(number(row[name], 2) for name in ("log_likelihood", "aic", "bic")),
            ]
            for k, row in enumerate(found.models)
        ],
        right=("parameters", "logLik", "AIC", "BIC"),
    )
    for k, row in enumerate(found.models):
        typer.echo(f"{k + 1}: {row['formula']}")
    print_table(
        ("", "chi-squared", "df", "p", "method"),
        [
            [
                f"{k + 2} against {k + 1}",
                number(t.statistic, 2),
                f"{t.df:g}",
                p_value(t.p),
                t.method,
            ]
            for k, t in enumerate(found.tests)
        ],
        right=("chi-squared", "df", "p"),
    )


@group.command("drop1")
def drop_command(saved: Saved, data: Data = None, as_json: AsJson = False) -> None:
    """Likelihood ratio of every fixed term that no interaction contains."""
    from imi_bench.glmm.comparison import drop_one

    tests = drop_one(_load(saved, data))
    if as_json:
        print_json(tests)
    else:
        print_tests(tests, title="Without one term")


@group.command("intervals")
def intervals_command(
    saved: Saved,
    method: Annotated[str, typer.Option(help="wald, profile or bootstrap.")] = "profile",
    effects: Annotated[
        list[str] | None, typer.Option("--effect", help="Only these fixed effects; repeatable.")
    ] = None,
    level: Level = 0.95,
    n: Annotated[int, typer.Option(help="Refits of the bootstrap.")] = 200,
    seed: Seed = 0,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Intervals of the fixed effects; a profile or bootstrap refits the model many times."""
    from imi_bench.glmm.intervals import intervals

    found = intervals(
        _load(saved, data), method=method, effects=effects, level=level, n=n, seed=seed
    )
    if found.failed:
        note(f"{found.failed} of {n} refits did not converge and are left out")
    if as_json:
        print_json(found)
    else:
        print_tests(found.tests, title=f"{level:.0%} intervals")


@group.command("variance")
def variance_command(
    saved: Saved,
    tests: Annotated[bool, typer.Option(help="Test each variance against zero.")] = True,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Where the variation is: intraclass correlations, R2, tests of variances against zero."""
    from imi_bench.glmm.comparison import variance_tests
    from imi_bench.glmm.variation import variation

    result = _load(saved, data)
    parts = variation(result)
    found = variance_tests(result).tests if tests else ()
    if as_json:
        print_json({**parts.to_json(), "tests": found})
        return
    print_table(
        ("part", "variance", "intraclass correlation"),
        [
            ["fixed effects", number(parts.fixed), ""],
            *([g, number(v), number(parts.intraclass[g])] for g, v in parts.groups.items()),
            ["an answer's own", number(parts.residual), ""],
        ],
        title=f"Variance on the scale of the linear predictor ({result.link})",
        right=("variance", "intraclass correlation"),
    )
    typer.echo(
        f"R2 (Nakagawa): {parts.marginal_r2:.3f} by fixed effects, "
        f"{parts.conditional_r2:.3f} with random effects\n"
    )
    if found:
        print_tests(found, title="Against a variance of zero", value="SD")


@group.command("starts")
def starts_command(
    saved: Saved,
    n: Annotated[int, typer.Option(help="Starts.")] = 8,
    seed: Seed = 0,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Fit again from scattered starts; exit 1 where the fit's own optimum is not to be trusted."""
    from imi_bench.glmm.restarts import restarts

    found = restarts(_load(saved, data), n=n, seed=seed)
    if as_json:
        print_json(found.to_json())
    else:
        print_table(
            ("start", "logLik", "below", "distance (SE)"),
            [
                [k + 1, number(a, 4), number(b, 6), number(c, 4)]
                for k, (a, b, c) in enumerate(found.to_frame().to_numpy().tolist())
            ],
            right=("logLik", "below", "distance (SE)"),
        )
        typer.echo(found.sentence)
    if not found.trustworthy:
        raise typer.Exit(1)


@group.command("correlation")
def correlation_command(saved: Saved, data: Data = None, as_json: AsJson = False) -> None:
    """Correlations of the fixed effects' estimates."""
    from imi_bench.glmm.variation import fixed_correlation

    frame = fixed_correlation(_load(saved, data))
    if as_json:
        print_json({"names": list(frame.columns), "correlation": frame.to_numpy().tolist()})
        return
    typer.echo(frame.round(2).to_string())


@group.command("ranef")
def ranef_command(
    saved: Saved,
    group: Annotated[str | None, typer.Option(help="Only this grouping factor.")] = None,
    level: Level = 0.95,
    plot: Figure = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Random effects with their intervals given the data; --plot draws a caterpillar."""
    from imi_bench.glmm.caterpillar import conditional_effects, draw_caterpillar

    result = _load(saved, data)
    frame = conditional_effects(result, group=group, level=level)
    if plot is not None:
        draw(draw_caterpillar(result, group=group, level=level), plot)
    if as_json:
        print_json({"level": level, "effects": frame.to_dict("records")})
        return
    print_table(
        ("group", "level", "effect", "value", "low", "high"),
        [
            [*row[:3], *(number(float(v)) for v in (row[3], row[5], row[6]))]
            for row in frame.to_numpy(dtype=object).tolist()
        ],
        right=("value", "low", "high"),
    )


@group.command("means")
def means_command(
    saved: Saved,
    variables: Annotated[list[str], typer.Argument(help="Variables of the fixed effects.")],
    at: Annotated[
        list[str] | None, typer.Option(help="Values, such as depth=0.2,0.8; repeatable.")
    ] = None,
    over: Over = "population",
    scale: Scale = "response",
    above: Above = None,
    contrasts: Annotated[bool, typer.Option(help="Pairwise differences too.")] = True,
    by: Annotated[
        str | None, typer.Option(help="Compare only means that share this variable's value.")
    ] = None,
    adjust: Annotated[
        str, typer.Option(help="holm, tukey, bonferroni or none, for the contrasts' p.")
    ] = "holm",
    people: Annotated[
        str | None, typer.Option(help="Draw the raw means of this factor's levels behind.")
    ] = None,
    level: Level = 0.95,
    plot: Figure = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Marginal means on the scale people read, and their contrasts."""
    from imi_bench.glmm.means import marginal_means, raw_means

    result = _load(saved, data)
    values = dict(_values(text) for text in at or [])
    found = marginal_means(
        result,
        *variables,
        at=values,
        over=cast(Any, over),
        scale=cast(Any, scale),
        above=above,
        level=level,
    )
    tests = found.contrasts(by=by, adjust=cast(Any, adjust)).tests if contrasts else ()
    if plot is not None:
        raw = raw_means(result, *variables, by=people) if people else None
        draw(found.plot(raw=raw).figure, plot)
    if as_json:
        print_json({**found.to_json(), "contrasts": tests})
        return
    print_table(
        (*variables, found.quantity, "SE", "low", "high"),
        [
            [*cell.values(), number(e), number(s), number(a), number(b)]
            for cell, e, s, a, b in zip(
                found.cells, found.estimate, found.se, found.low, found.high, strict=True
            )
        ],
        right=(found.quantity, "SE", "low", "high"),
    )
    if len(found.cells) > 1:
        typer.echo(f"intervals: {found.level:.0%} for each mean, whatever their number")
    if found.held:
        held = ", ".join(f"{name} = {value:.4g}" for name, value in found.held.items())
        typer.echo(f"held at their mean: {held}")
    if found.averaged:
        typer.echo(f"averaged over, levels equally: {', '.join(found.averaged)}")
    if tests:
        print_tests(tests, title="Differences")


def _values(text: str) -> tuple[str, list[str]]:
    from imi_bench.errors import InputError

    name, equals, values = text.partition("=")
    if not equals or not values:
        raise InputError("no values", where="--at", found=text, wanted="such as depth=0.2,0.8")
    return name.strip(), [value.strip() for value in values.split(",")]


@group.command("predict")
def predict_command(
    saved: Saved,
    rows: Annotated[
        Path | None,
        typer.Option(help="Other rows (CSV, TSV, Parquet); by default the model's."),
    ] = None,
    over: Over = "population",
    scale: Scale = "response",
    new_levels: Annotated[
        str, typer.Option(help="Levels the fit did not see, with conditional: refuse or zero.")
    ] = "refuse",
    above: Above = None,
    level: Level = 0.95,
    out: Annotated[
        Path | None,
        typer.Option(help="Write rows and predictions: .csv, .tsv, .parquet.", callback=tabular),
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Say what the model expects of rows, with intervals for the expectation."""
    from imi_bench.glmm.prediction import new_levels_listed, predict
    from imi_bench.glmm.tables import read_table
    from imi_bench.provenance import write_table

    result = _load(saved, data)
    table = None if rows is None else read_table(rows)
    found = predict(
        result,
        table,
        over=cast(Any, over),
        scale=cast(Any, scale),
        new_levels=cast(Any, new_levels),
        above=above,
        level=level,
    )
    if found.unknown.any():
        rows_with = plural(int(found.unknown.sum()), "row")
        listed = new_levels_listed(found.new)
        note(f"taken as zero, since the fit did not see them: {listed} ({rows_with})")
    frame = found.to_frame()
    if out is not None:
        source = table
        if source is None and result.design is not None:
            source = result.design.table
        if source is not None:
            clash = {name: f"{name}_predicted" for name in frame if name in source.columns}
            frame = source.reset_index(drop=True).join(frame.rename(columns=clash))
        write_table(out, frame)
        note(f"written to {out}")
    if as_json:
        print_json(found.to_json())
    elif out is None:
        print_rows(frame)


@group.command("simulate")
def simulate_command(
    saved: Saved,
    out: Annotated[
        Path,
        typer.Option(
            help="The model's rows with simulated answers: .csv, .tsv, .parquet.", callback=tabular
        ),
    ],
    n: Annotated[int, typer.Option(help="Simulated columns.")] = 1,
    seed: Seed = 0,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Draw random effects and answers from the model, in columns simulated_1 and so on."""
    from imi_bench.glmm.simulated import simulated_table
    from imi_bench.provenance import write_table

    found = simulated_table(_load(saved, data), n=n, seed=seed)
    write_table(out, found)
    if as_json:
        columns = [name for name in found if str(name).startswith("simulated_")]
        print_json({"table": out, "rows": len(found), "columns": columns, "seed": seed})
        return
    note(f"{plural(len(found), 'row')}, simulated, written to {out}")


@group.command("residuals")
def residuals_command(
    saved: Saved,
    n: Annotated[int, typer.Option(help="Simulated data sets.")] = 250,
    seed: Seed = 0,
    plot: Figure = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write every residual: .csv, .tsv, .parquet.", callback=tabular),
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Residuals by simulation with their tests; --plot draws the four figures."""
    from imi_bench.glmm.residuals import simulated_residuals
    from imi_bench.provenance import write_table

    found = simulated_residuals(_load(saved, data), n=n, seed=seed)
    if plot is not None:
        draw(found.plot()[0].figure, plot)
    if out is not None:
        write_table(out, found.to_frame())
        note(f"written to {out}")
    if as_json:
        print_json(found.to_json())
        return
    print_table(
        ("test", "times what is expected", "p"),
        [[test.name, number(test.estimate), p_value(test.p)] for test in found.tests],
        title=f"Residuals by simulation ({n} data sets)",
        right=("times what is expected", "p"),
    )


@group.command("influence")
def influence_command(
    saved: Saved,
    group: Annotated[str, typer.Argument(help="Grouping factor or column, such as network.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Fit again without each level in turn: changes in standard errors, Cook's distance."""
    from imi_bench.glmm.influence import influence

    found = influence(_load(saved, data), group)
    if as_json:
        print_json(found.to_json())
        return
    frame = found.to_frame()
    columns = [group, "Cook's distance", *found.names]
    print_table(
        columns,
        [[row[0], *(number(v, 2) for v in row[1:])] for row in frame.itertuples(index=False)],
        title="Without it: change of each estimate, in standard errors",
        right=columns[1:],
    )
    for level, reason in zip(found.levels, found.reasons, strict=True):
        if reason:
            typer.echo(f"without {level}: no estimate ({reason})")
