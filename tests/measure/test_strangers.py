"""Ways in that a stranger would try: real observers, real folders; each raises."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import imi_bench as imi
from imi_bench.errors import ImiBenchError, InputError, LeakageError, NotComparableError
from imi_bench.leaderboard.pack import new
from imi_bench.provenance import sha256_json
from imi_bench.simulation.demo import demo_data
from imi_bench.tables import DecisionVariables, Study, TrialIndex

PARTS = ("colour-histogram", "pixel-cosine")
pytestmark = pytest.mark.whole
DEMO = {"n_networks": 2, "n_batches": 1, "n_scenes": 200, "size": 16}


@pytest.fixture(scope="module")
def made():
    return demo_data(**DEMO)


@pytest.fixture(scope="module")
def runs(made, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    for name in PARTS:
        imi.answer(name, made[0], out=out / name)
    return [out / name for name in PARTS]


@pytest.fixture(scope="module")
def learned(made, runs, tmp_path_factory) -> Path:
    found = imi.learn(runs, made[1], trials=made[0], n_folds=3, n_boot=0, curves=0)
    return found.write(tmp_path_factory.mktemp("learned") / "learned")


@pytest.fixture(scope="module")
def answered(made, learned, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("answered") / "run"
    imi.answer(str(learned), made[0], out=out)
    return out


def renamed(study: Study, trials) -> tuple[Study, imi.tables.Trials]:
    """The same units and pictures under other names."""
    frame = study.trials.to_frame()
    old = frame["trial_id"].tolist()
    frame["network"] = "mine-" + frame["network"]
    frame["trial_id"] = TrialIndex.canonical_ids(frame)
    new_of = dict(zip(old, frame["trial_id"], strict=True))
    index = TrialIndex.from_frame(frame)
    ids = np.array([new_of[one] for one in study.responses.trial_id.tolist()], dtype=object)
    return Study(index, replace(study.responses, trial_id=ids)), replace(trials, index=index)


def test_decisions_without_their_record_still_say_what_they_saw(made, answered, tmp_path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(answered / "decisions.parquet", bare)
    for given in (
        bare,
        bare / "decisions.parquet",
        pd.read_parquet(bare / "decisions.parquet"),
        DecisionVariables.read(answered).to_frame().sort_values("trial_id"),
    ):
        with pytest.raises(LeakageError, match="fitted on"):
            imi.score(given, made[1])


def test_the_record_of_another_run_beside_the_decisions(made, answered, runs, tmp_path) -> None:
    mixed = tmp_path / "mixed"
    shutil.copytree(answered, mixed)
    shutil.copy(runs[0] / "run.json", mixed)
    with pytest.raises(LeakageError, match="fitted on"):
        imi.score(mixed, made[1])
    with pytest.raises(InputError, match="is not of these decisions"):
        new(mixed, out=tmp_path / "submission", declared={})


def test_units_renamed_under_the_same_pictures(made, learned) -> None:
    study, trials = renamed(made[1], made[0])
    mine = imi.answer(str(learned), trials)
    with pytest.raises(LeakageError, match="pictures of trial"):
        imi.score(mine, study)


def test_predictions_are_no_decisions(made, learned) -> None:
    with pytest.raises(InputError, match="missing columns"):
        imi.score(learned / "predictions.parquet", made[1])


def test_predictions_are_no_covariates(made, runs, learned) -> None:
    table = pd.read_parquet(learned / "predictions.parquet")[["trial_id", "p_learned"]]
    with pytest.raises(LeakageError, match="nobody may know"):
        imi.learn(runs, made[1], head="measure", covariates=table)


@pytest.mark.parametrize("by", ["trial_id", "unit_id"])
def test_answers_as_covariates_under_an_innocent_name(made, runs, by) -> None:
    study = made[1]
    frame = study.trials.to_frame().assign(unit_id=study.trials.unit_id)
    count = np.bincount(study.rows, minlength=len(frame))
    frame["hits"] = np.bincount(study.rows, study.responses.correct, minlength=len(frame))
    frame["count"] = count
    sums = frame[count > 0].groupby(by)[["hits", "count"]].sum()
    table = pd.DataFrame({by: sums.index, "vividness": np.exp(-3 * sums["hits"] / sums["count"])})
    with pytest.raises(LeakageError, match="follows people's answers"):
        imi.learn(runs, study, head="measure", covariates=table)
    table["vividness"] = np.random.default_rng(0).normal(size=len(table))
    options = {"n_folds": 3, "n_boot": 0, "curves": 0}
    assert imi.learn(runs, study, head="measure", covariates=table, **options).bits.value < 1


def test_runs_of_one_world_and_trials_of_another(made, runs) -> None:
    other = demo_data(**DEMO, seed=1)
    with pytest.raises(NotComparableError, match="other trials than those given"):
        imi.learn(runs, made[1], trials=other[0])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weights", -1.0),
        ("weights", float("nan")),
        ("scales", 0.0),
        ("shares", 2.0),
        ("lapse", 1.5),
        ("linear", 1),
        ("fitted_on", None),
        ("units", []),
    ],
)
def test_a_measure_edited_by_hand_and_hashed_anew(learned, tmp_path, name, value) -> None:
    out = tmp_path / "edited"
    shutil.copytree(learned, out)
    record = json.loads((out / "learned.json").read_text())
    assert imi.load_observer(str(learned)).name == "learned"
    if name in record["final"] and name != "linear":
        array = np.array(record["final"][name])
        array[..., 0] = value
        record["final"][name] = array.tolist()
    elif name == "linear":
        record["final"][name] = value
    elif name == "units":
        record["fitted_on"][name] = value
    else:
        record[name] = value
    record.pop("sha256")
    record["sha256"] = sha256_json(record)
    (out / "learned.json").write_text(json.dumps(record))
    with pytest.raises(ImiBenchError, match=r"no fit gives|fitted to nobody"):
        imi.load_observer(str(out))


def test_a_network_under_an_alias(made, answered) -> None:
    run = DecisionVariables.read(answered)
    known = run.fitted_on
    spelled = frozenset("-".join(unit.upper().split("-")) for unit in known.units)
    apart = frozenset(unit[:2] + "-" + unit[2:] for unit in spelled)
    mine = replace(run, fitted_on=replace(known, units=apart, trials=frozenset()))
    with pytest.raises(LeakageError, match="fitted on"):
        imi.score(mine, made[1])
