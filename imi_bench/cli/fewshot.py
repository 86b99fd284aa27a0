"""`imi-bench fewshot`: models that see K solved trials in their prompt answer one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imi_bench.cli.answers import say_which
from imi_bench.cli.observer_options import Device, Dtype
from imi_bench.cli.output import AsJson, new_folder, note, print_json, print_table
from imi_bench.errors import InputError

if TYPE_CHECKING:
    from imi_bench.fewshot.budget import Budget
    from imi_bench.fewshot.curves import FewShot


def fewshot_command(
    observer: Annotated[
        list[str], typer.Option(help="vlm:openai/MODEL?…, vlm:hf/PATH-OR-ID?…; several: a family.")
    ],
    trials: Annotated[
        Path, typer.Option(help="Folder of stimuli or tasks, trials.parquet or trials.csv.")
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for tables, page and record.", callback=new_folder)
    ],
    shots: Annotated[str, typer.Option(help="Numbers of solved trials.")] = "0,1,2,4,8,16",
    draws: Annotated[int, typer.Option(help="Draws of the solved trials.")] = 5,
    pool_units: Annotated[
        int | None,
        typer.Option(help="Units set aside for solved trials; the most shots if left out."),
    ] = None,
    shots_from: Annotated[
        str,
        typer.Option(help="any, same-network or same-layer: where solved trials come from."),
    ] = "any",
    near: Annotated[
        str,
        typer.Option(help="Tests with a picture nearly equal to a solved trial's: drop or keep."),
    ] = "drop",
    pool: Annotated[
        Path | None, typer.Option(help="Trials of other units and images, for the solved ones.")
    ] = None,
    ablation: Annotated[
        list[str] | None, typer.Option(help="Also with labels or images of the shots shuffled.")
    ] = None,
    responses: Annotated[
        str | None, typer.Option(help="Answers of people: a path, or `imi`.")
    ] = None,
    baseline: Annotated[
        list[Path] | None, typer.Option(help="Folder of a run on the same trials; several.")
    ] = None,
    parameters: Annotated[
        list[float] | None, typer.Option(help="Of each observer, in their order.")
    ] = None,
    images_of_training: Annotated[
        Path | None, typer.Option(help="Folder of pictures that the model was trained on.")
    ] = None,
    crops_by: Annotated[
        str | None, typer.Option(help="Observer whose codes find crops: efficientnet-lite0.")
    ] = None,
    ledger: Annotated[Path | None, typer.Option(help="File of answers; OUT/ledger.db.")] = None,
    max_requests: Annotated[int | None, typer.Option(help="Most requests of this call.")] = None,
    max_cost: Annotated[
        float | None, typer.Option(help="Most money in the ledger, in the currency of the prices.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be asked; ask nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Ask a server without asking you.")] = False,
    tokens_per_image: Annotated[
        int | None, typer.Option(help="What the server counts, for the estimate.")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Trials asked twice, for a flip rate.")] = 50,
    examples: Annotated[int, typer.Option(min=0, help="Prompts shown on the page.")] = 6,
    seed: Annotated[int, typer.Option(help="Of pool, draws and sides.")] = 0,
    network: Annotated[
        str, typer.Option(help="The network, where the folders do not tell it.")
    ] = "unnamed",
    device: Device = "auto",
    dtype: Dtype = "float32",
    force: Annotated[bool, typer.Option("--force", help="Replace another study in --out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Curves of accuracy against the number of solved trials in the prompt.

    A study that was stopped goes on where it was: run the same command again.
    """
    from imi_bench.fewshot.budget import budget
    from imi_bench.fewshot.design import Design
    from imi_bench.fewshot.loading import ledger_in, observers_of, parameters_of
    from imi_bench.fewshot.study import study
    from imi_bench.release.study_files import read_answers
    from imi_bench.report.fewshot import write_fewshot_page
    from imi_bench.stimuli.trial_files import read_trials

    counts = _counts(shots)
    design = Design(
        shots=counts,
        draws=draws,
        pool_units=max([*counts, 1]) if pool_units is None else pool_units,
        ablations=tuple(ablation or ()),  # type: ignore[arg-type]
        repeats=repeats,
        seed=seed,
        shots_from=shots_from,  # type: ignore[arg-type]
        near=near,  # type: ignore[arg-type]
    )
    kept = ledger_in(out, ledger, max_requests=max_requests, max_cost=max_cost)
    family = observers_of(observer, ledger=kept, device=device, dtype=dtype, seed=seed)
    read = read_trials(trials, network=network)
    source = None if pool is None else read_trials(pool, network=network)
    planned = budget(family, read, design=design, pool=source, tokens_per_image=tokens_per_image)
    _tell(planned, as_json=as_json and dry_run)
    if dry_run:
        return
    people = None if responses is None else read_answers(say_which(responses))
    if planned.asks_a_server and not yes:
        _ask()
    found = study(
        family,
        read,
        design=design,
        pool=source,
        people=people,
        baselines=baseline or (),
        parameters=parameters_of(family, _given(parameters, list(family))),
        images_of_training=images_of_training,
        crops_by=crops_by,
        out=out,
        force=force,
        tell=note,
    )
    page = write_fewshot_page(
        found, out, family=family, trials=read, design=design, pool=source, count=examples
    )
    _show(found, page, as_json=as_json)


def _counts(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        raise InputError("not numbers of shots", found=text, wanted="such as 0,1,2,4") from None


def _given(parameters: list[float] | None, names: list[str]) -> dict[str, float]:
    if parameters and len(parameters) != len(names):
        raise InputError(
            "parameters of some observers", found=len(parameters), wanted=f"{len(names)}, or none"
        )
    return dict(zip(names, parameters or (), strict=False))


def _tell(planned: Budget, *, as_json: bool) -> None:
    if as_json:
        print_json({"budget": planned.title, "table": planned.table, "notes": planned.notes})
        return
    for line in (planned.title, *planned.notes):
        note(line)


def _ask() -> None:
    if not sys.stdin.isatty():
        raise InputError(
            "nobody to ask whether this may be sent to a server", do="add --yes, or --dry-run"
        )
    typer.confirm("Ask the server?", abort=True, err=True)


def _show(found: FewShot, page: Path, *, as_json: bool) -> None:
    if as_json:
        lost = found.unanswered()
        told = {"simulated": found.simulated, "unanswered": int(lost["trials"].sum())}
        print_json({"page": page, **told, "points": found.to_frame(), "clean": found.on_clean()})
        return
    clean = found.on_clean().set_index(["observer", "shots", "ablation"])["clean"]
    print_table(
        ["observer", "shots", "correct", "95% interval", "clean", "answered", "says A"],
        [
            [
                p.observer if p.ablation == "none" else f"{p.observer}, {p.ablation} shuffled",
                str(p.shots),
                f"{p.accuracy.value:.3f}",
                f"{p.accuracy.low:.3f} to {p.accuracy.high:.3f}",
                f"{clean[(p.observer, p.shots, p.ablation)]:.3f}",
                f"{p.coverage:.1%}",
                f"{p.says_a:.0%}",
            ]
            for p in found.points
        ],
        title=found.title,
        right=["shots", "correct", "95% interval", "clean", "answered", "says A"],
    )
    for line in found.words():
        note(line)
    note(f"page: {page}")
