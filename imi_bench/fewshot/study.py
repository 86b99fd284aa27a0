"""Accuracy against the number of solved trials, over draws of them and sizes of model.

The design of Brown et al. (2020, arXiv 2005.14165), section 3: zero-, one- and few-shot, the same
solved trials for all tests of a draw, several draws. A pool of units is set aside for the solved
trials; no unit and no picture of it is ever tested.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from imi_bench.arguments import checked
from imi_bench.arrays import Strings
from imi_bench.errors import InputError, NotComparableError
from imi_bench.fewshot.budget import most, repeated, shots_of
from imi_bench.fewshot.contamination import check
from imi_bench.fewshot.curves import FewShot, Point
from imi_bench.fewshot.design import SHOTS, Apart, Design
from imi_bench.fewshot.loading import (
    ObserversLike,
    encoder_of,
    ledger_in,
    observers_of,
    parameters_of,
)
from imi_bench.fewshot.means import draws_of, over_draws, two_way_mean
from imi_bench.fewshot.record import claim, write
from imi_bench.observers.incontext.observer import InContext
from imi_bench.observers.incontext.orders import BothOrders, bounded_share, order_table
from imi_bench.observers.incontext.pools import Group, Near, ShotsFrom
from imi_bench.observers.protocol import Encoder
from imi_bench.release.study_files import AnswersLike, read_answers
from imi_bench.scores.report import score
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.proportions import proportion
from imi_bench.stimuli.trial_files import read_trials
from imi_bench.tables import BlindTrials, DecisionsLike, DecisionVariables, Study, Trials
from imi_bench.tables.align import rows_of
from imi_bench.text import plural

_PEOPLE_SCORES = {"bits": "bits", "unit_pearson": "agreement"}
Tell = Callable[[str], None]


@checked
def fewshot(
    observers: ObserversLike,
    trials: str | Path | Trials,
    *,
    shots: Sequence[int] = SHOTS,
    draws: int = 5,
    pool_units: int | None = None,
    ablations: Sequence[str] = (),
    repeats: int = 50,
    seed: int = 0,
    shots_from: ShotsFrom = "any",
    near: Near = "drop",
    pool: str | Path | Trials | None = None,
    people: Study | AnswersLike | None = None,
    baselines: Sequence[DecisionsLike] = (),
    parameters: Mapping[str, float] | None = None,
    images_of_training: str | Path | None = None,
    crops_by: str | Encoder | None = None,
    ledger: str | Path | None = None,
    max_requests: int | None = None,
    max_cost: float | None = None,
    out: str | Path | None = None,
    force: bool = False,
    device: str = "auto",
    dtype: str = "float32",
    tell: Tell = lambda _line: None,
) -> FewShot:
    """Ask models that see K solved trials, for several K and draws of them.

    Parameters
    ----------
    observers : ObserversLike
        Str, InContext, model, several of them, or a mapping of name to one
        As `imi_bench.fewshot.loading.observers_of`; several make a family.
    trials : str, Path or Trials
        What `imi_bench.read_trials` reads.
    shots, draws, pool_units, ablations, repeats, seed, shots_from, near
        As in `Design`; the pool holds as many units as the most shots if left out.
    pool : str, Path or Trials, optional
        Where solved trials come from; else some units of `trials` are set aside.
    people : Study, or what `imi_bench.read_answers` takes, optional
        For bits and agreement, and as a baseline.
    baselines : sequence of DecisionsLike
        Runs, folders of runs or DecisionVariables
        Other observers on the same trials.
    parameters : mapping of str to float, optional
        Of each observer; those of local models are counted.
    images_of_training : str or Path, optional
        A folder of pictures that a model was trained on: see `contamination.check`.
    crops_by : str or Encoder, optional
        An observer whose codes find crops, such as ``efficientnet-lite0``: see
        `contamination.check`.
    ledger : str or Path, optional
        File of answers; ``ledger.db`` in `out` by default. A study that was stopped asks no
        question twice.
    max_requests, max_cost : int, optional and float, optional
        Budgets: see `Ledger`.
    out : str or Path, optional
        Folder for tables, ``fewshot.json`` and the record ``run.json``.
    force : bool
        Replace another study in `out`.
    device, dtype : str
        For local models by name.
    tell : callable
        Told a line after each run of an observer: accuracy, calls and cost so far.

    Returns
    -------
    FewShot

    Raises
    ------
    InputError, NotEnoughDataError, NotComparableError
        What cannot be asked or compared.
    BudgetError
        A budget is used up; all answers so far are kept.

    Examples
    --------
    ``fewshot("vlm:hf/models/small-vlm", "stimuli/", shots=[0, 4], out="fewshot/").summary()``
    """
    design = Design(
        shots=tuple(sorted(set(shots))),
        draws=draws,
        pool_units=max([*shots, 1]) if pool_units is None else pool_units,
        ablations=tuple(ablations),  # type: ignore[arg-type]
        repeats=repeats,
        seed=seed,
        shots_from=shots_from,
        near=near,
    )
    kept = ledger_in(out, ledger, max_requests=max_requests, max_cost=max_cost)
    family = observers_of(observers, ledger=kept, device=device, dtype=dtype, seed=seed)
    read = trials if isinstance(trials, Trials) else read_trials(trials)
    return study(
        family,
        read,
        design=design,
        pool=read_trials(pool) if isinstance(pool, str | Path) else pool,
        people=None if people is None else read_answers(people),
        baselines=baselines,
        parameters=parameters_of(family, parameters),
        images_of_training=images_of_training,
        crops_by=crops_by,
        out=out,
        force=force,
        tell=tell,
    )


@checked
def study(
    family: Mapping[str, InContext],
    trials: Trials,
    *,
    design: Design,
    pool: Trials | None = None,
    people: Study | None = None,
    baselines: Sequence[DecisionsLike] = (),
    parameters: Mapping[str, float] | None = None,
    images_of_training: str | Path | None = None,
    crops_by: str | Encoder | None = None,
    out: str | Path | None = None,
    force: bool = False,
    tell: Tell = lambda _line: None,
) -> FewShot:
    """Run a study of loaded observers; `fewshot` says what the rest is."""
    apart = design.apart(trials, pool)
    tests = apart.tests
    others = [DecisionVariables.read(one) for one in baselines]
    known, compared = _baselines(tests, people, others)
    facts = claim(out, family, trials, design=design, pool=pool, force=force)
    # first, because it needs no model and may refuse
    found = check(tests, pool=apart.pool, folder=images_of_training, embedding=encoder_of(crops_by))
    frames, points, letters, flips = [], [], [], []
    for name, observer in family.items():
        asked = _Asked(name, observer, apart, design, tell)
        runs = [asked.cell(*cell) for cell in design.cells()]
        frames += [run.frame for run in runs]
        letters += [row for run in runs for row in run.letters]
        points += asked.points(runs, people)
        flips += asked.flips(runs)
    made = FewShot(
        points=tuple(points),
        answers=pd.concat(frames, ignore_index=True),
        trials=len(tests),
        units=len(np.unique(tests.index.unit_id.astype(str))),
        pool_units=apart.units,
        dropped=apart.dropped,
        parameters=dict(parameters or {}),
        baselines=known,
        compared=compared,
        letters=pd.DataFrame(letters),
        flips=pd.DataFrame(flips),
        contamination=found,
        simulated=trials.simulated,
    )
    if out is not None:
        facts["people"] = None if people is None else people.responses.source
        facts["baselines"] = [one.observer for one in others]
        ledgers = [one.ledger for one in family.values() if one.ledger is not None]
        facts["ledgers"] = {kept.path.name: kept.totals() for kept in ledgers}
        write(made, Path(out), facts)
    return made


@dataclass(frozen=True, eq=False)
class _Run:
    """One observer, number of shots, draw and ablation on all tests."""

    count: int
    ablation: str
    decisions: DecisionVariables
    frame: pd.DataFrame
    habits: Mapping[str, Any]
    letters: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, eq=False)
class _Asked:
    """One observer through all cells of a design."""

    name: str
    observer: InContext
    apart: Apart
    design: Design
    tell: Tell

    def _with(self, pool: Trials, count: int, draw: int, ablation: Any) -> InContext:
        shots = shots_of(self.observer, pool, count, draw, design=self.design, ablation=ablation)
        return self.observer.with_shots(shots)

    def cell(self, count: int, draw: int, ablation: Any) -> _Run:
        """One observer on all tests, asked once a prompt: the ledger knows what was asked."""
        blind = self.apart.tests.blind(seed=self.design.seed)
        cell = {"observer": self.name, "shots": count, "ablation": ablation, "draw": draw}
        names = {"content_free": "content-free", "unconditional": "unconditional"}
        letters, parts = [], []
        for group in self.apart.groups(count):
            made = self._with(group.pool, count, draw, ablation)
            shown = blind.without_key(group.rows)
            parts.append((group, made.both_orders(shown)))
            free = {key: one.difference for key, one in made.letters(shown).items()}
            own = {key: free.get(said, math.nan) for key, said in names.items()}
            letters.append({**cell, "shots_from": group.label, **own})
        found, source = _together(parts, len(blind))
        decisions, frame = _answers(self.name, found, blind)
        frame = frame.assign(**cell, shots_from=source)
        spent = ""
        if (ledger := self.observer.ledger) is not None:
            spent = f"; {plural(ledger.requests, 'request')}"
            if getattr(self.observer.model, "price_in", 0):
                spent += f", {ledger.spent():.4g} spent"
        ablated = "" if ablation == "none" else f", {ablation} shuffled"
        self.tell(
            f"{self.name}, {plural(count, 'shot')}, draw {draw + 1}{ablated}: "
            f"{decisions.credit.mean():.3f} correct{spent}"
        )
        return _Run(count, ablation, decisions, frame, found.report(), tuple(letters))

    def points(self, runs: Sequence[_Run], people: Study | None) -> list[Point]:
        cells = dict.fromkeys((run.count, run.ablation) for run in runs)
        return [
            _point(
                self.name,
                [run for run in runs if (run.count, run.ablation) == cell],
                people,
                self.design.seed,
            )
            for cell in cells
        ]

    def flips(self, runs: Sequence[_Run]) -> list[dict[str, Any]]:
        """Ask some trials a second time, past the ledger's first answers."""
        chosen = repeated(self.apart.tests, self.design)
        if chosen is None:
            return []
        blind = chosen.blind(seed=self.design.seed)
        asked = most(self.design)
        parts = []
        for group in self.apart.groups(asked[0], chosen):
            made = self._with(group.pool, *asked)
            parts.append((group, made.both_orders(blind.without_key(group.rows), again=True)))
        second, _ = _answers(self.name, _together(parts, len(chosen))[0], blind)
        run = next(run for run in runs if (run.count, run.ablation) == (asked[0], asked[2]))
        rows = rows_of(second.trial_id, among=run.decisions.trial_id)
        pair = np.stack([run.decisions.toward_correct[rows], second.toward_correct])
        pair = pair[:, np.isfinite(pair).all(axis=0)]
        flipped, asked_twice = int((np.sign(pair[0]) != np.sign(pair[1])).sum()), pair.shape[1]
        rate = proportion(flipped, asked_twice) if asked_twice else Estimate.undefined("no answer")
        return [
            {
                "observer": self.name,
                "shots": asked[0],
                "trials": asked_twice,
                "flipped": flipped,
                "rate": rate.value,
                "low": rate.low,
                "high": rate.high,
                "largest": float(np.abs(pair[0] - pair[1]).max()) if asked_twice else math.nan,
            }
        ]


def _together(parts: Sequence[tuple[Group, BothOrders]], count: int) -> tuple[BothOrders, Strings]:
    """Answers of all groups in the order of the tests, and the group of each test."""
    pairs: list[Any] = [None] * count
    labels = np.full(count, "", dtype=object)
    for group, found in parts:
        labels[group.rows] = group.label
        for row, pair in zip(group.rows.tolist(), found.pairs, strict=True):
            pairs[row] = pair
    return BothOrders(*(tuple(order) for order in zip(*pairs, strict=True))), labels


def _answers(
    name: str, found: BothOrders, blind: BlindTrials
) -> tuple[DecisionVariables, pd.DataFrame]:
    if blind.key is None:
        raise InputError("trials were blinded without a key")
    value, status = found.evidence()
    index = blind.key.index
    decisions = DecisionVariables(
        observer=name,
        trial_id=index.trial_id,
        decision_variable=value,
        status=status,
        shown_first=blind.key.shown_first,
        seconds=np.zeros(len(value)),
    )
    frame = pd.DataFrame(
        {
            "trial_id": index.trial_id,
            "unit_id": index.unit_id,
            "mode": index.mode,
            "difficulty": index.difficulty,
            "credit": decisions.credit,
            "status": decisions.status,
            "value": decisions.toward_correct,
        }
    )
    frame["served"] = [
        ", ".join(dict.fromkeys(o.served for o in pair if o.served)) for pair in found.pairs
    ]
    frame["input_tokens"] = [
        np.mean([o.usage.get("input_tokens", math.nan) for o in pair]) for pair in found.pairs
    ]
    frame["bounded"] = [bounded_share(pair) for pair in found.pairs]
    frame["evidence"] = [one.evidence for one in found.first]
    orders = order_table(found, blind.key.first_is_positive)
    return decisions, pd.concat([frame, orders], axis=1)


def _point(name: str, runs: Sequence[_Run], people: Study | None, seed: int) -> Point:
    frame = pd.concat([run.frame for run in runs])
    answered = frame["status"].isin(["ok", "tie"])
    accuracy = Estimate.undefined("no trial has an answer")
    if answered.any():
        accuracy = two_way_mean(
            frame["credit"].to_numpy(), frame["unit_id"].to_numpy(), draws_of(frame)
        )
    habits: dict[str, Any] = {
        key: float(np.mean([run.habits[key] for run in runs]))
        for key in ("says_a", "orders_agree", "mass", "bounded")
    }
    against: dict[str, Any] = {}
    if people is not None:
        reports = [score(run.decisions, people, by=(), seed=seed) for run in runs]
        for score_name, shown in _PEOPLE_SCORES.items():
            against[shown] = over_draws(
                [r.scores[score_name].estimate for r in reports],
                correlation=shown == "agreement",
            )
    return Point(
        observer=name,
        shots=runs[0].count,
        ablation=runs[0].ablation,
        accuracy=accuracy,
        coverage=float(answered.mean()),
        strong_as_a=float(frame["strong_as_a"].mean()),
        strong_as_b=float(frame["strong_as_b"].mean()),
        **habits,
        **against,
    )


def _baselines(
    tests: Trials, people: Study | None, others: Sequence[DecisionVariables]
) -> tuple[dict[str, Estimate], pd.DataFrame]:
    """Proportion correct of people and of other observers, and the credit of each trial."""
    units = dict(zip(tests.index.trial_id, tests.index.unit_id, strict=True))
    rows: list[pd.DataFrame] = []
    found = {}
    given: list[tuple[str, Any, Any]] = []
    if people is not None:
        made_up = "people (simulated)" if people.responses.simulated else "people"
        given.append((made_up, people.responses.trial_id, people.responses.correct.astype(float)))
    given += [(one.observer, one.trial_id, one.credit) for one in others]
    for name, trial_id, credit in given:
        keep = np.array([trial in units for trial in trial_id], dtype=bool)
        if missing := len(set(units) - set(trial_id)):
            if missing == len(units):
                raise NotComparableError(
                    "a baseline on other trials", where=name, found="no tested trial", wanted="all"
                )
            name = f"{name} ({len(units) - missing} of {plural(len(units), 'trial')})"
        if name in found:
            raise InputError(
                "two baselines of one name", found=name, wanted="one of each", do="leave one out"
            )
        ids = np.asarray(trial_id)[keep]
        own = pd.DataFrame({"trial_id": ids, "credit": np.asarray(credit)[keep]})
        found[name] = two_way_mean(
            own["credit"].to_numpy(), np.array([units[t] for t in ids]), np.zeros(len(ids))
        )
        each = own.groupby("trial_id")["credit"].mean().reset_index()
        rows.append(each.assign(name=name))
    columns = ["name", "trial_id", "credit"]
    return found, pd.concat(rows)[columns] if rows else pd.DataFrame(columns=columns)
