"""`imi-bench model`: a saved fit, its tests and figures, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from imi_bench.cli.app import app
from imi_bench.errors import InputError
from imi_bench.glmm import fit
from imi_bench.glmm.saved import load_model


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    where = tmp_path_factory.mktemp("models")
    rng = np.random.default_rng(0)
    p, unit, x = rng.integers(0, 12, 400), rng.integers(0, 10, 400), rng.normal(size=400)
    mode = np.where(rng.random(400) < 0.5, "natural", "synthetic")
    eta = 1.0 + x - 1.0 * (mode == "synthetic") + rng.standard_normal(12)[p]
    eta += 0.7 * rng.standard_normal(10)[unit]
    data = pd.DataFrame({"p": p, "unit": unit, "x": x.round(3), "mode": mode})
    data["y"] = (rng.logistic(size=400) < eta).astype(int)
    data.to_csv(where / "answers.csv", index=False)
    for name, fixed in (("full", "x * mode"), ("small", "x + mode")):
        formula = f"y ~ {fixed} + (1 | p) + (1 | unit)"
        run("fit", formula, where / "answers.csv", "--save", where / f"{name}.json")
    return where


def test_a_saved_model_comes_back_with_its_data(folder) -> None:
    again = load_model(folder / "full.json")
    fresh = fit(again.formula, pd.read_csv(folder / "answers.csv"))
    np.testing.assert_array_equal(again.estimate, fresh.estimate)
    ratios = [one.likelihood_ratio("x:mode").p for one in (again, fresh)]
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-6)


def test_every_verb_prints(folder) -> None:
    full, small = folder / "full.json", folder / "small.json"
    assert "2 against 1" in run("model", "anova", full, small)
    assert "likelihood ratio" in run("model", "drop1", full)
    assert "Wald z" in run("model", "intervals", full, "--method", "wald")
    assert "R2 (Nakagawa)" in run("model", "variance", small)
    assert "2 of 2 starts" in run("model", "starts", small, "--n", 2)
    assert "modesynthetic" in run("model", "correlation", small)
    assert "Cook's distance" in run("model", "influence", small, "unit")
    assert "and 380 more rows" in run("model", "predict", small)


def test_means_in_json_are_those_of_python(folder) -> None:
    record = json.loads(run("model", "means", folder / "full.json", "mode", "--json"))
    found = load_model(folder / "full.json").marginal_means("mode")
    assert [row["estimate"] for row in record["means"]] == found.estimate.tolist()
    assert record["contrasts"][0]["p"] == found.contrasts()[0].p


@pytest.mark.whole
def test_files_and_figures(folder) -> None:
    small = folder / "small.json"
    run("model", "ranef", small, "--plot", folder / "c.png")
    run("model", "means", small, "mode", "--people", "p", "--plot", folder / "m.png")
    run("model", "residuals", small, "--n", 50, "--plot", folder / "r.svg")
    assert all((folder / name).stat().st_size > 1000 for name in ("c.png", "m.png", "r.svg"))
    run("model", "simulate", small, "--n", 2, "--out", folder / "s.csv")
    assert set(pd.read_csv(folder / "s.csv")["simulated_2"]) == {0, 1}
    run("model", "predict", small, "--out", folder / "p.csv")
    assert len(pd.read_csv(folder / "p.csv")) == 400


def test_a_changed_or_missing_table_is_refused(folder, tmp_path) -> None:
    changed = tmp_path / "answers.csv"
    pd.read_csv(folder / "answers.csv").iloc[1:].to_csv(changed, index=False)
    with pytest.raises(InputError, match="changed since the fit"):
        load_model(folder / "full.json", data=changed)
    moved = tmp_path / "full.json"
    moved.write_bytes((folder / "full.json").read_bytes())
    changed.unlink()
    with pytest.raises(InputError, match="is gone"):
        load_model(moved)
    with pytest.raises(InputError, match="not a saved model"):
        load_model(folder / "answers.csv")
