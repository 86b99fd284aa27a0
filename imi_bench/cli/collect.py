"""`imi-bench collect …`: people answer the same trials in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imi_bench.cli.output import AsJson, new_folder, note, print_json, tabular
from imi_bench.text import plural

Database = Annotated[Path, typer.Option("--db", help="The database that `collect serve` keeps.")]
OneMode = Annotated[str | None, typer.Option(help="natural or synthetic; both if not given.")]
TrialsFolder = Annotated[Path, typer.Option("--trials", help="Folder or table of trials.")]
NetworkName = Annotated[
    str, typer.Option(help="Name of the network where the folder does not tell it.")
]
PerTask = Annotated[int, typer.Option(help="Main trials of one person.")]

group = typer.Typer(no_args_is_help=True, help="People answer the same trials in a browser.")


@group.command("serve")
def serve_command(
    trials: TrialsFolder,
    db: Database,
    practice: Annotated[
        Path | None, typer.Option(help="Practice trials of your own; else made from references.")
    ] = None,
    network: NetworkName = "unnamed",
    kind: Annotated[str, typer.Option(help="choice, rating or intruder.")] = "choice",
    mode: OneMode = None,
    per_task: PerTask = 40,
    per_unit: Annotated[int, typer.Option(help="Answers wanted for each unit and condition.")] = 30,
    assignments: Annotated[int, typer.Option(help="People a task is given to.")] = 3,
    catch: Annotated[int, typer.Option(help="Attention checks among the main trials.")] = 5,
    practice_trials: Annotated[int, typer.Option(help="Practice trials in a round.")] = 5,
    feedback: Annotated[
        bool, typer.Option(help="Tell people after each answer if it was right.")
    ] = True,
    lease: Annotated[float, typer.Option(help="Minutes away until a place is given up.")] = 60.0,
    rules: Annotated[
        str, typer.Option(help="Whose answers are kept: published (the paper's criteria) or none.")
    ] = "published",
    title: Annotated[str, typer.Option(help="Shown to people.")] = "Which image matches?",
    contact: Annotated[str, typer.Option(help="Whom people may ask.")] = "",
    completion_code: Annotated[str, typer.Option(help="Of the recruiting platform.")] = "",
    no_consent_code: Annotated[str, typer.Option(help="Likewise, where consent is refused.")] = "",
    host: Annotated[
        str, typer.Option(help="Where to listen; the default is this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 8000,
    open_door: Annotated[
        bool, typer.Option("--open/--links-only", help="Whether people need a link of their own.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Of the tasks.")] = 0,
) -> None:
    """Serve trials to people and keep their answers."""
    from imi_bench.collect.experiment import Plan
    from imi_bench.collect.server import read, rules_named, serve

    plan = Plan(
        kind=kind,  # type: ignore[arg-type]
        mode=mode,
        per_task=per_task,
        per_unit=per_unit,
        assignments=assignments,
        catch=catch,
        practice=practice_trials,
        feedback=feedback,
        lease_minutes=lease,
        rules=rules_named(rules),
        seed=seed,
        title=title,
        contact=contact,
        completion_code=completion_code,
        no_consent_code=no_consent_code,
    )
    running = serve(
        read(trials, network=network),
        db=db,
        plan=plan,
        practice=practice,
        host=host,
        port=port,
        open_door=open_door,
    )
    for line in running.experiment.notes():
        note(f"note: {line}")
    note(f"{plural(len(running.experiment.tasks), 'task')} for {assignments} people each")
    note(f"people:       {running.url}/" + ("" if open_door else "?t=… (see `collect links`)"))
    note(f"experimenter: {running.experimenter_url}")
    note("Ctrl-C stops; every acknowledged answer is on disk, and serving again goes on")
    running.wait()


@group.command("status")
def status_command(db: Database, as_json: AsJson = False) -> None:
    """Say how far a collection is."""
    from imi_bench.collect.progress_report import status
    from imi_bench.collect.store import Store

    found = status(Store(db))
    if as_json:
        print_json(found.to_json())
    else:
        typer.echo(found.summary())


@group.command("links")
def links_command(
    count: Annotated[int, typer.Argument(metavar="N", help="How many.")],
    db: Database,
    base: Annotated[
        str, typer.Option(help="Where people reach the server.")
    ] = "http://127.0.0.1:8000",
    as_json: AsJson = False,
) -> None:
    """Print links for single participants."""
    from imi_bench.collect.links import links
    from imi_bench.collect.store import Store

    made = links(Store(db), count, base=base)
    print_json({"links": list(made)}) if as_json else typer.echo("\n".join(made))


@group.command("export")
def export_command(
    db: Database,
    out: Annotated[
        Path,
        typer.Option(
            help="The table to write: .csv (which --responses reads), .tsv, .parquet.",
            callback=tabular,
        ),
    ] = Path("responses.csv"),
    as_json: AsJson = False,
) -> None:
    """Write the answers as a table like the released one."""
    from imi_bench.collect.experiment import NO_RULES
    from imi_bench.collect.response_table import export_any
    from imi_bench.collect.store import Store
    from imi_bench.release.exclusions import Rules

    store = Store(db)
    table = export_any(store, out)
    if Rules.from_json(store.plan["rules"]) == Rules():
        note(f"note: {NO_RULES}")
    kept = int(table["passed_checks"].sum()) if "passed_checks" in table else len(table)
    people = int(table["participant_id"].nunique())
    if as_json:
        print_json({"table": out, "rows": len(table), "participants": people, "kept": kept})
        return
    note(
        f"{out}: {plural(len(table), 'row')}, {plural(people, 'participant')}, "
        f"{plural(kept, 'row')} of those whose answers are kept"
    )


@group.command("static")
def static_command(
    trials: TrialsFolder,
    out: Annotated[Path, typer.Option(help="Folder to write.", callback=new_folder)],
    network: NetworkName = "unnamed",
    mode: OneMode = None,
    per_task: PerTask = 40,
    task: Annotated[int, typer.Option(help="Which task, from 1.")] = 1,
    feedback: Annotated[
        bool, typer.Option(help="Tell people if they were right; the page then holds the key.")
    ] = True,
    seed: Annotated[int, typer.Option(help="Of the tasks and the order.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Write one task as a folder for JATOS and similar hosts."""
    from imi_bench.collect.experiment import Experiment, Plan
    from imi_bench.collect.server import read
    from imi_bench.collect.static import write_static

    plan = Plan(mode=mode, per_task=per_task, feedback=feedback, seed=seed)
    experiment = Experiment(read(trials, network=network), plan)
    told = [*experiment.notes(), *write_static(experiment, out, task=task)]
    if as_json:
        print_json({"page": out / "index.html", "notes": told})
        return
    for line in told:
        note(f"note: {line}")
    note(f"{out / 'index.html'}")


@group.command("import")
def import_command(
    results: Annotated[list[Path], typer.Argument(metavar="RESULT...", help="JSON files.")],
    key: Annotated[Path, typer.Option(help="The key that `collect static` left.")],
    db: Database,
    as_json: AsJson = False,
) -> None:
    """Put results of static pages into a database."""
    from imi_bench.collect.static import read_static

    _, added = read_static(results, key=key, db=db)
    if as_json:
        print_json({"database": db, "added": added, "of": len(results)})
        return
    note(
        f"{db}: {added} of {len(results)} results added"
        + (", the others were there" if added < len(results) else "")
    )
