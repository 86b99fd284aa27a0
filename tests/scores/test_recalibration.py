"""Bias and slope of predictions: hand values, and the regression of statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import logit
from support.simulated_panel import panel

from imi_bench.choice.calibrate import Calibration
from imi_bench.choice.fitting import PsychometricParameters
from imi_bench.scores.alignment import align_answers
from imi_bench.scores.recalibration import logistic_line
from imi_bench.scores.report import leave_out, score


def slope_of(matched) -> float:
    x = sm.add_constant(logit(matched.p_correct[matched.trial]))
    return float(sm.GLM(matched.correct, x, family=sm.families.Binomial()).fit().params[1])


@pytest.fixture(scope="module")
def matched():
    study = panel(rng=np.random.default_rng(8), units=30, slope=0.8)
    steep = Calibration.fixed(PsychometricParameters(1.2), label="steep")
    return align_answers(*study, calibration=steep)


@pytest.fixture(scope="module")
def found(matched):
    return leave_out(matched, seed=0, n_draws=0)


def test_bias_is_what_was_told_less_what_was_heard(matched, found):
    told = matched.p_correct[matched.trial].mean()
    assert found["calibration_bias"].value == pytest.approx(told - matched.correct.mean())


def test_slope_is_that_of_statsmodels_and_below_one_where_too_sure(matched, found):
    assert found["calibration_slope"].value == pytest.approx(slope_of(matched), abs=1e-8)
    assert found["calibration_slope"].value == pytest.approx(0.8 / 1.2, abs=0.08)


def test_without_a_unit_it_is_nearly_the_slope_of_the_others(matched, found):
    error = found["calibration_slope"].spread.variance ** 0.5
    for unit in (0, 11, 29):
        again = slope_of(matched.take(matched.unit != unit))
        assert found["calibration_slope"].without_unit[unit] == pytest.approx(
            again, abs=0.02 * error
        )


@pytest.mark.parametrize("hits", [[0, 0, 4, 4], [4, 4, 4, 4]])
def test_separated_answers_have_no_slope(hits):
    assert np.isnan(logistic_line(np.arange(4.0), np.array(hits, float), np.full(4, 4.0))).all()


def test_a_coin_has_no_slope_and_says_why():
    decisions, shown = panel(rng=np.random.default_rng(1), units=6, slope=0.8)
    coin = Calibration.fixed(PsychometricParameters(0.0), label="coin")
    line = score(decisions, shown, calibration=coin, by=(), n_resamples=0)["calibration_slope"]
    assert np.isnan(line.estimate.value)
    assert "all predictions alike" in line.estimate.reason
