"""`imi-bench effects`: does scale matter, and the paper's other questions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imi_bench.cli.answers import Answers
from imi_bench.cli.answers import people as answers_of
from imi_bench.cli.output import AsJson, note, print_json, print_table
from imi_bench.provenance import plain

if TYPE_CHECKING:
    import pandas as pd

    from imi_bench.effects.effect import Effects
    from imi_bench.effects.likeness import Difference
    from imi_bench.glmm.posthoc import PostHoc
    from imi_bench.tables import DecisionVariables, Study


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("effects")(effects_command)


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
        float, typer.Option(help="Smallest effect of interest: log-odds over a property's span.")
    ] = 0.35,
    out: Annotated[
        Path | None, typer.Option(help="Folder for CSV, LaTeX, R script, JSON and figure.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the bootstrap over units.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Answer the paper's questions by mixed models, beside the paper's own tests.

    Each answer has an estimate in log-odds, an interval and a test. What varies only between
    networks is tested on as many degrees of freedom as networks allow.
    """
    from imi_bench.effects.analysis import analyse
    from imi_bench.effects.groups import compare_networks
    from imi_bench.effects.table import people_table
    from imi_bench.glmm.tables import read_table
    from imi_bench.release.study_files import answers_path
    from imi_bench.tables import DecisionVariables

    path, study = answers_path(responses), answers_of(responses)
    own = None if networks is None else read_table(networks)
    layers = None if columns is None else read_table(columns)
    table = people_table(study, columns=layers)
    people = analyse(table, networks=own, truth=_truth(path), interest=interest)
    if own is not None and (other := set(own["network"]) - set(people.properties.index)):
        note(f"not analysed, though in {networks}: {', '.join(sorted(map(str, other)))}")
    groups = compare_networks(table, seed=seed)
    machines = [
        _observer(DecisionVariables.read(one), study, people, own, layers, interest)
        for one in decisions or ()
    ]
    if out is not None:
        _write(people, groups, machines, out)
    if as_json:
        print_json(_record(people, groups, machines))
        return
    _print_effects(people)
    _print_groups(groups)
    for effects, found in machines:
        _print_effects(effects)
        _print_differences(effects.who, found)


def _truth(path: Path) -> Any:
    from imi_bench.effects.truth import read_truth
    from imi_bench.release.table import truth_path

    beside = truth_path(path)
    return read_truth(beside) if path.suffix == ".csv" and beside.is_file() else None


def _observer(
    decisions: DecisionVariables,
    study: Study,
    people: Effects,
    own: pd.DataFrame | None,
    layers: pd.DataFrame | None,
    interest: float,
) -> tuple[Effects, list[Difference]]:
    import numpy as np

    from imi_bench.effects.analysis import analyse
    from imi_bench.effects.likeness import differences
    from imi_bench.effects.table import observer_table
    from imi_bench.errors import NotComparableError

    if not np.isin(decisions.trial_id, study.trials.trial_id).any():
        raise NotComparableError(
            "the observer answered none of people's trials",
            where=decisions.observer,
            found=f"trials such as {decisions.trial_id[0]}",
            wanted=f"such as {study.trials.trial_id[0]}",
            do="run it on the trials that people answered",
        )
    table = observer_table(
        decisions, study.trials, columns=layers, simulated=study.responses.simulated
    )
    effects = analyse(table, networks=own, interest=interest)
    return effects, differences(effects, people)


def _write(
    people: Effects,
    groups: dict[str, PostHoc],
    machines: list[tuple[Effects, list[Difference]]],
    out: Path,
) -> None:
    from imi_bench.effects.export import export
    from imi_bench.provenance import write_json
    from imi_bench.report.effects import draw_effects

    export(people, out, groups=groups)
    draw_effects(people, out / "effects.png")
    for effects, found in machines:
        folder = out / effects.who
        export(effects, folder)
        draw_effects(effects, folder / "effects.png")
        write_json(folder / "differences.json", plain([one.to_json() for one in found]))
    note(f"written to {out}")


def _record(
    people: Effects, groups: dict[str, PostHoc], machines: list[tuple[Effects, list[Difference]]]
) -> dict[str, Any]:
    return {
        **people.to_json(),
        "groups": {mode: found.to_json() for mode, found in groups.items()},
        "observers": [
            {**effects.to_json(), "differences": [one.to_json() for one in found]}
            for effects, found in machines
        ],
    }


def _print_effects(effects: Effects) -> None:
    from imi_bench.effects.effect import DEFAULT_METHOD

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
            _p(test.p),
            _p(effect.p_holm),
            effect.networks,
        ]
        rows.append([*row, _number(effect.truth)] if truths else row)
    print_table(
        [*header, "true value"] if truths else header,
        rows,
        title=f"Effects: {effects.who} ({effects.answers:,} answers{made_up})",
        right=("log-odds", "p", "p (Holm)", "networks", "true value"),
    )
    for effect in effects.effects:
        typer.echo(f"{effect.question} {effect.sentence}")
    for gone in effects.left_out:
        typer.echo(f"Left out: {gone}.")
    typer.echo(
        f"\nmodel: {effects.formula}\ninference: {DEFAULT_METHOD}\n"
        "p (Holm): adjusted within scale and family, within interactions with scale, and within "
        "all others; the sentences state p unadjusted\n"
    )


def _p(value: float) -> str:
    if value != value:
        return "-"
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"


def _interval(low: float, high: float) -> str:
    return "-" if low != low else f"[{low:+.3f}, {high:+.3f}]"


def _number(value: float) -> str:
    return "-" if value != value else f"{round(value, 3) + 0.0:+.3f}"


def _print_groups(groups: dict[str, PostHoc]) -> None:
    for mode, found in groups.items():
        typer.echo(
            f"The paper's tests, {mode}: Kruskal-Wallis H = {found.statistic:.1f}, "
            f"p = {found.p:.2g}; {len(found.different)} pairs differ (Conover, Holm)"
        )
        print_table(
            ["network", "mean", "95% interval", "units"],
            [
                [one.name, f"{one.mean:.3f}", f"[{one.low:.3f}, {one.high:.3f}]", one.n]
                for one in found.means
            ],
            right=("mean", "units"),
        )


def _print_differences(who: str, found: list[Difference]) -> None:
    print_table(
        ["effect", who, "people", "difference", "95% interval", "p", "p (Holm)"],
        [
            [
                one.key,
                _number(one.observer),
                _number(one.people),
                _number(one.test.estimate),
                _interval(one.test.low, one.test.high),
                _p(one.test.p),
                _p(one.p_holm),
            ]
            for one in found
        ],
        title=f"Does {who} show people's effects?",
        right=(who, "people", "difference", "p", "p (Holm)"),
    )
