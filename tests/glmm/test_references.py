"""Agreement with lme4: stored results, and a live run where R is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from imi_bench.glmm import GlmmResult, fit
from imi_bench.glmm.tables import read_table

HERE = Path(__file__).parent / "references"
MORE = json.loads((HERE / "more.json").read_text())
STORED = sorted(path.stem for path in HERE.glob("*.json") if path.stem != "more")
SHARED = (
    "cbpp",
    "verbagg",
    "verbagg_slope",
    "crossed_50k",
    "sleepstudy_ml",
    "sleepstudy_reml",
    "insteval_ml",
)
DATA_OF = {"slopes_uncorrelated": "slopes", "nested_ml": "nested"}


def random_rows(result: GlmmResult) -> dict[tuple[str, str | None, str | None], float]:
    """Standard deviations and correlations under the keys of R's VarCorr table."""
    rows: dict[tuple[str, str | None, str | None], float] = {}
    for effect in result.random:
        for i, name in enumerate(effect.names):
            rows[effect.group, name, None] = float(effect.sd[i])
            for j in range(i):
                rows[effect.group, effect.names[j], name] = float(effect.corr[i, j])
    if result.family == "gaussian":
        rows["Residual", None, None] = result.sigma
    return rows


def assert_agrees(result: GlmmResult, reference: dict[str, Any]) -> None:
    assert result.converged
    assert result.n == reference["n"]
    if reference["logLik"] is not None:
        assert result.log_likelihood > reference["logLik"] - 0.01
    assert list(result.names) == list(reference["fixed"])
    for i, (name, row) in enumerate(reference["fixed"].items()):
        assert abs(result.estimate[i] - row["estimate"]) < 0.02 * row["se"], name
        assert abs(result.se[i] / row["se"] - 1) < 0.02, name
    ours = random_rows(result)
    for row in reference["random"]:
        value = ours[row["group"].split(".")[0], row["var1"], row["var2"]]
        if row["var2"] is not None:
            assert value == pytest.approx(row["sdcor"], abs=0.01)
        elif row["sdcor"] < 1e-3:
            assert value < 1e-3
        else:
            assert abs(value / row["sdcor"] - 1) < 0.01, row


def fit_reference(reference: dict[str, Any], data: pd.DataFrame) -> GlmmResult:
    return fit(
        reference["formula"],
        data,
        family=reference["family"],
        link=reference["link"],
        method=reference["method"],
        nagq=reference["nagq"],
    )


@pytest.mark.parametrize("name", STORED)
def test_stored_triangle(name: str) -> None:
    reference = json.loads((HERE / f"{name}.json").read_text())
    result = fit_reference(reference, read_table(HERE / f"{DATA_OF.get(name, name)}.csv"))
    assert_agrees(result, reference)
    assert result.singular == reference["singular"]


def fit_more(reference: dict[str, Any], data: pd.DataFrame) -> GlmmResult:
    gaussian = reference["kind"] in ("ML", "REML")
    return fit(
        reference["formula"],
        data.assign(p=data["s"] / data["t"]),
        family="gaussian" if gaussian else "binomial",
        link=None if gaussian else reference["kind"],
        method=reference["kind"] if gaussian else "ML",
        weights=reference["weights"],
    )


def assert_as_good(result: GlmmResult, reference: dict[str, Any]) -> None:
    """Converged, at or above lme4's likelihood, with its names, estimates and errors."""
    assert result.converged, result.reason
    assert result.n == reference["n"]
    assert result.log_likelihood > reference["logLik"] - 1e-4
    assert list(result.names) == list(reference["fixed"])
    better = result.log_likelihood > reference["logLik"] + 1e-3
    for name, estimate, se in zip(result.names, result.estimate, result.se, strict=True):
        row = reference["fixed"][name]
        assert abs(estimate - row["estimate"]) < (0.1 if better else 0.01) * row["se"], name
        assert better or abs(se / row["se"] - 1) < 0.01, name
    if better or result.singular:
        return
    assert not reference["singular"]
    ours = random_rows(result)
    for row in reference["random"]:
        # lme4 numbers the parts of a double bar: g, g.1, g.2.
        value = ours[row["group"].split(".")[0], row["var1"], row["var2"]]
        assert value == pytest.approx(row["sdcor"], rel=0.01, abs=0.005), row


@pytest.fixture(scope="module")
def more_data() -> pd.DataFrame:
    return read_table(HERE / "more.csv")


@pytest.mark.parametrize("reference", MORE, ids=lambda one: f"{one['formula']} {one['kind']}")
def test_more_formulas(reference, more_data) -> None:
    assert_as_good(fit_more(reference, more_data), reference)


@pytest.mark.parametrize("name", SHARED)
def test_shared_reference(name: str, shared: Path) -> None:
    reference = json.loads((shared / "glmm" / f"{name}.reference.json").read_text())
    data = read_table(shared / "glmm" / reference["data"])
    if name.startswith("verbagg"):
        data["mode"] = pd.Categorical(data["mode"], ["want", "do"])
    gaussian = reference["family"] == "gaussian"
    reference |= {
        "family": "gaussian" if gaussian else "binomial",
        "link": "identity" if gaussian else "logit",
        "method": "REML" if "REML" in reference["engine"] else "ML",
        "nagq": 1,
    }
    result = fit_reference(reference, data)
    assert_agrees(result, reference)
    assert result.aic == pytest.approx(reference["AIC"], abs=0.02)
    assert not result.singular


def test_relevelling_moves_the_intercept_and_nothing_else(shared: Path) -> None:
    reference = json.loads((shared / "glmm" / "verbagg.reference.json").read_text())
    result = fit(reference["formula"], read_table(shared / "glmm" / "verbagg.csv"))
    fixed = {name: row["estimate"] for name, row in reference["fixed"].items()}
    ours = dict(zip(result.names, result.estimate, strict=True))
    assert ours["modewant"] == pytest.approx(-fixed["modedo"], abs=0.002)
    assert ours["(Intercept)"] == pytest.approx(fixed["(Intercept)"] + fixed["modedo"], abs=0.005)
    assert result.log_likelihood == pytest.approx(reference["logLik"], abs=0.01)


@pytest.mark.r_live
def test_live_against_r(tmp_path: Path) -> None:
    """Run the script anew: R's results are the stored ones, and ours agree with both."""
    if shutil.which("Rscript") is None:
        pytest.skip("Rscript is not installed")
    shutil.copy(HERE / "generate.R", tmp_path)
    subprocess.run(["Rscript", "generate.R"], cwd=tmp_path, check=True)
    for name in STORED:
        live = json.loads((tmp_path / f"{name}.json").read_text())
        stored = json.loads((HERE / f"{name}.json").read_text())
        live_fixed = [row["estimate"] for row in live["fixed"].values()]
        stored_fixed = [row["estimate"] for row in stored["fixed"].values()]
        np.testing.assert_allclose(live_fixed, stored_fixed, rtol=1e-3, atol=1e-4, err_msg=name)
        data = read_table(tmp_path / f"{DATA_OF.get(name, name)}.csv")
        assert_agrees(fit_reference(live, data), live)
