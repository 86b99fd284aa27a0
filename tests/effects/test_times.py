"""Response times: recovery of known effects, and every excluded answer stated."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from imi_bench.effects.table import AnswerTable, people_table
from imi_bench.effects.times import times_of
from imi_bench.errors import NotEnoughDataError
from imi_bench.simulation.parameters import SimulationParameters
from imi_bench.simulation.study import simulate_study

SMALL = SimulationParameters(units=10, units_hard=10, participants=8, main_trials=10, batches=2)


@pytest.fixture(scope="module")
def table() -> AnswerTable:
    return people_table(simulate_study(SMALL, seed=1).study)


def timed(table: AnswerTable, seed: int) -> AnswerTable:
    """Wrong answers take 1.3 times as long, synthetic exemplars 1.2 times."""
    rng, frame = np.random.default_rng(seed), table.frame
    people, which = np.unique(frame["participant"], return_inverse=True)
    log = 1.0 + np.log(1.2) * frame["synthetic"] - np.log(1.3) * (frame["correct"] > 0.5)
    log += 0.3 * rng.standard_normal(len(people))[which] + 0.4 * rng.standard_normal(len(frame))
    confidence = rng.integers(1, 4, len(frame)).astype(float)
    return dataclasses.replace(
        table, frame=frame.assign(seconds=np.exp(log), confidence=confidence)
    )


@pytest.mark.whole
def test_known_effects_come_back(table) -> None:
    found = times_of(timed(table, 1))
    rows = found.to_frame().set_index("effect")
    for name, truth in (("synthetic", 1.2), ("correct", 1 / 1.3), ("confidence", 1.0)):
        half = 1.3 * (rows.loc[name, "high"] - rows.loc[name, "low"])
        assert abs(rows.loc[name, "ratio"] - truth) < half
    assert found.fit.converged
    assert found.medians["wrong"] > found.medians["correct"]
    assert set(found.medians) >= {"confidence 1", "confidence 3"}


def test_excluded_answers_are_counted(table) -> None:
    slow = timed(table, 2)
    seconds = slow.frame["seconds"].to_numpy().copy()
    seconds[0], seconds[1], seconds[2], seconds[3] = np.nan, -0.18, 0.0, 1e4
    confidence = slow.frame["confidence"].to_numpy().copy()
    confidence[4], seconds[5] = np.nan, np.inf
    spoilt = slow.frame.assign(seconds=seconds, confidence=confidence)
    found = times_of(dataclasses.replace(slow, frame=spoilt), slowest=100.0)
    assert list(found.excluded.values()) == [2, 2, 1, 1]
    assert found.n == len(spoilt) - 6
    assert "slower than 100 s" in found.title
    rows = found.to_frame().set_index("effect")
    assert rows["p_holm"].tolist() == multipletests(rows["p"], method="holm")[1].tolist()
    assert rows.loc["hard99", "method"] == "Wald t(18)"  # twenty units in two networks
    assert rows.loc["correct", "method"] == "Wald z"


def test_no_times_no_answer(table) -> None:
    with pytest.raises(NotEnoughDataError, match="no response time"):
        times_of(dataclasses.replace(table, frame=table.frame.assign(seconds=np.nan)))
