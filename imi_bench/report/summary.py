"""The numbers of a report: proportions correct by stratum, and every observer's scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from imi_bench.arrays import Bools, Floats, Ints
from imi_bench.errors import NotEnoughDataError
from imi_bench.report.contents import ObserverRun, ReportData
from imi_bench.report.figures import PANEL
from imi_bench.scores.agreement import TRIALS
from imi_bench.scores.consistency import CONSISTENCY
from imi_bench.scores.report import ScoreReport, score
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.intervals import estimate
from imi_bench.stats.jackknife import jackknives
from imi_bench.stats.sums import Score, Sums
from imi_bench.tables import DIFFICULTIES, MODES, codes
from imi_bench.tables.align import rows_of

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


def summarise(exhibit: ReportData, *, n_resamples: int = N_RESAMPLES) -> Summary:
    """Compute all numbers; catch trials are left out of all of them.

    Parameters
    ----------
    exhibit : ReportData
    n_resamples : int
        Draws behind scores that are not smooth; see `imi_bench.scores.report.score`.

    Raises
    ------
    NotEnoughDataError
        Catch trials alone.
    """
    if not (strata := _strata(exhibit)):
        raise NotEnoughDataError("no trial but catch trials", found=len(exhibit.trials.index))
    correct: dict[tuple[str, Stratum], Estimate] = {}
    for stratum in strata:
        keep = _rows(exhibit, stratum)
        for run in exhibit.runs:
            correct[run.name, stratum] = proportion_correct(exhibit, keep, run=run)
        if exhibit.study is not None:
            correct[PANEL, stratum] = proportion_correct(exhibit, keep)
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
    exhibit: ReportData,
    keep: Bools,
    *,
    run: ObserverRun | None = None,
) -> Estimate:
    """Proportion correct on some trials, with an interval over units.

    Parameters
    ----------
    exhibit : ReportData
    keep : (T,) bool
    run : ObserverRun, optional
        The panel if None: then n counts answers, and participants are a sample as well.
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
    found = jackknives(sums, [wanted], n_draws=0, seed=exhibit.seed)[wanted.name]
    return estimate(found, n=n, clusters=clusters)


def _panel_answers(exhibit: ReportData, keep: Bools) -> tuple[Ints, Ints, Floats]:
    """Row among the kept trials, participant and correctness of each answer."""
    if exhibit.study is None:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    responses = exhibit.study.responses
    row = rows_of(responses.trial_id, among=exhibit.trials.index.trial_id[keep])
    used = row >= 0
    hits = responses.correct[used].astype(np.float64)
    return row[used], codes(responses.participant[used]), hits


def _strata(exhibit: ReportData) -> tuple[Stratum, ...]:
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


def _rows(exhibit: ReportData, stratum: Stratum) -> Bools:
    index = exhibit.trials.index
    keep = ~index.catch
    for part in ("network", "mode", "difficulty"):
        if (value := getattr(stratum, part)) != ALL:
            keep = keep & (getattr(index, part).astype(str) == value)
    return keep
