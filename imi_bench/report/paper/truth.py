"""What is true of a simulated table, in the terms of the paper's panels.

Conditions and units are computed from the truth that ``imi-bench data simulate`` writes beside its
table, shares of units as normal tails. What has no closed form (confidence, times, learning) is
that of thousands of people whose trials are drawn from the same parameters; of each trial the
probabilities of its answers are computed, not drawn, and people have no pace of their own (which
changes no mean): what is left of drawing is about a fifth of a standard error at the released size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit

from imi_bench.arrays import Floats
from imi_bench.documents import read_json, reading
from imi_bench.effects.truth import with_guesses
from imi_bench.provenance import generator
from imi_bench.release.published import Condition
from imi_bench.release.table import truth_path
from imi_bench.simulation.joint import (
    answer_probabilities,
    confidences,
    latent_evidence,
    seconds,
)
from imi_bench.simulation.parameters import SimulationParameters, expected_mean
from imi_bench.simulation.release import ReleaseParameters
from imi_bench.tables import TrialIndex
from imi_bench.vision.layer_names import paper_layers

__all__ = ["TrueValues", "read_true_values"]

_UNITS, _PEOPLE = 3000, 300
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def _even(rng: np.random.Generator) -> Floats:
    """(_PEOPLE, 1) standard normal: the quantiles, in random order."""
    place = (rng.permutation(_PEOPLE) + 0.5) / _PEOPLE
    return np.asarray(stats.norm.ppf(place)[:, None])


def _won(right: Floats, wrong: Floats) -> Floats:
    """Of pairs of a right and a wrong answer by confidence: surer when right, ties half."""
    below = np.cumsum(wrong, axis=1) - 0.5 * wrong
    return np.asarray((right * below).sum(axis=1))


@dataclass(frozen=True, eq=False)
class TrueValues:
    """The truth behind a simulated table.

    Attributes
    ----------
    parameters : ReleaseParameters
    intercepts : mapping of Condition to float
        Log-odds of each condition.
    evidence : mapping of str to float
        Log-odds of each trial for a typical person, by trial id.
    """

    parameters: ReleaseParameters
    intercepts: Mapping[Condition, float]
    evidence: Mapping[str, float]

    @property
    def study(self) -> SimulationParameters:
        """Parameters of units, trials and people."""
        return self.parameters.study

    @cached_property
    def means(self) -> dict[Condition, float]:
        """Expected proportion correct of each condition."""
        return {
            c: expected_mean(v, self.study, network=c.network, mode=c.mode)
            for c, v in self.intercepts.items()
        }

    @cached_property
    def log_odds(self) -> dict[Condition, float]:
        """Log-odds that a model which does not count guesses can find; see `TrueEffects`."""
        return {c: with_guesses(v, self.study, c.mode) for c, v in self.intercepts.items()}

    def units(self, trials: TrialIndex) -> pd.DataFrame:
        """True proportion of the units that were shown: `unit_id`, mode, difficulty, `true`."""
        frame = trials.to_frame().assign(unit_id=trials.unit_id)
        known = frame["trial_id"].astype(str).map(self.evidence)
        frame = frame.assign(true=self._proportion(np.asarray(known, dtype=np.float64)))
        keys = ["unit_id", "mode", "difficulty"]
        found = frame.groupby(keys, observed=True)["true"].mean().reset_index()
        return found.astype({"mode": str, "difficulty": str})

    def _proportion(self, evidence: Floats, sd: float | None = None) -> Floats:
        """Proportion correct over people and sides."""
        spread = np.hypot(self.study.participant_sd, self.parameters.learning / np.sqrt(12))
        sd = float(spread if sd is None else sd)
        sides = self.study.side_bias * np.array([1.0, -1.0])
        eta = evidence[..., None, None] + sides[:, None] + sd * _NODES
        p = self.study.lapse / 2 + (1 - self.study.lapse) * expit(eta)
        return np.asarray((p @ _WEIGHTS).mean(axis=-1))

    def depth_line(self, networks: pd.Series, depth: Floats, mode: str) -> Floats:
        """Expected proportion of layers of some networks at some depths, easiest queries."""
        sd = float(np.hypot(self.study.random_sd(mode), self.parameters.learning / np.sqrt(12)))
        level = networks.astype(str).map(
            lambda name: self.intercepts.get(Condition(name, mode), np.nan)
        )
        eta = level.to_numpy(float) + self.study.depth_effect * (np.asarray(depth, float) - 0.5)
        return self._proportion(eta, sd)

    @cached_property
    def population(self) -> pd.DataFrame:
        """Units of every network, easiest queries: `network`, `unit`, `mode`, `p`, `noise`."""
        own, frames = self.study, []
        for network in dict.fromkeys(c.network for c in self.intercepts):
            rng = generator(0, "paper, true units", network)
            depth = rng.choice(np.linspace(0, 1, len(paper_layers(network))), _UNITS)
            unit = rng.normal(0, own.unit_sd, _UNITS)
            for mode in ("natural", "synthetic"):
                level = self.intercepts.get(Condition(network, mode))
                if level is None:
                    continue
                mean = level + own.depth_effect * (depth - 0.5)
                mean = mean + own.spread(mode) * (
                    unit + rng.normal(0, own.unit_condition_sd, _UNITS)
                )
                mean = mean + rng.normal(0, own.trial_sd / np.sqrt(own.batches), _UNITS)
                p = self._proportion(mean, self._unit_spreads(mode)[1])
                frames.append(
                    pd.DataFrame({"network": network, "unit": range(_UNITS), "mode": mode, "p": p})
                )
        return pd.concat(frames, ignore_index=True)

    def _unit_spreads(self, mode: str) -> tuple[float, float]:
        """Deviation of units' log-odds, and of answers to one unit about them."""
        own = self.study
        of_unit = own.spread(mode) * np.hypot(own.unit_sd, own.unit_condition_sd)
        rest = own.trial_sd**2 * (1 - 1 / own.batches) + own.participant_sd**2
        learned = self.parameters.learning**2 / 12
        between = np.hypot(of_unit, own.trial_sd / np.sqrt(own.batches))
        return float(between), float(np.sqrt(rest + learned))

    def share(self, mode: str, threshold: float, *, above: bool) -> float:
        """Share of units whose true proportion lies above (or below) a threshold."""
        between, within = self._unit_spreads(mode)
        grid = np.linspace(-12.0, 12.0, 4801)
        at = float(np.interp(threshold, self._proportion(grid, within), grid))
        tails = []
        for condition, level in self.intercepts.items():
            if condition.difficulty != "easy" or condition.mode != mode:
                continue
            depth = np.linspace(0, 1, len(paper_layers(condition.network)))
            middle = level + self.study.depth_effect * (depth - 0.5)
            below = stats.norm.cdf((at - middle) / between) if between else (middle < at) * 1.0
            tails.append(float(np.mean(1 - below if above else below)))
        return float(np.mean(tails)) if tails else np.nan

    def noise(self, mode: str, answers: Floats) -> float:
        """Binomial part of the variance of observed proportions over units."""
        p = self.population.loc[self.population["mode"] == mode, "p"].to_numpy()
        binomial = float((p * (1 - p)).mean() * (1 / answers).mean())
        return binomial / (binomial + float(p.var()))

    def reliability(self, condition: Condition, answers: float) -> float:
        """Squared correlation of a unit's observed and true proportion, easiest queries."""
        if condition.difficulty != "easy":
            return np.nan
        frame = self.population
        one = (frame["network"] == condition.network) & (frame["mode"] == condition.mode)
        p = frame.loc[one, "p"].to_numpy()
        noise = float((p * (1 - p)).mean()) / answers
        return float(p.var()) / (float(p.var()) + noise)

    @cached_property
    def correlation(self) -> float:
        """Of units' true proportions in both modes, within networks."""
        wide = self.population.pivot_table(index=["network", "unit"], columns="mode", values="p")
        wide = wide.dropna()
        inside = wide - wide.groupby(level="network").transform("mean")
        return float(inside.corr().to_numpy()[0, 1]) if wide.shape[1] == 2 else np.nan

    @cached_property
    def people(self) -> pd.DataFrame:
        """Answers of many people to all conditions.

        `correct`, `confidence`, `seconds`, `order`, `chose_first` as drawn, and `right_1` to
        `wrong_3`: the probabilities of the six answers that a person could have given.
        """
        return pd.concat(
            [self._answers(c, v, k) for k, (c, v) in enumerate(self.intercepts.items())],
            ignore_index=True,
        )

    def _answers(self, condition: Condition, level: float, number: int) -> pd.DataFrame:
        own, joint = self.study, self.parameters
        rng = generator(0, "paper, true people", *map(str, vars(condition).values()))
        shape = (_PEOPLE, own.main_trials)
        place = np.broadcast_to(np.linspace(0.0, 1.0, shape[1]), shape)
        depth = rng.choice(np.linspace(0, 1, len(paper_layers(condition.network))), shape)
        of_unit = rng.normal(0, np.hypot(own.unit_sd, own.unit_condition_sd), shape)
        eta = level + own.depth_effect * (depth - 0.5) + own.spread(condition.mode) * of_unit
        eta = eta + rng.normal(0, own.trial_sd, shape) + own.participant_sd * _even(rng)
        first = rng.random(shape) < 0.5
        eta = eta + joint.learning * (place - 0.5) + own.side_bias * np.where(first, 1.0, -1.0)
        correct = rng.random(shape) < own.lapse / 2 + (1 - own.lapse) * expit(eta)
        z = latent_evidence(eta, correct, lapse=own.lapse, rng=rng)
        scale = np.exp(joint.confidence_sd * _even(rng))
        right, wrong = answer_probabilities(
            eta, joint.confidence_criteria, lapse=own.lapse, scale=scale
        )
        person = np.repeat(np.arange(_PEOPLE), shape[1])
        told = confidences(z, joint.confidence_criteria, scale=scale)
        took = seconds(z.ravel(), place.ravel(), person, joint, rng=rng, pace_sd=0.0)
        return pd.DataFrame(
            {
                "participant": person + _PEOPLE * number,
                "network": condition.network,
                "mode": condition.mode,
                "difficulty": condition.difficulty,
                "correct": correct.ravel().astype(float),
                "confidence": told.ravel(),
                "seconds": took,
                "order": (1 + place * 44).ravel(),
                "chose_first": (correct == first).ravel().astype(float),
                **{f"right_{k + 1}": right[..., k].ravel() for k in range(3)},
                **{f"wrong_{k + 1}": wrong[..., k].ravel() for k in range(3)},
            }
        )

    @cached_property
    def expected(self) -> pd.DataFrame:
        """The same people, `correct` and `chose_first` being the probabilities of it."""
        people = self.people
        right = people[[f"right_{k}" for k in (1, 2, 3)]].sum(axis=1)
        first = people["correct"] == people["chose_first"]
        return people.assign(correct=right, chose_first=np.where(first, right, 1 - right))

    def by_confidence(self) -> pd.DataFrame:
        """Expected proportion correct: `mode`, `confidence`, `correct`."""
        rows = []
        for mode, part in self.people.groupby("mode", sort=False):
            for k in (1, 2, 3):
                right, wrong = float(part[f"right_{k}"].sum()), float(part[f"wrong_{k}"].sum())
                if right + wrong > 0:
                    share = right / (right + wrong)
                    rows.append({"mode": mode, "confidence": k, "correct": share})
        return pd.DataFrame(rows, columns=["mode", "confidence", "correct"])

    def insight(self, mode: str) -> float:
        """Expected area under the type-2 ROC within people, pairs counted alike."""
        part = self.people[self.people["mode"] == mode]
        if part.empty:
            return np.nan
        person = pd.factorize(part["participant"])[0]
        right, wrong = (
            part[[f"{end}_{k}" for k in (1, 2, 3)]].to_numpy(float) for end in ("right", "wrong")
        )
        # Both answers of a pair are other trials of one person: all pairs less those of a trial.
        of_right, of_wrong = (
            np.stack([np.asarray(np.bincount(person, c), float) for c in one.T], axis=1)
            for one in (right, wrong)
        )
        won = _won(of_right, of_wrong).sum() - _won(right, wrong).sum()
        pairs = (of_right.sum(axis=1) * of_wrong.sum(axis=1)).sum()
        pairs -= (right.sum(axis=1) * wrong.sum(axis=1)).sum()
        return float(won / pairs) if pairs > 0 else np.nan

    def left_out(self, mode: str) -> float:
        """Expected proportion correct of assignments that fail, easiest queries."""
        shares = self.parameters.failure_shares
        easy = [
            (c, v) for c, v in self.intercepts.items() if c.difficulty == "easy" and c.mode == mode
        ]
        if not easy:
            return np.nan
        careful = float(np.mean([self.means[c] for c, _ in easy]))
        careless = np.mean([self._careless(c, v) for c, v in easy])
        slow = shares["catch_trials"] + shares["total_response_time"]
        rows = shares["row_variability"]
        return float(slow * careless + rows * 0.5 + (1 - slow - rows) * careful)

    def _careless(self, condition: Condition, level: float) -> float:
        """Expected proportion of people who make little of the evidence."""
        own, effort = self.study, self.parameters.careless_effort
        depth = np.linspace(0, 1, len(paper_layers(condition.network)))
        mean = effort * (level + own.depth_effect * (depth - 0.5))
        of_units = own.random_sd(condition.mode) ** 2 - own.participant_sd**2
        sd = float(np.sqrt(effort**2 * of_units + own.participant_sd**2))
        return float(self._proportion(mean, sd).mean())


def read_true_values(table: Path | None) -> TrueValues | None:
    """Read the truth that lies beside a simulated table; None where there is none.

    Raises
    ------
    InputError
        If it is not such a file.
    """
    beside = None if table is None or table.suffix != ".csv" else truth_path(table)
    if beside is None or not beside.is_file():
        return None
    with reading("simulation's truth", where=beside):
        record: dict[str, Any] = read_json(beside)
        own = record["parameters"]
        known = own if "study" in own else {"study": own}
        trials = record["trials"]
        return TrueValues(
            ReleaseParameters.from_json(known),
            {
                Condition(one["network"], one["mode"], one["difficulty"]): float(one["logit"])
                for one in record["intercepts"]
            },
            dict(zip(trials["trial_id"], map(float, trials["evidence"]), strict=True)),
        )
