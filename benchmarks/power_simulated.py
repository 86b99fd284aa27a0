"""What `power` says against what simulated studies show.

Studies are drawn as a plan says: networks on a line of known slope with deviations around it,
units, people of one network each, an answer of each unit by as many different people. Each is
tested by the default of `imi-bench effects`, the two-stage t between networks. Printed are the
power said and simulated (with its binomial standard error), the mean estimate over the slope, and
the estimate's standard deviation over the standard error said.

Run: ``python benchmarks/power_simulated.py --studies 400 --json out.json``
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from measuring import write_record
from scipy.special import expit, logit

from imi_bench.errors import ModelError
from imi_bench.glmm import Design, WarmStart, build_design
from imi_bench.glmm.between import INTERCEPT, level_estimates, regress
from imi_bench.glmm.power import Plan, power
from imi_bench.provenance import generator

SMALL = {"units": 20, "answers_per_unit": 20, "answers_per_participant": 20}
CASES = (
    (Plan(networks=5, **SMALL), 1.8),
    (Plan(networks=5, **SMALL, network_sd=0.0), 1.5),
    (Plan(networks=9, **SMALL), 0.9),
    (Plan(networks=20, **SMALL), 0.5),
    (Plan(networks=20, **SMALL, network_sd=0.5), 0.8),
    (Plan(networks=20, **SMALL, mean=0.92), 0.5),
    (Plan(networks=5), 1.2),
    (Plan(networks=20), 0.4),
)


def layout(plan: Plan) -> pd.DataFrame:
    """One row an answer; every unit by different people, every person on one network."""
    people = plan.participants // plan.networks
    rows = pd.MultiIndex.from_product(
        [range(plan.networks), range(plan.units), range(plan.answers_per_unit)],
        names=["network", "unit", "answer"],
    ).to_frame(index=False)
    turn = rows["unit"] * plan.answers_per_unit + rows["answer"]
    rows["participant"] = turn % people + people * rows["network"]
    rows["unit"] += plan.units * rows["network"]
    return rows.assign(scale=0.0, correct=np.arange(len(rows)) % 2)


def scales(plan: Plan, rng: np.random.Generator) -> np.ndarray:
    """Covariate of the networks: even steps of the plan's spread, or a sample of such a spread."""
    if not plan.chosen:
        return rng.normal(0.0, plan.spread, plan.networks)
    even = np.arange(plan.networks) - (plan.networks - 1) / 2
    return even / even.std(ddof=1) * plan.spread


def simulate(
    rows: pd.DataFrame, plan: Plan, *, slope: float, x: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draw the answers of one study: float64 (n,)."""
    level = logit(plan.mean) + slope * x + rng.normal(0, plan.network_sd, plan.networks)
    eta = level[rows["network"].to_numpy()]
    for name, sd in (("unit", plan.unit_sd), ("participant", plan.participant_sd)):
        eta = eta + rng.normal(0, sd, rows[name].nunique())[rows[name].to_numpy()]
    return (rng.random(len(rows)) < expit(eta)).astype(float)


def tested(design: Design, plan: Plan, x: np.ndarray) -> tuple[float, float, float]:
    """Estimate, standard error and p of the slope; NaN where the first stage fails."""
    start = WarmStart(
        np.array(
            [
                {"unit": plan.unit_sd, "participant": plan.participant_sd}[f.group]
                for f in design.factors
                if f.group != "network"
            ]
        ),
        np.full(plan.networks, logit(plan.mean)),
    )
    try:
        stage = level_estimates(design, group="network", start=start)[INTERCEPT]
    except ModelError:
        return math.nan, math.nan, math.nan
    test = regress(stage.estimate, stage.covariance, {"scale": x}).test("scale")
    return test.estimate, test.se, test.p


def row(plan: Plan, slope: float, *, studies: int, seed: int) -> dict[str, object]:
    """Simulate one plan."""
    rows = layout(plan)
    base = build_design("correct ~ 1 + (1|unit) + (1|participant) + (1|network)", rows)
    found = []
    for number in range(studies):
        rng = generator(seed, "power", str(plan), str(number))
        x = scales(plan, rng)
        found.append(
            tested(base.with_response(simulate(rows, plan, slope=slope, x=x, rng=rng)), plan, x)
        )
    estimate, _, p = np.array(found).T
    keep = np.isfinite(p)
    rate = float((p[keep] < 0.05).mean())
    said = power(plan, slope=slope)
    return {
        "networks": plan.networks,
        "units": plan.units,
        "mean": plan.mean,
        "network_sd": plan.network_sd,
        "slope": slope,
        "chosen": plan.chosen,
        "studies": int(keep.sum()),
        "said": said.power,
        "simulated": rate,
        "se": math.sqrt(rate * (1 - rate) / keep.sum()),
        "ratio": float(estimate[keep].mean()) / slope if slope else math.nan,
        "sd_over_se": float(estimate[keep].std(ddof=1)) / said.se,
    }


def main() -> None:
    """Print the table, and write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--cases", type=int, nargs="*", default=range(len(CASES)))
    parser.add_argument("--chosen", action="store_true", help="networks of exactly the spread")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    for index in options.cases:
        plan, slope = CASES[index]
        plan = replace(plan, chosen=options.chosen)
        new = row(plan, slope, studies=options.studies, seed=options.seed)
        rows.append(new)
        print(
            f"{new['networks']:>3} networks {new['units']:>3} units mean {new['mean']:.2f} "
            f"SD {new['network_sd']:.2f} slope {slope:.2f}: said {new['said']:.3f}, simulated "
            f"{new['simulated']:.3f} +- {new['se']:.3f} of {new['studies']}; estimate x "
            f"{new['ratio']:.3f}, its SD x {new['sd_over_se']:.3f}",
            flush=True,
        )
        write_record(options.json, rows)


if __name__ == "__main__":
    main()
