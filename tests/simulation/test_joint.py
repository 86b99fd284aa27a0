"""Confidence, time, learning and lapses of simulated answers come back from the table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import integrate, optimize, stats
from scipy.special import expit
from statsmodels.tools.numdiff import approx_hess

from imi_bench.errors import InputError
from imi_bench.release.published import Condition
from imi_bench.simulation.joint import (
    JointParameters,
    answer_probabilities,
    confidences,
    latent_evidence,
)
from imi_bench.simulation.parameters import SimulationParameters
from imi_bench.simulation.release import ReleaseParameters, simulate_release
from imi_bench.simulation.study import simulate_study

PLAIN = {
    "conditions": (Condition("resnet50", "natural"), Condition("resnet50", "synthetic")),
    "match_published": False,
    "base": 1.2,
    "unit_sd": 0.0,
    "unit_condition_sd": 0.0,
    "trial_sd": 0.0,
    "participant_sd": 0.0,
    "depth_effect": 0.0,
    "side_bias": 0.0,
    "lapse": 0.0,
}


def table(study: dict[str, object] | None = None, **release: object) -> pd.DataFrame:
    """Kept main answers of a plain simulation, with their place in the session."""
    parameters = ReleaseParameters(
        SimulationParameters(**{**PLAIN, **(study or {})}),
        failing=0.0,
        **release,
    )
    frame = simulate_release(parameters, seed=3).frame
    main = frame[~frame["catch_trial"] & ~frame["is_demo"]].copy()
    main["place"] = main["corrected_trial_index"] / 44
    main["seconds"] = main["rt"] / 1000
    return main.reset_index(drop=True)


def test_criteria_give_the_cumulative_logit_model() -> None:
    frame = table(confidence_sd=0.0, confidence_criteria=(0.8, 2.0))
    frame["rating"] = 3 + np.where(frame["correct"], frame["confidence"], 1 - frame["confidence"])
    frame["synthetic"] = (frame["mode"] == "optimized").astype(float)
    codes = frame["rating"].astype(int).to_numpy()
    eta = 1.2 - 1.2 * frame["synthetic"].to_numpy()
    edges = np.array([-np.inf, -2.0, -0.8, 0.0, 0.8, 2.0, np.inf])
    for mode in (0.0, 1.0):
        rows = frame["synthetic"] == mode
        expected = np.diff(expit(edges - eta[rows][0]))
        seen = np.bincount(codes[rows] - 1, minlength=6)
        assert stats.chisquare(seen, expected * rows.sum()).pvalue > 1e-3


def test_time_falls_with_certainty_and_practice() -> None:
    frame = table({"participant_sd": 0.0}, confidence_sd=0.0, certainty_time=0.2, practice_time=0.5)
    natural = frame[frame["mode"] == "natural"]
    logs = np.log(natural["seconds"])
    slope = sm.OLS(logs, sm.add_constant(natural["place"])).fit()
    assert abs(slope.params["place"] + 0.5) < 3.5 * slope.bse["place"] + 0.02

    def mean_size(low: float, high: float) -> float:
        """E[min(z, 5)] of z logistic around 1.2, between low and high."""
        part, _ = integrate.quad(
            lambda z: min(z, 5.0) * stats.logistic.pdf(z - 1.2), low, high, limit=200
        )
        return part / (expit(high - 1.2) - expit(low - 1.2))

    right = natural[natural["correct"]]
    by = np.log(right["seconds"]).groupby(right["confidence"]).agg(["mean", "sem"])
    expected = 0.2 * (mean_size(2.5, 40.0) - mean_size(0.0, 1.0))
    gap = by["mean"][1] - by["mean"][3]
    assert gap == pytest.approx(expected, abs=3.5 * np.hypot(by["sem"][1], by["sem"][3]))


def test_learning_comes_back() -> None:
    frame = table(learning=1.0)
    columns = sm.add_constant(
        np.column_stack([frame["place"] - 0.5, frame["mode"] == "optimized"]).astype(float)
    )
    found = sm.Logit(frame["correct"].astype(float), columns).fit(disp=0)
    assert abs(found.params.iloc[1] - 1.0) < 3.5 * found.bse.iloc[1]
    none = sm.Logit(table()["correct"].astype(float), columns).fit(disp=0)
    assert abs(none.params.iloc[1]) < 3.5 * none.bse.iloc[1]


def test_lapses_come_back_and_look_like_guesses() -> None:
    frame = table({"base": 6.0, "lapse": 0.1, "synthetic_effect": 0.0}, confidence_sd=0.0)
    wrong = ~frame["correct"]
    assert wrong.mean() == pytest.approx(0.05, abs=3.5 * np.sqrt(0.05 * 0.95 / len(frame)) + 0.003)
    share = (frame.loc[wrong, "confidence"] == 1).mean()
    guess = expit(1.0) - expit(-1.0)  # |z| < 1 of a standard logistic
    assert share == pytest.approx(
        guess, abs=3.5 * np.sqrt(guess * (1 - guess) / wrong.sum()) + 0.05
    )


def test_latent_evidence_has_the_joint_distribution() -> None:
    rng = np.random.default_rng(0)
    eta = np.full(40_000, 0.7)
    correct = rng.random(40_000) < 0.1 / 2 + 0.9 * expit(0.7)
    z = latent_evidence(eta, correct, lapse=0.1, rng=rng)
    assert ((z > 0) == correct).all()
    mixed = lambda x: 0.1 * stats.logistic.cdf(x) + 0.9 * stats.logistic.cdf(x - 0.7)  # noqa: E731
    assert stats.kstest(z, mixed).pvalue > 1e-3
    assert set(confidences(z, (1.0, 2.5)).tolist()) == {1, 2, 3}


def test_parameters_travel_as_json_and_are_checked() -> None:
    one = ReleaseParameters(confidence_criteria=(0.5, 1.5), learning=0.2)
    assert ReleaseParameters.from_json(one.to_json()) == one
    with pytest.raises(InputError, match="criteria of confidence"):
        ReleaseParameters(confidence_criteria=(2.0, 1.0))


ASKED = JointParameters(confidence_sd=0.0, learning=0.8, certainty_time=0.2, practice_time=0.5)


@pytest.mark.slow
def test_a_study_has_the_same_joint_model() -> None:
    """`simulate_study`: lapse, learning, criteria, times come back from the study's own rows."""
    parameters = SimulationParameters(**{**PLAIN, "lapse": 0.06, "participants": 400})
    study = simulate_study(parameters, joint=ASKED, seed=5).study
    rows = study.to_frame()
    place = rows.groupby("participant").cumcount() / (parameters.main_trials - 1)
    natural = (rows["mode"] == "natural").to_numpy()
    correct = rows["correct"].to_numpy(dtype=float)

    def cost(theta: np.ndarray) -> float:
        level, fall, rise, lapse = theta
        eta = level - fall * ~natural + rise * (place.to_numpy() - 0.5)
        p = lapse / 2 + (1 - lapse) * expit(eta)
        return -float((correct * np.log(p) + (1 - correct) * np.log1p(-p)).sum())

    found = optimize.minimize(cost, [1.0, 1.0, 0.5, 0.03], method="Nelder-Mead")
    hessian = approx_hess(found.x, cost)
    error = np.sqrt(np.diag(np.linalg.inv(hessian)))
    assert (np.abs(found.x - [1.2, 1.2, 0.8, 0.06]) < 3.5 * error).all()
    slope = sm.OLS(np.log(rows["seconds"]), sm.add_constant(place)).fit()
    assert abs(slope.params.iloc[1] + 0.5) < 3.5 * slope.bse.iloc[1] + 0.02
    sure = rows.loc[natural, "confidence"].to_numpy()
    eta = 1.2 + 0.8 * (place[natural].to_numpy() - 0.5)
    low = 0.94 * (expit(1 - eta) - expit(-1 - eta)) + 0.06 * (expit(1.0) - expit(-1.0))
    assert (sure == 1).mean() == pytest.approx(low.mean(), abs=3.5 * 0.5 / np.sqrt(len(sure)))


def test_answers_do_not_depend_on_what_is_asked_besides() -> None:
    small = SimulationParameters(**{**PLAIN, "participants": 10})
    plain = simulate_study(small, seed=2).study
    asked = simulate_study(small, joint=JointParameters(), seed=2).study
    assert (plain.responses.correct == asked.responses.correct).all()
    assert np.isnan(plain.responses.confidence).all()
    assert set(asked.responses.confidence) == {1.0, 2.0, 3.0}
    assert (asked.responses.seconds > 0).all()
    with pytest.raises(InputError, match="no response time"):
        JointParameters(seconds=0.0)


def test_probabilities_of_the_six_answers_are_those_of_the_draws() -> None:
    rng = np.random.default_rng(1)
    eta, lapse, criteria, scale = np.full(200_000, 1.3), 0.1, (1.0, 2.5), 1.2
    correct = rng.random(len(eta)) < lapse / 2 + (1 - lapse) * expit(eta)
    z = latent_evidence(eta, correct, lapse=lapse, rng=rng)
    told = confidences(z, criteria, scale=scale)
    right, wrong = answer_probabilities(eta[:1], criteria, lapse=lapse, scale=scale)
    for ends, drawn in ((right[0], correct), (wrong[0], ~correct)):
        shares = [(drawn & (told == k)).mean() for k in (1, 2, 3)]
        np.testing.assert_allclose(ends, shares, atol=0.005)
