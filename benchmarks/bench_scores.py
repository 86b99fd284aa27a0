"""Cluster bootstrap of all scores against a pandas loop, and the speed of a calibration.

Everything is timed in one run, on simulated answers. The loop does what is often done: draw units,
build the table of the draw, group it and compute each score with pandas, scipy and scikit-learn.
It runs on a few resamples and is compared per resample; its scores must equal those of the
vectorised bootstrap on the same resamples, or the benchmark fails.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import brier_score_loss, cohen_kappa_score, log_loss

from imi_bench.choice.calibrate import calibrate
from imi_bench.provenance import generator, write_json
from imi_bench.scores.alignment import Matched, match
from imi_bench.scores.report import all_draws
from imi_bench.stats.resampling import weights
from imi_bench.tables import DecisionVariables, Responses, Study, TrialIndex

UNITS, NETWORKS, BATCHES, SEATS = 767, 9, 10, 63
RESAMPLES, LOOPED = 10_000, 20


def simulated(*, answers_per_trial: int, seed: int) -> tuple[DecisionVariables, Study]:
    """767 units of nine networks, ten natural trials each; 63 participants a network."""
    rng = np.random.default_rng(seed)
    unit, batch = (a.ravel() for a in np.indices((UNITS, BATCHES)))
    count = len(unit)
    index = TrialIndex(
        trial_id=[f"{u}/{b}" for u, b in zip(unit, batch, strict=True)],
        network=[f"network{u % NETWORKS}" for u in unit],
        layer=["layer"] * count,
        unit=unit,
        mode=["natural"] * count,
        difficulty=["easy"] * count,
        batch=batch,
        catch=np.zeros(count, dtype=bool),
    )
    toward = rng.normal(1, 1.5, count)
    first = rng.random(count) < 0.5
    decisions = DecisionVariables(
        "toy",
        index.trial_id,
        np.where(first, toward, -toward),
        ["ok"] * count,
        np.where(first, "positive", "negative"),
        np.zeros(count),
    )
    row = np.repeat(np.arange(count), answers_per_trial)
    person = np.concatenate([rng.permutation(SEATS)[:answers_per_trial] for _ in range(count)])
    effect = rng.normal(0, 0.5, UNITS)[unit]
    right = rng.random(len(row)) < 0.04 + 0.92 / (1 + np.exp(-(toward + effect)))[row]
    nan = np.full(len(row), np.nan)
    answers = Responses(
        trial_id=index.trial_id[row],
        participant=[f"{index.network[r]}-{p}" for r, p in zip(row, person, strict=True)],
        correct=right,
        chose_first=nan,
        confidence=nan,
        seconds=nan,
        simulated=True,
        source="benchmarks/bench_scores.py",
    )
    return decisions, Study(index, answers)


def answer_table(matched: Matched) -> pd.DataFrame:
    """One row a human answer."""
    t = matched.trial
    return pd.DataFrame(
        {
            "unit": matched.unit[t],
            "condition": matched.condition[t],
            "trial": t,
            "network": matched.network_condition[t],
            "p": matched.p_correct[t],
            "credit": matched.credit[t],
            "answered": matched.answered[t],
            "first": matched.first[t],
            "positive_first": matched.first_is_positive[t],
            "correct": matched.correct,
            "person": matched.participant,
        }
    )


def split_half(table: pd.DataFrame, rng: np.random.Generator, splits: int) -> float:
    """Mean correlation of random halves, stepped up; a groupby a half."""
    found = []
    for _ in range(splits):
        shuffled = table.iloc[rng.permutation(len(table))]
        half = shuffled.groupby("condition").cumcount() % 2 == 0
        one = shuffled[half].groupby("condition")["correct"].mean()
        other = shuffled[~half].groupby("condition")["correct"].mean()
        found.append(stats.pearsonr(one, other.reindex(one.index))[0])
    r = float(np.mean(found))
    return 2 * r / (1 + r)


def looped_scores(table: pd.DataFrame) -> dict[str, float]:
    """Every score of a table of answers the usual way; units of a draw have codes of their own."""
    trials = table.drop_duplicates("trial")
    by_side = trials.groupby("positive_first")["first"].mean()
    conditions = table.groupby("condition")[["p", "correct"]].mean()
    networks = table.groupby("network")[["p", "correct"]].mean()
    bins = np.searchsorted(np.linspace(0, 1, 11)[1:-1], table["p"])
    gaps = table.groupby(bins)[["p", "correct"]].agg(["mean", "size"])
    gap = (gaps["p"]["mean"] - gaps["correct"]["mean"]).abs()
    counts = table.groupby("condition")["correct"].agg(["mean", "size"])
    noise = (counts["mean"] * (1 - counts["mean"]) / (counts["size"] - 1)).mean()
    in_trial = table.groupby("trial")["correct"].agg(["sum", "size"])
    k, n = in_trial["sum"], in_trial["size"]
    alike = ((k * (k - 1) + (n - k) * (n - k - 1)) / (n - 1)).sum() / n.sum()
    by_chance = table["correct"].mean() ** 2 + (1 - table["correct"].mean()) ** 2
    return {
        "proportion_correct": trials["credit"].mean(),
        "coverage": trials["answered"].mean(),
        "side_bias": by_side.mean() - 0.5,
        "unit_pearson": stats.pearsonr(conditions["p"], conditions["correct"])[0],
        "unit_spearman": stats.spearmanr(conditions["p"], conditions["correct"])[0],
        "network_pearson": stats.pearsonr(networks["p"], networks["correct"])[0],
        "network_kendall": stats.kendalltau(networks["p"], networks["correct"])[0],
        "ece": (gap * gaps["p"]["size"]).sum() / len(table),
        "binomial_reliability": 1 - noise / counts["mean"].var(ddof=1),
        "human_consistency": (alike - by_chance) / (1 - by_chance),
    }


def looped_answers(table: pd.DataFrame) -> dict[str, float]:
    """Scores over single answers, for which participants are drawn as well."""
    return {
        "bits": 1 - log_loss(table["correct"], table["p"]) / np.log(2),
        "brier": brier_score_loss(table["correct"], table["p"]),
        "error_consistency": cohen_kappa_score(table["credit"] > 0.5, table["correct"]),
        "human_proportion_correct": table["correct"].mean(),
    }


def looped(matched: Matched, *, resamples: int, seed: int) -> dict[str, list[float]]:
    """The bootstrap as a loop over `resamples` draws of units (and of people, where it matters)."""
    table = answer_table(matched)
    rng = np.random.default_rng(seed)
    by_unit = weights(matched.network_of_unit, n_resamples=resamples, rng=generator(seed, "units"))
    people = np.unique(table["person"])
    by_person = weights(
        np.zeros(len(people), dtype=int),
        n_resamples=resamples,
        rng=generator(seed, "participants"),
    )
    order = np.argsort(table["unit"].to_numpy(), kind="stable")
    rows_of = np.split(order, np.cumsum(np.bincount(table["unit"]))[:-1])
    found: dict[str, list[float]] = {}
    for draw, persons in zip(by_unit, by_person, strict=True):
        picked = [rows_of[unit] for unit in np.repeat(np.arange(len(draw)), draw.astype(int))]
        drawn = table.iloc[np.concatenate(picked)].reset_index(drop=True)
        drawn["copy"] = np.repeat(np.arange(len(picked)), [len(rows) for rows in picked])
        for name in ("condition", "trial"):
            drawn[name] = drawn[name] + drawn["copy"] * (1 + table[name].max())
        scores = looped_scores(drawn)
        often = pd.Series(persons, index=people)[drawn["person"]].to_numpy().astype(int)
        scores |= looped_answers(drawn.iloc[np.repeat(np.arange(len(drawn)), often)])
        scores["split_half_reliability"] = split_half(drawn, rng, splits=1)
        for name, value in scores.items():
            found.setdefault(name, []).append(float(value))
    return found


def timed(work: Any) -> tuple[tuple[float, float], Any]:
    """Wall and processor seconds (of all threads), and the result."""
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    return (time.perf_counter() - wall, time.process_time() - processor), result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    decisions, study = simulated(answers_per_trial=3, seed=0)
    matched = match(decisions, study, calibration=calibrate(decisions, study))
    many, more = simulated(answers_per_trial=8, seed=1)
    fast, slow, fits = [], [], []
    for _ in range(arguments.repeats):
        seconds, draws = timed(lambda: all_draws(matched, seed=0, n_resamples=RESAMPLES))
        fast.append(seconds)
        seconds, loop = timed(lambda: looped(matched, resamples=LOOPED, seed=0))
        slow.append(seconds)
        fits.append(timed(lambda: calibrate(many, more))[0])
    few = all_draws(matched, seed=0, n_resamples=LOOPED)
    worst = max(
        float(np.abs(few[name].draws - np.array(values)).max())
        for name, values in loop.items()
        if name != "split_half_reliability"
    )
    if worst > 1e-9:
        print(f"the loop and the vectorised bootstrap differ by {worst:.2g}", file=sys.stderr)
        return 1
    record: dict[str, Any] = {
        "units": UNITS,
        "answers": len(matched.trial),
        "resamples": RESAMPLES,
        "scores": len(draws),
        "looped_resamples": LOOPED,
        "largest_difference": worst,
        "calibration_answers": len(more.responses),
    }
    for place, clock in enumerate(("wall", "processor")):
        record[f"vectorised_{clock}_s"] = median(seconds[place] for seconds in fast)
        record[f"loop_{clock}_s_a_resample"] = median(s[place] for s in slow) / LOOPED
        record[f"calibration_{clock}_s"] = median(seconds[place] for seconds in fits)
        record[f"ratio_{clock}"] = (
            record[f"loop_{clock}_s_a_resample"] * RESAMPLES / record[f"vectorised_{clock}_s"]
        )
    print(f"{record['scores']} scores, {UNITS} units, {record['answers']} simulated answers")
    print(f"the loop deals one split of halves, the bootstrap 100; equal to {worst:.1e}")
    print(f"{'':44}{'wall':>10}{'processor':>12}")
    for label, name, unit in (
        (f"vectorised, {RESAMPLES} resamples", "vectorised_{}_s", "s"),
        ("pandas loop, one resample", "loop_{}_s_a_resample", "s"),
        ("ratio for as many resamples", "ratio_{}", "x"),
        (f"calibration, ten folds, {len(more.responses)} answers", "calibration_{}_s", "s"),
    ):
        wall, processor = (record[name.format(clock)] for clock in ("wall", "processor"))
        print(f"{label:44}{wall:8.2f} {unit}{processor:10.2f} {unit}")
    if arguments.json:
        write_json(arguments.json, record)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
