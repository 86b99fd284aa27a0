"""The true values of a simulated study, in the terms of the analysis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imi_bench.documents import read_json
from imi_bench.effects.table import HARDER
from imi_bench.errors import InputError
from imi_bench.release.published import Condition
from imi_bench.simulation.study import Truth

__all__ = ["TrueEffects", "read_truth", "true_effects"]


@dataclass(frozen=True)
class TrueEffects:
    """Coefficients behind simulated answers, in log-odds.

    A property's true slope is that of least squares through these. The simulated people also
    guess on a share of trials (lapse), which draws what any logistic model can find a little
    towards zero.

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


def true_effects(truth: Truth) -> TrueEffects:
    """Translate what a simulation knows."""
    return _translated(dict(truth.intercepts), depth=truth.parameters.depth_effect)


def read_truth(path: Path) -> TrueEffects:
    """Read the ``.truth.json`` that lies beside a simulated table.

    Raises
    ------
    InputError
        If it is not such a file.
    """
    try:
        record: dict[str, Any] = read_json(path)
        study = record["parameters"].get("study", record["parameters"])
        logits = {
            Condition(one["network"], one["mode"], one["difficulty"]): float(one["logit"])
            for one in record["intercepts"]
        }
        return _translated(logits, depth=float(study["depth_effect"]))
    except (LookupError, ArithmeticError, ValueError, TypeError, AttributeError) as error:
        raise InputError("not a simulation's truth", where=path, found=error) from error


def _translated(logits: Mapping[Condition, float], *, depth: float) -> TrueEffects:
    easy = {c: logit for c, logit in logits.items() if c.difficulty == "easy"}
    natural = {c.network: logit for c, logit in easy.items() if c.mode == "natural"}
    synthetic = {
        c.network: logit - natural[c.network]
        for c, logit in easy.items()
        if c.mode == "synthetic" and c.network in natural
    }
    common: dict[str, float] = {}
    by_network: dict[str, Mapping[str, float]] = {
        "(Intercept)": natural,
        "synthetic": synthetic,
        "depth": dict.fromkeys(natural, depth),
    }
    for hard in HARDER:
        gaps: dict[str, dict[str, float]] = {"natural": {}, "synthetic": {}}
        for c, logit in logits.items():
            if c.difficulty == hard and Condition(c.network, c.mode) in logits:
                gaps[c.mode][c.network] = logit - logits[Condition(c.network, c.mode)]
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
