"""One table of what observers say and people answered, trial by trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from imi_bench.arrays import Bools, Floats, Strings
from imi_bench.errors import InputError, NotComparableError, NotEnoughDataError
from imi_bench.measure.guards import (
    check_columns,
    check_covariate,
    check_difficulties,
    check_function,
    check_networks,
    check_observers,
)
from imi_bench.measure.head import HeadRows
from imi_bench.observers.learned import SET_FEATURES, agreement
from imi_bench.stats.squash import out_of_scale, robust_scale, squash
from imi_bench.tables import DecisionVariables, Study, TrialIndex, Trials
from imi_bench.tables.align import rows_of
from imi_bench.text import plural

__all__ = ["Covariates", "Table", "make_table"]

Covariates: TypeAlias = "Mapping[str, Callable[[Trials], Floats]] | pd.DataFrame | None"

_ABOUT = ("trial_id", "unit_id", "unit", "network", "layer", "mode", "difficulty")


@dataclass(frozen=True, eq=False)
class Table:
    """Trials that every observer was shown and people answered.

    Attributes
    ----------
    index : TrialIndex
        T trials.
    rows : HeadRows
    features, covariates : tuple of str
        Names of their columns.
    silent : mapping of str to int
        Trials on which an observer gave no answer and so says nothing, of each that has such.
    out_of_scale : int
        Decision variables that no scale explains: they say nothing.
    left_out : int
        Main trials with answers that some observer was not shown.
    pictures : tuple of frozenset of str or None
        Content hashes of the pictures each trial shows.
    """

    index: TrialIndex
    rows: HeadRows
    features: tuple[str, ...]
    covariates: tuple[str, ...]
    silent: Mapping[str, int]
    out_of_scale: int
    left_out: int
    pictures: tuple[frozenset[str], ...] | None

    @property
    def cells(self) -> Strings:
        """(T,) mode and difficulty."""
        return cells_of(self.index)

    def facts(self, level: float) -> dict[str, Any]:
        """What every estimate says of itself: answers, units, and `level`."""
        answers, units = int(self.rows.answers.sum()), len(set(self.index.unit_id))
        return {"n": answers, "clusters": units, "level": level}

    def shared(self, test: Bools) -> Bools:
        """(T,) trials that show a picture which a trial of `test` shows."""
        if self.pictures is None:
            return np.zeros(len(test), dtype=bool)
        seen = frozenset().union(*(p for p, t in zip(self.pictures, test, strict=True) if t))
        return np.array([bool(p & seen) for p in self.pictures])


def cells_of(index: TrialIndex) -> Strings:
    """(T,) ``mode/difficulty``."""
    return np.array(
        [f"{m}/{d}" for m, d in zip(index.mode, index.difficulty, strict=True)], dtype=object
    )


def make_table(
    decisions: Sequence[DecisionVariables],
    study: Study,
    *,
    head: str,
    trials: Trials | None = None,
    seen: Floats | None = None,
    covariates: Covariates = None,
) -> Table:
    """Join observers and people; refuse what would leak.

    Parameters
    ----------
    decisions : sequence of DecisionVariables
    study : Study
    head : {"observer", "measure"}
        The observer head gets no covariates.
    trials : Trials, optional
        For pictures and covariate functions.
    seen : (len(trials), 4) float64, optional
        `set_features` of `trials`.
    covariates : mapping of str to function, or DataFrame, optional
        Functions of the trials, (T,) each; or a table with ``network, layer, unit`` (or
        ``unit_id`` or ``trial_id``) and numbers.

    Raises
    ------
    NotComparableError, NotEnoughDataError, LeakageError, InputError
    """
    names = [one.observer for one in decisions]
    if not names or len(set(names)) < len(names):
        raise InputError(
            "cannot learn from these observers",
            found=", ".join(names) or "none",
            wanted="one or more of different names",
        )
    answered = np.bincount(study.rows, minlength=len(study.trials)) > 0
    wanted = answered & ~study.trials.catch
    place = [rows_of(study.trials.trial_id, among=one.trial_id) for one in decisions]
    keep = wanted & np.all([p >= 0 for p in place], axis=0)
    if not keep.any():
        raise NotComparableError("no trial in common", where=", ".join(names) + " and the study")
    index = study.trials.take(keep)
    if len(set(index.unit_id)) < 4:
        raise NotEnoughDataError(
            "too few units to learn from", found=len(set(index.unit_id)), wanted="4 or more"
        )
    check_observers(decisions, index)
    check_networks(index)
    check_difficulties(index, trials)
    both = [(one.toward_correct, p[keep]) for one, p in zip(decisions, place, strict=True)]
    told = np.stack([values[rows] for values, rows in both], axis=1)
    far = np.stack([out_of_scale(values)[rows] for values, rows in both], axis=1)
    counts = np.bincount(study.rows, minlength=len(study.trials))[keep].astype(np.float64)
    hits = np.bincount(study.rows, study.responses.correct, minlength=len(study.trials))[keep]
    evidence = np.where(far, 0.0, np.nan_to_num(told, nan=0.0))
    features, feature_names = _features(evidence, index, trials, seen)
    given = {} if head == "observer" else _given(index, trials, covariates)
    hits = hits.astype(np.float64)
    for name, values in given.items():
        check_covariate(values, name, index=index, successes=hits, answers=counts)
    if head == "observer" and covariates is not None:
        raise InputError("covariates for a blind observer", wanted="head='measure'")
    columns, column_names = _covariates(index, head, given, features)
    return Table(
        index=index,
        rows=HeadRows(evidence, features, columns, hits, counts),
        features=feature_names,
        covariates=column_names,
        silent={
            name: int(lost)
            for name, lost in zip(names, np.isnan(told).sum(axis=0), strict=True)
            if lost
        },
        out_of_scale=int(far.sum()),
        left_out=int(wanted.sum() - keep.sum()),
        pictures=_pictures(index, trials),
    )


def _features(
    evidence: Floats, index: TrialIndex, trials: Trials | None, seen: Floats | None
) -> tuple[Floats, tuple[str, ...]]:
    found: list[Floats] = []
    names: list[str] = []
    if seen is not None and trials is not None:
        found.append(seen[_rows_in(index, trials)])
        names += SET_FEATURES
    if evidence.shape[1] > 1:
        z = np.stack([squash(column, robust_scale(column)) for column in evidence.T], axis=1)
        found.append(agreement(z)[:, None])
        names.append("agreement")
    empty = np.empty((len(evidence), 0))
    return np.concatenate([empty, *found], axis=1), tuple(names)


def _covariates(
    index: TrialIndex,
    head: str,
    given: Mapping[str, Floats],
    features: Floats,
) -> tuple[Floats, tuple[str, ...]]:
    if head == "observer":
        return np.empty((len(index), 0)), ()
    cells = cells_of(index)
    found, names = [np.ones(len(index))], ["intercept"]
    for cell in sorted(set(cells.tolist()))[1:]:
        found.append((cells == cell).astype(np.float64))
        names.append(cell)
    found += list(features.T)
    names += [f"set {n}" for n in range(features.shape[1])]
    for name, values in given.items():
        found.append(values)
        names.append(name)
    return np.stack(found, axis=1), tuple(names)


def _given(index: TrialIndex, trials: Trials | None, covariates: Covariates) -> dict[str, Floats]:
    if covariates is None:
        return {}
    if isinstance(covariates, pd.DataFrame):
        return _from_table(index, covariates)
    if trials is None:
        raise InputError("covariate functions need the trials", do="give trials=")
    found = {}
    for name, function in covariates.items():
        check_function(function)
        values = np.asarray(function(trials), dtype=np.float64)
        if values.shape != (len(trials),):
            raise InputError(
                "not one number a trial",
                where=f"covariate '{name}'",
                found=values.shape,
                wanted=(len(trials),),
            )
        found[name] = _finite(values[_rows_in(index, trials)], name)
    return found


def _from_table(index: TrialIndex, table: pd.DataFrame) -> dict[str, Floats]:
    check_columns(table)
    keys = {"trial_id": index.trial_id, "unit_id": index.unit_id}
    key = next((name for name in keys if name in table), None)
    if key is None and {"network", "layer", "unit"} <= set(table):
        parts = zip(table["network"], table["layer"], table["unit"], strict=True)
        table = table.assign(unit_id=[f"{n}/{la}/{u}" for n, la, u in parts])
        key = "unit_id"
    if key is None:
        raise InputError(
            "covariates of nothing", wanted="trial_id, unit_id, or network, layer, unit"
        )
    place = rows_of(keys[key], among=table[key])
    if (place < 0).any():
        raise InputError(
            "covariates are missing",
            where=str(keys[key][place < 0][0]),
            found=f"{plural((place < 0).sum(), 'trial')} without a row",
        )
    facts = table.drop(columns=[name for name in _ABOUT if name in table])
    numbers = facts.select_dtypes(["number", "bool"])
    for name in facts.columns.difference(numbers.columns)[:1]:
        raise InputError(
            "a covariate that is no number",
            where=f"column '{name}'",
            found=repr(facts[name].dropna().tolist()[:1]),
            wanted="numbers, or True and False",
            do="write it as such, or leave it out",
        )
    return {
        str(name): _finite(numbers[name].to_numpy(dtype=np.float64)[place], str(name))
        for name in numbers
    }


def _finite(values: Floats, name: str) -> Floats:
    if not np.isfinite(values).all():
        raise InputError(
            "covariate is not finite",
            where=f"covariate '{name}'",
            found=plural((~np.isfinite(values)).sum(), "value"),
        )
    return values


def _rows_in(index: TrialIndex, trials: Trials) -> np.ndarray:
    rows = rows_of(index.trial_id, among=trials.index.trial_id)
    if (rows < 0).any():
        raise NotComparableError(
            "trials of the study are not among those given",
            found=f"{(rows < 0).sum()} of {len(rows)}",
        )
    return rows


def _pictures(index: TrialIndex, trials: Trials | None) -> tuple[frozenset[str], ...] | None:
    if trials is None:
        return None
    rows = _rows_in(index, trials)
    shown = np.concatenate([trials.positive, trials.negative, trials.queries], axis=1)[rows]
    return tuple(frozenset(one) for one in trials.images.hashes[shown].tolist())
