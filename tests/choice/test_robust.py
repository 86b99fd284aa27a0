"""The robust calibration: one decision variable far out of scale decides nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.simulated_panel import panel

from imi_bench.choice.calibrate import Calibration, calibrate
from imi_bench.scores.alignment import align_answers
from imi_bench.scores.likelihood import bits_above_chance


def _bits(decisions, study, **options) -> float:
    calibration = calibrate(decisions, study, **options)
    matched = align_answers(decisions, study, calibration=calibration)
    return float(bits_above_chance(matched.p_correct[matched.trial], matched.correct).mean())


@pytest.mark.parametrize("seed", range(4))
def test_one_value_at_minus_thirty_in_four_hundred_costs_little(seed) -> None:
    decisions, study = panel(
        rng=np.random.default_rng(seed), units=40, batches=5, people=15, evidence_mean=1.0
    )
    assert len(decisions) == 400
    value = decisions.decision_variable.copy()
    row = int(np.argmax(decisions.toward_correct))
    value[row] = -30 * np.sign(value[row])
    spoilt = replace(decisions, decision_variable=value)
    clean = _bits(decisions, study)
    plain, robust = _bits(spoilt, study), _bits(spoilt, study, robust=True)
    assert robust > plain - 0.002
    assert clean - robust < 0.03
    assert abs(_bits(decisions, study, robust=True) - clean) < 0.008


def test_it_travels_in_json_and_leaves_other_files_as_they_were() -> None:
    decisions, study = panel(rng=np.random.default_rng(0), units=20, batches=3)
    robust, plain = (calibrate(decisions, study, robust=r) for r in (True, False))
    again = Calibration.from_json(robust.to_json())
    assert again.hash == robust.hash
    assert again.label.endswith("robust")
    assert all(fit.lapse.value >= 0.01 for fit in robust.fits)
    assert "scales" not in plain.to_json()
    np.testing.assert_array_equal(
        again.predict(decisions, study.trials).p_correct,
        robust.predict(decisions, study.trials).p_correct,
    )
