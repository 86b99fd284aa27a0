"""Calibration: fit the choice model to people on some units, use it only on others.

Two orders of the queries must be kept apart. An observer's decision variable is signed towards
the query shown first *to the observer*; a person saw the queries in an order of their own. What
both share is which query is correct. So answers are fitted as *correct or not* against the
evidence for the correct query (`DecisionVariables.toward_correct`), where a bias towards a side
drops out; only where the person's order is known (`Responses.chose_first`) is the evidence turned
to that order, and a bias estimated.

There is deliberately no intercept towards the correct query: it would tell every observer the
answer, and a coin would predict people as well as people predict one another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from imi_bench.arguments import checked
from imi_bench.arrays import Bools, Floats, Ints
from imi_bench.choice.calibration import (
    MIS_DREAMSIM,
    Calibration,
    ChoiceProbabilities,
    Slopes,
    SlopesAsked,
)
from imi_bench.choice.fitting import fit_subsets
from imi_bench.choice.folds import FoldsBy, assign_folds, clusters_of
from imi_bench.choice.pooling import partially_pooled
from imi_bench.errors import InputError, NotComparableError, NotEnoughDataError
from imi_bench.provenance import sha256_columns
from imi_bench.release.study_files import AnswersLike, read_answers
from imi_bench.stats.squash import LEAST_LAPSE, out_of_scale
from imi_bench.tables import DecisionsLike, DecisionVariables, Study
from imi_bench.tables.align import rows_of
from imi_bench.text import plural
from imi_bench.threads import one_thread

__all__ = [
    "MIS_DREAMSIM",
    "Calibration",
    "CalibrationLike",
    "ChoiceProbabilities",
    "calibrate",
    "calibration_for",
]

CalibrationLike: TypeAlias = "Calibration | str | Path | Mapping[str, Any]"


@checked
def calibrate(
    decisions: DecisionsLike,
    study: AnswersLike,
    *,
    by: FoldsBy = "unit",
    n_folds: int | None = None,
    link: str = "logit",
    slopes: SlopesAsked = "common",
    bias: bool | None = None,
    lapse: float | None = None,
    seed: int = 0,
    level: float = 0.95,
    robust: bool = True,
) -> Calibration:
    """Fit an observer's choice model to people, once for each fold held out.

    Catch trials and trials the observer did not answer are left out of the fit. Intervals are
    robust to units that differ beyond the evidence
    (see `imi_bench.choice.fitting.fit_psychometric`).

    Parameters
    ----------
    decisions : DecisionVariables, or what `DecisionVariables.read` takes
        A run, its folder, or a table.
    study : Study, or what `imi_bench.release.study_files.read_answers` takes
    by : {"unit", "network"}
        What a fold keeps together; never single answers or trials.
    n_folds : int, optional
        10 (or the number of units, if fewer) by unit, one a network by network.
    link : {"logit", "probit"}
    slopes : {"common", "by mode", "pooled by mode"}
        One slope, one for natural and one for synthetic trials, or these partially pooled. Also
        ``by-mode`` and ``pooled-by-mode``, or ``pooled``; recorded are the words with blanks.
    bias : bool, optional
        Estimate a bias towards the query a person saw first. By default where every answer used
        tells the person's order of queries; 0 elsewhere.
    lapse : float, optional
        Hold the lapse at this value; estimated by default.
    seed : int
        Of the assignment to folds.
    level : float
    robust : bool
        Guard against faults of the observer: decision variables out of scale
        (`imi_bench.stats.squash.out_of_scale`) count as nothing said, in the fits and in what is
        predicted, and the label counts them; an estimated lapse is at least 0.01. Otherwise one
        value far out of scale decides slope and lapse of all.

    Returns
    -------
    Calibration

    Raises
    ------
    NotComparableError
        No trial in common.
    NotEnoughDataError
        Fewer clusters than folds, or fewer than two.
    InputError
        `bias` wanted where the order of queries is unknown; a lapse that is no share.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> from imi_bench.tables import Responses, TrialIndex
    >>> ids, n = [f"t{i}" for i in range(40)], 40
    >>> index = TrialIndex(
    ...     trial_id=ids, network=["net"] * n, layer=["layer"] * n, unit=np.arange(n) // 2,
    ...     mode=["natural"] * n, difficulty=["easy"] * n, batch=[1] * n, catch=[False] * n)
    >>> correct = rng.random(10 * n) < 0.7
    >>> answers = Responses(
    ...     trial_id=ids * 10, participant=np.repeat(np.arange(10), n), correct=correct,
    ...     chose_first=np.full(10 * n, np.nan), confidence=np.full(10 * n, np.nan),
    ...     seconds=np.full(10 * n, np.nan), simulated=True, source="coin")
    >>> observer = DecisionVariables("toy", ids, rng.normal(1, 1, n), ["ok"] * n,
    ...                              ["positive"] * n, np.zeros(n))
    >>> calibrate(observer, Study(index, answers), n_folds=5).label
    'by unit, 5 folds, logit, slopes common'
    """
    decisions, study = DecisionVariables.read(decisions), read_answers(study)
    words = _recorded(slopes)
    if lapse is not None and not 0 <= lapse < 1:
        raise InputError("no lapse rate", found=lapse, wanted="0 <= lapse < 1")
    far = out_of_scale(decisions.decision_variable) & robust
    rows = _answer_rows(decisions, study, bias=bias, silent=far)
    folds = assign_folds(
        study.trials.take(np.unique(rows.trial)), by=by, n_folds=n_folds, seed=seed
    )
    clusters = clusters_of(study.trials, by=by)[rows.trial]
    fold_of_row = np.array([folds[name] for name in clusters], dtype=np.int64)
    modes = study.trials.mode[rows.trial]
    units = pd.factorize(study.trials.unit_id)[0][rows.trial]

    count = max(folds.values()) + 1
    held_out = np.arange(-1, count)  # -1: nothing, for the overall fit
    # one thread: sums in one order, so that the hash does not depend on the number of cores
    with one_thread():
        fits = fit_subsets(
            rows.evidence,
            keep=fold_of_row != held_out[:, None],
            successes=rows.successes,
            trials=rows.answers,
            group=None if words == "common" else modes,
            cluster=units,
            link=link,
            bias=rows.oriented,
            lapse=lapse,
            least_lapse=LEAST_LAPSE if robust else 0.0,
            level=level,
        )
    if words == "pooled by mode":
        fits = [partially_pooled(fit) for fit in fits]
    return Calibration(
        observer=decisions.observer,
        label=f"by {by}, {plural(count, 'fold')}, {link}, slopes {words}"
        + _said(far, robust=robust),
        by=by,
        slopes=words,
        folds=folds,
        fits=tuple(fits[1:]),
        overall=fits[0],
        study_hash=study.hash,
        responses_hash=study.responses.hash,
        decisions_hash=_decisions_hash(decisions),
        seed=seed,
        simulated=study.responses.simulated,
        largest_evidence=float(np.abs(rows.evidence).max()),
        guarded=robust,
        unanswered=int((~decisions.answered).sum()),
    )


def _said(far: Bools, *, robust: bool) -> str:
    if not robust:
        return ", not guarded"
    return (
        f", {far.sum()} of {plural(len(far), 'value')} out of scale not counted"
        if far.any()
        else ""
    )


def calibration_for(
    decisions: DecisionVariables,
    study: Study,
    calibration: CalibrationLike | None = None,
    *,
    uncalibrated: bool = False,
    by: FoldsBy = "unit",
    seed: int = 0,
) -> Calibration:
    """The calibration to predict people by: the one given, none, or one fitted out of fold.

    Every score and comparison takes its evidence through here, from Python and from the command
    line, so that nothing is scored uncalibrated unless that was asked for.

    Raises
    ------
    InputError
        A calibration together with `uncalibrated`; a file that is no calibration.
    """
    if calibration is not None and uncalibrated:
        raise InputError(
            "a calibration, and uncalibrated", where=decisions.observer, do="leave one of them out"
        )
    if uncalibrated:
        return Calibration.identity()
    if isinstance(calibration, Calibration):
        return calibration
    if isinstance(calibration, Mapping):
        return Calibration.from_json(calibration)
    if isinstance(calibration, str | Path):
        return Calibration.read(Path(calibration))
    if calibration is not None:
        raise InputError(
            "not a calibration",
            where=decisions.observer,
            found=type(calibration).__name__,
            wanted="a Calibration, its file, or what its to_json gives",
        )
    return calibrate(decisions, study, by=by, seed=seed)


@dataclass(frozen=True, eq=False)
class _AnswerRows:
    """Answers aggregated to one row a trial and side.

    `successes` are first choices against evidence for the first query where `oriented`, correct
    answers against evidence for the correct query elsewhere.
    """

    trial: Ints
    evidence: Floats
    successes: Floats
    answers: Floats
    oriented: bool


def _answer_rows(
    decisions: DecisionVariables, study: Study, *, bias: bool | None, silent: Bools
) -> _AnswerRows:
    position = rows_of(study.trials.trial_id, among=decisions.trial_id)
    if not (position >= 0).any():
        raise NotComparableError(
            "no trial in common", where=f"decisions of '{decisions.observer}' and the study"
        )
    told = decisions.answered & ~silent
    usable = (position >= 0) & told[position] & ~study.trials.catch
    answers = np.flatnonzero(usable[study.rows])
    if not answers.size:
        raise NotEnoughDataError(
            "no answers to calibrate on",
            where=f"decisions of '{decisions.observer}'",
            found=f"{plural(usable.sum(), 'main trial')} with an answer of the observer",
            wanted="some that people answered too",
        )
    trial = study.rows[answers]
    correct = study.responses.correct[answers].astype(np.float64)
    first = study.responses.chose_first[answers]
    known = ~np.isnan(first)
    if bias and not known.all():
        raise InputError(
            "bias cannot be estimated",
            where="responses",
            found=f"{plural((~known).sum(), 'answer')} of unknown order of queries",
            wanted="chose_first for every answer",
        )
    oriented = bool(known.all()) if bias is None else bias
    side = (first == correct) if oriented else np.ones(len(trial), dtype=bool)
    outcome = first if oriented else correct
    key = 2 * trial + side
    keys, row = np.unique(key, return_inverse=True)
    sign = np.where(keys % 2 == 1, 1.0, -1.0)
    return _AnswerRows(
        trial=keys // 2,
        evidence=sign * decisions.toward_correct[position[keys // 2]],
        successes=np.bincount(row, outcome).astype(np.float64),
        answers=np.bincount(row).astype(np.float64),
        oriented=oriented,
    )


def _decisions_hash(decisions: DecisionVariables) -> str:
    order = np.argsort(decisions.trial_id.astype(str), kind="stable")
    names = ("trial_id", "decision_variable", "shown_first")
    return sha256_columns({name: getattr(decisions, name)[order] for name in names})


def _recorded(slopes: SlopesAsked) -> Slopes:
    """The word of a calibration's record for one that may have been typed without blanks."""
    if slopes == "common":
        return "common"
    return "pooled by mode" if slopes.startswith("pooled") else "by mode"
