"""What is true of a simulated table, in the terms of the paper's panels.

Conditions and units are computed from the truth that ``imi-bench data simulate`` writes beside its
table. What has no closed form (confidence, times, shares of units) is that of a population of
thousands of units and people drawn from the same parameters, so it holds to about a part in a
hundred of its interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from imi_bench.arrays import Floats
from imi_bench.documents import read_json, reading
from imi_bench.provenance import generator
from imi_bench.release.published import Condition
from imi_bench.release.table import truth_path
from imi_bench.simulation.joint import confidences, latent_evidence, seconds
from imi_bench.simulation.parameters import SimulationParameters, expected_mean
from imi_bench.simulation.release import ReleaseParameters
from imi_bench.simulation.study import probability_correct
from imi_bench.tables import TrialIndex
from imi_bench.vision.layer_names import paper_layers

__all__ = ["TrueValues", "read_true_values"]

_UNITS, _PEOPLE = 3000, 300
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


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
                rest = own.trial_sd * np.sqrt(1 - 1 / own.batches)
                learned = self.parameters.learning / np.sqrt(12)
                sd = float(np.sqrt(own.participant_sd**2 + rest**2 + learned**2))
                p = self._proportion(mean, sd)
                frames.append(
                    pd.DataFrame({"network": network, "unit": range(_UNITS), "mode": mode, "p": p})
                )
        return pd.concat(frames, ignore_index=True)

    def share(self, mode: str, threshold: float, *, above: bool) -> float:
        """Share of units whose true proportion lies above (or below) a threshold."""
        p = self.population.loc[self.population["mode"] == mode, "p"]
        return float((p > threshold).mean() if above else (p < threshold).mean())

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
        """Answers of many people to all conditions: correct, confidence, seconds, order."""
        own = self.study
        frames: list[pd.DataFrame] = []
        for condition, level in self.intercepts.items():
            rng = generator(0, "paper, true people", *map(str, vars(condition).values()))
            shape = (_PEOPLE, own.main_trials)
            place = np.broadcast_to(np.linspace(0.0, 1.0, shape[1]), shape)
            depth = rng.choice(np.linspace(0, 1, len(paper_layers(condition.network))), shape)
            of_unit = rng.normal(0, np.hypot(own.unit_sd, own.unit_condition_sd), shape)
            eta = level + own.depth_effect * (depth - 0.5) + own.spread(condition.mode) * of_unit
            eta = eta + rng.normal(0, own.trial_sd, shape)
            eta = eta + rng.normal(0, own.participant_sd, (_PEOPLE, 1))
            first = rng.random(shape) < 0.5
            learned = self.parameters.learning * (place - 0.5)
            correct = rng.random(shape) < probability_correct(
                eta, own, participant=learned, first_is_positive=first
            )
            eta = eta + learned + own.side_bias * np.where(first, 1.0, -1.0)
            z = latent_evidence(eta, correct, lapse=own.lapse, rng=rng)
            scale = np.exp(self.parameters.confidence_sd * rng.normal(size=(_PEOPLE, 1)))
            person = np.repeat(np.arange(_PEOPLE), shape[1])
            frames.append(
                pd.DataFrame(
                    {
                        "participant": person + _PEOPLE * len(frames),
                        "network": condition.network,
                        "mode": condition.mode,
                        "difficulty": condition.difficulty,
                        "correct": correct.ravel().astype(float),
                        "confidence": confidences(
                            z, self.parameters.confidence_criteria, scale=scale
                        ).ravel(),
                        "seconds": seconds(
                            z.ravel(), place.ravel(), person, self.parameters.joint, rng=rng
                        ),
                        "order": (1 + place * 44).ravel(),
                        "chose_first": (correct == first).ravel().astype(float),
                    }
                )
            )
        return pd.concat(frames, ignore_index=True)

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
