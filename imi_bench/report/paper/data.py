"""What all panels of the paper are drawn from, computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from imi_bench.documents import read_json
from imi_bench.effects.effect import Effects
from imi_bench.effects.study import effects
from imi_bench.errors import ModelError, NotComparableError
from imi_bench.release.borowski import BorowskiTable, is_borowski, read_borowski
from imi_bench.release.conditions import ConditionMean, condition_means
from imi_bench.release.published import Condition, published
from imi_bench.release.study_files import AnswersLike, answers_path, read_answers
from imi_bench.release.table import ReleasedTable, read_release, truth_path
from imi_bench.simulation.parameters import SimulationParameters, expected_mean
from imi_bench.tables import DecisionsLike, DecisionVariables, Study
from imi_bench.vision.layer_names import layer_types, relative_depths

__all__ = ["PaperData", "read_paper"]

ORDERS = ("paper", "accuracy", "year")


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
    decisions : tuple of DecisionVariables
    truth : mapping of Condition to float
        Expected proportion correct of a simulated condition; empty otherwise.
    parameters : mapping
        Of a simulation; empty otherwise.
    seed : int
    name : str
        Of the table.
    """

    study: Study
    frame: pd.DataFrame
    forerunner: BorowskiTable | None
    released: ReleasedTable | None
    means: tuple[ConditionMean, ...]
    effects: Effects | None
    ordinal: Effects | None
    refused: str
    decisions: tuple[DecisionVariables, ...] = ()
    truth: Mapping[Condition, float] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    name: str = ""

    @property
    def simulated(self) -> bool:
        """Whether the answers are made up."""
        return self.study.responses.simulated

    def networks(self, order: str = "paper") -> list[str]:
        """Networks of the study: as in the paper, by accuracy, or by year; others after them."""
        mine = list(dict.fromkeys(self.frame["network"].astype(str)))
        known = [name for name in published().networks if name in mine]
        if order != "paper" and self.effects is not None:
            column = {"accuracy": "top1", "year": "year"}[order]
            value = self.effects.properties[column].reindex(known)
            known = list(value.sort_values(kind="stable").index)
        return known + sorted(set(mine) - set(known))

    @property
    def units(self) -> pd.DataFrame:
        """One row a unit in a mode at a difficulty: `hits`, `answers`, `p`, depth, type."""
        keys = ["network", "layer", "unit_id", "mode", "difficulty", "depth", "type"]
        found = self.frame.groupby(keys, observed=True)["correct"].agg(["sum", "size"])
        table = found.rename(columns={"sum": "hits", "size": "answers"}).reset_index()
        return table.assign(p=table["hits"] / table["answers"])


def read_paper(
    responses: AnswersLike,
    *,
    decisions: Sequence[DecisionsLike] = (),
    ordinal: bool = True,
    seed: int = 0,
) -> PaperData:
    """Read answers and fit the models that several panels share.

    Parameters
    ----------
    responses : what `imi_bench.release.study_files.read_answers` takes
    decisions : sequence of what `DecisionVariables.read` takes
    ordinal : bool
        Fit the model of six ordered answers as well, where confidence was asked.
    seed : int
        Of bootstraps and split halves.

    Examples
    --------
    ``read_paper("simulated.csv").means``
    """
    path = answers_path(responses) if isinstance(responses, str | Path) else None
    forerunner, released, order, study = _read(responses, path)
    frame = study.to_frame()
    frame = frame.assign(
        order=order if order is not None else np.nan,
        depth=_depths(frame),
        type=layer_types(frame["layer"]),
        correct=frame["correct"].astype(float),
    )
    frame = frame[~frame["catch"]].reset_index(drop=True)
    asked = ordinal and bool(frame["confidence"].notna().any())
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        # The ordinal model takes as long as all else: beside it, in a process of its own.
        later = pool.submit(_rated, str(path), seed) if asked and path is not None else None
        found, refused = _effects(path or study, decisions, seed)
        record = later.result() if later is not None else None
    rated = Effects.from_json(record) if record is not None else None
    truth, parameters = _truth(path)
    return PaperData(
        study,
        frame,
        forerunner,
        released,
        condition_means(study, seed=seed),
        found,
        rated,
        refused,
        tuple(DecisionVariables.read(one) for one in decisions),
        truth,
        parameters,
        seed,
        str(responses) if isinstance(responses, str | Path) else study.responses.source,
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


def _depths(frame: pd.DataFrame) -> np.ndarray:
    shown = frame[["network", "layer"]].astype(str)
    known = shown.drop_duplicates()
    known = known.assign(depth=relative_depths(known["network"], known["layer"]))
    return shown.merge(known, how="left", on=["network", "layer"])["depth"].to_numpy(dtype=float)


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


def _rated(path: str, seed: int) -> dict[str, Any] | None:
    found, _ = _effects(path, (), seed, ordinal=True)
    return None if found is None else found.to_json()


def _truth(path: Path | None) -> tuple[Mapping[Condition, float], Mapping[str, Any]]:
    beside = None if path is None else truth_path(path)
    if beside is None or not beside.is_file():
        return {}, {}
    record = read_json(beside)
    own = record["parameters"]
    known = SimulationParameters.from_json(own.get("study", own))
    levels = {
        Condition(one["network"], one["mode"], one["difficulty"]): float(one["logit"])
        for one in record["intercepts"]
    }
    means = {c: expected_mean(v, known, network=c.network, mode=c.mode) for c, v in levels.items()}
    return means, own
