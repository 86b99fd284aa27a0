"""Scoring the observers board: how well does a machine predict people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from imi_bench.arrays import Bools, Floats
from imi_bench.choice.calibrate import calibrate
from imi_bench.choice.calibration import Calibration
from imi_bench.leaderboard.answered_board import AnsweredBoard, toward, unscored
from imi_bench.leaderboard.board import Board
from imi_bench.leaderboard.browser import observer_detail
from imi_bench.leaderboard.rows import Row, Scored, choice_model
from imi_bench.leaderboard.validate import Entry
from imi_bench.scores import agreement, ceiling, consistency, likelihood
from imi_bench.scores.alignment import AlignedAnswers, align_answers
from imi_bench.scores.strata import levels, stratum_labels
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.intervals import estimate
from imi_bench.stats.jackknife import Jackknife, jackknives
from imi_bench.stats.sums import Placed, Score, Sums, Totals
from imi_bench.tables import DecisionVariables, Study
from imi_bench.tables.align import rows_of
from imi_bench.tables.parquet import read_parquet

_MORE = {
    "proportion correct": "proportion_correct",
    "Spearman with people": "unit_spearman",
    "kappa": "error_consistency",
    "calibration error": "ece",
}


class ObserverScores(AnsweredBoard):
    """What all rows of an observers board are scored against."""

    def score(self, entry: Entry) -> Scored:
        """The row of a submission, without its share of the ceiling."""
        return self._score(entry.decisions[0], row=unscored(entry))

    def references(self) -> list[Scored]:
        """Rows that need no submission; the first is the human ceiling, in bits."""
        people, ideal = predicted_by_others(self.board, self.study), _ideal(self)
        if ideal is None:
            return [people]
        return [people, self._score(ideal, row=_reference("ideal", "Ideal observer"))]

    def _score(self, decisions: DecisionVariables, *, row: Row) -> Scored:
        board = self.board
        calibration = self._calibrated(decisions)
        row = replace(row, facts=row.facts | choice_model([calibration]))
        matched = align_answers(decisions, self.study, calibration=calibration)
        parts = parts_of(matched)
        found = all_scores(matched, board, parts)
        strata = {
            name: interval_of(found[name], matched, board, part=part)
            for name, part in parts.items()
        }
        more = {label: interval_of(found[name], matched, board) for label, name in _MORE.items()}
        score = interval_of(found["bits"], matched, board)
        return Scored(
            row.with_scores(score, strata=strata, more=more),
            None if math.isnan(score.value) else found["bits"],
            observer_detail(matched, board.folder, simulated=board.rules.simulated),
        )

    def _calibrated(self, decisions: DecisionVariables) -> Calibration:
        ranking = self.board.rules.ranking
        return calibrate(
            decisions,
            self.study,
            by=ranking.folds_by,
            n_folds=ranking.n_folds,
            link=ranking.link,
            seed=ranking.seed,
        )


def parts_of(matched: AlignedAnswers) -> dict[str, Bools]:
    """Masks of the trials of each mode and of each difficulty."""
    return {
        f"{by}={level}": labels == level
        for by in ("mode", "difficulty")
        for labels in (stratum_labels(matched.index, by),)
        for level in levels(labels)
    }


def all_scores(
    matched: AlignedAnswers, board: Board, parts: Mapping[str, Bools]
) -> dict[str, Jackknife]:
    """All scores without each cluster; bits also within each part of the trials."""
    bits = likelihood.likelihood_answers(matched)["bits"]
    answers: dict[str, Floats | Placed] = {
        **consistency.consistency_answers(matched),
        **likelihood.reliability_answers(matched),
        "bits": bits,
    }
    scores: list[Score] = [
        score
        for score in (
            *likelihood.LIKELIHOOD,
            *agreement.TRIALS,
            *agreement.unit_scores(matched),
            *consistency.CONSISTENCY,
            *likelihood.CALIBRATION_ERROR,
        )
        if score.name == "bits" or score.name in _MORE.values()
    ]
    for name, part in parts.items():
        inside = part[matched.trial].astype(np.float64)
        answers |= {f"answers {name}": inside, f"bits {name}": inside * bits}
        scores.append(_bits_within(name))
    units = {
        **agreement.trial_sums(matched),
        **agreement.unit_sums(matched),
    }
    return _left_out(matched, board, units=units, answers=answers, scores=tuple(scores))


def _bits_within(part: str) -> Score:
    def bits(t: Totals) -> Floats:
        return t[f"bits {part}"] / t[f"answers {part}"]

    return Score(part, "bits/answer", bits, over_people=True)


def _left_out(
    matched: AlignedAnswers,
    board: Board,
    *,
    units: Mapping[str, Floats],
    answers: Mapping[str, Floats | Placed],
    scores: tuple[Score, ...],
) -> dict[str, Jackknife]:
    sums = Sums(
        units=units,
        answers=answers,
        unit_of_answer=matched.unit[matched.trial],
        participant=matched.participant,
        stratum=matched.network_of_unit,
    )
    ranking = board.rules.ranking
    return jackknives(sums, scores, n_draws=ranking.n_resamples, seed=ranking.seed)


def interval_of(
    found: Jackknife, matched: AlignedAnswers, board: Board, *, part: Bools | None = None
) -> Estimate:
    """A score at the board's level, of all trials or of a part of them."""
    if part is not None:
        n, clusters = int(part[matched.trial].sum()), len(np.unique(matched.unit[part]))
        return estimate(found, n=n, clusters=clusters, level=board.rules.ranking.level)
    of_trials = found.score.name == "proportion_correct"
    return estimate(
        found,
        n=len(matched.index) if of_trials else len(matched.trial),
        clusters=matched.n_units,
        level=board.rules.ranking.level,
    )


def predicted_by_others(board: Board, study: Study) -> Scored:
    """Each participant predicted by the others: the ceiling, in bits an answer."""
    none = np.zeros(len(study.trials))
    anyone = toward("people", none, index=study.trials, seed=board.rules.sides_seed)
    matched = align_answers(anyone, study, calibration=Calibration.identity())
    answers = {**consistency.consistency_answers(matched), **ceiling.left_out_answers(matched)}
    found = _left_out(matched, board, units={}, answers=answers, scores=ceiling.LEFT_OUT[:1])[
        "left_out_bits"
    ]
    row = _reference("people", "Other participants (leave one out)")
    return Scored(row.with_scores(interval_of(found, matched, board), strata={}, more={}), found)


def _ideal(humans: ObserverScores) -> DecisionVariables | None:
    """The unit's own activations as evidence, where the board's trials carry them."""
    frame = read_parquet(humans.board.folder / "trials.parquet")
    if not {"activation_positive", "activation_negative"} <= set(frame.columns):
        return None
    known = (frame["activation_positive"] - frame["activation_negative"]).to_numpy(float)
    if np.isnan(known).any():
        return None
    index = humans.study.trials
    evidence = known[rows_of(index.trial_id, among=frame["trial_id"])]
    return toward("ideal", evidence, index=index, seed=humans.board.rules.sides_seed)


def _reference(name: str, title: str) -> Row:
    return Row(
        kind="reference",
        name=name,
        revision="",
        title=title,
        score=Estimate(math.nan, reason="not scored yet"),
    )
