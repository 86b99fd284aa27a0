"""How often an observer was right: the few numbers a run prints."""

from __future__ import annotations

import numpy as np

from imi_bench.arrays import Bools
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.proportions import proportion
from imi_bench.tables import DecisionVariables, TrialIndex


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
    With halves among the credits the variance is no larger than the binomial one assumed, so the
    interval is on the safe side.

    Examples
    --------
    >>> print(proportion_correct(np.array([1.0, 1.0, 0.0, 0.5])))
    0.625 [0.219, 0.908]
    """
    return proportion(float(np.sum(credit)), len(credit))
