"""A measure learnt from people, and what it scores on people it never saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from imi_bench.measure.curves import Curves
from imi_bench.measure.table import Covariates
from imi_bench.measure.transfer import Gains, Transferred, transfer
from imi_bench.observers.learned import FILE
from imi_bench.plots import Interval, forest
from imi_bench.provenance import atomic_path, write_json
from imi_bench.release.study_files import AnswersLike
from imi_bench.results import Result
from imi_bench.stats.estimate import Estimate
from imi_bench.tables import DecisionsLike, Trials
from imi_bench.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from imi_bench.simulation.truth import Known, WorldTruth


@dataclass(frozen=True, eq=False, repr=False)
class Learned(Gains, Result):
    """A measure learnt from people; every score is of people it never saw.

    Attributes
    ----------
    name : str
    head : str
        ``observer`` (blind) or ``measure`` (told each trial's mode and difficulty). Their scores
        do not compare: the zero of the second is the base rate.
    by : str
        What a fold holds out: ``unit`` or ``network``.
    observers : tuple of str
    bits : Estimate
        Bits an answer above chance, out of fold.
    best_single : mapping
        ``observer``: the one chosen most often; ``bits``: Estimate of the single observers that
        the training folds chose.
    difference : Estimate
        Learned less best single (observer head), or less the base rate (measure head).
    against_equal : Estimate
        Learned less equal weights.
    ece : Estimate
        Expected calibration error of the out-of-fold predictions.
    ece_by_noise : Estimate
        What that error would be of perfectly calibrated predictions of these answers: its mean,
        and the range of `level` of cases.
    singles : mapping of str to float
        Each observer alone, calibrated out of fold: for the table, never for a choice.
    base_rate : float
        Bits of the base rate of mode and difficulty, out of fold.
    ceiling, share_of_ceiling : Estimate
        Bits that people predict of one another, and `bits` as a share of them.
    weights : mapping of str to Estimate
        Of the final fit, intervals by bootstrap over units.
    predictions : DataFrame
        One row a trial, out of fold.
    conditions : DataFrame
        Mean bits by mode and difficulty.
    log : list
        Of each fold: shares of the shrinkages in the inner folds, and bits of each.
    curves : Curves, optional
        Learning curves over units and answers a unit, and what to collect next.
    record : dict
        What ``learned.json`` holds.
    simulated : bool
    notes : tuple of str
        What was left out, filled in or shared.
    """

    name: str
    head: str
    by: str
    observers: tuple[str, ...]
    ece: Estimate
    ece_by_noise: Estimate
    singles: Mapping[str, float]
    base_rate: float
    weights: Mapping[str, Estimate]
    predictions: pd.DataFrame
    conditions: pd.DataFrame
    log: list[dict[str, Any]]
    record: dict[str, Any]
    curves: Curves | None = None
    notes: tuple[str, ...] = ()

    shown_columns = ("part", "bits", "low", "high", "weight", "weight low", "weight high")

    @property
    def title(self) -> str:
        """What was learnt, on how much, and what it gains."""
        made_up = "simulated " if self.simulated else ""
        zero = "best single observer" if self.head == "observer" else "base rate"
        return (
            f"Learned measure '{self.name}' ({self.head} head), out of fold by {self.by}: "
            f"{self.bits} bits an answer of {plural(self.bits.n, f'{made_up}answer')}; "
            f"{self.difference} above the {zero}"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row a part: the whole, its zero points, each observer with its weight."""
        single = self.best_single["bits"]
        rows: list[dict[str, Any]] = [
            {
                "part": "learned",
                "bits": self.bits.value,
                "low": self.bits.low,
                "high": self.bits.high,
            },
            {
                "part": "best single (chosen in training folds)",
                "bits": single.value,
                "low": single.low,
                "high": single.high,
            },
            {"part": "equal weights", "bits": self.bits.value - self.against_equal.value},
            {"part": "base rate of mode and difficulty", "bits": self.base_rate},
        ]
        for name in self.observers:
            weight = self.weights[name]
            rows.append(
                {
                    "part": name,
                    "bits": self.singles[name],
                    "weight": weight.value,
                    "weight low": weight.low,
                    "weight high": weight.high,
                }
            )
        return pd.DataFrame(rows)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the bits of the parts and of the whole."""
        frame = self.to_frame()
        parts = [
            Interval(str(r["part"]), r["bits"], r["low"], r["high"]) for _, r in frame.iterrows()
        ]
        return forest(
            parts, xlabel="bits an answer above chance, out of fold", title=self.title, ax=ax
        )

    def transfer(
        self,
        decisions: Sequence[DecisionsLike],
        study: AnswersLike,
        *,
        trials: Trials | str | Path | None = None,
        covariates: Covariates = None,
        level: float = 0.95,
    ) -> Transferred:
        """Score the fit to all units on people of another study: a new network, a new world.

        Parameters
        ----------
        decisions : sequence
            Runs of the same observers; matched by name.
        study : Study, or what `imi_bench.release.study_files.read_answers` takes
        trials, covariates
            As in `learn`; needed where features of the sets, or covariates, were.
        level : float

        Raises
        ------
        LeakageError
            Units, or pictures (with `trials`), of the fit.
        NotComparableError
            Other observers, or other covariates.
        """
        return transfer(self, decisions, study, trials=trials, covariates=covariates, level=level)

    def share_of_bayes(self, truth: WorldTruth, *, known: Known = "covariates") -> float:
        """`bits` as a share of the best score anyone can reach in a made-up world."""
        return self.bits.value / truth.bayes(known=known)

    def _scores(self) -> dict[str, Any]:
        """All but the predictions and the record, which have files of their own."""
        skipped = ("predictions", "record")
        return {name: value for name, value in self.to_json().items() if name not in skipped}

    def write(self, folder: str | Path) -> Path:
        """Write ``learned.json``, ``predictions.parquet``, ``scores.json`` and ``learned.html``.

        Returns
        -------
        Path
            The folder, which ``--observer`` takes.
        """
        from imi_bench.measure.page import page

        out = Path(folder)
        out.mkdir(parents=True, exist_ok=True)
        with atomic_path(out / "predictions.parquet") as temporary:
            self.predictions.to_parquet(temporary, index=False)
        write_json(out / "scores.json", self._scores())
        with atomic_path(out / "learned.html") as temporary:
            temporary.write_text(page(self), "utf-8")
        write_json(out / FILE, self.record)
        return out
