"""`imi-bench effects`: does scale matter, and the paper's other questions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imi_bench.cli.answers import Answers, say_which
from imi_bench.cli.lapse import lapse_rate
from imi_bench.cli.model_shown import p_value
from imi_bench.cli.output import AsJson, new_folder, note, print_json, print_prose, print_table
from imi_bench.errors import InputError
from imi_bench.text import plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    from imi_bench.effects.effect import Effects, ObserverEffects
    from imi_bench.glmm.posthoc import PostHoc

_INTEREST = 0.35


def effects_command(
    responses: Answers,
    decisions: Annotated[
        list[Path] | None,
        typer.Option(help="An observer's run: its effects, and how they differ from people's."),
    ] = None,
    networks: Annotated[
        Path | None,
        typer.Option(
            help="CSV: network, then any of parameters, training_images, top1 (a fraction), year, "
            "architecture, training."
        ),
    ] = None,
    columns: Annotated[
        Path | None, typer.Option(help="CSV: network, layer (unit), depth, type, width.")
    ] = None,
    interest: Annotated[
        float,
        typer.Option(
            help="Smallest effect of interest: log-odds for tenfold, ten points or ten years."
        ),
    ] = _INTEREST,
    lapse: Annotated[
        str,
        typer.Option(
            help="Share of people's answers given blindly, in the link: a number, estimate, or "
            "catch (twice the error rate on catch trials)."
        ),
    ] = "0",
    ordinal: Annotated[
        bool, typer.Option("--ordinal", help="Six ordered answers: side and confidence.")
    ] = False,
    firth: Annotated[
        bool, typer.Option("--firth", help="Bias-reduced: keep networks without a wrong answer.")
    ] = False,
    times: Annotated[
        bool, typer.Option("--times", help="Response times instead: what makes people slow.")
    ] = False,
    slowest: Annotated[
        float | None, typer.Option(help="With --times: leave out slower answers (seconds).")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for CSV, LaTeX, R script, JSON and figure.", callback=new_folder),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap over units.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Answer the paper's questions by mixed models, beside the paper's own tests.

    Each answer has an estimate in log-odds, an interval and a test. What varies only between
    networks is tested on as many degrees of freedom as networks allow.
    """
    from imi_bench.effects.study import effects

    if times:
        beside = {
            "--decisions": bool(decisions),
            "--networks": networks is not None,
            "--interest": interest != _INTEREST,
            "--lapse": lapse != "0",
            "--ordinal": ordinal,
            "--firth": firth,
            "--out": out is not None,
        }
        if given := [name for name, is_given in beside.items() if is_given]:
            raise InputError(
                f"--times takes no {' and no '.join(given)}", do="ask for one of them at a time"
            )
    elif slowest is not None:
        raise InputError("--slowest is about response times", do="give --times too")
    say_which(responses)
    if times:
        _times(responses, columns, slowest, as_json=as_json)
        return
    found = effects(
        responses,
        decisions=decisions or (),
        networks=networks,
        columns=columns,
        interest=interest,
        lapse=lapse_rate(lapse, "estimate", "catch"),
        ordinal=ordinal,
        firth=firth,
        seed=seed,
    )
    for line in found.notes:
        note(line)
    if out is not None:
        from imi_bench.report.effects import write_effects

        note(f"written to {write_effects(found, out)}")
    if as_json:
        print_json({"groups": {}, "observers": [], **found.to_json()})
        return
    _print_effects(found)
    _print_groups(found.groups)
    for one in found.observers:
        _print_effects(one.effects)
        if one.differences:
            _print_differences(one)


def _times(
    responses: Answers, columns: Path | None, slowest: float | None, *, as_json: bool
) -> None:
    from imi_bench.effects.times import response_times

    found = response_times(responses, columns=columns, slowest=slowest)
    for line in found.notes:
        note(line)
    if as_json:
        record = found.to_frame().to_dict("records")
        print_json(
            {
                "tests": record,
                "medians": found.medians,
                "excluded": found.excluded,
                "n": found.n,
                "formula": found.formula,
                "simulated": found.simulated,
            }
        )
        return
    print_table(
        ["effect", "times as long", "95% interval", "test", "p", "p (Holm)"],
        [
            [
                row["effect"],
                f"{row['ratio']:.3f}",
                f"[{row['low']:.3f}, {row['high']:.3f}]",
                row["method"],
                p_value(row["p"]),
                p_value(row["p_holm"]),
            ]
            for row in found.to_frame().to_dict("records")
        ],
        title=found.title,
        right=("times as long", "p", "p (Holm)"),
    )
    for name, value in found.medians.items():
        typer.echo(f"median, {name}: {value:.2f} s")
    typer.echo(f"model: {found.formula} (Gaussian, REML)")


def _print_effects(effects: Effects) -> None:
    made_up = ", simulated" if effects.simulated else ""
    truths = any(effect.truth == effect.truth for effect in effects.effects)
    header = ["effect", "log-odds", "95% interval", "test", "p", "p (Holm)", "networks"]
    rows = []
    for effect in effects.effects:
        test = effect.test
        row = [
            effect.key,
            _number(test.estimate),
            _interval(test.low, test.high),
            test.method,
            p_value(test.p),
            p_value(effect.p_holm),
            effect.networks,
        ]
        rows.append([*row, _number(effect.truth)] if truths else row)
    print_table(
        [*header, "true value"] if truths else header,
        rows,
        title=f"Effects: {effects.who} ({plural(effects.n, 'answer')}{made_up})",
        right=("log-odds", "p", "p (Holm)", "networks", "true value"),
        spare=("networks", "p"),
    )
    for effect in effects.effects:
        print_prose(f"- {effect.question} {effect.sentence}")
    for gone in effects.left_out:
        typer.echo(f"Left out: {gone}.")
    typer.echo(
        f"\nmodel: {effects.formula}\ninference: {effects.method}\n"
        "p (Holm): adjusted for all questions; scale and family, interactions with scale, and all "
        "others share the level equally; a sentence claims only what survives that\n"
    )


def _interval(low: float, high: float) -> str:
    return "-" if low != low else f"[{low:+.3f}, {high:+.3f}]"


def _number(value: float) -> str:
    return "-" if value != value else f"{round(value, 3) + 0.0:+.3f}"


def _print_groups(groups: Mapping[str, PostHoc]) -> None:
    for mode, found in groups.items():
        typer.echo(
            f"The paper's tests, {mode}: Kruskal-Wallis H = {found.statistic:.1f}, "
            f"p = {found.p:.2g}; "
            f"{plural(len(found.different), 'pair differs', 'pairs differ')} (Conover, Holm)"
        )
        print_table(
            ["network", "correct", "95% interval", "units"],
            [
                [one.name, f"{one.mean:.3f}", f"[{one.low:.3f}, {one.high:.3f}]", one.n]
                for one in found.means
            ],
            right=("correct", "units"),
        )


def _print_differences(found: ObserverEffects) -> None:
    who = found.effects.who
    print_table(
        ["effect", who, "people", "difference", "95% interval", "p", "p (Holm)"],
        [
            [
                one.key,
                _number(one.observer),
                _number(one.people),
                _number(one.test.estimate),
                _interval(one.test.low, one.test.high),
                p_value(one.test.p),
                p_value(one.p_holm),
            ]
            for one in found.differences
        ],
        title=found.title,
        right=(who, "people", "difference", "p", "p (Holm)"),
    )
