"""What a simulated study depends on, and the intercepts that give it the published means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from imi_bench.arguments import checked_fields
from imi_bench.documents import reading
from imi_bench.errors import InputError
from imi_bench.release.published import Condition, published
from imi_bench.vision.layer_names import paper_layers


@checked_fields
@dataclass(frozen=True)
class SimulationParameters:
    """Everything the simulated people and units depend on; effects on the logit scale.

    Attributes
    ----------
    conditions : tuple of Condition
        The experiments; the 23 of the paper by default.
    units, units_hard : int
        Units of a network, and how many of them the harder experiments show.
    participants, main_trials, batches : int
        Accepted participants an experiment, main trials of each, batches of a unit.
    match_published : bool
        Solve the intercept of each published condition so that its expected mean proportion
        correct is the published one; a harder condition then has its easy one's
        intercept times its difficulty factor. Otherwise intercepts are sums of the effects below.
    base, network_effects, synthetic_effect, depth_effect : float or mapping
        Fixed effects; `depth_effect` is the difference between the last and the first layer.
    difficulty_factors : mapping of str to float
        What a harder query leaves of the intercept; so hardness alone never crosses chance.
    unit_sd, unit_condition_sd, trial_sd, participant_sd : float
        Standard deviations of the random effects.
    synthetic_spread : float
        What synthetic exemplars leave of the units' effects, their own in a condition included.
        The default gives units the spread that the published intervals imply: 0.87 log-odds on
        natural exemplars, 0.61 on synthetic ones (root mean square over networks).
    lapse, side_bias : float
        Share of guesses; pull towards the query shown first.

    Raises
    ------
    InputError
        Counts below 1, more main trials than units, a negative deviation, a lapse outside [0, 1).
    """

    conditions: tuple[Condition, ...] = field(default_factory=lambda: published().conditions)
    units: int = 84
    units_hard: int = 80
    participants: int = 63
    main_trials: int = 40
    batches: int = 10
    match_published: bool = True
    base: float = 1.9
    network_effects: Mapping[str, float] = field(default_factory=dict)
    synthetic_effect: float = -1.2
    difficulty_factors: Mapping[str, float] = field(
        default_factory=lambda: {"easy": 1.0, "hard99": 0.8, "hard95": 0.6, "hard85": 0.4}
    )
    depth_effect: float = 0.3
    unit_sd: float = 0.8
    unit_condition_sd: float = 0.4
    trial_sd: float = 0.3
    participant_sd: float = 0.4
    synthetic_spread: float = 0.68
    lapse: float = 0.02
    side_bias: float = 0.05

    def __post_init__(self) -> None:
        counts = ("units", "units_hard", "participants", "main_trials", "batches")
        small = {name: getattr(self, name) for name in counts if getattr(self, name) < 1}
        if small or not self.conditions:
            raise InputError("nothing to simulate", found=small or "no condition", wanted=">= 1")
        if self.main_trials > min(self.units, self.units_hard) or self.units_hard > self.units:
            raise InputError(
                "too few units",
                found=f"{self.units} units, {self.units_hard} in harder experiments",
                wanted=f"main_trials ({self.main_trials}) <= units_hard <= units",
            )
        spreads = ("unit_sd", "unit_condition_sd", "trial_sd", "participant_sd", "synthetic_spread")
        if negative := [name for name in spreads if not getattr(self, name) >= 0]:
            raise InputError("negative standard deviation", where=", ".join(negative))
        if not 0 <= self.lapse < 1:
            raise InputError("lapse out of range", found=self.lapse, wanted="in [0, 1)")

    def spread(self, mode: str) -> float:
        """What exemplars of a mode leave of the units' effects."""
        return self.synthetic_spread if mode == "synthetic" else 1.0

    def random_sd(self, mode: str) -> float:
        """Standard deviation of all random effects together."""
        of_unit = self.spread(mode) * np.hypot(self.unit_sd, self.unit_condition_sd)
        return float(np.sqrt(of_unit**2 + self.trial_sd**2 + self.participant_sd**2))

    def units_in(self, condition: Condition) -> int:
        """How many units the experiment shows."""
        return self.units if condition.difficulty == "easy" else self.units_hard

    def to_json(self) -> dict[str, Any]:
        """JSON object of every parameter."""
        record = {name: getattr(self, name) for name in self.__dataclass_fields__}
        record["conditions"] = [asdict(condition) for condition in self.conditions]
        for name in ("network_effects", "difficulty_factors"):
            record[name] = dict(record[name])
        return record

    @classmethod
    @reading("set of parameters")
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; parameters that are left out keep their defaults.

        Raises
        ------
        InputError
            For a name that is no parameter, or a condition that is none; also as the constructor.
        """
        if unknown := set(record) - set(cls.__dataclass_fields__):
            raise InputError("unknown parameter", found=", ".join(sorted(unknown)))
        facts = dict(record)
        if "conditions" in facts:
            facts["conditions"] = tuple(Condition(**one) for one in facts["conditions"])
        return cls(**facts)


def expected_mean(
    intercept: float, parameters: SimulationParameters, *, network: str, mode: str = "natural"
) -> float:
    """Expected proportion correct over units, trials, participants, depth and sides.

    Gauss-Hermite quadrature over the summed normal effects (64 nodes), exact sums over layers
    and sides.

    Examples
    --------
    >>> plain = SimulationParameters(unit_sd=0, unit_condition_sd=0, trial_sd=0,
    ...     participant_sd=0, depth_effect=0, lapse=0, side_bias=0)
    >>> round(expected_mean(0.0, plain, network="resnet50"), 12)
    0.5
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    depth = np.linspace(0, 1, len(paper_layers(network)))
    eta = (
        intercept
        + parameters.depth_effect * (depth[:, None, None] - 0.5)
        + parameters.side_bias * np.array([1.0, -1.0])[:, None]
        + parameters.random_sd(mode) * nodes
    )
    mean = float((expit(eta) @ (weights / weights.sum())).mean())
    return parameters.lapse / 2 + (1 - parameters.lapse) * mean


def intercepts(parameters: SimulationParameters) -> dict[Condition, float]:
    """Logit intercept of each condition: solved for the published mean, or a sum of effects.

    Raises
    ------
    InputError
        If the lapse is so high that a published mean cannot be reached.
    """
    found: dict[Condition, float] = {}
    for condition in parameters.conditions:
        easy = Condition(condition.network, condition.mode)
        known = published().networks.get(condition.network)
        mean = published().mean(easy) if known and parameters.match_published else None
        if mean is not None:
            start = _solve(mean.value, parameters, easy)
        else:
            start = parameters.base + parameters.network_effects.get(condition.network, 0.0)
            start += parameters.synthetic_effect if condition.mode == "synthetic" else 0.0
        found[condition] = start * parameters.difficulty_factors[condition.difficulty]
    return found


def _solve(mean: float, parameters: SimulationParameters, condition: Condition) -> float:
    if not parameters.lapse / 2 < mean < 1 - parameters.lapse / 2:
        raise InputError(
            "this lapse cannot give the published mean",
            where=condition.network,
            found=f"lapse {parameters.lapse}, mean {mean}",
            wanted="mean below 1 - lapse / 2",
        )

    def gap(intercept: float) -> float:
        network, mode = condition.network, condition.mode
        return expected_mean(intercept, parameters, network=network, mode=mode) - mean

    return float(brentq(gap, -60, 60, xtol=1e-10))
