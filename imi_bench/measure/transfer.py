"""A learned measure on people it was not fitted to: another network, another world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from imi_bench.arrays import Floats
from imi_bench.choice.calibration import Calibration
from imi_bench.documents import reading
from imi_bench.errors import InputError, LeakageError, NotComparableError
from imi_bench.measure.head import HeadRows
from imi_bench.measure.mixture import Mixture
from imi_bench.measure.nested import OutOfFold
from imi_bench.measure.table import Covariates, Table, make_table
from imi_bench.observers.learned import agreement
from imi_bench.plots import Interval, forest
from imi_bench.records import restored
from imi_bench.release.study_files import AnswersLike, read_answers
from imi_bench.results import Record, Result
from imi_bench.scores.alignment import align_answers
from imi_bench.scores.report import leave_out
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.intervals import estimate, gap
from imi_bench.stats.jackknife import Jackknife
from imi_bench.stimuli.trial_files import read_trials
from imi_bench.tables import DecisionsLike, DecisionVariables, Study, Trials
from imi_bench.tables.fitted_on import FittedOn
from imi_bench.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from imi_bench.measure.result import Learned

WHOLE = ("learned", "equal", "single", "base")
"""The whole and its zero points."""


@dataclass(frozen=True, eq=False)
class Predicted:
    """(T,) probabilities of a correct answer, by the whole and by its zero points."""

    learned: Floats
    equal: Floats
    single: Floats
    base: Floats


@dataclass(frozen=True, eq=False, repr=False)
class Gains(Record):
    """What a measure scores on people it was not fitted to, and what it gains.

    Attributes
    ----------
    bits : Estimate
        Bits an answer above chance.
    best_single : mapping
        ``observer``: of the study that was learnt from, the one chosen most often where several
        fits choose; ``bits``: Estimate of the single observers.
    difference : Estimate
        Learned less best single (observer head), or less the base rate (measure head).
    against_equal : Estimate
        Learned less equal weights.
    ceiling, share_of_ceiling : Estimate
        Bits that people predict of one another, and `bits` as a share of them.
    simulated : bool
    """

    bits: Estimate
    best_single: Mapping[str, Any]
    difference: Estimate
    against_equal: Estimate
    ceiling: Estimate
    share_of_ceiling: Estimate
    simulated: bool

    @classmethod
    @reading("result")
    def from_json(cls, record: str | Mapping[str, Any]) -> Self:
        """Read back what `to_json` gave."""
        found = restored(cls, record)
        single = {**found.best_single, "bits": Estimate.from_json(found.best_single["bits"])}
        return replace(found, best_single=single)


class Transferred(Gains, Result):
    """Scores of a fit to one study on another."""

    @property
    def title(self) -> str:
        """What the fit scores on the other study."""
        made_up = "simulated " if self.simulated else ""
        return (
            f"{self.bits} bits an answer of {self.bits.n} {made_up}answers of another study; "
            f"{self.difference} above the zero of its head"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row a part: the whole, what it gains, and what people predict of one another."""
        single = f"best single of the fit ({self.best_single['observer']})"
        parts = {
            "learned": self.bits,
            single: self.best_single["bits"],
            "learned less the zero of its head": self.difference,
            "learned less equal weights": self.against_equal,
            "ceiling": self.ceiling,
            "share of the ceiling": self.share_of_ceiling,
        }
        return pd.DataFrame(
            [
                {"part": name, "bits": one.value, "low": one.low, "high": one.high}
                for name, one in parts.items()
            ]
        )

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the bits of the whole, what it gains, and what people predict of one another."""
        shown = self.to_frame().to_dict("records")[:-1]  # the share is no number of bits
        rows = [Interval(r["part"], r["bits"], r["low"], r["high"]) for r in shown]
        return forest(rows, xlabel="bits an answer", title=self.title, reference=0.0, ax=ax)


def transfer(
    found: Learned,
    decisions: Sequence[DecisionsLike],
    study: AnswersLike,
    *,
    trials: Trials | str | Path | None = None,
    covariates: Covariates = None,
    level: float = 0.95,
) -> Transferred:
    """Score the fit to all units on another study; see `Learned.transfer`."""
    study = read_answers(study)
    if isinstance(trials, str | Path):
        trials = read_trials(trials)
    runs = _in_order(found, [DecisionVariables.read(one) for one in decisions])
    if found.record["features_from"] is not None:
        raise InputError(
            "features of the sets are computed by the observer itself",
            do="run `--observer` on the new trials and score it",
        )
    table = make_table(runs, study, head=found.head, trials=trials, covariates=covariates)
    known = FittedOn.of(found.record)
    if known is not None:
        known.refuse(table.index, observer=found.name)
        _refuse_pictures(known, table, found.name)
    wanted = list(found.record["covariates"])
    if list(table.covariates) != wanted:
        raise NotComparableError(
            "other covariates than those of the fit",
            found=", ".join(table.covariates) or "none",
            wanted=", ".join(wanted) or "none",
        )
    told = _predicted(found.record, table)
    scores = scored(table, runs[0], study, told, seed=int(found.record["seed"]))
    single = found.observers[found.record["yardsticks"]["single"]["column"]]
    gained = gains(scores, single, head=found.head, facts=table.facts(level))
    return Transferred(**gained, simulated=study.responses.simulated)


def gains(
    scores: Mapping[str, Mapping[str, Jackknife]],
    single: str,
    *,
    head: str,
    facts: dict[str, Any],
) -> dict[str, Any]:
    """The fields of `Gains`, from what `scored` gave and the name of the best single observer."""
    bits, whole = {part: scores[part]["bits"] for part in WHOLE}, scores["learned"]
    zero = bits["single" if head == "observer" else "base"]
    return {
        "bits": estimate(bits["learned"], **facts),
        "best_single": {"observer": single, "bits": estimate(bits["single"], **facts)},
        "difference": gap(bits["learned"], zero, **facts).estimate,
        "against_equal": gap(bits["learned"], bits["equal"], **facts).estimate,
        "ceiling": estimate(whole["left_out_bits"], **facts),
        "share_of_ceiling": estimate(whole["share_of_ceiling"], **facts),
    }


def _in_order(found: Learned, runs: list[DecisionVariables]) -> list[DecisionVariables]:
    by_name = {one.observer: one for one in runs}
    if set(by_name) != set(found.observers) or len(by_name) < len(runs):
        raise NotComparableError(
            "other observers than those learnt from",
            found=", ".join(one.observer for one in runs) or "none",
            wanted=", ".join(found.observers),
        )
    return [by_name[name] for name in found.observers]


def _refuse_pictures(known: FittedOn, table: Table, name: str) -> None:
    if table.pictures is None or not known.images:
        return
    seen = [
        trial
        for trial, shown in zip(table.index.trial_id, table.pictures, strict=True)
        if known.images & {one[:16] for one in shown}
    ]
    if seen:
        raise LeakageError(
            "pictures that the measure was fitted on",
            where=f"measure '{name}'",
            found=f"trial '{seen[0]}' ({plural(len(seen), 'such trial')})",
            wanted="pictures whose answers it never saw",
        )


def _predicted(record: Mapping[str, Any], table: Table) -> Predicted:
    yardsticks, final = record["yardsticks"], Mixture.from_json(record["final"])
    rows = _seen_by(final, table, tuple(record["features"]))
    column = int(yardsticks["single"]["column"])
    rates = yardsticks["base"]
    mean = float(np.mean(list(rates.values())))
    plain = rows.columns(list(range(rows.evidence.shape[1])))
    return Predicted(
        learned=final.probability(rows),
        equal=Mixture.from_json(yardsticks["equal"]).probability(plain),
        single=Mixture.from_json(yardsticks["single"]["head"]).probability(rows.columns([column])),
        base=np.array([rates.get(str(cell), mean) for cell in table.cells]),
    )


def _seen_by(head: Mixture, table: Table, features: tuple[str, ...]) -> HeadRows:
    """The rows with the features of the fit; agreement by the scales of the fit."""
    rows = table.rows
    if not features:
        return replace(rows, features=np.empty((len(rows.answers), 0)))
    if features != ("agreement",):
        raise NotComparableError("other features than agreement", found=", ".join(features))
    return replace(rows, features=agreement(head.standardised(rows.evidence))[:, None])


def scored(
    table: Table, run: DecisionVariables, study: Study, told: Predicted | OutOfFold, *, seed: int
) -> dict[str, dict[str, Jackknife]]:
    """Every score of the whole and of its zero points, each with what a unit moves it by."""
    matched = align_answers(replace(run, fitted_on=None), study, calibration=Calibration.identity())
    matched = matched.take(
        np.isin(matched.index.trial_id.astype(str), table.index.trial_id.astype(str))
    )
    found = {}
    for part in WHOLE:
        p = getattr(told, part)
        credit = np.where(p > 0.5, 1.0, np.where(p < 0.5, 0.0, 0.5))
        one = replace(matched, p_correct=p, credit=credit)
        found[part] = leave_out(one, seed=seed, n_draws=200 if part == "learned" else 0)
    return found
