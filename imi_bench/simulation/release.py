"""A simulated study written the way the real one was released.

On top of `simulate`: assignments that fail an exclusion criterion or belong to people who took
part several times (each task is handed out again until an accepted one comes in), catch and
practice trials, response times, and the bookkeeping columns. Rows come as in the release: by
experiment, practice trials first. `stimulus` reads ``simulated`` in every row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from scipy.special import logit

from imi_bench.arguments import checked, checked_fields
from imi_bench.arrays import Floats, Ints
from imi_bench.documents import reading
from imi_bench.errors import InputError
from imi_bench.provenance import atomic_path, generator, write_json
from imi_bench.release.cells import CRITERIA
from imi_bench.release.published import published
from imi_bench.release.table import truth_path
from imi_bench.simulation.joint import (
    NOISE_SD,
    PACE_SD,
    JointParameters,
    confidences,
    latent_evidence,
    log_seconds,
)
from imi_bench.simulation.parameters import SimulationParameters
from imi_bench.simulation.rows import CATCH_UNITS, released_rows
from imi_bench.simulation.study import Design, Truth, design, probability_correct

FAILURES = (*CRITERIA, "multi_participation")
_FACTS = published().exclusions


@checked_fields
@dataclass(frozen=True)
class ReleaseParameters(JointParameters):
    """What the released table adds to the study; confidence and times as in `JointParameters`.

    Attributes
    ----------
    study : SimulationParameters
    failing : float
        Share of assignments that are not accepted. The default gives about 130,000 rows.
    failure_shares : mapping of str to float
        How failures divide over the criteria and multiple participation; sums to 1.
    careless_effort : float
        Factor on the evidence of people who fail catch trials or response time.
    catch_correct : float
        Probability of a correct answer to a catch or practice trial.

    Raises
    ------
    InputError
        A share outside [0, 1), or shares that do not sum to 1; also as `JointParameters`.
    """

    study: SimulationParameters = field(default_factory=SimulationParameters)
    failing: float = 0.45
    failure_shares: Mapping[str, float] = field(
        default_factory=lambda: dict(zip(FAILURES, (0.2, 0.1, 0.1, 0.2, 0.1, 0.3), strict=True))
    )
    careless_effort: float = 0.3
    catch_correct: float = 0.97

    def __post_init__(self) -> None:
        if not 0 <= self.failing < 1 or not 0 <= self.catch_correct <= 1:
            raise InputError(
                "share out of range",
                found=f"failing {self.failing}, catch_correct {self.catch_correct}",
                wanted="0 to 1",
            )
        super().__post_init__()
        if set(self.failure_shares) != set(FAILURES) or not np.isclose(
            sum(self.failure_shares.values()), 1
        ):
            raise InputError(
                "shares of failures",
                found=dict(self.failure_shares),
                wanted=f"{', '.join(FAILURES)}, together 1",
            )

    def to_json(self) -> dict[str, Any]:
        """JSON object of every parameter."""
        record = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            **record,
            "study": self.study.to_json(),
            "failure_shares": dict(self.failure_shares),
            "confidence_criteria": list(self.confidence_criteria),
        }

    @classmethod
    @reading("set of parameters")
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; parameters that are left out keep their defaults.

        Raises
        ------
        InputError
            For a name that is no parameter; also as the constructors.
        """
        if unknown := set(record) - set(cls.__dataclass_fields__):
            raise InputError("unknown parameter", found=", ".join(sorted(unknown)))
        facts = dict(record)
        facts["study"] = SimulationParameters.from_json(facts.get("study", {}))
        if "confidence_criteria" in facts:
            low, high = map(float, facts["confidence_criteria"])
            facts["confidence_criteria"] = (low, high)
        return cls(**facts)


@dataclass(frozen=True, eq=False)
class SimulatedRelease:
    """A table in the released format and what it was made from.

    Attributes
    ----------
    frame : DataFrame
        Every column of the release; booleans, nullable integers, floats and text.
    truth : Truth
    parameters : ReleaseParameters
    """

    frame: pd.DataFrame
    truth: Truth
    parameters: ReleaseParameters


@checked
def simulate_release(parameters: ReleaseParameters | None = None, *, seed: int) -> SimulatedRelease:
    """Simulate the whole released table, rejected assignments and all.

    Examples
    --------
    >>> from imi_bench.release.published import Condition
    >>> one = SimulationParameters(conditions=(Condition("resnet50", "natural"),))
    >>> release = simulate_release(ReleaseParameters(one), seed=1)
    >>> kept = release.frame.query("passed_checks and not multi_participation")
    >>> int((~kept.catch_trial & ~kept.is_demo).sum()), kept.participant_id.nunique()
    (2520, 63)
    """
    parameters = parameters or ReleaseParameters()
    plan = design(parameters.study, seed=seed)
    people = _assignments(plan, parameters, seed=seed)
    shown = _shown(plan, people, seed=seed)
    answers = _answers(plan.truth, parameters, people, shown, seed=seed)
    times = _times(parameters, people, answers["latent"], seed=seed)
    frame = released_rows(plan.truth, people, shown, answers, times, seed=seed)
    return SimulatedRelease(frame, plan.truth, parameters)


@checked
def write_release(release: SimulatedRelease, path: Path) -> tuple[Path, Path]:
    """Write the CSV table and, beside it, ``NAME.truth.json``; return both paths."""
    beside = truth_path(path)
    record = {**release.truth.told(), "parameters": release.parameters.to_json()}
    write_json(beside, record)
    table = pa.Table.from_pandas(release.frame, preserve_index=False)
    for position, column in enumerate(table.schema):
        if pa.types.is_boolean(column.type):  # the release writes True and False
            words = pc.if_else(table[position], "True", "False")
            table = table.set_column(position, column.name, words)
    with atomic_path(path) as temporary:
        pa_csv.write_csv(table, temporary, pa_csv.WriteOptions(quoting_style="needed"))
    return path, beside


def _assignments(plan: Design, parameters: ReleaseParameters, *, seed: int) -> pd.DataFrame:
    """One row an assignment: who took which task of which experiment, and why it fails if so."""
    rng = generator(seed, "assignments")
    conditions = list(plan.tasks)
    cells = [(c, t) for c, tasks in enumerate(plan.tasks.values()) for t in range(len(tasks))]
    attempts = rng.geometric(1 - parameters.failing, len(cells))
    condition, task = np.repeat(np.array(cells), attempts, axis=0).T
    table = pd.DataFrame({"condition": condition, "task": task})
    table["response_index"] = table.groupby(["condition", "task"]).cumcount()
    last = table["response_index"].to_numpy() == np.repeat(attempts, attempts) - 1
    kinds = np.array([*parameters.failure_shares, ""], dtype=object)
    shares = list(parameters.failure_shares.values())
    drawn = rng.choice(len(shares), len(table), p=shares)
    table["failure"] = kinds[np.where(last, len(shares), drawn)]
    several = rng.permutation(np.flatnonzero(table["failure"] == "multi_participation"))
    person = np.arange(len(table))
    for pair in np.array_split(several, max(len(several) // 2, 1)):
        person[pair] = pair[:1]
    codes, _ = pd.factorize(person)
    effects = rng.normal(0, parameters.study.participant_sd, len(table))
    return table.assign(
        person=codes,
        participant_id=[f"P{code + 1:04}" for code in codes],
        effect=effects[codes],
        model=np.array([c.released[0] for c in conditions], dtype=object)[condition],
        mode=np.array([c.released[1] for c in conditions], dtype=object)[condition],
    )


def _shown(plan: Design, people: pd.DataFrame, *, seed: int) -> Ints:
    """(A, 45) trial of each slot: a row of `truth.trials`, or -1 - i for catch unit i."""
    rng = generator(seed, "order")
    catch = -1 - np.arange(published().design["catch_trials"])
    slots = []
    for tasks in plan.tasks.values():
        with_catch = np.hstack([tasks, np.broadcast_to(catch, (len(tasks), len(catch)))])
        slots.append(rng.permuted(with_catch, axis=1))
    starts = np.cumsum([0, *map(len, slots)])
    row = starts[people["condition"].to_numpy()] + people["task"].to_numpy()
    shown: Ints = np.concatenate(slots)[row]
    return shown


def _answers(
    truth: Truth, parameters: ReleaseParameters, people: pd.DataFrame, shown: Ints, *, seed: int
) -> dict[str, Any]:
    """(A, 45) switched, correct, confidence: who fails on catch trials or rows does so here."""
    rng = generator(seed, "release answers")
    failure = people["failure"].to_numpy(dtype=str)[:, None]
    switched = rng.random(shown.shape) < 0.5
    effort = np.where(
        np.isin(failure, ("catch_trials", "total_response_time")), parameters.careless_effort, 1.0
    )
    evidence = effort * truth.evidence[np.maximum(shown, 0)]
    learned = parameters.learning * (_place(shown.shape) - 0.5)
    probability = probability_correct(
        evidence,
        parameters.study,
        participant=people["effect"].to_numpy()[:, None] + learned,
        first_is_positive=switched,
    )
    catch, inattentive = shown < 0, failure == "catch_trials"
    chance = np.where(inattentive, 0.4, parameters.catch_correct)
    correct = rng.random(shown.shape) < np.where(catch, chance, probability)
    enough = int(np.ceil(_FACTS["catch_ratio_min"] * len(CATCH_UNITS)))
    catch_unit = np.where(catch, -1 - shown, 0)
    correct |= catch & ~inattentive & (catch_unit < enough)
    correct &= ~(catch & inattentive & (catch_unit >= enough - 1))
    # Always the upper row: right exactly where the maximal query happens to be on top.
    correct = np.where(failure == "row_variability", switched, correct)
    side = parameters.study.side_bias * np.where(switched, 1.0, -1.0)
    eta = np.where(
        catch,
        np.where(inattentive, logit(0.4), logit(min(parameters.catch_correct, 0.999))),
        evidence + people["effect"].to_numpy()[:, None] + learned + side,
    )
    latent = latent_evidence(eta, correct, lapse=parameters.study.lapse, rng=rng)
    own: Floats = np.exp(parameters.confidence_sd * rng.normal(size=len(people)))[:, None]
    confidence = confidences(latent, parameters.confidence_criteria, scale=own)
    return {"switched": switched, "correct": correct, "confidence": confidence, "latent": latent}


def _place(shape: tuple[int, int]) -> Floats:
    """(1, 45) place of each trial in its session, 0 the first and 1 the last."""
    return np.asarray(np.linspace(0.0, 1.0, shape[1])[None, :])


def _times(
    parameters: ReleaseParameters, people: pd.DataFrame, latent: Floats, *, seed: int
) -> dict[str, Any]:
    """Milliseconds: `rt` and `elapsed` (A, 45), `practice` (A,) an attempt, and the totals."""
    rng = generator(seed, "times")
    shape = latent.shape
    count, failure = shape[0], people["failure"].to_numpy(dtype=str)
    pace = np.exp(np.clip(rng.normal(0, PACE_SD, count), -0.6, 0.6))[:, None]
    changed = log_seconds(latent, _place(shape), parameters)
    noise = np.clip(rng.normal(0, NOISE_SD, shape), -1.5, 2)
    rt: Floats = 1000 * parameters.seconds * pace * np.exp(noise + changed)
    between: Any = 3000.0  # waiting before and feedback after an answer
    instruction = np.clip(50 * np.exp(rng.normal(0, 0.5, count)), 16, 175)
    instruction = np.where(
        failure == "instruction_time",
        np.where(rng.random(count) < 0.7, rng.uniform(3, 14, count), rng.uniform(185, 400, count)),
        instruction,
    )
    attempts = rng.choice([1, 2, 3], count, p=[0.8, 0.15, 0.05])
    most = _FACTS["demo_attempts_max"]
    attempts = np.where(failure == "demo_trials", rng.integers(most + 1, most + 4, count), attempts)
    practice: Floats = np.asarray(1000 * rng.uniform(20, 35, count))
    wrong_time = failure == "total_response_time"
    slow = wrong_time & (rng.random(count) < 0.3)
    hasty = wrong_time & ~slow
    rt[slow, shape[1] // 2] += 1000 * rng.uniform(2600, 4000, int(slow.sum()))
    # Clicking through everything: 45 trials in less than a minute.
    factor = np.where(hasty, 0.1, 1.0)[:, None]
    instruction = np.where(hasty, 20.0, instruction)
    practice, attempts = np.where(hasty, 6000.0, practice), np.where(hasty, 1, attempts)
    rt, steps = np.where(hasty[:, None], 250 + 20 * rng.random(shape), rt), between * factor
    start = rng.uniform(3000, 9000, count)
    trials_start = start + 1000 * instruction + attempts * practice
    elapsed = trials_start[:, None] + np.cumsum(rt + steps, axis=1)
    return {
        "rt": rt,
        "elapsed": elapsed,
        "start": start,
        "instruction": instruction,
        "attempts": attempts,
        "practice": practice,
        "total": (elapsed[:, -1] + 2000 - start) / 1000,
    }
