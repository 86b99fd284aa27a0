"""From a plan (and codes) to decisions: chunk by chunk, with the failures named."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from imi_bench.arrays import Floats, Ints, Strings
from imi_bench.errors import ImiBenchError, InputError
from imi_bench.observers.protocol import (
    Answers,
    Codes,
    Observer,
    ObserverExitError,
    decision_values,
    exits_are_faults,
)
from imi_bench.progress import progress
from imi_bench.replay.cache import Store
from imi_bench.replay.pairs import Pairs
from imi_bench.replay.plan import Plan
from imi_bench.tables import ANSWERED, STATUSES, BlindTrials
from imi_bench.text import plural

_GIVE_UP_AFTER = 20


@dataclass
class Answered:
    """Answers as they come in.

    Attributes
    ----------
    value : (T,) float64
    status : (T,) str
    seconds : (T,) float64
    failures : list of (trial_id, message)
        Trials on which `decide` raised.
    reused : int
        Answers that came from disk.
    damaged : list of str
        Files of earlier answers that could not be trusted.
    """

    value: Floats
    status: Strings
    seconds: Floats
    failures: list[tuple[str, str]] = field(default_factory=list)
    reused: int = 0
    damaged: list[str] = field(default_factory=list)

    @classmethod
    def nothing(cls, count: int) -> Answered:
        """No trial answered yet."""
        status = np.full(count, "error", dtype=object)
        return cls(np.full(count, np.nan), status, np.zeros(count))


def decide_all(
    observer: Observer,
    plan: Plan,
    codes: Store | None,
    *,
    folder: Path,
    pairs: Pairs | None = None,
    without: Mapping[int, str] | None = None,
) -> Answered:
    """Decide every trial of the plan.

    Parameters
    ----------
    observer : Observer
    plan : Plan
    codes : Store or None
        Codes of the plan's images; None for an observer that sees whole trials. The answers of
        the latter are kept in `folder`, so that they too survive a kill.
    folder : Path
    pairs : Pairs, optional
        Similarities of the plan's pairs, for an observer that compares them.
    without : mapping of int to str, optional
        Images that could not be encoded, and why: a trial that shows one ends in an error.

    Raises
    ------
    InputError
        If the observer breaks its contract, or every single trial ends in an error.
    Exception
        What `decide` raises, if it raises on each of the first trials.
    """
    answered = Answered.nothing(len(plan.trials))
    kept = None
    todo = np.ones(len(plan.trials), dtype=bool)
    if codes is None:
        kept = Store(folder, plan.trial_keys(), about=observer.describe())
        todo = ~kept.known
        _from_disk(kept, np.flatnonzero(~todo), answered)
    if without:
        todo &= ~_without_code(plan, without, answered)
    code_bytes = None if codes is None or codes.kind is None else codes.kind.itemsize
    with progress(f"{observer.name}: trials", total=int(todo.sum()), unit="trials") as advance:
        for chunk in plan.chunks(code_bytes=code_bytes):
            if not (rows := chunk[todo[chunk]]).size:
                continue
            used, trials = plan.shown(rows)
            # codes are compared on one thread: sums in one order, whatever the machine
            with threadpool_limits(limits=1) if codes is not None else nullcontext():
                taken = None if codes is None else codes.take(used)
                _decide(observer, trials, taken, rows, answered, plan)
            if kept is not None:
                _to_disk(kept, rows, answered)
            if pairs is not None:
                pairs.save()
            advance(len(rows))
    if kept is not None:
        kept.flush()
    if pairs is not None:
        pairs.close()
        answered.damaged += pairs.damaged
    if len(plan.trials) and (answered.status == "error").all():
        why = answered.failures[0][1] if answered.failures else "`decide` gave NaN"
        raise InputError(
            "the observer answered no trial",
            where=f"observer '{observer.name}'",
            found=f"{plural(len(plan.trials), 'error')} ({why})",
            wanted="a finite number on some trial",
            do="check what `encode` and `decide` give: `imi-bench doctor`",
        )
    given = answered.status[np.isin(answered.status.astype(str), ANSWERED)]
    # a model that says A whatever it sees cancels between its orders: it knows nothing, no fault
    fine = getattr(observer, "ties_are_answers", False)
    if len(given) > 1 and (given == "tie").all() and not fine:
        raise InputError(
            "the observer ties on every trial",
            where=f"observer '{observer.name}'",
            found=f"decision variable 0 on {plural(len(given), 'trial')}",
            wanted="a preference on some trial",
            do="check what `encode` and `decide` give: `imi-bench doctor`",
        )
    return answered


def _without_code(plan: Plan, without: Mapping[int, str], answered: Answered) -> NDArray[np.bool_]:
    """Trials that show an image without a code; each is recorded as failed."""
    trials = plan.trials
    shown = np.hstack([trials.queries, trials.positive, trials.negative])
    lost = np.isin(shown, list(without))
    for row in np.flatnonzero(lost.any(axis=1)).tolist():
        why = without[int(shown[row][lost[row]][0])]
        answered.failures.append((str(plan.key.index.trial_id[row]), f"encode: {why}"))
    return np.asarray(lost.any(axis=1))


def _decide(
    observer: Observer,
    trials: BlindTrials,
    codes: Codes | None,
    rows: Ints,
    answered: Answered,
    plan: Plan,
) -> None:
    """One chunk at once; one by one if that fails, to find which trial it was."""
    started = time.perf_counter()
    try:
        answered.value[rows], answered.status[rows] = _ask(observer, trials, codes)
    except (ImiBenchError, ObserverExitError):
        raise
    except Exception as error:
        if len(rows) > 1:
            for place in range(len(rows)):
                one = trials.without_key(np.array([place]))
                _decide(observer, one, codes, rows[place : place + 1], answered, plan)
            return
        _failed(observer, rows[0], error, answered, plan)
    answered.seconds[rows] = (time.perf_counter() - started) / len(rows)


def _failed(observer: Observer, row: int, error: Exception, answered: Answered, plan: Plan) -> None:
    """Record the failure; raise it where it looks like a fault of the program, not of the trial."""
    trial = str(plan.key.index.trial_id[row])
    answered.failures.append((trial, f"{type(error).__name__}: {error}"))
    nothing_yet = bool((answered.status == "error").all())
    if nothing_yet and len(answered.failures) >= min(_GIVE_UP_AFTER, len(answered.value)):
        error.add_note(
            f"observer '{observer.name}' failed on each of the "
            f"{plural(len(answered.failures), 'trial')} "
            "it was asked"
        )
        raise error


def _ask(
    observer: Observer, trials: BlindTrials, codes: Codes | None
) -> tuple[Floats, NDArray[np.object_]]:
    with exits_are_faults(observer):
        answer = observer.decide(trials, codes)
    where = f"decide of observer '{observer.name}'"
    value = decision_values(answer, len(trials), where=where)
    if np.isinf(value).any():
        raise InputError(
            "infinite decision variable",
            where=where,
            found=value[np.isinf(value)][0],
            wanted="a finite number, or NaN for no answer",
        )
    if not isinstance(answer, Answers):
        status = np.select([np.isnan(value), value == 0], ["error", "tie"], "ok")
        return value, status.astype(object)
    status = np.asarray(answer.status, dtype=object)
    if status.shape != value.shape or not set(status.tolist()) <= set(STATUSES):
        raise InputError(
            "bad status",
            where=where,
            found=sorted(map(str, set(status.tolist()))),
            wanted=f"one of {', '.join(STATUSES)} a trial",
        )
    return value, status


def _from_disk(kept: Store, rows: Ints, answered: Answered) -> None:
    answered.damaged, answered.reused = kept.damaged, len(rows)
    if len(rows):
        stored = kept.take(rows)
        answered.value[rows] = stored[:, 0]
        answered.status[rows] = np.array(STATUSES, dtype=object)[stored[:, 1].astype(int)]


def _to_disk(kept: Store, rows: Ints, answered: Answered) -> None:
    """Keep what was answered; a refusal or an error is tried again next time."""
    rows = rows[np.isin(answered.status[rows].astype(str), ANSWERED)]
    if len(rows):
        number = [float(STATUSES.index(status)) for status in answered.status[rows]]
        kept.add(rows, np.stack([answered.value[rows], number], axis=1))
