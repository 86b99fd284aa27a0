"""`imi-bench learn`: a measure learnt from people's answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from imi_bench.cli.answers import Answers, say_which
from imi_bench.cli.output import AsJson, new_folder, note, print_json, print_table
from imi_bench.errors import InputError
from imi_bench.stats.estimate import bracketed
from imi_bench.text import printable

if TYPE_CHECKING:
    from imi_bench.measure.result import Learned


def learn_command(
    decisions: Annotated[list[Path], typer.Option(help="Output folder of a run; repeat it.")],
    responses: Answers,
    by: Annotated[Literal["unit", "network"], typer.Option(help="What a fold holds out.")] = "unit",
    head: Annotated[
        Literal["observer", "measure"],
        typer.Option(
            metavar="HEAD",
            help="`observer`, blind, or `measure`, told each trial's mode and difficulty.",
        ),
    ] = "observer",
    trials: Annotated[
        Path | None, typer.Option(help="Trials with pictures: shared ones, features of the sets.")
    ] = None,
    features_from: Annotated[
        str | None, typer.Option(help="Encoder of the features of the sets (needs --trials).")
    ] = None,
    columns: Annotated[
        Path | None, typer.Option(help="CSV or Parquet: covariates by unit (measure head).")
    ] = None,
    baseline: Annotated[
        list[str] | None, typer.Option(help="Observer that the best single may be; repeat it.")
    ] = None,
    drop_shared: Annotated[
        bool, typer.Option("--drop-shared", help="Drop what shares pictures with the test fold.")
    ] = False,
    linear: Annotated[
        bool, typer.Option("--linear", help="A weighted sum: no squash, no features.")
    ] = False,
    name: Annotated[str, typer.Option(help="Of the learned observer.")] = "learned",
    boot: Annotated[int, typer.Option(help="Bootstrap draws for weights.", min=0)] = 200,
    curves: Annotated[
        int, typer.Option(help="Draws a point of the learning curves; 0 for none.", min=0)
    ] = 2,
    boosting: Annotated[
        bool | None,
        typer.Option(
            "--boosting/--no-boosting",
            help="Gradient boosting among the choices (measure head; from 200 units by default).",
        ),
    ] = None,
    new_decisions: Annotated[
        list[Path] | None,
        typer.Option(help="Runs of the same observers on other units, to score the fit on."),
    ] = None,
    new_responses: Annotated[
        Path | None, typer.Option(help="People's answers about those units.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of folds and draws.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; --observer takes it.", callback=new_folder)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Learn a measure of several observers from people; score it on units it never saw."""
    from imi_bench.measure.learned import learn
    from imi_bench.provenance import plain
    from imi_bench.scores.strata import read_columns
    from imi_bench.stimuli.trial_files import read_trials

    found = learn(
        decisions,
        say_which(responses),
        by=by,
        head=head,
        trials=None if trials is None else read_trials(trials),
        features_from=features_from,
        covariates=None if columns is None else read_columns(columns),
        baseline=baseline,
        drop_shared=drop_shared,
        linear=linear,
        name=name,
        n_boot=boot,
        curves=curves,
        boosting=boosting,
        seed=seed,
    )
    if (new_decisions is None) != (new_responses is None):
        raise InputError("half of another study", wanted="--new-decisions and --new-responses")
    moved = None
    if new_decisions is not None and new_responses is not None:
        moved = found.transfer(new_decisions, new_responses)
    if out is not None:
        found.write(out)
        note(f"written to {out}: learned.json, predictions.parquet, scores.json, learned.html")
    for line in found.notes:
        note(f"note: {line}")
    if as_json:
        print_json(found if moved is None else {**found.to_json(), "transfer": plain(moved)})
        return
    _show(found)
    if moved is not None:
        note(
            f"on the other study: {moved.bits} bits an answer, {moved.difference} above the "
            f"{'best single observer' if head == 'observer' else 'base rate'}"
        )


def _show(found: Learned) -> None:
    typer.echo(printable(found.title))
    frame = found.to_frame()
    print_table(
        ("part", "bits an answer", "weight"),
        [
            (
                row["part"],
                bracketed(row["bits"], row["low"], row["high"]),
                bracketed(row["weight"], row["weight low"], row["weight high"]),
            )
            for row in frame.to_dict("records")
        ],
        title=f"value [{found.bits.level:.0%} interval] where one was computed",
    )
    note(
        f"against equal weights {found.against_equal}; expected calibration error {found.ece} "
        f"(by noise alone {found.ece_by_noise}); "
        f"people predict one another at {found.ceiling}, share {found.share_of_ceiling}"
    )
    if found.curves is not None:
        note(found.curves.advice)
