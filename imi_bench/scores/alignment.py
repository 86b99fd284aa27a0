"""An observer and people on the same trials, lined up row by row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imi_bench.arrays import Floats, Ints
from imi_bench.choice.calibration import Calibration
from imi_bench.errors import NotComparableError
from imi_bench.tables import DecisionVariables, Study, TrialIndex, codes
from imi_bench.tables.align import rows_of
from imi_bench.text import plural

__all__ = ["AlignedAnswers", "align_answers"]


@dataclass(frozen=True, eq=False)
class AlignedAnswers:
    """Trials that an observer was shown and people answered, catch trials left out.

    Attributes
    ----------
    observer : str
    index : TrialIndex
        T trials.
    credit : (T,) float64
        1 where the observer is right, 0 where wrong, one half for a tie or no answer.
    first : (T,) float64
        1 where the observer chose the query it saw first, 0 the second, one half for neither.
    first_is_positive : (T,) bool
        Whether the correct query was the one shown first to the observer.
    answered : (T,) bool
    p_correct : (T,) float64
        Predicted probability that a person is correct, from a fit that never saw the unit.
    trial : (R,) int64
        The row of each human answer's trial.
    participant : (R,) int64
        Code of the participant who gave it.
    correct : (R,) float64
        1 where the answer is correct, else 0.
    left_out : int
        Main trials of the study with answers that the observer was not shown.
    """

    observer: str
    index: TrialIndex
    credit: Floats
    first: Floats
    first_is_positive: NDArray[np.bool_]
    answered: NDArray[np.bool_]
    p_correct: Floats
    trial: Ints
    participant: Ints
    correct: Floats
    left_out: int

    def take(self, keep: NDArray[np.bool_]) -> AlignedAnswers:
        """The trials where `keep` (T,) is true, with their answers."""
        row = np.cumsum(keep) - 1
        kept = keep[self.trial]
        per_trial = ("credit", "first", "first_is_positive", "answered", "p_correct")
        return AlignedAnswers(
            observer=self.observer,
            index=self.index.take(keep),
            trial=row[self.trial[kept]],
            participant=self.participant[kept],
            correct=self.correct[kept],
            left_out=self.left_out,
            **{name: getattr(self, name)[keep] for name in per_trial},
        )

    @cached_property
    def unit(self) -> Ints:
        """(T,) code of the trial's unit, 0 to `n_units` - 1."""
        return self.index.unit_code

    @cached_property
    def n_units(self) -> int:
        """Number of units, the clusters of all intervals."""
        return int(self.unit.max()) + 1

    @cached_property
    def network_of_unit(self) -> Ints:
        """(U,) code of each unit's network."""
        return first_of(codes(self.index.network), self.unit)

    @cached_property
    def condition(self) -> Ints:
        """(T,) code of the trial's condition: unit, mode and difficulty."""
        return self.index.condition_code

    @cached_property
    def unit_of_condition(self) -> Ints:
        """(C,) unit of each condition."""
        return first_of(self.unit, self.condition)

    @cached_property
    def network_condition(self) -> Ints:
        """(T,) code of the trial's network, mode and difficulty: a bar of the paper's figure."""
        return self.index.network_condition_code

    @cached_property
    def answers(self) -> Floats:
        """(T,) number of human answers."""
        return np.bincount(self.trial, minlength=len(self.index)).astype(np.float64)

    @cached_property
    def hits(self) -> Floats:
        """(T,) number of correct human answers."""
        hits = np.bincount(self.trial, self.correct, minlength=len(self.index))
        return hits.astype(np.float64)

    def condition_means(self) -> tuple[Floats, Floats]:
        """(C,) the observer's mean prediction and people's mean, over the same answers."""
        answers = np.bincount(self.condition, self.answers)
        told = np.bincount(self.condition, self.answers * self.p_correct)
        return told / answers, np.bincount(self.condition, self.hits) / answers

    def by_condition(self) -> pd.DataFrame:
        """One row a condition: the observer's and people's values side by side.

        Columns ``network, layer, unit, mode, difficulty, unit_id``; ``trials``, ``answers``;
        ``human`` (proportion correct), ``observer`` (mean `p_correct`, each trial weighted by its
        answers) and ``observer_correct`` (mean `credit`, weighted alike).
        """
        rows = first_of(np.arange(len(self.index)), self.condition)
        names = ["network", "layer", "unit", "mode", "difficulty"]
        frame = self.index.take(rows).to_frame()[names]
        answers = np.bincount(self.condition, self.answers)
        observer, human = self.condition_means()
        return frame.assign(
            unit_id=self.index.unit_id[rows],
            trials=np.bincount(self.condition),
            answers=answers.astype(np.int64),
            human=human,
            observer=observer,
            observer_correct=np.bincount(self.condition, self.answers * self.credit) / answers,
        )


def align_answers(
    decisions: DecisionVariables, study: Study, *, calibration: Calibration
) -> AlignedAnswers:
    """Line an observer up with people, and predict them by `calibration`.

    Raises
    ------
    NotComparableError
        No main trial that the observer was shown has an answer.
    LeakageError
        The observer was fitted to answers to these units or pictures; as `Calibration.predict`.
    NotComparableError
        As `Calibration.predict`.
    """
    told = calibration.predict(decisions, study.trials)
    rows = rows_of(told.trial_id, among=study.trials.trial_id)
    main = ~study.trials.catch
    answered_by_people = np.bincount(study.rows, minlength=len(study.trials)) > 0
    wanted = main & answered_by_people
    keep = wanted[rows]
    if not keep.any():
        raise NotComparableError(
            "no main trial with human answers was shown to the observer",
            where=f"decisions of '{decisions.observer}'",
            found=f"{plural(len(told), 'trial')} in common",
        )
    kept = rows[keep]
    if decisions.fitted_on is not None:
        decisions.fitted_on.refuse(study.trials.take(kept), observer=decisions.observer)
    of_decision = rows_of(told.trial_id[keep], among=decisions.trial_id)
    place = np.full(len(study.trials), -1)
    place[kept] = np.arange(len(kept))
    used = place[study.rows] >= 0
    value = np.nan_to_num(decisions.decision_variable[of_decision])
    return AlignedAnswers(
        observer=decisions.observer,
        index=study.trials.take(kept),
        credit=decisions.credit[of_decision],
        first=(1 + np.sign(value)) / 2,
        first_is_positive=decisions.shown_first[of_decision].astype(str) == "positive",
        answered=told.answered[keep],
        p_correct=told.p_correct[keep],
        trial=place[study.rows[used]],
        participant=study.responses.participant_code[used],
        correct=study.responses.correct[used].astype(np.float64),
        left_out=int(wanted.sum()) - len(kept),
    )


def first_of(values: NDArray[np.int64], code: Ints) -> Ints:
    """(K,) for each code 0..K-1, the value in its first row."""
    return values[np.unique(code, return_index=True)[1]]
