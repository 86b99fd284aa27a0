"""Jackknife of all scores against a pandas loop, and the speed of a calibration.

Everything is timed in one run, on simulated answers. The loop does what is often done: leave a
unit out of the table, group it and compute each score with pandas, scipy and scikit-learn. It runs
on a few units and participants and is compared per score left out; its scores must equal the
vectorised ones, or the benchmark fails.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from measuring import by_turns, write_record
from scipy import stats
from sklearn.metrics import brier_score_loss, log_loss

from imi_bench.choice.calibrate import calibrate
from imi_bench.scores.alignment import AlignedAnswers, align_answers
from imi_bench.scores.report import leave_out
from imi_bench.stats.jackknife import Jackknife
from imi_bench.tables import DecisionVariables, Responses, Study, TrialIndex

UNITS, NETWORKS, BATCHES, SEATS = 767, 9, 10, 63
LOOPED_UNITS, LOOPED_PEOPLE, DRAWS = 12, 8, 2000


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


def answer_table(matched: AlignedAnswers) -> pd.DataFrame:
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


def kappa(table: pd.DataFrame, alike: Any, other: Any) -> float:
    """Agreement with people beyond chance within each network, over what chance leaves."""
    frame = table[["network", "correct"]].assign(alike=alike, other=other)
    mean, size = (
        frame.groupby("network")[["correct", "alike", "other"]].agg(how) for how in ("mean", "size")
    )
    chance = mean["correct"] * mean["other"] + (1 - mean["correct"]) * (1 - mean["other"])
    return float(((mean["alike"] - chance) * size).sum() / ((1 - chance) * size).sum())


def looped_scores(table: pd.DataFrame) -> dict[str, float]:
    """Every score of a table of answers the usual way."""
    trials = table.drop_duplicates("trial")
    by_side = trials.groupby("positive_first")["first"].mean()
    conditions = table.groupby("condition")[["p", "correct"]].mean()
    networks = table.groupby("network")[["p", "correct"]].mean()
    bins = np.searchsorted(np.linspace(0, 1, 11)[1:-1], table["p"])
    gaps = table.groupby(bins)[["p", "correct"]].agg(["mean", "size"])
    gap = (gaps["p"]["mean"] - gaps["correct"]["mean"]).abs()
    counts = table.groupby("condition")["correct"].agg(["mean", "size"])
    noise = (counts["mean"] * (1 - counts["mean"]) / (counts["size"] - 1)).mean()
    k, n = (table.groupby("trial")["correct"].transform(how) for how in ("sum", "size"))
    others = np.where(table["correct"] > 0.5, k - 1, n - k - 1) / (n - 1)
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
        "human_consistency": kappa(table, others, table["correct"]),
    }


def looped_answers(table: pd.DataFrame) -> dict[str, float]:
    """Scores over single answers, for which participants are left out as well."""
    return {
        "bits": 1 - log_loss(table["correct"], table["p"]) / np.log(2),
        "brier": brier_score_loss(table["correct"], table["p"]),
        "error_consistency": kappa(table, table["credit"] == table["correct"], table["credit"]),
        "human_proportion_correct": table["correct"].mean(),
    }


def looped(
    matched: AlignedAnswers, *, units: int, people: int, seed: int
) -> dict[str, list[float]]:
    """Scores without each of the first units, and those over answers without the first people."""
    table = answer_table(matched)
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {}
    for unit in range(units):
        rest = table[table["unit"] != unit]
        scores = looped_scores(rest) | looped_answers(rest)
        scores["split_half_reliability"] = split_half(rest, rng, splits=1)
        for name, value in scores.items():
            found.setdefault(name, []).append(float(value))
    for person in np.unique(table["person"])[:people]:
        for name, value in looped_answers(table[table["person"] != person]).items():
            found.setdefault(f"{name} without a participant", []).append(float(value))
    return found


def largest_difference(found: Mapping[str, Jackknife], loop: Mapping[str, list[float]]) -> float:
    """Largest difference between the loop's scores and the vectorised ones."""
    worst = 0.0
    for name, values in loop.items():
        if name == "split_half_reliability":
            continue
        score, _, people = name.partition(" without")
        whole = found[score].without_participant if people else found[score].without_unit
        worst = max(worst, float(np.abs(whole[: len(values)] - np.array(values)).max()))
    return worst


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    decisions, study = simulated(answers_per_trial=3, seed=0)
    matched = align_answers(decisions, study, calibration=calibrate(decisions, study))
    many, more = simulated(answers_per_trial=8, seed=1)
    kept: dict[str, Any] = {}

    def vectorised() -> None:
        kept["found"] = leave_out(matched, seed=0, n_draws=DRAWS)

    def loop() -> None:
        kept["loop"] = looped(matched, units=LOOPED_UNITS, people=LOOPED_PEOPLE, seed=0)

    runs = {"vectorised": vectorised, "loop": loop, "fits": lambda: calibrate(many, more)}
    seconds = {n: np.median(s, axis=0) for n, s in by_turns(runs, arguments.repeats).items()}
    found, worst = kept["found"], largest_difference(kept["found"], kept["loop"])
    if worst > 1e-9:
        print(f"the loop and the vectorised jackknife differ by {worst:.2g}", file=sys.stderr)
        return 1
    record: dict[str, Any] = {
        "units": UNITS,
        "answers": len(matched.trial),
        "draws": DRAWS,
        "scores": len(found),
        "looped_units": LOOPED_UNITS,
        "largest_difference": worst,
        "calibration_answers": len(more.responses),
    }
    for place, clock in enumerate(("wall", "processor")):
        record[f"vectorised_{clock}_s"] = seconds["vectorised"][place]
        record[f"loop_{clock}_s_a_unit"] = seconds["loop"][place] / LOOPED_UNITS
        record[f"calibration_{clock}_s"] = seconds["fits"][place]
        record[f"ratio_{clock}"] = (
            record[f"loop_{clock}_s_a_unit"] * UNITS / record[f"vectorised_{clock}_s"]
        )
    print(f"{record['scores']} scores, {UNITS} units, {record['answers']} simulated answers")
    print(f"the loop deals one split of halves, the jackknife 100; equal to {worst:.1e}")
    print(f"{'':44}{'wall':>10}{'processor':>12}")
    for label, name, unit in (
        ("vectorised, all units, people, pairs", "vectorised_{}_s", "s"),
        ("pandas loop, one unit", "loop_{}_s_a_unit", "s"),
        ("ratio for all units", "ratio_{}", "x"),
        (f"calibration, ten folds, {len(more.responses)} answers", "calibration_{}_s", "s"),
    ):
        wall, processor = (record[name.format(clock)] for clock in ("wall", "processor"))
        print(f"{label:44}{wall:8.2f} {unit}{processor:10.2f} {unit}")
    write_record(arguments.json, record)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
