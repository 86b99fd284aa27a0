"""What people answered, and the study it belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imi_bench.arguments import checked_fields
from imi_bench.arrays import Bools, Floats, Ints, Strings
from imi_bench.errors import InputError
from imi_bench.plots import histogram
from imi_bench.provenance import sha256_columns, sha256_json
from imi_bench.results import Result
from imi_bench.tables.align import rows_of
from imi_bench.tables.columns import Columns, codes
from imi_bench.tables.index import TrialIndex
from imi_bench.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LONGEST = 1e7
"""Seconds: no answer took four months."""


@dataclass(frozen=True, eq=False, repr=False)
class Responses(Columns):
    """What people (or simulated participants) answered; one row an answer.

    Attributes
    ----------
    trial_id : (R,) str
        The trial answered; many answers a trial.
    participant : (R,) str
    correct : (R,) bool
        True where the strongly activating query was chosen.
    chose_first : (R,) float64
        1 where the query shown first was chosen, 0 where the second, NaN where unknown.
    confidence : (R,) float64
        1 to 3, NaN where not asked.
    seconds : (R,) float64
        Response time in seconds, NaN where unknown.
    simulated : bool
        True for simulated participants; carried into every report.
    source : str
        Where the answers come from, for reports.

    Raises
    ------
    InputError
        Columns of unequal length, a participant who answered the same trial twice, confidence
        or seconds that cannot be.
    """

    trial_id: Strings
    participant: Strings
    correct: Bools
    chose_first: Floats
    confidence: Floats
    seconds: Floats
    simulated: bool
    source: str

    def __post_init__(self) -> None:
        self._settle(where="responses")
        sides = self.chose_first[~np.isnan(self.chose_first)]
        if not np.isin(sides, (0.0, 1.0)).all():
            raise InputError(
                "column of another kind",
                where="chose_first",
                found=sides[~np.isin(sides, (0.0, 1.0))][0],
                wanted="1 (the query shown first), 0 or NaN",
            )
        _refuse_outside("confidence", self.confidence, 1.0, 3.0, wanted="1 to 3, or NaN")
        _refuse_outside("seconds", self.seconds, 0.0, _LONGEST, wanted="seconds, or NaN")
        twice = pd.DataFrame({"t": self.trial_id, "p": self.participant}).duplicated()
        if twice.any():
            row = int(np.flatnonzero(twice)[0])
            raise InputError(
                "duplicate answer",
                where=f"responses, row {row} ({plural(int(twice.sum()), 'such row')})",
                found=f"participant '{self.participant[row]}' twice on '{self.trial_id[row]}'",
                wanted="one answer a participant and trial",
                do="take the repeated rows out; is the same file in it twice?",
            )

    shown_columns = ("trial_id", "participant", "correct", "chose_first", "seconds")

    @property
    def title(self) -> str:
        """How many answers, of how many, from where."""
        people = f"{'simulated ' if self.simulated else ''}participant"
        correct = f"{self.correct.mean():.3f}" if len(self) else "-"
        return (
            f"{plural(len(self), 'answer')} of {plural(len(set(self.participant)), people)} "
            f"({self.source}), proportion correct {correct}"
        )

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw how the proportions correct of participants are spread."""
        shares = pd.Series(self.correct, dtype=float).groupby(self.participant_code).mean()
        return histogram(
            shares.to_numpy(),
            xlabel="proportion correct",
            ylabel="participants",
            title=self.title,
            within=(0.0, 1.0),
            reference=0.5,
            ax=ax,
        )

    def take(self, rows: NDArray[Any]) -> Responses:
        """The chosen answers (integer positions or a mask)."""
        columns = {name: getattr(self, name)[rows] for name in self._KINDS}
        return Responses(**columns, simulated=self.simulated, source=self.source)

    @cached_property
    def participant_code(self) -> Ints:
        """(R,) number of each participant, counted from 0 in the order of their names."""
        return codes(self.participant)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of all answers, whatever the order of rows: the fingerprint of the humans."""
        frame = self.to_frame().sort_values(["trial_id", "participant"], kind="stable")
        return sha256_columns({name: frame[name].to_numpy() for name in self._KINDS})


def _refuse_outside(name: str, values: Floats, low: float, high: float, *, wanted: str) -> None:
    outside = (values < low) | (values > high)
    if outside.any():
        raise InputError(
            "a value that cannot be",
            where=f"{name}, row {np.flatnonzero(outside)[0]} "
            f"({plural(int(outside.sum()), 'such row')})",
            found=f"{values[outside][0]:g}",
            wanted=wanted,
        )


@checked_fields
@dataclass(frozen=True, eq=False, repr=False)
class Study(Result):
    """What was shown and what was answered: every response's trial is in `trials`.

    Attributes
    ----------
    trials : TrialIndex
    responses : Responses
    catch_answers : (int, int) or None
        Wrong answers, and all answers, of these people to catch trials that are not in `trials`;
        None where nothing is known of them. Not part of `hash`.
    """

    trials: TrialIndex
    responses: Responses
    catch_answers: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        unknown = set(self.responses.trial_id.tolist()) - set(self.trials.trial_id.tolist())
        if unknown:
            raise InputError(
                "answers to trials that are not in the study",
                found=f"{plural(len(unknown), 'trial')}, such as '{min(unknown)}'",
                wanted="a row of the trial table for each",
            )

    shown_columns = ("network", "unit_id", "mode", "difficulty", "participant", "correct")
    table_for_models = "the table for models is `imi_bench.effects(people).answers`"

    @property
    def title(self) -> str:
        """How many answers of whom, to how many trials."""
        return f"{self.responses.title}; {self.trials.title}"

    @cached_property
    def hash(self) -> str:
        """SHA-256 of trials and responses."""
        frame = self.trials.to_frame().sort_values("trial_id")
        trials = sha256_columns({str(name): frame[name].to_numpy() for name in frame})
        return sha256_json([trials, self.responses.hash])

    @cached_property
    def rows(self) -> Ints:
        """(R,) the row of `trials` that each response answers."""
        return rows_of(self.responses.trial_id, among=self.trials.trial_id)

    def to_frame(self) -> pd.DataFrame:
        """One row an answer with all columns of its trial and `unit_id`.

        Made-up answers say so in a column `simulated`, so that the table goes back as what it is.
        """
        shown = self.trials.to_frame().assign(unit_id=self.trials.unit_id)
        shown = shown.drop(columns="trial_id").iloc[self.rows].reset_index(drop=True)
        frame = pd.concat([self.responses.to_frame(), shown], axis=1)
        return frame.assign(simulated=True) if self.responses.simulated else frame

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw how the proportions correct of units are spread."""
        units = self.trials.unit_code[self.rows]
        shares = pd.Series(self.responses.correct, dtype=float).groupby(units).mean()
        return histogram(
            shares.to_numpy(),
            xlabel="proportion correct",
            ylabel="units",
            title=self.title,
            within=(0.0, 1.0),
            reference=0.5,
            ax=ax,
        )
