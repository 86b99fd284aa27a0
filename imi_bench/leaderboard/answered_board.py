"""A board on which decisions are scored against people: of observers, or of measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from imi_bench.arrays import Floats
from imi_bench.leaderboard.board import Board
from imi_bench.leaderboard.rows import Row, facts_of
from imi_bench.leaderboard.validate import Entry, Expected
from imi_bench.stats.estimate import Estimate
from imi_bench.tables import DecisionVariables, Study, TrialIndex, shown_first_is_positive
from imi_bench.tables.trials import BlindingKey

__all__ = ["AnsweredBoard", "toward", "unscored"]


@dataclass(frozen=True, eq=False)
class AnsweredBoard:
    """What all rows of such a board are scored against.

    Attributes
    ----------
    board : Board
    study : Study
        The board's trials and people.
    expected : Expected
        The trials a submission must answer.
    """

    board: Board
    study: Study
    expected: Expected

    @classmethod
    def of(cls, board: Board) -> Self:
        """Read the board's trials and people.

        Raises
        ------
        NotComparableError
            If they are not those the board was published with.
        """
        study = board.study()
        return cls(board, study, Expected.of(study.trials, board))


def toward(name: str, evidence: Floats, *, index: TrialIndex, seed: int) -> DecisionVariables:
    """Decisions of somebody of the board's own by evidence for the strong query, (T,)."""
    first = shown_first_is_positive(index.trial_id, seed=seed)
    value = np.where(first, evidence, -evidence)
    return DecisionVariables.from_values(value, observer=name, key=BlindingKey(index, first, seed))


def unscored(entry: Entry) -> Row:
    """The row of a submission before its score."""
    declared = entry.declaration
    return Row(
        kind="reference" if entry.reference else "submission",
        name=declared.name,
        revision=declared.revision,
        title=declared.title,
        score=Estimate.undefined("not scored yet"),
        coverage=entry.coverage,
        facts=facts_of(declared),
        claims=dict(declared.claims),
    )
