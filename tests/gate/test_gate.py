"""The gate: verdicts against statsmodels, hand-made cases, and its renderings."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from imi_bench.errors import InputError, NotComparableError, NotEnoughDataError, UnknownNameError
from imi_bench.gate import outputs as verdict
from imi_bench.gate.verdict import gate
from imi_bench.tables import DecisionVariables, Responses, TrialIndex


def make_index(units: int, each: int) -> TrialIndex:
    frame = pd.DataFrame(
        {
            "network": "net",
            "layer": "layer",
            "unit": np.repeat(np.arange(units), each),
            "mode": "natural",
            "batch": np.tile(np.arange(each), units),
            "catch": False,
            "difficulty": np.tile(np.where(np.arange(each) % 2 == 0, "easy", "hard95"), units),
        }
    )
    return TrialIndex.from_frame(frame.assign(trial_id=TrialIndex.canonical_ids(frame)))


def answers(index: TrialIndex, correct: np.ndarray, *, name: str) -> DecisionVariables:
    sides = np.where(np.arange(len(index)) % 3 == 0, "positive", "negative")
    value = np.where(correct, 1.0, -1.0) * np.where(sides == "positive", 1, -1)
    status = ["ok"] * len(index)
    return DecisionVariables(name, index.trial_id, value, status, sides, np.zeros(len(index)))


@pytest.fixture(scope="module")
def index() -> TrialIndex:
    return make_index(60, 20)


def test_same_answers_pass_with_no_margin_left(index: TrialIndex) -> None:
    rng = np.random.default_rng(1)
    run = answers(index, rng.random(len(index)) < 0.8, name="a")
    result = gate(run, against=run, trials=index, max_drop=0.0)
    assert (result.verdict, result.exit_code) == ("pass", 0)
    assert result.comparisons[0].drop.value == 0


def test_interval_is_that_of_statsmodels(index: TrialIndex) -> None:
    rng = np.random.default_rng(2)
    old = rng.random(len(index)) < 0.8
    new = old & (rng.random(len(index)) < 0.97)
    result = gate(
        answers(index, new, name="new"), against=answers(index, old, name="old"), trials=index
    )
    drop = result.comparisons[0].drop
    difference = old.astype(float) - new
    fit = sm.OLS(difference, np.ones(len(index))).fit(
        cov_type="cluster", cov_kwds={"groups": index.unit, "df_correction": True}, use_t=True
    )
    low, high = fit.conf_int(alpha=0.1)[0]
    assert drop.value == pytest.approx(fit.params[0])
    assert (drop.low, drop.high) == pytest.approx((low, high))
    assert drop.clusters == 60


@pytest.mark.parametrize(
    ("every", "verdict_", "code"), [(9999, "pass", 0), (3, "worse", 1), (80, "cannot tell", 3)]
)
def test_three_ways_to_end(index: TrialIndex, every: int, verdict_: str, code: int) -> None:
    """One in `every` right answers lost; one in 80 of four fifths is the margin itself."""
    old = np.random.default_rng(3).random(len(index)) < 0.8
    new = old.copy()
    new[np.flatnonzero(old)[every - 1 :: every]] = False
    result = gate(
        answers(index, new, name="new"),
        against=answers(index, old, name="old"),
        trials=index,
        max_drop=0.01,
    )
    assert (result.verdict, result.exit_code) == (verdict_, code)
    settles = result.comparisons[0].trials_to_settle
    assert (settles is not None) == (verdict_ == "cannot tell")


def test_error_rate_of_worse_is_alpha_at_the_margin() -> None:
    """When the true drop equals the margin, "worse" is said about as often as alpha allows."""
    index = make_index(100, 10)
    rng = np.random.default_rng(4)
    said = 0
    runs = 400
    for _ in range(runs):
        old = rng.random(len(index)) < 0.8
        new = old & (rng.random(len(index)) < 1 - 0.05 / 0.8)
        result = gate(
            answers(index, new, name="n"),
            against=answers(index, old, name="o"),
            trials=index,
            max_drop=0.05,
        )
        said += result.verdict == "worse"
    # 3 binomial standard errors about 5%.
    assert 0.05 - 3 * 0.0109 < said / runs < 0.05 + 3 * 0.0109


def test_trials_to_settle_settle() -> None:
    """With the number of trials the gate asks for, an equal observer passes 80% of the time."""
    rng = np.random.default_rng(5)

    def pair(index: TrialIndex) -> tuple[DecisionVariables, DecisionVariables]:
        ability = np.repeat(rng.normal(size=len(np.unique(index.unit))), 10)
        p = 1 / (1 + np.exp(-1 - ability))
        old, new = (rng.random((2, len(index))) < p).tolist()
        return answers(index, np.array(new), name="n"), answers(index, np.array(old), name="o")

    small = make_index(100, 10)
    asked = [
        gate(new, against=old, trials=small, max_drop=0.02).comparisons[0].trials_to_settle
        for new, old in (pair(small) for _ in range(20))
    ]
    wanted = int(np.median([n for n in asked if n is not None]))
    large = make_index(wanted // 10, 10)
    passed = sum(
        gate(new, against=old, trials=large, max_drop=0.02).verdict == "pass"
        for new, old in (pair(large) for _ in range(100))
    )
    assert 65 <= passed <= 92


def test_a_stratum_can_fail_alone(index: TrialIndex) -> None:
    rng = np.random.default_rng(6)
    old = rng.random(len(index)) < 0.8
    hard = index.difficulty == "hard95"
    new = np.where(hard, old & (rng.random(len(index)) < 0.8), True)
    arguments = {"against": answers(index, old, name="o"), "trials": index}
    run = answers(index, new, name="n")
    assert gate(run, **arguments).verdict == "pass"
    result = gate(run, **arguments, by="difficulty")
    assert result.verdict == "worse"
    assert [c.stratum for c in result.comparisons] == [
        "all",
        "difficulty=easy",
        "difficulty=hard95",
    ]
    assert "difficulty=hard95" in result.sentence


def test_floor(index: TrialIndex) -> None:
    correct = np.random.default_rng(7).random(len(index)) < 0.7
    run = answers(index, correct, name="n")
    held = gate(run, against=run, trials=index, by="difficulty", floors={"hard95": 0.5})
    broken = gate(run, against=run, trials=index, by="difficulty", floors={"hard95": 0.9})
    near = gate(run, against=run, trials=index, by="difficulty", floors={"hard95": 0.7})
    assert (held.verdict, broken.verdict, near.verdict) == ("pass", "worse", "cannot tell")


def test_agreement_with_people_counts_what_people_chose(index: TrialIndex) -> None:
    """People are wrong on hard trials; an observer that is right there agrees less."""
    hard = index.difficulty == "hard95"
    people = Responses(
        trial_id=np.tile(index.trial_id, 2),
        participant=np.repeat(["p", "q"], len(index)),
        correct=np.tile(~hard, 2),
        chose_first=np.full(2 * len(index), np.nan),
        confidence=np.full(2 * len(index), np.nan),
        seconds=np.full(2 * len(index), np.nan),
        simulated=True,
        source="test",
    )
    alike = answers(index, ~hard, name="alike")
    right = answers(index, np.ones(len(index), bool), name="right")
    result = gate(right, against=alike, trials=index, score="human-agreement", responses=people)
    assert result.comparisons[0].baseline.value == 1
    assert result.comparisons[0].new.value == 0.5
    assert result.verdict == "worse"


def test_refusals(index: TrialIndex) -> None:
    run = answers(index, np.ones(len(index), bool), name="n")
    other = make_index(10, 20)
    few = answers(other, np.ones(len(other), bool), name="o")
    with pytest.raises(NotComparableError, match=r"1000 trials only in the baseline"):
        gate(few, against=run, trials=index)
    with pytest.raises(NotComparableError, match="not in the trial table"):
        gate(run, against=run, trials=other)
    with pytest.raises(UnknownNameError, match="did you mean 'accuracy'"):
        gate(run, against=run, trials=index, score="acuracy")
    with pytest.raises(InputError, match="margin out of range"):
        gate(run, against=run, trials=index, max_drop=-0.1)
    with pytest.raises(InputError, match="needs human answers"):
        gate(run, against=run, trials=index, score="human-agreement")
    with pytest.raises(InputError, match="floor for a difficulty without trials"):
        gate(run, against=run, trials=index, by="difficulty", floors={"hard99": 0.5})
    one = make_index(1, 20)
    single = answers(one, np.ones(len(one), bool), name="s")
    with pytest.raises(NotEnoughDataError, match="too few units"):
        gate(single, against=single, trials=one)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_order_of_rows_changes_nothing(seed: int) -> None:
    index = make_index(12, 6)
    rng = np.random.default_rng(seed)
    old, new = rng.random((2, len(index))) < 0.8
    shuffled = rng.permutation(len(index))
    whole = gate(answers(index, new, name="n"), against=answers(index, old, name="o"), trials=index)
    mixed = index.take(shuffled)
    again = gate(
        answers(mixed, new[shuffled], name="n"), against=answers(index, old, name="o"), trials=mixed
    )
    assert again.comparisons[0].drop.value == pytest.approx(whole.comparisons[0].drop.value)
    assert again.comparisons[0].drop.low == pytest.approx(whole.comparisons[0].drop.low)


def test_renderings(index: TrialIndex) -> None:
    correct = np.random.default_rng(8).random(len(index)) < 0.8
    worse = correct & (np.random.default_rng(9).random(len(index)) < 0.5)
    result = gate(
        answers(index, worse, name="new <b>|x"),
        against=answers(index, correct, name="old"),
        trials=index,
        by="difficulty",
    )
    suite = ET.fromstring(verdict.junit(result))
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "3", "0")
    text = verdict.markdown(result)
    assert "worse" in text
    assert "<b>" not in text
    assert verdict.annotation(result).startswith("::error title=imi-bench gate::worse")
    assert json.loads(json.dumps(result.to_json()))["verdict"] == "worse"
