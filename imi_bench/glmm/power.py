"""How many networks, units and answers it takes to see a slope of a given size.

The two-stage test compares network estimates, so its power follows from their variance::

    var(network) = tau^2 + unit_sd^2 / units + participant_sd^2 / participants
                   + 1 / (answers * information)

with `answers` those of one network, and the information of one answer E[p (1 - p)] over the
spread of units and participants. Networks far along the line, or far from it, are easier or harder
and so tell less or more: what counts is the mean variance over networks, weighted by the squared
distance from the middle as in a slope's sandwich variance. Slope over standard error is then
noncentral t with networks minus two degrees of freedom, given the networks' sum of squares; where
they are a sample, this is (networks - 1) spread^2 times a chi-squared over its degrees of freedom,
and the power is the mean over that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.polynomial import hermite_e, legendre
from scipy import optimize, special, stats

from imi_bench.arguments import checked, checked_fields
from imi_bench.arrays import Floats
from imi_bench.errors import InputError
from imi_bench.plots import BLUE, new_axes
from imi_bench.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@checked_fields
@dataclass(frozen=True)
class Plan:
    """A study to be.

    Attributes
    ----------
    networks : int
    units : int
        Of each network.
    answers_per_unit : int
        By as many different people.
    answers_per_participant : int
        Main trials of one person, all on one network.
    spread : float
        Standard deviation of the scale covariate over the networks (dividing by their number
        less one); 0.38 is that of log10 parameters over the paper's nine.
    mean : float
        Proportion correct of a typical network, for a typical unit and person.
    unit_sd, participant_sd, network_sd : float
        Standard deviations in log-odds.
    chosen : bool
        The networks at hand have exactly this spread; otherwise they are a sample of a normal
        population that has it, and few networks may by chance lie close together.

    Raises
    ------
    InputError
        Fewer than three networks, a count below one, a mean outside (0, 1), a negative deviation.
    """

    networks: int = 9
    units: int = 84
    answers_per_unit: int = 30
    answers_per_participant: int = 40
    spread: float = 0.38
    mean: float = 0.83
    unit_sd: float = 0.9
    participant_sd: float = 0.4
    network_sd: float = 0.2
    chosen: bool = False

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

    def network_variance(self, slope: float = 0.0) -> float:
        """Variance of one network's estimate around the line, in squared log-odds.

        Parameters
        ----------
        slope : float
            True slope: it makes networks easier and harder, which changes what an answer tells.
        """
        total = self.units * self.answers_per_unit
        people = self.participants / self.networks
        within = math.hypot(self.unit_sd, self.participant_sd)
        nodes, weights = hermite_e.hermegauss(24)
        weights = weights / weights.sum()
        along, off = np.meshgrid(nodes, nodes, indexing="ij")
        level = special.logit(self.mean) + slope * self.spread * along + self.network_sd * off
        chance = special.expit(level[..., None] + within * nodes)
        information = (chance * (1 - chance)) @ weights
        # A normal's squared distance has mean one: weights of the slope's sandwich variance.
        share = np.outer(weights * nodes**2, weights)
        with np.errstate(divide="ignore"):  # no information at all: an infinite variance
            binomial = float((share / information).sum()) / total
        return (
            self.network_sd**2
            + self.unit_sd**2 / self.units
            + self.participant_sd**2 / people
            + binomial
        )

    def slope_se(self, slope: float = 0.0) -> float:
        """Standard error of the slope, where the networks have exactly the plan's spread."""
        return math.sqrt(self.network_variance(slope) / (self.networks - 1)) / self.spread


@dataclass(frozen=True, repr=False)
class Power(Result):
    """What a study can see.

    Attributes
    ----------
    plan : Plan
    slope : float
        In log-odds for one unit of the covariate.
    alpha : float
        Level of the two-sided test.
    power : float
        Probability that the test finds the slope.
    se : float
        Standard error of the slope, for networks of exactly the plan's spread.
    equivalence : float
        Probability that two one-sided tests bound the slope by `slope` when the true
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

    @classmethod
    def _as_fields(cls, found: Mapping[str, Any]) -> dict[str, Any]:
        flat = {one.name: found[one.name] for one in fields(Plan)}
        return {**found, "plan": flat, "equivalence": found["equivalence_power"]}

    @property
    def title(self) -> str:
        """What this is, in one line."""
        kind = " of exactly that spread" if self.plan.chosen else ", themselves a sample"
        return f"Power of the two-stage t between networks{kind}"

    def to_frame(self) -> pd.DataFrame:
        """One row for each quantity."""
        import pandas as pd

        return pd.DataFrame(self._rows(), columns=["quantity", "value"])

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the power to see a slope, and to show that it is smaller, by its size."""
        ax = new_axes(ax)
        slopes = np.linspace(0.0, 2.0 * (abs(self.slope) or 1.0), 41)
        found = [power(self.plan, slope=float(one), alpha=self.alpha) for one in slopes]
        ax.plot(slopes, [one.power for one in found], color=BLUE, label="to see it")
        ax.plot(slopes, [one.equivalence for one in found], color="0.6", label="to bound it")
        ax.plot([abs(self.slope)], [self.power], "o", color=BLUE)
        ax.set(xlabel="slope in log-odds", ylabel="power", ylim=(0, 1.02), title=self.title)
        ax.legend(frameon=False)
        return ax

    def _rows(self) -> list[tuple[str, str]]:
        plan = self.plan
        return [
            (
                "study",
                f"{plan.networks} networks x {plan.units} units x {plan.answers_per_unit} answers"
                f" = {plan.answers:,} answers by {plan.participants:,} people",
            ),
            ("standard error of the slope", f"{self.se:.3f} log-odds"),
            (f"power to see a slope of {self.slope:g}", f"{self.power:.1%} (alpha {self.alpha:g})"),
            (
                f"power to show that it is below {self.slope:g}",
                f"{self.equivalence:.1%} (none true)",
            ),
        ]


@dataclass(frozen=True, repr=False)
class Sizing(Result):
    """What a study can see, and what it would take to see more.

    Attributes
    ----------
    found : Power
    wanted : float
        Power to reach.
    smallest_slope : float or None
        Seen with the wanted power, in log-odds for one unit of the covariate; None where none is.
    needed_networks, needed_units : int or None
        Networks, or units of each network, for the wanted power, the rest equal; None where no
        number suffices.
    """

    found: Power
    wanted: float
    smallest_slope: float | None
    needed_networks: int | None
    needed_units: int | None

    @property
    def title(self) -> str:
        """What this is, in one line."""
        return self.found.title

    def to_json(self) -> dict[str, Any]:
        """JSON object: that of the power, and what it would take."""
        more = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "found"}
        return {**self.found.to_json(), **more}

    @classmethod
    def _as_fields(cls, found: Mapping[str, Any]) -> dict[str, Any]:
        return {**found, "found": found}

    def to_frame(self) -> pd.DataFrame:
        """One row for each quantity."""
        import pandas as pd

        none, wanted = "no number suffices", f"{self.wanted:.0%}"
        least = "none is" if self.smallest_slope is None else f"{self.smallest_slope:.3f}"
        rows = [
            *self.found._rows(),
            (f"smallest slope seen with {wanted}", least),
            (f"networks for {wanted}, the rest equal", str(self.needed_networks or none)),
            (f"units of each network for {wanted}", str(self.needed_units or none)),
        ]
        return pd.DataFrame(rows, columns=["quantity", "value"])

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the power by the slope; dashed: the wanted power, and the slope seen with it."""
        ax = self.found.plot(ax=ax)
        ax.axhline(self.wanted, color="0.3", linestyle="--", linewidth=0.8)
        if self.smallest_slope is not None:
            ax.axvline(self.smallest_slope, color="0.3", linestyle="--", linewidth=0.8)
        return ax


@checked
def size_study(plan: Plan, *, slope: float, wanted: float = 0.8, alpha: float = 0.05) -> Sizing:
    """Say whether a study sees a slope, and how many networks or units it would take.

    Parameters
    ----------
    plan : Plan
    slope : float
        In log-odds for one unit of the covariate, such as tenfold parameters.
    wanted : float
        Power to reach.
    alpha : float
        Level of the two-sided test.

    Raises
    ------
    InputError
        A level or a power that cannot be.

    Examples
    --------
    >>> size_study(Plan(), slope=0.3).needed_networks > 9
    True
    """
    return Sizing(
        power(plan, slope=slope, alpha=alpha),
        wanted,
        smallest_slope(plan, wanted=wanted, alpha=alpha),
        needed_networks(plan, slope=slope, wanted=wanted, alpha=alpha),
        needed_units(plan, slope=slope, wanted=wanted, alpha=alpha),
    )


def power(plan: Plan, *, slope: float, alpha: float = 0.05) -> Power:
    """Compute the probability to see a slope, and to show that there is none so large.

    Parameters
    ----------
    plan : Plan
    slope : float
        In log-odds for one unit of the covariate, such as tenfold parameters.
    alpha : float

    Examples
    --------
    >>> round(power(Plan(networks=9), slope=0.0).power, 3)
    0.05
    >>> power(Plan(networks=30), slope=0.3).power > power(Plan(networks=9), slope=0.3).power
    True
    """
    if not 0 < alpha < 0.5:
        raise InputError("no such level", found=alpha, wanted="between 0 and 0.5")
    df = plan.networks - 2
    shares, spreads = np.ones(1), np.ones(1)
    if not plan.chosen:
        shares, spreads = _deviations(plan.networks - 1)
    weights, noise = _deviations(df)
    noise, both = noise[:, None], np.outer(weights, shares)
    se = plan.slope_se(slope)
    shift = abs(slope) / se * spreads
    two_sided = float(stats.t.ppf(1 - alpha / 2, df)) * noise
    seen = special.ndtr(shift - two_sided) + special.ndtr(-shift - two_sided)
    none = abs(slope) / plan.slope_se() * spreads
    room = none - float(stats.t.ppf(1 - alpha, df)) * noise
    bounded = np.where(room > 0, 2 * special.ndtr(room) - 1, 0.0)
    return Power(plan, slope, alpha, float((both * seen).sum()), se, float((both * bounded).sum()))


@lru_cache(maxsize=256)
def _deviations(df: int) -> tuple[Floats, Floats]:
    """Weights and values of an estimated over the true standard deviation: Gauss-Legendre."""
    nodes, weights = legendre.leggauss(100)
    return weights / 2, np.sqrt(stats.chi2.ppf((nodes + 1) / 2, df) / df)


def smallest_slope(plan: Plan, *, wanted: float = 0.8, alpha: float = 0.05) -> float | None:
    """Find the smallest slope that the study sees with the wanted power.

    None where there is none: where slopes are steep, networks are so easy or so hard that answers
    tell little.
    """
    _check_wanted(wanted, alpha)

    def gap(slope: float) -> float:
        return power(plan, slope=slope, alpha=alpha).power - wanted

    high = plan.slope_se()
    while gap(high) < 0:
        high *= 2
        if high > 1024 * plan.slope_se():
            return None
    return float(optimize.brentq(gap, 0.0, high))


def needed_networks(
    plan: Plan, *, slope: float, wanted: float = 0.8, alpha: float = 0.05, most: int = 10_000
) -> int | None:
    """Count the networks it takes, other things equal; None where `most` are not enough."""
    return _needed(plan, "networks", 3, most, slope=slope, wanted=wanted, alpha=alpha)


def needed_units(
    plan: Plan, *, slope: float, wanted: float = 0.8, alpha: float = 0.05, most: int = 100_000
) -> int | None:
    """Count the units of each network it takes; None where no number of units is enough."""
    return _needed(plan, "units", 1, most, slope=slope, wanted=wanted, alpha=alpha)


def _check_wanted(wanted: float, alpha: float) -> None:
    if not alpha < wanted < 1:
        raise InputError("no such power", found=wanted, wanted=f"between {alpha} and 1")


def _needed(
    plan: Plan, what: str, low: int, high: int, *, slope: float, wanted: float, alpha: float
) -> int | None:
    """Find the least of a count from `low` to `high` that gives the power; None for none."""
    _check_wanted(wanted, alpha)

    def reached(count: int) -> bool:
        study = replace(plan, **{what: count})  # type: ignore[arg-type]
        return power(study, slope=slope, alpha=alpha).power >= wanted

    if not reached(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle + 1, high)
    return low
