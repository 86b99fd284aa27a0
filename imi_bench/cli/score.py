"""`imi-bench calibrate`, `score`, `compare`: machine observers beside people."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from imi_bench.cli.answers import Answers, say_which
from imi_bench.cli.output import AsJson, ending, interval_plot, note, print_json, print_table
from imi_bench.stats.estimate import bracketed
from imi_bench.text import plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imi_bench.choice.calibration import Calibration, SlopesAsked
    from imi_bench.scores.compare import Comparison
    from imi_bench.scores.report import ScoreLine, ScoreReport
    from imi_bench.stats.estimate import Estimate

Decisions = Annotated[Path, typer.Option(help="Output folder of a run, or its decisions.parquet.")]
By = Annotated[
    Literal["unit", "network"], typer.Option(help="What a calibration fold keeps together.")
]
Folds = Annotated[int | None, typer.Option(help="Folds [10 by unit, one a network by network].")]
Link = Annotated[Literal["logit", "probit"], typer.Option(help="Link of the choice model.")]
Seed = Annotated[int, typer.Option(help="Of folds, split halves and draws.")]
Resamples = Annotated[
    int,
    typer.Option(
        help="Draws for the intervals of scores that are not smooth (network correlations).",
        min=0,
    ),
]
Uncalibrated = Annotated[
    bool, typer.Option("--uncalibrated", help="Slope 1, no lapse: fit nothing to people.")
]


def calibrate_command(
    decisions: Decisions,
    responses: Answers,
    by: By = "unit",
    folds: Folds = None,
    link: Link = "logit",
    slopes: Annotated[
        str,
        typer.Option(
            metavar="WORD",
            help="common, by-mode or pooled-by-mode: one slope, one a mode, or these drawn to "
            "their mean.",
        ),
    ] = "common",
    lapse: Annotated[float | None, typer.Option(help="Hold the lapse at this value.")] = None,
    robust: Annotated[
        bool,
        typer.Option(
            "--robust/--no-robust",
            help="Values out of scale count as nothing said; a lapse is at least 0.01.",
        ),
    ] = True,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write the calibration here (JSON).", callback=ending(".json", what="calibration")
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fit an observer's choice model to people, once for each fold held out."""
    from imi_bench.choice.calibrate import calibrate
    from imi_bench.tables import DecisionVariables

    given = DecisionVariables.read(decisions)
    made = calibrate(
        given,
        say_which(responses),
        by=by,
        n_folds=folds,
        link=link,
        slopes=cast("SlopesAsked", slopes),
        lapse=lapse,
        seed=seed,
        robust=robust,
    )
    if out is not None:
        made.write(out)
        note(f"calibration written to {out}")
    if as_json:
        print_json(made)
    else:
        _print_calibration(made)
        _warn({made.observer: made.unanswered}, len(given))


def score_command(
    decisions: Decisions,
    responses: Answers,
    calibration: Annotated[
        Path | None, typer.Option(help="From `calibrate --out`; fitted afresh by default.")
    ] = None,
    uncalibrated: Uncalibrated = False,
    calibrate_by: By = "unit",
    by: Annotated[
        list[str] | None, typer.Option(help="Stratum: mode, difficulty, network, or a column.")
    ] = None,
    columns: Annotated[
        Path | None,
        typer.Option(help="CSV or Parquet: network, layer (unit), columns such as type."),
    ] = None,
    resamples: Resamples = 2000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Score an observer against people: agreement, likelihood, calibration, consistency."""
    from imi_bench.scores.report import score

    report = score(
        decisions,
        say_which(responses),
        calibration=calibration,
        uncalibrated=uncalibrated,
        calibrate_by=calibrate_by,
        by=by if by is not None else ("mode", "difficulty"),
        columns=columns,
        seed=seed,
        n_resamples=resamples,
    )
    if as_json:
        print_json(report)
    else:
        _print_report(report)


def compare_command(
    decisions: Annotated[list[Path], typer.Argument(help="Two or more runs.")],
    responses: Answers,
    uncalibrated: Uncalibrated = False,
    calibrate_by: By = "unit",
    score: Annotated[
        list[str] | None, typer.Option(help="Score to compare; the main ones by default.")
    ] = None,
    resamples: Resamples = 2000,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Compare observers on the same trials: paired differences, Holm-adjusted within each score."""
    from imi_bench.scores.compare import COMPARED, compare

    found = compare(
        decisions,
        say_which(responses),
        uncalibrated=uncalibrated,
        calibrate_by=calibrate_by,
        scores=score or COMPARED,
        seed=seed,
        n_resamples=resamples,
    )
    if as_json:
        print_json(found)
    else:
        _print_comparison(found)


def _print_calibration(made: Calibration) -> None:
    named = [
        ("overall", made.overall),
        *((f"without fold {k}", f) for k, f in enumerate(made.fits)),
    ]
    rows = [
        (
            name,
            *map(_short, fit.slopes.values()),
            _short(fit.bias),
            _short(fit.lapse),
            fit.n,
            fit.clusters,
            fit.state,
        )
        for name, fit in named
        if fit is not None
    ]
    groups = made.overall.slopes if made.overall is not None else {}
    slopes = [f"slope ({g})" if g != "all" else "slope" for g in groups]
    print_table(
        ("fit", *slopes, "bias", "lapse", "answers", "units", "state"),
        rows,
        title=f"{made.observer}: {made.label}" + (" (simulated answers)" if made.simulated else ""),
        right=("answers", "units"),
    )
    if made.overall is not None:
        for name in ("bias", "lapse"):
            found = getattr(made.overall, name)
            if found.reason:
                note(f"{name}: {found.reason}")


def _short(found: Estimate) -> str:
    return f"{found.value:z.3f} (no interval)" if found.low != found.low else str(found)


def _print_report(report: ScoreReport) -> None:
    print_table(
        ("score", "value", "95% interval", "resolvable", "ceiling", ""),
        [(name.replace("_", " "), *_cells(line)) for name, line in report.scores.items()],
        title=report.title,
        right=("value", "resolvable", "ceiling"),
        spare=("resolvable",),
    )
    _warn({report.observer: report.unanswered}, report.trials)
    for by, split in report.strata.items():
        shown = ("proportion_correct", "unit_pearson", "bits", "error_consistency")
        print_table(
            (by, *(name.replace("_", " ") for name in shown)),
            [(level, *(lines[name].estimate for name in shown)) for level, lines in split.items()],
            title="value [95% interval]",
        )
    print_table(
        ("people", "value [95% interval]"),
        [(name.replace("_", " "), found) for name, found in report.ceilings.items()],
    )
    note(
        f"intervals: jackknife over units, and over participants for scores of single answers; "
        f"seed {report.seed}, {report.n_resamples} draws. resolvable: smallest difference "
        "between two observers seen with 80 % power at two-sided 5 %."
    )


def _cells(line: ScoreLine) -> tuple[Any, ...]:
    found = line.estimate
    if found.value != found.value:
        return "undefined", found.reason, "", "", ""
    interval = f"{found.low:z.3f} to {found.high:z.3f}" if found.low == found.low else found.reason
    ceiling = "" if line.ceiling is None else f"{line.ceiling.value:z.3f}"
    flag = "above its ceiling" if line.above_ceiling else ""
    return f"{found.value:z.3f}", interval, bracketed(line.resolvable), ceiling, flag


def _print_comparison(found: Comparison) -> None:
    axis, drawn = interval_plot([one.difference for one in found.differences], reference=0.0)
    print_table(
        ("score", "first", "second", "values", "difference", axis, "p", "p (Holm)", "resolvable"),
        [
            (
                one.score.replace("_", " "),
                one.first,
                one.second,
                f"{one.values[0]:z.3f}, {one.values[1]:z.3f}",
                one.difference,
                plot,
                "" if math.isnan(one.p) else f"{one.p:.4f}",
                "" if math.isnan(one.p_holm) else f"{one.p_holm:.4f}",
                bracketed(one.resolvable),
            )
            for one, plot in zip(found.differences, drawn, strict=True)
        ],
        title=f"{found.title}; line: no difference",
        right=("p", "p (Holm)", "resolvable"),
        spare=("resolvable", "p", axis, "values"),
    )
    _warn(found.unanswered, found.trials)


def _warn(unanswered: Mapping[str, int], trials: int) -> None:
    """Answers that an observer owes stand below every table that counts them."""
    for name, missing in unanswered.items():
        if missing:
            note(
                f"warning: {name} gave no answer on {missing} of {plural(trials, 'trial')} "
                "(where trials are scored, each counts one half)"
            )
