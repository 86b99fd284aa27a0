"""What a report is about: trials, the observers' answers, and those of people, if any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imi_bench.arguments import checked_fields
from imi_bench.choice.calibration import Calibration
from imi_bench.errors import InputError, NotComparableError
from imi_bench.provenance import package_versions, write_json
from imi_bench.release.study_files import write_responses
from imi_bench.replay.evidence import Evidence
from imi_bench.replay.output import folder_name
from imi_bench.results import Record
from imi_bench.tables import DecisionVariables, Study, Trials
from imi_bench.tables.align import rows_of
from imi_bench.text import plural

STUDY_FILE = "study.json"
REFERENCE_OBSERVERS = ("ideal", "chance", "one-side")


@dataclass(frozen=True, eq=False, repr=False)
class ObserverRun(Record):
    """One observer's answers.

    Attributes
    ----------
    decisions : DecisionVariables
    record : mapping
        Its ``run.json``; empty where there is none.
    calibration : Calibration or None
        None without people, or where the observer's evidence is not calibrated.
    evidence : Evidence or None
        The similarities behind its decisions, where it can say.
    """

    decisions: DecisionVariables
    record: Mapping[str, Any] = field(default_factory=dict)
    calibration: Calibration | None = None
    evidence: Evidence | None = None

    @property
    def name(self) -> str:
        """The observer's name."""
        return self.decisions.observer

    @property
    def folder(self) -> str:
        """Its name as a folder's."""
        return folder_name(self.name)

    @property
    def is_reference(self) -> bool:
        """A reference row (ideal, chance, one side) rather than a machine observer."""
        return self.name.partition("?")[0] in REFERENCE_OBSERVERS


@checked_fields
@dataclass(frozen=True, eq=False, repr=False)
class ReportData(Record):
    """Everything a page shows.

    Attributes
    ----------
    title : str
    trials : Trials
    runs : tuple of ObserverRun
        All on exactly these trials; machine observers and references.
    study : Study or None
        Answers of people or of a simulated panel; None where nobody answered.
    unit_notes : mapping of str to str
        What is known about a unit, by `unit_id`; shown in the browser.
    skipped : mapping of str to str
        Observers that could not run, and why.
    seed : int
        Of split halves and draws.

    Raises
    ------
    InputError
        No run, or two of one name.
    NotComparableError
        A run on other trials.
    """

    title: str
    trials: Trials
    runs: tuple[ObserverRun, ...]
    study: Study | None = None
    unit_notes: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        names = [run.name for run in self.runs]
        if not names or len(set(names)) != len(names):
            raise InputError("not a set of runs", found=names, wanted="one run an observer")
        wanted = set(self.trials.index.trial_id)
        for run in self.runs:
            if (other := wanted ^ set(run.decisions.trial_id)) and wanted:
                raise NotComparableError(
                    "run on other trials",
                    where=f"observer '{run.name}'",
                    found=f"{plural(len(other), 'trial')} that only one has, such as "
                    f"'{min(other)}'",
                    wanted="the trials of the report",
                )

    @property
    def machines(self) -> tuple[ObserverRun, ...]:
        """Runs that are no reference rows."""
        return tuple(run for run in self.runs if not run.is_reference)

    @property
    def references(self) -> tuple[ObserverRun, ...]:
        """Reference rows in their usual order."""
        bases = [(run.name.partition("?")[0], run) for run in self.runs]
        return tuple(run for name in REFERENCE_OBSERVERS for base, run in bases if base == name)

    @property
    def labels(self) -> dict[str, str]:
        """What to print for each run: its name, without options where that is still unique."""
        short = {run.name: run.name.partition("?")[0] for run in self.runs}
        seen = list(short.values())
        return {name: s if seen.count(s) == 1 else name for name, s in short.items()}

    @property
    def simulated(self) -> bool:
        """Whether images, units or answers were made up."""
        return self.trials.simulated or (self.study is not None and self.study.responses.simulated)

    @property
    def panel_name(self) -> str:
        """What to call those who answered."""
        made_up = self.study is not None and self.study.responses.simulated
        return "Simulated panel" if made_up else "Human panel"

    def rows_of(self, run: ObserverRun) -> NDArray[np.int64]:
        """(T,) rows of the run's decisions in the order of the trials."""
        return rows_of(self.trials.index.trial_id, among=run.decisions.trial_id)

    @cached_property
    def panel_counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(T,) correct answers and (T,) answers of the panel; zeros where nobody answered."""
        count = len(self.trials)
        if self.study is None:
            return np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
        rows = rows_of(self.study.responses.trial_id, among=self.trials.index.trial_id)
        known = rows >= 0
        correct = np.bincount(rows[known], self.study.responses.correct[known], count)
        return correct.astype(np.int64), np.bincount(rows[known], minlength=count)


def write_report_data(exhibit: ReportData, folder: Path) -> None:
    """Write what `read_report_data` needs beside ``trials.parquet`` and ``runs``.

    That is ``responses.parquet`` with its source, the calibration of each run, and last
    ``study.json``, which says that the folder is whole.
    """
    for run in exhibit.runs:
        if run.calibration is not None:
            run.calibration.write(folder / "runs" / run.folder / "calibration.json")
    if exhibit.study is not None:
        write_responses(exhibit.study.responses, folder)
    about = {
        "title": exhibit.title,
        "seed": exhibit.seed,
        "runs": [run.folder for run in exhibit.runs],
        "unit_notes": dict(exhibit.unit_notes),
        "skipped": dict(exhibit.skipped),
        "versions": package_versions(),
    }
    write_json(folder / STUDY_FILE, about)
