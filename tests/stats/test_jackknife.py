"""Scores without each cluster, against scores of tables without it; variances against textbooks."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate, stats
from statsmodels.api import OLS
from support.simulated_panel import panel

from imi_bench.arrays import Floats
from imi_bench.choice.calibrate import calibrate
from imi_bench.scores.alignment import AlignedAnswers, align_answers
from imi_bench.scores.consistency import KAPPA
from imi_bench.scores.report import leave_out
from imi_bench.stats.intervals import estimate, gap, resolvable_difference
from imi_bench.stats.jackknife import Jackknife, Spread, combined, jackknives
from imi_bench.stats.pairs import Pairs
from imi_bench.stats.scales import fieller
from imi_bench.stats.sums import Placed, Score, Sums

NONE, NOBODY = np.zeros(0), np.zeros(0, dtype=np.int64)
MEAN = Score("mean", "x", lambda t: t["x"] / t["one"], over_people=True)


@pytest.fixture(scope="module")
def study():
    return panel(rng=np.random.default_rng(6), units=30, slope=0.8, unit_sd=0.5)


@pytest.fixture(scope="module")
def matched(study):
    return align_answers(*study, calibration=calibrate(*study))


def of_units(x: np.ndarray, stratum: np.ndarray | None = None) -> Jackknife:
    """The mean of one number a unit."""
    codes = np.zeros(len(x), dtype=np.int64) if stratum is None else stratum
    sums = Sums({"x": x, "one": np.ones(len(x))}, {}, NOBODY, NOBODY, codes)
    line = Score("mean", "x", lambda t: t["x"] / t["one"])
    return jackknives(sums, [line], n_draws=0, seed=0)["mean"]


def of_answers(x: np.ndarray, unit: np.ndarray, person: np.ndarray) -> Jackknife:
    answers = {"x": x, "one": np.ones(len(x))}
    sums = Sums({}, answers, unit, person, np.zeros(int(unit.max()) + 1, dtype=np.int64))
    return jackknives(sums, [MEAN], n_draws=0, seed=0)["mean"]


def without_answers(matched: AlignedAnswers, keep: np.ndarray) -> AlignedAnswers:
    import dataclasses

    return dataclasses.replace(
        matched,
        trial=matched.trial[keep],
        participant=matched.participant[keep],
        correct=matched.correct[keep],
    )


def test_without_a_unit_every_score_is_that_of_the_other_units(matched):
    found = leave_out(matched, seed=4, n_draws=0)
    for unit in (0, 7, 29):
        again = leave_out(matched.take(matched.unit != unit), seed=4, n_draws=0)
        for name in again:
            if "left_out" in name or "share" in name or "corrected" in name or "halves" in name:
                continue  # priors and random halves are those of all units
            if name in ("split_half_reliability", "unit_ceiling", "calibration_slope"):
                continue  # the slope is one Newton step from that of all units
            assert found[name].without_unit[unit] == pytest.approx(again[name].value, abs=1e-9)


def test_without_a_participant_scores_over_answers_are_those_of_the_others(matched):
    found = leave_out(matched, seed=4, n_draws=0)
    people = np.unique(matched.participant)
    for place in (0, 5):
        rest = without_answers(matched, matched.participant != people[place])
        again = leave_out(rest, seed=4, n_draws=0)
        for name in ("bits", "brier", "error_consistency", "ece", "human_proportion_correct"):
            assert found[name].without_participant[place] == pytest.approx(again[name].value)


def test_chunks_do_not_show(matched, monkeypatch):
    one = leave_out(matched, seed=0, n_draws=20)
    monkeypatch.setattr("imi_bench.stats.jackknife._CHUNK", 7)
    other = leave_out(matched, seed=0, n_draws=20)
    for name in one:
        assert one[name].spread.variance == pytest.approx(other[name].spread.variance, rel=1e-9)


class TestVariance:
    def test_mean_of_units_is_the_t_interval_of_scipy(self):
        x = np.random.default_rng(0).normal(size=9)
        found = estimate(of_units(x), n=9, clusters=9)
        reference = stats.ttest_1samp(x, 0).confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((reference.low, reference.high))
        assert "t(8)" in found.method

    def test_strata_by_hand(self):
        """Variance of a stratified mean: the strata's own variances over n, by their shares."""
        rng = np.random.default_rng(1)
        stratum = np.repeat([0, 1], [6, 14])
        x = rng.normal(size=20) + 50 * stratum
        expected = sum(
            (size / 20) ** 2 * x[stratum == code].var(ddof=1) / size
            for code, size in enumerate((6, 14))
        )
        spread = of_units(x, stratum).spread
        assert spread.variance == pytest.approx(expected)
        assert spread.df == 18

    def test_small_strata_are_pooled(self):
        x = np.arange(6.0)
        found = of_units(x, np.array([0, 0, 0, 0, 0, 1]))
        assert found.clusters == "units"
        assert found.spread.variance == pytest.approx(x.var(ddof=1) / 6)

    @pytest.mark.parametrize("groups", [1, 2])
    def test_clusters_are_those_of_statsmodels(self, groups):
        """Balanced: statsmodels' sandwich times n / (n - 1), which unbiases each clustering."""
        rng = np.random.default_rng(2)
        unit, person = (a.ravel() for a in np.indices((12, 8)))
        x = rng.normal(size=12)[unit] + rng.normal(size=8)[person] + rng.normal(size=96)
        spread = of_answers(x, unit, person).spread
        for groups_of, part in ((unit, spread.by_unit), (person, spread.by_participant)):
            fit = OLS(x, np.ones(96)).fit(
                cov_type="cluster", cov_kwds={"groups": groups_of, "use_correction": False}
            )
            count = len(np.unique(groups_of))
            assert part @ part == pytest.approx(fit.bse[0] ** 2 * count / (count - 1))
        parts = [p @ p for p in (spread.by_unit, spread.by_participant, spread.by_cell)]
        assert spread.variance == pytest.approx(parts[0] + parts[1] - parts[2])

    def test_the_unit_clustering_is_the_floor(self):
        """Without any effect of participants their clustering can only subtract: it does not."""
        rng = np.random.default_rng(3)
        unit, person = (a.ravel() for a in np.indices((10, 4)))
        floors = 0
        for _ in range(20):
            spread = of_answers(rng.normal(size=40), unit, person).spread
            by_unit = spread.by_unit @ spread.by_unit
            assert spread.variance >= by_unit
            floors += spread.variance == by_unit
        assert floors > 0

    def test_a_combination_is_left_out_as_a_whole(self):
        x, y = np.random.default_rng(4).normal(5, 1, (2, 10))
        line = Score("ratio", "", lambda t: t["ratio"])
        ratio = combined(line, np.divide, of_units(x), of_units(y))
        expected = [np.delete(x, u).mean() / np.delete(y, u).mean() for u in range(10)]
        assert ratio.without_unit == pytest.approx(expected)
        assert ratio.value == pytest.approx(x.mean() / y.mean())


class TestEstimate:
    def made(self, value, without, scale="identity"):
        line = Score("a", "r", lambda t: t["a"], undefined="no variation", scale=scale)
        without = np.asarray(without, dtype=float)
        return Jackknife(line, value, without, NONE, NONE, np.zeros(len(without), dtype=np.int64))

    def test_undefined_says_why(self):
        assert estimate(self.made(math.nan, [1.0, 2.0]), n=9, clusters=2).reason == "no variation"
        assert "one unit" in estimate(self.made(0.5, [math.nan]), n=9, clusters=1).reason
        one = estimate(self.made(0.5, [math.nan, 0.4, 0.5]), n=9, clusters=3)
        assert one.reason == "undefined without one of its units"

    def test_fishers_interval_stays_inside(self):
        found = estimate(self.made(0.95, [0.95, 0.8, 0.99, 0.97], "fisher"), n=9, clusters=4)
        assert -1 < found.low < 0.95 < found.high < 1
        assert "Fisher" in found.method

    def test_fishers_interval_of_normal_data_is_near_scipys(self):
        rng = np.random.default_rng(0)
        x = rng.normal(size=400)
        y = 0.6 * x + rng.normal(size=400)
        without = [np.corrcoef(np.delete(x, u), np.delete(y, u))[0, 1] for u in range(400)]
        found = estimate(self.made(np.corrcoef(x, y)[0, 1], without, "fisher"), n=400, clusters=400)
        reference = stats.pearsonr(x, y).confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((reference.low, reference.high), abs=0.02)

    @pytest.mark.parametrize("value", [0.0, 1.0])
    def test_a_proportion_that_is_the_same_in_all_units_has_an_exact_interval(self, value):
        from statsmodels.stats.proportion import proportion_confint

        found = estimate(self.made(value, np.full(40, value), "logit"), n=4000, clusters=40)
        reference = proportion_confint(40 * value, 40, method="beta")
        assert (found.low, found.high) == pytest.approx(reference, abs=1e-9)
        assert found.high - found.low > 0.05


def test_a_score_of_which_no_interval_holds_has_none_and_no_test():
    line = Score("e", "", lambda t: np.zeros(1), no_interval="none holds")
    one, other = (
        Jackknife(line, value, np.linspace(0, 1, 9), NONE, NONE, np.zeros(9, dtype=np.int64))
        for value in (0.5, 0.4)
    )
    alone, both = estimate(one, n=9, clusters=9), gap(one, other, n=9, clusters=9)
    assert str(alone) == "0.500 (no interval: none holds)"
    assert both.estimate.value == pytest.approx(0.1)
    assert both.estimate.reason == "none holds"
    assert np.isnan([both.p, both.resolvable, resolvable_difference(one)]).all()


class TestPairs:
    def test_paired_p_is_that_of_scipy(self):
        x, y = np.random.default_rng(5).normal(size=(2, 12))
        found = gap(of_units(x), of_units(y), n=12, clusters=12)
        assert found.p == pytest.approx(stats.ttest_rel(x, y).pvalue)
        interval = stats.ttest_rel(x, y).confidence_interval(0.95)
        assert (found.estimate.low, found.estimate.high) == pytest.approx(tuple(interval))
        pairs = Pairs.of([of_units(x).spread, of_units(y).spread], paired=True)
        p = pairs.p_values(np.array([x.mean(), y.mean()]))
        assert p[0, 1] == pytest.approx(found.p)
        assert p[0, 0] == 1

    def test_apart_it_is_welchs(self):
        rng = np.random.default_rng(6)
        x, y = rng.normal(size=9), rng.normal(1, 3, size=14)
        pairs = Pairs.of([of_units(x).spread, of_units(y).spread], paired=False)
        reference = stats.ttest_ind(x, y, equal_var=False).pvalue
        assert pairs.p_values(np.array([x.mean(), y.mean()]))[0, 1] == pytest.approx(reference)

    def test_two_ways_it_is_the_difference_of_the_answers(self):
        rng = np.random.default_rng(7)
        unit, person = (a.ravel() for a in np.indices((9, 5)))
        x, y = rng.normal(size=(2, 45)) + rng.normal(size=5)[person]
        one, other = (of_answers(v, unit, person) for v in (x, y))
        both = Pairs.of([one.spread, other.spread], paired=True)
        alone = of_answers(x - y, unit, person).spread
        assert both.error[0, 1] == pytest.approx(math.sqrt(alone.variance))
        assert both.df[0, 1] == pytest.approx(alone.df)

    def test_a_copy_does_not_differ(self):
        one = of_units(np.random.default_rng(8).normal(size=7))
        found = gap(one, one, n=7, clusters=7)
        assert (found.estimate.low, found.estimate.high, found.p) == (0, 0, 1)
        pairs = Pairs.of([one.spread, one.spread], paired=True)
        assert pairs.p_values(np.array([0.3, 0.3]))[0, 1] == 1
        assert pairs.critical(level=0.95, n_draws=100, seed=0).tolist() == [0, 0]

    def test_critical_value_of_two_is_that_of_t(self):
        rng = np.random.default_rng(9)
        pairs = Pairs.of([of_units(rng.normal(size=11)).spread for _ in range(2)], paired=True)
        found = pairs.critical(level=0.95, n_draws=40_000, seed=0)
        assert found == pytest.approx(stats.t.ppf(0.975, 10), rel=0.03)


def test_resolvable_difference_has_the_power_it_claims():
    spread = of_units(np.random.default_rng(0).normal(size=2000))
    error = math.sqrt(spread.spread.variance)
    shown = resolvable_difference(spread)
    rng = np.random.default_rng(1)
    observed = shown + rng.normal(0, error * math.sqrt(2), 200_000)
    significant = np.abs(observed) > 1.96 * error * math.sqrt(2)
    assert significant.mean() == pytest.approx(0.8, abs=0.01)


def test_draws_have_the_spread_of_the_jackknife(matched):
    """Noise on totals: as far apart as the jackknife's standard error says, for a smooth score."""
    place = np.zeros(len(matched.trial), dtype=np.int64)
    table = Placed(place, np.column_stack([np.ones(len(place)), matched.correct]), 1)
    line = Score("hits", "", lambda t: t["hits"][:, 0, 1] / t["hits"][:, 0, 0], True, scale="drawn")
    sums = Sums(
        {},
        {"hits": table},
        matched.unit[matched.trial],
        matched.participant,
        np.zeros(matched.n_units, dtype=np.int64),
    )
    found = jackknives(sums, [line], n_draws=20_000, seed=0)["hits"]
    assert found.draws.std() == pytest.approx(math.sqrt(found.spread.variance), rel=0.05)
    assert found.draws.mean() == pytest.approx(found.value, abs=0.001)


def test_spreads_of_other_units_are_not_paired():
    from imi_bench.errors import InputError

    one, other = (Spread(np.ones(n), NONE, NONE, np.zeros(n, dtype=np.int64)) for n in (3, 4))
    with pytest.raises(InputError, match="not on the same units"):
        Pairs.of([one, other], paired=True)


@pytest.mark.parametrize(("seed", "costs"), [(0, False), (2, True)])
def test_pairs_of_units_measure_what_correcting_the_bias_costs(seed: int, costs: bool) -> None:
    """A squared mean less its bias is a U statistic, with and without each unit."""
    x = np.random.default_rng(seed).normal(0.0, 1.0, 9) + 0.3

    def u_statistic(values: Floats) -> float:
        n = len(values)
        return float((values.sum() ** 2 - values @ values) / (n * (n - 1)))

    squared = Score("squared", "", lambda t: (t["x"] / t["one"]) ** 2, curved=True)
    none = np.zeros(0, dtype=np.int64)
    sums = Sums({"x": x, "one": np.ones(9)}, {}, none, none, np.zeros(9, dtype=np.int64))
    found = jackknives(sums, [squared], n_draws=0, seed=0)["squared"]
    assert found.value - found.bias == pytest.approx(u_statistic(x))
    rest = np.array([u_statistic(np.delete(x, i)) for i in range(9)])
    wanted = 8 / 9 * ((rest - rest.mean()) ** 2).sum()
    assert found.corrected_spread.variance == pytest.approx(max(wanted, found.spread.variance))
    assert (wanted > found.spread.variance) == costs
    straight = Score("mean", "", lambda t: t["x"] / t["one"], curved=True)
    mean = jackknives(sums, [straight], n_draws=0, seed=0)["mean"]
    assert mean.corrected_spread.variance == pytest.approx(mean.spread.variance)


def test_pairs_are_left_out_within_networks() -> None:
    """Two strata: the bias of each is corrected apart, with and without each unit."""
    rng = np.random.default_rng(1)
    x, stratum = rng.normal(0.3, 1.0, 12), np.repeat([0, 1], 6).astype(np.int64)
    one = np.ones(12)
    squares = Score(
        "squares",
        "",
        lambda t: ((t["by"][..., 0] / t["by"][..., 1]) ** 2).sum(axis=-1),
        curved=True,
    )
    by = np.zeros((12, 2, 2))
    by[np.arange(12), stratum] = np.column_stack([x, one])
    none = np.zeros(0, dtype=np.int64)
    found = jackknives(Sums({"by": by}, {}, none, none, stratum), [squares], n_draws=0, seed=0)

    def corrected(values: Floats, code: NDArray[np.int64]) -> float:
        total = 0.0
        for own in (values[code == 0], values[code == 1]):
            total += (own.sum() ** 2 - own @ own) / (len(own) * (len(own) - 1))
        return total

    left = [corrected(np.delete(x, i), np.delete(stratum, i)) for i in range(12)]
    parts = [np.array(left[:6]), np.array(left[6:])]
    wanted = sum((11 / 12) ** 2 * 6 / 5 * float(((p - p.mean()) ** 2).sum()) for p in parts)
    one_found = found["squares"]
    assert one_found.value - one_found.bias == pytest.approx(corrected(x, stratum))
    assert one_found.corrected_spread.variance == pytest.approx(
        max(wanted, one_found.spread.variance)
    )


class TestScales:
    """Each interval on the scale of its score (`imi_bench.stats.scales`)."""

    def of(self, moved: Floats) -> Spread:
        return Spread(np.asarray(moved), NONE, NONE, np.zeros(len(moved), dtype=np.int64))

    def test_fieller_holds_what_the_t_test_does_not_reject(self):
        """The ends are where the paired t test of top less a share of the bottom has p = 0.05."""
        x, y = np.random.default_rng(3).normal([[1.0], [2.0]], 0.4, (2, 12))
        one, other = of_units(x), of_units(y)
        low, high = fieller(one.value, other.value, one.spread, other.spread, 0.95)
        assert low < one.value / other.value < high
        for end in (low, high):
            assert stats.ttest_rel(x, end * y).pvalue == pytest.approx(0.05, abs=1e-6)

    def test_fieller_says_where_a_share_has_no_bound(self):
        top, bottom = map(of_units, np.random.default_rng(4).normal(0.0, 1.0, (2, 9)))
        assert fieller(top.value, bottom.value, top.spread, bottom.spread, 0.95) is None
        line = Score("share", "", lambda t: t["a"], scale="ratio")
        found = estimate(combined(line, np.divide, top, bottom), n=9, clusters=9)
        assert "no bound" in found.reason
        assert math.isnan(found.low)

    def test_a_growing_error_is_plain_t_with_many_units(self):
        line = Score("kappa", "kappa", lambda t: t["a"], scale="growing")
        without = 0.2 + np.random.default_rng(5).normal(0, 1e-5, 2000)
        zero = np.zeros(2000, dtype=np.int64)
        one = Jackknife(line, 0.2, without, NONE, NONE, zero)
        plain = replace(one, score=replace(line, scale="identity"))
        ends = [(e.low, e.high) for e in (estimate(j, n=9, clusters=2000) for j in (one, plain))]
        assert ends[0] == pytest.approx(ends[1], abs=2e-4)

    def test_a_growing_error_reaches_further_away_from_its_origin(self):
        line = Score("kappa", "kappa", lambda t: t["a"], scale="growing")
        without = 0.2 + np.random.default_rng(6).normal(0, 0.01, 8)
        found = estimate(
            Jackknife(line, 0.2, without, NONE, NONE, np.zeros(8, dtype=np.int64)), n=9, clusters=8
        )
        middle = 0.2 - 7 * (without.mean() - 0.2)
        assert found.high - middle > middle - found.low > 0

    @pytest.mark.parametrize(
        ("value", "least", "trials"),
        [
            *((value, -1.0, math.inf) for value in (-0.4, 0.0, 0.5, 0.9)),
            *((value, -0.1, math.inf) for value in (-0.05, 0.0, 0.1, 0.9)),
            *((value, -0.1, 15) for value in (0.0, 0.1, 0.5)),
        ],
    )
    def test_the_interval_of_a_kappa_is_symmetric_in_what_its_error_integrates_to(
        self, value, least, trials
    ):
        """By quadrature of dx / SE(x), SE = (1 - x) sqrt(a^2 + b^2 (x - L)^2), to either end.

        About the middle to which half the derivative of SE at the value moves it.
        """
        line = Score("kappa", "kappa", lambda t: t["a"], scale="kappa", growth=2.0)
        moved = np.random.default_rng(9).normal(0, 0.01, 8)
        without = value + moved - moved.mean()  # no bias
        zero = np.zeros(8, dtype=np.int64)
        one = Jackknife(line, value, without, NONE, NONE, zero, least=least, trials=trials)
        found, away, growth = estimate(one, n=9, clusters=8), value - least, 2 / (1 - least)
        seen = max(one.spread.variance / (1 - value) ** 2, growth * away**2 / trials)
        df = one.spread.uneven_df
        share = min(growth / df, 0.9 * seen / away**2)
        noise = seen - share * away**2

        def error(x: float) -> float:
            return (1 - x) * math.sqrt(noise + share * (x - least) ** 2)

        slope = (error(value + 1e-6) - error(value - 1e-6)) / 2e-6
        assert -1 < found.low < value < found.high < 1
        for end, side in ((found.low, -1), (found.high, 1)):
            far = integrate.quad(lambda x: 1 / error(x), value, end)[0]
            assert far - slope / 2 == pytest.approx(side * stats.t.ppf(0.975, df), rel=1e-5)

    def test_a_kappa_of_1_has_no_interval_and_says_so(self):
        line = Score("kappa", "kappa", lambda t: t["a"], **KAPPA)
        without = np.array([1.0, 0.9, 1.0, 1.0, 0.95])
        one = Jackknife(line, 1.0, without, NONE, NONE, np.zeros(5, dtype=np.int64))
        found = estimate(one, n=9, clusters=5)
        assert math.isnan(found.low)
        assert "the most it can be" in found.reason

    def test_few_units_that_carry_the_variance_have_few_degrees_of_freedom(self):
        """One of n: 2 / (1 - 1 / n). Normal ones: about as many as there are."""
        assert self.of([1.0, *[0.0] * 39]).uneven_df == pytest.approx(2 / (1 - 1 / 40))
        assert self.of(np.tile([1.0, -1.0], 20)).uneven_df == 39
        many = self.of(np.random.default_rng(11).normal(size=4000))
        assert many.uneven_df == pytest.approx(4000, rel=0.1)
        assert self.of(np.zeros(5)).uneven_df == 4

    @pytest.mark.parametrize("value", [-0.9, 0.3, 0.8, 0.97])
    @pytest.mark.parametrize("noise", [0.003, 0.03, 0.1])
    @pytest.mark.parametrize("bias", [-0.01, 0.0, 0.005])
    def test_the_interval_of_a_kappa_stays_within_its_range(self, value, noise, bias):
        line = Score("kappa", "kappa", lambda t: t["a"], **KAPPA)
        without = value + bias + np.random.default_rng(10).normal(0, noise, 5)
        one = Jackknife(line, value, without, NONE, NONE, np.zeros(5, dtype=np.int64))
        found = estimate(one, n=9, clusters=5)
        assert -1 <= found.low < found.high <= 1

    def test_an_interval_is_cut_where_its_score_ends_and_says_so(self):
        line = Score("reliability", "", lambda t: t["a"], ends=(-math.inf, 1.0))
        without = 0.9 + np.array([-0.02, 0.01, 0.03, -0.03, 0.01])
        one = Jackknife(line, 0.9, without, NONE, NONE, np.zeros(5, dtype=np.int64))
        found, free = (
            estimate(j, n=9, clusters=5)
            for j in (one, replace(one, score=replace(line, ends=(-math.inf, math.inf))))
        )
        assert free.high > 1 == found.high
        assert found.low == free.low
        assert found.method.endswith(", cut at 1")
        assert "cut" not in free.method
        beyond = replace(one, value=0.99, without_unit=np.full(5, 0.9) + 1e-6 * np.arange(5))
        assert "beyond 1" in estimate(beyond, n=9, clusters=5).reason

    def test_a_corrected_correlation_is_fishers_over_the_ceiling(self):
        line = Score("r", "r", lambda t: t["a"], scale="fisher")
        zero = np.zeros(9, dtype=np.int64)
        without = 0.6 + np.random.default_rng(7).normal(0, 0.01, 9)
        r = Jackknife(line, 0.6, without, NONE, NONE, zero)
        sure = Jackknife(line, 0.8, np.full(9, 0.8), NONE, NONE, zero)
        over = combined(replace(line, scale="attenuated"), np.divide, r, sure)
        plain, corrected = (estimate(one, n=9, clusters=9) for one in (r, over))
        assert corrected.low == pytest.approx(plain.low / 0.8)
        assert corrected.high == pytest.approx(plain.high / 0.8)

    @pytest.mark.parametrize("apart", [0.0, 0.1, 0.3])
    def test_the_interval_of_a_difference_of_correlations_agrees_with_its_test(self, apart):
        line = Score("r", "r", lambda t: t["a"], scale="fisher")
        zero = np.zeros(9, dtype=np.int64)
        noise = np.random.default_rng(8).normal(0, 0.01, (2, 9))
        one, other = (
            Jackknife(line, r, r + e, NONE, NONE, zero)
            for r, e in zip((0.6 + apart, 0.6), noise, strict=True)
        )
        found = gap(one, other, n=9, clusters=9)
        assert (found.estimate.low <= 0 <= found.estimate.high) == (found.p >= 0.05)
        assert "Fisher" in found.estimate.method
