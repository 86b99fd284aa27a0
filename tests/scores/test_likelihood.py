"""Bits, Brier and calibration error: hand values and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss
from support.simulated_panel import panel

from imi_bench.choice.calibrate import Calibration, calibrate
from imi_bench.choice.fitting import PsychometricParameters
from imi_bench.scores.alignment import align_answers
from imi_bench.scores.likelihood import bits_above_chance, reliability_diagram
from imi_bench.scores.report import leave_out, score


@pytest.fixture(scope="module")
def study():
    return panel(rng=np.random.default_rng(8), units=60, slope=0.8, lapse=0.1)


@pytest.fixture(scope="module")
def matched(study):
    return align_answers(*study, calibration=calibrate(*study))


@pytest.fixture(scope="module")
def draws(matched):
    return leave_out(matched, seed=0, n_draws=5)


def test_hand_derived_bits():
    p, correct = np.array([0.5, 1.0, 0.25, 0.75, 0.0]), np.array([1, 1, 1, 0, 0])
    assert bits_above_chance(p, correct) == pytest.approx([0, 1, -1, -1, 1])
    assert np.isfinite(bits_above_chance(np.array([0.0]), np.array([1.0])))


def test_bits_are_the_log_loss_of_scikit_learn(matched, draws):
    p = matched.p_correct[matched.trial]
    reference = 1 - log_loss(matched.correct, p) / np.log(2)
    assert draws["bits"].value == pytest.approx(reference, abs=1e-12)


def test_brier_is_that_of_scikit_learn(matched, draws):
    p = matched.p_correct[matched.trial]
    assert draws["brier"].value == pytest.approx(brier_score_loss(matched.correct, p), abs=1e-12)


def test_reliability_diagram_is_that_of_scikit_learn(matched, draws):
    p = matched.p_correct[matched.trial]
    observed, predicted = calibration_curve(matched.correct, p, n_bins=10, strategy="uniform")
    diagram = reliability_diagram(matched)
    filled = diagram.answers > 0
    assert diagram.observed[filled] == pytest.approx(observed)
    assert diagram.predicted[filled] == pytest.approx(predicted)
    assert diagram.answers.sum() == len(p)
    gap = np.abs(diagram.observed - diagram.predicted)[filled] * diagram.answers[filled]
    assert draws["ece"].value == pytest.approx(gap.sum() / len(p))


def test_a_coin_is_worth_nothing(study):
    decisions, shown = study
    flat = Calibration.identity()
    tied = type(decisions)(
        "coin",
        decisions.trial_id,
        np.zeros(len(decisions)),
        ["tie"] * len(decisions),
        decisions.shown_first,
        decisions.seconds,
    )
    found = score(tied, shown, calibration=flat, by=(), n_resamples=10).scores
    assert found["bits"].estimate.value == 0
    assert found["brier"].estimate.value == 0.25
    assert found["proportion_correct"].estimate.value == 0.5
    assert np.isnan(found["unit_pearson"].estimate.value)
    assert "no variation" in found["unit_pearson"].estimate.reason


def test_calibration_beats_no_calibration_and_the_truth_beats_both(study):
    decisions, shown = study
    told = {
        name: score(decisions, shown, calibration=made, by=(), n_resamples=0)
        .scores["bits"]
        .estimate.value
        for name, made in (
            ("identity", Calibration.identity()),
            ("fitted", calibrate(decisions, shown)),
        )
    }
    assert told["fitted"] > told["identity"]
    truth = 0.05 + 0.9 / (1 + np.exp(-0.8 * decisions.toward_correct[shown.rows]))
    best = bits_above_chance(truth, shown.responses.correct).mean()
    assert told["fitted"] == pytest.approx(best, abs=0.003)


def test_the_calibration_error_has_no_interval_and_says_why(study):
    line = score(*study, by=(), n_resamples=0)["ece"]
    assert line.estimate.value > 0
    assert np.isnan([line.estimate.low, line.estimate.high, line.resolvable]).all()
    assert "calibration_slope" in line.estimate.reason


def test_an_empty_bin_is_not_zero(study):
    timid = Calibration.fixed(PsychometricParameters(0.1), label="timid")
    diagram = reliability_diagram(align_answers(*study, calibration=timid))
    empty = diagram.answers == 0
    assert empty.any()
    assert np.isnan(diagram.observed[empty]).all()
    record = diagram.to_json()
    assert [v is None for v in record["observed"]] == empty.tolist()
