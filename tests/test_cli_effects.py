"""`imi-bench effects`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from imi_bench.cli.app import app
from imi_bench.data.simulate import simulate_study
from imi_bench.data.simulation_parameters import SimulationParameters
from imi_bench.data.study_files import write_study
from imi_bench.errors import InputError

SMALL = SimulationParameters(units=10, units_hard=10, participants=8, main_trials=10, batches=2)


def test_json_and_files(tmp_path: Path) -> None:
    write_study(simulate_study(SMALL, seed=1).study, tmp_path / "study")
    out = tmp_path / "out"
    result = CliRunner().invoke(
        app, ["effects", "--responses", str(tmp_path / "study"), "--out", str(out), "--json"]
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["simulated"] is True
    assert found["networks"] == 9
    first = found["effects"][0]
    assert first["key"] == "parameters"
    assert first["method"] == "two-stage t(7)"
    assert first["equivalence"]["bound"] == pytest.approx(0.35 / 1.0981, rel=1e-3)
    for name in ("effects.csv", "networks.csv", "effects.tex", "refit.R", "effects.png"):
        assert (out / name).stat().st_size > 0


def test_no_file_is_one_line() -> None:
    result = CliRunner().invoke(app, ["effects", "--responses", "nowhere.csv"])
    assert isinstance(result.exception, InputError)
    assert "nowhere.csv" in str(result.exception)
    assert result.exception.exit_code == 2
