"""What `imi-bench data` prints."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import typer

from imi_bench.cli.output import note, print_json, print_table
from imi_bench.text import plural

if TYPE_CHECKING:
    from imi_bench.release.checks import Violation
    from imi_bench.release.conditions import ConditionMean
    from imi_bench.release.description import TableDescription, VerifiedTable
    from imi_bench.release.fetch import Fetched
    from imi_bench.release.multiverse import Multiverse


def show_files(found: tuple[Fetched, ...], *, as_json: bool) -> None:
    """Print where each table is, and whether its checksum was compared."""
    if as_json:
        print_json({"files": [vars(one) for one in found]})
        return
    print_table(
        ["table", "bytes", "checksum", "how"],
        [(one.path, f"{one.size:,}", one.checksum, one.how) for one in found],
        right=("bytes",),
    )
    if any(one.checksum == "unverified" for one in found):
        note("no record.json at hand: checksums were not compared")


def cell(value: object) -> str:
    """A value as people read it."""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def show_verified(table: VerifiedTable) -> None:
    """Print the verdict on one table."""
    typer.echo(table.title)
    if not table.ok:
        show_violations(table.violations)
    if table.in_part:
        typer.echo(f"  {in_part(table.in_part)}")
    for column, count in table.unreadable.items():
        typer.echo(f"  {column}: {plural(count, 'assignment')} with unreadable details")
    print_table(
        ["criterion", "both pass", "both fail", "only release", "only recomputed", "unknown"],
        [
            (
                one.criterion,
                one.both_pass,
                one.both_fail,
                one.only_released,
                one.only_recomputed,
                one.unknown,
            )
            for one in table.agreement
        ],
        title="Assignments: released verdict against the recomputed one",
        right=("both pass", "both fail", "only release", "only recomputed", "unknown"),
    )


def in_part(count: int) -> str:
    """What is said of assignments of which the table lacks rows."""
    return (
        f"rows of {plural(count, 'assignment')} are missing: "
        "judged by the details printed in the others"
    )


def show_violations(violations: tuple[Violation, ...]) -> None:
    """Print each broken expectation with its first rows."""
    print_table(
        ["column", "problem", "rows", "such as rows", "found", "wanted"],
        [
            (
                one.column,
                one.problem,
                f"{len(one.rows):,}",
                ", ".join(map(str, one.rows[:8])),
                one.example,
                one.wanted,
            )
            for one in violations
        ],
        right=("rows",),
        spare=("such as rows",),
    )


def show_exclusions(found: TableDescription) -> None:
    """Print how many rows each rule drops."""
    counts = found.exclusions
    rows = [
        (row.reason, f"{row.rows:,}", f"{row.rows_only:,}", f"{row.participants:,}")
        for row in counts[counts["rows"] > 0].itertuples()
    ]
    print_table(
        ["reason", "rows", "for this alone", "participants"],
        [*rows, ("kept", f"{found.kept:,}", "", f"{found.kept_participants:,}")],
        title="Dropped by the published rules, recomputed",
        right=("rows", "for this alone", "participants"),
    )


def show_means(means: tuple[ConditionMean, ...], *, simulated: bool) -> None:
    """Print each condition beside its published mean."""

    def known_mean(one: ConditionMean) -> str:
        known = one.published
        return f"{known.value:.3f} [{known.low:.3f}, {known.high:.3f}]" if known else "–"

    print_table(
        [
            "network",
            "mode",
            "difficulty",
            "units",
            "answers/unit",
            "people",
            "mean [95%]",
            "published [95%]",
            "SE off",
        ],
        [
            (
                one.condition.network,
                one.condition.mode,
                one.condition.difficulty,
                one.units,
                "–".join(map(str, sorted(set(one.answers_per_unit)))),
                one.participants,
                one.mean,
                known_mean(one),
                "" if math.isnan(one.standard_errors_off) else f"{one.standard_errors_off:+.1f}",
            )
            for one in means
        ],
        title="Proportion correct, mean over units" + (" (SIMULATED)" if simulated else ""),
        right=("units", "people", "SE off"),
        spare=("people", "answers/unit", "SE off"),
    )


def show_multiverse(found: Multiverse) -> None:
    """Print each number over the universes."""

    def known(value: float, form: str) -> str:
        return "–" if math.isnan(value) else format(value, form)

    numbers: list[Any] = list(found.to_frame().itertuples())
    made_up = ", SIMULATED answers" if found.simulated else ""
    print_table(
        ["number", "published", "lowest", "median", "highest", "same sign", "moved most by", "by"],
        [
            (
                row.number,
                *(known(x, ".4f") for x in (row.published, row.lowest, row.median, row.highest)),
                known(row.same_sign, ".0%"),
                row.moved_by or "–",
                known(row.by, "+.4f"),
            )
            for row in numbers
        ],
        title=f"{found.analysis}: {plural(len(found.frame), 'universe')}, "
        f"{found.distinct} distinct{made_up}",
        right=("published", "lowest", "median", "highest", "same sign", "by"),
    )
    for row in numbers:
        if row.undefined:
            note(
                f"{row.number}: no number in {row.undefined} of "
                f"{plural(len(found.frame), 'universe')}"
            )
