"""Derivatives by differences."""

from __future__ import annotations

import numpy as np

from imi_bench.arrays import Floats
from imi_bench.glmm.optimise import Objective


def differences(
    objective: Objective, parameters: Floats, modes: Floats, step: float = 1e-5
) -> Floats:
    """The gradient of an objective by central differences."""
    values = []
    for move in step * np.eye(len(parameters)):
        above = objective.evaluate(parameters + move, modes).value
        below = objective.evaluate(parameters - move, modes).value
        values.append((above - below) / (2 * step))
    return np.array(values)
