"""Paired comparisons: pairing, adjustment, and what cannot be compared."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests
from support.simulated_panel import panel

from imi_bench.choice.calibrate import Calibration, calibrate
from imi_bench.errors import InputError, NotComparableError, UnknownNameError
from imi_bench.scores.compare import COMPARED, compare
from imi_bench.scores.report import score


@pytest.fixture(scope="module")
def study():
    return panel(rng=np.random.default_rng(6), units=45, slope=0.8, unit_sd=0.5)


def noisier(decisions, name, sd, seed=0):
    noise = np.random.default_rng(seed).normal(0, sd, len(decisions)) if sd else 0.0
    value = decisions.decision_variable + noise
    return dataclasses.replace(decisions, observer=name, decision_variable=value)


@pytest.fixture(scope="module")
def found(study):
    decisions, shown = study
    three = [decisions, noisier(decisions, "noisy", 2.0), noisier(decisions, "same", 0.0)]
    return compare(
        three,
        shown,
        n_resamples=2000,
        calibrations={one.observer: calibrate(one, shown) for one in three},
    )


def test_every_pair_and_score(found):
    assert len(found.differences) == 3 * len(COMPARED)
    assert {(d.first, d.second) for d in found.differences} == {
        ("toy", "noisy"),
        ("toy", "same"),
        ("noisy", "same"),
    }


def test_the_difference_is_that_of_the_scores(found, study):
    decisions, shown = study
    alone = score(
        decisions, shown, calibration=calibrate(decisions, shown), by=(), n_resamples=0
    ).scores
    for one in found.differences:
        assert one.difference.value == pytest.approx(one.values[0] - one.values[1])
        if one.first == "toy":
            assert one.values[0] == pytest.approx(alone[one.score].estimate.value)


def test_an_observer_does_not_differ_from_its_copy(found):
    for one in found.differences:
        if {one.first, one.second} == {"toy", "same"}:
            assert (one.difference.value, one.difference.low, one.difference.high) == (0, 0, 0)
            assert one.p == 1


def test_noise_is_seen(found):
    line = next(d for d in found.differences if d.score == "bits" and d.second == "noisy")
    assert line.difference.low > 0
    assert line.p_holm < 0.05


def test_holm_is_that_of_statsmodels_within_each_score(found, monkeypatch):
    monkeypatch.setattr("gc.collect", lambda: 0)  # at every call of statsmodels
    for name in COMPARED:
        lines = [d for d in found.differences if d.score == name]
        reference = multipletests([d.p for d in lines], method="holm")[1]
        assert [d.p_holm for d in lines] == pytest.approx(reference)
    assert all(d.p_holm >= d.p for d in found.differences)


def test_pairing_resolves_more_than_two_scores_apart(study):
    decisions, shown = study
    two = [decisions, noisier(decisions, "close", 0.3)]
    paired = compare(
        two, shown, uncalibrated=True, scores=["proportion_correct"], n_resamples=500
    ).differences[0]
    apart = score(decisions, shown, uncalibrated=True, by=(), n_resamples=500).scores[
        "proportion_correct"
    ]
    assert paired.resolvable < apart.resolvable


def test_only_shared_trials_count(study):
    decisions, shown = study
    keep = np.arange(len(decisions)) < 500
    names = ("trial_id", "decision_variable", "status", "shown_first", "seconds")
    part = dataclasses.replace(
        decisions, observer="part", **{name: getattr(decisions, name)[keep] for name in names}
    )
    got = compare([decisions, part], shown, uncalibrated=True, n_resamples=50)
    assert got.trials == 500
    assert all(d.difference.value == 0 for d in got.differences)


def test_versions_of_one_observer_are_named_apart(study, tmp_path):
    decisions, shown = study
    folders = [tmp_path / "v1", tmp_path / "v2"]
    for folder, version in zip(folders, (decisions, noisier(decisions, "b", 1)), strict=True):
        folder.mkdir()
        named = dataclasses.replace(version, observer="mine")
        named.to_frame().to_parquet(folder / "decisions.parquet")
    found = compare(folders, shown, uncalibrated=True, scores=["proportion_correct"])
    assert (found.differences[0].first, found.differences[0].second) == ("mine (v1)", "mine (v2)")
    twice = compare([decisions, decisions], shown, uncalibrated=True, scores=["proportion_correct"])
    assert twice.differences[0].second == f"{decisions.observer} (2)"
    assert set(found.unanswered) == {"mine (v1)", "mine (v2)"}


def test_what_cannot_be_compared(study):
    decisions, shown = study
    with pytest.raises(InputError, match="wanted two or more"):
        compare([decisions], shown)
    with pytest.raises(UnknownNameError, match="did you mean 'bits'"):
        compare([decisions, noisier(decisions, "b", 1)], shown, uncalibrated=True, scores=["bit"])
    names = ("trial_id", "decision_variable", "status", "shown_first", "seconds")
    half = np.arange(len(decisions)) < 300
    one, other = (
        dataclasses.replace(
            decisions, observer=name, **{n: getattr(decisions, n)[rows] for n in names}
        )
        for name, rows in (("a", half), ("b", ~half))
    )
    with pytest.raises(NotComparableError, match="no trial in common"):
        compare([one, other], shown)


def test_undefined_differences_are_not_adjusted(study):
    decisions, shown = study
    tied = dataclasses.replace(
        decisions,
        observer="tied",
        decision_variable=np.zeros(len(decisions)),
        status=np.full(len(decisions), "tie"),
    )
    got = compare(
        [decisions, tied], shown, uncalibrated=True, scores=["unit_pearson", "bits"], n_resamples=50
    )
    undefined, defined = got.differences
    assert np.isnan(undefined.p)
    assert np.isnan(undefined.p_holm)
    assert "undefined for one" in undefined.difference.reason
    assert defined.p_holm == defined.p
    assert json.dumps(got.to_json(), allow_nan=False)
    assert len(got.to_frame()) == 2


@pytest.mark.slow
def test_false_alarms_are_as_rare_as_stated():
    """Two observers equally good on independent trials' noise: p < 0.05 in about 5 %."""
    hits = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        decisions, shown = panel(rng=rng, units=60, batches=4, people=2)
        two = [noisier(decisions, "a", 1.0, 2 * seed), noisier(decisions, "b", 1.0, 2 * seed + 1)]
        line = compare(
            two, shown, uncalibrated=True, scores=["proportion_correct"], n_resamples=400
        ).differences[0]
        hits += line.p < 0.05
    assert 2 <= hits <= 20  # 99.8 % of a binomial(200, 0.05) lie in 2..20


def test_evidence_is_calibrated_out_of_fold_unless_it_is_asked_not_to_be(study):
    decisions, shown = study
    two = [decisions, noisier(decisions, "b", 1)]
    lines = ("bits", "brier")
    silent = compare(two, shown, scores=lines, n_resamples=20)
    fitted = {one.observer: calibrate(one, shown) for one in two}
    stated = compare(two, shown, calibrations=fitted, scores=lines, n_resamples=20)
    assert silent.to_json() == stated.to_json()
    assert silent.calibrations == {name: one.label for name, one in fitted.items()}
    assert silent.calibration_hashes == {name: one.hash for name, one in fitted.items()}
    raw = compare(two, shown, uncalibrated=True, scores=lines, n_resamples=20)
    assert set(raw.calibrations.values()) == {"uncalibrated"}
    assert "calibration: uncalibrated" in repr(raw)
    assert raw.differences[0].values != silent.differences[0].values
    report = score(decisions, shown, by=(), n_resamples=0)
    assert report.calibrated
    assert report["bits"].estimate.value == silent.differences[0].values[0]
    alone = score(decisions, shown, uncalibrated=True, by=(), n_resamples=0)
    assert not alone.calibrated
    assert "uncalibrated" in repr(alone)


def test_a_calibration_of_nobody_compared_is_refused(study):
    decisions, shown = study
    two = [decisions, noisier(decisions, "b", 1)]
    with pytest.raises(UnknownNameError, match=r"'tyo'.*one of b, toy.*'toy'"):
        compare(two, shown, calibrations={"tyo": Calibration.identity()}, n_resamples=0)
    with pytest.raises(InputError, match="a calibration, and uncalibrated"):
        score(decisions, shown, calibration=Calibration.identity(), uncalibrated=True)


def test_a_score_asked_twice_is_one_question(study):
    decisions, shown = study
    three = [decisions, noisier(decisions, "b", 1), noisier(decisions, "c", 2)]
    once, twice = (
        compare(three, shown, uncalibrated=True, scores=s) for s in (["bits"], ["bits"] * 2)
    )
    assert twice.to_json() == once.to_json()


def test_folds_that_nothing_is_fitted_in(study):
    decisions, shown = study
    fitted = {"calibration": calibrate(decisions, shown)}
    for options in ({"uncalibrated": True}, fitted):
        with pytest.raises(InputError, match="without effect: found calibrate_by=network"):
            score(decisions, shown, calibrate_by="network", **options)
    pair = [decisions, noisier(decisions, "b", 1)]
    with pytest.raises(InputError, match="without effect: found calibrate_by=network"):
        compare(pair, shown, calibrate_by="network", uncalibrated=True)
