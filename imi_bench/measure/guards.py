"""Traps that would let a measure see the answers it is scored on: each raises."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from imi_bench.errors import InputError, LeakageError
from imi_bench.simulation.truth import TRUTH_COLUMNS
from imi_bench.tables import DecisionVariables, Responses, Study, TrialIndex, Trials
from imi_bench.tables.index import DIFFICULTIES, MODES

__all__ = ["check_columns", "check_difficulties", "check_function", "check_observers"]

OF_PEOPLE = (
    *("correct", "accuracy", "chose_first", "confidence", "seconds", "rt", "participant"),
    *("human", "p_correct", "proportion_correct", "hits", "answers", "responses", "successes"),
)
"""Columns that come from people's answers."""


def check_observers(decisions: Sequence[DecisionVariables], index: TrialIndex) -> None:
    """Refuse observers that are not blind, or that were themselves fitted to these people.

    Raises
    ------
    LeakageError
    """
    for one in decisions:
        if one.observer == "ideal":
            raise LeakageError(
                "an observer that reads the unit's own activations",
                where=f"observer '{one.observer}'",
                wanted="observers that see what people see",
                do="leave it out",
            )
        if one.fitted_on is not None:
            one.fitted_on.refuse(index, observer=one.observer)


def check_columns(frame: pd.DataFrame) -> None:
    """Refuse covariates that are people's answers, or the truth of a made-up world.

    Raises
    ------
    LeakageError
    """
    known = {name.casefold() for name in (*OF_PEOPLE, *TRUTH_COLUMNS)}
    bad = [str(name) for name in frame if str(name).casefold().strip() in known]
    if frame.attrs.get("truth"):
        bad = bad or ["a table of a world's truth"]
    if bad:
        raise LeakageError(
            "covariates that nobody may know",
            where="columns",
            found=", ".join(bad[:5]),
            wanted="what can be seen of a trial, or looked up of its unit",
            do="leave them out",
        )


def check_difficulties(index: TrialIndex, trials: Trials | None) -> None:
    """Refuse difficulties that are not those the trials were made with.

    Trial ids of the canonical form name the difficulty, and trials that are given carry it: a
    label that was changed afterwards may encode what people answered.

    Raises
    ------
    LeakageError
    """
    told: dict[str, tuple[str, str]] = {}
    if trials is not None:
        shown = trials.index
        told = dict(
            zip(shown.trial_id, zip(shown.mode, shown.difficulty, strict=True), strict=True)
        )
    for trial, mode, difficulty in zip(index.trial_id, index.mode, index.difficulty, strict=True):
        made = told.get(trial) or _named(str(trial))
        if made is not None and made != (mode, difficulty):
            raise LeakageError(
                "mode or difficulty is not the one the trial was made with",
                where=f"trial '{trial}'",
                found=f"{mode}, {difficulty}",
                wanted=", ".join(made),
                do="read the labels from the trials, not from answers",
            )


def _named(trial: str) -> tuple[str, str] | None:
    parts = trial.split("/")
    if len(parts) < 6 or parts[-2] not in DIFFICULTIES or parts[-3] not in MODES:
        return None
    return parts[-3], parts[-2]


def check_function(function: Any) -> None:
    """Refuse a covariate function that holds people's answers, wherever it keeps them.

    Looks at defaults, closures and globals that the function names, and at what it is bound to.

    Raises
    ------
    LeakageError
    InputError
        If it is no function.
    """
    if not callable(function):
        raise InputError("not a function of trials", found=type(function).__name__)
    for value in _held(function):
        if _of_people(value):
            raise LeakageError(
                "a covariate that sees people's answers",
                where=f"function '{getattr(function, '__name__', function)}'",
                found=f"it holds {type(value).__name__}",
                wanted="a function of the trials alone",
            )


def _held(function: Any) -> list[Any]:
    if isinstance(function, functools.partial):
        return [*function.args, *function.keywords.values(), *_held(function.func)]
    plain = inspect.unwrap(getattr(function, "__func__", function))
    code = getattr(plain, "__code__", None)
    if code is None:
        return list(getattr(function, "__dict__", {}).values())
    cells = [cell.cell_contents for cell in plain.__closure__ or ()]
    named = [plain.__globals__[n] for n in code.co_names if n in plain.__globals__]
    bound = [getattr(function, "__self__", None)]
    return [
        *cells,
        *named,
        *bound,
        *(plain.__defaults__ or ()),
        *(plain.__kwdefaults__ or {}).values(),
    ]


def _of_people(value: Any) -> bool:
    if isinstance(value, Study | Responses):
        return True
    if isinstance(value, pd.DataFrame):
        return bool({"correct", "participant", "chose_first"} & set(map(str, value.columns)))
    if isinstance(value, Mapping):
        return any(map(_of_people, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_of_people, value))
    return bool(isinstance(value, pd.Series) and str(value.name) in OF_PEOPLE)
