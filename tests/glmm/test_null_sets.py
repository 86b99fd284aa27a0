"""Little or no variance between groups: every fit ends, and none below lme4's likelihood."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.null_sets import null_set

from imi_bench.glmm import GlmmResult, fit, fit_design

HERE = Path(__file__).parent / "references"
TOLERANCE = 1e-4
FEW = tuple(range(1, 41, 3))


def fitted(number: int) -> GlmmResult:
    one = null_set(number)
    return fit(one.formula, one.data, **one.options)


def assert_not_below_lme4(numbers: tuple[int, ...], stored: pd.DataFrame) -> None:
    bad = []
    for number in numbers:
        one, row = null_set(number), stored.loc[number]
        assert len(one.data) == row["rows"], "R and Python make different data"
        assert round(float(one.data["y"].sum()), 4) == pytest.approx(row["total"], abs=1e-3)
        result = fit(one.formula, one.data, **one.options)
        short = row["logLik"] - result.log_likelihood
        if not result.converged or short > TOLERANCE:
            bad.append((number, row["kind"], row["formula"], result.reason, round(short, 6)))
    assert not bad


@pytest.fixture(scope="module")
def stored() -> pd.DataFrame:
    return pd.read_csv(HERE / "null_sets.csv", index_col="number")


def test_one_of_each(stored) -> None:
    assert_not_below_lme4(FEW, stored)


def test_some_are_singular_and_say_so() -> None:
    results = [fitted(number) for number in FEW[:6]]
    assert any(result.singular for result in results)
    for result in results:
        assert result.singular == any("singular" in warning for warning in result.warnings)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_all_five_hundred(stored) -> None:
    assert_not_below_lme4(tuple(stored.index), stored)


@pytest.mark.r_live
def test_r_gives_what_is_stored(stored, tmp_path) -> None:
    if shutil.which("Rscript") is None:
        pytest.skip("Rscript is not installed")
    shutil.copy(HERE / "null_sets.R", tmp_path)
    command = ["Rscript", "null_sets.R", "40", "live.csv"]
    subprocess.run(command, cwd=tmp_path, check=True)
    live = pd.read_csv(tmp_path / "live.csv", index_col="number")
    again = stored.loc[live.index]
    assert list(live["formula"]) == list(again["formula"])
    assert (live["logLik"] - again["logLik"]).abs().max() < 1e-4


def test_a_saddle_on_the_boundary_is_left(stored) -> None:
    """Without variance in the intercept, its covariances show only after a rotation."""
    assert_not_below_lme4((478,), stored)


def test_refits_of_a_fit_without_variance() -> None:
    one = null_set(8 * 5 + 1)
    result = fit("y ~ x + (1|g) + (1|h)", one.data, family="gaussian")
    rng = np.random.default_rng(0)
    again = [fit_design(result.design.with_response(result.simulate(rng))) for _ in range(5)]
    assert result.converged
    assert all(refit.converged for refit in again)
