"""What a released table holds, and whether it is as it should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from imi_bench.arguments import checked
from imi_bench.plots import Interval, bars, forest
from imi_bench.release.assignments import measure
from imi_bench.release.checks import Violation
from imi_bench.release.conditions import ConditionMean, condition_means
from imi_bench.release.exclusions import Agreement, agreement, exclude
from imi_bench.release.fetch import stored
from imi_bench.release.table import ReleasedTable, inspect_release, read_release
from imi_bench.results import Result
from imi_bench.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PREFERRED = ("responses_all.csv", "responses_main.csv")


@dataclass(frozen=True, repr=False)
class VerifiedTable(Result):
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
        return pd.DataFrame([vars(one) for one in self.agreement])

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw how many assignments are judged unlike the release, by criterion."""
        unlike = {one.criterion: float(one.disagree) for one in self.agreement}
        return bars(unlike, xlabel="assignments judged unlike the release", title=self.title, ax=ax)

    def to_json(self) -> dict[str, Any]:
        """JSON object, with the verdict."""
        return {**super().to_json(), "ok": self.ok}


@dataclass(frozen=True, repr=False)
class TableDescription(Result):
    """Counts of a table, what the published rules drop, and means beside the published ones.

    Attributes
    ----------
    name : str
        Of the file.
    simulated : bool
    facts : dict
        Counts and hashes.
    exclusions : DataFrame
        What each rule drops; see `Exclusion.to_frame`.
    kept, kept_participants : int
        Rows that stay, and people who answered them.
    means : tuple of ConditionMean
    """

    name: str
    simulated: bool
    facts: dict[str, Any]
    exclusions: pd.DataFrame
    kept: int
    kept_participants: int
    means: tuple[ConditionMean, ...]

    @property
    def title(self) -> str:
        """What this is, in one line."""
        kind = "SIMULATED answers" if self.simulated else "Released answers"
        return f"{kind}: {self.name}"

    def to_frame(self) -> pd.DataFrame:
        """One row for each condition."""
        return pd.json_normalize([mean.to_json() for mean in self.means])

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the mean of each condition with its interval; a tick is the published mean."""
        rows = [
            Interval(", ".join(vars(c.condition).values()), c.mean.value, c.mean.low, c.mean.high)
            for c in self.means
        ]
        ax = forest(rows, xlabel="proportion correct; | published", title=self.title, ax=ax)
        for place, one in enumerate(self.means):
            if one.published is not None:
                ax.plot([one.published.value], [place], "|", color="0.3", markersize=12)
        return ax

    def to_json(self) -> dict[str, Any]:
        """JSON object: the facts stand beside the rest."""
        record = super().to_json()
        exclusions = self.exclusions.to_dict("records")
        shown = {"exclusions": exclusions, "kept": record.pop("kept")}
        facts, means = record.pop("facts"), record.pop("means")
        return {**facts, **shown, **record, "conditions": means}

    @classmethod
    def _as_fields(cls, found: Mapping[str, Any]) -> dict[str, Any]:
        own = {one.name for one in fields(cls)} | {"kinds", "conditions"}
        facts = {name: value for name, value in found.items() if name not in own - {"simulated"}}
        return {**found, "facts": facts, "means": found["conditions"]}


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


@checked
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


@checked
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
        name=table.path.name,
        simulated=table.simulated,
        facts=_facts(table, in_part, study.hash),
        exclusions=excluded.to_frame(),
        kept=int(excluded.kept.sum()),
        kept_participants=len(set(excluded.participants[excluded.kept])),
        means=condition_means(study, seed=seed),
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
