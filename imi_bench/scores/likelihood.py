"""How probable people's answers are under what the observer predicts of them.

All scores are over single human answers to main trials; predictions come from fits that never saw
the unit (see `imi_bench.choice.calibration`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imi_bench.arrays import Floats
from imi_bench.results import Record
from imi_bench.scores.agreement import told_and_heard
from imi_bench.scores.alignment import AlignedAnswers
from imi_bench.stats.sums import OverPlaces, Placed, Score

__all__ = [
    "CALIBRATION_ERROR",
    "LIKELIHOOD",
    "ReliabilityDiagram",
    "likelihood_answers",
    "reliability_answers",
    "reliability_diagram",
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


def likelihood_answers(matched: AlignedAnswers) -> Columns:
    """(R,) columns of human answers: bits above chance and squared error of the prediction."""
    p = matched.p_correct[matched.trial]
    return {
        "bits": bits_above_chance(p, matched.correct),
        "squared error": (p - matched.correct) ** 2,
    }


LIKELIHOOD = (
    Score(
        "bits",
        "bits/answer",
        lambda t: t["bits"] / t["answers"],
        over_people=True,
        ends=(-math.inf, 1.0),
    ),
    Score(
        "brier",
        "squared error",
        lambda t: t["squared error"] / t["answers"],
        over_people=True,
        ends=(0.0, 1.0),
    ),
)
"""Held-out log-likelihood in bits an answer above chance; Brier score (0 best, 0.25 for a coin)."""


@dataclass(frozen=True, eq=False, repr=False)
class ReliabilityDiagram(Record):
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


def _bins(matched: AlignedAnswers) -> NDArray[np.int64]:
    """(T,) bin of each trial's prediction: equal widths, the upper edge belonging to the bin."""
    inner = np.linspace(0, 1, N_BINS + 1)[1:-1]
    return np.asarray(np.searchsorted(inner, matched.p_correct, side="left"), dtype=np.int64)


def reliability_answers(matched: AlignedAnswers) -> dict[str, Placed]:
    """Answers, sum of predictions and correct answers in each bin, (N_BINS, 3)."""
    return {"reliability": Placed(_bins(matched)[matched.trial], told_and_heard(matched), N_BINS)}


def reliability_diagram(matched: AlignedAnswers) -> ReliabilityDiagram:
    """Read the diagram off the data."""
    everyone = np.zeros(len(matched.trial), dtype=np.int64)
    answers, told, hits = reliability_answers(matched)["reliability"].sums(everyone, 1)[0].T
    some = np.where(answers > 0, answers, np.nan)
    edges = np.linspace(0, 1, N_BINS + 1)
    return ReliabilityDiagram(edges, told / some, hits / some, answers.astype(np.int64))


def _gap_and_answers(bin_: Floats) -> Floats:
    """(…, 2) how far prediction and answers of a bin (…, 3) are apart, summed, and its answers."""
    answers, told, hits = np.moveaxis(bin_, -1, 0)
    return np.stack([np.abs(told - hits), answers], axis=-1)


_expected_calibration_error = OverPlaces(
    "reliability", _gap_and_answers, lambda sums: np.asarray(sums[..., 0] / sums[..., 1])
)


CALIBRATION_ERROR = (
    Score(
        "ece",
        "proportion",
        _expected_calibration_error,
        over_people=True,
        no_interval="none holds where bins are mostly noise; see calibration_slope",
    ),
)
"""Expected calibration error: gap between predicted and observed, averaged over answers.

Noise in a bin adds to the gap, so the score is biased upwards, by how much depends on how large the
gaps are without noise, and no interval holds for all of those (see ``docs/intervals.md``). The
scores of `imi_bench.scores.recalibration` have intervals.
"""
