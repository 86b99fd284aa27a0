"""The numbers of a report: proportions correct by stratum, and every observer's scores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from imi_bench.arrays import Bools, Floats, Ints
from imi_bench.report.contents import Exhibit, ObserverRun
from imi_bench.report.figures import PANEL
from imi_bench.scores.agreement import CONSISTENCY, TRIALS
from imi_bench.scores.report import ScoreReport, score
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.resampling import Score, Sums, estimate, resample
from imi_bench.tables import DIFFICULTIES, MODES, codes

N_RESAMPLES = 2000
ALL = "all"
_CORRECT: Score = next(s for s in TRIALS if s.name == "proportion_correct")
_PEOPLE_CORRECT: Score = next(s for s in CONSISTENCY if s.name == "human_proportion_correct")


@dataclass(frozen=True)
class Stratum:
    """Which main trials are meant; `ALL` leaves a part open."""

    network: str = ALL
    mode: str = ALL
    difficulty: str = ALL


@dataclass(frozen=True, eq=False)
class Summary:
    """All numbers of a report.

    Attributes
    ----------
    strata : tuple of Stratum
        Everything, each mode, each network by mode, each difficulty by mode; those with trials.
    correct : mapping of (str, Stratum) to Estimate
        Proportion correct of each observer, and of `PANEL` where one answered.
    scores : mapping of str to ScoreReport
        By observer; empty where nobody answered.
    """

    strata: tuple[Stratum, ...]
    correct: Mapping[tuple[str, Stratum], Estimate]
    scores: Mapping[str, ScoreReport]

    def best_first(self, observers: Iterable[str]) -> list[str]:
        """Observers by their proportion correct over all trials, the highest first."""
        return sorted(observers, key=lambda name: -self.correct[name, Stratum()].value)

    def values(self, part: str) -> list[str]:
        """The values of ``network``, ``mode`` or ``difficulty`` that occur."""
        return list(dict.fromkeys(getattr(s, part) for s in self.strata if getattr(s, part) != ALL))


def summarise(exhibit: Exhibit, *, n_resamples: int = N_RESAMPLES) -> Summary:
    """Compute all numbers; catch trials are left out of all of them.

    Parameters
    ----------
    exhibit : Exhibit
    n_resamples : int
        Of the cluster bootstrap over units.
    """
    strata = _strata(exhibit)
    correct: dict[tuple[str, Stratum], Estimate] = {}
    for stratum in strata:
        keep = _rows(exhibit, stratum)
        for run in exhibit.runs:
            correct[run.name, stratum] = proportion_correct(
                exhibit, keep, run=run, n_resamples=n_resamples
            )
        if exhibit.study is not None:
            correct[PANEL, stratum] = proportion_correct(exhibit, keep, n_resamples=n_resamples)
    scores = {}
    if exhibit.study is not None:
        for run in exhibit.runs:
            scores[run.name] = score(
                run.decisions,
                exhibit.study,
                calibration=run.calibration,
                uncalibrated=run.calibration is None,
                by=(),
                seed=exhibit.seed,
                n_resamples=n_resamples,
            )
    return Summary(strata, correct, scores)


def proportion_correct(
    exhibit: Exhibit,
    keep: Bools,
    *,
    run: ObserverRun | None = None,
    n_resamples: int = N_RESAMPLES,
) -> Estimate:
    """Proportion correct on some trials, with an interval over units.

    Parameters
    ----------
    exhibit : Exhibit
    keep : (T,) bool
    run : ObserverRun, optional
        The panel if None: then n counts answers, and participants are resampled as well.
    """
    index = exhibit.trials.index.take(keep)
    units = index.unit_code
    clusters = int(units.max()) + 1
    network = codes(index.network)[np.unique(units, return_index=True)[1]]
    none = np.zeros(0, dtype=np.int64)
    if run is not None:
        credit = run.decisions.credit[exhibit.rows_of(run)][keep]
        columns = {"credit": credit, "trials": np.ones(len(credit))}
        summed = {
            name: np.bincount(units, column, minlength=clusters).astype(np.float64)
            for name, column in columns.items()
        }
        sums, wanted, n = Sums(summed, {}, none, none, network), _CORRECT, len(credit)
    else:
        row, person, hits = _panel_answers(exhibit, keep)
        answers = {"hits": hits, "answers": np.ones(len(hits))}
        sums = Sums({}, answers, units[row], person, network)
        wanted, n = _PEOPLE_CORRECT, len(hits)
        if not n:
            return Estimate.undefined("nobody answered these trials")
    draws = resample(sums, [wanted], n_resamples=n_resamples, seed=exhibit.seed)[wanted.name]
    return _with_spread(estimate(draws, n=n, clusters=clusters))


def _with_spread(found: Estimate) -> Estimate:
    """Replace an interval without width: units that are all alike say nothing of their spread.

    Where all units are right (or wrong) throughout, the exact binomial interval takes the place,
    each unit counting as a single trial; elsewhere there is no interval.
    """
    if found.low < found.high or np.isnan(found.low):
        return found
    if found.value in (0.0, 1.0):
        hits = found.value * found.clusters
        low, high = proportion_confint(hits, found.clusters, method="beta")
        # the side on which the interval is closed is exact, whatever the library rounds it to
        low, high = (0.0, high) if found.value == 0 else (low, 1.0)
        return replace(found, low=float(low), high=float(high), method="exact, over units")
    return replace(
        found,
        low=math.nan,
        high=math.nan,
        method="",
        reason="the same in every unit, so that resampling units shows no spread",
    )


def _panel_answers(exhibit: Exhibit, keep: Bools) -> tuple[Ints, Ints, Floats]:
    """Row among the kept trials, participant and correctness of each answer."""
    if exhibit.study is None:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    responses = exhibit.study.responses
    known = pd.Index(exhibit.trials.index.trial_id[keep])
    row = known.get_indexer(pd.Index(responses.trial_id)).astype(np.int64)
    used = row >= 0
    hits = responses.correct[used].astype(np.float64)
    return row[used], codes(responses.participant[used]), hits


def _strata(exhibit: Exhibit) -> tuple[Stratum, ...]:
    index = exhibit.trials.index
    networks = sorted(set(index.network))
    wanted = [
        Stratum(),
        *(Stratum(mode=mode) for mode in MODES),
        *(Stratum(difficulty=level) for level in DIFFICULTIES),
        *(Stratum(network=name, mode=mode) for mode in MODES for name in networks),
        *(Stratum(mode=mode, difficulty=level) for mode in MODES for level in DIFFICULTIES),
    ]
    return tuple(stratum for stratum in wanted if _rows(exhibit, stratum).any())


def _rows(exhibit: Exhibit, stratum: Stratum) -> Bools:
    index = exhibit.trials.index
    keep = ~index.catch
    for part in ("network", "mode", "difficulty"):
        if (value := getattr(stratum, part)) != ALL:
            keep = keep & (getattr(index, part).astype(str) == value)
    return keep
