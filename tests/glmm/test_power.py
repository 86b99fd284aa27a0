"""Power: exact level, statsmodels-free references, what is monotone, the command line."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from imi_bench.cli.app import app
from imi_bench.errors import InputError
from imi_bench.glmm.power import Plan, needed_networks, needed_units, power, smallest_slope


def test_without_an_effect_power_is_the_level() -> None:
    assert power(Plan(), slope=0.0, alpha=0.05).power == pytest.approx(0.05, abs=2e-4)


@pytest.mark.parametrize(("networks", "slope"), [(9, 0.4), (15, 0.3), (40, 0.2)])
def test_power_is_that_of_the_noncentral_t(networks: int, slope: float) -> None:
    plan = Plan(networks=networks, chosen=True)
    edge = stats.t.ppf(0.975, networks - 2)
    shift = slope / plan.slope_se(slope)
    wanted = stats.nct.sf(edge, networks - 2, shift) + stats.nct.cdf(-edge, networks - 2, shift)
    assert power(plan, slope=slope).power == pytest.approx(wanted, abs=1e-3)


def test_the_variance_by_hand() -> None:
    """No spread of units or people: a network's estimate is a logit of a proportion."""
    plan = Plan(
        units=10, answers_per_unit=20, mean=0.8, unit_sd=0, participant_sd=0, network_sd=0.0
    )
    assert plan.network_variance() == pytest.approx(1 / (200 * 0.8 * 0.2))
    assert plan.slope_se() == pytest.approx(np.sqrt(plan.network_variance() / 8) / 0.38)
    assert (plan.answers, plan.participants) == (1800, 45)


def test_steep_slopes_cost_information() -> None:
    """1 / (p (1 - p)) = 2 + 2 cosh(eta); E[z^2 cosh(m + s z)] = (1 + s^2) e^(s^2 / 2) cosh m."""
    plan = Plan(
        units=10, answers_per_unit=20, mean=0.8, unit_sd=0, participant_sd=0, network_sd=0.3
    )
    slope, m = 1.5, np.log(4)
    s2, t2 = (slope * plan.spread) ** 2, 0.3**2
    wanted = 2 + 2 * np.cosh(m) * (1 + s2) * np.exp((s2 + t2) / 2)
    assert plan.network_variance(slope) == pytest.approx(0.09 + wanted / 200)


@pytest.mark.parametrize("chosen", [True, False])
@pytest.mark.parametrize("networks", [5, 20])
def test_a_simulated_regression_has_that_power(networks: int, chosen: bool) -> None:
    plan = Plan(networks=networks, chosen=chosen)
    slope = 3.0 / np.sqrt(networks - 1)
    rng = np.random.default_rng(networks)
    n, studies = networks, 20_000
    x = rng.normal(0, plan.spread, (studies, n))
    x = x - x.mean(axis=1, keepdims=True)
    if chosen:
        x *= plan.spread / x.std(axis=1, ddof=1, keepdims=True)
    y = slope * x + rng.normal(0, plan.network_variance(slope) ** 0.5, (studies, n))
    y = y - y.mean(axis=1, keepdims=True)
    r2 = (x * y).sum(axis=1) ** 2 / ((x**2).sum(axis=1) * (y**2).sum(axis=1))
    hits = int((stats.f.sf(r2 / (1 - r2) * (n - 2), 1, n - 2) < 0.05).sum())
    wanted = power(plan, slope=slope).power
    assert abs(hits / studies - wanted) < 4 * np.sqrt(wanted * (1 - wanted) / studies)


def test_a_sample_of_networks_sees_less_than_chosen_ones() -> None:
    for networks, slope in ((5, 1.0), (20, 0.4)):
        drawn, chosen = (
            power(Plan(networks=networks, chosen=one), slope=slope).power for one in (False, True)
        )
        assert drawn < chosen


def test_three_networks_may_see_no_slope_at_all() -> None:
    assert smallest_slope(Plan(networks=3), wanted=0.95) is None


def test_needed_sizes_are_the_smallest() -> None:
    plan = Plan(network_sd=0.1)
    count = needed_networks(plan, slope=0.3)
    assert count is not None
    assert power(replace(plan, networks=count), slope=0.3).power >= 0.8
    assert power(replace(plan, networks=count - 1), slope=0.3).power < 0.8
    assert needed_units(plan, slope=0.01) is None
    found = smallest_slope(plan)
    assert found is not None
    assert power(plan, slope=found).power == pytest.approx(0.8, abs=1e-6)


def test_no_such_study() -> None:
    with pytest.raises(InputError, match="2 networks"):
        Plan(networks=2)
    with pytest.raises(InputError, match="level"):
        power(Plan(), slope=1.0, alpha=0.9)


def test_the_command_line() -> None:
    result = CliRunner().invoke(app, ["power", "--slope", "0.3", "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["power"] == pytest.approx(power(Plan(), slope=0.3).power)
    assert found["needed_networks"] == needed_networks(Plan(), slope=0.3)
    assert CliRunner().invoke(app, ["power", "--slope", "0.3"]).exit_code == 0
