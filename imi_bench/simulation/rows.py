"""Rows of a simulated release: bookkeeping, criteria, catch and practice trials."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from imi_bench.arrays import Ints
from imi_bench.provenance import generator
from imi_bench.release.checks import CATCH_BATCH, CATCH_MODE, CATCH_MODEL
from imi_bench.release.columns import COLUMNS, criteria_columns
from imi_bench.release.published import published
from imi_bench.release.table import SIMULATED_STIMULUS
from imi_bench.simulation.study import Truth

CATCH_UNITS = (
    ("manual_4c_0_4", 1),
    ("manual_4c_8_10", 9),
    ("mixed4c_pool_reduce_pre_relu_conv", 16),
    ("mixed4d_pool_reduce_pre_relu_conv", 46),
    ("mixed4e_pool_reduce_pre_relu_conv", 55),
)
_PRACTICE = published().design["practice_trials"]
_BEFORE_PRACTICE = 4  # two instructions, fullscreen, call-function


def released_rows(
    truth: Truth,
    people: pd.DataFrame,
    shown: Ints,
    answers: dict[str, Any],
    times: dict[str, Any],
    *,
    seed: int,
) -> pd.DataFrame:
    """All columns of the release, practice trials first within an experiment.

    Parameters
    ----------
    truth : Truth
    people : DataFrame
        A rows, one an assignment: `condition`, `task`, `response_index`, `participant_id`,
        `failure`, `model`, `mode`.
    shown : (A, 45) int64
        Row of `truth.trials` in each slot, or -1 - i for catch unit i.
    answers : dict of str to (A, 45) ndarray
        `switched`, `correct`, `confidence`.
    times : dict of str to ndarray
        Milliseconds `rt`, `elapsed` (A, 45), `start` and `practice` (A,); seconds `instruction`
        and `total` (A,); `attempts` (A,) at the practice trials.
    seed : int
        For the answers to practice trials.
    """
    checks = _checks(people, shown, answers, times)
    of_person = pd.concat(
        [
            people[["response_index", "participant_id", "condition"]],
            pd.DataFrame({"task_number": people["task"] + 1}),
            checks,
        ],
        axis=1,
    )
    # As in the authors' set-up the id names the mode and the task, not the network.
    of_person["task_id"] = people["mode"] + "_9_references-" + (people["task"] + 1).astype(str)
    main = _main_rows(truth, people, shown, answers, times)
    practice = _practice_rows(times, seed=seed)
    rows = pd.concat([practice, main], ignore_index=True)
    rows = rows.astype({"batch": "Int64", "channel": "Int64"})
    rows = rows.join(of_person, on="assignment")
    rows = rows.sort_values(["condition", "is_demo"], ascending=[True, False], kind="stable")
    anonymous = dict.fromkeys(
        ("min_query", "max_query", "min_references", "max_references"), "anonymized"
    )
    rows = rows.assign(
        trial_type="2afc-image-confidence-response",
        stimulus=SIMULATED_STIMULUS,
        id=rows["task_number"],
        internal_node_id="0.0-" + rows["trial_index"].astype(str) + ".0",
        choice=np.where(rows["correct"], "b", "a"),
        button_pressed=rows["confidence"] - 1 + 3 * (rows["correct"] != rows["switched_queries"]),
        **anonymous,
    )
    return rows[list(COLUMNS)].reset_index(drop=True)


def _checks(
    people: pd.DataFrame, shown: Ints, answers: dict[str, Any], times: dict[str, Any]
) -> pd.DataFrame:
    """Each criterion judged on the simulated values, with its printed details."""
    order = np.argsort(shown < 0, axis=1, kind="stable")[:, -len(CATCH_UNITS) :]
    right = np.take_along_axis(answers["correct"], order, axis=1)
    upper = (answers["correct"] == answers["switched"]).sum(axis=1)
    columns = criteria_columns(
        catch=right.tolist(),
        upper=upper.tolist(),
        lower=(shown.shape[1] - upper).tolist(),
        total_time=times["total"].tolist(),
        instruction_time=times["instruction"].tolist(),
        attempts=times["attempts"].tolist(),
    )
    multiple = (people["failure"] == "multi_participation").to_numpy()
    return columns.assign(multi_participation=multiple)


def _main_rows(
    truth: Truth,
    people: pd.DataFrame,
    shown: Ints,
    answers: dict[str, Any],
    times: dict[str, Any],
) -> pd.DataFrame:
    assignment = np.repeat(np.arange(len(shown)), shown.shape[1])
    slot = np.tile(np.arange(shown.shape[1]), len(shown))
    trial = shown.ravel()
    catch = trial < 0
    row, unit = np.maximum(trial, 0), np.where(catch, -1 - trial, 0)
    catch_layer = np.array([layer for layer, _ in CATCH_UNITS], dtype=object)[unit]
    catch_channel = np.array([channel for _, channel in CATCH_UNITS])[unit]
    first = _BEFORE_PRACTICE + (_PRACTICE + 2) * times["attempts"]
    return pd.DataFrame(
        {
            "assignment": assignment,
            "rt": np.round(times["rt"].ravel(), 1),
            "time_elapsed": np.round(times["elapsed"].ravel()).astype(np.int64),
            "trial_index": first[assignment] + slot,
            "corrected_trial_index": slot,
            "switched_queries": answers["switched"].ravel(),
            "correct": answers["correct"].ravel(),
            "confidence": answers["confidence"].ravel(),
            "catch_trial": catch,
            "is_demo": False,
            "batch": np.where(catch, CATCH_BATCH, truth.trials.batch[row]),
            "channel": np.where(catch, catch_channel, truth.trials.unit[row]),
            "layer": np.where(catch, catch_layer, truth.trials.layer[row]),
            "mode": np.where(catch, CATCH_MODE, people["mode"].to_numpy(dtype=object)[assignment]),
            "model": np.where(
                catch, CATCH_MODEL, people["model"].to_numpy(dtype=object)[assignment]
            ),
        }
    )


def _practice_rows(times: dict[str, Any], *, seed: int) -> pd.DataFrame:
    """Four trials an attempt; an instruction and a call stand between attempts."""
    rng = generator(seed, "practice")
    count = times["attempts"] * _PRACTICE
    assignment = np.repeat(np.arange(len(count)), count)
    step = np.arange(len(assignment)) - np.repeat(np.cumsum(count) - count, count)
    attempt, within = np.divmod(step, _PRACTICE)
    length = times["practice"][assignment]
    began = (times["start"] + 1000 * times["instruction"])[assignment] + attempt * length
    index = _BEFORE_PRACTICE + (_PRACTICE + 2) * attempt + within
    first = _BEFORE_PRACTICE + (_PRACTICE + 2) * times["attempts"][assignment]
    return pd.DataFrame(
        {
            "assignment": assignment,
            "rt": np.round(length / _PRACTICE * rng.uniform(0.3, 0.7, len(step)), 1),
            "time_elapsed": np.round(began + length * (within + 0.9) / _PRACTICE).astype(np.int64),
            "trial_index": index,
            "corrected_trial_index": index - first,
            "switched_queries": rng.random(len(step)) < 0.5,
            "correct": rng.random(len(step)) < 0.9,
            "confidence": rng.integers(1, 4, len(step)),
            "catch_trial": False,
            "is_demo": True,
        }
    )
