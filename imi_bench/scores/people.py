"""How well people predict people, without any observer: the ceilings of a study."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from imi_bench.errors import NotEnoughDataError
from imi_bench.scores import ceiling
from imi_bench.scores.alignment import AlignedAnswers
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.intervals import estimate
from imi_bench.stats.jackknife import jackknives
from imi_bench.stats.sums import Sums
from imi_bench.tables import Study


def people_alone(study: Study) -> AlignedAnswers:
    """A study's main trials with answers, lined up with nobody: predictions are NaN.

    Raises
    ------
    NotEnoughDataError
        If no main trial was answered.
    """
    answered = np.bincount(study.rows, minlength=len(study.trials)) > 0
    keep = answered & ~study.trials.catch
    if not keep.any():
        raise NotEnoughDataError("no answer to a main trial", found="0 answers")
    place = np.cumsum(keep) - 1
    used = keep[study.rows]
    unknown = np.full(int(keep.sum()), np.nan)
    return AlignedAnswers(
        observer="nobody",
        index=study.trials.take(keep),
        credit=unknown,
        first=unknown,
        first_is_positive=np.zeros(len(unknown), dtype=bool),
        answered=np.zeros(len(unknown), dtype=bool),
        p_correct=unknown,
        trial=place[study.rows[used]],
        participant=np.unique(study.responses.participant_code[used], return_inverse=True)[1],
        correct=study.responses.correct[used].astype(np.float64),
        left_out=0,
    )


def people_ceilings(study: Study, *, seed: int = 0, level: float = 0.95) -> Mapping[str, Estimate]:
    """Reliability of people's proportions by condition, and their error consistency.

    Parameters
    ----------
    study : Study
    seed : int
        Of the split halves.
    level : float

    Returns
    -------
    mapping of str to Estimate
        ``split_half_reliability``, ``binomial_reliability``, ``human_consistency``,
        ``pooled_human_consistency``: see `imi_bench.scores.ceiling`.

    Examples
    --------
    >>> from imi_bench.simulation.demo import demo_data
    >>> _, people = demo_data(n_networks=1, n_batches=1, n_scenes=200, size=16)
    >>> sorted(people_ceilings(people))[0]
    'binomial_reliability'
    """
    alone = people_alone(study)
    sums = Sums(
        units={
            **ceiling.split_half_sums(alone, seed=seed),
            **ceiling.binomial_sums(alone),
            **ceiling.pair_sums(alone),
        },
        answers={},
        unit_of_answer=alone.unit[alone.trial],
        participant=alone.participant,
        stratum=alone.network_of_unit,
    )
    found = jackknives(sums, ceiling.CEILINGS, n_draws=0, seed=seed)
    return {
        name: estimate(one, n=len(alone.trial), clusters=alone.n_units, level=level)
        for name, one in found.items()
    }


def answers_needed(reliability: float, *, answers: float, wanted: float) -> float:
    """Answers a unit needs for a reliability, by Spearman and Brown's formula.

    Parameters
    ----------
    reliability : float
        With `answers` answers a unit; NaN or not in (0, 1) gives NaN.
    answers : float
    wanted : float
        In (0, 1).

    Examples
    --------
    >>> round(answers_needed(0.5, answers=30, wanted=0.8))
    120
    """
    if not 0 < reliability < 1 or not 0 < wanted < 1:
        return float("nan")
    return answers * wanted * (1 - reliability) / (reliability * (1 - wanted))
