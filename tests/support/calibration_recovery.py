"""Recovery of known slopes, lapses and unit effects, and coverage of the intervals.

``python tests/support/calibration_recovery.py --studies 400`` prints the table of
``docs/calibration-recovery.md``. Every study is simulated: 200 units
of ten trials, three people a trial.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imi_bench.choice.fitting import fit_psychometric
from imi_bench.choice.unit_effects import fit_unit_effects
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.links import link_named

UNITS, BATCHES, PEOPLE = 200, 10, 3
EVIDENCE_MEAN, EVIDENCE_SD = 1.0, 2.0


@dataclass(frozen=True)
class Setting:
    """One true choice model: 200 units of ten trials by three people, natural trials."""

    slope: float
    lapse: float
    unit_sd: float
    link: str = "logit"

    def simulate(self, seed: int) -> dict[str, NDArray[np.float64]]:
        """Evidence towards the correct query, people's correct answers, and the unit, by trial."""
        rng = np.random.default_rng([seed, 71])
        unit = np.repeat(np.arange(UNITS), BATCHES)
        evidence = rng.normal(EVIDENCE_MEAN, EVIDENCE_SD, len(unit))
        effect = self.unit_sd * rng.standard_normal(UNITS)[unit]
        value = link_named(self.link).value(self.slope * evidence + effect)
        p = self.lapse / 2 + (1 - self.lapse) * value
        return {
            "evidence": evidence,
            "successes": rng.binomial(PEOPLE, p).astype(float),
            "trials": np.full(len(unit), float(PEOPLE)),
            "unit": unit,
        }

    def population(self) -> tuple[float, float]:
        """Slope and lapse that fit best where unit effects are averaged over (no sampling).

        Exactly ``slope / sqrt(1 + sd^2)`` and the lapse for probit; for logit the average over
        normal effects is no logistic function, and the best one is found on a fine grid.
        """
        at, weight = np.polynomial.hermite_e.hermegauss(61)
        x = EVIDENCE_MEAN + EVIDENCE_SD * at
        effect, share = np.polynomial.hermite_e.hermegauss(41)
        value = link_named(self.link).value(self.slope * x[:, None] + self.unit_sd * effect)
        p = self.lapse / 2 + (1 - self.lapse) * (value @ share) / share.sum()
        n = 1e9 * weight / weight.sum()
        fit = fit_psychometric(x, successes=n * p, trials=n, link=self.link)
        return fit.slopes["all"].value, fit.lapse.value


SETTINGS = (
    Setting(0.8, 0.10, 0.0),
    Setting(0.8, 0.10, 0.7),
    Setting(1.2, 0.05, 1.0),
    Setting(0.7, 0.10, 0.0, "probit"),
    Setting(0.7, 0.10, 0.5, "probit"),
)


@dataclass(frozen=True)
class Coverage:
    """How often intervals of one kind hold the truth."""

    held: int
    intervals: int
    truth: float
    mean: float
    covered: float
    without: float

    @classmethod
    def of(cls, truth: float, found: list[Estimate]) -> Coverage:
        held = [e.low <= truth <= e.high for e in found if not math.isnan(e.low)]
        return cls(
            held=sum(held),
            intervals=len(held),
            truth=truth,
            mean=float(np.mean([e.value for e in found])),
            covered=float(np.mean(held)),
            without=1 - len(held) / len(found),
        )


def coverage(setting: Setting, *, studies: int, first_seed: int = 0) -> Mapping[str, Coverage]:
    """Coverage of the calibration's, the naive, and the unit-effects intervals.

    The fit with clusters is the one that `imi_bench.choice.calibrate` makes.
    """
    slope, lapse = setting.population()
    found: dict[str, list[Estimate]] = {}
    for seed in range(first_seed, first_seed + studies):
        data = setting.simulate(seed)
        unit = data.pop("unit")
        fit = fit_psychometric(**data, cluster=unit, link=setting.link)
        naive = fit_psychometric(**data, link=setting.link)
        parts = {
            "slope": fit.slopes["all"],
            "lapse": fit.lapse,
            "slope, naive": naive.slopes["all"],
        }
        if setting.unit_sd:
            within = fit_unit_effects(**data, unit=unit, link=setting.link)
            parts |= {
                "slope in a unit": within.slope,
                "lapse in a unit": within.lapse,
                "unit sd": within.unit_sd,
            }
        for name, estimate in parts.items():
            found.setdefault(name, []).append(estimate)
    truth = {
        "slope": slope,
        "lapse": lapse,
        "slope, naive": slope,
        "slope in a unit": setting.slope,
        "lapse in a unit": setting.lapse,
        "unit sd": setting.unit_sd,
    }
    return {name: Coverage.of(truth[name], estimates) for name, estimates in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    print(
        "| link | slope | lapse | unit sd | estimate of | truth | mean | coverage | no interval |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    record = []
    for setting in SETTINGS:
        rows = coverage(setting, studies=arguments.studies, first_seed=arguments.first_seed)
        for name, row in rows.items():
            print(
                f"| {setting.link} | {setting.slope} | {setting.lapse} | {setting.unit_sd} "
                f"| {name} | {row.truth:.4f} | {row.mean:.4f} | {row.covered:.1%} "
                f"| {row.without:.1%} |",
                flush=True,
            )
            record.append({**vars(setting), "name": name, **vars(row)})
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
