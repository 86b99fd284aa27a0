"""Condition means: by hand, against a direct scipy bootstrap, beside the published ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from imi_bench.release.conditions import condition_means
from imi_bench.release.published import Condition, published
from imi_bench.simulation.parameters import SimulationParameters
from imi_bench.simulation.study import simulate_study
from imi_bench.tables import Responses, Study, TrialIndex


def tiny(correct: list[list[bool]]) -> Study:
    """One trial a unit, one participant an answer."""
    count = len(correct)
    trials = TrialIndex(
        trial_id=[f"t{u}" for u in range(count)],
        network=["resnet50"] * count,
        layer=["layer1"] * count,
        unit=range(count),
        mode=["natural"] * count,
        difficulty=["easy"] * count,
        batch=[1] * count,
        catch=[False] * count,
    )
    cells = [(f"t{u}", f"P{p}", c) for u, row in enumerate(correct) for p, c in enumerate(row)]
    ids, people, right = zip(*cells, strict=True)
    unknown = [math.nan] * len(cells)
    return Study(trials, Responses(ids, people, right, unknown, unknown, unknown, True, "test"))


def test_mean_over_units_by_hand() -> None:
    (one,) = condition_means(tiny([[True, False], [True], [True, True, True, False]]))
    assert one.mean.value == pytest.approx((0.5 + 1 + 0.75) / 3)
    assert (one.units, one.participants, one.answers_per_unit) == (3, 4, (1, 4))
    assert (one.mean.n, one.mean.clusters) == (7, 3)


def test_interval_is_the_authors_bootstrap() -> None:
    study = simulate_study(SimulationParameters((Condition("resnet50", "natural"),)), seed=1).study
    (one,) = condition_means(study, seed=3)
    units = study.to_frame().groupby("unit_id")["correct"].mean().to_numpy()
    direct = stats.bootstrap((units,), np.mean, n_resamples=10_000, rng=0).confidence_interval
    assert one.mean.low == pytest.approx(direct.low, abs=0.003)
    assert one.mean.high == pytest.approx(direct.high, abs=0.003)
    assert one.mean == condition_means(study, seed=3)[0].mean
    known = published().networks["resnet50"].natural
    assert one.published == known
    errors = np.array([one.mean.high - one.mean.low, known.high - known.low]) / 3.919928
    expected = (one.mean.value - known.value) / np.hypot(*errors)
    assert one.standard_errors_off == pytest.approx(expected, rel=1e-6)


def test_one_unit_has_no_interval() -> None:
    (one,) = condition_means(tiny([[True, False]]))
    assert one.mean.value == 0.5
    assert math.isnan(one.mean.low)
    assert one.mean.reason
    assert math.isnan(one.standard_errors_off)


def test_conditions_come_in_the_published_order() -> None:
    conditions = (
        Condition("resnet50", "natural", "hard95"),
        Condition("resnet50", "synthetic"),
        Condition("googlenet", "natural"),
    )
    study = simulate_study(SimulationParameters(conditions), seed=1).study
    found = condition_means(study, n_resamples=100)
    assert [one.condition for one in found] == [conditions[2], conditions[1], conditions[0]]
    assert found[2].published is None
