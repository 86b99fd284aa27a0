"""Traps that would let a measure see the answers it is scored on: each raises."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from imi_bench.arrays import Floats
from imi_bench.errors import InputError, LeakageError, NotComparableError
from imi_bench.simulation.truth import TRUTH_COLUMNS
from imi_bench.tables import DecisionVariables, Responses, Study, TrialIndex, Trials
from imi_bench.tables.index import DIFFICULTIES, MODES, split_difficulty

__all__ = [
    "check_columns",
    "check_covariate",
    "check_difficulties",
    "check_function",
    "check_networks",
    "check_observers",
    "check_same_trials",
    "check_shown",
]

OF_PEOPLE = (
    *("correct", "accuracy", "chose_first", "confidence", "seconds", "rt", "participant"),
    *("human", "p_correct", "proportion_correct", "hits", "answers", "responses", "successes"),
    *("p_learned", "p_equal", "p_single", "p_base"),
)
"""Columns that come from people's answers."""
_LIBRARIES = ("builtins", "numpy", "pandas", "scipy", "imi_bench", "PIL", "torch", "module")
_MOST_HELD = 2000
_LIKE_ANSWERS = 0.98
_FEWEST_GROUPS = 12


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


def check_same_trials(records: Sequence[Mapping[str, Any]]) -> None:
    """Refuse runs over equally many trials that are not the same trials.

    Raises
    ------
    NotComparableError
        Trials of the same names with other pictures, or other conditions.
    """
    first: dict[int, tuple[str, str]] = {}
    for name, trials in _shown_in(records):
        digest = str(trials.get("hash"))
        other, known = first.setdefault(int(trials.get("count", 0)), (name, digest))
        if known != digest:
            raise NotComparableError(
                "observers were not shown the same trials",
                where=f"runs of '{other}' and '{name}'",
                found=f"trials {known[:12]}… and {digest[:12]}…",
                wanted="the same pictures in the same trials",
            )


def check_shown(records: Sequence[Mapping[str, Any]], trials: Trials) -> None:
    """Refuse runs over other pictures than those of the trials that are given.

    Trials of two made-up worlds have the same names.

    Raises
    ------
    NotComparableError
    """
    for name, told in _shown_in(records):
        same_count = told.get("count") == len(trials)
        if same_count and told.get("hash") not in (None, trials.hash):
            raise NotComparableError(
                "the run was over other trials than those given",
                where=f"run of '{name}'",
                found=f"trials {str(told.get('hash'))[:12]}…",
                wanted=f"{trials.hash[:12]}…",
                do="run the observer on these trials",
            )


def _shown_in(records: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The observer of each run, and what its record tells of the trials, if it tells of both."""
    for record in records:
        trials, observer = record.get("trials"), record.get("observer")
        if isinstance(trials, Mapping) and isinstance(observer, Mapping):
            yield str(observer.get("name")), trials


def check_covariate(
    values: Floats, name: str, *, index: TrialIndex, successes: Floats, answers: Floats
) -> None:
    """Refuse a covariate that ranks trials, conditions or units as people's answers do.

    What is seen of a trial cannot follow the luck of the draw in its answers: beyond a rank
    correlation of 0.98 a column was made from them, whatever its name.

    Parameters
    ----------
    values : (T,) float64
    name : str
    index : TrialIndex
    successes, answers : (T,) float64

    Raises
    ------
    LeakageError
    """
    conditions = np.array(index.condition_code)
    groups = {"trials": np.arange(len(values)), "conditions": conditions, "units": index.unit_code}
    for kind, code in groups.items():
        count = np.bincount(code)
        mean = np.bincount(code, values) / count
        rate = np.bincount(code, successes) / np.bincount(code, answers)
        if len(count) < _FEWEST_GROUPS or np.ptp(mean) == 0 or np.ptp(rate) == 0:
            continue
        ranks = [pd.Series(one).rank() for one in (mean, rate)]
        like = float(np.corrcoef(ranks)[0, 1])
        if abs(like) > _LIKE_ANSWERS:
            raise LeakageError(
                "a covariate that follows people's answers",
                where=f"covariate '{name}'",
                found=f"rank correlation {like:.3f} with the proportion correct of {kind}",
                wanted="what can be seen of a trial, or looked up of its unit",
                do="leave it out",
            )


def check_networks(index: TrialIndex) -> None:
    """Refuse one network under several names: its units would stand in fit and test.

    Raises
    ------
    LeakageError
    """
    names: dict[str, set[str]] = {}
    for network in set(index.network.tolist()):
        names.setdefault(split_difficulty(network.casefold().strip())[0], set()).add(network)
    for several in names.values():
        if len(several) > 1:
            raise LeakageError(
                "one network under several names",
                where="networks",
                found=", ".join(sorted(several)),
                wanted="one name, the difficulty in a column of its own",
            )


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
    for value in _everything_held(function):
        if _of_people(value):
            raise LeakageError(
                "a covariate that sees people's answers",
                where=f"function '{getattr(function, '__name__', function)}'",
                found=f"it holds {type(value).__name__}",
                wanted="a function of the trials alone",
            )


def _everything_held(function: Any) -> list[Any]:
    """What a function holds, and what the functions and objects it holds hold in turn."""
    found: list[Any] = []
    seen: set[int] = set()
    waiting = [function]
    while waiting and len(found) < _MOST_HELD:
        for value in _held(waiting.pop()):
            if id(value) in seen:
                continue
            seen.add(id(value))
            found.append(value)
            own = getattr(type(value), "__module__", "").partition(".")[0] not in _LIBRARIES
            made = inspect.isfunction(value) and value.__module__ != "builtins"
            if made or isinstance(value, functools.partial) or (own and hasattr(value, "__dict__")):
                waiting.append(value)
    return found


def _held(function: Any) -> list[Any]:
    if isinstance(function, functools.partial):
        return [*function.args, *function.keywords.values(), *_held(function.func)]
    plain = inspect.unwrap(getattr(function, "__func__", function))
    code = getattr(plain, "__code__", None)
    if code is None:
        call = vars(type(function)).get("__call__")
        method = _held(call) if inspect.isfunction(call) else []
        return [*getattr(function, "__dict__", {}).values(), *method]
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
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(_of_people, value))
    return bool(isinstance(value, pd.Series) and str(value.name) in OF_PEOPLE)
