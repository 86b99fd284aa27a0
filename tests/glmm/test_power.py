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
    plan = Plan(networks=networks)
    edge = stats.t.ppf(0.975, networks - 2)
    shift = slope / plan.slope_se
    wanted = stats.nct.sf(edge, networks - 2, shift) + stats.nct.cdf(-edge, networks - 2, shift)
    assert power(plan, slope=slope).power == pytest.approx(wanted, abs=1e-3)


def test_the_variance_by_hand() -> None:
    """No spread of units or people: a network's estimate is a logit of a proportion."""
    plan = Plan(
        units=10, answers_per_unit=20, mean=0.8, unit_sd=0, participant_sd=0, network_sd=0.1
    )
    assert plan.network_variance == pytest.approx(0.01 + 1 / (200 * 0.8 * 0.2))
    assert plan.slope_se == pytest.approx(np.sqrt(plan.network_variance / 9) / 0.36)
    assert (plan.answers, plan.participants) == (1800, 45)


def test_a_simulated_regression_has_that_power() -> None:
    plan, slope = Plan(networks=9), 0.6
    rng = np.random.default_rng(0)
    x = rng.normal(size=9)
    x = (x - x.mean()) / x.std() * plan.spread
    hits = sum(
        stats.linregress(x, slope * x + rng.normal(0, plan.network_variance**0.5, 9)).pvalue < 0.05
        for _ in range(1500)
    )
    wanted = power(plan, slope=slope).power
    assert abs(hits / 1500 - wanted) < 4 * np.sqrt(wanted * (1 - wanted) / 1500)


def test_needed_sizes_are_the_smallest() -> None:
    plan = Plan(network_sd=0.1)
    count = needed_networks(plan, slope=0.3)
    assert count is not None
    assert power(replace(plan, networks=count), slope=0.3).power >= 0.8
    assert power(replace(plan, networks=count - 1), slope=0.3).power < 0.8
    assert needed_units(plan, slope=0.01) is None
    found = smallest_slope(plan)
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
