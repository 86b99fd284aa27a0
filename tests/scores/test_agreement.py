"""Correlations, kappa, side bias and proportions: hand values, brute force, scipy, scikit-learn."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import cohen_kappa_score
from support.made_trials import make_index
from support.simulated_panel import panel

from imi_bench.choice.calibrate import Calibration, calibrate
from imi_bench.errors import InputError, NotComparableError, UnknownNameError
from imi_bench.scores.alignment import align_answers
from imi_bench.scores.consistency import cohen_kappa
from imi_bench.scores.report import HEADLINE, leave_out, score
from imi_bench.scores.strata import levels, read_columns, stratum_labels
from imi_bench.stats.correlation import kendall_tau_b, moments, pearson, spearman


@pytest.fixture(scope="module")
def study():
    return panel(rng=np.random.default_rng(3), units=40, slope=0.8, lapse=0.05, unit_sd=0.5)


@pytest.fixture(scope="module")
def matched(study):
    return align_answers(*study, calibration=calibrate(*study))


@pytest.fixture(scope="module")
def draws(matched):
    return leave_out(matched, seed=1, n_draws=40)


@pytest.fixture(scope="module")
def table(study, matched):
    """One row a human answer: the long way to every score."""
    frame = study[1].to_frame()
    told = pd.DataFrame(
        {"trial_id": matched.index.trial_id, "p": matched.p_correct, "credit": matched.credit}
    )
    return frame.merge(told, on="trial_id")


class TestCorrelations:
    @given(
        data=st.lists(
            st.tuples(st.integers(-3, 3), st.integers(-3, 3), st.integers(0, 4)),
            min_size=4,
            max_size=12,
        )
    )
    def test_weighted_is_that_of_the_repeated_sample(self, data):
        x, y, w = (np.array(column, dtype=float) for column in zip(*data, strict=True))
        x_long, y_long = np.repeat(x, w.astype(int)), np.repeat(y, w.astype(int))
        rho = spearman(x, y, w[None])[0]
        r = pearson((w[:, None] * moments(x, y)).sum(axis=0))
        if len(x_long) < 2 or np.ptp(x_long) == 0 or np.ptp(y_long) == 0:
            assert np.isnan(rho)
            assert np.isnan(r)
        else:
            assert rho == pytest.approx(stats.spearmanr(x_long, y_long)[0], abs=1e-9)
            assert r == pytest.approx(stats.pearsonr(x_long, y_long)[0], abs=1e-9)

    @given(data=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=10))
    def test_kendall_is_that_of_scipy(self, data):
        x, y = np.array(data, dtype=float).T
        if np.ptp(x) == 0 or np.ptp(y) == 0:
            assert np.isnan(kendall_tau_b(x, y))
        else:
            assert kendall_tau_b(x, y) == pytest.approx(stats.kendalltau(x, y)[0], abs=1e-12)

    def test_values_that_differ_by_rounding_are_tied(self):
        """Else an observer's rank correlation would depend on the processor."""
        x = np.array([0.3, 0.1 + 0.2, 0.6, 0.7])
        y = np.array([1.0, 2.0, 4.0, 3.0])
        assert x[0] != x[1]
        tied = np.array([0.3, 0.3, 0.6, 0.7])
        assert spearman(x, y, np.ones((1, 4)))[0] == pytest.approx(stats.spearmanr(tied, y)[0])
        assert kendall_tau_b(x, y) == pytest.approx(stats.kendalltau(tied, y)[0])

    def test_an_undefined_value_leaves_the_correlation_undefined(self):
        x = np.array([0.3, np.nan, 0.6, 0.7])
        assert np.isnan(spearman(x, np.arange(4.0), np.ones((1, 4)))[0])


class TestKappa:
    def test_hand_derived(self):
        # 20 alike-right, 15 alike-wrong, 5 + 10 unlike: po 0.7, pe 0.5 * 0.6 + 0.5 * 0.4 = 0.5
        kappa = cohen_kappa(alike=np.array(0.7), first=np.array(0.5), second=np.array(0.6))
        assert kappa == pytest.approx(0.4)

    def test_the_sign_is_kept(self):
        half = np.array(0.5)
        assert cohen_kappa(alike=np.array(0.0), first=half, second=half) == -1

    def test_certain_chance_agreement_is_undefined(self):
        one = np.array(1.0)
        assert np.isnan(cohen_kappa(alike=one, first=one, second=one))

    def test_on_answers_it_is_that_of_scikit_learn(self, draws, table):
        reference = cohen_kappa_score(table["credit"] > 0.5, table["correct"])
        assert draws["pooled_error_consistency"].value == pytest.approx(reference, abs=1e-12)

    def test_within_conditions_it_is_the_weighted_mean_of_theirs(self, draws, table):
        kappas, weights = [], []
        for _, part in table.groupby(["network", "mode", "difficulty"]):
            one, other = part["credit"] > 0.5, part["correct"]
            p, q = one.mean(), other.mean()
            kappas.append(cohen_kappa_score(one, other))
            weights.append(len(part) * (1 - p * q - (1 - p) * (1 - q)))
        reference = np.average(kappas, weights=weights)
        assert draws["error_consistency"].value == pytest.approx(reference, abs=1e-12)

    def test_an_observer_that_errs_elsewhere_is_negative(self, study):
        decisions, shown = study
        right = np.bincount(shown.rows, shown.responses.correct) > 1
        toward = np.where(right, -1.0, 1.0)
        sign = np.where(decisions.shown_first == "positive", 1.0, -1.0)
        contrary = dataclasses.replace(decisions, decision_variable=toward * sign)
        found = score(contrary, shown, uncalibrated=True, by=(), n_resamples=50)
        assert found.scores["error_consistency"].estimate.high < 0


def test_correlations_are_those_of_condition_means(draws, table):
    means = table.groupby(["unit_id", "mode", "difficulty"])[["p", "correct"]].mean()
    assert draws["unit_pearson"].value == pytest.approx(
        stats.pearsonr(means["p"], means["correct"])[0], abs=1e-10
    )
    assert draws["unit_spearman"].value == pytest.approx(
        stats.spearmanr(means["p"], means["correct"])[0], abs=1e-10
    )
    bars = table.groupby(["network", "mode", "difficulty"])[["p", "correct"]].mean()
    assert draws["network_pearson"].value == pytest.approx(
        stats.pearsonr(bars["p"], bars["correct"])[0], abs=1e-10
    )
    assert draws["network_kendall"].value == pytest.approx(
        stats.kendalltau(bars["p"], bars["correct"])[0], abs=1e-10
    )


def test_conditions_table_is_the_groupby(matched, table):
    means = table.groupby("unit_id")["correct"].mean()
    frame = matched.by_condition()
    found = frame.groupby("unit_id")[["human", "answers"]].apply(
        lambda g: (g["human"] * g["answers"]).sum() / g["answers"].sum()
    )
    assert found.to_numpy() == pytest.approx(means.to_numpy())


def test_corrected_correlation_is_the_raw_over_its_ceiling(draws):
    ceiling = np.sqrt(draws["split_half_reliability"].value)
    assert draws["unit_pearson_corrected"].value == pytest.approx(
        draws["unit_pearson"].value / ceiling
    )


def test_nothing_is_cut_at_one_and_what_exceeds_is_flagged():
    # people add noise that only the trials' evidence explains: the observer knows more
    decisions, shown = panel(
        rng=np.random.default_rng(0), units=50, batches=4, people=2, evidence_sd=0.2, slope=2.0
    )
    trials = shown.trials
    seen = np.bincount(shown.rows, shown.responses.correct, minlength=len(trials)) - 1
    sign = np.where(decisions.shown_first == "positive", 1.0, -1.0)
    copy = dataclasses.replace(
        decisions, decision_variable=sign * seen, status=np.where(seen == 0, "tie", "ok")
    )
    found = score(copy, shown, uncalibrated=True, by=(), n_resamples=20).scores
    assert found["unit_pearson"].estimate.value > 0.99
    assert found["unit_pearson_corrected"].estimate.value > 1
    assert found["unit_pearson"].above_ceiling
    assert found["brier"].above_ceiling
    assert found["error_consistency"].above_ceiling
    assert not found["coverage"].above_ceiling


def test_no_answer_earns_one_half_and_coverage_says_so(study):
    decisions, shown = study
    refused = np.arange(len(decisions)) % 4 == 0
    partly = dataclasses.replace(
        decisions,
        decision_variable=np.where(refused, np.nan, decisions.decision_variable),
        status=np.where(refused, "refused", "ok"),
    )
    found = score(partly, shown, uncalibrated=True, by=(), n_resamples=0).scores
    credit = np.where(refused, 0.5, decisions.toward_correct > 0)
    assert found["proportion_correct"].estimate.value == pytest.approx(credit.mean())
    assert found["coverage"].estimate.value == pytest.approx(0.75)
    assert np.isnan(found["coverage"].estimate.low)


class TestSideBias:
    def test_always_first(self, study):
        decisions, shown = study
        always = dataclasses.replace(decisions, decision_variable=np.ones(len(decisions)))
        found = score(always, shown, uncalibrated=True, by=(), n_resamples=10).scores
        assert found["side_bias"].estimate.value == 0.5
        assert abs(found["proportion_correct"].estimate.value - 0.5) < 0.05

    def test_a_perfect_observer_has_none_however_sides_fall(self, study):
        decisions, shown = study
        first = np.arange(len(decisions)) % 10 < 8
        perfect = dataclasses.replace(
            decisions,
            decision_variable=np.where(first, 1.0, -1.0),
            shown_first=np.where(first, "positive", "negative"),
        )
        found = score(perfect, shown, uncalibrated=True, by=(), n_resamples=10).scores
        assert found["side_bias"].estimate.value == 0
        assert found["proportion_correct"].estimate.value == 1


class TestStrata:
    columns = pd.DataFrame(
        {
            "network": [f"net{i}" for i in range(3) for _ in range(3)],
            "layer": [f"layer{j}" for _ in range(3) for j in range(3)],
            "layer_type": ["conv", "norm", "conv"] * 3,
            "depth": [0.0, 0.5, 1.0] * 3,
        }
    )

    def test_a_stratum_is_scored_as_if_alone(self, study):
        decisions, shown = study
        whole = score(decisions, shown, uncalibrated=True, by=("mode",), n_resamples=30)
        rows = np.flatnonzero(shown.trials.mode[shown.rows] == "natural")
        part = dataclasses.replace(shown, responses=shown.responses.take(rows))
        alone = score(decisions, part, uncalibrated=True, by=(), n_resamples=30)
        for name in ("unit_pearson", "bits", "proportion_correct", "error_consistency"):
            one, other = whole.strata["mode"]["natural"][name], alone.scores[name]
            assert one.estimate.value == pytest.approx(other.estimate.value, abs=1e-12)

    def test_by_layer_type_and_depth(self, study):
        found = score(
            *study, by=("layer_type", "depth", "network"), columns=self.columns, n_resamples=5
        )
        assert list(found.strata["layer_type"]) == ["conv", "norm"]
        assert list(found.strata["depth"]) == ["first third", "second third", "last third"]
        assert list(found.strata["network"]) == ["net0", "net1", "net2"]
        counted = sum(
            lines["proportion_correct"].estimate.n for lines in found.strata["depth"].values()
        )
        assert counted == found.trials

    def test_what_is_not_known_is_called_unknown(self, study):
        labels = stratum_labels(study[1].trials, "depth", columns=self.columns.iloc[:3])
        assert "unknown" in set(levels(labels))

    def test_units_as_text_are_numbers_and_other_layers_are_refused(self, study):
        keys = {"network": "net0", "layer": study[1].trials.layer, "unit": study[1].trials.unit}
        table = pd.DataFrame(keys).drop_duplicates().assign(network=study[1].trials.network[0])
        table = table.assign(kind=["a", "b"] * (len(table) // 2) + ["a"] * (len(table) % 2))
        as_text = table.assign(unit=table["unit"].astype(str))
        one, other = (stratum_labels(study[1].trials, "kind", columns=c) for c in (table, as_text))
        assert one.tolist() == other.tolist()
        with pytest.raises(InputError, match="columns of other layers"):
            stratum_labels(study[1].trials, "kind", columns=table.assign(network="elsewhere"))
        with pytest.raises(InputError, match="bad unit: row 0: found 'one'"):
            stratum_labels(study[1].trials, "kind", columns=table.assign(unit="one"))

    def test_unknown_stratum(self, study):
        with pytest.raises(UnknownNameError, match="did you mean 'mode'"):
            stratum_labels(study[1].trials, "mod")


def test_catch_trials_and_trials_without_answers_are_left_out(study):
    decisions, shown = study
    catch = np.zeros(len(shown.trials), dtype=bool)
    catch[:100] = True
    rows = np.flatnonzero(shown.rows < 700)
    part = dataclasses.replace(
        shown,
        trials=dataclasses.replace(shown.trials, catch=catch),
        responses=shown.responses.take(rows),
    )
    found = align_answers(decisions, part, calibration=Calibration.identity())
    assert len(found.index) == 600
    assert len(found.trial) == 1800
    alone = dataclasses.replace(part, trials=dataclasses.replace(part.trials, catch=catch | True))
    with pytest.raises(NotComparableError, match="no main trial"):
        align_answers(decisions, alone, calibration=Calibration.identity())


def test_order_of_rows_does_not_matter(study):
    decisions, shown = study
    rng = np.random.default_rng(0)
    trials, answers = rng.permutation(len(shown.trials)), rng.permutation(len(shown.responses))
    shuffled = dataclasses.replace(
        shown, trials=shown.trials.take(trials), responses=shown.responses.take(answers)
    )
    names = ("trial_id", "decision_variable", "status", "shown_first", "seconds")
    mixed = dataclasses.replace(
        decisions, **{name: getattr(decisions, name)[trials[::-1]] for name in names}
    )
    one, other = (
        score(*pair, uncalibrated=True, by=(), n_resamples=20)
        for pair in (study, (mixed, shuffled))
    )
    for name in HEADLINE:
        found = [report.scores[name].estimate for report in (one, other)]
        assert found[0].value == pytest.approx(found[1].value, nan_ok=True)
        assert found[0].low == pytest.approx(found[1].low, nan_ok=True)


class TestColumnsOfLayers:
    index = make_index(4, layer=np.array(["1", "1", "02", "02"], dtype=object))

    def write(self, folder: Path, values: list[object], *, layers: tuple[str, str] = ("1", "02")):
        table = pd.DataFrame({"network": "net", "layer": layers, "x": values})
        table.to_csv(folder / "columns.csv", index=False)
        return read_columns(folder / "columns.csv")

    @pytest.mark.parametrize(
        ("values", "labels"),
        [
            ([True, False], ["True", "False"]),
            (["None", "null"], ["None", "null"]),
            (["NA", "a"], ["unknown", "a"]),
            ([1, 4], ["first third", "last third"]),
        ],
    )
    def test_values_are_what_is_written(self, values, labels, tmp_path: Path) -> None:
        table = self.write(tmp_path, values)
        assert (
            stratum_labels(self.index, "x", columns=table).tolist() == np.repeat(labels, 2).tolist()
        )

    def test_from_parquet_too(self, tmp_path: Path) -> None:
        self.write(tmp_path, ["a", "b"]).to_parquet(tmp_path / "columns.parquet")
        table = read_columns(tmp_path / "columns.parquet")
        assert stratum_labels(self.index, "x", columns=table).tolist() == ["a", "a", "b", "b"]

    def test_a_table_of_other_layers_and_twins_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="columns of other layers"):
            stratum_labels(
                self.index, "x", columns=self.write(tmp_path, ["a", "b"], layers=("1 ", "2"))
            )
        with pytest.raises(InputError, match="only spaces tell apart"):
            stratum_labels(self.index, "x", columns=self.write(tmp_path, ["a", "a "]))
        numbers = self.write(tmp_path, ["a", "b"]).assign(layer=[1, 2])
        with pytest.raises(InputError, match="keys of another type"):
            stratum_labels(self.index, "x", columns=numbers)
