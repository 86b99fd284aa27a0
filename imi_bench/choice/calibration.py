"""`Calibration`: a fitted choice model with its folds, and what it predicts of people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imi_bench.arrays import Floats, Ints, Strings
from imi_bench.choice.folds import FoldsBy, clusters_of
from imi_bench.choice.psychometric import (
    PsychometricFit,
    PsychometricParameters,
    choice_probability,
)
from imi_bench.documents import parse_json, read_json, reading
from imi_bench.errors import InputError, LeakageError, NotComparableError
from imi_bench.plots import BLUE, histogram, new_axes
from imi_bench.provenance import check_name, sha256_json, write_json
from imi_bench.records import restored
from imi_bench.release.published import published
from imi_bench.results import Result
from imi_bench.stats.squash import out_of_scale
from imi_bench.tables import DecisionVariables, TrialIndex
from imi_bench.tables.align import rows_of
from imi_bench.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Slopes = Literal["common", "by mode", "pooled by mode"]
SlopesAsked = Literal["common", "by mode", "by-mode", "pooled by mode", "pooled-by-mode", "pooled"]
"""As they are recorded, without blanks for a command line, and the command line's old word."""

MIS_DREAMSIM = PsychometricParameters(slope=published().mis["slope_on_dreamsim"])
"""The constant of the published machine interpretability score with DreamSim: logit, no lapse.

Zimmermann, Klindt and Brendel (2024), *Measuring Per-Unit Interpretability at Scale Without
Humans*. Never a default here: a slope belongs to an observer's own scale of evidence.
"""

NO_FOLD = -1


@dataclass(frozen=True, eq=False, repr=False)
class ChoiceProbabilities(Result):
    """What a calibrated observer predicts of people, each trial from a fit that never saw it.

    Attributes
    ----------
    observer : str
    trial_id : (T,) str
    p_first : (T,) float64
        Probability that a person who saw the observer's order of queries chooses the first.
    p_correct : (T,) float64
        Probability that a person chooses correctly, averaged over both orders of the queries.
    fold : (T,) int64
        The fold the trial was held out with; -1 where nothing was fitted on its unit.
    answered : (T,) bool
        False where the observer gave no answer; both probabilities are then one half.
    calibration : str
        Label of the calibration, for reports.
    """

    observer: str
    trial_id: Strings
    p_first: Floats
    p_correct: Floats
    fold: Ints
    answered: NDArray[np.bool_]
    calibration: str

    def __len__(self) -> int:
        return len(self.trial_id)

    @property
    def title(self) -> str:
        """Whose predictions, how calibrated."""
        return f"Choice probabilities of {self.observer}, {self.calibration}"

    def to_frame(self) -> pd.DataFrame:
        """One row a trial."""
        names = ("trial_id", "p_first", "p_correct", "fold", "answered")
        return pd.DataFrame({name: getattr(self, name) for name in names})

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw how the probabilities of a correct answer are spread over trials."""
        return histogram(
            self.p_correct,
            xlabel="predicted proportion correct",
            ylabel="trials",
            title=self.title,
            within=(0.0, 1.0),
            reference=0.5,
            ax=ax,
        )


@dataclass(frozen=True, eq=False, repr=False)
class Calibration(Result):
    """An observer's choice model, its folds, and the humans it saw.

    Attributes
    ----------
    observer : str
        Empty where it fits any observer (`identity`, `fixed`).
    label : str
        One line for reports, such as ``by unit, 10 folds`` or ``uncalibrated``.
    by : str
        ``unit`` or ``network``: what the folds keep together; ``none`` without folds.
    slopes : str
        ``common``, ``by mode`` or ``pooled by mode``.
    folds : mapping of str to int
        Fold of each cluster (``network/layer/unit``, or the network).
    fits : tuple of PsychometricFit
        ``fits[k]`` was fitted on all clusters but those of fold k.
    overall : PsychometricFit or None
        Fitted on everything: to be reported, and used for clusters in no fold.
    parameters : PsychometricParameters or None
        Given instead of fits where nothing was fitted.
    study_hash, responses_hash, decisions_hash : str
        Fingerprints of the humans it saw and of the evidence; empty where nothing was fitted.
    seed : int
        Of the assignment to folds.
    simulated : bool
        It was fitted to made-up answers.
    largest_evidence : float or None
        Largest size of the decision variables it was fitted on; None where nothing was fitted,
        and in files written before it was kept.
    guarded : bool
        Decision variables out of scale count as nothing said.
    unanswered : int
        Trials on which the observer gave no answer: they say nothing.

    Raises
    ------
    InputError
        Neither fits nor parameters, or folds without a fit.

    Examples
    --------
    >>> Calibration.identity().label
    'uncalibrated'
    >>> Calibration.fixed(MIS_DREAMSIM, label="MIS, DreamSim").parameters.slope
    0.16
    """

    observer: str
    label: str
    by: FoldsBy | Literal["none"] = "none"
    slopes: Slopes = "common"
    folds: Mapping[str, int] = field(default_factory=dict)
    fits: tuple[PsychometricFit, ...] = ()
    overall: PsychometricFit | None = None
    parameters: PsychometricParameters | None = None
    study_hash: str = ""
    responses_hash: str = ""
    decisions_hash: str = ""
    seed: int = 0
    simulated: bool = False
    largest_evidence: float | None = None
    guarded: bool = False
    unanswered: int = 0

    def __post_init__(self) -> None:
        if (self.parameters is None) == (self.overall is None):
            raise InputError(
                "not a calibration", where=self.label, wanted="either parameters or fits"
            )
        known = set(self.folds.values())
        if known != set(range(len(self.fits))):
            raise InputError(
                "folds and fits disagree",
                where=self.label,
                found=f"folds {sorted(known)}",
                wanted=f"one fit a fold ({len(self.fits)} fits)",
            )

    @classmethod
    def identity(cls, *, link: str = "logit") -> Self:
        """The explicit absence of calibration: slope 1, no bias, no lapse."""
        parameters = PsychometricParameters(slope=1.0, link=link)
        return cls(observer="", label="uncalibrated", parameters=parameters)

    @classmethod
    def fixed(cls, parameters: PsychometricParameters, *, label: str) -> Self:
        """Use given parameters, fitted on none of the humans at hand."""
        return cls(observer="", label=f"fixed: {label}", parameters=parameters)

    @property
    def calibrated(self) -> bool:
        """Whether it was fitted to people."""
        return self.overall is not None

    shown_columns = ("fit", "parameter", "value", "low", "high", "state")

    @property
    def title(self) -> str:
        """Whose calibration, and how it was made."""
        made_up = " (simulated answers)" if self.simulated else ""
        lost = f", {plural(self.unanswered, 'trial')} without an answer" if self.unanswered else ""
        return f"Calibration of {self.observer or 'any observer'}: {self.label}{lost}{made_up}"

    @property
    def named_fits(self) -> dict[str, PsychometricFit]:
        """The fits by what they saw: ``overall``, ``without fold 0`` and so on."""
        overall = {} if self.overall is None else {"overall": self.overall}
        return overall | {f"without fold {k}": fit for k, fit in enumerate(self.fits)}

    def to_frame(self) -> pd.DataFrame:
        """One row a fit and parameter: fit, parameter, value, low, high, reason, state."""
        given = [] if self.parameters is None else list(self.parameters.to_json().items())
        rows: list[dict[str, Any]] = [
            {"fit": "given", "parameter": name, "value": value}
            for name, value in given
            if name != "link"
        ]
        for name, fit in self.named_fits.items():
            slopes = {f"slope ({g})" if g != "all" else "slope": e for g, e in fit.slopes.items()}
            rows += [
                {
                    "fit": name,
                    "parameter": parameter,
                    "value": found.value,
                    "low": found.low,
                    "high": found.high,
                    "reason": found.reason,
                    "state": fit.state,
                }
                for parameter, found in {**slopes, "bias": fit.bias, "lapse": fit.lapse}.items()
            ]
        return pd.DataFrame(rows)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the psychometric function: over all answers, and of each fold thinly."""
        ax = new_axes(ax)
        models = [fit.parameters() for fit in self.fits]
        models += [self.parameters or self.named_fits["overall"].parameters()]
        steepest = max(abs(model.slope) for model in models) or 1.0
        evidence = np.linspace(-6 / steepest, 6 / steepest, 201)
        for model in models[:-1]:
            ax.plot(evidence, choice_probability(evidence, model), color="0.75", linewidth=0.6)
        ax.plot(evidence, choice_probability(evidence, models[-1]), color=BLUE)
        ax.set(xlabel="decision variable", ylabel="P(choose first)", ylim=(0, 1))
        ax.set_title(fill(self.title, 60), loc="left", fontsize="medium")
        return ax

    @cached_property
    def hash(self) -> str:
        """SHA-256 of what predicts: not of whether answers were made up, or lacking."""
        told = self.to_json()
        return sha256_json({k: told[k] for k in told.keys() - {"simulated", "unanswered"}})

    def predict(
        self, decisions: DecisionVariables, index: TrialIndex, *, fold: int | None = None
    ) -> ChoiceProbabilities:
        """Predict people on every trial of `index` that the observer was shown.

        Parameters
        ----------
        decisions : DecisionVariables
        index : TrialIndex
            Says which unit (or network) each trial belongs to.
        fold : int, optional
            Use the fit that held this fold out for all trials; -1 for the overall fit. By default
            each trial gets the fit of its own fold, and trials of clusters in no fold the overall
            one.

        Raises
        ------
        LeakageError
            With `fold`: some trial's cluster was among those the fit had seen.
        NotComparableError
            The calibration is another observer's, or there is no trial in common.
        """
        if self.observer not in ("", decisions.observer):
            raise NotComparableError(
                "calibration of another observer",
                where=f"'{self.label}'",
                found=f"that of '{self.observer}'",
                wanted=f"one of '{decisions.observer}'",
            )
        position = rows_of(index.trial_id, among=decisions.trial_id)
        shared = np.flatnonzero(position >= 0)
        if not shared.size:
            raise NotComparableError(
                "no trial in common", where=f"decisions of '{decisions.observer}' and trial table"
            )
        index, position = index.take(shared), position[shared]
        folds = self._folds_of(index)
        use = folds if fold is None else np.full(len(index), self._checked(fold, folds, index))
        told = decisions.toward_correct
        if self.guarded:
            told = np.where(out_of_scale(told), 0.0, told)
        evidence = told[position]
        first_is_positive = decisions.shown_first[position].astype(str) == "positive"
        toward, against = self._both_orders(evidence, index, use)
        answered = decisions.answered[position]
        return ChoiceProbabilities(
            observer=decisions.observer,
            trial_id=index.trial_id,
            p_first=np.where(answered, np.where(first_is_positive, toward, 1 - against), 0.5),
            p_correct=np.where(answered, (toward + against) / 2, 0.5),
            fold=folds,
            answered=answered,
            calibration=self.label,
        )

    def _folds_of(self, index: TrialIndex) -> Ints:
        if self.by == "none":
            return np.full(len(index), NO_FOLD)
        clusters = clusters_of(index, by=self.by)
        return np.array([self.folds.get(name, NO_FOLD) for name in clusters], dtype=np.int64)

    def _checked(self, fold: int, folds: Ints, index: TrialIndex) -> int:
        if not NO_FOLD <= fold < len(self.fits):
            raise InputError(
                "no such fold", where=self.label, found=fold, wanted=f"-1 to {len(self.fits) - 1}"
            )
        seen = (folds != NO_FOLD) & (folds != fold)
        if seen.any():
            row = int(np.flatnonzero(seen)[0])
            raise LeakageError(
                "trial would be scored by a fit that saw its unit"
                if self.by == "unit"
                else "trial would be scored by a fit that saw its network",
                where=f"trial '{index.trial_id[row]}' ({plural(seen.sum(), 'such trial')})",
                found=f"fold {folds[row]}, fit {'on everything' if fold < 0 else fold}",
                wanted="the fit that held the trial's fold out",
                do="leave out fold= to let every trial have its own",
            )
        return fold

    def _both_orders(self, evidence: Floats, index: TrialIndex, use: Ints) -> tuple[Floats, Floats]:
        """P(correct) where the correct query is shown first, and where second."""
        toward, against = np.full(len(index), np.nan), np.full(len(index), np.nan)
        modes = index.mode.astype(str)
        for fold in np.unique(use):
            for mode in np.unique(modes[use == fold]):
                rows = (use == fold) & (modes == mode)
                model = self._parameters(int(fold), str(mode))
                toward[rows] = choice_probability(evidence[rows], model)
                against[rows] = 1 - choice_probability(-evidence[rows], model)
        return toward, against

    def _parameters(self, fold: int, mode: str) -> PsychometricParameters:
        if self.parameters is not None:
            return self.parameters
        fit = self.overall if fold == NO_FOLD else self.fits[fold]
        return fit.parameters("all" if self.slopes == "common" else mode)  # type: ignore[union-attr]

    @classmethod
    @reading("calibration")
    def from_json(cls, record: str | Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises
        ------
        InputError
            A missing field, or anything the constructor refuses.
        """
        found = parse_json(record) if isinstance(record, str) else record
        if unknown := set(found) - {one.name for one in fields(cls)}:
            raise TypeError(f"unknown field '{min(map(str, unknown))}'")
        return restored(cls, found)

    def write(self, path: Path) -> None:
        """Write as JSON, atomically, into a file whose name ends so."""
        check_name(path, ".json", what="calibration")
        write_json(path, self.to_json())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read from JSON.

        Raises
        ------
        InputError
            No such file, not JSON, or not a calibration.
        """
        record = read_json(path)
        if not isinstance(record, dict):
            raise InputError("not a calibration", where=path, wanted="a JSON object")
        with reading("calibration", where=path):
            return cls.from_json(record)
