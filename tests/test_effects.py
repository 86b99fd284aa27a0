"""Effects: a small simulated study against its truth, an observer beside it, exports."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from imi_bench.data.layer_names import layer_types, relative_depths
from imi_bench.data.simulate import SimulatedStudy, decisions, simulate_study
from imi_bench.data.simulation_parameters import SimulationParameters
from imi_bench.effects.analysis import Effects, analyse
from imi_bench.effects.export import export
from imi_bench.effects.groups import compare_networks
from imi_bench.effects.likeness import differences
from imi_bench.effects.scale import network_table
from imi_bench.effects.table import AnswerTable, observer_table, people_table
from imi_bench.effects.truth import true_effects
from imi_bench.errors import NotEnoughDataError

SMALL = SimulationParameters(
    units=12, units_hard=12, participants=10, main_trials=12, batches=2, trial_sd=0.0
)


@pytest.fixture(scope="module")
def simulated() -> SimulatedStudy:
    return simulate_study(SMALL, seed=2)


@pytest.fixture(scope="module")
def table(simulated: SimulatedStudy) -> AnswerTable:
    return people_table(simulated.study)


@pytest.fixture(scope="module")
def people(simulated: SimulatedStudy, table: AnswerTable) -> Effects:
    return analyse(table, truth=true_effects(simulated.truth))


def test_every_question_is_answered_or_says_why_not(people: Effects) -> None:
    keys = [effect.key for effect in people.effects]
    assert len(set(keys)) == len(keys)
    for wanted in ("parameters", "training_images", "top1", "architecture", "training",
                   "synthetic", "depth", "hard95", "synthetic:parameters"):  # fmt: skip
        assert wanted in keys
    for effect in people.effects:
        assert np.isfinite(effect.test.p) or effect.test.reason
        assert effect.sentence.endswith(".")
    assert people["parameters"].test.df == 7
    assert people["synthetic:parameters"].test.df == 5


def test_true_values_stand_beside_estimates(people: Effects) -> None:
    effect = people["synthetic"]
    assert abs(effect.test.estimate - effect.truth) < 4 * effect.test.se
    assert people["depth"].truth == SMALL.depth_effect
    assert people["type_normalisation"].truth == 0.0


def test_an_observer_with_peoples_evidence_shows_peoples_effects(
    simulated: SimulatedStudy, people: Effects
) -> None:
    machine = decisions(simulated.truth, noise=1.5, seed=0)
    effects = analyse(observer_table(machine, simulated.study.trials))
    found = {one.key: one for one in differences(effects, people)}
    gap = found["synthetic"].test
    assert gap.low < gap.estimate < gap.high
    assert gap.df == 6
    same = {one.key: one for one in differences(people, people)}
    assert np.isnan(same["parameters"].test.p)
    assert same["parameters"].test.reason == "no standard error"


def test_exports(people: Effects, table: AnswerTable, tmp_path: Path) -> None:
    groups = compare_networks(table, n_resamples=100)
    paths = export(people, tmp_path, groups=groups)
    tidy = pd.read_csv(paths["effects.csv"])
    assert tidy["key"].tolist() == [effect.key for effect in people.effects]
    assert tidy.loc[0, "estimate"] == pytest.approx(people.effects[0].test.estimate)
    record = json.loads(paths["effects.json"].read_text())
    assert record["simulated"] is True
    assert set(record["groups"]) == {"natural", "synthetic"}
    assert "glmer" in paths["refit.R"].read_text()
    assert "simulated" in paths["refit.R"].read_text()
    assert paths["effects.tex"].read_text().count(r"\\") == len(people.effects) + 1
    answers = pd.read_csv(paths["answers.csv"])
    assert len(answers) == people.answers
    assert answers.groupby("network")["parameters"].first().mean() == pytest.approx(0.0, abs=1e-9)


def test_two_networks_are_too_few(table: AnswerTable) -> None:
    frame = table.frame[table.frame["network"].isin(["resnet50", "googlenet"])]
    few = AnswerTable("people", True, frame.reset_index(drop=True), table.within)
    with pytest.raises(NotEnoughDataError, match="too few networks"):
        analyse(few)


def test_networks_of_ones_own_stand_before_the_cards() -> None:
    own = pd.DataFrame({"network": ["mine", "resnet50"], "parameters": [1e6, 2e6]})
    found = network_table(["mine", "resnet50", "googlenet"], own=own)
    assert found["parameters"].tolist()[:2] == [1e6, 2e6]
    assert found.loc["resnet50", "top1"] == pytest.approx(0.7613)
    assert np.isnan(found.loc["mine", "top1"])


def test_layers_by_name() -> None:
    names = ["visual_layer1_0_bn1", "visual_layer4_2_conv3", "blocks_3_mlp_fc1", "blocks_0_norm1"]
    assert layer_types(names).tolist() == [
        "normalisation", "convolution", "linear", "normalisation"
    ]  # fmt: skip
    depth = relative_depths(["clip-resnet50"] * 2 + ["in1k-vit_b32"] * 2, names)
    np.testing.assert_allclose(depth, [0.0, 1.0, 3 / 11, 0.0])
