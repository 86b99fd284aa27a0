"""Writing a released table: its columns in order, and the criteria as they are printed in it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from imi_bench.release.cells import CRITERIA, CRITERION_IN_RELEASE
from imi_bench.release.exclusions import Rules

COLUMNS = (
    "rt",
    "button_pressed",
    "switched_queries",
    "confidence",
    "choice",
    "correct",
    "stimulus",
    "internal_node_id",
    "time_elapsed",
    "trial_type",
    "trial_index",
    "id",
    "min_query",
    "max_query",
    "min_references",
    "max_references",
    "catch_trial",
    "is_demo",
    "response_index",
    "participant_id",
    "corrected_trial_index",
    "task_id",
    "task_number",
    "batch",
    "channel",
    "layer",
    "mode",
    "model",
    "passed_checks",
    *(f"{name}_result" for name in CRITERIA),
    *(f"{name}_details" for name in CRITERIA),
    "multi_participation",
)


def criteria_columns(
    *,
    catch: Sequence[Sequence[bool]],
    upper: Sequence[int],
    lower: Sequence[int],
    total_time: Sequence[float],
    instruction_time: Sequence[float],
    attempts: Sequence[int],
    rules: Rules | None = None,
) -> pd.DataFrame:
    """Each criterion's verdict and printed details, and whether all are met.

    Parameters
    ----------
    catch : sequence of sequence of bool
        By assignment: which attention checks were answered right. None of them: met.
    upper, lower : sequence of int
        Answers with either row of buttons, attention checks included.
    total_time, instruction_time : sequence of float
        Seconds.
    attempts : sequence of int
        Rounds of practice.
    rules : Rules, optional
        The published ones by default.

    Returns
    -------
    DataFrame
        One row an assignment: ``passed_checks``, then ``NAME_result`` (bool) and ``NAME_details``
        (a printed dictionary, as released) for each of `CRITERIA`.

    Examples
    --------
    >>> criteria_columns(catch=[[True] * 5], upper=[20], lower=[25], total_time=[300.0],
    ...     instruction_time=[40.0], attempts=[1])["passed_checks"].tolist()
    [True]
    """
    rules = Rules.published() if rules is None else rules
    values: dict[str, list[float]] = {
        "catch_ratio": [sum(row) / len(row) if row else math.nan for row in catch],
        "row_min": [float(min(up, down)) for up, down in zip(upper, lower, strict=True)],
        "total_time": list(total_time),
        "instruction_time": list(instruction_time),
        "demo_attempts": [float(n) for n in attempts],
    }
    printed: dict[str, list[dict[str, object]]] = {
        "catch_ratio": [
            {"ratio": None if math.isnan(ratio) else ratio, "correctly_answered": list(row)}
            for ratio, row in zip(values["catch_ratio"], catch, strict=True)
        ],
        "row_min": [
            {"n_upper_row": up, "n_lower_row": down} for up, down in zip(upper, lower, strict=True)
        ],
        "total_time": [{"total_time": round(t, 3)} for t in total_time],
        "instruction_time": [{"total_time": round(t, 3)} for t in instruction_time],
        "demo_attempts": [{"n_demo_trials_blocks": n} for n in attempts],
    }
    results = {
        f"{name}_result": ~rules.failed(criterion, np.array(values[criterion], dtype=float))
        for criterion, name in CRITERION_IN_RELEASE.items()
    }
    details = {
        f"{name}_details": np.array([str(part) for part in printed[criterion]], dtype=object)
        for criterion, name in CRITERION_IN_RELEASE.items()
    }
    passed = np.logical_and.reduce(list(results.values()))
    return pd.DataFrame({"passed_checks": passed, **results, **details})
