"""Whether observer and people find the same units, networks and trials easy.

Each family of scores turns `AlignedAnswers` into columns to be summed, and is a
tuple of `Score` that reads the sums.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from imi_bench.arrays import Floats
from imi_bench.scores.alignment import AlignedAnswers
from imi_bench.stats.correlation import kendall_tau_b, moments, pearson, spearman
from imi_bench.stats.sums import Placed, Score, Totals

__all__ = [
    "NETWORKS",
    "TRIALS",
    "network_answers",
    "trial_sums",
    "unit_scores",
    "unit_sums",
]

Columns = dict[str, Floats]


def sum_trials(matched: AlignedAnswers, column: Floats) -> Floats:
    """(U,) sums of a column of trials (T,) over each unit."""
    return np.bincount(matched.unit, column, minlength=matched.n_units).astype(np.float64)


def trial_sums(matched: AlignedAnswers) -> Columns:
    """Sums over trials: how many, answered, right, and the observer's side by the true side."""
    first = matched.first_is_positive.astype(np.float64)
    ones = np.ones(len(first))
    return {
        "trials": sum_trials(matched, ones),
        "answered": sum_trials(matched, matched.answered.astype(np.float64)),
        "credit": sum_trials(matched, matched.credit),
        "positive first": sum_trials(matched, first),
        "first when right": sum_trials(matched, matched.first * first),
        "first when wrong": sum_trials(matched, matched.first * (1 - first)),
    }


def _side_bias(t: Totals) -> Floats:
    when_right = t["first when right"] / t["positive first"]
    when_wrong = t["first when wrong"] / (t["trials"] - t["positive first"])
    return np.asarray((when_right + when_wrong) / 2 - 0.5)


TRIALS = (
    Score("proportion_correct", "proportion", lambda t: t["credit"] / t["trials"], scale="logit"),
    Score("coverage", "proportion", lambda t: t["answered"] / t["trials"], ends=(0.0, 1.0)),
    Score(
        "side_bias",
        "proportion",
        _side_bias,
        undefined="the correct query is on one side only",
        ends=(-0.5, 0.5),
    ),
)
"""Proportion correct (every trial counts once), coverage, and side bias.

Side bias: probability of choosing the query shown first, averaged over trials where it is the
correct one and trials where it is not, less one half. An observer that is right more often on
one side only because the correct query stood there more often has none.
"""


def unit_sums(matched: AlignedAnswers) -> Columns:
    """Moments over conditions of the observer's mean prediction (x) and people's mean (y).

    A point is a condition (unit, mode, difficulty), the level at which about 30 people answered;
    both means are over the same answers.
    """
    x, y = matched.condition_means()
    return {"moments": sum_conditions(matched, moments(x - x.mean(), y - y.mean()))}


def unit_scores(matched: AlignedAnswers) -> tuple[Score, ...]:
    """Pearson and Spearman correlation over conditions, clustered by unit."""
    x, y = matched.condition_means()
    unit = matched.unit_of_condition
    facts: dict[str, Any] = {
        "undefined": "fewer than three conditions, or no variation between them",
        "scale": "fisher",
    }
    few = len(x) < 3

    def ranks(t: Totals) -> Floats:
        return spearman(x, y, t["weights"][:, unit])

    def nothing(t: Totals) -> Floats:
        return np.full(len(t["weights"]), np.nan)

    def of_moments(t: Totals) -> Floats:
        return pearson(t["moments"])

    return (
        Score("unit_pearson", "r", nothing if few else of_moments, curved=True, **facts),
        Score("unit_spearman", "rho", nothing if few else ranks, **facts),
    )


def sum_conditions(matched: AlignedAnswers, columns: Floats) -> Floats:
    """(U, …) sums over each unit's conditions of columns (C, …)."""
    summed = np.zeros((matched.n_units, *columns.shape[1:]))
    np.add.at(summed, matched.unit_of_condition, columns)
    return summed


def network_answers(matched: AlignedAnswers) -> dict[str, Placed]:
    """Answers, sum of predictions and correct answers for each of G network conditions, (G, 3).

    A network condition (network, mode, difficulty) is a bar of the paper's figure.
    """
    place = matched.network_condition
    return {"networks": Placed(place[matched.trial], told_and_heard(matched), int(place.max()) + 1)}


def told_and_heard(matched: AlignedAnswers) -> Floats:
    """(R, 3) for each human answer: one, the prediction, and whether it is correct."""
    told = matched.p_correct[matched.trial]
    return np.column_stack([np.ones_like(told), told, matched.correct])


def _over_networks(
    correlation: Callable[[Floats, Floats], Floats],
) -> Callable[[Totals], Floats]:
    def of(t: Totals) -> Floats:
        answers, told, people = np.moveaxis(t["networks"], -1, 0)
        if answers.shape[-1] < 3:
            return np.full(len(answers), np.nan)
        return correlation(told / answers, people / answers)

    return of


def _network_r(x: Floats, y: Floats) -> Floats:
    there = np.isfinite(x)
    x, y = np.where(there, x - 0.5, 0.0), np.where(there, y - 0.5, 0.0)
    columns = moments(x, y)
    columns[..., 0] = there
    return pearson(columns.sum(axis=-2))


def _without_noise(totals: Floats, noise: Floats) -> Floats:
    """Totals whose conditions vary less around their mean, by as much as noise adds.

    With S the scatter of the conditions seen (predicted and people's means) and N that of the
    noise, the deviations are multiplied by a matrix A with ``A S A' = S - N``, negative variances
    taken as zero. What is drawn around them then varies as what was seen does.
    """
    answers = totals[:, :1]
    seen, added = totals[:, 1:] / answers, noise[..., 1:] / answers
    middle = seen.mean(axis=0)
    away, added = seen - middle, added - added.mean(axis=-2, keepdims=True)
    scatter = away.T @ away
    if np.linalg.det(scatter) <= _FLAT * scatter[0, 0] * scatter[1, 1]:
        return totals
    root = np.linalg.cholesky(scatter)
    inverse = np.linalg.inv(root)
    of_noise = np.einsum("bki,bkj->ij", added, added) / len(added)
    shares, axes = np.linalg.eigh(np.eye(2) - inverse @ of_noise @ inverse.T)
    shrink = root @ (axes * np.sqrt(np.maximum(shares, 0))) @ axes.T @ inverse
    return np.column_stack([answers, (middle + away @ shrink.T) * answers])


_FLAT = 1e-12
_FEW_NETWORKS = "fewer than three network conditions, or no variation between them"
NETWORKS = (
    Score(
        "network_pearson",
        "r",
        _over_networks(_network_r),
        undefined=_FEW_NETWORKS,
        scale="drawn fisher",
        settled=_without_noise,
    ),
    Score(
        "network_kendall",
        "tau-b",
        _over_networks(kendall_tau_b),
        undefined=_FEW_NETWORKS,
        scale="drawn",
    ),
)
"""Correlation and rank agreement of network conditions."""
