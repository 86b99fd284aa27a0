"""Human ceilings: hand values, brute force over answers, statsmodels, and simulation."""

from __future__ import annotations

import dataclasses
import itertools
import statistics

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.inter_rater import fleiss_kappa
from support.simulated_panel import panel

from imi_bench.choice.calibrate import Calibration
from imi_bench.scores.alignment import AlignedAnswers, align_answers
from imi_bench.scores.ceiling import (
    CEILINGS,
    beta_priors,
    left_out_answers,
    pair_sums,
    spearman_brown,
    split_half_sums,
)
from imi_bench.scores.report import leave_out
from imi_bench.stats.correlation import pearson
from imi_bench.stats.intervals import estimate


def matched_of(**settings) -> AlignedAnswers:
    decisions, study = panel(rng=np.random.default_rng(2), **settings)
    return align_answers(decisions, study, calibration=Calibration.identity())


@pytest.fixture(scope="module")
def matched() -> AlignedAnswers:
    return matched_of(units=50, unit_sd=1.0, evidence_sd=0.3)


def test_hand_derived_spearman_brown():
    assert spearman_brown(np.array([0.0, 0.5, 1.0])) == pytest.approx([0, 2 / 3, 1])
    assert spearman_brown(np.array(0.25), factor=3) == pytest.approx(0.5)


def test_split_halves_are_those_of_dealing_answers_one_by_one(matched):
    fast = pearson(split_half_sums(matched, seed=0, n_splits=4000)["halves"].sum(axis=0))
    rng = np.random.default_rng(0)
    condition = matched.condition[matched.trial]
    slow = []
    for _ in range(400):
        order = np.lexsort([rng.random(len(condition)), condition])
        place = np.arange(len(order)) - np.searchsorted(condition[order], condition[order])
        one = place < 15  # 30 answers a condition: ten trials of three people
        means = [
            np.bincount(condition[order][half], matched.correct[order][half]) / 15
            for half in (one, ~one)
        ]
        slow.append(stats.pearsonr(*means)[0])
    assert np.bincount(condition).tolist() == [30] * 100
    error = np.std(slow) / 20 + np.std(fast) / 60
    assert fast.mean() == pytest.approx(np.mean(slow), abs=4 * error)
    assert fast.std() == pytest.approx(np.std(slow), rel=0.15)  # 4 sigma of 400


def test_halves_of_a_condition_add_up_to_it(matched):
    columns = split_half_sums(matched, seed=3, n_splits=7)["halves"].sum(axis=0)
    centre = matched.correct.mean()
    both = columns[:, 1] + columns[:, 2]  # 15 + 15 answers: the two halves' means sum to 2 y
    y = np.bincount(matched.condition, matched.hits) / np.bincount(
        matched.condition, matched.answers
    )
    assert both == pytest.approx(np.full(7, 2 * (y - centre).sum()), abs=1e-9)


@pytest.mark.slow
def test_both_reliabilities_find_the_true_one():
    matched = matched_of(units=2000, people=3, unit_sd=1.0, evidence_sd=0.01)
    found = leave_out(matched, seed=0, n_draws=0)
    # every trial of a unit has the same evidence: p depends on the unit's effect alone
    effect = np.random.default_rng(9).normal(1, 1.0, 200_000)
    p = 1 / (1 + np.exp(-effect))
    reliability = p.var() / (p.var() + (p * (1 - p)).mean() / 30)
    assert found["binomial_reliability"].value == pytest.approx(reliability, abs=0.02)
    assert found["split_half_reliability"].value == pytest.approx(reliability, abs=0.02)


def test_hand_derived_binomial_decomposition():
    # two conditions of 4 answers, 1 and 3 correct: variance 0.125, noise 0.1875/3 = 0.0625
    matched = matched_of(units=2, batches=1, people=4, modes=("natural",), networks=1)
    fixed = dataclasses.replace(matched, correct=np.array([1.0, 0, 0, 0, 1, 1, 1, 0]))
    found = leave_out(fixed, seed=0, n_draws=0)
    assert found["binomial_reliability"].value == pytest.approx(0.5)


def test_human_consistency_is_fleiss_kappa(matched):
    table = np.column_stack([matched.hits, matched.answers - matched.hits])
    found = leave_out(matched, seed=0, n_draws=0)["pooled_human_consistency"].value
    assert found == pytest.approx(fleiss_kappa(table), abs=1e-12)


def test_the_least_that_people_can_be_consistent(matched):
    """With n answers a trial, trials all alike give a kappa of -1 / (n - 1)."""
    assert np.unique(matched.answers).tolist() == [3]
    totals = {"pairs": pair_sums(matched)["pairs"].sum(axis=0, keepdims=True)}
    trials, conditions = len(matched.answers), len(np.unique(matched.network_condition))
    for score, strata in zip(CEILINGS[2:], (conditions, 1), strict=True):
        assert score.least(totals) == pytest.approx(-1 / 2)
        assert score.trials(totals) == trials - strata


def test_one_answer_a_trial_gives_no_human_consistency():
    found = leave_out(matched_of(units=10, people=1), seed=0, n_draws=0)
    assert np.isnan(found["human_consistency"].value)


def test_people_who_guess_have_no_ceiling():
    decisions, study = panel(rng=np.random.default_rng(0), units=30, lapse=1.0)
    found = leave_out(
        align_answers(decisions, study, calibration=Calibration.identity()), seed=0, n_draws=0
    )
    assert abs(found["human_consistency"].value) < 0.1
    assert found["left_out_bits"].value == pytest.approx(0, abs=0.01)


def priors_by_loops(matched, condition):
    """Beta prior of each condition: mean and variance over conditions of its mode and difficulty.

    The variance of the observed proportions less that of drawing n answers each.
    """
    kinds = {}
    for code in range(condition.max() + 1):
        row = next(t for t, c in zip(matched.trial, condition, strict=True) if c == code)
        kinds.setdefault((matched.index.mode[row], matched.index.difficulty[row]), []).append(code)
    a, b = {}, {}
    for codes in kinds.values():
        answers = [matched.correct[condition == code] for code in codes]
        mean = (sum(map(sum, answers)) + 1) / (sum(map(len, answers)) + 2)
        drawn = np.mean([y.var(ddof=1) / len(y) for y in answers])
        between = statistics.variance([y.mean() for y in answers]) - drawn
        between = min(max(between, 1e-6), 0.99 * mean * (1 - mean))
        size = mean * (1 - mean) / between - 1
        for code in codes:
            a[code], b[code] = mean * size, (1 - mean) * size
    return a, b


def trial_prior_by_pairs(matched, condition):
    same, different = [], []
    for code in range(condition.max() + 1):
        rows = np.flatnonzero(condition == code)
        for one, other in itertools.combinations(rows.tolist(), 2):
            alike = matched.correct[one] == matched.correct[other]
            (same if matched.trial[one] == matched.trial[other] else different).append(alike)
    chance = np.mean(different)
    correlation = (np.mean(same) - chance) / (1 - chance)
    return (1 - correlation) / correlation


class TestLeftOut:
    def test_a_participants_answers_do_not_predict_themselves(self, matched):
        person = matched.participant[0]
        mine = (matched.participant == person) & (
            matched.condition[matched.trial] == matched.condition[matched.trial[0]]
        )
        turned = dataclasses.replace(
            matched, correct=np.where(mine, 1 - matched.correct, matched.correct)
        )
        before, after = (
            2 ** (left_out_answers(m)["left out bits"][mine] - 1) for m in (matched, turned)
        )
        # P(answer) before and P(other answer) after are P and 1 - P of one prediction, but for
        # the priors, which are shared by all conditions
        assert before + after == pytest.approx(np.ones(mine.sum()), abs=0.02)

    def test_brute_force(self, matched):
        """One answer at a time, with priors from loops over pairs of answers and conditions."""
        condition = matched.condition[matched.trial]
        a, b = priors_by_loops(matched, condition)
        size = trial_prior_by_pairs(matched, condition)
        left_out = left_out_answers(matched)
        found = left_out["left out squared error"]
        for row in (0, 17, 401):
            rest = (condition == condition[row]) & (matched.participant != matched.participant[row])
            here = condition[row]
            prior = (matched.correct[rest].sum() + a[here]) / (rest.sum() + a[here] + b[here])
            near = rest & (matched.trial == matched.trial[row])
            p = (matched.correct[near].sum() + size * prior) / (near.sum() + size)
            assert found[row] == pytest.approx((p - matched.correct[row]) ** 2, abs=1e-12)
            of_this = p if matched.correct[row] else 1 - p
            assert left_out["left out bits"][row] == pytest.approx(1 + np.log2(of_this), abs=1e-9)

    def test_hand_derived_beta_prior(self):
        matched = matched_of(units=4, batches=1, people=4, modes=("natural",), networks=1)
        # y = 0, 1, 0, 1: variance 1/3 beyond the largest a beta of mean 1/2 allows, 0.25
        a, b = beta_priors(matched, np.full(4, 4.0), np.array([0.0, 4.0, 0.0, 4.0]))
        assert a == pytest.approx(np.full(4, 0.5 * (1 / 0.99 - 1)))
        assert b == pytest.approx(a)

    def test_it_lies_below_the_truth_and_above_chance(self):
        decisions, study = panel(rng=np.random.default_rng(4), units=300, unit_sd=1.0)
        found = leave_out(
            align_answers(decisions, study, calibration=Calibration.identity()), seed=0, n_draws=0
        )
        assert found["left_out_bits"].value > 0
        # who knows evidence and unit's effect is right about p: 1 - H(p) bits, over both
        nodes, weights = np.polynomial.hermite_e.hermegauss(40)
        eta = decisions.toward_correct[:, None] + nodes
        p = 1 / (1 + np.exp(-eta))
        bits = 1 + p * np.log2(p) + (1 - p) * np.log2(1 - p)
        assert found["left_out_bits"].value < (bits @ weights).mean() / weights.sum()


def test_ceilings_are_estimates_with_intervals(matched):
    left_out = leave_out(matched, seed=0, n_draws=200)
    for name in ("split_half_reliability", "binomial_reliability", "left_out_bits"):
        found = estimate(left_out[name], n=9, clusters=matched.n_units)
        assert found.low < left_out[name].value < found.high


def test_seed_decides_the_splits(matched):
    one, same, other = (
        split_half_sums(matched, seed=seed, n_splits=3)["halves"] for seed in (0, 0, 1)
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
