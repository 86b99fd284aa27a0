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

    A tie or a trial without an answer counts one half. The interval, Wilson's at 95 %, takes trials
    as independent; it is there to read a run by, and scores against people resample units instead.
    With halves among the credits the variance is no larger than the binomial one assumed, so it is
    on the safe side.

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
            str(name): proportion(float(decisions.credit[rows].sum()), int(rows.sum()))
            for name, rows in parts.items()
            if rows.any()
        }
        for group, parts in groups.items()
    }
    return {group: parts for group, parts in table.items() if parts}
