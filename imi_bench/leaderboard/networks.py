"""Scoring the networks board: how interpretable are a network's units, by a calibrated panel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from imi_bench.arrays import Bools, Floats
from imi_bench.choice.calibration import Calibration
from imi_bench.leaderboard.board import Board
from imi_bench.leaderboard.browser import network_figures
from imi_bench.leaderboard.evidence import primary_trials
from imi_bench.leaderboard.panel import Panel
from imi_bench.leaderboard.rows import Detail, Row, Scored, choice_model, facts_of
from imi_bench.leaderboard.validate import Entry
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.intervals import estimate
from imi_bench.stats.jackknife import Jackknife, jackknives
from imi_bench.stats.sums import Score, Sums, Totals
from imi_bench.tables import DecisionVariables, TrialIndex


def _mean(t: Totals) -> Floats:
    return np.asarray(t["mean"] / t["units"])


_SHARE = Score("interpretability", "proportion", _mean, scale="logit")
_SPREAD = Score("disagreement", "proportion", _mean)
_BEYOND = Score(
    "beyond", "proportion", _mean, undefined="the calibrations do not tell", scale="logit"
)


@dataclass(frozen=True, eq=False)
class NetworkScores:
    """What all rows of a networks board are scored with.

    Attributes
    ----------
    board : Board
    panel : Panel
    expected : None
        Every submission brings trials of its own.
    """

    board: Board
    panel: Panel
    expected: None = None

    @classmethod
    def of(cls, board: Board) -> Self:
        """Read the panel's calibrations."""
        return cls(board, Panel.of(board))

    def score(self, entry: Entry) -> Scored:
        """The row of a submission."""
        return _score(entry, self.panel.calibrations, self.board)

    def references(self) -> list[Scored]:
        """None: there is no human ceiling for units nobody was asked about."""
        return []


def _score(entry: Entry, panel: Mapping[str, Calibration], board: Board) -> Scored:
    index = entry.trials
    told = np.stack([panel[d.observer].predict(d, index).p_correct for d in entry.decisions])
    credit = np.stack([d.credit for d in entry.decisions]).mean(axis=0)
    probability, main = told.mean(axis=0), ~index.catch
    primary, declared = primary_trials(index), entry.declaration
    drawn = board.rules.evidence.drawn
    left_out = len(set(declared.sampling.left_out)) if drawn and declared.sampling else 0
    score, found = _mean_over_units(
        probability, index, primary, board, line=_SHARE, guessed=left_out
    )
    strata = {}
    for by in ("mode", "difficulty"):
        column = getattr(index, by)
        for level in dict.fromkeys(column[main].tolist()):
            part = main & (column == level)
            strata[f"{by}={level}"] = _mean_over_units(
                probability, index, part, board, line=_SHARE, guessed=left_out
            )[0]
    beyond = np.stack([_beyond(d, panel[d.observer]) for d in entry.decisions]).mean(axis=0)
    also = {
        "beyond calibration": (beyond, _BEYOND, 0),
        "panel's proportion correct": (credit, _SHARE, left_out),
        "panel's disagreement": (told.std(axis=0), _SPREAD, 0),
    }
    more = {
        name: _mean_over_units(values, index, primary, board, line=line, guessed=guessed)[0]
        for name, (values, line, guessed) in also.items()
    }
    told_out = {"units left out": f"{left_out} of {drawn} drawn, counted as guesses"}
    row = Row(
        kind="reference" if entry.reference else "submission",
        name=declared.name,
        revision=declared.revision,
        title=declared.title,
        score=score,
        strata=strata,
        more=more,
        coverage=entry.coverage,
        facts=facts_of(declared) | choice_model(panel.values()) | (told_out if left_out else {}),
        claims=dict(declared.claims),
    )
    frame = pd.DataFrame({"u": index.unit_id, "c": credit, "p": probability})[primary]
    points = frame.groupby("u")[["c", "p"]].mean()
    figures = network_figures(list(zip(points["c"], points["p"], strict=True)))
    return Scored(row, found, Detail(figures, total=int(main.sum())))


def _beyond(decisions: DecisionVariables, calibration: Calibration) -> Floats:
    """1 where a decision variable is larger than any that the calibration saw, else 0."""
    if calibration.largest_evidence is None:
        return np.full(len(decisions), np.nan)
    size = np.nan_to_num(np.abs(decisions.decision_variable))
    return (size > calibration.largest_evidence).astype(np.float64)


def _mean_over_units(
    values: Floats, index: TrialIndex, part: Bools, board: Board, *, line: Score, guessed: int = 0
) -> tuple[Estimate, Jackknife]:
    """Mean over units of unit means, one half for each that is guessed; units are a sample."""
    unit = np.unique(index.unit_id[part].astype(str), return_inverse=True)[1]
    means = np.bincount(unit, values[part]) / np.bincount(unit)
    means = np.concatenate([means, np.full(guessed, 0.5)])
    none, one_network = np.zeros(0, dtype=np.int64), np.zeros(len(means), dtype=np.int64)
    sums = Sums({"mean": means, "units": np.ones(len(means))}, {}, none, none, one_network)
    found = jackknives(sums, [line], n_draws=0, seed=board.rules.ranking.seed)[line.name]
    level = board.rules.ranking.level
    return estimate(found, n=int(part.sum()), clusters=len(means), level=level), found
