"""What a released table holds, and whether it is as it should be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imi_bench.release.assignments import measure
from imi_bench.release.checks import Violation
from imi_bench.release.conditions import ConditionMean, condition_means
from imi_bench.release.exclusions import Agreement, Exclusion, agreement, exclude
from imi_bench.release.fetch import stored
from imi_bench.release.table import ReleasedTable, inspect_release, read_release
from imi_bench.results import Shown
from imi_bench.text import plural

if TYPE_CHECKING:
    import pandas as pd

_PREFERRED = ("responses_all.csv", "responses_main.csv")


@dataclass(frozen=True, repr=False)
class VerifiedTable(Shown):
    """A table held against the record's checksum, the schema and the recomputed exclusions.

    Attributes
    ----------
    path : Path
    checksum : str
        How its checksum compared with the record's; empty where there is none to compare with.
    simulated : bool
    rows : int
        All rows of the file.
    skipped : int
        Rows that break an expectation.
    violations : tuple of Violation
    in_part : int
        Assignments of which rows are missing, which are judged by their printed details.
    unreadable : dict
        Column to the number of assignments whose details cannot be read.
    agreement : tuple of Agreement
        Released verdicts on assignments against the recomputed ones.
    """

    path: Path
    checksum: str
    simulated: bool
    rows: int
    skipped: int
    violations: tuple[Violation, ...]
    in_part: int
    unreadable: dict[str, int]
    agreement: tuple[Agreement, ...]

    @property
    def ok(self) -> bool:
        """Whether no expectation is broken."""
        return not self.violations

    @property
    def title(self) -> str:
        """The verdict in one line."""
        made_up = ", simulated" if self.simulated else ""
        compared = f", checksum {self.checksum}" if self.checksum else ""
        verdict = "all as they should be" if self.ok else f"{self.skipped:,} bad"
        return f"{self.path}: {plural(self.rows, 'row')}, {verdict}{compared}{made_up}"

    def to_frame(self) -> pd.DataFrame:
        """One row for each criterion: released verdict against the recomputed one."""
        import pandas as pd

        return pd.DataFrame([vars(one) for one in self.agreement])

    def to_json(self) -> dict[str, Any]:
        """JSON object."""
        return {
            "path": self.path,
            "checksum": self.checksum or None,
            "simulated": self.simulated,
            "rows": self.rows,
            "ok": self.ok,
            "violations": [violation.to_json() for violation in self.violations],
            "assignments_in_part": self.in_part,
            "unreadable_details": self.unreadable,
            "agreement": [vars(one) for one in self.agreement],
        }


@dataclass(frozen=True, repr=False)
class TableDescription(Shown):
    """Counts of a table, what the published rules drop, and means beside the published ones.

    Attributes
    ----------
    table : ReleasedTable
    facts : dict
        Counts and hashes.
    exclusion : Exclusion
    means : tuple of ConditionMean
    """

    table: ReleasedTable
    facts: dict[str, Any]
    exclusion: Exclusion
    means: tuple[ConditionMean, ...]

    @property
    def title(self) -> str:
        """What this is, in one line."""
        kind = "SIMULATED answers" if self.table.simulated else "Released answers"
        return f"{kind}: {self.table.path.name}"

    def to_frame(self) -> pd.DataFrame:
        """One row for each condition."""
        import pandas as pd

        return pd.json_normalize([mean.to_json() for mean in self.means])

    def to_json(self) -> dict[str, Any]:
        """JSON object."""
        return {
            **self.facts,
            "exclusions": self.exclusion.to_frame().to_dict("records"),
            "kept": int(self.exclusion.kept.sum()),
            "conditions": [mean.to_json() for mean in self.means],
        }


def fetched_table() -> Path:
    """Return the fullest of the fetched tables.

    Raises
    ------
    InputError
        If none has been fetched.
    """
    by_name = {one.path.name: one.path for one in stored()}
    preferred = [by_name[name] for name in _PREFERRED if name in by_name]
    return [*preferred, *by_name.values()][0]


def verify_tables(file: str | Path | None = None) -> tuple[VerifiedTable, ...]:
    """Hold a table, or all that were fetched, against checksums, schema and exclusion rules.

    Parameters
    ----------
    file : str or Path, optional
        A released CSV table; the fetched ones by default.

    Raises
    ------
    ResponseError
        If a file is no such table at all.
    InputError
        If no table is named and none was fetched.

    Examples
    --------
    ``all(table.ok for table in verify_tables())``
    """
    if file is not None:
        return (_verified(Path(file), ""),)
    return tuple(_verified(one.path, one.checksum) for one in stored())


def _verified(path: Path, checksum: str) -> VerifiedTable:
    table = inspect_release(path)
    measures = measure(table)
    return VerifiedTable(
        path=path,
        checksum=checksum,
        simulated=table.simulated,
        rows=len(table) + table.skipped,
        skipped=table.skipped,
        violations=table.violations,
        in_part=int(measures.frame["in_part"].sum()),
        unreadable=measures.unreadable,
        agreement=agreement(measures),
    )


def describe_table(
    file: str | Path | None = None, *, skip_bad: bool = False, seed: int = 0
) -> TableDescription:
    """Describe a table: counts, exclusions, and means beside the published ones.

    Parameters
    ----------
    file : str or Path, optional
        A released CSV table; the fullest fetched one by default.
    skip_bad : bool
        Leave out and count the rows that break the schema.
    seed : int
        Of the bootstrap intervals.

    Raises
    ------
    ResponseError
        As `imi_bench.release.table.read_release`.
    InputError
        If no table is named and none was fetched.

    Examples
    --------
    ``describe_table("responses_main.csv").to_frame()``
    """
    table = read_release(fetched_table() if file is None else Path(file), skip_bad=skip_bad)
    measures = measure(table)
    excluded = exclude(table, measures=measures)
    study = table.study()
    in_part = int(measures.frame["in_part"].sum())
    return TableDescription(
        table, _facts(table, in_part, study.hash), excluded, condition_means(study, seed=seed)
    )


def _facts(table: ReleasedTable, in_part: int, study_hash: str) -> dict[str, Any]:
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
        "assignments_in_part": in_part,
        "kept_answers": len(main),
        "kept_participants": int(main["participant_id"].nunique()),
        "units": len(main[["network", "layer", "channel"]].drop_duplicates()),
        "answers_without_response_time": int(main["seconds"].isna().sum()),
        "study_hash": study_hash,
        "file_sha256": table.file_hash,
    }
