"""All questions about a study at once: people, the paper's own tests, and observers beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from imi_bench.arguments import checked
from imi_bench.effects.analysis import analyse
from imi_bench.effects.effect import Effects, ObserverEffects
from imi_bench.effects.groups import compare_networks
from imi_bench.effects.likeness import differences
from imi_bench.effects.scale import INTEREST
from imi_bench.effects.table import AnswerTable, depths_by_name, observer_table, people_table
from imi_bench.effects.truth import TrueEffects, read_truth
from imi_bench.errors import InputError, NotComparableError, NotEnoughDataError
from imi_bench.glmm.lapse import checked_lapse
from imi_bench.glmm.tables import read_table
from imi_bench.release.study_files import AnswersLike, answers_path, read_answers
from imi_bench.release.table import truth_path
from imi_bench.tables import DecisionsLike, DecisionVariables, Study
from imi_bench.text import plural
from imi_bench.threads import one_thread


@one_thread()
@checked
def effects(
    answers: AnswersLike,
    *,
    decisions: Sequence[DecisionsLike] = (),
    networks: str | Path | pd.DataFrame | None = None,
    columns: str | Path | pd.DataFrame | None = None,
    truth: TrueEffects | None = None,
    interest: float = INTEREST,
    lapse: float | Literal["estimate", "catch"] = 0.0,
    ordinal: bool = False,
    firth: bool = False,
    seed: int = 0,
) -> Effects:
    """Answer the paper's questions by mixed models, beside the paper's own tests.

    Parameters
    ----------
    answers : Study, or what `imi_bench.release.study_files.read_answers` takes
        People's answers: ``"imi"``, a path, or a table.
    decisions : sequence of what `DecisionVariables.read` takes
        Observers' runs on the trials that people answered: their effects, and how these differ
        from people's.
    networks : DataFrame or path, optional
        Properties of networks of one's own; see `imi_bench.effects.scale.network_table`.
    columns : DataFrame or path, optional
        Depth, type and width of layers; see `imi_bench.effects.table.people_table`.
    truth : TrueEffects, optional
        True values of a simulated study; by default those that lie beside a simulated table.
    interest : float
        Smallest effect of interest: log-odds for ten times as many, ten points, ten years.
    lapse : float or str
        Share of people's answers given blindly, in the model's link; ``estimate`` finds it with
        everything else, ``catch`` takes twice the error rate on catch trials.
    ordinal : bool
        Model six ordered answers, side and confidence, instead of correct and wrong. Effects
        stay log-odds of a better answer; observers have no confidence and are not compared.
    firth : bool
        Bias-reduced estimates: networks that nobody ever got wrong are kept.
    seed : int
        Of the bootstrap over units in the paper's own tests.

    Returns
    -------
    Effects

    Raises
    ------
    NotEnoughDataError
        Without an answer to a main trial.
    NotComparableError
        An observer that answered none of people's trials.
    ModelError
        If the model does not fit.

    Examples
    --------
    ``effects("responses_main.csv")["parameters"].sentence``
    """
    study = read_answers(answers)
    machines = [DecisionVariables.read(one) for one in decisions]
    own = None if networks is None else read_table(networks)
    layers = None if columns is None else read_table(columns)
    table, said = _modelled(study, people_table(study, columns=layers), lapse, ordinal)
    if ordinal and decisions:
        raise NotComparableError("observers have no confidence", do="compare correct and wrong")
    if firth:
        if ordinal or table.lapse:
            raise InputError("bias reduction is for correct and wrong answers without lapses")
        table = replace(table, firth=True)
        said.append("bias-reduced estimates (Firth)")
    known = None if ordinal else truth or _truth_beside(answers)
    people = analyse(table, networks=own, truth=known, interest=interest)
    observers = []
    for one in machines:
        found, why_not = _observer(one, study, people, own, layers, interest)
        observers.append(found)
        said += why_not
    unused = set() if own is None else set(own["network"]) - set(people.properties.index)
    listed = ", ".join(sorted(map(str, unused)))
    return replace(
        people,
        groups=compare_networks(table, seed=seed),
        observers=tuple(observers),
        notes=(
            *depths_by_name(table.frame["network"].unique(), columns=layers),
            *([f"not analysed, though its properties were given: {listed}"] if unused else []),
            *said,
            *_lapse_found(people),
            *_unanswered(machines),
        ),
    )


def _modelled(
    study: Study,
    table: AnswerTable,
    lapse: float | Literal["estimate", "catch"],
    ordinal: bool,
) -> tuple[AnswerTable, list[str]]:
    """Return the table with its model chosen, and what there is to say about it."""
    said = []
    rate: float | Literal["estimate"]
    if lapse == "catch":
        rate, count = catch_lapse(study)
        said.append(
            f"lapse rate {rate:.4f}: twice the error rate on {plural(count, 'catch trial')}"
        )
    elif isinstance(lapse, str):
        rate = lapse
    else:
        rate = checked_lapse(lapse)
        if rate:
            said.append(f"lapse rate {rate:g}, as given")
    if not ordinal:
        return replace(table, lapse=rate), said
    if rate:
        raise InputError("an ordinal model has no lapse rate", found=lapse)
    rated = table.with_ratings()
    said.append(
        "six ordered answers, side and confidence; estimates are log-odds of a better answer"
    )
    if rated.excluded:
        said.append(
            f"excluded: {plural(rated.excluded, 'answer')} without a confidence of 1, 2 or 3"
        )
    return rated, said


def catch_lapse(study: Study) -> tuple[float, int]:
    """Return twice the error rate on catch trials, and how many answers that is.

    Raises
    ------
    NotEnoughDataError
        If the study has no catch trials.

    Notes
    -----
    Catch trials that people must pass to be kept say less than they seem to. Those of a released
    table are of the people whose main trials were kept.
    """
    catch = study.trials.catch[study.rows]
    wrong, count = study.catch_answers or (0, 0)
    wrong, count = wrong + int((~study.responses.correct[catch]).sum()), count + int(catch.sum())
    if not count:
        raise NotEnoughDataError(
            "no catch trials", found="0", do="give the lapse rate, or estimate it"
        )
    return checked_lapse(2.0 * wrong / count), count


def _lapse_found(people: Effects) -> list[str]:
    fit = people.fit
    if fit is None or "lapse" not in fit.shape_names:
        return []
    if fit.lapse == 0.0:
        return ["lapse rate estimated: 0, on its boundary"]
    low, high = fit.shape_interval()[0]
    return [f"lapse rate estimated: {fit.lapse:.4f} [{low:.4f}, {high:.4f}]"]


def _unanswered(machines: Iterable[DecisionVariables]) -> list[str]:
    counts = {one.observer: int((~one.answered).sum()) for one in machines}
    trials = {one.observer: len(one) for one in machines}
    return [
        f"{name} gave no answer on {lost} of {trials[name]} trials, which are left out"
        for name, lost in counts.items()
        if lost
    ]


def _truth_beside(answers: AnswersLike) -> TrueEffects | None:
    if not isinstance(answers, str | Path):
        return None
    path = answers_path(answers)
    beside = truth_path(path)
    return read_truth(beside) if path.suffix == ".csv" and beside.is_file() else None


def _observer(
    decisions: DecisionVariables,
    study: Study,
    people: Effects,
    own: pd.DataFrame | None,
    layers: pd.DataFrame | None,
    interest: float,
) -> tuple[ObserverEffects, list[str]]:
    """Effects of an observer, how they differ from people's, and why not where they cannot."""
    if not np.isin(decisions.trial_id, study.trials.trial_id).any():
        raise NotComparableError(
            "the observer answered none of people's trials",
            where=decisions.observer,
            found=f"trials such as {decisions.trial_id[0]}",
            wanted=f"such as {study.trials.trial_id[0]}",
            do="run it on the trials that people answered",
        )
    table = observer_table(
        decisions, study.trials, columns=layers, simulated=study.responses.simulated
    )
    found = analyse(table, networks=own, interest=interest)
    try:
        return ObserverEffects(found, differences(found, people)), []
    except NotComparableError as error:
        said = f"{decisions.observer} is not compared with people: {error}"
        return ObserverEffects(found, ()), [said]
