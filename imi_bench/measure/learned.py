"""`learn`: a measure fitted to people, what it scores on people it never saw, and its record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from imi_bench.arguments import checked
from imi_bench.arrays import Floats, Ints
from imi_bench.choice.folds import FoldsBy, assign_folds, clusters_of
from imi_bench.documents import read_json
from imi_bench.errors import InputError, UnknownNameError
from imi_bench.measure.boosting import BOOSTED_FROM
from imi_bench.measure.curves import Curves, learning_curves
from imi_bench.measure.doubts import doubts
from imi_bench.measure.features import encoded, set_features
from imi_bench.measure.guards import check_same_trials, check_shown
from imi_bench.measure.head import Shrinkage, fit_head
from imi_bench.measure.intervals import error_by_noise, weight_intervals
from imi_bench.measure.mixture import Mixture
from imi_bench.measure.nested import (
    EQUAL,
    OutOfFold,
    base_rates,
    best_single,
    fit_stacked,
    grid_for,
    out_of_fold,
)
from imi_bench.measure.table import Covariates, Table, make_table
from imi_bench.measure.transfer import WHOLE, Transferred, scored, transfer
from imi_bench.observers.catalogue import load_observer
from imi_bench.observers.learned import FILE
from imi_bench.observers.protocol import Encoder, Observer, fingerprint
from imi_bench.plots import Interval, forest
from imi_bench.provenance import atomic_path, plain, sha256_json, write_json
from imi_bench.release.study_files import AnswersLike, read_answers
from imi_bench.replay.run import Run
from imi_bench.results import Result
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.intervals import estimate, gap
from imi_bench.stats.jackknife import Jackknife
from imi_bench.stimuli.trial_files import read_trials
from imi_bench.tables import DecisionsLike, DecisionVariables, Study, Trials
from imi_bench.tables.fitted_on import FittedOn

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from imi_bench.simulation.truth import Known, WorldTruth

__all__ = ["HeadKind", "Learned", "learn"]

HeadKind = Literal["observer", "measure"]


@dataclass(frozen=True, eq=False, repr=False)
class Learned(Result):
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
    bits: Estimate
    best_single: Mapping[str, Any]
    difference: Estimate
    against_equal: Estimate
    ece: Estimate
    ece_by_noise: Estimate
    singles: Mapping[str, float]
    base_rate: float
    ceiling: Estimate
    share_of_ceiling: Estimate
    weights: Mapping[str, Estimate]
    predictions: pd.DataFrame
    conditions: pd.DataFrame
    log: list[dict[str, Any]]
    record: dict[str, Any]
    simulated: bool
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
            f"{self.bits} bits an answer of {self.bits.n} {made_up}answers; "
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

    def to_json(self) -> dict[str, Any]:
        """JSON object; the predictions go to a file of their own (`write`)."""
        skipped = ("predictions", "record", "curves")
        record: dict[str, Any] = plain(
            {k: getattr(self, k) for k in self.__dataclass_fields__ if k not in skipped}
        )
        record["conditions"] = plain(self.conditions.to_dict("list"))
        record["curves"] = None if self.curves is None else plain(self.curves.to_json())
        return record

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
        write_json(out / "scores.json", self.to_json())
        with atomic_path(out / "learned.html") as temporary:
            temporary.write_text(page(self), "utf-8")
        write_json(out / FILE, self.record)
        return out


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
    covariates : Covariates
        Mapping of str to function of trials, or DataFrame, optional
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
    if head not in ("observer", "measure"):
        raise UnknownNameError.among(head, ["observer", "measure"], kind="head")
    abouts = [_about(one) for one in decisions]
    records = [_record_of(one) for one in decisions]
    check_same_trials(records)
    runs = [DecisionVariables.read(one) for one in decisions]
    study = read_answers(study)
    if name in [one.observer for one in runs]:
        raise InputError("a measure with the name of one of its parts", found=name)
    if drop_shared and trials is None:
        raise InputError("shared pictures are not known", do="give trials=, or no drop_shared")
    if isinstance(trials, str | Path):
        trials = read_trials(trials)
    if trials is not None:
        check_shown(records, trials)
    seer, seen = _seer(features_from, trials, linear=linear)
    table = make_table(runs, study, head=head, trials=trials, seen=seen, covariates=covariates)
    if linear:
        table = replace(
            table, rows=replace(table.rows, features=np.empty((len(table.index), 0))), features=()
        )
    folds = assign_folds(table.index, by=by, n_folds=n_folds, seed=seed)
    fold = np.array([folds[c] for c in clusters_of(table.index, by=by)], dtype=np.int64)
    names = [one.observer for one in runs]
    grid = grid_for(head, features=bool(table.features))
    boosted = _boosting(boosting, head, table)
    options: dict[str, Any] = {"linear": linear, "intercept": head == "measure"}
    told = out_of_fold(
        table.rows,
        units=table.index.unit_id,
        cells=table.cells,
        fold=fold,
        grid=grid,
        baseline=_places(baseline, names),
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
    found_scores = scored(table, runs[0], study, told, seed=seed)
    record = _record(
        name=name,
        head=head,
        by=by,
        table=table,
        abouts=abouts,
        seer=seer,
        told=told,
        final=final.mixture,
        study=study,
        seed=seed,
    )
    own = FittedOn.of(record)
    inherited = [one.fitted_on for one in runs if one.fitted_on is not None]
    if own is not None:
        record["fitted_on"] = own.joined(inherited).to_json()
    record["yardsticks"] = plain(_yardsticks(table, _places(baseline, names)))
    found = _result(
        name, head, by, names, table, told, found_scores, weights, record, study, fold, level
    )
    singles = {"the learned measure": found.bits.value, **found.singles}
    doubtful = doubts(
        table, names, bits=singles, ceiling=found.ceiling, baseline=_places(baseline, names)
    )
    return replace(found, curves=curved, notes=(*doubtful, *found.notes))


def _boosting(wanted: bool | None, head: str, table: Table) -> bool:
    if wanted and head != "measure":
        raise InputError("boosting is no observer", wanted="head='measure'")
    if wanted is None:
        many = len(set(table.index.unit_id)) >= BOOSTED_FROM
        return head == "measure" and many and find_spec("sklearn") is not None
    return wanted


def _places(baseline: Sequence[str] | None, names: list[str]) -> list[int] | None:
    if baseline is None:
        return None
    for name in baseline:
        if name not in names:
            raise UnknownNameError.among(name, names, kind="observer")
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


def _about(source: DecisionsLike) -> dict[str, str]:
    """Name and fingerprint of the observer of a run; no fingerprint where none is on record."""
    observer = _record_of(source).get("observer")
    if not isinstance(observer, Mapping):
        return {"name": DecisionVariables.read(source).observer, "fingerprint": ""}
    return {"name": str(observer.get("name")), "fingerprint": str(observer.get("fingerprint"))}


def _seer(
    source: str | Observer | None, trials: Trials | None, *, linear: bool
) -> tuple[dict[str, str] | None, Floats | None]:
    if source is None or linear:
        return None, None
    if trials is None:
        raise InputError("features of the sets need the pictures", do="give trials=")
    observer = load_observer(source, device="cpu")
    if not isinstance(observer, Encoder):
        raise InputError("features need an encoder", where=observer.name)
    blind = trials.blind(seed=0)
    used = np.unique(
        np.concatenate([blind.queries.ravel(), blind.positive.ravel(), blind.negative.ravel()])
    )
    if len(used) < len(trials.images):
        used = np.arange(len(trials.images))
    found = set_features(encoded(observer, trials), blind)
    return {"name": observer.name, "fingerprint": fingerprint(observer)}, found


def _result(
    name: str,
    head: str,
    by: str,
    names: list[str],
    table: Table,
    told: OutOfFold,
    scored: Mapping[str, Mapping[str, Jackknife]],
    weights: Mapping[str, Estimate],
    record: dict[str, Any],
    study: Study,
    fold: Ints,
    level: float,
) -> Learned:
    facts: dict[str, Any] = {
        "n": int(table.rows.answers.sum()),
        "clusters": len(set(table.index.unit_id)),
        "level": level,
    }
    bits = {part: scored[part]["bits"] for part in WHOLE}
    zero = "single" if head == "observer" else "base"
    chosen = pd.Series([names[one["single"][0]] for one in told.log]).mode()[0]
    frame = _predictions(table, told, fold)
    result = Learned(
        name=name,
        head=head,
        by=by,
        observers=tuple(names),
        bits=estimate(bits["learned"], **facts),
        best_single={"observer": str(chosen), "bits": estimate(bits["single"], **facts)},
        difference=gap(bits["learned"], bits[zero], **facts).estimate,
        against_equal=gap(bits["learned"], bits["equal"], **facts).estimate,
        ece=estimate(scored["learned"]["ece"], **facts),
        ece_by_noise=error_by_noise(told.learned, table, level=level, seed=record["seed"]),
        singles={n: _bits(table, told.singles[:, j]) for j, n in enumerate(names)},
        base_rate=bits["base"].value,
        ceiling=estimate(scored["learned"]["left_out_bits"], **facts),
        share_of_ceiling=estimate(scored["learned"]["share_of_ceiling"], **facts),
        weights=weights,
        predictions=frame,
        conditions=_conditions(frame),
        log=[{**one, "single": names[one["single"][0]]} for one in told.log],
        record=record,
        simulated=study.responses.simulated,
        notes=_notes(table, told),
    )
    scores = {"bits": result.bits, "difference": result.difference, "ece": result.ece}
    record["scores"] = plain({k: v.to_json() for k, v in scores.items()})
    record["sha256"] = sha256_json(record)
    return result


def _bits(table: Table, p: Floats) -> float:
    k, n = table.rows.successes, table.rows.answers
    return float(1 + (k @ np.log2(p) + (n - k) @ np.log2(1 - p)) / n.sum())


def _predictions(table: Table, told: OutOfFold, fold: Ints) -> pd.DataFrame:
    index = table.index
    return pd.DataFrame(
        {
            "trial_id": index.trial_id,
            "unit_id": index.unit_id,
            "network": index.network,
            "mode": index.mode,
            "difficulty": index.difficulty,
            "fold": fold,
            "answers": table.rows.answers,
            "correct": table.rows.successes,
            **{f"p_{part}": getattr(told, part) for part in WHOLE},
        }
    )


def _conditions(frame: pd.DataFrame) -> pd.DataFrame:
    answers = frame["answers"]
    told = {}
    for part in WHOLE:
        p = frame[f"p_{part}"]
        miss = answers - frame["correct"]
        told[part] = frame["correct"] * np.log2(p) + miss * np.log2(1 - p)
    sums = (
        pd.DataFrame({**told, "answers": answers})
        .groupby([frame["mode"], frame["difficulty"]])
        .sum()
    )
    for part in WHOLE:
        sums[part] = 1 + sums[part] / sums["answers"]
    return sums.reset_index()


def _notes(table: Table, told: OutOfFold) -> tuple[str, ...]:
    notes: list[str] = []
    if table.silent:
        notes.append(f"{table.silent} trials on which an observer gave no answer: it says nothing")
    if table.out_of_scale:
        notes.append(f"{table.out_of_scale} decision variables out of scale: they say nothing")
    if table.left_out:
        notes.append(f"{table.left_out} trials with answers that not every observer was shown")
    boosted = sum(bool(one["boosted"]) for one in told.log)
    if boosted:
        notes.append(
            f"gradient boosting predicts {boosted} of {len(told.log)} folds: it is scored, "
            "learned.json holds the linear head"
        )
    if table.pictures is None:
        notes.append("trials without pictures: whether folds share pictures is not known")
        return tuple(notes)
    dropped = sum(int(one["dropped"]) for one in told.log)
    if dropped:
        notes.append(f"{dropped} training trials dropped for pictures shared with their test fold")
        return tuple(notes)
    shared = sum(
        int((table.shared(told.fold == k) & (told.fold != k)).any()) for k in range(len(told.log))
    )
    if shared:
        notes.append(f"{shared} of {len(told.log)} folds share pictures with their training units")
    return tuple(notes)


def _yardsticks(table: Table, baseline: list[int] | None) -> dict[str, Any]:
    """What the fit to all units is compared with on other studies."""
    rows, units = table.rows, table.index.unit_id
    everyone = range(rows.evidence.shape[1])
    single = best_single(rows, units, everyone if baseline is None else baseline)
    equal = fit_head(rows.columns(list(everyone)), shrinkage=EQUAL)
    cells = table.cells
    rates = base_rates(rows.successes, rows.answers, cells, np.ones(len(cells), dtype=bool))
    return {
        "single": {"column": (single.columns or (0,))[0], "head": vars(single.head)},
        "equal": vars(equal),
        "base": dict(zip(cells.tolist(), rates.tolist(), strict=True)),
    }


def _record(
    name: str,
    head: str,
    by: str,
    table: Table,
    abouts: list[dict[str, str]],
    seer: dict[str, str] | None,
    told: OutOfFold,
    final: Mixture,
    study: Study,
    seed: int,
) -> dict[str, Any]:
    images: set[str] = set().union(*table.pictures) if table.pictures is not None else set()
    return plain(
        {
            "format": 2,
            "name": name,
            "head": head,
            "by": by,
            "seed": seed,
            "columns": abouts,
            "features": list(table.features),
            "features_from": seer,
            "covariates": list(table.covariates),
            "final": final.to_json(),
            "folds": [
                one.head.to_json() if isinstance(one.head, Mixture) else {"boosted": True}
                for one in told.fits
            ],
            "fitted_on": FittedOn(
                study=study.hash,
                units=frozenset(table.index.unit_id.tolist()),
                networks=frozenset(table.index.network.tolist()),
                images=frozenset(one[:16] for one in images),
            ).to_json(),
            "simulated": study.responses.simulated,
        }
    )
