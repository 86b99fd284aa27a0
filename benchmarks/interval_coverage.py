"""Whether 95% intervals of every score hold the truth in 95% of simulated studies.

Two designs, with people's answer noise and units as they are in the shipped benchmark and in the
released study:

- ``mini``: 60 people answer trials of all networks, 15 a trial; two modes, three difficulties and
  two trials of each a unit.
- ``imi``: 63 people of their own a network and mode, 30 answers a unit spread over ten trials.
- ``stratum``, ``stratum x0.0``, ``stratum x1.7`` and ``stratum x3`` (asked for by name): one mode
  and one difficulty of ``mini``, as the strata of a report have, and the same with units and trials
  alike, or so many times as different.

Units are random (SD 0.8 log-odds, 0.4 more a condition), trials 0.5, people 0.4; networks and
conditions are fixed. Two observers see the evidence of people with noise in common (0.7) and of
their own (0.6), and are equally good, so that their difference is a near tie. The truth is the
score of thousands of units; of a correlation of a few network conditions, which depends on how
noisy the conditions are, the mean over the studies.

For every score, alone and as the paired difference of the two observers: coverage, the mean half
width as a share of 1.96 true standard deviations (1 is right for many units), and for differences
how often p is at most 0.01, 0.05, 0.1 and 0.5 although there is none. A cell is called *below* or
*above* where a binomial test rejects that its coverage is at least 93%, or at most 97%, at 5% over
all cells and both sides by Holm's method; ``--processes`` shares the studies out. ``ranks``: six
observers from 0 to 0.027 bits apart, and six that tie; how often the rank interval holds the true
rank (where they tie: every rank), of each and of all at once.

Run: ``python benchmarks/interval_coverage.py --studies 1000 --processes 2 --json out.json``
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from measuring import write_record
from scipy import stats
from scipy.special import expit

from imi_bench.leaderboard.ranking import rank
from imi_bench.provenance import generator
from imi_bench.scores.alignment import AlignedAnswers
from imi_bench.scores.ceiling import CEILINGS, pair_sums
from imi_bench.scores.consistency import CONSISTENCY, consistency_answers
from imi_bench.scores.likelihood import LIKELIHOOD, likelihood_answers
from imi_bench.scores.report import leave_out
from imi_bench.stats.intervals import estimate, gap
from imi_bench.stats.jackknife import Jackknife, jackknives
from imi_bench.stats.multiplicity import holm
from imi_bench.stats.sums import Sums
from imi_bench.tables import TrialIndex

MODES = ("natural", "synthetic")
OF_NETWORKS = ("network_pearson", "network_kendall")
UNITS_OF_TRUTH, SETS_OF_TRUTH = 1500, 4
WANTED = (0.93, 0.97)
AT_ONCE = 25
LEVELS = (0.01, 0.05, 0.1, 0.5)


@dataclass(frozen=True)
class Design:
    """How a simulated study shows its units."""

    name: str
    difficulties: tuple[str, ...]
    batches: int
    people: int
    answers: int
    modes: int = 2
    apart: float = 1.0

    def networks(self, units: int) -> int:
        """Count its networks: fewer where units are few."""
        return 4 if units >= 20 else 2


DESIGNS = {
    "mini": Design("mini", ("easy", "hard99", "hard95"), 2, people=60, answers=15),
    "imi": Design("imi", ("easy",), 10, people=63, answers=30),
    "stratum": Design("stratum", ("easy",), 2, people=60, answers=15, modes=1),
    **{
        f"stratum x{apart}": Design(
            f"stratum x{apart}", ("easy",), 2, people=60, answers=15, modes=1, apart=apart
        )
        for apart in (0.0, 1.7)
    },
    "stratum x3": Design("stratum x3", ("easy",), 2, people=60, answers=15, modes=1, apart=3.0),
}


def simulate(
    design: Design,
    *,
    units: int,
    networks: int,
    worse: Sequence[float],
    rng: np.random.Generator,
) -> list[AlignedAnswers]:
    """One study: an observer for each of `worse`, the SD of noise that it has beyond the others."""
    shape = (units, design.modes, len(design.difficulties), design.batches)
    unit, mode, hard, batch = (axis.ravel() for axis in np.indices(shape))
    network = np.arange(units) % networks
    level = np.linspace(-0.25, 0.25, networks)[network[unit]]
    drawn = 0.8 * rng.standard_normal(units)[unit]
    drawn += 0.4 * rng.standard_normal(shape[:3])[unit, mode, hard] + 0.5 * rng.standard_normal(
        len(unit)
    )
    eta = 1.5 + level - 0.9 * mode - 0.35 * hard + design.apart * drawn
    trial, person = _people(design, shape, network, rng)
    effect = 0.4 * rng.standard_normal(int(person.max()) + 1)[person]
    correct = rng.random(len(trial)) < 0.02 + 0.96 * expit(eta[trial] + effect)
    used = np.unique(trial)
    place = np.full(len(unit), -1)
    place[used] = np.arange(len(used))
    index = TrialIndex(
        trial_id=[f"{row:07d}" for row in used],
        network=[f"net{n}" for n in network[unit[used]]],
        layer=["layer"] * len(used),
        unit=unit[used],
        mode=[MODES[m] for m in mode[used]],
        difficulty=[design.difficulties[h] for h in hard[used]],
        batch=batch[used],
        catch=np.zeros(len(used), dtype=bool),
    )
    seen = 0.8 * eta + 0.2 + _noise(0.7, 0.4, unit, rng)
    first = rng.random(len(used)) < 0.5
    found = []
    for number, more in enumerate(worse):
        evidence = (seen + _noise(math.hypot(0.6, more), 0.4, unit, rng))[used]
        right = evidence > 0
        found.append(
            AlignedAnswers(
                observer=f"observer {number}",
                index=index,
                credit=right.astype(float),
                first=np.where(right, first, ~first).astype(float),
                first_is_positive=first,
                answered=np.ones(len(used), dtype=bool),
                p_correct=0.02 + 0.96 * expit(0.6 * evidence + 0.4),
                trial=place[trial],
                participant=person,
                correct=correct.astype(float),
                left_out=0,
            )
        )
    return found


def _noise(trial: float, of_unit: float, unit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    by_unit = of_unit * rng.standard_normal(int(unit.max()) + 1)
    return trial * rng.standard_normal(len(unit)) + by_unit[unit]


def _people(
    design: Design, shape: tuple[int, ...], network: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Trial and participant of each answer; large studies get new people every few units."""
    units, modes = shape[:2]
    rows = np.arange(math.prod(shape)).reshape(shape)
    if design.name != "imi":
        unit = np.repeat(np.arange(units), math.prod(shape[1:]))
        chosen = np.argsort(rng.random((len(unit), design.people)), axis=1)[:, : design.answers]
        crowd = unit // 100 if units > 1000 else np.zeros_like(unit)
        return np.repeat(rows.ravel(), design.answers), (chosen + 60 * crowd[:, None]).ravel()
    unit, mode = (axis.ravel() for axis in np.indices((units, modes)))
    chosen = np.argsort(rng.random((len(unit), design.people)), axis=1)[:, : design.answers]
    batch = rng.integers(0, design.batches, chosen.shape)
    networks = int(network.max()) + 1
    crowd = network[unit] * modes + mode
    if units > 1000:
        crowd = crowd + networks * modes * (unit // (21 * networks))
    trial = rows[unit[:, None], mode[:, None], 0, batch]
    return trial.ravel(), (chosen + design.people * crowd[:, None]).ravel()


class Tally:
    """What one score did over the studies."""

    def __init__(self, truth: float) -> None:
        self.truth, self.rows = truth, []  # value, low, high, p

    def row(self) -> dict[str, object]:
        """Coverage and width, with Monte-Carlo errors."""
        value, low, high, p = np.array(self.rows).T
        known = np.isfinite(low)
        truth = float(value.mean()) if math.isnan(self.truth) else self.truth
        covered = float(((low <= truth) & (truth <= high))[known].mean())
        sd = float(value.std(ddof=1))
        return {
            "studies": int(known.sum()),
            "truth": truth,
            "sd": sd,
            "covered": round(covered * known.sum()),
            "coverage": covered,
            "se": math.sqrt(covered * (1 - covered) / known.sum()),
            "width": float(((high - low) / 2)[known].mean() / (1.96 * sd)),
            "undefined": int((~known).sum()),
            "rejected": {
                str(at): float((p[np.isfinite(p)] <= at).mean()) if np.isfinite(p).any() else None
                for at in LEVELS
            },
        }


Rows = dict[tuple[str, str], list[tuple[float, float, float, float]]]


def measure(
    design: Design,
    *,
    units: int,
    studies: int,
    seed: int,
    draws: int,
    processes: int,
    kappas: bool = False,
) -> list[dict[str, object]]:
    """Coverage of every score, or of the kappas alone, with this many units."""
    of = _kappas if kappas else partial(leave_out, seed=0, n_draws=draws)
    truth = _truth(design, networks=design.networks(units), seed=seed, kappas=kappas)
    part = partial(_studies, design, units=units, seed=seed, of=of)
    parts = [range(k, min(k + AT_ONCE, studies)) for k in range(0, studies, AT_ONCE)]
    tallies: dict[tuple[str, str], Tally] = {}
    with ProcessPoolExecutor(processes) as pool:
        for found in pool.map(part, parts):
            for (name, kind), rows in found.items():
                middle = truth[name] if kind == "single" else 0.0
                tallies.setdefault((name, kind), Tally(middle)).rows.extend(rows)
    return [
        {"design": design.name, "units": units, "score": name, "kind": kind, **tally.row()}
        for (name, kind), tally in tallies.items()
        if np.ptp([row[0] for row in tally.rows]) > 0
        and any(row[1] == row[1] for row in tally.rows)
    ]


def _studies(
    design: Design,
    numbers: range,
    *,
    units: int,
    seed: int,
    of: Callable[[AlignedAnswers], dict[str, Jackknife]],
) -> Rows:
    """Value, ends and p of every score in some of the studies."""
    found: Rows = {}
    for number in numbers:
        rng = generator(seed, "study", design.name, units, number)
        networks = design.networks(units)
        pair = simulate(design, units=units, networks=networks, worse=(0.0, 0.0), rng=rng)
        one, other = map(of, pair)
        for name in one:
            facts = {"n": len(pair[0].trial), "clusters": units}
            alone = estimate(one[name], **facts)
            both = gap(one[name], other[name], **facts)
            for kind, made, p in (("single", alone, math.nan), ("paired", both.estimate, both.p)):
                row = (made.value, made.low, made.high, p)
                found.setdefault((name, kind), []).append(row)
    return found


def outside(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each cell ``below``, ``above``, or nothing: what the studies prove of its coverage."""
    low, high = WANTED
    covered, count = (np.array([row[name] for row in rows]) for name in ("covered", "studies"))
    p = [*stats.binom.cdf(covered, count, low), *stats.binom.sf(covered - 1, count, high)]
    sure = holm(p, ["cells"] * len(p)) <= 0.05
    below, above = sure[: len(rows)], sure[len(rows) :]
    return ["below" if b else "above" if a else "" for b, a in zip(below, above, strict=True)]


def _kappas(matched: AlignedAnswers) -> dict[str, Jackknife]:
    """The kappas alone, as `leave_out` has them."""
    sums = Sums(
        pair_sums(matched),
        consistency_answers(matched),
        matched.unit[matched.trial],
        matched.participant,
        matched.network_of_unit,
    )
    scores = [one for one in (*CONSISTENCY, *CEILINGS) if one.unit == "kappa"]
    return jackknives(sums, scores, n_draws=0, seed=0)


@cache
def _truth(design: Design, *, networks: int, seed: int, kappas: bool = False) -> dict[str, float]:
    """Every score of thousands of units, some at a time."""
    of = _kappas if kappas else partial(leave_out, seed=0, n_draws=0)
    found = []
    for part in range(SETS_OF_TRUTH):
        rng = generator(seed, "truth", design.name, networks, part)
        large = simulate(design, units=UNITS_OF_TRUTH, networks=networks, worse=(0.0,), rng=rng)
        found.append({k: one.value for k, one in of(large[0]).items()})
    mean = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
    return mean | dict.fromkeys(OF_NETWORKS, math.nan)


NEAR = (0.0, 0.15, 0.3, 0.45, 0.6, 0.8)
TIED = (0.3,) * len(NEAR)


def ranks(
    design: Design, *, units: int, studies: int, seed: int, worse: Sequence[float] = NEAR
) -> dict[str, object]:
    """How often rank intervals hold the true ranks, by bits; observers that tie have several."""
    made = np.array(worse)
    best = 1 + (made < made[:, None]).sum(axis=1)
    worst = len(made) - (made > made[:, None]).sum(axis=1)
    held, width, together = [], [], []
    for number in range(studies):
        rng = generator(seed, "ranks", design.name, units, number)
        shown = simulate(design, units=units, networks=design.networks(units), worse=worse, rng=rng)
        bits = [_bits(matched) for matched in shown]
        scores = np.array([one.value for one in bits])
        order = rank(scores, spreads=[one.spread for one in bits], paired=True, n_draws=1000)
        inside = (order.low <= best) & (worst <= order.high)
        held.append(inside.mean())
        together.append(inside.all())
        width.append((order.high - order.low).mean())
    return {
        "design": design.name,
        "units": units,
        "studies": studies,
        "observers": "tied" if len(set(worse)) == 1 else "near ties",
        "coverage": float(np.mean(held)),
        "of all at once": float(np.mean(together)),
        "mean width in ranks": float(np.mean(width)),
    }


def _bits(matched: AlignedAnswers) -> Jackknife:
    answers = {
        "bits": likelihood_answers(matched)["bits"],
        "answers": np.ones(len(matched.trial)),
    }
    sums = Sums(
        {}, answers, matched.unit[matched.trial], matched.participant, matched.network_of_unit
    )
    return jackknives(sums, LIKELIHOOD[:1], n_draws=0, seed=0)["bits"]


def shown(row: Mapping[str, Any]) -> str:
    """One line of the table."""
    rejected = " ".join(f"{at:6.1%}" for at in row["rejected"].values() if at is not None)
    return (
        f"{row['design']:10} {row['units']:3} {row['score']:26} {row['kind']:7}"
        f"{row['coverage']:7.1%} +- {row['se']:4.1%}  width {row['width']:5.2f} {rejected}"
    )


def main() -> None:
    """Print the table, and write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--designs", nargs="*", default=["mini", "imi"], choices=list(DESIGNS))
    parser.add_argument("--units", type=int, nargs="*", default=[8, 20, 40, 84])
    parser.add_argument("--draws", type=int, default=1000, help="0: no scores by draws, no ranks")
    parser.add_argument("--kappas", action="store_true", help="the kappas alone, no ranks")
    parser.add_argument("--no-ranks", action="store_true")
    parser.add_argument("--only-ranks", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    began, rows, orders = time.perf_counter(), [], []
    for name in options.designs:
        for units in options.units:
            facts = {"units": units, "studies": options.studies, "seed": options.seed}
            if not options.only_ranks:
                new = measure(
                    DESIGNS[name],
                    **facts,
                    draws=options.draws,
                    processes=options.processes,
                    kappas=options.kappas,
                )
                rows += new
                print("\n".join(shown(row) for row in new), flush=True)
            if options.draws and not (options.no_ranks or options.kappas):
                orders += [ranks(DESIGNS[name], **facts, worse=one) for one in (NEAR, TIED)]
                print(*orders[-2:], sep="\n", flush=True)
            told = [{**r, "outside": o} for r, o in zip(rows, outside(rows), strict=True)]
            seconds = time.perf_counter() - began
            write_record(options.json, {"seconds": seconds, "rows": told, "ranks": orders})
    for row, word in zip(rows, outside(rows), strict=True):
        if word:
            print(f"{word} {WANTED[0]:.0%} to {WANTED[1]:.0%}: {shown(row)}")


if __name__ == "__main__":
    main()
