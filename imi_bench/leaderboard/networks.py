"""Scoring the networks board: how interpretable are a network's units, by a calibrated panel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imi_bench.arrays import Floats
from imi_bench.choice.calibration import Calibration
from imi_bench.leaderboard.board import Board
from imi_bench.leaderboard.browser import network_figures
from imi_bench.leaderboard.panel import Panel
from imi_bench.leaderboard.rows import Detail, Row, Scored, choice_model, facts_of
from imi_bench.leaderboard.validate import Entry
from imi_bench.provenance import generator
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.resampling import weights
from imi_bench.tables import DecisionVariables, TrialIndex


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
    told = np.stack([_predicted(d, index, panel[d.observer]) for d in entry.decisions])
    credit = np.stack([d.credit for d in entry.decisions]).mean(axis=0)
    probability, main = told.mean(axis=0), ~index.catch
    primary = main & (index.mode == "natural") & (index.difficulty == "easy")
    if not primary.any():
        primary = main
    score, draws = _mean_over_units(probability, index, primary, board, entry)
    strata = {}
    for by in ("mode", "difficulty"):
        column = getattr(index, by)
        for level in dict.fromkeys(column[main].tolist()):
            part = main & (column == level)
            strata[f"{by}={level}"] = _mean_over_units(probability, index, part, board, entry)[0]
    beyond = np.stack([_beyond(d, panel[d.observer]) for d in entry.decisions]).mean(axis=0)
    more = {
        "beyond calibration": _mean_over_units(beyond, index, primary, board, entry)[0],
        "panel's proportion correct": _mean_over_units(credit, index, primary, board, entry)[0],
        "panel's disagreement": _mean_over_units(told.std(axis=0), index, primary, board, entry)[0],
    }
    declared = entry.declaration
    row = Row(
        kind="reference" if entry.reference else "submission",
        name=declared.name,
        revision=declared.revision,
        title=declared.title,
        score=score,
        strata=strata,
        more=more,
        coverage=entry.coverage,
        facts=facts_of(declared) | choice_model(panel.values()),
        claims=dict(declared.claims),
    )
    frame = pd.DataFrame({"u": index.unit_id, "c": credit, "p": probability})[primary]
    points = frame.groupby("u")[["c", "p"]].mean()
    figures = network_figures(list(zip(points["c"], points["p"], strict=True)))
    return Scored(row, draws, Detail(figures, total=int(main.sum())))


def _predicted(decisions: DecisionVariables, index: TrialIndex, calibration: Calibration) -> Floats:
    return calibration.predict(decisions, index).p_correct


def _beyond(decisions: DecisionVariables, calibration: Calibration) -> Floats:
    """1 where a decision variable is larger than any that the calibration saw, else 0."""
    if calibration.largest_evidence is None:
        return np.full(len(decisions), np.nan)
    size = np.nan_to_num(np.abs(decisions.decision_variable))
    return (size > calibration.largest_evidence).astype(np.float64)


def _mean_over_units(
    values: Floats, index: TrialIndex, part: NDArray[np.bool_], board: Board, entry: Entry
) -> tuple[Estimate, Floats]:
    """Mean over units of unit means; units are resampled, each network on its own."""
    unit = np.unique(index.unit_id[part].astype(str), return_inverse=True)[1]
    means = np.bincount(unit, values[part]) / np.bincount(unit)
    ranking = board.rules.ranking
    rng = generator(ranking.seed, entry.declaration.name, entry.declaration.revision)
    facts: dict[str, Any] = {"level": ranking.level, "n": int(part.sum()), "clusters": len(means)}
    if np.isnan(means).any():
        return Estimate.undefined("the calibrations do not tell", **facts), np.full(
            ranking.n_resamples, np.nan
        )
    if len(means) < 2:
        lone = Estimate(float(means.mean()), reason="one unit is no sample of units", **facts)
        return lone, np.full(ranking.n_resamples, np.nan)
    drawn = weights(np.zeros(len(means), dtype=np.int64), n_resamples=ranking.n_resamples, rng=rng)
    draws = drawn @ means / len(means)
    low, high = np.quantile(draws, [(1 - ranking.level) / 2, (1 + ranking.level) / 2]).tolist()
    return Estimate(
        float(means.mean()),
        low,
        high,
        **facts,
        method=f"bootstrap over units (percentile, {ranking.n_resamples})",
    ), draws
