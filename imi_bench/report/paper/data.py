"""What all panels of the paper are drawn from, computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from imi_bench.arrays import Floats
from imi_bench.beside import beside, cores
from imi_bench.effects.effect import Effects
from imi_bench.effects.study import effects
from imi_bench.errors import InputError, ModelError, NotComparableError, NotEnoughDataError
from imi_bench.release.borowski import BorowskiTable, is_borowski, read_borowski
from imi_bench.release.conditions import ConditionMean, condition_means, means_of
from imi_bench.release.published import Condition, published
from imi_bench.release.study_files import AnswersLike, answers_path, read_answers
from imi_bench.release.table import ReleasedTable, read_release
from imi_bench.report.paper.truth import TrueValues, read_true_values
from imi_bench.stimuli.trial_files import read_trials
from imi_bench.tables import DecisionsLike, DecisionVariables, Study, Trials
from imi_bench.tables.align import rows_of
from imi_bench.vision.layer_names import layer_types, relative_depths
from imi_bench.vision.layer_widths import layer_widths

__all__ = ["PaperData", "observed", "read_paper", "with_layers"]

ORDERS = ("paper", "accuracy", "year")
USUAL = {"stimuli": None, "ordinal": True, "seed": 0}
TrialsLike: TypeAlias = "str | Path | Trials"


@dataclass(frozen=True, eq=False)
class PaperData:
    """The answers, and what several panels need of them.

    Attributes
    ----------
    study : Study
    frame : DataFrame
        One row an answer: that of `Study.to_frame` with `depth`, `type`, and `order` (place
        among the person's trials in a session, from 1; NaN where the table does not tell).
    forerunner : BorowskiTable or None
        The whole table of the forerunner's experiment, where that is what was read.
    released : ReleasedTable or None
        The whole released table, rejected assignments and all, where that is what was read.
    means : tuple of ConditionMean
    effects, ordinal : Effects or None
        None where the model cannot be fitted or was not asked for.
    refused : str
        Why people's model, or the comparison of observers with it, cannot be had.
    lower : ReleasedTable or None
        Answers that the authors did not keep, from ``responses_lower_quality.csv`` beside the
        table, where this holds none itself.
    decisions : tuple of DecisionVariables
    true : TrueValues or None
        Of a simulated table that lies beside its truth.
    seed : int
    name : str
        Of the table.
    stimuli : Trials or None
        Images of some of the trials.
    options : str
        Further arguments of `read_paper`, as Python.
    from_file : bool
        Whether `name` is what `read_paper` takes.
    who : str
        ``people``, or the observer whose answers these are.
    unrated : str
        Why the model of six ordered answers cannot be had, where it was asked for.
    """

    study: Study
    frame: pd.DataFrame
    forerunner: BorowskiTable | None
    released: ReleasedTable | None
    means: tuple[ConditionMean, ...]
    effects: Effects | None
    ordinal: Effects | None
    refused: str
    lower: ReleasedTable | None = None
    decisions: tuple[DecisionVariables, ...] = ()
    true: TrueValues | None = None
    seed: int = 0
    name: str = ""
    stimuli: Trials | None = None
    options: str = ""
    from_file: bool = True
    who: str = "people"
    unrated: str = ""

    @property
    def simulated(self) -> bool:
        """Whether the answers are made up."""
        return self.study.responses.simulated

    @property
    def truth(self) -> Mapping[Condition, float]:
        """Expected proportion correct of a simulated condition; empty otherwise."""
        return {} if self.true is None else self.true.means

    def networks(self, order: str = "paper") -> list[str]:
        """Networks of the study: as in the paper, by accuracy, or by year; others after them."""
        mine = self._names
        known = [name for name in published().networks if name in mine]
        if order != "paper" and self.effects is not None:
            column = {"accuracy": "top1", "year": "year"}[order]
            value = self.effects.properties[column].reindex(known)
            known = list(value.sort_values(kind="stable").index)
        return known + sorted(set(mine) - set(known))

    @cached_property
    def _names(self) -> list[str]:
        return [str(name) for name in self.frame["network"].unique()]

    @property
    def together(self) -> tuple[str, ...]:
        """Numbers of references that the page takes together; nothing where there is one."""
        known = self.frame["references"].unique() if "references" in self.frame else ()
        return tuple(sorted(map(str, known))) if len(known) > 1 else ()

    @cached_property
    def units(self) -> pd.DataFrame:
        """One row a unit in a mode at a difficulty: `hits`, `answers`, `p`, `true` and its layer.

        `depth`, `type`, `width` are the layer's (width NaN where it is not known); `true` is the
        true proportion in a simulation, NaN otherwise.
        """
        keys = ["network", "layer", "unit_id", "mode", "difficulty", "depth", "type", "width"]
        frame = self.frame[[*keys, "correct"]].astype({"mode": str, "difficulty": str})
        found = frame.groupby(keys, observed=True, dropna=False)["correct"].agg(["sum", "size"])
        table = found.rename(columns={"sum": "hits", "size": "answers"}).reset_index()
        table = table.assign(p=table["hits"] / table["answers"])
        if self.true is None:
            return table.assign(true=np.nan)
        true = self.true.units(self.study.trials)
        return table.merge(true, how="left", on=["unit_id", "mode", "difficulty"])

    @cached_property
    def easy(self) -> pd.DataFrame:
        """The `units` with the most extreme queries."""
        units = self.units
        return units[(units["difficulty"] == "easy").to_numpy()].reset_index(drop=True)


def read_paper(
    responses: AnswersLike,
    *,
    decisions: Sequence[DecisionsLike] = (),
    stimuli: TrialsLike | None = None,
    ordinal: bool = True,
    seed: int = 0,
) -> PaperData:
    """Read answers and fit the models that several panels share.

    Parameters
    ----------
    responses : what `imi_bench.release.study_files.read_answers` takes
    decisions : sequence of what `DecisionVariables.read` takes
    stimuli : path or Trials, optional
        Images of trials that people answered, to show the easiest and hardest units.
    ordinal : bool
        Fit the model of six ordered answers as well, where confidence was asked.
    seed : int
        Of bootstraps and split halves.

    Raises
    ------
    NotEnoughDataError
        If no answer to a main trial was kept.

    Examples
    --------
    ``read_paper("simulated.csv").means``
    """
    path = answers_path(responses) if isinstance(responses, str | Path) else None
    forerunner, released, order, study = _read(responses, path)
    frame = study.to_frame()
    frame = frame.assign(order=order if order is not None else np.nan)
    if forerunner is not None:
        rows = forerunner.frame[forerunner.main]
        number = rows["references"].astype(str)
        shown = number.where(rows["sides"] == "max", number + "+" + number)
        frame = frame.assign(references=shown.to_numpy())
    frame = frame[~frame["catch"]].reset_index(drop=True)
    if frame.empty:
        raise NotEnoughDataError(
            "no answer to a main trial was kept",
            where=path or study.responses.source,
            found="0 answers that passed all checks",
            do="take responses_main.csv or responses_all.csv; the answers that were not kept stand "
            "beside those in question 9",
        )
    frame = with_layers(frame)
    asked = ordinal and bool(frame["confidence"].notna().any())
    with beside(processes=cores() if asked and path is not None else 1) as other:
        # The ordinal model takes as long as all else: beside it, in a process of its own.
        later = other.start(_rated, str(path), seed) if asked and path is not None else None
        found, refused = _effects(path or study, decisions, seed)
        record, unrated = later.result() if later is not None else (None, "")
    rated = Effects.from_json(record) if record is not None else None
    pictures = read_trials(stimuli) if isinstance(stimuli, str | Path) else stimuli
    folder = str(stimuli) if isinstance(stimuli, Path) else stimuli
    given = {"stimuli": folder, "ordinal": ordinal, "seed": seed}
    told = [f"{k}={v!r}" for k, v in given.items() if isinstance(v, str | int) and v != USUAL[k]]
    runs = [str(one) for one in decisions if isinstance(one, str | Path)]
    told = [f"decisions={runs!r}", *told] if runs else told
    return PaperData(
        study=study,
        frame=frame,
        forerunner=forerunner,
        released=released,
        means=condition_means(study, seed=seed),
        effects=found,
        ordinal=rated,
        refused=refused,
        lower=_lower_quality(path, released),
        decisions=tuple(DecisionVariables.read(one) for one in decisions),
        true=read_true_values(path),
        seed=seed,
        name=str(responses) if isinstance(responses, str | Path) else study.responses.source,
        stimuli=pictures,
        options="".join(f", {one}" for one in told),
        from_file=isinstance(responses, str | Path),
        unrated=unrated,
    )


def with_layers(frame: pd.DataFrame) -> pd.DataFrame:
    """Answers with their layer's depth, type and width; NaN where a layer has none."""
    shown = frame[["network", "layer"]].astype(str)
    known = shown.drop_duplicates().reset_index(drop=True)
    known = known.assign(
        depth=_depths(known),
        type=layer_types(known["layer"]),
        width=layer_widths(known["network"], known["layer"]),
    )
    laid = shown.merge(known, how="left", on=["network", "layer"])
    return frame.assign(
        **{name: laid[name].to_numpy() for name in ("depth", "type", "width")},
        correct=frame["correct"].astype(float),
    )


def _lower_quality(path: Path | None, released: ReleasedTable | None) -> ReleasedTable | None:
    """The table of answers that were not kept, beside one that holds only kept ones."""
    if path is None or released is None or not released.kept_as_released[released.main].all():
        return None
    beside = path.with_name("responses_lower_quality.csv")
    return read_release(beside) if beside.is_file() and beside != path else None


def observed(data: PaperData, decisions: DecisionVariables, effects: Effects | None) -> PaperData:
    """The same study as an observer answers it: its answers to people's trials, one a trial.

    `correct` is its credit (one half for a tie), `confidence` the size of its decision variable.
    """
    index = data.study.trials
    row = rows_of(decisions.trial_id, among=index.trial_id)
    used = (row >= 0) & ~np.isnan(decisions.decision_variable)
    frame = index.take(row[used]).to_frame()
    frame = frame.assign(
        unit_id=index.unit_id[row[used]],
        participant=decisions.observer,
        correct=decisions.credit[used],
        confidence=np.abs(decisions.decision_variable[used]),
        seconds=np.nan,
        order=np.nan,
        chose_first=np.nan,
    )
    frame = with_layers(frame[~frame["catch"]].reset_index(drop=True))
    means = means_of(frame, seed=data.seed, n_resamples=2000)
    return replace(
        data,
        frame=frame,
        forerunner=None,
        released=None,
        lower=None,
        means=means,
        effects=effects,
        ordinal=None,
        decisions=(),
        true=None,
        stimuli=None,
        who=decisions.observer,
    )


def _read(
    responses: AnswersLike, path: Path | None
) -> tuple[BorowskiTable | None, ReleasedTable | None, np.ndarray | None, Study]:
    if path is None or path.suffix != ".csv":
        return None, None, None, read_answers(responses)
    if is_borowski(path):
        table = read_borowski(path)
        rows = table.frame[table.main]
        return table, None, _place(rows["participant"], rows["trial_number"]), table.study()
    released = read_release(path)
    rows = released.frame.loc[released.kept_as_released]
    order = None
    if "trial_index" in rows:
        keys = [n for n in ("participant_id", "model", "mode", "task_id") if n in rows]
        session = rows.groupby(keys, observed=True, sort=False).ngroup()
        order = _place(session, rows["trial_index"])
    return None, released, order, released.study()


def _place(session: pd.Series, number: pd.Series) -> np.ndarray:
    """Place of each answer within its session, from 1."""
    return number.astype(float).groupby(session.to_numpy()).rank(method="first").to_numpy()


def _depths(layers: pd.DataFrame) -> Floats:
    depth = np.full(len(layers), np.nan)
    for network, rows in layers.groupby("network").indices.items():
        try:
            names = layers["layer"].iloc[rows]
            depth[rows] = relative_depths([str(network)] * len(rows), names)
        except InputError:
            continue  # a network of one block has no depth
    return depth


def _effects(
    answers: AnswersLike, decisions: Sequence[DecisionsLike], seed: int, **options: Any
) -> tuple[Effects | None, str]:
    try:
        return effects(answers, decisions=decisions, seed=seed, **options), ""
    except (ModelError, NotComparableError) as error:
        reason = str(error)
    if not decisions:
        return None, reason
    found, refused = _effects(answers, (), seed, **options)
    return found, refused or f"observers' effects cannot be compared: {reason}"


def _rated(path: str, seed: int) -> tuple[dict[str, Any] | None, str]:
    found, reason = _effects(path, (), seed, ordinal=True)
    return (None, reason) if found is None else (found.to_json(), "")
