"""How probable people's answers are under what the observer predicts of them.

All scores are over single human answers to main trials; predictions come from fits that never saw
the unit (see `imi_bench.choice.calibration`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imi_bench.arrays import Floats
from imi_bench.provenance import plain
from imi_bench.results import Brief
from imi_bench.scores.alignment import Matched
from imi_bench.stats.resampling import Score, Totals

__all__ = [
    "CALIBRATION_ERROR",
    "LIKELIHOOD",
    "ReliabilityDiagram",
    "likelihood_answers",
    "reliability_diagram",
    "reliability_sums",
]

Columns = dict[str, Floats]

N_BINS = 10
_LEAST = 1e-12


def bits_above_chance(p: Floats, correct: Floats) -> Floats:
    """``1 + log2 P(answer)``: 1 for a sure and true prediction, 0 for one half, negative below.

    A prediction of exactly 0 for what then happened counts as `_LEAST`, about -39 bits.

    Examples
    --------
    >>> bits_above_chance(np.array([0.5, 1.0, 0.25]), np.array([1.0, 1.0, 1.0])).tolist()
    [0.0, 1.0, -1.0]
    """
    told = np.where(correct > 0, p, 1 - p)
    return np.asarray(1 + np.log2(np.maximum(told, _LEAST)))


def likelihood_answers(matched: Matched) -> Columns:
    """(R,) columns of human answers: bits above chance and squared error of the prediction."""
    p = matched.p_correct[matched.trial]
    return {
        "bits": bits_above_chance(p, matched.correct),
        "squared error": (p - matched.correct) ** 2,
    }


LIKELIHOOD = (
    Score("bits", "bits/trial", lambda t: t["bits"] / t["answers"], over_people=True),
    Score("brier", "squared error", lambda t: t["squared error"] / t["answers"], over_people=True),
)
"""Held-out log-likelihood in bits a trial above chance; Brier score (0 best, 0.25 for a coin)."""


@dataclass(frozen=True, eq=False, repr=False)
class ReliabilityDiagram(Brief):
    """Predicted against observed proportion correct, in bins of the prediction.

    Attributes
    ----------
    edges : (N_BINS + 1,) float64
    predicted, observed : (N_BINS,) float64
        Means over the bin's answers; NaN in an empty bin.
    answers : (N_BINS,) int64
    """

    edges: Floats
    predicted: Floats
    observed: Floats
    answers: NDArray[np.int64]

    def to_json(self) -> dict[str, Any]:
        """JSON object; an empty bin's means are null."""
        record: dict[str, Any] = plain(vars(self))
        return record


def _bins(matched: Matched) -> NDArray[np.int64]:
    """(T,) bin of each trial's prediction: equal widths, the upper edge belonging to the bin."""
    inner = np.linspace(0, 1, N_BINS + 1)[1:-1]
    return np.asarray(np.searchsorted(inner, matched.p_correct, side="left"), dtype=np.int64)


def reliability_sums(matched: Matched) -> Columns:
    """(U, N_BINS, 3) answers, sum of predictions and correct answers in each bin."""
    table = np.zeros((matched.n_units, N_BINS, 3))
    place = (matched.unit, _bins(matched))
    columns = (matched.answers, matched.answers * matched.p_correct, matched.hits)
    for column, values in enumerate(columns):
        np.add.at(table[..., column], place, values)
    return {"reliability": table}


def reliability_diagram(matched: Matched) -> ReliabilityDiagram:
    """Read the diagram off the data."""
    answers, told, hits = reliability_sums(matched)["reliability"].sum(axis=0).T
    some = np.where(answers > 0, answers, np.nan)
    edges = np.linspace(0, 1, N_BINS + 1)
    return ReliabilityDiagram(edges, told / some, hits / some, answers.astype(np.int64))


def _expected_calibration_error(t: Totals) -> Floats:
    answers, told, hits = np.moveaxis(t["reliability"], -1, 0)
    return np.asarray(np.abs(told - hits).sum(axis=-1) / answers.sum(axis=-1))


CALIBRATION_ERROR = (Score("ece", "proportion", _expected_calibration_error),)
"""Expected calibration error: gap between predicted and observed, averaged over answers.

Noise in a bin adds to the gap, so the score is biased upwards, and resamples are once more; its
interval is recentred for that reason (see `imi_bench.stats.resampling.estimate`).
"""
