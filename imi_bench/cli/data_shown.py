"""What `imi-bench data` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from imi_bench.cli.output import note, print_json, print_table

if TYPE_CHECKING:
    from imi_bench.release.checks import Violation
    from imi_bench.release.conditions import ConditionMean
    from imi_bench.release.exclusions import Agreement, Exclusion
    from imi_bench.release.fetch import Fetched
    from imi_bench.release.table import ReleasedTable


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


def table_facts(table: ReleasedTable, *, hash_: str) -> dict[str, Any]:
    """Counts and hashes of a table."""
    rows = table.frame
    main = rows.loc[table.kept_as_released]
    return {
        "simulated": table.simulated,
        "rows": len(rows) + table.skipped,
        "rows_left_out_as_broken": table.skipped,
        "main_trials": int(table.main.sum()),
        "catch_trials": int((rows["catch_trial"] & ~rows["is_demo"]).sum()),
        "practice_trials": int(rows["is_demo"].sum()),
        "participants": int(rows["participant_id"].nunique()),
        "kept_answers": len(main),
        "kept_participants": int(main["participant_id"].nunique()),
        "units": len(main[["network", "layer", "channel"]].drop_duplicates()),
        "answers_without_response_time": int(main["seconds"].isna().sum()),
        "study_hash": hash_,
        "file_sha256": table.file_hash,
    }


def cell(value: object) -> str:
    """A value as people read it."""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def verified_record(
    table: ReleasedTable, checksum: str, judged: tuple[Agreement, ...], unreadable: dict[str, int]
) -> dict[str, Any]:
    """JSON object of one verified table."""
    return {
        "path": table.path,
        "checksum": checksum or None,
        "simulated": table.simulated,
        "rows": len(table) + table.skipped,
        "ok": not table.violations,
        "violations": [violation.to_json() for violation in table.violations],
        "unreadable_details": unreadable,
        "agreement": [vars(one) for one in judged],
    }


def show_verified(
    table: ReleasedTable, checksum: str, judged: tuple[Agreement, ...], unreadable: dict[str, int]
) -> None:
    """Print the verdict on one table."""
    made_up = ", simulated" if table.simulated else ""
    compared = f", checksum {checksum}" if checksum else ""
    verdict = f"{table.skipped:,} bad" if table.violations else "all as they should be"
    typer.echo(f"{table.path}: {len(table) + table.skipped:,} rows, {verdict}{compared}{made_up}")
    if table.violations:
        show_violations(table.violations)
    for column, count in unreadable.items():
        typer.echo(f"  {column}: {count} assignments with unreadable details")
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
            for one in judged
        ],
        title="Assignments: released verdict against the recomputed one",
        right=("both pass", "both fail", "only release", "only recomputed", "unknown"),
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
    )


def show_exclusions(excluded: Exclusion) -> None:
    """Print how many rows each rule drops."""
    counts = excluded.to_frame()
    rows = [
        (row.reason, f"{row.rows:,}", f"{row.rows_only:,}", f"{row.participants:,}")
        for row in counts[counts["rows"] > 0].itertuples()
    ]
    kept = int(excluded.kept.sum())
    people = excluded.participants[excluded.kept].nunique()
    print_table(
        ["reason", "rows", "for this alone", "participants"],
        [*rows, ("kept", f"{kept:,}", "", f"{people:,}")],
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
                f"{one.standard_errors_off:+.1f}" if one.published else "",
            )
            for one in means
        ],
        title="Proportion correct, mean over units" + (" (SIMULATED)" if simulated else ""),
        right=("units", "people", "SE off"),
    )
