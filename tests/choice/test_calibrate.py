"""Folds, leakage, orientation of evidence, recovery and round trips of the calibration."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from scipy import special, stats
from support.simulated_panel import panel, trial_index

from imi_bench.choice.calibrate import MIS_DREAMSIM, Calibration, calibrate
from imi_bench.choice.fitting import choice_probability
from imi_bench.choice.folds import assign_folds, clusters_of
from imi_bench.errors import (
    InputError,
    LeakageError,
    NotComparableError,
    NotEnoughDataError,
)
from imi_bench.tables import DecisionVariables, Responses, Study


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture(scope="module")
def study():
    return panel(rng=np.random.default_rng(3), slope=0.8, lapse=0.1)


@pytest.fixture(scope="module")
def calibration(study):
    return calibrate(*study, n_folds=5)


class TestFolds:
    index = trial_index(units=47, batches=2, networks=3, modes=("natural", "synthetic"))

    def test_a_unit_is_never_split_and_folds_are_even(self):
        folds = assign_folds(self.index, by="unit", n_folds=5)
        assert set(folds) == set(self.index.unit_id)
        sizes = np.bincount(list(folds.values()))
        assert sizes.max() - sizes.min() <= 1
        for network in range(3):
            share = [f for name, f in folds.items() if name.startswith(f"net{network}/")]
            assert np.ptp(np.bincount(share, minlength=5)) <= 2

    def test_by_network_leaves_one_out(self):
        folds = assign_folds(self.index, by="network")
        assert sorted(folds.values()) == [0, 1, 2]

    def test_order_of_trials_does_not_matter_and_the_seed_does(self):
        shuffled = self.index.take(np.random.default_rng(0).permutation(len(self.index)))
        one = assign_folds(self.index, by="unit", seed=1)
        assert assign_folds(shuffled, by="unit", seed=1) == one
        assert assign_folds(self.index, by="unit", seed=2) != one

    def test_never_by_row(self):
        with pytest.raises(InputError, match="by unit or by network"):
            clusters_of(self.index, by="row")

    def test_too_few(self):
        with pytest.raises(NotEnoughDataError, match="3 networks"):
            assign_folds(self.index, by="network", n_folds=4)


class TestLeakage:
    def test_every_trial_is_predicted_by_the_fit_that_held_its_unit_out(self, study, calibration):
        decisions, shown = study
        told = calibration.predict(decisions, shown.trials)
        for fold, fit in enumerate(calibration.fits):
            rows = told.fold == fold
            assert rows.any()
            expected = choice_probability(decisions.toward_correct[rows], fit.parameters())
            assert told.p_correct[rows] == pytest.approx(expected)

    def test_fits_did_not_see_their_fold(self, study):
        decisions, shown = study
        one = calibrate(decisions, shown, n_folds=5)
        unit = next(name for name, fold in one.folds.items() if fold == 2)
        rows = shown.trials.unit_id[shown.rows] == unit
        wrong = dataclasses.replace(
            shown.responses,
            correct=np.where(rows, ~shown.responses.correct, shown.responses.correct),
        )
        other = calibrate(decisions, Study(shown.trials, wrong), n_folds=5)
        assert other.fits[2].to_json() == one.fits[2].to_json()
        assert other.fits[1].to_json() != one.fits[1].to_json()

    @pytest.mark.parametrize("fold", [-1, 0])
    def test_using_a_fit_that_saw_the_unit_raises(self, study, calibration, fold):
        with pytest.raises(LeakageError, match="saw its unit"):
            calibration.predict(*_shown(study), fold=fold)

    def test_the_held_out_fold_alone_is_fine(self, study, calibration):
        decisions, index = _shown(study)
        mine = np.array([calibration.folds[u] == 3 for u in index.unit_id])
        told = calibration.predict(decisions, index.take(mine), fold=3)
        usual = calibration.predict(decisions, index.take(mine))
        assert np.array_equal(told.p_correct, usual.p_correct)

    def test_by_network(self, study):
        decisions, index = _shown(study)
        by_network = calibrate(*study, by="network")
        told = by_network.predict(decisions, index)
        folds = {(n, f) for n, f in zip(index.network, told.fold, strict=True)}
        assert len(folds) == 3
        with pytest.raises(LeakageError, match="saw its network"):
            by_network.predict(decisions, index, fold=1)

    def test_units_it_never_saw_get_the_overall_fit(self, study):
        decisions, index = _shown(study)
        first = np.flatnonzero(index.unit[study[1].rows] < 30)
        half = Study(index, study[1].responses.take(first))
        told = calibrate(decisions, half, n_folds=5).predict(decisions, index)
        assert np.array_equal(told.fold == -1, index.unit >= 30)

    def test_another_observers_calibration(self, study, calibration):
        other = dataclasses.replace(study[0], observer="someone else")
        with pytest.raises(NotComparableError, match="another observer"):
            calibration.predict(other, study[1].trials)


def _shown(study):
    return study[0], study[1].trials


class TestOrientation:
    def test_sides_shown_to_the_observer_do_not_matter(self, study):
        decisions, shown = study
        turned = dataclasses.replace(
            decisions,
            decision_variable=-decisions.decision_variable,
            shown_first=np.where(decisions.shown_first == "positive", "negative", "positive"),
        )
        one, other = (calibrate(d, shown, n_folds=3) for d in (decisions, turned))
        assert other.overall.to_json() == one.overall.to_json()
        p, q = (c.predict(d, shown.trials) for c, d in ((one, decisions), (other, turned)))
        assert q.p_correct == pytest.approx(p.p_correct)
        assert q.p_first == pytest.approx(1 - p.p_first)

    def test_bias_is_recovered_where_sides_are_known(self, rng):
        decisions, shown = panel(rng=rng, units=300, bias=0.5, know_side=True)
        fit = calibrate(decisions, shown, n_folds=2, robust=False).overall
        assert fit.bias.low < 0.5 < fit.bias.high
        assert fit.slopes["all"].low < 1.0 < fit.slopes["all"].high

    def test_bias_is_not_estimated_where_sides_are_unknown(self, study):
        fit = calibrate(*study, n_folds=2).overall
        assert (fit.bias.value, fit.bias.reason) == (0.0, "held at 0")
        with pytest.raises(InputError, match="bias cannot be estimated"):
            calibrate(*study, bias=True)

    def test_bias_in_both_orders(self, rng):
        decisions, shown = panel(rng=rng, bias=0.8, know_side=True)
        calibration = calibrate(decisions, shown, n_folds=2)
        told = calibration.predict(decisions, shown.trials)
        rows = told.fold == 0
        model = calibration.fits[0].parameters()
        assert told.p_first[rows] == pytest.approx(
            choice_probability(decisions.decision_variable[rows], model)
        )
        t = decisions.toward_correct[rows]
        both = (choice_probability(t, model) + 1 - choice_probability(-t, model)) / 2
        assert told.p_correct[rows] == pytest.approx(both)

    def test_chance_predicts_one_half(self, study):
        decisions, shown = study
        blind = dataclasses.replace(
            decisions,
            decision_variable=np.random.default_rng(0).normal(size=len(decisions)),
        )
        calibration = calibrate(blind, shown, n_folds=2)
        told = calibration.predict(blind, shown.trials)
        assert shown.responses.correct.mean() > 0.6
        far = np.abs(blind.decision_variable).max()
        for fold, fit in enumerate(calibration.fits):
            slope, rows = fit.slopes["all"], told.fold == fold
            error = (slope.high - slope.low) / (2 * stats.norm.ppf(0.975))
            assert abs(slope.value) < 4 * error
            # no further from one half than a slope of four standard errors allows
            assert np.abs(told.p_correct[rows] - 0.5).max() < special.expit(4 * error * far) - 0.5
            evenly = told.p_correct[rows]
            assert abs(evenly.mean() - 0.5) < 4 * evenly.std() / np.sqrt(rows.sum())


def test_unanswered_trials_count_one_half_and_are_not_fitted(study):
    decisions, shown = study
    refused = np.arange(len(decisions)) % 7 == 0
    partly = dataclasses.replace(
        decisions,
        decision_variable=np.where(refused, np.nan, decisions.decision_variable),
        status=np.where(refused, "refused", "ok"),
    )
    calibration = calibrate(partly, shown, n_folds=3)
    told = calibration.predict(partly, shown.trials)
    assert np.array_equal(~told.answered, refused)
    assert (told.p_correct[refused] == 0.5).all()
    assert (told.p_first[refused] == 0.5).all()
    assert calibration.overall.n == 3 * (~refused).sum()


def test_catch_trials_are_not_fitted(study):
    decisions, shown = study
    catch = np.zeros(len(shown.trials), dtype=bool)
    catch[:10] = True
    marked = Study(dataclasses.replace(shown.trials, catch=catch), shown.responses)
    assert calibrate(decisions, marked, n_folds=3).overall.n == len(shown.responses) - 30


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_recovers_slope_and_lapse(rng, link):
    decisions, shown = panel(rng=rng, units=400, slope=0.9, lapse=0.08, link=link)
    fit = calibrate(decisions, shown, n_folds=2, link=link).overall
    assert fit.slopes["all"].low < 0.9 < fit.slopes["all"].high
    assert fit.lapse.low < 0.08 < fit.lapse.high


def test_unit_effects_flatten_the_slope_and_widen_the_interval(rng):
    sd, slope = 1.0, 0.9
    decisions, shown = panel(rng=rng, units=600, slope=slope, unit_sd=sd, link="probit")
    fit = calibrate(decisions, shown, n_folds=2, link="probit").overall
    marginal = slope / math.sqrt(1 + sd**2)  # exact for probit: a normal sum of normals
    assert fit.slopes["all"].value == pytest.approx(marginal, rel=0.08)


def test_slopes_by_mode(study):
    decisions, shown = study
    apart = calibrate(decisions, shown, n_folds=3, slopes="by mode")
    pooled = calibrate(decisions, shown, n_folds=3, slopes="pooled by mode")
    assert set(apart.overall.slopes) == {"natural", "synthetic"}
    gaps = [
        abs(np.subtract(*[s.value for s in c.overall.slopes.values()])) for c in (apart, pooled)
    ]
    assert gaps[1] <= gaps[0]
    for word, recorded in (("by-mode", apart), ("pooled-by-mode", pooled), ("pooled", pooled)):
        again = calibrate(decisions, shown, n_folds=3, slopes=word)
        assert (again.slopes, again.label) == (recorded.slopes, recorded.label)
        assert again.to_json() == recorded.to_json()
    assert (apart.slopes, pooled.slopes) == ("by mode", "pooled by mode")
    told = apart.predict(decisions, shown.trials)
    rows = (told.fold == 1) & (shown.trials.mode == "synthetic")
    expected = choice_probability(
        decisions.toward_correct[rows], apart.fits[1].parameters("synthetic")
    )
    assert told.p_correct[rows] == pytest.approx(expected)


def test_it_carries_the_fingerprint_of_its_humans(study, calibration):
    decisions, shown = study
    assert calibration.study_hash == shown.hash
    assert calibration.responses_hash == shown.responses.hash
    again = calibrate(decisions, shown, n_folds=5)
    assert again.hash == calibration.hash
    assert calibrate(decisions, shown, n_folds=5, seed=1).hash != calibration.hash


def test_json_round_trip(tmp_path, study, calibration):
    decisions, shown = study
    calibration.write(tmp_path / "c.json")
    again = Calibration.read(tmp_path / "c.json")
    assert again.hash == calibration.hash
    told, retold = (c.predict(decisions, shown.trials) for c in (calibration, again))
    assert np.array_equal(told.p_correct, retold.p_correct)
    for other in (Calibration.identity(), Calibration.fixed(MIS_DREAMSIM, label="MIS")):
        record = json.loads(json.dumps(other.to_json(), allow_nan=False))
        assert Calibration.from_json(record).to_json() == other.to_json()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"observer": "a"}'])
def test_unreadable_calibration(tmp_path, text):
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(InputError, match="calibration"):
        Calibration.read(path)


def test_a_calibration_is_valid_or_does_not_exist(calibration):
    with pytest.raises(InputError, match="either parameters or fits"):
        Calibration(observer="", label="nothing")
    with pytest.raises(InputError, match="folds and fits disagree"):
        dataclasses.replace(calibration, fits=calibration.fits[:2])


def test_identity_and_the_published_constant(study):
    decisions, shown = study
    told = Calibration.identity().predict(decisions, shown.trials)
    assert told.p_correct == pytest.approx(1 / (1 + np.exp(-decisions.toward_correct)))
    assert told.calibration == "uncalibrated"
    assert (told.fold == -1).all()
    assert not Calibration.identity().calibrated
    assert (MIS_DREAMSIM.slope, MIS_DREAMSIM.lapse, MIS_DREAMSIM.link) == (0.16, 0.0, "logit")


def test_nothing_in_common(study):
    decisions, shown = study
    renamed = dataclasses.replace(decisions, trial_id=[f"x{i}" for i in range(len(decisions))])
    with pytest.raises(NotComparableError):
        calibrate(renamed, shown)
    with pytest.raises(NotComparableError):
        Calibration.identity().predict(renamed, shown.trials)
    silent = DecisionVariables(
        "toy",
        decisions.trial_id,
        np.full(len(decisions), np.nan),
        ["error"] * len(decisions),
        decisions.shown_first,
        decisions.seconds,
    )
    with pytest.raises(NotEnoughDataError):
        calibrate(silent, shown)
    assert isinstance(shown.responses, Responses)
