"""Published facts: against the shared list of facts, and their sources."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imi_bench.errors import UnknownNameError
from imi_bench.release.published import Condition, published


@pytest.fixture(scope="module")
def facts(shared: Path) -> dict:
    return json.loads((shared / "imi" / "published.json").read_text("utf-8"))


def test_networks_are_the_published_ones(facts: dict) -> None:
    ours = published().networks
    assert list(ours) == list(facts["networks"])
    for key, theirs in facts["networks"].items():
        assert ours[key].label == theirs["label"]
        assert ours[key].top1 == theirs["top1"]
        assert ours[key].human_likeness_mean_rank == theirs["human_likeness_mean_rank"]
        for mode in ("natural", "synthetic"):
            mean, expected = getattr(ours[key], mode), theirs[mode]
            if expected is None:
                assert mean is None
            else:
                assert [mean.value, mean.low, mean.high] == [expected["mean"], *expected["ci"]]


def test_rules_and_design_are_the_published_ones(facts: dict) -> None:
    ours, theirs = published().exclusions, facts["exclusion_criteria"]
    assert ours["catch_ratio_min"] == theirs["catch_trial_ratio_min"]
    assert ours["total_time_s"] == theirs["total_response_time_s"]
    assert ours["instruction_time_s"] == theirs["instruction_time_s"]
    assert ours["row_min"] == theirs["each_row_chosen_min"]
    assert ours["demo_attempts_max"] == theirs["demo_attempts_max"]
    design = facts["design"]
    assert published().design["participants"] == design["participants_per_experiment"]
    assert published().design["answers_per_condition"] == design["responses_per_unit_and_condition"]
    assert published().mis["slope_on_dreamsim"] == facts["mis"]["alpha_used_with_dreamsim"]
    assert published().dataset["doi"] == facts["dataset"]["doi"]


def test_every_table_names_a_known_source() -> None:
    known = set(published().sources)
    tables = (published().dataset, published().design, published().exclusions, published().mis)
    named = {table["source"] for table in tables}
    for network in published().networks.values():
        named.add(network.source)
        named |= {mean.source for mean in (network.natural, network.synthetic) if mean}
    assert named
    assert named <= known


def test_the_23_experiments() -> None:
    conditions = published().conditions
    assert len(set(conditions)) == 23
    assert sum(c.difficulty == "easy" for c in conditions) == 16
    assert Condition("resnet50", "synthetic", "hard95") in conditions
    assert Condition("in1k-vit_b32", "synthetic") not in conditions


def test_intervals_hold_their_means() -> None:
    for condition in published().conditions:
        mean = published().mean(condition)
        assert (mean is None) == (condition.difficulty != "easy")
        if mean:
            assert 0.5 < mean.low < mean.value < mean.high < 1


def test_unknown_network_is_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'resnet50'"):
        published().mean(Condition("resnet5O", "natural"))


def test_facts_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        published().networks["x"] = None  # type: ignore[index]
