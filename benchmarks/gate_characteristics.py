"""How often the gate errs: P(pass) and P(worse) with the drop exactly at the margin; power beside.

Whole comparisons are made up as sums over units and put through the gate's own tests
(`imi_bench.gate.bounds`), many at once. In every cell the true drop is the margin, so that "pass"
and "worse" are both errors; power is that of "pass" where the two are equally good, and of "worse"
at four margins. Cells:

* ``few changes``: the new observer loses answers of the baseline at a rate of the margin and more,
  and gains some; rates vary over units as beta variables of an intraclass correlation.
* ``paired``: two observers share most of their evidence, units differ in difficulty.
* ``unpaired``: nothing but the units' difficulty is shared.
* ``ties``, ``missing``: as paired, with a fifth of the answers ties, or not given.
* ``unequal``: as few changes, units of 2 to 150 trials.
* ``strata``: four strata and the whole, Holm; worse in any of them.
* ``floors``: ten strata at their floors; pass where all are shown to hold, worse where any is not.

    python benchmarks/gate_characteristics.py [--runs 1000] [--every]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from measuring import table
from scipy.special import ndtri

from imi_bench.gate.bounds import UnitSums, p_at_least, p_at_most
from imi_bench.leaderboard.board import find
from imi_bench.stats.multiplicity import holm
from imi_bench.stimuli.trial_table import read_index
from imi_bench.tables import DecisionVariables, codes

UNITS, TRIALS, MARGINS = (8, 20, 60, 200), (2, 10, 20), (0.01, 0.03, 0.1)
ALPHA = 0.05
WAYS, POWERS = ("passed", "worse"), ("pass", "worse")


@dataclass(frozen=True)
class Rates:
    """Shares of comparisons that end so."""

    kind: str
    units: int
    trials: str
    margin: float
    detail: str
    passed: float
    worse: float
    power_pass: float
    power_worse: float
    runs: int = 0


def beta_rates(rng: np.random.Generator, mean: float, icc: float, shape: tuple[int, ...]):
    if mean <= 0 or icc == 0:
        return np.full(shape, max(mean, 0.0))
    scale = 1 / icc - 1
    return rng.beta(mean * scale, (1 - mean) * scale, shape)


def few_changes(rng, runs: int, size: np.ndarray, drop: float, churn: float, icc: float):
    """Losses at rate drop + churn, gains at churn, over all trials."""
    shape = (runs, len(size))
    lost = rng.binomial(size, beta_rates(rng, drop + churn, icc, shape)).astype(float)
    rate = np.minimum(beta_rates(rng, churn, icc, shape) / (1 - drop - churn), 1.0)
    won = rng.binomial((size - lost).astype(int), rate).astype(float)
    return UnitSums(size.astype(float), lost - won, lost + won)


def evidence(
    rng, runs: int, size: np.ndarray, drop: float, shared: float, odd: float = 0.0, tie: bool = True
):
    """Two observers right where their evidence is above a threshold; units differ (SD 0.7).

    A share `odd` of each observer's answers earns one half: ties, on trials of its own; or
    answers not given, on the same trials for both.
    """
    each = int(size[0])
    unit = rng.normal(0, 0.7, (runs, len(size), 1))
    noise = rng.normal(size=(3, runs, len(size), each))
    mine, theirs = (
        np.sqrt(shared) * noise[0] + np.sqrt(1 - shared) * noise[1 + k] + unit for k in (0, 1)
    )
    spread = np.sqrt(1 + 0.7**2)
    right = 0.8
    old = (theirs > -ndtri(right) * spread).astype(float)
    new = (mine > -ndtri(right - drop / (1 - odd)) * spread).astype(float)
    if odd:
        blank = rng.random((2, *new.shape)) < odd
        old[blank[0]], new[blank[0] if not tie else blank[1]] = 0.5, 0.5
    change = old - new
    return UnitSums(size.astype(float), change.sum(axis=-1), np.abs(change).sum(axis=-1))


def decide(sums: UnitSums, margin: float) -> tuple[float, float]:
    return (
        float((p_at_least(sums, margin) <= ALPHA).mean()),
        float((p_at_most(sums, margin) <= ALPHA).mean()),
    )


def cell(kind: str, make, size: np.ndarray, margin: float, detail: str) -> Rates:
    sums = make(margin)
    passed, worse = decide(sums, margin)
    several = min(4 * margin, 0.4)
    return Rates(
        kind,
        len(size),
        str(size[0]) if size.min() == size.max() else f"{size.min()} to {size.max()}",
        margin,
        detail,
        passed,
        worse,
        decide(make(0.0), margin)[0],
        decide(make(several), margin)[1],
        len(sums.net),
    )


def single(rng, runs: int) -> Iterator[Rates]:
    for units in UNITS:
        for each in TRIALS:
            size = np.full(units, each)
            for margin in MARGINS:
                for churn, icc in ((0.0, 0.0), (0.0, 0.1), (0.02, 0.02), (0.02, 0.1), (0.1, 0.02)):
                    yield cell(
                        "few changes",
                        lambda d, s=size, c=churn, i=icc: few_changes(rng, runs, s, d, c, i),
                        size,
                        margin,
                        f"churn {churn:g}, ICC {icc:g}",
                    )
        size = np.round(np.geomspace(2, 150, units)).astype(int)
        for margin in MARGINS:
            for icc in (0.0, 0.02, 0.1):
                yield cell(
                    "unequal",
                    lambda d, s=size, i=icc: few_changes(rng, runs, s, d, 0.02, i),
                    size,
                    margin,
                    f"churn 0.02, ICC {icc:g}",
                )
        for each in (2, 10, 20):
            size, fewer = np.full(units, each), max(300, min(runs, 400_000 // (units * each)))
            for margin in (0.03, 0.1):
                for kind, shared, odd, tie in (
                    ("paired", 0.9, 0.0, True),
                    ("unpaired", 0.0, 0.0, True),
                    ("ties", 0.9, 0.2, True),
                    ("missing", 0.9, 0.2, False),
                ):
                    yield cell(
                        kind,
                        lambda d, s=size, f=fewer, h=shared, o=odd, t=tie: evidence(
                            rng, f, s, d, h, o, t
                        ),
                        size,
                        margin,
                        f"{fewer} runs",
                    )


def families(rng, runs: int) -> Iterator[Rates]:
    for units in UNITS:
        size = np.full(units, 10)
        for margin in (0.03, 0.1):

            def strata(drop: float, u: int = units, s: np.ndarray = size) -> list[UnitSums]:
                parts = [few_changes(rng, runs, s, drop, 0.02, 0.02) for _ in range(4)]
                whole = UnitSums(
                    np.full(4 * u, 10.0),
                    np.concatenate([p.net for p in parts], axis=1),
                    np.concatenate([p.gross for p in parts], axis=1),
                )
                return [whole, *parts]

            def ends(drop: float, m: float = margin) -> tuple[float, float]:
                found = strata(drop)
                p = np.stack([p_at_most(one, m) for one in found], axis=1)
                worse = np.array([holm(row).min() <= ALPHA for row in p])
                passed = (p_at_least(found[0], m) <= ALPHA) & ~worse
                return float(passed.mean()), float(worse.mean())

            passed, worse = ends(margin)
            power = ends(0.0)[0], ends(4 * margin)[1]
            yield Rates("strata", units, "10", margin, "4 and the whole", passed, worse, *power)
        for floor in (0.6, 0.9):

            def ends_at(truth: float, f: float = floor, s: np.ndarray = size):
                shape = (10, runs, len(s))
                wrong = rng.binomial(s, beta_rates(rng, 1 - truth, 0.05, shape)).astype(float)
                sums = UnitSums(s.astype(float), wrong, wrong, signed=False)
                below, held = p_at_most(sums, 1 - f), p_at_least(sums, 1 - f)
                worse = np.array([holm(p).min() <= ALPHA for p in below.T])
                one = (held[0] <= ALPHA).mean()
                return float(one), float(worse.mean()), float((held <= ALPHA).all(axis=0).mean())

            one, worse, _ = ends_at(floor)
            power = ends_at(min(floor + 0.09, 0.99))[0], ends_at(floor - 0.2)[1]
            yield Rates("floors", units, "10", floor, "ten at their floors", one, worse, *power)


def measured_correlation() -> np.ndarray:
    """Intraclass correlation of changes, for each pair of observers of a shipped board."""
    board = find("observers-mini")
    index = read_index(board.folder)
    main_trials = ~index.catch
    unit = codes(index.unit_id[main_trials])
    credits = []
    for path in sorted(board.folder.rglob("decisions.parquet")):
        run = DecisionVariables.read(path)
        row = pd.Index(run.trial_id).get_indexer(pd.Index(index.trial_id))
        credits.append(run.credit[row][main_trials])
    found = []
    for one, other in combinations(credits, 2):
        for change in (np.maximum(one - other, 0), np.maximum(other - one, 0)):
            m = UnitSums.of(change, unit).moments
            p = float(m.mean)
            if p > 0:
                effect = float(m.variance) / (p * (1 - p) / float(m.trials))
                found.append((effect - 1) / (float(m.spread * m.trials) - 1))
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", action="store_true", help="print every cell")
    arguments = parser.parse_args()
    told = np.quantile(measured_correlation(), (0.1, 0.25, 0.5, 0.75, 0.9)).round(3).tolist()
    print(f"intraclass correlation of changes on observers-mini, 10 to 90 %: {told}\n")
    rng, started = np.random.default_rng(arguments.seed), time.perf_counter()
    found = [*single(rng, arguments.runs), *families(rng, arguments.runs)]
    if arguments.every:
        for one in found:
            print(
                f"{one.kind:12s} {one.units:4d} {one.trials:9s} {one.margin:5.2f} {one.detail:22s}"
                f" {one.passed:.3f} {one.worse:.3f} {one.power_pass:.2f} {one.power_worse:.2f}"
            )
    rows = []
    for kind in dict.fromkeys(one.kind for one in found):
        for units in UNITS:
            cells = [one for one in found if one.kind == kind and one.units == units]
            ours = [one for one in cells if one.margin == 0.03] or cells
            row = {"cells": kind, "units": units, "number": len(cells)}
            row |= {f"P({n}), largest": max(getattr(c, n) for c in cells) for n in WAYS}
            powers = {n: np.mean([getattr(c, f"power_{n}") for c in ours]) for n in POWERS}
            rows.append(row | {f"power {n}, margin 0.03": float(p) for n, p in powers.items()})
    table(rows)
    over = [one for one in found if max(one.passed, one.worse) > ALPHA]
    beyond = [
        one
        for one in over
        if max(one.passed, one.worse)
        > ALPHA + 3 * np.sqrt(ALPHA * (1 - ALPHA) / (one.runs or arguments.runs))
    ]
    print(
        f"\n{len(found)} cells of 300 to {arguments.runs} comparisons; {len(over)} above 0.05, "
        f"{len(beyond)} by over three standard errors; "
        f"{time.perf_counter() - started:.0f} s"
    )
    for one in beyond:
        print(f"beyond: {one}")


if __name__ == "__main__":
    main()
