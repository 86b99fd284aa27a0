"""What one trial contributes to the score that the gate compares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from imi_bench.arrays import Floats
from imi_bench.choice.calibrate import calibrate
from imi_bench.errors import InputError
from imi_bench.scores.alignment import align_answers
from imi_bench.scores.likelihood import bits_above_chance
from imi_bench.tables import DecisionVariables, Responses, Study, TrialIndex
from imi_bench.tables.align import rows_of

__all__ = ["SCORES", "TrialScores", "trial_scores"]

SCORES = {
    "accuracy": "proportion of trials answered correctly, ties and missing answers one half",
    "human-agreement": "probability of agreeing with a randomly drawn human answer on the trial",
    "bits": "held-out log-likelihood of people's answers, bits an answer above chance, each run "
    "calibrated on the other units",
}


@dataclass(frozen=True, eq=False)
class TrialScores:
    """Scores of baseline and new run, trial by trial.

    Attributes
    ----------
    baseline, new : (T,) float64
        NaN where people gave no answer that the score needs.
    largest : float
        Largest difference that one trial can show.
    calibration : str
        How decision variables became predictions; ``none`` where they did not have to.
    calibration_hashes : tuple of str
        Of baseline and new run; empty without calibration.
    """

    baseline: Floats
    new: Floats
    largest: float = 1.0
    calibration: str = "none"
    calibration_hashes: tuple[str, ...] = ()


def trial_scores(
    name: str,
    runs: tuple[DecisionVariables, DecisionVariables],
    index: TrialIndex,
    people: Study | Responses | None,
) -> TrialScores:
    """Score both runs on every trial of `index`.

    Parameters
    ----------
    name : str
        A key of `SCORES`.
    runs : pair of DecisionVariables
        Baseline and new run.
    index : TrialIndex
    people : Study or Responses, optional
        Needed by ``human-agreement`` and (a `Study`) by ``bits``.

    Raises
    ------
    InputError
        If people are needed and missing.
    LeakageError
        A run's observer was fitted to people's answers about some of these units or pictures.
    NotComparableError, NotEnoughDataError
        As `imi_bench.choice.calibrate.calibrate`.
    """
    for run in runs:
        if run.fitted_on is not None:
            run.fitted_on.refuse(index, observer=run.observer)
    if name == "accuracy":
        return TrialScores(_credit(runs[0], index), _credit(runs[1], index))
    if people is None:
        raise InputError(f"score '{name}' needs human answers", do="add responses=")
    responses = people.responses if isinstance(people, Study) else people
    if name == "human-agreement":
        share = pd.Series(responses.correct.astype(float)).groupby(responses.trial_id).mean()
        correct = share.reindex(index.trial_id).to_numpy(dtype=np.float64)
        old, new = (_credit(run, index) for run in runs)
        return TrialScores(
            old * correct + (1 - old) * (1 - correct), new * correct + (1 - new) * (1 - correct)
        )
    return _bits(runs, index, people if isinstance(people, Study) else Study(index, responses))


def _credit(run: DecisionVariables, index: TrialIndex) -> Floats:
    rows = rows_of(index.trial_id, among=run.trial_id)
    return np.asarray(run.credit[rows], dtype=np.float64)


def _bits(
    runs: tuple[DecisionVariables, DecisionVariables], index: TrialIndex, study: Study
) -> TrialScores:
    made: list[Floats] = []
    extremes: list[float] = []
    hashes: list[str] = []
    label = "none"
    for run in runs:
        calibration = calibrate(run, study)
        matched = align_answers(run, study, calibration=calibration)
        bits = bits_above_chance(matched.p_correct[matched.trial], matched.correct)
        sums = np.bincount(matched.trial, bits, minlength=len(matched.index))
        means = pd.Series(sums / matched.answers, index=matched.index.trial_id)
        made.append(np.asarray(means.reindex(index.trial_id), dtype=np.float64))
        extremes += [float(bits.min()), float(bits.max())]
        hashes.append(calibration.hash)
        label = calibration.label
    return TrialScores(
        made[0],
        made[1],
        largest=max(extremes) - min(extremes),
        calibration=label,
        calibration_hashes=tuple(hashes),
    )
