from __future__ import annotations

import json
import warnings

import numpy as np
import pandas as pd
import pytest

from imi_bench.errors import InputError
from imi_bench.glmm import GlmmResult, Options, WarmStart, build_design, deviance, fit, fit_design
from imi_bench.glmm import pattern as pattern_module
from imi_bench.glmm import starts as starts_module

FORMULA = "y ~ x + f + (1 + x | p) + (1 | item)"


@pytest.fixture(scope="module")
def data() -> pd.DataFrame:
    rng = np.random.default_rng(20)
    p, item = (part.ravel() for part in np.meshgrid(range(40), range(25), indexing="ij"))
    x = rng.normal(size=1000)
    f = rng.choice(["u", "v", "w"], 1000)
    effects = rng.normal(size=(40, 2)) @ np.array([[0.9, 0.3], [0.0, 0.5]])
    eta = 0.5 + 0.7 * x + 0.6 * (f == "w") + effects[p, 0] + effects[p, 1] * x
    eta += 0.6 * rng.normal(size=25)[item]
    y = (rng.random(1000) < 1 / (1 + np.exp(-eta))).astype(int)
    t = eta + rng.normal(size=1000)
    return pd.DataFrame({"y": y, "x": x, "f": f, "p": p, "item": item, "t": t})


@pytest.fixture(scope="module")
def fitted(data) -> GlmmResult:
    return fit(FORMULA, data)


def test_the_optimum_is_one(fitted) -> None:
    assert fitted.converged
    assert not fitted.singular
    value, gradient = deviance(fitted.design, fitted.theta, fitted.estimate)
    assert value == pytest.approx(fitted.deviance, rel=1e-11)
    scale = np.r_[np.sqrt(np.diag(fitted.theta_covariance)), fitted.se]
    assert np.abs(gradient * scale).max() < 1e-5
    assert fitted.gradient_norm < 1e-5


def test_covariance_is_the_inverse_of_the_differenced_deviance(fitted) -> None:
    design, k = fitted.design, len(fitted.theta)
    centre = np.r_[fitted.theta, fitted.estimate]
    columns = []
    for move in 1e-4 * np.eye(len(centre)):
        above = deviance(design, (centre + move)[:k], (centre + move)[k:])[1]
        below = deviance(design, (centre - move)[:k], (centre - move)[k:])[1]
        columns.append((above - below) / 2e-4)
    covariance = 2 * np.linalg.inv(np.array(columns))
    np.testing.assert_allclose(fitted.covariance, covariance[k:, k:], rtol=2e-3, atol=1e-6)


def test_rows_and_labels_do_not_matter(data, fitted) -> None:
    rng = np.random.default_rng(3)
    names = {k: f"person {v}" for k, v in enumerate(rng.permutation(40))}
    shuffled = data.sample(frac=1.0, random_state=5)
    other = fit(FORMULA, shuffled.assign(p=shuffled["p"].map(names)))
    assert other.names == fitted.names == ("(Intercept)", "x", "fv", "fw")
    assert other.log_likelihood == pytest.approx(fitted.log_likelihood, abs=1e-7)
    np.testing.assert_allclose(other.estimate, fitted.estimate, atol=1e-5)
    np.testing.assert_allclose(other.se, fitted.se, rtol=1e-4)
    ours = dict(zip(fitted.random[0].levels, fitted.random[0].modes[:, 1], strict=True))
    theirs = dict(zip(other.random[0].levels, other.random[0].modes[:, 1], strict=True))
    assert len(theirs) == 40
    for code, name in names.items():
        assert theirs[name] == pytest.approx(ours[str(code)], abs=1e-4)


def test_scale_of_a_covariate_does_not_matter(data, fitted) -> None:
    huge = fit(FORMULA, data.assign(x=1e7 * data["x"] + 3e7))
    assert huge.converged
    assert huge.log_likelihood == pytest.approx(fitted.log_likelihood, abs=1e-4)
    assert huge.estimate[1] * 1e7 == pytest.approx(fitted.estimate[1], abs=1e-4)


def test_warm_refits_agree_with_cold_ones(fitted) -> None:
    rng = np.random.default_rng(4)
    again = fitted.design.with_response(fitted.simulate(rng))
    warm = fit_design(again, start=fitted, options=Options(hessian=False))
    cold = fit_design(again)
    assert warm.converged
    assert warm.log_likelihood == pytest.approx(cold.log_likelihood, abs=1e-5)
    np.testing.assert_allclose(warm.estimate, cold.estimate, atol=2e-3 * cold.se.min())


def test_simulation_uses_its_seed(fitted) -> None:
    first, second, other = (fitted.simulate(np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()
    assert set(np.unique(first)) == {0.0, 1.0}


def test_holding_and_fixing_is_profiling(fitted) -> None:
    at = fit_design(fitted.design.fixing({"x": fitted.estimate[1]}))
    assert at.log_likelihood == pytest.approx(fitted.log_likelihood, abs=1e-6)
    assert at.parameters == fitted.parameters - 1
    away = fit_design(fitted.design.fixing({"x": fitted.estimate[1] + 2 * fitted.se[1]}))
    assert away.deviance - fitted.deviance == pytest.approx(4.0, rel=0.2)
    held = fit_design(fitted.design, hold={"p.(Intercept)": 1.2})
    assert held.theta[0] == 1.2
    assert held.deviance > fitted.deviance
    assert held.parameters == fitted.parameters - 1
    start = WarmStart(theta=fitted.theta, fixed=np.delete(fitted.estimate, 1))
    warm = fit_design(fitted.design.without("x"), start=start)
    assert warm.deviance > fitted.deviance + 10


def test_singular_fits_say_so(data) -> None:
    balanced = data.assign(z=np.tile([0, 1], 500), g=np.repeat(range(50), 20))
    result = fit("z ~ x + (1 | g)", balanced)
    assert result.converged
    assert result.singular
    assert result.random[0].sd[0] == 0.0
    assert any("g.(Intercept)" in warning for warning in result.warnings)
    assert np.isnan(result.theta_covariance).all()
    assert np.isfinite(result.se).all()


def test_separation_is_named_and_not_converged(data) -> None:
    answers = data.assign(y=np.where(data["f"] == "w", 1, data["y"]))
    result = fit("y ~ x + f + (1 | p)", answers)
    assert not result.converged
    assert result.separated == ("fw",)
    assert "fw" in result.reason


def test_near_separation_is_remarked(data) -> None:
    answers = data.assign(w=(data["f"] == "w").astype(int), y=np.where(data["f"] == "w", 1, 0))
    answers.loc[answers.index[answers["w"] == 1][0], "y"] = 0
    answers.loc[answers.index[answers["w"] == 0][:1], "y"] = 1
    result = fit("y ~ w + (1 | item)", answers)
    assert any("nearly separated" in warning and "w" in warning for warning in result.warnings)


def test_columns_far_from_zero_are_not_called_nearly_separated(data) -> None:
    far = data.assign(z=1000.0 + np.random.default_rng(0).normal(size=len(data)))
    near = fit("y ~ x * z + (1 | p)", far.assign(z=far["z"] - 1000.0))
    result = fit("y ~ x * z + (1 | p)", far)
    assert result.log_likelihood == pytest.approx(near.log_likelihood, abs=1e-4)
    assert not near.warnings
    assert len(result.warnings) == 1
    assert "zero lies far from the data" in result.warnings[0]
    assert "separated" not in result.warnings[0]


def test_giving_up_is_a_state(data) -> None:
    result = fit(FORMULA, data, max_iterations=0)
    assert not result.converged
    assert "0 iterations were not enough" in result.reason
    assert "NOT CONVERGED" in result.summary()


@pytest.mark.parametrize(
    ("family", "choice", "says"),
    [
        ("binomial", {"method": "REML"}, "REML is for Gaussian"),
        ("gaussian", {"link": "probit"}, "identity link"),
        ("gaussian", {"nagq": 3}, "no quadrature"),
        ("binomial", {"nagq": 0}, "1 to 100"),
        ("poisson", {}, "unknown value for 'family'"),
        ("gaussian", {"method": "MAP"}, "unknown value for 'method'"),
    ],
)
def test_options_that_do_not_go_together(data, family, choice, says) -> None:
    with pytest.raises(InputError, match=says):
        fit("y ~ x + (1|p)", data, family=family, **choice)


@pytest.mark.parametrize("reml", [False, True])
def test_gaussian_against_statsmodels(data, reml) -> None:
    import statsmodels.formula.api as smf

    ours = fit("t ~ x + f + (1 + x | p)", data, family="gaussian", method="REML" if reml else "ML")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = smf.mixedlm("t ~ x + f", data, groups="p", re_formula="~x").fit(reml=reml)
    named = dict(zip(ours.names, ours.estimate, strict=True))
    for name, label in {"x": "x", "fv": "f[T.v]", "fw": "f[T.w]"}.items():
        assert named[name] == pytest.approx(theirs.params[label], abs=1e-4)
    assert ours.log_likelihood == pytest.approx(theirs.llf, abs=1e-3)
    assert ours.sigma**2 == pytest.approx(theirs.scale, rel=1e-3)
    sd = np.sqrt(np.diag(theirs.cov_re))
    np.testing.assert_allclose(ours.random[0].sd, sd, rtol=5e-3)
    assert ours.random[0].corr[0, 1] == pytest.approx(
        theirs.cov_re.iloc[0, 1] / sd.prod(), abs=5e-3
    )


def test_json_there_and_back(fitted) -> None:
    text = json.dumps(fitted.to_json(), allow_nan=False)
    again = GlmmResult.from_json(text)
    assert again.to_json() == fitted.to_json()
    assert again.design is None
    np.testing.assert_array_equal(again.covariance, fitted.covariance)
    np.testing.assert_array_equal(again.random[0].modes, fitted.random[0].modes)
    with pytest.raises(InputError, match="not a readable mixed model"):
        GlmmResult.from_json("{}")
    with pytest.raises(InputError, match="cannot simulate"):
        again.simulate(np.random.default_rng(0))


def test_json_keys_of_the_command_line(fitted) -> None:
    whole = fitted.to_json()
    assert list(whole)[:7] == [
        "logLik",
        "converged",
        "singular",
        "fixed",
        "random",
        "n",
        "seconds",
    ]
    assert whole["fixed"]["x"] == {
        "estimate": fitted.estimate[1],
        "se": fitted.se[1],
        "z": fitted.z[1],
        "p": fitted.p[1],
    }
    assert [(row["group"], row["name"]) for row in whole["random"]] == [
        ("p", "(Intercept)"),
        ("p", "x"),
        ("item", "(Intercept)"),
    ]
    assert whole["random"][1]["corr"] == fitted.random[0].corr[1, 0]
    assert whole["random"][2]["corr"] is None


def test_tables(fitted) -> None:
    frame = fitted.to_frame()
    assert list(frame["term"]) == list(fitted.names)
    np.testing.assert_allclose(frame["high"] - frame["estimate"], 1.959964 * frame["se"], rtol=1e-6)
    modes = fitted.modes_frame()
    assert len(modes) == 40 * 2 + 25
    row = modes.query("group == 'item' and level == '7'").iloc[0]
    position = fitted.random[1].levels.index("7")
    assert row["mode"] == fitted.random[1].modes[position, 0]
    assert len(fitted.random_frame()) == 3


def test_summary_reads_like_lme4(fitted) -> None:
    text = fitted.summary()
    assert text.startswith("Generalized linear mixed model fit by maximum likelihood (Laplace")
    assert " Family: binomial  ( logit )" in text
    assert "Number of obs: 1000, groups:  p, 40; item, 25" in text
    line = next(line for line in text.splitlines() if line.strip().startswith("fw"))
    assert f"{fitted.estimate[3]:.5f}" in line
    assert f"{fitted.se[3]:.5f}" in line


def test_latex_escapes_and_balances(data) -> None:
    result = fit("y ~ x_1 + (1 | p)", data.rename(columns={"x": "x_1"}))
    table = result.to_latex()
    assert r"x\_1" in table
    assert table.count(r"\begin{tabular}") == table.count(r"\end{tabular}") == 1
    assert f"${result.estimate[1]:.3f}$" in table


def test_conditional_sd_by_hand() -> None:
    """Gaussian, balanced: Var(b | y) = sigma^2 tau^2 / (sigma^2 + m tau^2)."""
    rng = np.random.default_rng(6)
    g = np.repeat(np.arange(30), 8)
    frame = pd.DataFrame({"g": g, "y": rng.normal(size=30)[g] + rng.normal(size=240)})
    result = fit("y ~ 1 + (1 | g)", frame, family="gaussian")
    tau2, sigma2 = float(result.random[0].sd[0]) ** 2, result.sigma**2
    expected = np.sqrt(sigma2 * tau2 / (sigma2 + 8 * tau2))
    np.testing.assert_allclose(result.random[0].conditional_sd, expected, rtol=1e-8)
    means = frame.groupby("g")["y"].mean() - result.estimate[0]
    shrunk = means * 8 * tau2 / (sigma2 + 8 * tau2)
    np.testing.assert_allclose(result.random[0].modes[:, 0], shrunk, rtol=1e-6)


def test_balanced_one_way_maximum_likelihood_by_hand() -> None:
    """The closed form of the balanced one-way layout (Searle et al. 1992, section 3.7)."""
    rng = np.random.default_rng(6)
    g = np.repeat(np.arange(30), 8)
    frame = pd.DataFrame({"g": g, "y": rng.normal(size=30)[g] + rng.normal(size=240)})
    result = fit("y ~ 1 + (1 | g)", frame, family="gaussian")
    means = frame.groupby("g")["y"].transform("mean")
    within = ((frame["y"] - means) ** 2).sum() / (30 * 7)
    between = 8 * ((means - frame["y"].mean()) ** 2).sum() / 8 / 30
    assert result.sigma**2 == pytest.approx(within, rel=1e-6)
    assert result.random[0].sd[0] ** 2 == pytest.approx((between - within) / 8, rel=1e-5)
    assert result.estimate[0] == pytest.approx(frame["y"].mean(), rel=1e-9)


def test_the_route_for_large_borders_agrees(data, monkeypatch) -> None:
    formula = "y ~ x + f + (1 | p) + (1 | item)"
    exact = fit(formula, data)
    monkeypatch.setattr(pattern_module, "_HEAVY_SIDE", 10)
    monkeypatch.setattr(starts_module, "_THINNED_SIZE", 12)
    heavy = fit(formula, data)
    assert heavy.converged
    assert any("large border" in warning for warning in heavy.warnings)
    assert heavy.log_likelihood == pytest.approx(exact.log_likelihood, abs=1e-6)
    np.testing.assert_allclose(heavy.estimate, exact.estimate, atol=1e-3 * exact.se.min())
    np.testing.assert_allclose(heavy.se, exact.se, rtol=0.02)


def test_build_once_fit_often(data) -> None:
    design = build_design("y ~ x + (1 | p)", data)
    other = design.with_response(1.0 - design.response)
    assert other.pattern is design.pattern
    first, second = fit_design(design), fit_design(other)
    np.testing.assert_allclose(first.estimate, -second.estimate, atol=1e-5)
