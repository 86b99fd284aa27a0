"""The model of benchmarks/tiny_vlm.py, trained as there: the study finds what is known of it."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from support.benchmark_scripts import benchmark

import imi_bench as imi

pytestmark = [pytest.mark.slow, pytest.mark.vision]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return benchmark("tiny_vlm")


def test_the_curve_is_the_mechanism_s(script: ModuleType, tmp_path: Path) -> None:
    weights = tmp_path / "tiny_vlm.npz"
    np.savez(weights, **script.train(script.Eye(), seed=0, worlds=6))
    tests, pool = script.worlds_of_the_test(0)
    made = script.load(str(weights))
    found = imi.fewshot(
        made,
        tests,
        pool=pool,
        shots=(0, 1, 4),
        draws=4,
        pool_units=16,  # of four units alone, all draws would show the same four trials
        ablations=("labels",),
        repeats=0,
        near="keep",
    )
    kept = tests.take(np.isin(tests.index.trial_id, found.answers["trial_id"].unique()))
    solved, _, _ = script.set_aside(tests, units=16, pool=pool, near="keep")
    assert found.pool_units == 16
    for (shots, ablation, draw), own in found.answers.groupby(["shots", "ablation", "draw"]):
        known = script.by_hand(made.model, kept, solved, shots=shots, draw=draw, ablation=ablation)
        assert own["credit"].mean() == pytest.approx(known)
    by_shots = {p.shots: p.accuracy.value for p in found.points if p.ablation == "none"}
    assert by_shots[0] == 0.5
    assert by_shots[4] == pytest.approx(0.8, abs=0.1)
