"""Scoring the measures board: what people can be predicted by, once a trial's condition is known.

A submission is what a measure is learnt from: the decisions of one observer or of several. The
board learns the measure itself, with its own learner, folds and seed, so that nothing can have been
fitted to the answers that it is scored on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from imi_bench.arrays import Floats
from imi_bench.choice.calibration import Calibration
from imi_bench.choice.folds import assign_folds, clusters_of
from imi_bench.errors import NotEnoughDataError
from imi_bench.leaderboard.answered_board import AnsweredBoard, toward, unscored
from imi_bench.leaderboard.browser import observer_detail
from imi_bench.leaderboard.observers import (
    all_scores,
    interval_of,
    parts_of,
    predicted_by_others,
)
from imi_bench.leaderboard.rows import Scored
from imi_bench.leaderboard.validate import Entry
from imi_bench.measure.nested import base_rates, grid_for, out_of_fold
from imi_bench.measure.table import cells_of, make_table
from imi_bench.scores.alignment import AlignedAnswers, align_answers
from imi_bench.stats.jackknife import Jackknife, combined
from imi_bench.stats.sums import Score, Totals
from imi_bench.tables import DecisionVariables, TrialIndex
from imi_bench.tables.align import rows_of


def _not_of_sums(totals: Totals) -> Floats:
    raise NotImplementedError("made of two scores")


GAIN = Score("gain", "bits/answer", _not_of_sums, over_people=True)
"""Bits of a measure less those of the base rate, on the same answers."""


class MeasureScores(AnsweredBoard):
    """What all rows of a measures board are scored against."""

    def score(self, entry: Entry) -> Scored:
        """The row of a submission, without its share of the ceiling."""
        names = ", ".join(one.observer for one in entry.decisions)
        row = unscored(entry)
        row = replace(row, facts=row.facts | {"learnt from": names})
        told, base = self._held_out(entry.decisions)
        matched, plain = self._matched(told), self._matched(base)
        parts = parts_of(matched)
        found, zero = (all_scores(one, self.board, parts) for one in (matched, plain))
        gains = {name: _gain(found[name], zero[name]) for name in ("bits", *parts)}
        score = interval_of(gains["bits"], matched, self.board)
        row = row.with_scores(
            score,
            strata={
                n: interval_of(gains[n], matched, self.board, part=p) for n, p in parts.items()
            },
            more={
                "bits above chance": interval_of(found["bits"], matched, self.board),
                "calibration error": interval_of(found["ece"], matched, self.board),
            },
        )
        detail = observer_detail(matched, self.board.folder, simulated=self.board.rules.simulated)
        return Scored(row, None if math.isnan(score.value) else gains["bits"], detail)

    def references(self) -> list[Scored]:
        """The human ceiling, in bits above the same base rate."""
        people = predicted_by_others(self.board, self.study)
        if people.found is None:
            return [people]
        index = self.study.trials
        main = ~index.catch
        fold, rows = self._folds(index.take(main)), self.study.rows
        count = np.bincount(rows, minlength=len(index))[main].astype(np.float64)
        hits = np.bincount(rows, self.study.responses.correct, minlength=len(index))[main]
        cells, base = cells_of(index.take(main)), np.empty(int(main.sum()))
        for held in range(int(fold.max()) + 1):
            rates = base_rates(hits.astype(np.float64), count, cells, fold != held)
            base[fold == held] = rates[fold == held]
        whole = np.full(len(index), 0.5)
        whole[main] = base
        plain = self._matched(whole)
        zero = all_scores(plain, self.board, {})["bits"]
        found = _gain(people.found, zero)
        row = people.row.with_scores(interval_of(found, plain, self.board), strata={}, more={})
        return [Scored(row, found)]

    def _folds(self, index: TrialIndex) -> Any:
        ranking = self.board.rules.ranking
        count = None if ranking.folds_by == "network" else ranking.n_folds
        folds = assign_folds(index, by=ranking.folds_by, n_folds=count, seed=ranking.seed)
        return np.array([folds[c] for c in clusters_of(index, by=ranking.folds_by)])

    def _held_out(self, decisions: Sequence[DecisionVariables]) -> tuple[Floats, Floats]:
        """(T,) predictions by the measure and by the base rate, of all trials of the board."""
        table = make_table(decisions, self.study, head="measure")
        if table.left_out:
            raise NotEnoughDataError("trials with answers are missing", found=table.left_out)
        told = out_of_fold(
            table.rows,
            units=table.index.unit_id,
            cells=table.cells,
            fold=self._folds(table.index),
            grid=grid_for("measure", features=bool(table.features)),
            seed=self.board.rules.ranking.seed,
            intercept=True,
        )
        every = self.study.trials.trial_id
        rows = rows_of(table.index.trial_id, among=every)
        learned, base = (np.full(len(every), 0.5) for _ in range(2))
        learned[rows], base[rows] = told.learned, told.base
        return learned, base

    def _matched(self, p_correct: Floats) -> AlignedAnswers:
        """People's answers beside predictions (T,) of the board's trials."""
        index = self.study.trials
        lead, seed = p_correct - 0.5, self.board.rules.sides_seed
        said = toward("measure", lead, index=index, seed=seed)
        matched = align_answers(said, self.study, calibration=Calibration.identity())
        rows = rows_of(matched.index.trial_id, among=index.trial_id)
        return replace(matched, p_correct=p_correct[rows])


def _gain(found: Jackknife, zero: Jackknife) -> Jackknife:
    return combined(GAIN, np.subtract, found, zero)
