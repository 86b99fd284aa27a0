"""`learn`: a measure fitted to people, what it scores on people it never saw, and its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from imi_bench.arguments import checked
from imi_bench.arrays import Floats, Ints
from imi_bench.choice.folds import FoldsBy, assign_folds, clusters_of
from imi_bench.documents import read_json
from imi_bench.errors import InputError, UnknownNameError
from imi_bench.measure.account import learned_record, learned_result, yardsticks
from imi_bench.measure.boosting import BOOSTED_FROM
from imi_bench.measure.curves import Curves, learning_curves
from imi_bench.measure.doubts import doubts
from imi_bench.measure.guards import check_same_trials, check_shown
from imi_bench.measure.head import Shrinkage
from imi_bench.measure.intervals import weight_intervals
from imi_bench.measure.mixture import Mixture
from imi_bench.measure.nested import OutOfFold, fit_stacked, grid_for, out_of_fold
from imi_bench.measure.result import Learned
from imi_bench.measure.table import Covariates, Table, make_table
from imi_bench.measure.transfer import scored
from imi_bench.observers.catalogue import load_observer
from imi_bench.observers.learned import set_features
from imi_bench.observers.protocol import Encoder, Observer, fingerprint, local_file
from imi_bench.provenance import plain
from imi_bench.release.study_files import AnswersLike, read_answers
from imi_bench.replay.run import Run
from imi_bench.stats.estimate import Estimate
from imi_bench.stimuli.trial_files import read_trials
from imi_bench.tables import DecisionsLike, DecisionVariables, Study, Trials
from imi_bench.tables.fitted_on import FittedOn

__all__ = ["HeadKind", "learn"]

HeadKind = Literal["observer", "measure"]

_BATCH = 64


@checked
def learn(
    decisions: Sequence[DecisionsLike],
    study: AnswersLike,
    *,
    by: FoldsBy = "unit",
    head: HeadKind = "observer",
    trials: Trials | str | Path | None = None,
    features_from: str | Observer | None = None,
    covariates: Covariates = None,
    baseline: Sequence[str] | None = None,
    n_folds: int | None = None,
    drop_shared: bool = False,
    linear: bool = False,
    name: str = "learned",
    seed: int = 0,
    n_boot: int = 200,
    curves: int = 2,
    boosting: bool | None = None,
    level: float = 0.95,
) -> Learned:
    """Learn a measure from people's answers, and score it on units it never saw.

    Parameters
    ----------
    decisions : sequence of DecisionVariables, or of what `DecisionVariables.read` takes
        Runs of observers, such as ``classical`` and ``classical?pooling=t-discriminant``.
    study : Study, or what `imi_bench.release.study_files.read_answers` takes
    by : {"unit", "network"}
        What a fold holds out.
    head : {"observer", "measure"}
        A blind observer, or a measure that is told each trial's mode and difficulty.
    trials : Trials, str or Path, optional
        The trials with their pictures: for features of the sets, and to see which pictures folds
        share. Without them neither is known, and a note says so.
    features_from : str or Observer, optional
        The encoder that features of the sets are taken from; none by default.
    covariates : mapping of str to function of Trials, or DataFrame, optional
        For the measure head: what can be seen or looked up.
    baseline : sequence of str, optional
        Observers that the best single one is chosen among (in training folds); all by default.
    n_folds : int, optional
        10 by unit, one a network by network.
    drop_shared : bool
        Drop from training what shares a picture with the fold that is predicted. By default it
        is counted and noted.
    linear : bool
        Do not squash evidence and use no features: the observer is then a weighted sum.
    name : str
        Of the learned observer.
    seed : int
    n_boot : int
        Bootstrap draws of units behind the intervals of weights.
    curves : int
        Draws a point of the learning curves; 0 for no curves.
    boosting : bool, optional
        Let inner folds choose gradient boosting for the measure head; from 200 units by default,
        where scikit-learn is installed. It is scored out of fold; ``learned.json`` holds the
        linear head.
    level : float

    Returns
    -------
    Learned

    Raises
    ------
    LeakageError
        Observers, difficulties or covariates that know the answers.
    NotComparableError, NotEnoughDataError, InputError

    Examples
    --------
    >>> from imi_bench.simulation.demo import demo_data
    >>> from imi_bench.replay.runner import answer
    >>> trials, people = demo_data(n_networks=1, n_batches=1, n_scenes=200, size=16)
    >>> runs = [answer(o, trials) for o in ("colour-histogram", "pixel-l2")]
    >>> learn(runs, people, n_folds=3, n_boot=0).head
    'observer'
    """
    study = read_answers(study)
    runs = [DecisionVariables.read(one) for one in decisions]
    table, seer = _table(
        decisions,
        runs,
        study,
        head=head,
        name=name,
        trials=trials,
        features_from=features_from,
        covariates=covariates,
        drop_shared=drop_shared,
        linear=linear,
    )
    names = [one.observer for one in runs]
    fit = _fitted(
        table,
        names,
        by=by,
        head=head,
        baseline=_places(baseline, names),
        n_folds=n_folds,
        drop_shared=drop_shared,
        linear=linear,
        seed=seed,
        n_boot=n_boot,
        curves=curves,
        boosting=boosting,
        level=level,
    )
    told = fit.told
    said: dict[str, Any] = {"name": name, "head": head, "by": by, "table": table, "told": told}
    record = learned_record(
        **said,
        abouts=[_about(one) for one in decisions],
        seer=seer,
        final=fit.final,
        study=study,
        seed=seed,
    )
    own = FittedOn.of(record)
    inherited = [one.fitted_on for one in runs if one.fitted_on is not None]
    if own is not None:
        record["fitted_on"] = own.joined(inherited).to_json()
    record["yardsticks"] = plain(yardsticks(table, _places(baseline, names)))
    found = learned_result(
        **said,
        names=names,
        scored=scored(table, runs[0], study, told, seed=seed),
        weights=fit.weights,
        record=record,
        study=study,
        fold=fit.fold,
        level=level,
    )
    singles = {"the learned measure": found.bits.value, **found.singles}
    doubtful = doubts(
        table, names, bits=singles, ceiling=found.ceiling, baseline=_places(baseline, names)
    )
    return replace(found, curves=fit.curves, notes=(*doubtful, *found.notes))


def _table(
    decisions: Sequence[DecisionsLike],
    runs: list[DecisionVariables],
    study: Study,
    *,
    head: str,
    name: str,
    trials: Trials | str | Path | None,
    features_from: str | Observer | None,
    covariates: Covariates,
    drop_shared: bool,
    linear: bool,
) -> tuple[Table, dict[str, Any] | None]:
    """What is learnt from, and who saw the features of the sets; or why nothing can be learnt."""
    UnknownNameError.unless_among(head, ("observer", "measure"), kind="head")
    records = [_record_of(one) for one in decisions]
    check_same_trials(records)
    if name in [one.observer for one in runs]:
        raise InputError("a measure with the name of one of its parts", found=name)
    if drop_shared and trials is None:
        raise InputError("shared pictures are not known", do="give trials=, or no drop_shared")
    if isinstance(trials, str | Path):
        trials = read_trials(trials)
    if trials is not None:
        check_shown(records, trials)
    seer, seen = sets_seen(features_from, trials, linear=linear)
    table = make_table(runs, study, head=head, trials=trials, seen=seen, covariates=covariates)
    if linear:
        table = replace(
            table, rows=replace(table.rows, features=np.empty((len(table.index), 0))), features=()
        )
    return table, seer


class _Fit(NamedTuple):
    """The fits of the folds and of all units, and what is drawn from them."""

    fold: Ints
    told: OutOfFold
    final: Mixture
    weights: Mapping[str, Estimate]
    curves: Curves | None


def _fitted(
    table: Table,
    names: list[str],
    *,
    by: FoldsBy,
    head: str,
    baseline: list[int] | None,
    n_folds: int | None,
    drop_shared: bool,
    linear: bool,
    seed: int,
    n_boot: int,
    curves: int,
    boosting: bool | None,
    level: float,
) -> _Fit:
    """Fit to all but each fold, then to all; intervals of weights and curves beside them."""
    folds = assign_folds(table.index, by=by, n_folds=n_folds, seed=seed)
    fold = np.array([folds[c] for c in clusters_of(table.index, by=by)], dtype=np.int64)
    grid = grid_for(head, features=bool(table.features))
    boosted = _boosting(boosting, head, table)
    options: dict[str, Any] = {"linear": linear, "intercept": head == "measure"}
    told = out_of_fold(
        table.rows,
        units=table.index.unit_id,
        cells=table.cells,
        fold=fold,
        grid=grid,
        baseline=baseline,
        seed=seed,
        shared=table.shared if drop_shared else None,
        boosting=boosted,
        **options,
    )
    final = fit_stacked(table.rows, table.index.unit_id, grid, seed=seed, **options)
    weights = weight_intervals(
        table,
        final.mixture,
        names,
        grid=grid,
        shares=final.shares,
        n_boot=n_boot,
        seed=seed,
        level=level,
        **options,
    )
    curved = None
    if curves:
        curved = learning_curves(
            table,
            fold=fold,
            best=[Shrinkage(**one["best"]) for one in told.log],
            draws=curves,
            seed=seed,
            level=level,
            shared=table.shared if drop_shared else None,
            **options,
        )
    return _Fit(fold, told, final.mixture, weights, curved)


def _boosting(wanted: bool | None, head: str, table: Table) -> bool:
    if wanted and head != "measure":
        raise InputError("boosting is no observer", wanted="head='measure'")
    if wanted is None:
        many = len(set(table.index.unit_id)) >= BOOSTED_FROM
        return head == "measure" and many and find_spec("sklearn") is not None
    return wanted


def _places(baseline: Sequence[str] | None, names: list[str]) -> list[int] | None:
    if baseline is not None and not baseline:
        raise InputError("no observer in the baseline", found="none", wanted="one or more, or None")
    if baseline is None:
        return None
    for name in baseline:
        UnknownNameError.unless_among(name, names, kind="observer")
    return [names.index(name) for name in baseline]


def _record_of(source: DecisionsLike) -> Mapping[str, Any]:
    """The record of a run; empty where decisions come without one."""
    record: Any = None
    if isinstance(source, Run):
        record = source.record
    elif isinstance(source, str | Path):
        path = Path(source)
        path = (path if path.is_dir() else path.parent) / "run.json"
        record = read_json(path) if path.is_file() else None
    return record if isinstance(record, Mapping) else {}


def _about(source: DecisionsLike) -> dict[str, Any]:
    """Name and fingerprint of the observer of a run, and where its weights lay if in a file.

    No fingerprint where none is on record.
    """
    observer = _record_of(source).get("observer")
    if not isinstance(observer, Mapping):
        return {"name": DecisionVariables.read(source).observer, "fingerprint": ""}
    file = {"local_file": observer["local_file"]} if "local_file" in observer else {}
    about = {name: str(observer.get(name)) for name in ("name", "fingerprint")}
    return {**about, **file}


def sets_seen(
    source: str | Observer | None, trials: Trials | None, *, linear: bool
) -> tuple[dict[str, Any] | None, Floats | None]:
    """Who sees the features of the sets, and (len(trials), 4) features; None where none are."""
    if source is None or linear:
        return None, None
    if trials is None or not len(trials.images):
        raise InputError("features of the sets need the pictures", do="give trials=")
    observer = load_observer(source, device="cpu")
    if not isinstance(observer, Encoder):
        raise InputError("features need an encoder", where=observer.name)
    blind = trials.blind(seed=0)
    count = len(blind.images)
    codes = [
        np.asarray(observer.encode([blind.images.decode(i) for i in range(a, b)]))
        for a, b in ((a, min(a + _BATCH, count)) for a in range(0, count, _BATCH))
    ]
    found = set_features(np.concatenate(codes).astype(np.float32), blind)
    about = {"name": observer.name, "fingerprint": fingerprint(observer), **local_file(observer)}
    return about, found
