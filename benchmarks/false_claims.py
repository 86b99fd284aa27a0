"""How often `effects` claims something in studies in which nothing has an effect.

One simulated study of the paper's design, smaller, gives the layout; its answers are drawn anew
with networks (SD 0.2 log-odds), layers (0.4), units (0.8), units in a condition (0.4) and people
(0.4) as random, and no effect of scale, mode, depth, difficulty or layer type. Counted are studies
in which a sentence claims an effect, by family and in all; studies with any unadjusted p below
0.05, which is what sentences claimed before; and, for layer types, how often their own p is below
0.05.

Run: ``python benchmarks/false_claims.py --studies 200 --json out.json``
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from pathlib import Path

import numpy as np
from measuring import write_record
from scipy.special import expit

from imi_bench.effects.analysis import analyse
from imi_bench.effects.table import AnswerTable, people_table
from imi_bench.provenance import generator
from imi_bench.simulation.parameters import SimulationParameters
from imi_bench.simulation.study import simulate_study

SDS = {"network": 0.2, "layer": 0.4, "unit": 0.8, "condition": 0.4, "participant": 0.4}


def drawn(table: AnswerTable, rng: np.random.Generator) -> AnswerTable:
    """The same layout with answers on which nothing has an effect."""
    eta = np.full(len(table.frame), 1.2)
    for name, sd in SDS.items():
        codes, labels = np.unique(table.frame[name], return_inverse=True)
        eta += sd * rng.standard_normal(len(codes))[labels]
    correct = (rng.random(len(eta)) < expit(eta)).astype(float)
    frame = table.frame.assign(correct=correct)
    return AnswerTable(table.who, True, frame, table.within)


def main() -> None:
    """Print the shares; write the counts as JSON, while they grow, where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--units", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    size = {"units": options.units, "units_hard": options.units, "main_trials": options.units}
    layout = people_table(
        simulate_study(SimulationParameters(participants=10, **size), seed=1).study
    )
    found: Counter[str] = Counter()
    types = tests = 0
    for number in range(options.studies):
        rng = generator(options.seed, "false claims", number)
        effects = analyse(drawn(layout, rng)).effects
        claimed = {effect.family for effect in effects if effect.shown}
        found.update(claimed)
        found["any family"] += bool(claimed)
        found["any unadjusted p below 0.05"] += any(e.test.p < 0.05 for e in effects)
        of_type = [e for e in effects if e.topic == "layer type" and math.isfinite(e.test.p)]
        types += sum(e.test.p < 0.05 for e in of_type)
        tests += len(of_type)
        found["equivalence"] += any(e.bounded for e in effects)
        done = number + 1
        if done % 20 == 0 or done == options.studies:
            counts = {**found, "layer type": types, "layer type tests": tests}
            write_record(options.json, {"studies": done, "counts": counts})
    rows = {name: count / options.studies for name, count in sorted(found.items())}
    rows["layer type, each test"] = types / tests
    for name, share in rows.items():
        count = tests if name.startswith("layer type") else options.studies
        print(f"{name:32} {share:6.1%} +- {math.sqrt(share * (1 - share) / count):.1%} of {count}")


if __name__ == "__main__":
    main()
