"""The true values of a simulated study, in the terms of the analysis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, logit

from imi_bench.arrays import Floats
from imi_bench.documents import read_json, reading
from imi_bench.effects.table import HARDER
from imi_bench.release.published import Condition
from imi_bench.simulation.parameters import SimulationParameters
from imi_bench.simulation.study import Truth


@dataclass(frozen=True)
class TrueEffects:
    """Coefficients behind simulated answers, in log-odds.

    A property's true slope is that of least squares through these. The simulated people also
    guess on a share of trials, and trials of a unit differ: a model that counts neither can only
    find what they leave of the log-odds, `guessing`.

    Attributes
    ----------
    by_network : mapping of str to mapping of str to float
        For each coefficient that differs between networks (``(Intercept)``,
        ``synthetic``, ``depth``, ``hard95`` …), its value in each network.
    common : mapping of str to float
        Of those that a study may have too few networks for (``hard95`` …, on natural
        exemplars; ``synthetic_hard95`` …, what synthetic ones add), the mean over networks.
    """

    by_network: Mapping[str, Mapping[str, float]]
    common: Mapping[str, float]
    guessing: TrueEffects | None = None

    def found_with(self, *, lapse: bool) -> TrueEffects:
        """Those that a model of correct and wrong answers looks for.

        Parameters
        ----------
        lapse : bool
            Whether the model counts guesses.
        """
        return self if lapse or self.guessing is None else self.guessing


def true_effects(truth: Truth) -> TrueEffects:
    """Translate what a simulation knows."""
    return _both(truth.intercepts, truth.parameters)


def read_truth(path: Path) -> TrueEffects:
    """Read the ``.truth.json`` that lies beside a simulated table.

    Raises
    ------
    InputError
        If it is not such a file.
    """
    record: dict[str, Any] = read_json(path)
    with reading("simulation's truth", where=path):
        study = record["parameters"].get("study", record["parameters"])
        logits = {
            Condition(one["network"], one["mode"], one["difficulty"]): float(one["logit"])
            for one in record["intercepts"]
        }
        return _both(logits, SimulationParameters.from_json(study))


def _both(logits: Mapping[Condition, float], own: SimulationParameters) -> TrueEffects:
    plain = _translated(logits, depth=dict.fromkeys(_natural(logits), own.depth_effect))
    ends = {
        network: with_guesses(level + 0.5 * own.depth_effect, own, "natural")
        - with_guesses(level - 0.5 * own.depth_effect, own, "natural")
        for network, level in _natural(logits).items()
    }
    seen = {c: with_guesses(level, own, c.mode) for c, level in logits.items()}
    return TrueEffects(plain.by_network, plain.common, _translated(seen, depth=ends))


def with_guesses(level: float, own: SimulationParameters, mode: str) -> float:
    """Mean over units and people of the log-odds that guesses, sides and trials leave.

    Gauss-Hermite quadrature, 31 nodes each.

    Examples
    --------
    >>> plain = SimulationParameters(lapse=0.0, trial_sd=0.0, side_bias=0.0)
    >>> round(with_guesses(2.0, plain, "natural"), 6)
    2.0
    >>> round(with_guesses(2.0, SimulationParameters(lapse=0.1), "natural"), 2)
    1.57
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(31)
    weights = weights / weights.sum()
    of_unit = own.spread(mode) * np.hypot(own.unit_sd, own.unit_condition_sd)
    eta: Floats = level + np.hypot(of_unit, own.participant_sd) * nodes
    sides = own.side_bias * np.array([1.0, -1.0])
    within = expit(eta[:, None, None] + sides[:, None] + own.trial_sd * nodes)
    p = own.lapse / 2 + (1 - own.lapse) * (within @ weights).mean(axis=1)
    return float(weights @ logit(np.clip(p, 1e-12, 1 - 1e-12)))


def _natural(logits: Mapping[Condition, float]) -> dict[str, float]:
    return {
        c.network: level
        for c, level in logits.items()
        if c.difficulty == "easy" and c.mode == "natural"
    }


def _translated(logits: Mapping[Condition, float], *, depth: Mapping[str, float]) -> TrueEffects:
    natural = _natural(logits)
    synthetic = {
        c.network: level - natural[c.network]
        for c, level in logits.items()
        if c.difficulty == "easy" and c.mode == "synthetic" and c.network in natural
    }
    common: dict[str, float] = {}
    by_network: dict[str, Mapping[str, float]] = {
        "(Intercept)": natural,
        "synthetic": synthetic,
        "depth": depth,
    }
    for hard in HARDER:
        gaps: dict[str, dict[str, float]] = {"natural": {}, "synthetic": {}}
        for c, level in logits.items():
            if c.difficulty == hard and Condition(c.network, c.mode) in logits:
                gaps[c.mode][c.network] = level - logits[Condition(c.network, c.mode)]
        by_network[hard] = gaps["natural"] or gaps["synthetic"]
        more = [
            gaps["synthetic"][n] - gap
            for n, gap in gaps["natural"].items()
            if n in gaps["synthetic"]
        ]
        if by_network[hard]:
            common[hard] = float(np.mean(list(by_network[hard].values())))
        if more:
            common[f"synthetic_{hard}"] = float(np.mean(more))
    return TrueEffects(by_network, common)
