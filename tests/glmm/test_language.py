"""Formulas as users write them, and what is asked of their fits, on one unbalanced table: R's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from imi_bench.glmm import GlmmResult, fit

HERE = Path(__file__).parent / "references" / "language"
FITS = json.loads((HERE / "fits.json").read_text(encoding="utf-8"))
AFTER = json.loads((HERE / "after.json").read_text(encoding="utf-8"))
GAUSSIAN = {"family": "gaussian"}
OPTIONS: dict[str, dict[str, Any]] = {
    "binomial": {},
    "na": {},
    "probit": {"link": "probit"},
    "ML": GAUSSIAN,
    "REML": GAUSSIAN | {"method": "REML"},
    "W": GAUSSIAN | {"method": "REML", "weights": "w"},
    "naW": GAUSSIAN | {"method": "REML", "weights": "w"},
    "F": {"weights": "n"},
}


def fitted(record: dict[str, Any]) -> GlmmResult:
    table = "missing.csv" if record["kind"].startswith("na") else "table.csv"
    return fit(record["formula"], HERE / table, **OPTIONS[record["kind"]])


def assert_as_lme4(record: dict[str, Any]) -> None:
    """Standard errors within 3%: lme4's are of a Hessian by finite differences."""
    result = fitted(record)
    assert result.converged, result.reason
    assert result.n == record["n"]
    assert list(result.names) == record["names"]
    assert result.log_likelihood > record["logLik"] - 1e-4
    se = np.array(record["se"])
    assert np.abs((result.estimate - record["estimate"]) / se).max() < 0.01
    assert np.abs(result.se / se - 1).max() < 0.03


@pytest.mark.parametrize("number", range(0, len(FITS), 8))
def test_one_formula_in_eight(number: int) -> None:
    assert_as_lme4(FITS[number])


@pytest.mark.slow
@pytest.mark.parametrize("record", FITS, ids=lambda one: f"{one['kind']} {one['formula']}")
def test_every_formula(record) -> None:
    assert_as_lme4(record)


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(one, id=one["formula"], marks=() if place % 3 == 1 else pytest.mark.slow)
        for place, one in enumerate(AFTER)
    ],
)
def test_what_r_says_of_the_fit(record) -> None:
    """Means by emmeans, predictions, conditional modes and their spread, R2, drop1."""
    result = fitted(record)
    rows = pd.read_csv(HERE / "table.csv").iloc[6::45]
    wanted = record["means"]
    means = result.marginal_means(wanted["by"], over="zero", scale="link")
    np.testing.assert_allclose(means.estimate, wanted["estimate"], atol=3e-3)
    np.testing.assert_allclose(means.se, wanted["se"], rtol=0.03)
    for over, name in (("zero", "typical"), ("conditional", "conditional")):
        found = result.predict(rows, over=over, scale="link").estimate
        np.testing.assert_allclose(found, record[name], atol=3e-3)
    modes = result.modes_frame().sort_values(["group", "name", "level"])
    np.testing.assert_allclose(modes["mode"], record["modes"], atol=3e-3)
    np.testing.assert_allclose(modes["conditional_sd"], record["conditional_sd"], rtol=5e-3)
    shares = result.variation()
    np.testing.assert_allclose([shares.marginal_r2, shares.conditional_r2], record["r2"], atol=1e-3)
    if "drop1" in record:
        found = [one.statistic for one in result.drop_one()]
        np.testing.assert_allclose(found, record["drop1"], atol=2e-3)
