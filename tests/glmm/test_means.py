"""Means, contrasts, tests, variances and predictions against lme4, emmeans and integration in R."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, special, stats

from imi_bench.errors import InputError, NotComparableError, UnknownNameError
from imi_bench.glmm import GlmmResult, fit
from imi_bench.glmm.caterpillar import conditional_effects, draw_caterpillar
from imi_bench.glmm.comparison import anova, boundary_p, drop_one, variance_tests
from imi_bench.glmm.inferences import Inferences
from imi_bench.glmm.means import marginal_means, raw_means
from imi_bench.glmm.prediction import predict
from imi_bench.glmm.restarts import restarts
from imi_bench.glmm.variation import fixed_correlation, variation

HERE = Path(__file__).parent / "references" / "models"
R = json.loads((HERE / "means.json").read_text())


def table() -> pd.DataFrame:
    return pd.read_csv(HERE / "lapse.csv")


@pytest.fixture(scope="module")
def full() -> GlmmResult:
    return fit(R["formula"], table())


@pytest.fixture(scope="module")
def plain() -> GlmmResult:
    return fit("correct ~ x + mode + third + (1 | person) + (1 | unit)", table())


@pytest.mark.parametrize("name", ["mode", "third"])
def test_typical_means_are_those_of_emmeans(full, name) -> None:
    found = marginal_means(full, name, over="zero")
    rows = pd.DataFrame(R[name])
    assert [cell[name] for cell in found.cells] == rows[name].tolist()
    np.testing.assert_allclose(found.estimate, rows["prob"], atol=2e-4)
    np.testing.assert_allclose(found.se, rows["SE"], rtol=5e-3)
    np.testing.assert_allclose(found.low, rows["asymp.LCL"], atol=5e-4)
    np.testing.assert_allclose(found.high, rows["asymp.UCL"], atol=5e-4)


def test_population_means_are_an_integral(full) -> None:
    found = marginal_means(full, "mode")
    np.testing.assert_allclose(
        found.estimate, [row["population"] for row in R["population"]], atol=2e-4
    )


def test_population_means_are_nearer_to_the_raw_ones(full) -> None:
    raw = table().groupby("mode")["correct"].mean().to_numpy()
    means = [marginal_means(full, "mode", over=over).estimate for over in ("population", "zero")]
    assert np.abs(means[0] - raw).max() < np.abs(means[1] - raw).min()


def test_contrasts_on_the_link_with_tukey(full) -> None:
    found = marginal_means(full, "third", over="zero", scale="link").contrasts(adjust="tukey")
    rows = pd.DataFrame(R["link_pairs"])
    np.testing.assert_allclose([one.estimate for one in found], rows["estimate"], atol=2e-3)
    np.testing.assert_allclose([one.se for one in found], rows["SE"], rtol=5e-3)
    np.testing.assert_allclose([one.p for one in found], rows["p.value"], atol=2e-3)


def test_contrasts_of_probabilities_with_holm(full) -> None:
    found = marginal_means(full, "third", over="zero").contrasts(adjust="holm")
    rows = pd.DataFrame(R["regrid_pairs"])
    # emmeans regrids every combination first and averages probabilities afterwards
    np.testing.assert_allclose([one.estimate for one in found], rows["estimate"], atol=6e-3)
    np.testing.assert_allclose([one.p for one in found], rows["p.value"], atol=0.02)


def test_standard_errors_of_population_means_by_brute_force(full) -> None:
    """Draw all parameters from their joint normal; the spread of the mean is its SE."""
    rng, cells = np.random.default_rng(3), marginal_means(full, "mode", at={"third": ["high"]})
    values = np.r_[full.theta, full.estimate]
    draws = rng.multivariate_normal(values, full.joint_covariance, size=4000)
    x = float(table()["x"].mean())
    rows = np.array([[1, x, 0, 0, 0, 0], [1, x, 1, 0, 0, x]])
    grid = np.linspace(-8, 8, 401)
    weight = stats.norm.pdf(grid) * (grid[1] - grid[0])
    sd = np.sqrt((draws[:, :2] ** 2).sum(axis=1))
    for row, se, estimate in zip(rows, cells.se, cells.estimate, strict=True):
        eta = draws[:, 2:] @ row
        means = special.expit(eta[:, None] + sd[:, None] * grid) @ weight
        assert se == pytest.approx(means.std(), rel=0.06)
        assert estimate == pytest.approx(means.mean(), abs=0.004)


def test_grid_of_a_covariate(full) -> None:
    found = marginal_means(full, "x", "mode", at={"x": [-1.0, 1.0]})
    assert len(found.cells) == 4
    assert {len(found.contrasts(by="x"))} == {2}
    assert found.averaged == ("third",)
    with pytest.raises(InputError, match="covariate of many values"):
        marginal_means(full, "x")
    with pytest.raises(UnknownNameError):
        marginal_means(full, "depth")


def test_anova_and_drop_one(full, plain) -> None:
    compared = anova(full, plain).tests[0]
    assert compared.statistic == pytest.approx(R["anova"]["chisq"], abs=2e-3)
    assert compared.p == pytest.approx(R["anova"]["p"], abs=1e-3)
    rows = [row for row in R["drop1"] if "LRT" in row and row["LRT"] is not None]
    found = drop_one(full)
    assert {test.name for test in found} == {"thirdlow, thirdmiddle", "x:modesynthetic"}
    np.testing.assert_allclose(
        sorted(test.statistic for test in found), sorted(row["LRT"] for row in rows), atol=3e-3
    )


def test_a_variance_on_the_boundary(plain) -> None:
    small = fit("correct ~ x + mode + (1 | person)", table())
    large = fit("correct ~ x + mode + (1 | person) + (1 | unit)", table())
    test = anova(large, small).tests[0]
    assert test.statistic == pytest.approx(R["variance"]["chisq"], abs=2e-3)
    assert test.p == pytest.approx(R["variance"]["p"] / 2, rel=1e-2)
    by_name = {one.name: one for one in variance_tests(large)}
    assert by_name["unit: (Intercept)"].p == pytest.approx(test.p, rel=1e-6)
    alone = variance_tests(fit("correct ~ x + (1 | unit)", table()))
    assert alone[0].statistic > 10
    assert boundary_p(0.0, 1) == 1.0


def test_refusals_to_compare(full) -> None:
    other = fit("correct ~ third + (1 | person) + (1 | unit)", table())
    aside = fit("correct ~ x * mode + (1 | person) + (1 | unit)", table())
    with pytest.raises(NotComparableError, match="not nested"):
        anova(other, aside)
    fewer = fit("correct ~ x + (1 | person) + (1 | unit)", table().iloc[:-1])
    with pytest.raises(NotComparableError, match="different rows"):
        anova(full, fewer)
    lapsing = fit("correct ~ x + (1 | person) + (1 | unit)", table(), lapse=0.02)
    with pytest.raises(NotComparableError, match="lapse"):
        anova(full, lapsing)
    probit = fit("correct ~ x + (1 | person) + (1 | unit)", table(), link="probit")
    with pytest.raises(NotComparableError, match="link"):
        anova(full, probit)
    with pytest.raises(InputError, match="one model"):
        anova(full)


def test_variation_and_correlations(full) -> None:
    parts = variation(full)
    assert parts.marginal_r2 == pytest.approx(R["r2"]["marginal"], rel=2e-3)
    assert parts.conditional_r2 == pytest.approx(R["r2"]["conditional"], rel=2e-3)
    for group, value in R["icc"].items():
        assert parts.intraclass[group] == pytest.approx(value, rel=5e-3)
    np.testing.assert_allclose(fixed_correlation(full), R["correlation"], atol=5e-3)


def test_conditional_effects(full) -> None:
    rows = pd.DataFrame(R["ranef"]).set_index(["grpvar", "grp"])
    frame = conditional_effects(full, level=0.9).set_index(["group", "level"])
    rows = rows.loc[frame.index]
    np.testing.assert_allclose(frame["mode"], rows["condval"], atol=2e-3)
    np.testing.assert_allclose(frame["conditional_sd"], rows["condsd"], rtol=5e-3)
    np.testing.assert_allclose(frame["high"] - frame["mode"], 1.645 * rows["condsd"], rtol=5e-3)


def test_predictions(full) -> None:
    rows = table().head(12)
    np.testing.assert_allclose(
        predict(full, rows, over="conditional").estimate, R["conditional"], atol=5e-4
    )
    np.testing.assert_allclose(predict(full, rows, over="zero").estimate, R["zero"], atol=5e-4)
    own = predict(full, over="conditional")
    np.testing.assert_allclose(own.estimate[:12], R["conditional"], atol=5e-4)
    assert ((own.low < own.estimate) & (own.estimate < own.high)).all()


def test_new_levels(full) -> None:
    rows = table().head(2).assign(person=["nobody", "p01"])
    said = r"2 rows, the first is row 1: found person 'nobody'; .*new_levels='zero'.*population"
    with pytest.raises(InputError, match=said):
        predict(full, rows, over="conditional")
    with pytest.raises(InputError, match="unknown value for 'new_levels': found 'nought'"):
        predict(full, rows, over="conditional", new_levels="nought")  # type: ignore[arg-type]
    found = predict(full, rows, over="conditional", new_levels="zero")
    assert found.unknown.tolist() == [True, False]
    assert found.new == {"person": ("nobody",)}
    assert predict(full, rows).unknown.tolist() == [False, False]
    with pytest.raises(InputError, match="missing value"):
        predict(full, rows.assign(x=[np.nan, 0.0]))


def test_ordered_answers() -> None:
    data = pd.read_csv(HERE / "ordered.csv")
    model = fit("rating ~ mode + depth + (1 | person) + (1 | unit)", data, family="ordinal")
    mean = marginal_means(model, "mode")
    raw = data.groupby("mode")["rating"].mean()
    np.testing.assert_allclose(mean.estimate, raw, atol=0.15)
    above = marginal_means(model, "mode", above="3")
    np.testing.assert_allclose(
        above.estimate, (data["rating"] > 3).groupby(data["mode"]).mean(), atol=0.03
    )
    sd = np.sqrt(sum(float(effect.sd[0]) ** 2 for effect in model.random))
    eta = float(model.estimate[1]) * data["depth"].mean()

    def inside(b: float) -> float:
        return float(special.expit(eta + b - model.shape[2]) * stats.norm.pdf(b, scale=sd))

    assert above.estimate[0] == pytest.approx(integrate.quad(inside, -9, 9)[0], abs=1e-6)
    with pytest.raises(UnknownNameError):
        marginal_means(model, "mode", above="6")


def test_restarts_reach_the_same_optimum(plain) -> None:
    found = restarts(plain, n=3, seed=1)
    assert found.trustworthy
    assert "3 of 3" in found.sentence


def test_figures(full) -> None:
    raw = raw_means(full, "mode", by="person")
    assert raw["mean"].between(0, 1).all()
    ax = marginal_means(full, "mode").plot(raw=raw)
    assert "averaged over random effects" in ax.get_ylabel()
    canvas = draw_caterpillar(full, group="unit")
    assert len(canvas.axes) == 1
    alone = marginal_means(full)
    assert alone.plot().get_xticklabels()[0].get_text() == "all"
    assert " by " not in alone.title
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []  # every figure is its own


@pytest.mark.slow
def test_variance_test_holds_its_level() -> None:
    """Under a variance of zero the mixture rejects 5 %, chi-squared half as much."""
    rng, mixed, naive, fits = np.random.default_rng(4), 0, 0, 400
    for _ in range(fits):
        p, unit = rng.integers(0, 30, 900), rng.integers(0, 30, 900)
        eta = 0.5 + 0.7 * rng.standard_normal(30)[p]
        data = pd.DataFrame({"p": p, "unit": unit, "y": rng.random(900) < special.expit(eta)})
        model = fit("y ~ 1 + (1 | p) + (1 | unit)", data.astype(int))
        test = next(one for one in variance_tests(model) if one.name.startswith("unit"))
        mixed += test.p < 0.05
        naive += stats.chi2.sf(test.statistic, 1) < 0.05
    assert 0.025 < mixed / fits < 0.08, mixed / fits
    assert naive < mixed


@pytest.mark.r_live
def test_live_against_r(tmp_path) -> None:
    """Run the script anew: lme4, ordinal and emmeans still say what is stored."""
    import shutil
    import subprocess

    if shutil.which("Rscript") is None:
        pytest.skip("Rscript is not installed")
    shutil.copy(HERE / "generate.R", tmp_path)
    subprocess.run(["Rscript", "generate.R"], cwd=tmp_path, check=True)
    for name in ("ordered", "lapse", "means"):
        live = json.loads((tmp_path / f"{name}.json").read_text())
        stored = json.loads((HERE / f"{name}.json").read_text())
        assert _numbers(live) == pytest.approx(_numbers(stored), rel=2e-3, abs=2e-3)


def _numbers(value) -> list[float]:
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return [number for part in parts for number in _numbers(part)]
    return [float(value)] if isinstance(value, int | float) else []


def test_several_tests_are_one_table_that_travels(full) -> None:
    contrasts = marginal_means(full, "third", over="zero", scale="link").contrasts()
    for found in (drop_one(full), variance_tests(full), contrasts):
        assert len(found.to_frame()) == len(found) == len(list(found))
        assert repr(found).startswith(found.about)
        assert found._repr_html_().count("<table") == 1
        again = Inferences.from_json(json.dumps(found.to_json(), allow_nan=False))
        assert again.summary() == found.summary()
        assert again[found[0].name].statistic == found[0].statistic
        with pytest.raises(UnknownNameError, match="unknown test"):
            found["nothing"]
    drawn = drop_one(full).plot()  # likelihood ratios have no intervals, and it says so
    assert "no intervals" in drawn.get_xlabel()
    assert [float(one.get_xdata()[0]) for one in drawn.lines] == [one.p for one in drop_one(full)]
    assert len(contrasts.plot().get_yticklabels()) == len(contrasts)
