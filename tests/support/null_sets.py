"""Data sets with little or no variance between groups, the same as ``null_sets.R`` makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special, stats

BARS = (
    "(1|g)",
    "(0+x|g)",
    "(1+x|g)",
    "(1+x||g)",
    "(1|g)+(1|h)",
    "(1+x|g)+(1|h)",
    "(1|g/k)",
    "(1+x+z|g)",
)
KINDS = ("gaussian.ML", "gaussian.REML", "logit", "probit", "counts")


class MinimalStandard:
    """Park and Miller's generator, exact in doubles, so that R and Python draw alike."""

    def __init__(self, state: int) -> None:
        self.state = state

    def uniform(self, count: int) -> np.ndarray[Any, Any]:
        draws = np.empty(count)
        for index in range(count):
            self.state = 16807 * self.state % 2147483647
            draws[index] = self.state / 2147483647
        return draws

    def normal(self, count: int) -> np.ndarray[Any, Any]:
        return special.ndtri(self.uniform(count))


@dataclass(frozen=True)
class NullSet:
    """One data set, its formula, and how to fit it."""

    data: pd.DataFrame
    formula: str
    options: dict[str, Any]


def null_set(number: int) -> NullSet:
    """Make the data set of this number."""
    chance = MinimalStandard(7919 * number % 2147483647)
    kind, bars = KINDS[(number - 1) % 5], BARS[(number - 1) // 5 % 8]
    size = chance.uniform(4)
    groups, each = 6 + int(size[0] * 20), 8 + int(size[1] * 8)
    n = groups * each
    sd = 0.0 if size[2] < 0.6 else 0.25 * size[3]
    g, h = np.repeat(np.arange(1, groups + 1), each), np.tile(np.arange(1, each + 1), groups)
    data = pd.DataFrame({"g": g, "h": h, "k": (h - 1) // 4 + 1})
    data["x"], data["z"] = chance.normal(n).round(3), chance.normal(n).round(3)
    eta = 0.2 + 0.3 * data["x"].to_numpy() + sd * chance.normal(groups)[g - 1]
    options: dict[str, Any] = {}
    left = "y"
    if kind.startswith("gaussian"):
        data["y"] = (eta + chance.normal(n)).round(3)
        options = {"family": "gaussian", "method": kind.removeprefix("gaussian.")}
    elif kind == "counts":
        data["t"] = 1 + np.floor(chance.uniform(n) * 6).astype(int)
        share = special.expit(eta)
        data["y"] = stats.binom.ppf(chance.uniform(n), data["t"], share).astype(int)
        left = "cbind(y, t - y)"
    else:
        data["y"] = (chance.uniform(n) < special.expit(eta)).astype(int)
        options = {"link": kind}
    return NullSet(data, f"{left} ~ x + {bars}", options)
