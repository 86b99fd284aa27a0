"""How well people predict people: what an observer can be asked to reach.

Nothing here is cut at 1, and an observer above its ceiling is shown as such: a ceiling is itself
an estimate, and for a reason given with each it can be low.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from imi_bench.arrays import Floats
from imi_bench.provenance import generator
from imi_bench.scores.agreement import sum_conditions
from imi_bench.scores.alignment import AlignedAnswers
from imi_bench.scores.consistency import KAPPA, pooled_kappa, stratified_kappa
from imi_bench.scores.likelihood import bits_above_chance
from imi_bench.stats.correlation import moments, pearson
from imi_bench.stats.sums import Score, Totals

__all__ = [
    "CEILINGS",
    "LEFT_OUT",
    "binomial_sums",
    "left_out_answers",
    "pair_sums",
    "spearman_brown",
    "split_half_sums",
]

Columns = dict[str, Floats]

N_SPLITS = 100
_NO_TRIAL_EFFECT = 1e6


def spearman_brown(r: Floats, *, factor: float = 2.0) -> Floats:
    """Reliability of a test `factor` times as long as one of reliability r.

    Spearman (1910) and Brown (1910): ``factor * r / (1 + (factor - 1) * r)``.

    Examples
    --------
    >>> float(spearman_brown(np.array(0.5)))
    0.6666666666666666
    """
    return np.asarray(factor * r / (1 + (factor - 1) * r))


def split_half_sums(matched: AlignedAnswers, *, seed: int, n_splits: int = N_SPLITS) -> Columns:
    """(U, n_splits, 6) moments over conditions of the two halves' proportions correct.

    Each split deals the answers of every condition at random into halves (an odd one to either).
    Only the number of correct answers in a half matters, and that is hypergeometric: drawing it
    is dealing the answers. Conditions with a single answer are left out.
    """
    answers = np.bincount(matched.condition, matched.answers).astype(np.int64)
    hits = np.bincount(matched.condition, matched.hits).astype(np.int64)
    rng = generator(seed, "split halves")
    size = (n_splits, len(answers))
    half = answers // 2 + (rng.integers(0, 2, size) & (answers % 2))
    half = np.clip(half, 1, np.maximum(answers - 1, 1))
    one = rng.hypergeometric(hits, answers - hits, half)
    usable = answers > 1
    rest = np.where(usable, answers - half, 1)
    centre = hits.sum() / answers.sum()
    columns = moments((one / half - centre).T, ((hits - one) / rest - centre).T)
    columns[~usable] = 0.0
    return {"halves": sum_conditions(matched, columns)}


def _split_half(t: Totals) -> Floats:
    return spearman_brown(pearson(t["halves"]).mean(axis=-1))


def binomial_sums(matched: AlignedAnswers) -> Columns:
    """(U, 4) over conditions: one, y, y squared, and the binomial variance of y.

    y is people's proportion correct; ``y (1 - y) / (n - 1)`` is the unbiased estimate of its
    sampling variance ``p (1 - p) / n``. Conditions with a single answer are left out.
    """
    n = np.bincount(matched.condition, matched.answers)
    y = np.bincount(matched.condition, matched.hits) / n
    usable = n > 1
    noise = y * (1 - y) / np.where(usable, n - 1, 1)
    centred = y - y.mean()
    columns = np.stack([np.ones_like(y), centred, centred**2, noise], axis=-1)
    return {"binomial": sum_conditions(matched, columns * usable[:, None])}


def _binomial(t: Totals) -> Floats:
    n, y, yy, noise = np.moveaxis(t["binomial"], -1, 0)
    observed = (yy - y * y / n) / np.where(n > 1, n - 1, np.nan)
    observed = np.where(observed > 1e-12, observed, np.nan)
    return np.asarray(1 - noise / n / observed)


def pair_sums(matched: AlignedAnswers) -> Columns:
    """(U, G, 5) agreement of two people on the same trial, each answer against the trial's others.

    By network condition: answers in trials with two or more, correct ones, for each answer the
    share of the other answers to its trial that agree with it, summed, n / (n - 1) of each such
    trial of n answers, summed, and such trials.
    """
    n, k = matched.answers, matched.hits
    several = n > 1
    others = np.where(several, n - 1, 1)
    alike = (k * (k - 1) + (n - k) * (n - k - 1)) / others
    place = (matched.unit, matched.network_condition)
    table = np.zeros((matched.n_units, int(matched.network_condition.max()) + 1, 5))
    for column, values in enumerate((n, k, alike, n / others, np.ones(len(n)))):
        np.add.at(table[..., column], place, values * several)
    return {"pairs": table}


def _between_people(t: Totals, *, kappa: Callable[..., Floats]) -> Floats:
    count, hits, alike = np.moveaxis(t["pairs"][..., :3], -1, 0)
    return kappa(count=count, alike=alike, first=hits, second=hits)


def _least(t: Totals, *, pooled: bool) -> Floats:
    """Kappa of trials that are all as hard as one another and nobody guesses differently.

    Of trials with n answers each, -1 / (n - 1).
    """
    count, hits, _, odds, _ = np.moveaxis(_strata(t, pooled=pooled), -1, 0)
    share = hits / np.where(count > 0, count, 1.0)
    apart = 2 * share * (1 - share)
    alike = count * (1 - apart) - apart * odds
    return stratified_kappa(count=count, alike=alike, first=hits, second=hits)


def _trials(t: Totals, *, pooled: bool) -> Floats:
    """Trials less one a condition, at least 1."""
    trials = _strata(t, pooled=pooled)[..., 4]
    return np.asarray(np.maximum(trials.sum(axis=-1) - (trials > 0).sum(axis=-1), 1.0))


def _strata(t: Totals, *, pooled: bool) -> Floats:
    return t["pairs"].sum(axis=-2, keepdims=True) if pooled else t["pairs"]


def _of_people(name: str, kappa: Callable[..., Floats], *, pooled: bool) -> Score:
    return Score(
        name,
        "kappa",
        partial(_between_people, kappa=kappa),
        least=partial(_least, pooled=pooled),
        trials=partial(_trials, pooled=pooled),
        undefined="no trial was answered by two people, or all are right",
        **KAPPA,
    )


_TO_ONE = (-math.inf, 1.0)
CEILINGS = (
    Score("split_half_reliability", "reliability", _split_half, curved=True, ends=_TO_ONE),
    Score("binomial_reliability", "reliability", _binomial, curved=True, ends=_TO_ONE),
    _of_people("human_consistency", stratified_kappa, pooled=False),
    _of_people("pooled_human_consistency", pooled_kappa, pooled=True),
)
"""Reliability of people's proportions by condition, and people's error consistency.

``split_half_reliability``: correlation of random halves, averaged over splits, stepped up by
Spearman and Brown. ``binomial_reliability``: one less the mean binomial sampling variance over the
variance of the proportions. The square root of either is the correlation that the true
proportions would reach. Both count differences between the trials of one condition as noise, which
an observer that sees the trials may predict: it can then stand above the ceiling.

``human_consistency``: kappa between single answers of two people to the same trial, within network
conditions; ``pooled_human_consistency`` is that of all trials thrown together (Fleiss' kappa where
all trials have as many answers). An observer that predicts the majority can stand above them.
"""


def left_out_answers(matched: AlignedAnswers) -> Columns:
    """(R,) columns of human answers, each predicted from other participants alone.

    Two steps of shrinkage. The condition (unit, mode, difficulty) is predicted by the posterior
    mean ``c = (k + a) / (n + a + b)`` of k correct among the n answers that *other* participants
    gave to it; the beta prior (a, b) of each mode and difficulty has the mean and the
    binomial-corrected variance of its conditions. The trial is predicted by
    ``(k_t + s c) / (n_t + s)`` of the others' answers to the very trial, with s from how much more
    people agree on one trial than on two trials of a condition (`trial_prior`). Both priors are
    held fixed when a unit is left out.
    """
    condition = matched.condition[matched.trial]
    n = np.bincount(condition).astype(np.float64)
    k = np.bincount(condition, matched.correct).astype(np.float64)
    own = np.unique(np.stack([condition, matched.participant]), axis=1, return_inverse=True)[1]
    own = own.ravel()
    others = n[condition] - np.bincount(own)[own]
    right = k[condition] - np.bincount(own, matched.correct)[own]
    a, b = beta_priors(matched, n, k)
    expected = (right + a[condition]) / (others + a[condition] + b[condition])
    size = trial_prior(matched, n, k)
    in_trial = matched.answers[matched.trial] - 1
    right_in_trial = matched.hits[matched.trial] - matched.correct
    p = (right_in_trial + size * expected) / (in_trial + size)
    return {
        "left out bits": bits_above_chance(p, matched.correct),
        "left out squared error": (p - matched.correct) ** 2,
    }


def trial_prior(matched: AlignedAnswers, n: Floats, k: Floats) -> float:
    """Weight, in answers, of a condition's proportion as the prior of its trials'.

    ``s = (1 - r) / r`` with r the correlation of two answers to one trial within a condition:
    ``r = (A_t - A_c) / (1 - A_c)`` where A_t and A_c are the shares of agreeing pairs of answers to
    the same trial, and to different trials of the same condition.
    """
    same, same_alike = _pairs(matched.answers, matched.hits)
    within, within_alike = _pairs(n, k)
    different, different_alike = within - same, within_alike - same_alike
    if min(same, different) == 0 or different_alike == different:
        return _NO_TRIAL_EFFECT
    by_condition = different_alike / different
    r = (same_alike / same - by_condition) / (1 - by_condition)
    return float(np.clip((1 - r) / r, 0.01, _NO_TRIAL_EFFECT)) if r > 0 else _NO_TRIAL_EFFECT


def _pairs(n: Floats, k: Floats) -> tuple[float, float]:
    """Ordered pairs of answers within groups of n with k correct, and those that agree."""
    alike = k * (k - 1) + (n - k) * (n - k - 1)
    return float((n * (n - 1)).sum()), float(alike.sum())


def beta_priors(matched: AlignedAnswers, n: Floats, k: Floats) -> tuple[Floats, Floats]:
    """(C,) parameters a, b of each condition's beta prior, by moments."""
    rows = np.unique(matched.condition, return_index=True)[1]
    kinds = [f"{matched.index.mode[r]}/{matched.index.difficulty[r]}" for r in rows]
    kind = np.unique(kinds, return_inverse=True)[1]
    a, b = np.empty(len(n)), np.empty(len(n))
    for code in np.unique(kind):
        here = kind == code
        mean = (k[here].sum() + 1) / (n[here].sum() + 2)
        y, several = k[here] / n[here], n[here] > 1
        spread = 0.0
        if several.sum() > 1:
            noise = (y * (1 - y))[several] / (n[here][several] - 1)
            spread = y[several].var(ddof=1) - noise.mean()
        spread = np.clip(spread, 1e-6, 0.99 * mean * (1 - mean))
        size = mean * (1 - mean) / spread - 1
        a[here], b[here] = mean * size, (1 - mean) * size
    return a, b


LEFT_OUT = (
    Score(
        "left_out_bits",
        "bits/answer",
        lambda t: t["left out bits"] / t["answers"],
        over_people=True,
        scale="growing",
        growth=0.5,
        ends=_TO_ONE,
    ),
    Score(
        "left_out_brier",
        "squared error",
        lambda t: t["left out squared error"] / t["answers"],
        over_people=True,
        scale="growing",
        origin=0.25,
        growth=0.5,
        ends=(0.0, 1.0),
    ),
)
"""How well the other participants predict a participant, in the units of the observer's scores."""
