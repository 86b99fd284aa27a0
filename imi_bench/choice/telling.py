"""What a maximum of the likelihood is told as: estimates with intervals, or why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from imi_bench.arrays import Floats
from imi_bench.choice.maximise import LAPSE_MAX
from imi_bench.choice.psychometric import PsychometricFit, State
from imi_bench.choice.scoring import Maximum
from imi_bench.stats.estimate import Estimate

_WHY: dict[State, str] = {
    "interior": "at the end of its range",
    "lapse at 0": "the likelihood is highest at lapse 0, the end of its range",
    "lapse at least": "the likelihood is highest at the least lapse allowed",
    "lapse at maximum": f"the likelihood is highest at the largest lapse allowed, {LAPSE_MAX}",
    "separated": "evidence separates the choices: the likelihood rises with the slope without end",
    "weak": "held at its least: choices do not move with the evidence, any lapse fits alike",
    "one size": "held at its least: evidence of one size cannot tell slope from lapse",
    "flat": "all evidence is zero",
    "unidentified": "slope, bias and lapse cannot be told apart on these data",
}


@dataclass(frozen=True)
class _Wald:
    """Makes intervals from standard errors."""

    quantile: float
    facts: dict[str, Any]
    why: str

    def real(self, value: float, error: float, *, unit: str) -> Estimate:
        if math.isnan(error):
            return Estimate(value, reason=self.why, unit=unit, **self.facts)
        half = self.quantile * error
        return Estimate(value, value - half, value + half, unit=unit, **self.facts)

    def share(self, value: float, error: float) -> Estimate:
        if math.isnan(error):
            return Estimate(value, reason=self.why, **self.facts)
        half = self.quantile * error / (value * (1 - value))
        low, high = special.expit(special.logit(value) + np.array([-half, half])).tolist()
        facts = {**self.facts, "method": self.facts["method"] + ", logit scale"}
        return Estimate(value, low, high, **facts)

    def held(self, value: float, *, why: str, unit: str) -> Estimate:
        return Estimate(value, reason=why, unit=unit, **{**self.facts, "method": "held"})


def told(
    best: Maximum,
    covariance: Floats,
    *,
    groups: list[str],
    bias: bool,
    lapse_free: bool,
    link: str,
    state: State,
    n: int,
    clusters: int,
    level: float,
    robust: bool,
) -> PsychometricFit:
    """The fit, with Wald intervals of what is free.

    Parameters
    ----------
    best : Maximum
    covariance : (q + 1, q + 1) float64
        NaN for what has no interval.
    groups : list of str
        Names of the slopes.
    bias, lapse_free : bool
        Whether there is a bias, and whether the lapse was free.
    link, state : str
    n, clusters : int
    level : float
    robust : bool
        The covariance is cluster-robust.
    """
    method = "Wald, cluster-robust" if robust else "Wald, observed information"
    facts = {"level": level, "n": n, "clusters": clusters, "method": method}
    quantile = special.stdtrit(max(clusters - 1, 1), (1 + level) / 2)
    wald = _Wald(float(quantile), facts, _WHY[state])
    theta, errors = best.theta.tolist(), np.sqrt(np.diag(covariance)).tolist()
    slopes = {
        name: wald.real(theta[row], errors[row], unit=f"{link}/evidence")
        for row, name in enumerate(groups)
    }
    held_lapse = _WHY[state] if state in ("weak", "one size", "flat") else "held by the caller"
    keep = [*range(len(groups) + bias), *([len(theta) - 1] if lapse_free else [])]
    names = (
        [f"slope[{name}]" for name in groups]
        + (["bias"] if bias else [])
        + (["lapse"] if lapse_free else [])
    )
    return PsychometricFit(
        link=link,
        slopes=slopes,
        bias=wald.real(theta[-2], errors[-2], unit=link)
        if bias
        else wald.held(0.0, why="held at 0", unit=link),
        lapse=wald.share(theta[-1], errors[-1])
        if lapse_free
        else wald.held(theta[-1], why=held_lapse, unit="proportion"),
        log_likelihood=best.value,
        n=n,
        clusters=clusters,
        state=state,
        covariance=covariance[np.ix_(keep, keep)],
        names=tuple(names),
    )
