"""Lapse rates and ordered answers: time against the plain fit, recovery, precision.

Times are paired: plain and other fits by turns in one run. Recovery is of simulated studies of
the released design, small, whose people lapse; precision is the standard error of six ordered
answers against that of correct and wrong ones from the same answers.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measuring import write_record

from imi_bench.effects.analysis import analyse
from imi_bench.effects.table import people_table
from imi_bench.effects.truth import true_effects
from imi_bench.glmm import GlmmResult, build_design, fit_design
from imi_bench.glmm.fitting import build
from imi_bench.glmm.options import Options
from imi_bench.simulation.parameters import SimulationParameters
from imi_bench.simulation.study import simulate_study

TERMS = "mode + difficulty + depth + (1|unit) + (1|participant) + (1|model)"


def crossed(answers: int) -> tuple[Any, Any]:
    """A crossed design with correct and wrong answers, and with six ordered ones."""
    rng = np.random.default_rng(0)
    people, units = answers // 40, 756
    data = pd.DataFrame(
        {
            "participant": np.repeat(np.arange(people), 40),
            "unit": rng.integers(0, units, people * 40),
            "mode": rng.integers(0, 2, people * 40),
            "difficulty": rng.integers(0, 3, people * 40) / 2,
        }
    )
    data["model"], data["depth"] = data["unit"] % 9, rng.random(units)[data["unit"]]
    eta = 1.8 - 1.1 * data["mode"] - 0.8 * data["difficulty"] + 0.3 * data["depth"]
    eta += 0.5 * rng.normal(size=people)[data["participant"]]
    eta += 0.8 * rng.normal(size=units)[data["unit"]] + 0.2 * rng.normal(size=9)[data["model"]]
    data["rating"] = 1 + np.searchsorted([-2, -1, 0, 1.2, 2.4], eta + rng.logistic(size=len(data)))
    data["correct"] = (data["rating"] > 3).astype(int)
    return build_design(f"correct ~ {TERMS}", data), build(
        f"rating ~ {TERMS}", data, family="ordinal"
    )


def seconds(design: Any, options: Options) -> tuple[float, GlmmResult]:
    began = time.perf_counter()
    result = fit_design(design, options=options)
    if not result.converged:
        raise RuntimeError(result.reason)
    return time.perf_counter() - began, result


def times(answers: int, repeats: int) -> dict[str, float]:
    two, six = crossed(answers)
    cases = {
        "lapse_given": (two, Options(lapse=0.02)),
        "lapse_estimated": (two, Options(lapse="estimate")),
        "ordinal_logit": (six, Options()),
        "ordinal_probit": (six, Options(link="probit")),
    }
    seconds(two, Options())
    ratios: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(repeats):
        for name, (design, options) in cases.items():
            plain = seconds(two, Options())[0]
            ratios[name].append(seconds(design, options)[0] / plain)
    found = {f"times_plain_{name}": statistics.median(r) for name, r in ratios.items()}
    plain_fit, six_fit = fit_design(two), fit_design(six)
    at = plain_fit.index("mode")
    z = abs(six_fit.estimate[six_fit.index("mode")] / six_fit.se[six_fit.index("mode")])
    found["precision_gain_mode"] = float((z * plain_fit.se[at] / abs(plain_fit.estimate[at])) ** 2)
    return found


def recovery(studies: int, lapse: float, *, trial_sd: float) -> dict[str, dict[str, float]]:
    """Mean error of effects over simulated studies, without and with the lapse rate."""
    parameters = SimulationParameters(
        units=24,
        units_hard=24,
        participants=20,
        main_trials=24,
        batches=2,
        lapse=lapse,
        side_bias=0.0,
        trial_sd=trial_sd,
    )
    errors: dict[str, dict[str, list[float]]] = {}
    for seed in range(studies):
        simulated = simulate_study(parameters, seed=seed)
        table = people_table(simulated.study)
        truth = replace(true_effects(simulated.truth), guessing=None)  # of people who do not guess
        for name, rate in (("plain", 0.0), ("given", lapse), ("estimated", "estimate")):
            found = analyse(replace(table, lapse=rate), truth=truth)
            for key in ("synthetic", "hard95", "hard85"):
                one = found[key]
                errors.setdefault(key, {}).setdefault(name, []).append(
                    one.test.estimate - one.truth
                )
                errors[key].setdefault("truth", []).append(one.truth)
    return {
        key: {
            **{name: float(np.nanmean(values)) for name, values in row.items()},
            "error": float(np.nanstd(row["given"], ddof=1) / np.sqrt(studies)),
        }
        for key, row in errors.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=50_400)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--studies", type=int, default=40)
    parser.add_argument("--lapse", type=float, default=0.06)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    found: dict[str, Any] = dict(times(chosen.answers, chosen.repeats))
    print(json.dumps(found, indent=2), flush=True)
    if chosen.studies > 1:
        for name, spread in (("recovery", 0.0), ("recovery_with_trial_variance", 0.3)):
            found[name] = recovery(chosen.studies, chosen.lapse, trial_sd=spread)
    print(json.dumps(found, indent=2))
    write_record(chosen.json, found)


if __name__ == "__main__":
    main()
