"""Proportion correct of every network, mode and difficulty: the model's mean, and people's own."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from numpy.polynomial import hermite_e
from scipy import special

from imi_bench.effects.effect import Effects
from imi_bench.effects.table import HARDER
from imi_bench.errors import InputError
from imi_bench.glmm import GlmmResult
from imi_bench.glmm.between import INTERCEPT

_NODES = 30
_CELL = ["network", "mode", "difficulty"]


def cell_means(effects: Effects, *, level: float = 0.95) -> pd.DataFrame:
    """Means of the first-stage model over units, layers and people, beside the raw ones.

    Parameters
    ----------
    effects : Effects
        Of correct and wrong answers, with its model.
    level : float
        Of the intervals, which hold the standard deviations of the random effects fixed.

    Returns
    -------
    DataFrame
        One row a network, mode and difficulty that was shown: ``mean`` (averaged over random
        effects, and over the depths and types of layers shown there), ``low`` and ``high`` (delta
        method on the logit), ``raw`` (share of correct answers) and ``answers``.

    Raises
    ------
    InputError
        Effects read from JSON, or of ordered answers.

    Examples
    --------
    ``cell_means(effects("responses_main.csv"))``
    """
    frame, fit = _labelled(effects), effects.fit
    if fit is None or fit.design is None:
        raise InputError("effects read from JSON have no model", where=effects.who)
    half = special.ndtri(0.5 + 0.5 * level)
    rows = []
    for key, part in frame.groupby(_CELL, sort=False):
        design = fit.design.fixed[part.index]
        mean, error = _averaged(fit, design, _spread(fit, mode=str(key[1])))
        middle, reach = special.logit(mean), half * error / (mean * (1 - mean))
        low, high = special.expit([middle - reach, middle + reach])
        raw = float(part["correct"].mean())
        rows.append([*key, mean, float(low), float(high), raw, len(part)])
    return pd.DataFrame(rows, columns=[*_CELL, "mean", "low", "high", "raw", "answers"])


def _spread(fit: GlmmResult, *, mode: str) -> float:
    """Standard deviation of all random effects together on exemplars of a mode."""
    squares = [
        float(sd) ** 2
        for part in fit.random
        for name, sd in zip(part.names, part.sd, strict=True)
        if name in (INTERCEPT, mode)
    ]
    return math.sqrt(sum(squares))


def _averaged(fit: GlmmResult, rows: np.ndarray, sd: float) -> tuple[float, float]:
    """Mean probability of rows over a normal random effect, and its standard error."""
    nodes, weights = hermite_e.hermegauss(_NODES)
    weights = weights / weights.sum()
    unique, counts = np.unique(rows, axis=0, return_counts=True)
    eta = (unique @ fit.estimate)[:, None]
    step = 1e-5
    at = [
        fit.response_link.probability(eta + sd * nodes + move) @ weights for move in (-step, step)
    ]
    share = counts / counts.sum()
    mean = float(share @ (at[0] + at[1]) / 2)
    gradient = (share * (at[1] - at[0]) / (2 * step)) @ unique
    return mean, float(np.sqrt(gradient @ fit.covariance @ gradient))


def unit_means(effects: Effects) -> pd.DataFrame:
    """Share of correct answers of every unit in each mode and difficulty.

    Returns
    -------
    DataFrame
        ``network``, ``mode``, ``difficulty``, ``unit``, ``raw``.
    """
    return (
        _labelled(effects)
        .groupby([*_CELL, "unit"], sort=False)["correct"]
        .mean()
        .rename("raw")
        .reset_index()
    )


def _labelled(effects: Effects) -> pd.DataFrame:
    if effects.table is not None and effects.table.ordinal:
        raise InputError("means of correct answers", found="a model of six ordered answers")
    frame = effects.answers
    hard = frame[list(HARDER)].to_numpy() == 1.0
    names = np.array(["easy", *HARDER])
    return frame.assign(
        mode=np.where(frame["synthetic"] == 1.0, "synthetic", "natural"),
        difficulty=names[np.where(hard.any(axis=1), 1 + hard.argmax(axis=1), 0)],
    )
