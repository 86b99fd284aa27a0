"""`imi-bench data …`: the released human answers, or simulated ones of the same form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imi_bench.cli.data_pinned import forerunner, show_info, verified
from imi_bench.cli.data_pinned import show_verified as show_forerunner
from imi_bench.cli.data_shown import (
    cell,
    in_part,
    show_exclusions,
    show_files,
    show_means,
    show_multiverse,
    show_verified,
)
from imi_bench.cli.output import (
    AsJson,
    drawable,
    ending,
    new_folder,
    note,
    print_json,
    print_table,
    tabular,
)
from imi_bench.documents import read_json
from imi_bench.errors import CheckFailedError, InputError, UnknownNameError

group = typer.Typer(no_args_is_help=True, help="Fetch, check, describe and simulate human answers.")

File = Annotated[
    Path | None,
    typer.Argument(
        help="A released CSV table, or borowski2021, borowski2021-II; the fetched ones by default."
    ),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out and count rows that break the schema.")
]


@group.command()
def fetch(
    dataset: Annotated[
        str, typer.Argument(help="imi, or borowski2021 (the forerunner, 33 people).")
    ] = "imi",
    from_: Annotated[
        Path | None, typer.Option("--from", help="Take CSV tables fetched by hand from here.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(help="Folder; the platform's cache by default.", callback=new_folder),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(envvar="IMI_BENCH_RECORD_URL", help="Address of the record's API."),
    ] = None,
    attempts: Annotated[int, typer.Option(min=1, help="Failures in a row before giving up.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Download the released tables (DOI 10.5281/zenodo.8131197); interrupted, it goes on later.

    The forerunner's come from a pinned commit of its repository, by checksums shipped here.
    """
    from imi_bench.release.download import Patience
    from imi_bench.release.fetch import RECORD_URL, fetch, fetch_from
    from imi_bench.release.pinned import BOROWSKI, DATASETS, fetch_pinned

    UnknownNameError.unless_among(dataset, DATASETS, kind="dataset")
    if dataset == BOROWSKI:
        found = fetch_pinned(to, source=from_, patience=Patience(attempts=attempts))
    elif from_ is not None:
        found = fetch_from(from_, to)
    else:
        found = fetch(to, url=url or RECORD_URL, patience=Patience(attempts=attempts))
    show_files(found, as_json=as_json)


@group.command()
def verify(
    file: File = None,
    record: Annotated[
        bool, typer.Option("--record", help="Print the lines to paste into published.toml.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Write a page for a bug report (.md): no answers of people in it.",
            callback=ending(".md", what="bug report"),
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check tables against the record's checksums and the schema; exit 1 if a check fails."""
    from imi_bench.release.description import verify_tables

    if record or report is not None:
        _for_maintainers(file, report)
        return
    if (other := forerunner(file)) is not None:
        if as_json:
            print_json({"files": [verified(other)]})
        else:
            show_forerunner(other)
        if not other.as_published:
            raise CheckFailedError("not the pinned table", where=other.path)
        return
    tables = verify_tables(file)
    if as_json:
        print_json({"files": tables})
    else:
        for table in tables:
            show_verified(table)
    failed = [f"{t.path.name}: {len(t.violations)} expectations broken" for t in tables if not t.ok]
    if failed:
        raise CheckFailedError("the tables are not as they should be", found="; ".join(failed))


@group.command()
def info(
    file: File = None,
    skip_bad: SkipBad = False,
    seed: Annotated[int, typer.Option(help="For the bootstrap intervals.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Describe a table: counts, exclusions, and means beside the published ones."""
    from imi_bench.release.description import describe_table

    if (other := forerunner(file)) is not None:
        show_info(other, as_json=as_json)
        return
    found = describe_table(file, skip_bad=skip_bad, seed=seed)
    if as_json:
        print_json(found)
        return
    print_table(
        ["fact", "value"],
        [(n.replace("_", " "), cell(v)) for n, v in found.facts.items()],
        title=found.title,
    )
    show_exclusions(found)
    if count := found.facts["assignments_in_part"]:
        note(in_part(count))
    show_means(found.means, simulated=found.simulated)


@group.command()
def simulate(
    out: Annotated[
        Path,
        typer.Option(
            help="CSV table to write; its truth goes to NAME.truth.json beside it.",
            callback=ending(".csv", what="CSV table"),
        ),
    ],
    seed: Annotated[int, typer.Option(help="The same seed gives the same table.")] = 0,
    parameters: Annotated[
        Path | None,
        typer.Option(help='JSON file of parameters, such as {"study": {"lapse": 0.05}}.'),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the table at --out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Simulate a study in the released format, with the real design's size and known truth."""
    from imi_bench.simulation.release import ReleaseParameters, simulate_release, write_release

    if out.exists() and not force:
        raise InputError(
            "file exists", where=out, do="choose another --out, or replace it with --force"
        )
    record = read_json(parameters) if parameters else {}
    if not isinstance(record, dict):
        raise InputError("not a JSON object", where=parameters, found=type(record).__name__)
    release = simulate_release(ReleaseParameters.from_json(record), seed=seed)
    table, truth = write_release(release, out)
    facts = {
        "simulated": True,
        "table": table,
        "truth": truth,
        "rows": len(release.frame),
        "participants": release.frame["participant_id"].nunique(),
        "trials": len(release.truth.trials),
        "conditions": len(release.truth.intercepts),
        "seed": seed,
    }
    if as_json:
        print_json(facts)
    else:
        rows = [(name, cell(value)) for name, value in facts.items()]
        print_table(["fact", "value"], rows, title="SIMULATED answers")


@group.command()
def multiverse(
    file: File = None,
    analysis: Annotated[
        str, typer.Option(help="means, networks, scale, kruskal; references.")
    ] = "means",
    rules: Annotated[
        str | None, typer.Option(help="Vary only these rules, separated by commas.")
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            help="Draw the first (or --number) number: .png, .svg or .pdf.",
            callback=drawable(".png", ".svg", ".pdf"),
        ),
    ] = None,
    number: Annotated[str | None, typer.Option(help="Which number to draw.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write every universe: .csv, .tsv, .parquet.", callback=tabular),
    ] = None,
    skip_bad: SkipBad = False,
    as_json: AsJson = False,
) -> None:
    """Re-run an analysis under all combinations of stricter, published and laxer rules."""
    from imi_bench.provenance import write_table
    from imi_bench.release.description import fetched_table
    from imi_bench.release.multiverse import CHOICES, run_multiverse, universes
    from imi_bench.release.table import read_release

    other = forerunner(file)
    if other is not None:
        from imi_bench.release.borowski_rules import RULES, borowski_multiverse

        varied = tuple(rules.split(",")) if rules else tuple(RULES)
        found = borowski_multiverse(other, analysis, rules=varied)
    else:
        varied = tuple(rules.split(",")) if rules else tuple(CHOICES)
        among = universes(varied)
        table = read_release(file or fetched_table(), skip_bad=skip_bad)
        found = run_multiverse(table, analysis, among=among)
    if out is not None:
        write_table(out, found.frame)
    if figure is not None:
        from imi_bench.report.multiverse import draw_multiverse

        draw_multiverse(found, figure, number=number)
    if as_json:
        print_json({**found.to_json(), "figure": figure, "table": out})
    else:
        show_multiverse(found)


def _for_maintainers(file: Path | None, report: Path | None) -> None:
    """Print the record's checksums, or write the page for a bug report."""
    from imi_bench.release.bug_report import write_bug_report
    from imi_bench.release.fetch import checksum_lines, stored

    if report is None:
        typer.echo(checksum_lines(stored()))
        return
    paths = [one.path for one in stored()] if file is None else [file]
    typer.echo(str(write_bug_report(paths, report)))
