"""Weights of Gaussian rows: lme4's numbers, the dense likelihood, what is drawn and refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from imi_bench.errors import FormulaError, ModelError, NotComparableError
from imi_bench.glmm import GlmmResult, Options, deviance, fit
from imi_bench.glmm.comparison import anova
from imi_bench.glmm.means import raw_means

FORMULA = "Reaction ~ Days + (Days | Subject)"


@pytest.fixture(scope="module")
def sleep(shared: Path) -> pd.DataFrame:
    data = pd.read_csv(shared / "glmm" / "sleepstudy.csv", dtype={"Subject": str})
    return data.assign(w=1 / (1 + data["Days"]))


@pytest.fixture(scope="module")
def fitted(sleep: pd.DataFrame) -> GlmmResult:
    return fit(FORMULA, sleep, family="gaussian", weights="w")


@pytest.mark.parametrize(
    ("method", "wanted"),
    [
        ("ML", [254.21022899, 9.84392504, 6.62438376, 1.54220310, -874.07120588, 11.53100185]),
        ("REML", [254.21022899, 9.84392504, 6.81647394, 1.58691968, -869.89398732, 11.53098668]),
    ],
)
def test_lme4_gives_the_same(sleep: pd.DataFrame, method: str, wanted: list[float]) -> None:
    """lmer(Reaction ~ Days + (Days | Subject), weights = 1 / (1 + Days)), lme4 1.1-31."""
    found = fit(FORMULA, sleep, family="gaussian", weights="w", method=method)
    errors = np.sqrt(np.diag(found.covariance))
    numbers = [*found.estimate, *errors, found.log_likelihood, found.sigma]
    assert found.converged
    np.testing.assert_allclose(numbers, wanted, rtol=5e-5)
    assert found.log_likelihood > wanted[4] - 1e-6


def test_the_likelihood_is_that_of_the_dense_normal(fitted: GlmmResult) -> None:
    design = fitted.design
    assert design is not None
    lower = np.zeros((2, 2))
    lower[np.tril_indices(2)] = fitted.theta[[0, 1, 2]]
    codes, columns = design.factors[0].codes, design.fixed
    spread = columns @ lower @ lower.T @ columns.T * np.equal.outer(codes, codes)
    covariance = fitted.sigma**2 * (np.diag(1 / design.trials) + spread)
    mean = design.fixed @ fitted.estimate
    wanted = stats.multivariate_normal(mean, covariance).logpdf(design.response)
    assert fitted.log_likelihood == pytest.approx(float(wanted), abs=1e-8)


@pytest.mark.parametrize("method", ["ML", "REML"])
def test_the_gradient_is_exact(sleep: pd.DataFrame, method: str) -> None:
    found = fit(FORMULA, sleep, family="gaussian", weights="w", method=method)
    assert found.design is not None
    theta = found.theta + np.array([0.2, -0.1, 0.05])
    value, gradient = deviance(found.design, theta, options=Options(method=method))
    for index in range(3):
        move = np.zeros(3)
        move[index] = 1e-5
        up = deviance(found.design, theta + move, options=Options(method=method))[0]
        down = deviance(found.design, theta - move, options=Options(method=method))[0]
        assert gradient[index] == pytest.approx((up - down) / 2e-5, rel=1e-5)
    assert math.isfinite(value)


def test_what_is_drawn_has_the_weights_spread(fitted: GlmmResult) -> None:
    rng = np.random.default_rng(0)
    drawn = np.stack([fitted.simulate(rng) for _ in range(400)])
    assert fitted.design is not None
    lower = np.zeros((2, 2))
    lower[np.tril_indices(2)] = fitted.theta
    random = ((fitted.design.fixed @ lower) ** 2).sum(axis=1)
    wanted = fitted.sigma**2 * (random + 1 / fitted.design.trials)
    ratio = drawn.var(axis=0, ddof=1) / wanted
    assert ratio.mean() == pytest.approx(1.0, abs=0.05)
    assert np.corrcoef(drawn.var(axis=0), wanted)[0, 1] > 0.9


def test_raw_means_count_the_weights(sleep: pd.DataFrame) -> None:
    data = sleep.assign(late=np.where(sleep["Days"] > 4, "late", "early"))
    found = fit("Reaction ~ late + (1 | Subject)", data, family="gaussian", weights="w")
    raw = raw_means(found, "late", by=None)
    for row in raw.itertuples():
        part = data[data["late"] == row.late]
        assert row.mean == pytest.approx(np.average(part["Reaction"], weights=part["w"]))


def test_models_of_other_weights_are_not_compared(sleep: pd.DataFrame, fitted: GlmmResult) -> None:
    plain = fit("Reaction ~ 1 + (Days | Subject)", sleep, family="gaussian")
    with pytest.raises(NotComparableError):
        anova(plain, fitted)


@pytest.mark.parametrize("weight", [0.0, -1.0, np.inf])
def test_a_weight_that_is_none_is_refused(sleep: pd.DataFrame, weight: float) -> None:
    data = sleep.assign(w=sleep["w"].mask(sleep.index == 3, weight))
    with pytest.raises((ModelError, FormulaError), match=r"weight|infinite"):
        fit(FORMULA, data, family="gaussian", weights="w")
