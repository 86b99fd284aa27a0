"""How many networks, units and answers it takes to see a slope of a given size.

The two-stage test compares network estimates, so its power follows from their variance::

    var(network) = tau^2 + unit_sd^2 / units + participant_sd^2 / participants
                   + 1 / (answers * information)

with `answers` those of one network, and the information of one answer E[p (1 - p)] over the
spread of units and participants. Slope over standard error is then noncentral t with networks
minus two degrees of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.polynomial import hermite_e
from numpy.typing import NDArray
from scipy import optimize, special, stats

from imi_bench.errors import InputError
from imi_bench.results import Brief

__all__ = ["Plan", "Power", "needed_networks", "needed_units", "power", "smallest_slope"]


@dataclass(frozen=True)
class Plan:
    """A study to be.

    Attributes
    ----------
    networks : how many.
    units : of each network.
    answers_per_unit : by as many different people.
    answers_per_participant : main trials of one person, all on one network.
    spread : standard deviation of the scale covariate over the networks; 0.36 is that of log10
        parameters over the paper's nine (dividing by their number).
    mean : proportion correct of a typical network, for a typical unit and person.
    unit_sd, participant_sd, network_sd : standard deviations in log-odds.

    Raises
    ------
    InputError
        Fewer than three networks, a count below one, a mean outside (0, 1), a negative deviation.
    """

    networks: int = 9
    units: int = 84
    answers_per_unit: int = 30
    answers_per_participant: int = 40
    spread: float = 0.36
    mean: float = 0.83
    unit_sd: float = 0.9
    participant_sd: float = 0.4
    network_sd: float = 0.2

    def __post_init__(self) -> None:
        counts = (self.units, self.answers_per_unit, self.answers_per_participant)
        if self.networks < 3 or min(counts) < 1:
            raise InputError(
                "no such study",
                found=f"{self.networks} networks, {self.units} units, "
                f"{self.answers_per_unit} answers a unit, "
                f"{self.answers_per_participant} answers a person",
                wanted="at least 3 networks and 1 of the rest",
            )
        deviations = (self.unit_sd, self.participant_sd, self.network_sd)
        if not 0 < self.mean < 1 or min(deviations) < 0 or not self.spread > 0:
            raise InputError(
                "no such study",
                found=asdict(self),
                wanted="mean in (0, 1), deviations >= 0, spread > 0",
            )

    @property
    def answers(self) -> int:
        """Answers in all."""
        return self.networks * self.units * self.answers_per_unit

    @property
    def participants(self) -> int:
        """People in all."""
        of_network = math.ceil(self.units * self.answers_per_unit / self.answers_per_participant)
        return self.networks * of_network

    @property
    def network_variance(self) -> float:
        """Variance of one network's estimate around the line, in squared log-odds."""
        total = self.units * self.answers_per_unit
        people = self.participants / self.networks
        sd = math.hypot(self.unit_sd, self.participant_sd)
        nodes, weights = hermite_e.hermegauss(40)
        chance = special.expit(special.logit(self.mean) + sd * nodes)
        information = float(weights @ (chance * (1 - chance)) / weights.sum())
        return (
            self.network_sd**2
            + self.unit_sd**2 / self.units
            + self.participant_sd**2 / people
            + 1.0 / (total * information)
        )

    @property
    def slope_se(self) -> float:
        """Standard error of the slope."""
        return math.sqrt(self.network_variance / self.networks) / self.spread


@dataclass(frozen=True, repr=False)
class Power(Brief):
    """What a study can see.

    Attributes
    ----------
    plan : the study.
    slope : in log-odds for one unit of the covariate.
    alpha : level of the two-sided test.
    power : probability that the test finds the slope.
    se : standard error of the slope.
    equivalence : probability that two one-sided tests bound the slope by `slope` when the true
        one is zero.
    """

    plan: Plan
    slope: float
    alpha: float
    power: float
    se: float
    equivalence: float

    def to_json(self) -> dict[str, Any]:
        """JSON object."""
        return {
            **asdict(self.plan),
            "answers": self.plan.answers,
            "participants": self.plan.participants,
            "slope": self.slope,
            "alpha": self.alpha,
            "se": self.se,
            "power": self.power,
            "equivalence_power": self.equivalence,
        }


def power(plan: Plan, *, slope: float, alpha: float = 0.05) -> Power:
    """Compute the probability to see a slope, and to show that there is none so large.

    Parameters
    ----------
    plan : the study.
    slope : in log-odds for one unit of the covariate, such as tenfold parameters.
    alpha : level.

    Examples
    --------
    >>> round(power(Plan(networks=9), slope=0.0).power, 3)
    0.05
    >>> power(Plan(networks=30), slope=0.3).power > power(Plan(networks=9), slope=0.3).power
    True
    """
    if not 0 < alpha < 0.5:
        raise InputError("no such level", found=alpha, wanted="between 0 and 0.5")
    df, shift = plan.networks - 2, abs(slope) / plan.slope_se
    two_sided = float(stats.t.ppf(1 - alpha / 2, df)) * _deviations(df)
    seen = special.ndtr(shift - two_sided) + special.ndtr(-shift - two_sided)
    room = shift - float(stats.t.ppf(1 - alpha, df)) * _deviations(df)
    bounded = np.where(room > 0, 2 * special.ndtr(room) - 1, 0.0)
    return Power(plan, slope, alpha, float(seen.mean()), plan.slope_se, float(bounded.mean()))


def _deviations(df: int) -> NDArray[np.float64]:
    """Equally likely values of the estimated over the true standard deviation."""
    chances = (np.arange(4000) + 0.5) / 4000
    ratios: NDArray[np.float64] = np.sqrt(stats.chi2.ppf(chances, df) / df)
    return ratios


def smallest_slope(plan: Plan, *, wanted: float = 0.8, alpha: float = 0.05) -> float:
    """Find the smallest slope that the study sees with the wanted power."""
    _check_wanted(wanted, alpha)

    def gap(slope: float) -> float:
        return power(plan, slope=slope, alpha=alpha).power - wanted

    return float(optimize.brentq(gap, 0.0, 40.0 * plan.slope_se))


def needed_networks(
    plan: Plan, *, slope: float, wanted: float = 0.8, alpha: float = 0.05, most: int = 10_000
) -> int | None:
    """Count the networks it takes, other things equal; None where `most` are not enough."""
    _check_wanted(wanted, alpha)

    def reached(count: int) -> bool:
        return power(replace(plan, networks=count), slope=slope, alpha=alpha).power >= wanted

    return _first(reached, low=3, high=most)


def needed_units(
    plan: Plan, *, slope: float, wanted: float = 0.8, alpha: float = 0.05, most: int = 100_000
) -> int | None:
    """Count the units of each network it takes; None where no number of units is enough."""
    _check_wanted(wanted, alpha)

    def reached(count: int) -> bool:
        return power(replace(plan, units=count), slope=slope, alpha=alpha).power >= wanted

    return _first(reached, low=1, high=most)


def _check_wanted(wanted: float, alpha: float) -> None:
    if not alpha < wanted < 1:
        raise InputError("no such power", found=wanted, wanted=f"between {alpha} and 1")


def _first(reached: Callable[[int], bool], *, low: int, high: int) -> int | None:
    if not reached(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle + 1, high)
    return low
