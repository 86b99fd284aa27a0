"""The gate: verdicts against statsmodels, hand-made cases, and its renderings."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from imi_bench.errors import InputError, NotComparableError, NotEnoughDataError, UnknownNameError
from imi_bench.gate import outputs as verdict
from imi_bench.gate.bounds import UnitSums, interval, p_at_least, p_at_most
from imi_bench.gate.verdict import GateResult, gate
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


def test_same_answers_need_a_margin(index: TrialIndex) -> None:
    """1,200 equal answers bound a drop by 0.35 %, and never by nothing."""
    rng = np.random.default_rng(1)
    run = answers(index, rng.random(len(index)) < 0.8, name="a")
    assert gate(run, against=run, trials=index, max_drop=0.01).passed
    result = gate(run, against=run, trials=index, max_drop=0.0)
    assert (result.verdict, result.exit_code) == ("cannot tell", 3)
    assert result.comparisons[0].trials_to_settle is None
    assert "no number of trials would settle it" in result.sentence
    assert "'a (new)' against 'a (baseline)'" in result.sentence, "one name for both sides"


def test_forty_equal_answers_show_little() -> None:
    small = make_index(20, 2)
    run = answers(small, np.ones(40, bool), name="a")
    result = gate(run, against=run, trials=small, max_drop=0.01)
    whole = result.comparisons[0]
    assert result.verdict == "cannot tell"
    assert whole.drop.high == pytest.approx(3 / 40 * 1.04, rel=0.01)  # rule of three
    assert 299 <= (whole.trials_to_settle or 0) <= 316


def test_clustered_error_is_that_of_statsmodels() -> None:
    """With many changes the lower bound is the clustered t bound; equal units make CR2 of CR1."""
    index = make_index(60, 20)
    rng = np.random.default_rng(2)
    unit = np.repeat(rng.normal(size=60), 20)
    old = rng.random(len(index)) < 0.8
    new = rng.random(len(index)) < 1 / (1 + np.exp(-unit))
    result = gate(
        answers(index, new, name="new"), against=answers(index, old, name="old"), trials=index
    )
    drop = result.comparisons[0].drop
    fit = sm.OLS(old.astype(float) - new, np.ones(len(index))).fit(
        cov_type="cluster", cov_kwds={"groups": index.unit, "df_correction": True}, use_t=True
    )
    assert drop.value == pytest.approx(fit.params[0])
    assert drop.low == pytest.approx(fit.conf_int(alpha=0.1)[0][0])
    assert drop.high >= fit.conf_int(alpha=0.1)[0][1]
    assert drop.clusters == 60


@pytest.mark.parametrize(
    ("every", "verdict_", "code"), [(9999, "pass", 0), (3, "worse", 1), (60, "cannot tell", 3)]
)
def test_three_ways_to_end(index: TrialIndex, every: int, verdict_: str, code: int) -> None:
    """One in `every` right answers lost; one in 60 is near the margin."""
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


def test_trials_to_settle_are_those_of_the_drop_seen() -> None:
    """At the number asked for, data with the same drop are told four times in five."""
    rng = np.random.default_rng(5)
    index = make_index(30, 10)
    changed = rng.permutation(len(index))
    old = np.ones(len(index), bool)
    old[changed[:4]] = False
    new = np.ones(len(index), bool)
    new[changed[4:8]] = False
    first = gate(
        answers(index, new, name="n"), against=answers(index, old, name="o"), trials=index
    ).comparisons[0]
    asked = first.trials_to_settle
    assert first.verdict == "cannot tell"
    assert asked is not None
    assert asked > len(index)
    lost, won = np.mean(old & ~new), np.mean(new & ~old)
    units = asked // 10
    told = 0
    for _ in range(200):
        kind = rng.choice(3, p=[lost, won, 1 - lost - won], size=(units, 10))
        change = np.select([kind == 0, kind == 1], [1.0, -1.0], 0.0)
        sums = UnitSums(np.full(units, 10.0), change.sum(axis=1), np.abs(change).sum(axis=1))
        test = p_at_least if lost - won < 0.01 else p_at_most
        told += float(test(sums, 0.01)) <= 0.05
    assert 0.7 < told / 200 < 0.92


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
    with pytest.raises(NotComparableError, match=r"1,000 trials only in the baseline"):
        gate(few, against=run, trials=index)
    with pytest.raises(NotComparableError, match="not in the trial table"):
        gate(run, against=run, trials=other)
    with pytest.raises(UnknownNameError, match="did you mean 'accuracy'"):
        gate(run, against=run, trials=index, score="acuracy")
    with pytest.raises(InputError, match="margin out of range"):
        gate(run, against=run, trials=index, max_drop=-0.1)
    with pytest.raises(InputError, match="needs human answers"):
        gate(run, against=run, trials=index, score="human-agreement")
    for bad in (float("nan"), float("inf"), -1.0, 2.0):
        with pytest.raises(InputError, match="floor out of range"):
            gate(run, against=run, trials=index, by="difficulty", floors={"easy": bad})
    with pytest.raises(InputError, match="floor for a difficulty without trials"):
        gate(run, against=run, trials=index, by="difficulty", floors={"hard99": 0.5})
    one = make_index(1, 20)
    single = answers(one, np.ones(len(one), bool), name="s")
    with pytest.raises(NotEnoughDataError, match="too few units"):
        gate(single, against=single, trials=one)


@settings(max_examples=10, deadline=None)
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


def missing(index: TrialIndex, answered: np.ndarray, *, name: str) -> DecisionVariables:
    value = np.where(answered, 1.0, np.nan)
    status = np.where(answered, "ok", "error")
    sides = ["positive"] * len(index)
    return DecisionVariables(name, index.trial_id, value, status, sides, np.zeros(len(index)))


def test_runs_that_answer_nothing_never_pass(index: TrialIndex) -> None:
    nothing = missing(index, np.zeros(len(index), bool), name="n")
    result = gate(nothing, against=nothing, trials=index, max_drop=0.2)
    assert result.verdict == "cannot tell"
    assert "answered 0.0% of the trials" in result.comparisons[0].reason
    quarter = missing(index, np.arange(len(index)) % 4 == 0, name="q")
    assert gate(quarter, against=quarter, trials=index, max_drop=0.2).verdict == "cannot tell"
    allowed = gate(quarter, against=quarter, trials=index, max_drop=0.2, least_coverage=0.2)
    assert allowed.passed
    assert allowed.comparisons[0].coverage_new == 0.25


@pytest.mark.parametrize(
    "status", ["refused", "filtered", "unparsed", "truncated", "option missing"]
)
def test_above_two_per_cent_unanswered_nothing_can_be_told(index: TrialIndex, status: str) -> None:
    """Neither a gain by refusing what would be wrong, nor a loss; statuses are counted."""
    old = answers(index, np.arange(len(index)) % 10 > 0, name="old")

    def refusing(count: int, of: np.ndarray[Any, Any], value: float) -> DecisionVariables:
        lost = np.zeros(len(index), dtype=bool)
        lost[np.flatnonzero(of)[:count]] = True
        toward = np.where(lost, np.nan, value)
        said = np.where(lost, status, "ok")
        sides = ["positive"] * len(index)
        return DecisionVariables("n", index.trial_id, toward, said, sides, np.zeros(len(index)))

    hard = index.difficulty == index.difficulty[-1]
    for value in (1.0, -1.0):  # all right, all wrong where answered
        many = gate(refusing(25, ~hard, value), against=old, trials=index)
        assert many.verdict == "cannot tell"
        assert f"25 {status}" in many.sentence
        assert "trials would settle" not in many.sentence
    few = gate(refusing(24, ~hard, 1.0), against=old, trials=index, max_drop=0.05)
    assert few.passed  # 2 % of 1,200 exactly
    strata = gate(
        refusing(24, ~hard, 1.0), against=old, trials=index, by="difficulty", max_drop=0.05
    )
    assert strata.verdict == "cannot tell"  # but above 2 % of a stratum
    by = {c.stratum: dict(c.lost_new) for c in strata.comparisons}
    assert by["all"] == {status: 24}
    assert sorted(map(len, by.values())) == [0, 1, 1]
    assert f"24 {status}" in verdict.markdown(strata)
    assert strata.to_json()["comparisons"][0]["unanswered"]["new"] == {status: 24}
    lost = gate(refusing(24, ~hard, -1.0), against=old, trials=index, by="difficulty")
    assert lost.verdict == "worse"  # the stratum that has its answers shows it


def test_one_unit_concerns_its_stratum_alone(index: TrialIndex) -> None:
    network = np.where(index.unit == 0, "small", "net").astype(object)
    split = replace(index, network=network)
    run = answers(split, np.ones(len(split), bool), name="n")
    result = gate(run, against=run, trials=split, by="network")
    assert result.verdict == "pass"
    assert {c.stratum: c.verdict for c in result.comparisons}["network=small"] == "cannot tell"
    floored = gate(run, against=run, trials=split, by="network", floors={"small": 0.5})
    assert floored.verdict == "cannot tell"


def test_all_trials_strata_and_floors_are_one_family(index: TrialIndex) -> None:
    """A drop that is told from the margin alone is not told as one of nine tests."""
    rng = np.random.default_rng(11)
    layer = np.array([f"l{unit % 4}" for unit in index.unit], dtype=object)
    split = replace(index, layer=layer)
    new = rng.permutation(np.arange(len(index)) >= 21)  # 21 of 1,200 lost
    old = answers(split, np.ones(len(index), bool), name="o")
    run = answers(split, new, name="n")
    alone = gate(run, against=old, trials=split)
    family = gate(
        run, against=old, trials=split, by="layer", floors={f"l{i}": 0.5 for i in range(4)}
    )
    assert 0.05 / 9 < alone.comparisons[0].p_worse < 0.05
    assert alone.verdict == "worse"
    assert family.verdict == "cannot tell"
    assert "not after Holm's correction for 9 tests" in family.comparisons[0].reason


def test_a_stratum_without_errors_has_an_interval(index: TrialIndex) -> None:
    run = answers(index, np.ones(len(index), bool), name="n")
    result = gate(run, against=run, trials=index, by="difficulty", floors={"easy": 0.999})
    easy = result.comparisons[1]
    assert easy.new.value == 1
    assert easy.new.low < 0.999
    assert result.verdict == "cannot tell"


@pytest.mark.parametrize("correlation", [0.0, 0.1])
@pytest.mark.parametrize(("units", "each", "margin"), [(8, 10, 0.03), (20, 20, 0.05)])
def test_error_rates_at_the_margin(
    correlation: float, units: int, each: int, margin: float
) -> None:
    """Within 3 binomial standard errors; `benchmarks/gate_characteristics.py` has every cell."""
    rng = np.random.default_rng(4)
    runs = 1500

    def counts(mean: float) -> np.ndarray:
        rate = np.full((runs, units), mean)
        if correlation:
            scale = 1 / correlation - 1
            rate = rng.beta(mean * scale, (1 - mean) * scale, rate.shape)
        return rng.binomial(each, rate).astype(float)

    losses, gains = counts(margin + 0.02), counts(0.02)
    sums = UnitSums(np.full(units, float(each)), losses - gains, losses + gains)
    most = 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    assert (p_at_least(sums, margin) <= 0.05).mean() < most
    assert (p_at_most(sums, margin) <= 0.05).mean() < most


def test_degrees_of_freedom_are_those_of_the_definition() -> None:
    """Bell-McCaffrey from the U x U matrix itself, on unequal units."""
    size = np.array([2.0, 3.0, 20.0, 50.0, 9.0])
    total = size.sum()
    expected = []
    for variance in (size, size**2):
        left = np.eye(5) - np.outer(size, np.ones(5)) / total
        weight = np.diag(1 / np.sqrt(1 - size / total))
        form = weight @ left @ np.diag(variance) @ left.T @ weight
        expected.append(np.trace(form) ** 2 / np.trace(form @ form))
    found = UnitSums(size, np.array([1.0, 0, 3, 5, -1]), np.array([1.0, 2, 3, 9, 1])).moments
    assert float(found.freedom) == pytest.approx(min(expected))


def test_rare_changes_have_the_exact_tail() -> None:
    """Independent trials, losses alone: the upper bound is Garwood's exact Poisson bound."""
    units = 1000
    losses = np.zeros(units)
    losses[:4] = 1.0
    high = interval(UnitSums(np.ones(units), losses, losses), 0.05)[1]
    assert high == pytest.approx(stats.chi2.ppf(0.95, 2 * 5) / 2 / units, rel=0.01)


def test_every_output_says_where_the_numbers_come_from(index: TrialIndex) -> None:
    run = answers(index, np.ones(len(index), bool), name="x\n::error::pwned\x1b[31m")
    result = replace(gate(run, against=run, trials=index), simulated=True)
    for text in (verdict.markdown(result), verdict.junit(result)):
        assert "simulated data" in text
        assert "100.0% by the new run" in text
        assert "calibration: none" in text
        assert "\x1b" not in text
    assert "simulated data" in verdict.annotation(result)
    assert "\n" not in verdict.annotation(result)
    assert result.to_json()["simulated"] is True
    again = GateResult.from_json(json.loads(json.dumps(result.to_json())))
    assert again.sentence == result.sentence
    assert again.to_json() == result.to_json()
