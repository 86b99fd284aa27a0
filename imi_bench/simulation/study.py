"""A generative study with known parameters, at the size of the real one.

The model, for participant p answering batch t of unit u in condition c::

    evidence   = intercept_c + depth_effect * (depth_u - 1/2) + unit_u + unit_uc + trial_t
    eta        = evidence + participant_p + side_bias * (+1 if q+ is shown first, else -1)
    P(correct) = lapse / 2 + (1 - lapse) / (1 + exp(-eta))

unit, unit-by-condition, trial and participant effects are normal with mean 0. Seen from the query
shown first this is the choice model: with the evidence signed towards it, P(choose first) =
lapse / 2 + (1 - lapse) * logistic(evidence + side_bias). `decisions` hands that evidence to a
machine observer on another scale, so a calibration has known numbers to find.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from imi_bench.arrays import Bools, Floats, Ints
from imi_bench.errors import InputError
from imi_bench.provenance import generator
from imi_bench.release.published import Condition
from imi_bench.simulation.joint import (
    JointParameters,
    confidences,
    latent_evidence,
    seconds,
)
from imi_bench.simulation.parameters import SimulationParameters, intercepts
from imi_bench.tables import DecisionVariables, Responses, Study, TrialIndex
from imi_bench.vision.layer_names import paper_layers

_CHANNELS = 256


@dataclass(frozen=True, eq=False)
class Truth:
    """What the simulation knows and a reader of its answers must not.

    Attributes
    ----------
    parameters : SimulationParameters
    seed : int
    intercepts : mapping of Condition to float
        Logit intercept of each condition.
    trials : TrialIndex
        T rows: every trial of the design.
    evidence : (T,) float64
        Logit of being correct for a typical participant without bias, before lapses.
    depth : (T,) float64
        Relative depth of the trial's layer, 0 the first and 1 the last.
    unit_effect : (T,) float64
        The unit's own effect, shared by all its conditions.
    """

    parameters: SimulationParameters
    seed: int
    intercepts: Mapping[Condition, float]
    trials: TrialIndex
    evidence: Floats
    depth: Floats
    unit_effect: Floats

    def told(self) -> dict[str, Any]:
        """What ``NAME.truth.json`` holds: parameters, intercepts, effects trial by trial."""
        return {
            "simulated": True,
            "seed": self.seed,
            "parameters": self.parameters.to_json(),
            "intercepts": [{**asdict(c), "logit": v} for c, v in self.intercepts.items()],
            "trials": {
                "trial_id": self.trials.trial_id.tolist(),
                "evidence": self.evidence.tolist(),
                "depth": self.depth.tolist(),
                "unit_effect": self.unit_effect.tolist(),
            },
        }


@dataclass(frozen=True, eq=False)
class SimulatedStudy:
    """A study and how it came about."""

    study: Study
    truth: Truth


@dataclass(frozen=True, eq=False)
class Design:
    """Which trials each task of each experiment shows.

    Attributes
    ----------
    truth : Truth
    tasks : mapping of Condition to (participants, main_trials) int64
        Rows of `truth.trials`, in random order within a task; no unit twice in a task.
    """

    truth: Truth
    tasks: Mapping[Condition, Ints]


def design(parameters: SimulationParameters, *, seed: int) -> Design:
    """Draw units, effects and tasks.

    A unit is drawn by layer, then channel, both uniform. Every unit of an experiment is shown
    equally often (to within one), by rotating batches; batch 0 belongs to catch trials.
    """
    levels = intercepts(parameters)
    frames: list[pd.DataFrame] = []
    tasks: dict[Condition, Ints] = {}
    offset = 0
    units = {
        network: _draw_units(network, parameters, seed=seed)
        for network in dict.fromkeys(c.network for c in parameters.conditions)
    }
    for condition in parameters.conditions:
        shown = units[condition.network].head(parameters.units_in(condition))
        frames.append(_trial_table(shown, condition, levels[condition], parameters, seed=seed))
        units_of_tasks = _balanced_tasks(
            len(shown), parameters, generator(seed, "tasks", *_name(condition))
        )
        turn = _running_count(units_of_tasks) % parameters.batches
        tasks[condition] = offset + units_of_tasks * parameters.batches + turn
        offset += len(frames[-1])
    table = pd.concat(frames, ignore_index=True)
    table.insert(0, "trial_id", TrialIndex.canonical_ids(table))
    truth = Truth(
        parameters=parameters,
        seed=seed,
        intercepts=MappingProxyType(levels),
        trials=TrialIndex.from_frame(table),
        evidence=table["evidence"].to_numpy(),
        depth=table["depth"].to_numpy(),
        unit_effect=table["unit_effect"].to_numpy(),
    )
    return Design(truth, MappingProxyType(tasks))


def _name(condition: Condition) -> tuple[str, str, str]:
    return condition.network, condition.mode, condition.difficulty


def _draw_units(network: str, parameters: SimulationParameters, *, seed: int) -> pd.DataFrame:
    rng = generator(seed, "units", network)
    names = paper_layers(network)
    cells: dict[tuple[int, int], None] = {}
    while len(cells) < parameters.units:
        cells[int(rng.integers(len(names))), int(rng.integers(_CHANNELS))] = None
    layer, channel = np.array(list(cells)).T
    return pd.DataFrame(
        {
            "network": network,
            "layer": np.array(names, dtype=object)[layer],
            "unit": channel,
            "depth": layer / (len(names) - 1),
            "unit_effect": rng.normal(0, parameters.unit_sd, parameters.units),
        }
    )


def _trial_table(
    units: pd.DataFrame,
    condition: Condition,
    intercept: float,
    parameters: SimulationParameters,
    *,
    seed: int,
) -> pd.DataFrame:
    """One row a trial, batch running fastest."""
    rng = generator(seed, "trials", *_name(condition))
    own = rng.normal(0, parameters.unit_condition_sd, len(units))
    of_unit = intercept + parameters.depth_effect * (units["depth"].to_numpy() - 0.5)
    of_unit = of_unit + parameters.spread(condition.mode) * (units["unit_effect"].to_numpy() + own)
    evidence = of_unit[:, None] + rng.normal(
        0, parameters.trial_sd, (len(units), parameters.batches)
    )
    table = units.iloc[np.repeat(np.arange(len(units)), parameters.batches)].reset_index(drop=True)
    return table.assign(
        mode=condition.mode,
        difficulty=condition.difficulty,
        batch=np.tile(np.arange(1, parameters.batches + 1), len(units)),
        catch=False,
        evidence=evidence.ravel(),
    )


def _balanced_tasks(units: int, parameters: SimulationParameters, rng: np.random.Generator) -> Ints:
    """(participants, main_trials) units; each task takes those shown least so far."""
    shown = np.zeros(units, dtype=np.int64)
    tasks = np.empty((parameters.participants, parameters.main_trials), dtype=np.int64)
    for task in tasks:
        chosen = np.lexsort((rng.random(units), shown))[: parameters.main_trials]
        shown[chosen] += 1
        task[:] = rng.permutation(chosen)
    return tasks


def _running_count(values: Ints) -> Ints:
    """How often each value stood before, in reading order."""
    flat = pd.Series(values.ravel())
    counts: Ints = np.asarray(flat.groupby(flat).cumcount(), dtype=np.int64)
    return counts.reshape(values.shape)


def probability_correct(
    evidence: Floats,
    parameters: SimulationParameters,
    *,
    participant: Floats | float = 0.0,
    first_is_positive: Bools | None = None,
) -> Floats:
    """P(correct) of the model at the top of this file; no side bias without sides.

    Examples
    --------
    >>> float(probability_correct(np.array(0.0), SimulationParameters(lapse=0.1)))
    0.5
    """
    eta = evidence + participant
    if first_is_positive is not None:
        eta = eta + parameters.side_bias * np.where(first_is_positive, 1.0, -1.0)
    return np.asarray(parameters.lapse / 2 + (1 - parameters.lapse) * expit(eta))


def simulate_study(
    parameters: SimulationParameters | None = None,
    *,
    joint: JointParameters | None = None,
    seed: int,
) -> SimulatedStudy:
    """Simulate the accepted participants' main trials, straight to a `Study`.

    Parameters
    ----------
    parameters : SimulationParameters, optional
        The paper's design and published means by default.
    joint : JointParameters, optional
        Ask for confidence and take times, by this model, and let people learn over the session;
        neither is there by default. A person's answers stand in the order they were given.
    seed : int
        The same seed gives the same units, effects and answers.

    Examples
    --------
    >>> small = SimulationParameters(conditions=(Condition("resnet50", "natural"),))
    >>> simulated = simulate_study(small, seed=1)
    >>> len(simulated.study.responses), len(simulated.study.trials)
    (2520, 840)
    """
    parameters = parameters or SimulationParameters()
    plan = design(parameters, seed=seed)
    rows = np.concatenate([task.ravel() for task in plan.tasks.values()])
    people = np.repeat(np.arange(len(rows) // parameters.main_trials), parameters.main_trials)
    rng = generator(seed, "answers")
    effects = rng.normal(0, parameters.participant_sd, people[-1] + 1)
    first_is_positive = rng.random(len(rows)) < 0.5
    place = np.tile(np.linspace(0.0, 1.0, parameters.main_trials), people[-1] + 1)
    learned = (joint.learning if joint else 0.0) * (place - 0.5)
    correct = rng.random(len(rows)) < probability_correct(
        plan.truth.evidence[rows],
        parameters,
        participant=effects[people] + learned,
        first_is_positive=first_is_positive,
    )
    names = np.array([f"P{i + 1:04}" for i in range(people[-1] + 1)], dtype=object)
    confidence = times = np.full(len(rows), np.nan)
    if joint is not None:
        side = parameters.side_bias * np.where(first_is_positive, 1.0, -1.0)
        eta = plan.truth.evidence[rows] + effects[people] + learned + side
        more = generator(seed, "confidence and times")
        z = latent_evidence(eta, correct, lapse=parameters.lapse, rng=more)
        own = np.exp(joint.confidence_sd * more.normal(size=people[-1] + 1))
        confidence = confidences(z, joint.confidence_criteria, scale=own[people]).astype(float)
        times = seconds(z, place, people, joint, rng=more)
    responses = Responses(
        trial_id=plan.truth.trials.trial_id[rows],
        participant=names[people],
        correct=correct,
        chose_first=(correct == first_is_positive).astype(float),
        confidence=confidence,
        seconds=times,
        simulated=True,
        source=f"simulated study, seed {seed}",
    )
    return SimulatedStudy(Study(plan.truth.trials, responses), plan.truth)


def decisions(
    truth: Truth,
    *,
    slope: float = 1.0,
    lapse: float | None = None,
    noise: float = 0.0,
    seed: int,
    observer: str = "simulated observer",
) -> DecisionVariables:
    """A machine observer whose calibration is known.

    The decision variable x of a trial is such that a typical participant without side bias
    answers correctly with probability lapse/2 + (1 - lapse) * logistic(slope * x), x signed
    towards the strongly activating query. So a logit calibration on the simulated answers finds
    `slope`, `lapse` and, as bias, the people's side bias: exactly in expectation where
    ``participant_sd`` and `noise` are 0; otherwise the slope it finds is attenuated.

    Parameters
    ----------
    truth : Truth
    slope : float
        Not 0; a negative slope is an observer that gets it backwards.
    lapse : float, optional
        The people's own lapse by default, and then x = evidence / slope.
    noise : float
        Standard deviation, in logits, of normal noise on the evidence: lowers the correlation
        with the trials' difficulty.
    seed : int
        For the noise and for which query is shown first (as `Trials.blind` would: of its own).

    Raises
    ------
    InputError
        If the slope is 0, the noise negative, or the lapse so high that a trial's probability
        lies outside (lapse/2, 1 - lapse/2).

    Examples
    --------
    >>> truth = simulate_study(
    ...     SimulationParameters(conditions=(Condition("resnet50", "natural"),)), seed=1).truth
    >>> machine = decisions(truth, slope=2.0, seed=0)
    >>> signed = np.where(machine.shown_first == "positive", 1, -1) * machine.decision_variable
    >>> bool(np.allclose(2.0 * signed, truth.evidence))
    True
    """
    if slope == 0 or not np.isfinite(slope) or not noise >= 0:
        raise InputError(
            "no such observer",
            found=f"slope {slope}, noise {noise}",
            wanted="slope not 0, noise >= 0",
        )
    own = truth.parameters.lapse
    evidence = truth.evidence
    if lapse is not None and lapse != own:
        share = (probability_correct(evidence, truth.parameters) - lapse / 2) / (1 - lapse)
        if not ((share > 0) & (share < 1)).all():
            raise InputError(
                "lapse too high for these people",
                found=lapse,
                wanted=f"about {own}: every probability within (lapse/2, 1 - lapse/2)",
            )
        evidence = logit(share)
    rng = generator(seed, "decisions")
    first_is_positive = rng.random(len(evidence)) < 0.5
    signed = (evidence + noise * rng.normal(size=len(evidence))) / slope
    value = np.where(first_is_positive, signed, -signed)
    return DecisionVariables(
        observer=observer,
        trial_id=truth.trials.trial_id,
        decision_variable=value,
        status=np.where(value == 0, "tie", "ok"),
        shown_first=np.where(first_is_positive, "positive", "negative"),
        seconds=np.zeros(len(value)),
    )
