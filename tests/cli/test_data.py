"""`imi-bench data …` from simulation to multiverse, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import typer.testing

from imi_bench.cli.app import app
from imi_bench.errors import ImiBenchError
from imi_bench.release.table import read_responses

PEOPLE = 21
ANSWERS = PEOPLE * 40  # to one condition
PARAMETERS = {
    "study": {
        "conditions": [
            {"network": "resnet50", "mode": "natural", "difficulty": "easy"},
            {"network": "googlenet", "mode": "synthetic", "difficulty": "easy"},
            {"network": "resnet50", "mode": "natural", "difficulty": "hard95"},
        ],
        "lapse": 0.05,
        "participants": PEOPLE,
    }
}


def run(*arguments: object, code: int = 0) -> str:
    result = typer.testing.CliRunner().invoke(app, ["data", *map(str, arguments)])
    if isinstance(result.exception, ImiBenchError):
        assert result.exception.exit_code == code, result.exception
        return f"{result.stdout}error: {result.exception}"
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "parameters.json").write_text(json.dumps(PARAMETERS))
    path = folder / "responses_all.csv"
    out = run("simulate", "--out", path, "--parameters", folder / "parameters.json", "--seed", 3)
    assert "SIMULATED" in out
    return path


@pytest.fixture
def broken(table: Path, tmp_path: Path) -> Path:
    frame = pd.read_csv(table, dtype=str, keep_default_na=False)
    frame.loc[frame["model"] == "googlenet", "model"] = "googlenet_hard42"
    frame.to_csv(tmp_path / "broken.csv", index=False)
    return tmp_path / "broken.csv"


def test_simulate_states_its_truth(table: Path) -> None:
    truth = json.loads(table.with_suffix(".truth.json").read_text())
    assert truth["parameters"]["study"]["lapse"] == 0.05
    assert truth["seed"] == 3
    assert len(truth["intercepts"]) == 3


def test_simulate_refuses(tmp_path: Path) -> None:
    assert "name that ends in .csv" in run("simulate", "--out", tmp_path / "x.parquet", code=2)
    (tmp_path / "p.json").write_text('{"study": {"laps": 1}}')
    out = run("simulate", "--out", tmp_path / "x.csv", "--parameters", tmp_path / "p.json", code=2)
    assert "unknown parameter: found laps" in out
    assert not (tmp_path / "x.csv").exists()


def test_simulate_replaces_no_table_unasked(table: Path, tmp_path: Path) -> None:
    measured = tmp_path / "responses_all.csv"
    measured.write_text("an,answer\n1,2\n")
    assert "--force" in run("simulate", "--out", measured, code=2)
    assert measured.read_text() == "an,answer\n1,2\n"
    parameters = table.with_name("parameters.json")
    run("simulate", "--out", measured, "--parameters", parameters, "--seed", 3, "--force")
    assert measured.read_bytes() == table.read_bytes()


def test_info(table: Path) -> None:
    facts = json.loads(run("info", table, "--json"))
    assert facts["simulated"] is True
    assert facts["study_hash"] == read_responses(table).hash
    assert facts["kept_answers"] == facts["kept"] == 3 * ANSWERS
    total = facts["main_trials"] + facts["catch_trials"] + facts["practice_trials"]
    assert total == facts["rows"]
    (hard,) = [c for c in facts["conditions"] if c["difficulty"] == "hard95"]
    assert (hard["published"], hard["standard_errors_off"]) == (None, None)
    out = run("info", table)
    for expected in ("SIMULATED", "0.832 [0.808, 0.852]", "multiple participation", "study hash"):
        assert expected in out


def test_info_of_rejected_answers_alone(table: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(table, dtype=str, keep_default_na=False)
    bad = (frame["passed_checks"] == "False") | (frame["multi_participation"] == "True")
    frame[bad].to_csv(tmp_path / "responses_lower_quality.csv", index=False)
    facts = json.loads(run("info", tmp_path / "responses_lower_quality.csv", "--json"))
    assert facts["kept_answers"] == 0
    assert facts["conditions"] == []


def test_verify(table: Path, broken: Path) -> None:
    (good,) = json.loads(run("verify", table, "--json"))["files"]
    assert good["ok"]
    assert {one["criterion"] for one in good["agreement"]} >= {"catch_ratio", "passed_checks"}
    out = run("verify", broken, code=1)
    assert "unknown difficulty suffix" in out
    assert "googlenet_hard42" in out
    result = run("verify", broken, "--json", code=1)
    (bad,) = json.loads(result[: result.index("error: ")])["files"]
    (violation,) = bad["violations"]
    assert violation["count"] == len(violation["rows"]) > ANSWERS


def test_broken_rows_stop_info_unless_left_out(broken: Path) -> None:
    assert "the table breaks 1 expectation" in run("info", broken, code=2)
    facts = json.loads(run("info", broken, "--skip-bad", "--json"))
    assert facts["rows_left_out_as_broken"] > ANSWERS
    assert len(facts["conditions"]) == 2


@pytest.mark.whole
def test_multiverse(table: Path, tmp_path: Path) -> None:
    out = run(
        "multiverse",
        table,
        "--rules",
        "catch_ratio,drop_multiple",
        "--json",
        "--figure",
        tmp_path / "m.png",
        "--out",
        tmp_path / "m.csv",
    )
    found = json.loads(out)
    assert (found["universes"], found["simulated"]) == (6, True)
    assert len(pd.read_csv(tmp_path / "m.csv")) == 6
    assert (tmp_path / "m.png").read_bytes()[:4] == b"\x89PNG"
    assert "SIMULATED" in run("multiverse", table, "--rules", "catch_ratio")
    assert "unknown analysis" in run("multiverse", table, "--analysis", "x", code=2)


def test_fetched_by_hand_is_found_by_the_others(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMI_BENCH_CACHE", str(tmp_path / "cache"))
    assert "run `imi-bench data fetch`" in run("info", code=2)
    (one,) = json.loads(run("fetch", "--from", table.parent, "--json"))["files"]
    assert (one["checksum"], one["how"]) == ("unverified", "copied")
    assert json.loads(run("verify", "--json"))["files"][0]["checksum"] == "unverified"
    assert json.loads(run("info", "--json"))["rows"] > 0


def test_offline_is_one_line_and_exit_code_2(
    tmp_path: Path, imi_bench_main: Callable[..., tuple[int, str, str]]
) -> None:
    command = ("data", "fetch", "--to", tmp_path, "--url", "http://127.0.0.1:9/", "--attempts", 1)
    code, out, said = imi_bench_main(*command)
    assert (code, out) == (2, "")
    assert said.count("\n") == 1
    assert "imi-bench data fetch --from FOLDER" in said
