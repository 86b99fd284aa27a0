"""How often an observer was right: the few numbers a run prints."""

from __future__ import annotations

import math

import numpy as np

from imi_bench.arrays import Bools
from imi_bench.stats.estimate import Estimate
from imi_bench.tables import DecisionVariables, TrialIndex

_Z95 = 1.959963984540054


def accuracy_table(
    decisions: DecisionVariables, index: TrialIndex
) -> dict[str, dict[str, Estimate]]:
    """Proportion correct of the main trials, overall, by mode and by difficulty; of catch trials.

    A tie or a trial without an answer counts one half. The interval takes trials as independent;
    it is there to read a run by, and scores against people resample units instead.

    Parameters
    ----------
    decisions : DecisionVariables
    index : TrialIndex
        In the same order.

    Returns
    -------
    dict
        ``{"all": {"main": …}, "mode": {"natural": …}, "difficulty": {…}, "catch": {…}}``; groups
        without trials are left out.
    """
    main = ~index.catch
    groups: dict[str, dict[str, Bools]] = {
        "all": {"main": main},
        "mode": {mode: main & (index.mode == mode) for mode in np.unique(index.mode)},
        "difficulty": {
            level: main & (index.difficulty == level) for level in np.unique(index.difficulty)
        },
        "catch": {"catch": index.catch},
    }
    table = {
        group: {
            str(name): proportion_correct(decisions.credit[rows])
            for name, rows in parts.items()
            if rows.any()
        }
        for group, parts in groups.items()
    }
    return {group: parts for group, parts in table.items() if parts}


def proportion_correct(credit: np.ndarray) -> Estimate:
    """Mean credit with Wilson's 95 % interval.

    Parameters
    ----------
    credit : (n,) float64
        As `DecisionVariables.credit`.

    Notes
    -----
    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22
    (1927), 209-212. With halves among the credits the variance is no larger than the binomial
    one assumed, so the interval is on the safe side.

    Examples
    --------
    >>> print(proportion_correct(np.array([1.0, 1.0, 0.0, 0.5])))
    0.625 [0.219, 0.908]
    """
    n = len(credit)
    if n == 0:
        return Estimate.undefined("no trials")
    mean = float(np.mean(credit))
    scale = 1 + _Z95**2 / n
    middle = (mean + _Z95**2 / (2 * n)) / scale
    half = _Z95 / scale * math.sqrt(mean * (1 - mean) / n + _Z95**2 / (4 * n**2))
    return Estimate(
        mean, max(middle - half, 0.0), min(middle + half, 1.0), method="Wilson", n=n, clusters=n
    )
