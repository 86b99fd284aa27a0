"""The robust calibration: one decision variable far out of scale decides nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.simulated_panel import panel

from imi_bench.choice.calibrate import Calibration, calibrate
from imi_bench.scores.alignment import align_answers
from imi_bench.scores.likelihood import bits_above_chance
from imi_bench.stats.squash import out_of_scale, robust_scale


def _bits(decisions, study, **options) -> float:
    calibration = calibrate(decisions, study, **options)
    matched = align_answers(decisions, study, calibration=calibration)
    return float(bits_above_chance(matched.p_correct[matched.trial], matched.correct).mean())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("which", ["surest", "middling"])
def test_one_value_at_minus_thirty_in_four_hundred_costs_under_a_hundredth(seed, which) -> None:
    decisions, study = panel(
        rng=np.random.default_rng(seed), units=40, batches=5, people=15, evidence_mean=1.0
    )
    assert len(decisions) == 400
    value = decisions.decision_variable.copy()
    order = np.argsort(decisions.toward_correct)
    row = int(order[-1] if which == "surest" else order[200])
    value[row] = -30 * np.sign(value[row])
    spoilt = replace(decisions, decision_variable=value)
    clean = _bits(decisions, study)
    assert clean - _bits(spoilt, study, robust=False) > 0.012
    assert clean - _bits(spoilt, study) < 0.01
    assert abs(_bits(decisions, study, robust=False) - clean) < 0.003
    assert "1 of 400 values out of scale" in calibrate(spoilt, study).label


def test_a_heavy_tail_keeps_its_voice_and_the_scale_is_nobodys_answer() -> None:
    rng = np.random.default_rng(0)
    heavy = rng.standard_t(2, size=2000)
    assert not out_of_scale(heavy).any()
    assert out_of_scale(np.append(heavy, 1e6)).sum() == 1
    assert not out_of_scale(np.repeat([0.0, 2.0], [395, 5])).any()
    assert not out_of_scale(np.zeros(9)).any()
    assert not out_of_scale(np.array([np.nan, 1.0])).any()
    assert robust_scale(np.append(heavy, [1e6] * 20)) < 3


def test_a_whole_network_on_a_larger_scale_is_not_out_of_scale() -> None:
    x = np.random.default_rng(0).normal(size=400)
    assert not out_of_scale(np.concatenate([x, 30 * x[:100]])).any()


def test_it_travels_in_json_and_old_files_are_read_as_they_were() -> None:
    decisions, study = panel(rng=np.random.default_rng(0), units=20, batches=3)
    guarded, plain = (calibrate(decisions, study, robust=r) for r in (True, False))
    again = Calibration.from_json(guarded.to_json())
    assert again.hash == guarded.hash
    assert again.guarded
    assert plain.label.endswith("not guarded")
    assert all(fit.lapse.value >= 0.01 for fit in guarded.fits)
    old = {k: v for k, v in plain.to_json().items() if k != "guarded"}
    assert not Calibration.from_json(old).guarded
    np.testing.assert_array_equal(
        again.predict(decisions, study.trials).p_correct,
        guarded.predict(decisions, study.trials).p_correct,
    )
