"""Whether the 95% intervals of the paper's page hold the truth in 95% of simulated studies.

Four networks in both modes, simulated with the defaults of ``imi-bench data simulate`` (units,
trials and people random, the published means as truth) and a learning of 0.3 log-odds; in the
released study's size (84 units, 63 people of 40 trials a condition) and in a small one (24 units,
20 people of 16 trials). The truth is that of `imi_bench.report.paper.truth`: expected values, or
those of thousands of units and people.

Of each number: how often its interval holds the truth, the mean of value minus truth, and the
interval's mean half width in true standard deviations (1.96 is right for a normal one).

Run: ``python benchmarks/paper_coverage.py --studies 200 --json out.json``
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from measuring import write_record

from imi_bench.provenance import generator
from imi_bench.release.conditions import condition_means
from imi_bench.release.published import Condition
from imi_bench.report.paper.clusters import clustered_means
from imi_bench.report.paper.confidence import type_two_area
from imi_bench.report.paper.data import PaperData, with_layers
from imi_bench.report.paper.layers import layer_curve, type_means
from imi_bench.report.paper.learning import learning_slope
from imi_bench.report.paper.means import means_table
from imi_bench.report.paper.modes import mode_numbers, natural_lead
from imi_bench.report.paper.truth import TrueValues
from imi_bench.report.paper.units import shares, spread_of
from imi_bench.scores.people import people_ceilings
from imi_bench.simulation.joint import JointParameters
from imi_bench.simulation.parameters import SimulationParameters
from imi_bench.simulation.release import ReleaseParameters
from imi_bench.simulation.study import simulate_study

NETWORKS = ("googlenet", "resnet50", "clip-resnet50", "convnext_b")
CONDITIONS = tuple(Condition(n, m) for n in NETWORKS for m in ("natural", "synthetic"))
SIZES = {
    "released": {"units": 84, "units_hard": 80, "participants": 63, "main_trials": 40},
    "small": {"units": 24, "units_hard": 20, "participants": 20, "main_trials": 16},
}
LEARNING = 0.3
Rows = dict[str, list[tuple[float, float, float, float]]]


def page_of(parameters: SimulationParameters, *, seed: int, true: TrueValues | None) -> PaperData:
    """A simulated study, laid out as the page has it."""
    made = simulate_study(parameters, joint=JointParameters(learning=LEARNING), seed=seed)
    frame = made.study.to_frame()
    frame = frame.assign(order=1.0 + frame.groupby("participant", observed=True).cumcount())
    evidence = dict(zip(made.truth.trials.trial_id, made.truth.evidence, strict=True))
    known = ReleaseParameters(parameters, learning=LEARNING)
    truth = TrueValues(known, made.truth.intercepts, evidence)
    if true is not None:  # the same parameters: population and people need no second drawing
        for name in ("population", "people", "means", "correlation"):
            truth.__dict__[name] = getattr(true, name)
    means = condition_means(made.study, n_resamples=500, seed=seed)
    return PaperData(
        made.study, with_layers(frame), None, None, means, None, None, "", true=truth, seed=seed
    )


def measured(data: PaperData, rows: Rows) -> None:
    """Add (value, low, high, truth) of every number of one study."""
    true = data.true
    if true is None:
        raise ValueError("a study without its truth")
    for row in means_table(data).itertuples():
        known = true.means[Condition(row.network, row.mode)]
        rows["1 mean, bootstrap over units (the authors')"].append(
            (row.mean, row.low, row.high, known)
        )
        rows["1 mean, people and units"].append((row.mean, row.low_both, row.high_both, known))
    units = data.easy
    wide = units.pivot_table(
        index=["network", "unit_id"], columns="mode", values=["p", "answers"], observed=True
    ).dropna()
    numbers = mode_numbers(wide, generator(data.seed, "coverage"))
    numbers.loc["lead"] = natural_lead(data.frame)
    for name, known in (("corrected", true.correlation), ("lead", lead_of(true))):
        one = numbers.loc[name]
        rows[f"4 {name}"].append((one["value"], one["low"], one["high"], known))
    for mode in ("natural", "synthetic"):
        part = units[units["mode"] == mode].reset_index(drop=True)
        curve = layer_curve(part, "depth", data)
        if curve is not None:
            for place in range(0, len(curve.x), 10):
                rows[f"5 spline of depth, {mode}"].append(
                    (curve.middle[place], curve.low[place], curve.high[place], curve.true[place])
                )
        found = shares(part, spread_of(part, data), data)
        for name in ("chance", "ceiling"):
            rows[f"7 share at {name}, {mode}"].append(
                tuple(found[f"{name}{end}"] for end in ("", "_low", "_high", "_truth"))
            )
        own = data.frame[data.frame["mode"] == mode].reset_index(drop=True)
        area = type_two_area(own)
        rows[f"8 type-2 area, {mode}"].append(
            (
                area.value,
                area.low,
                area.high,
                known_once(f"area {mode}", partial(true.insight, mode)),
            )
        )
        sure = known_once("sure", true.by_confidence).set_index(["mode", "confidence"])["correct"]
        for one in clustered_means(own, "correct", ["confidence"]).itertuples():
            known = sure[mode, one.confidence]
            rows["8 accuracy by confidence"].append((one.mean, one.low, one.high, known))
    for row in type_means(units, data).itertuples():
        name = "5 type of layer" + (", few layers" if row.layers < 8 else "")
        rows[name].append((row.mean, row.low, row.high, row.truth))
    slope = learning_slope(data.frame)
    known = known_once("slope", lambda: learning_slope(true.expected).value)
    rows["8 learning"].append((slope.value, slope.low, slope.high, known))
    for one in data.means:
        c = one.condition
        index = data.study.trials
        same = (index.network.astype(str) == c.network) & (index.mode.astype(str) == c.mode)
        part = type(data.study)(index.take(same), data.study.responses.take(same[data.study.rows]))
        half = people_ceilings(part, seed=data.seed)["split_half_reliability"]
        known = true.reliability(c, one.mean.n / one.units)
        rows["10 reliability"].append((half.value, half.low, half.high, known))


_KNOWN: dict[str, Any] = {}


def lead_of(true: TrueValues) -> float:
    """By how much natural references are ahead, mean over networks."""
    gaps = [
        true.means[Condition(n, "natural")] - true.means[Condition(n, "synthetic")]
        for n in NETWORKS
    ]
    return float(np.mean(gaps))


def known_once(name: str, compute: Callable[[], Any]) -> Any:
    """What all studies of one size have in common, computed once."""
    if name not in _KNOWN:
        _KNOWN[name] = compute()
    return _KNOWN[name]


def table_of(rows: Rows) -> list[dict[str, float | str | int]]:
    """Coverage, bias and relative width of every number."""
    found: list[dict[str, float | str | int]] = []
    for name, values in rows.items():
        value, low, high, truth = np.array(values, dtype=float).T
        known = np.isfinite(low) & np.isfinite(truth)
        error = (value - truth)[known]
        found.append(
            {
                "number": name,
                "coverage": float(((low <= truth) & (truth <= high))[known].mean()),
                "intervals": int(known.sum()),
                "without": int((~known).sum()),
                "bias": float(error.mean()),
                "half_width": float(((high - low) / 2)[known].mean() / error.std())
                if np.ptp(error)
                else np.nan,
            }
        )
    return found


def main() -> None:
    """Simulate, and print a table for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--sizes", default="released,small")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    record = {}
    for size in options.sizes.split(","):
        began = time.perf_counter()
        rows: Rows = defaultdict(list)
        _KNOWN.clear()
        parameters = SimulationParameters(conditions=CONDITIONS, **SIZES[size])
        true: TrueValues | None = None
        for study in range(options.studies):
            data = page_of(parameters, seed=options.seed + study, true=true)
            true = true or data.true
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                measured(data, rows)
            record[size] = {"studies": study + 1, "numbers": table_of(rows)}
            if study % 5 == 4:
                write_record(options.json, record)
        print(f"\n{size}: {options.studies} studies, {time.perf_counter() - began:.0f} s")
        for one in record[size]["numbers"]:
            print(
                f"{one['number']:45} {100 * one['coverage']:6.1f}%  {one['intervals']:6} "
                f"bias {one['bias']:+.4f}  half width {one['half_width']:.2f}"
            )


if __name__ == "__main__":
    main()
