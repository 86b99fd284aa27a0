"""Error consistency: within conditions as Geirhos et al. do, against an outside reference."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from imi_bench.errors import InputError
from imi_bench.scores.consistency import (
    CONSISTENCY,
    pair_consistency,
    pooled_kappa,
    stratified_kappa,
)


def test_pairs_of_real_people_are_those_of_the_reference(shared):
    """Ten published experiments; the reference is an independent script's."""
    reference = json.loads((shared / "people" / "error_consistency.json").read_text())
    answers = pd.read_csv(shared / "people" / "object_recognition.csv")
    for experiment, part in answers.groupby("experiment"):
        found = pair_consistency(
            part["correct"].to_numpy(float),
            rater=part["subject"].to_numpy(),
            item=part["image"].to_numpy(),
            condition=part["condition"].to_numpy(),
        )
        wanted = reference[experiment]
        assert found["condition"].tolist() == sorted(wanted)
        for row in found.itertuples():
            assert row.pairs == wanted[row.condition]["pairs"]
            assert row.kappa == pytest.approx(wanted[row.condition]["kappa"], abs=1e-6)


def test_agreement_on_which_condition_is_hard_is_not_consistency():
    """Independent within an easy and a hard condition, consistent when they are pooled."""
    count = np.array([100.0, 100.0])
    easy, hard = 0.9, 0.5  # both raters alike: alike by chance 0.82 and 0.5
    alike = np.array([82.0, 50.0])
    ones = count * np.array([easy, hard])
    facts = {"count": count, "alike": alike, "first": ones, "second": ones}
    assert stratified_kappa(**facts) == pytest.approx(0, abs=1e-12)
    assert pooled_kappa(**facts) == pytest.approx((0.66 - 0.58) / 0.42)  # 0.7 * 0.7 + 0.3 * 0.3


def test_a_condition_without_errors_has_no_weight():
    count, alike = np.array([10.0, 50.0]), np.array([7.0, 50.0])
    first, second = np.array([5.0, 50.0]), np.array([6.0, 50.0])
    found = stratified_kappa(count=count, alike=alike, first=first, second=second)
    assert found == pytest.approx((0.7 - 0.5) / 0.5)
    certain = np.array([50.0])
    assert np.isnan(stratified_kappa(count=certain, alike=certain, first=certain, second=certain))


def test_the_least_kappa_of_an_observer_by_hand():
    """80 and 70 of 100 correct agree on 50 at least, on 62 by chance; 3 and 3 of 10 on 4 (5.8)."""
    table = np.array([[[100.0, 80.0, 80.0, 70.0], [10.0, 6.0, 3.0, 3.0]]])
    within, pooled = (score.least({"consistency": table}) for score in CONSISTENCY[:2])
    assert within == pytest.approx(((50 - 62) + (4 - 5.8)) / (38 + 4.2))
    first, second = 83 / 110, 73 / 110
    chance = first * second + (1 - first) * (1 - second)
    assert pooled == pytest.approx((first + second - 1 - chance) / (1 - chance))


def test_columns_must_be_of_one_length():
    with pytest.raises(InputError, match="different lengths"):
        pair_consistency(np.ones(3), rater=["a"], item=[1], condition=["c"])
