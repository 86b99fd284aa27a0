"""The vectorised bootstrap against loops over resampled tables."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support.simulated_panel import panel

from imi_bench.choice.calibrate import calibrate
from imi_bench.errors import InputError
from imi_bench.scores.alignment import Matched, match
from imi_bench.scores.report import all_draws
from imi_bench.stats.resampling import (
    Draws,
    Score,
    Sums,
    estimate,
    resample,
    resolvable_difference,
    weights,
)


@pytest.fixture(scope="module")
def study():
    return panel(rng=np.random.default_rng(6), units=30, slope=0.8, unit_sd=0.5)


@pytest.fixture(scope="module")
def matched(study):
    return match(*study, calibration=calibrate(*study))


def repeated(matched: Matched, row: np.ndarray) -> Matched:
    """The matched data with each unit repeated as often as drawn, as a unit of its own."""
    import dataclasses

    from imi_bench.tables import TrialIndex

    trial_rows, trial_ids, units, answer_rows, answer_trials = [], [], [], [], []
    for unit in np.flatnonzero(row):
        rows = np.flatnonzero(matched.unit == unit)
        for copy in range(int(row[unit])):
            place = {r: len(trial_rows) + i for i, r in enumerate(rows)}
            trial_rows += rows.tolist()
            trial_ids += [f"{matched.index.trial_id[r]}#{copy}" for r in rows]
            units += [1000 * copy + int(matched.index.unit[r]) for r in rows]
            hit = np.flatnonzero(np.isin(matched.trial, rows))
            answer_rows += hit.tolist()
            answer_trials += [place[t] for t in matched.trial[hit]]
    index = matched.index.take(np.unique(trial_rows))
    columns = {name: getattr(matched.index, name)[trial_rows] for name in TrialIndex._KINDS}
    index = TrialIndex(**{**columns, "trial_id": trial_ids, "unit": units})
    per_trial = ("credit", "first", "first_is_positive", "answered", "p_correct")
    return dataclasses.replace(
        matched,
        index=index,
        trial=np.array(answer_trials),
        participant=matched.participant[answer_rows],
        correct=matched.correct[answer_rows],
        **{name: getattr(matched, name)[trial_rows] for name in per_trial},
    )


def test_weights_are_draws_within_strata():
    stratum = np.array([0, 0, 0, 1, 1])
    drawn = weights(stratum, n_resamples=20_000, rng=np.random.default_rng(0))
    assert (drawn[:, :3].sum(axis=1) == 3).all()
    assert (drawn[:, 3:].sum(axis=1) == 2).all()
    assert drawn.mean(axis=0) == pytest.approx(np.ones(5), abs=0.03)
    assert drawn[:, 0].var() == pytest.approx(3 * (1 / 3) * (2 / 3), rel=0.05)  # multinomial
    assert np.cov(drawn[:, 0], drawn[:, 1])[0, 1] == pytest.approx(-1 / 3, rel=0.1)


def test_a_resample_is_the_score_of_the_repeated_units(matched):
    """All scores of a resample equal those of a table in which drawn units are repeated."""
    drawn = all_draws(matched, seed=4, n_resamples=3)
    from imi_bench.provenance import generator

    rows = weights(matched.network_of_unit, n_resamples=3, rng=generator(4, "units"))
    for b in range(3):
        again = all_draws(repeated(matched, rows[b]), seed=4, n_resamples=0)
        for name in (
            "proportion_correct",
            "coverage",
            "side_bias",
            "unit_pearson",
            "unit_spearman",
            "network_pearson",
            "network_kendall",
            "ece",
            "binomial_reliability",
            "human_consistency",
        ):
            assert drawn[name].draws[b] == pytest.approx(again[name].value, abs=1e-9), name


def test_people_are_drawn_as_well(matched):
    """Scores over answers: weight of the unit times weight of the participant."""
    from imi_bench.provenance import generator

    drawn = all_draws(matched, seed=4, n_resamples=3)
    by_unit = weights(matched.network_of_unit, n_resamples=3, rng=generator(4, "units"))
    count = len(np.unique(matched.participant))
    by_person = weights(np.zeros(count, dtype=int), n_resamples=3, rng=generator(4, "participants"))
    code = np.unique(matched.participant, return_inverse=True)[1]
    w = by_unit[:, matched.unit[matched.trial]] * by_person[:, code]
    hits = (w @ matched.correct) / w.sum(axis=1)
    assert drawn["human_proportion_correct"].draws == pytest.approx(hits, abs=1e-12)
    error = (matched.p_correct[matched.trial] - matched.correct) ** 2
    assert drawn["brier"].draws == pytest.approx((w @ error) / w.sum(axis=1), abs=1e-12)
    assert "participants" in drawn["brier"].clusters


def test_blocks_of_people_who_share_no_unit_give_the_same(matched):
    rng = np.random.default_rng(0)
    answers = {"one": np.ones(400), "x": rng.normal(size=400)}
    unit = rng.integers(0, 10, 400)
    person = np.where(unit < 5, rng.integers(0, 7, 400), rng.integers(7, 12, 400))
    sums = Sums({}, answers, unit, person, np.zeros(10, dtype=int))
    line = Score("mean", "x", lambda t: t["x"] / t["one"], over_people=True)
    found = resample(sums, [line], n_resamples=5, seed=1)["mean"]
    from imi_bench.provenance import generator

    w_unit = weights(np.zeros(10, dtype=int), n_resamples=5, rng=generator(1, "units"))
    w_person = weights(np.zeros(12, dtype=int), n_resamples=5, rng=generator(1, "participants"))
    w = w_unit[:, unit] * w_person[:, person]
    assert found.draws == pytest.approx(w @ answers["x"] / w.sum(axis=1))


def test_seed_is_used_and_chunks_do_not_show(matched, monkeypatch):
    one, same = (all_draws(matched, seed=0, n_resamples=30) for _ in range(2))
    other = all_draws(matched, seed=1, n_resamples=30)
    assert np.array_equal(one["bits"].draws, same["bits"].draws)
    assert not np.array_equal(one["bits"].draws, other["bits"].draws)
    assert one["bits"].value == other["bits"].value


def test_standard_error_of_a_mean_over_units():
    """Bootstrap against the textbook error of a mean of independent units."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    sums = Sums(
        {"x": x, "n": np.ones(300)},
        {},
        np.zeros(0, dtype=int),
        np.zeros(0, dtype=int),
        np.zeros(300, dtype=int),
    )
    line = Score("mean", "x", lambda t: t["x"] / t["n"])
    found = resample(sums, [line], n_resamples=20_000, seed=0)["mean"]
    assert found.draws.std() == pytest.approx(x.std() / math.sqrt(300), rel=0.03)


def test_few_units_a_network_are_drawn_from_all():
    sums = Sums(
        {"n": np.ones(6)},
        {},
        np.zeros(0, dtype=int),
        np.zeros(0, dtype=int),
        np.array([0, 0, 0, 0, 0, 1]),
    )
    line = Score("n", "n", lambda t: t["n"])
    assert resample(sums, [line], n_resamples=2, seed=0)["n"].clusters == "units"
    with pytest.raises(InputError, match="not a number of resamples"):
        resample(sums, [line], n_resamples=-1, seed=0)


class TestEstimate:
    line = Score("a", "r", lambda t: t["a"], undefined="no variation")

    def made(self, value, draws, **facts):
        return estimate(Draws(value, np.asarray(draws), self.line), n=9, clusters=3, **facts)

    def test_percentiles(self):
        found = self.made(0.5, np.linspace(0, 1, 1001))
        assert (found.low, found.high) == pytest.approx((0.025, 0.975))
        assert "percentile, 1001" in found.method

    def test_recentred_interval_holds_the_value_and_is_cut(self):
        found = self.made(0.1, np.linspace(0.1, 0.4, 1001), lowest=0.0)  # pushed by 0.15
        assert (found.low, found.high) == pytest.approx((0.0, 0.3925 - 0.15))

    def test_undefined_says_why(self):
        assert self.made(math.nan, [1.0]).reason == "no variation"
        assert "resamples" in self.made(0.5, []).reason
        half = np.where(np.arange(100) % 2, 0.5, np.nan)
        assert "undefined in 50 of 100" in self.made(0.5, half).reason
        alone = estimate(Draws(0.5, np.ones(3), self.line), n=9, clusters=1)
        assert "one unit" in alone.reason


def test_resolvable_difference_has_the_power_it_claims():
    rng = np.random.default_rng(0)
    error = 0.1
    gap = resolvable_difference(rng.normal(0, error, 200_000))
    observed = gap + rng.normal(0, error * math.sqrt(2), 200_000)
    significant = np.abs(observed) > 1.959964 * error * math.sqrt(2)
    assert significant.mean() == pytest.approx(0.8, abs=0.01)
    assert math.isnan(resolvable_difference(np.empty(0)))


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_proportion_no_resample_changes_has_an_interval_with_width(value: float) -> None:
    from statsmodels.stats.proportion import proportion_confint

    draws = Draws(value, np.full(200, value), Score("share", "", lambda t: t["x"], binomial=True))
    found = estimate(draws, n=4000, clusters=40)
    assert (found.low, found.high) == pytest.approx(
        proportion_confint(40 * value, 40, method="beta"), abs=1e-9
    )
    assert found.high - found.low > 0.05
