"""Learning from people: what it gains, what it says, and every trap it refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from support.made_observers import MeanColour
from support.made_trials import N_IMAGES, make_trials
from support.measured_world import MeasuredWorld, measured_world, shuffled

import imi_bench as imi
from imi_bench.errors import InputError, LeakageError, UnknownNameError
from imi_bench.measure.learned import sets_seen
from imi_bench.measure.nested import best_single
from imi_bench.measure.result import Learned
from imi_bench.measure.table import make_table
from imi_bench.observers.learned import LearnedObserver
from imi_bench.tables import Study
from imi_bench.tables.fitted_on import FittedOn
from imi_bench.tables.images import Images


@pytest.fixture(scope="module")
def made() -> MeasuredWorld:
    return measured_world()


@pytest.fixture(scope="module")
def learned(made: MeasuredWorld) -> Learned:
    return imi.learn(
        made.observers,
        made.world.study,
        trials=made.world.trials,
        by="network",
        n_boot=30,
        curves=0,
    )


@pytest.mark.whole
def test_planted_attributes_reach_nine_tenths_of_the_best_score() -> None:
    made = measured_world(noise=0.0, networks=6)
    found = imi.learn(made.observers, made.world.study, by="network", n_boot=0, curves=0)
    assert found.bits.value > 0.9 * made.world.truth.bayes(known="covariates")
    assert found.bits.value < made.world.truth.bayes(known="participant") + 0.03


@pytest.mark.whole
def test_shuffled_answers_teach_nothing(made: MeasuredWorld) -> None:
    found = imi.learn(made.observers, shuffled(made.world.study, seed=1), n_boot=0, curves=0)
    assert found.bits.value <= 0.002


def test_the_whole_beats_its_parts_and_says_both(learned: Learned) -> None:
    assert learned.difference.value > 0
    assert learned.bits.value - learned.best_single["bits"].value == pytest.approx(
        learned.difference.value
    )
    frame = learned.to_frame()
    assert set(learned.observers) < set(frame["part"])
    assert "simulated" in learned.title
    assert len(repr(learned)) < 2000


def test_predictions_are_out_of_fold_and_give_the_bits(learned: Learned) -> None:
    frame = learned.predictions
    assert frame.groupby("network")["fold"].nunique().max() == 1
    miss = frame["answers"] - frame["correct"]
    told = frame["correct"] * np.log2(frame["p_learned"]) + miss * np.log2(1 - frame["p_learned"])
    assert 1 + told.sum() / frame["answers"].sum() == pytest.approx(learned.bits.value, abs=1e-9)


def test_json_and_files(learned: Learned, tmp_path) -> None:
    told = json.loads(json.dumps(learned.to_json()))
    assert {"bits", "best_single", "difference"} <= set(told)
    assert {"observer", "bits"} <= set(told["best_single"])
    assert {"value", "low", "high"} <= set(told["difference"])
    again = Learned.from_json(json.dumps(learned.to_json(), allow_nan=False))
    assert again.to_json() == learned.to_json()
    assert again.summary() == learned.summary()
    out = learned.write(tmp_path / "learned")
    assert {p.name for p in out.iterdir()} == {
        "learned.json",
        "learned.html",
        "scores.json",
        "predictions.parquet",
    }
    page = (out / "learned.html").read_text()
    assert "Simulated data" in page
    assert "sees colour" in page
    assert "#000000" not in page, "black stays black on a dark page"
    record = json.loads((out / "learned.json").read_text())
    record["final"]["weights"][0] = 9.0
    (out / "learned.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="was changed"):
        imi.load_observer(str(out))


@pytest.mark.whole
def test_measure_head_is_reported_above_the_base_rate(made: MeasuredWorld) -> None:
    found = imi.learn(made.observers, made.world.study, head="measure", n_boot=0, curves=0)
    assert found.difference.value == pytest.approx(found.bits.value - found.base_rate)
    assert "base rate" in found.title
    with pytest.raises(InputError, match="measure head"):
        LearnedObserver(found.record, imi.load_observer)


# --- traps -----------------------------------------------------------------------------------


def test_trap_choosing_the_observer_on_all_data(made: MeasuredWorld) -> None:
    table = make_table(made.observers, made.world.study, head="observer")
    units = table.index.unit_id
    chosen = best_single(table.rows, units, range(5))
    with pytest.raises(LeakageError, match="fitted or chosen on"):
        chosen.predict(table.rows, units)


def test_trap_random_trials_as_folds(made: MeasuredWorld) -> None:
    with pytest.raises(InputError, match="wanted one of network, unit"):
        imi.learn(made.observers, made.world.study, by="trial")  # type: ignore[arg-type]


def test_trap_scoring_the_fit(learned: Learned, made: MeasuredWorld) -> None:
    with pytest.raises(LeakageError, match="fitted on"):
        learned.transfer(made.observers, made.world.study)
    fitted = FittedOn.of(learned.record)
    mine = replace(made.observers[0], fitted_on=fitted)
    for use in (
        lambda: imi.score(mine, made.world.study),
        lambda: imi.compare([mine, made.observers[1]], made.world.study),
        lambda: imi.learn([mine, made.observers[1]], made.world.study),
        lambda: imi.gate(mine, against=made.observers[1], trials=made.world.trials, max_drop=0.5),
    ):
        with pytest.raises(LeakageError, match="what it was fitted on"):
            use()


def test_trap_pictures_of_the_fit(learned: Learned, made: MeasuredWorld) -> None:
    known = FittedOn.of(learned.record)
    assert known is not None
    assert known.images
    other = replace(
        known,
        units=frozenset(),
        networks=frozenset(),
        trials=frozenset(made.world.trials.index.trial_id[:3].tolist()),
    )
    with pytest.raises(LeakageError, match="pictures of trial"):
        imi.score(replace(made.observers[0], fitted_on=other), made.world.study)


@pytest.mark.whole
def test_trap_pictures_shared_between_folds_are_flagged_or_dropped(made: MeasuredWorld) -> None:
    options = {"trials": made.world.trials, "by": "unit", "n_folds": 4, "n_boot": 0, "curves": 0}
    flagged = imi.learn(made.observers, made.world.study, **options)
    assert any("share pictures" in note for note in flagged.notes)
    by_network = imi.learn(made.observers, made.world.study, **options | {"by": "network"})
    assert not any("share pictures" in note for note in by_network.notes)


def test_trap_difficulties_that_encode_accuracy(made: MeasuredWorld) -> None:
    study = made.world.study
    rate = np.bincount(study.rows, study.responses.correct) / np.bincount(study.rows)
    labels = np.array(["hard85", "hard95", "easy"], dtype=object)
    told = labels[np.digitize(rate, [0.6, 0.8])]
    leaky = Study(replace(study.trials, difficulty=told), study.responses)
    with pytest.raises(LeakageError, match="difficulty is not the one"):
        imi.learn(made.observers, leaky, head="measure", n_boot=0, curves=0)


@pytest.mark.parametrize("column", ["evidence_colour", "log_sensitivity", "Accuracy", "confidence"])
def test_trap_planted_attributes_and_answers_as_columns(made: MeasuredWorld, column) -> None:
    ids = made.world.trials.index.trial_id
    table = pd.DataFrame({"trial_id": ids, column: np.arange(len(ids), dtype=float)})
    with pytest.raises(LeakageError, match="nobody may know"):
        imi.learn(made.observers, made.world.study, head="measure", covariates=table)


@pytest.mark.parametrize("values", [["0,5", "0,7"], ["conv", "linear"]])
def test_a_covariate_that_is_no_number_is_not_passed_over(made: MeasuredWorld, values) -> None:
    ids = made.world.trials.index.trial_id
    table = pd.DataFrame({"trial_id": ids, "mode": "natural", "width": np.resize(values, len(ids))})
    with pytest.raises(InputError, match=f"column 'width': found .*{values[0]}"):
        imi.learn(made.observers, made.world.study, head="measure", covariates=table)


def test_trap_the_table_of_a_worlds_truth(made: MeasuredWorld) -> None:
    with pytest.raises(LeakageError, match="nobody may know"):
        imi.learn(
            made.observers,
            made.world.study,
            head="measure",
            covariates=made.world.truth.units_frame(),
        )


@pytest.mark.whole
def test_trap_covariates_from_functions_that_see_answers(made: MeasuredWorld) -> None:
    study, trials = made.world.study, made.world.trials
    rate = np.bincount(study.rows, study.responses.correct) / np.bincount(study.rows)

    def leaky(shown):
        return np.bincount(study.rows, study.responses.correct)[: len(shown)]

    with pytest.raises(LeakageError, match="sees people's answers"):
        imi.learn(made.observers, study, head="measure", trials=trials, covariates={"rate": leaky})
    found = imi.learn(
        made.observers,
        study,
        head="measure",
        trials=trials,
        n_boot=0,
        curves=0,
        covariates={"batch": lambda shown: shown.index.batch},
    )
    assert "batch" in found.record["covariates"]
    assert len(rate)


def test_trap_an_observer_that_reads_activations(made: MeasuredWorld) -> None:
    from imi_bench.observers.reference import ideal

    best = ideal(made.world.trials, made.world.trials.blind(seed=0).key)
    with pytest.raises(LeakageError, match="reads the unit's own activations"):
        imi.learn([best, *made.observers], made.world.study)


def test_refusals(made: MeasuredWorld) -> None:
    study = made.world.study
    with pytest.raises(UnknownNameError, match="head"):
        imi.learn(made.observers, study, head="other")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="different names"):
        imi.learn([made.observers[0]] * 2, study)
    with pytest.raises(InputError, match="blind observer"):
        imi.learn(made.observers, study, covariates=pd.DataFrame())


def test_features_of_sets_are_those_of_the_pictures_shown() -> None:
    rng = np.random.default_rng(0)
    colours = [rng.integers(0, 256, (1, 1, 3), dtype=np.uint8) for _ in range(N_IMAGES)]
    trials = replace(make_trials(), images=Images.collect(colours)[0])
    order = rng.permutation(N_IMAGES)
    place = np.argsort(order)
    rows = {name: place[getattr(trials, name)] for name in ("positive", "negative", "queries")}
    other = replace(trials, images=trials.images.part(order), **rows)
    seen = [sets_seen(MeanColour(), one, linear=False)[1] for one in (trials, other)]
    np.testing.assert_allclose(seen[0], seen[1])
