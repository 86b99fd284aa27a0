"""`calibrate`, `score`, `compare` from end to end, on files."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from support.simulated_panel import panel
from typer.testing import CliRunner

from imi_bench.choice.calibrate import Calibration
from imi_bench.cli.app import app
from imi_bench.errors import InputError, NotComparableError
from imi_bench.release.study_files import read_study, write_study

run = CliRunner().invoke


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    decisions, study = panel(rng=np.random.default_rng(1), units=30, batches=4, lapse=0.05)
    write_study(study, folder)
    for name, factor in (("toy", 1.0), ("backwards", -1.0)):
        (folder / name).mkdir()
        named = dataclasses.replace(
            decisions, observer=name, decision_variable=factor * decisions.decision_variable
        )
        named.to_frame().to_parquet(folder / name / "decisions.parquet")
    return folder


def arguments(folder, *more):
    return ["--decisions", str(folder / "toy"), "--responses", str(folder), *more]


def test_columns_that_are_no_table_are_bad_input(folder, tmp_path):
    table = tmp_path / "columns.csv"
    table.write_text("network\nresnet50,layer,1\n" + "resnet50,layer,1,2,3\n")
    result = run(app, ["score", *arguments(folder, "--columns", str(table))])
    assert isinstance(result.exception, InputError)
    assert "not a CSV table" in str(result.exception)


def test_calibrate(folder, tmp_path):
    out = tmp_path / "calibration.json"
    result = run(app, ["calibrate", *arguments(folder, "--by", "network", "--out", str(out))])
    assert result.exit_code == 0, result.output
    assert "simulated answers" in result.output
    assert "without fold 2" in result.output
    made = Calibration.read(out)
    assert (made.observer, made.by, len(made.fits)) == ("toy", "network", 3)
    printed = run(app, ["calibrate", *arguments(folder, "--by", "network", "--json")])
    assert Calibration.from_json(json.loads(printed.stdout)).hash == made.hash


def test_score_prints_one_json_object(folder):
    result = run(app, ["score", *arguments(folder, "--resamples", "50", "--json")])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["simulated"] is True
    assert report["scores"]["bits"]["estimate"]["value"] > 0.05
    assert set(report["strata"]) == {"mode", "difficulty"}
    assert report["calibration"].startswith("by unit")


def test_score_prints_tables(folder):
    result = run(app, ["score", *arguments(folder, "--resamples", "50", "--uncalibrated")])
    assert result.exit_code == 0, result.output
    for words in (
        "uncalibrated",
        "simulated answers",
        "error consistency",
        "resolvable",
        "natural",
    ):
        assert words in result.output


def test_score_by_a_column_of_layers(folder, tmp_path):
    table = tmp_path / "layers.csv"
    rows = [f"net{n},layer{k},{'conv' if k else 'norm'}" for n in range(3) for k in range(3)]
    table.write_text("network,layer,layer_type\n" + "\n".join(rows) + "\n")
    result = run(
        app,
        [
            "score",
            *arguments(
                folder, "--columns", str(table), "--by", "layer_type", "--resamples", "10", "--json"
            ),
        ],
    )
    assert set(json.loads(result.stdout)["strata"]["layer_type"]) == {"conv", "norm"}


def test_score_with_a_stored_calibration(folder, tmp_path):
    out = tmp_path / "c.json"
    run(app, ["calibrate", *arguments(folder, "--out", str(out))])
    stored = run(
        app, ["score", *arguments(folder, "--calibration", str(out), "--resamples", "5", "--json")]
    )
    fresh = run(app, ["score", *arguments(folder, "--resamples", "5", "--json")])
    assert json.loads(stored.stdout) == json.loads(fresh.stdout)


def test_another_observers_calibration_cannot_be_used(folder, tmp_path):
    out = tmp_path / "c.json"
    run(app, ["calibrate", *arguments(folder, "--out", str(out))])
    result = run(
        app,
        [
            "score",
            "--decisions",
            str(folder / "backwards"),
            "--responses",
            str(folder),
            "--calibration",
            str(out),
        ],
    )
    assert isinstance(result.exception, NotComparableError)
    assert result.exception.exit_code == 3


def test_compare(folder):
    two = [str(folder / "toy"), str(folder / "backwards")]
    result = run(app, ["compare", *two, "--responses", str(folder), "--resamples", "200", "--json"])
    assert result.exit_code == 0, result.output
    lines = {line["score"]: line for line in json.loads(result.stdout)["differences"]}
    assert lines["proportion_correct"]["difference"]["low"] > 0
    # the calibration turns evidence that is always against people round
    assert lines["bits"]["difference"]["value"] == pytest.approx(0, abs=1e-6)
    table = run(app, ["compare", *two, "--responses", str(folder), "--resamples", "50"])
    assert "p (Holm)" in table.output


class TestStudyFiles:
    def test_round_trip(self, folder):
        study = read_study(folder)
        assert read_study(folder / "responses.parquet").hash == study.hash
        assert study.responses.simulated
        assert study.responses.source == "tests/simulated_panel.py"

    def test_what_is_missing_is_named(self, folder, tmp_path):
        with pytest.raises(InputError, match="no human answers"):
            read_study(tmp_path)
        answers = read_study(folder).responses.to_frame()
        answers.to_parquet(tmp_path / "responses.parquet")
        with pytest.raises(InputError, match="answers without their trials"):
            read_study(tmp_path)
        (tmp_path / "trials.parquet").write_bytes((folder / "trials.parquet").read_bytes())
        unsaid = read_study(tmp_path).responses
        assert not unsaid.simulated
        assert "nothing beside it says whether people gave them" in unsaid.source
        answers.drop(columns="correct").to_parquet(tmp_path / "responses.parquet")
        with pytest.raises(InputError, match="wanted correct"):
            read_study(tmp_path)
        (tmp_path / "responses.parquet").write_text("not a table")
        with pytest.raises(InputError, match="not a Parquet file"):
            read_study(tmp_path)
