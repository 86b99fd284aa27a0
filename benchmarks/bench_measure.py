"""What learning from people gains, over made-up worlds: rule, combination, learning, base rate.

Observers without weights (five codes, each pooled by the mean, by ridge and by the
t-discriminant), people of worlds of both versions, hold-out by unit and by network. Every number
is of units whose answers the fit and every choice never saw.

    python benchmarks/bench_measure.py [--seeds 10] [--versions 1 2] [--by unit network]
        [--codes DIR] [--out FILE]

Version 256 is a world of version 2 with 256 units of eight networks (about a minute of a core to
encode).

Prints one line a world and hold-out as it goes (JSON, also appended to ``--out``), then the table
of means with t intervals over seeds, then the speed of learning and deciding.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import stats

from imi_bench.choice.folds import assign_folds, clusters_of
from imi_bench.measure.head import HeadRows, Shrinkage, fit_head
from imi_bench.measure.nested import (
    MEASURE_GRID,
    OBSERVER_GRID,
    best_single,
    log_likelihood,
    out_of_fold,
)
from imi_bench.observers.catalogue import load_observer
from imi_bench.observers.classical import BALANCED
from imi_bench.observers.learned import agreement, set_features
from imi_bench.observers.pooling import decide
from imi_bench.provenance import plain
from imi_bench.simulation.world import World, build
from imi_bench.stats.squash import out_of_scale, robust_scale, squash
from imi_bench.tables import BlindTrials

SIZES = {
    1: {"version": 1},
    2: {"version": 2, "n_networks": 8, "n_single": 3, "n_mixed": 1, "n_noise": 1},
    256: {
        "version": 2,
        "n_single": 20,
        "n_mixed": 8,
        "n_noise": 4,
        "n_batches": 1,
        "n_scenes": 200,
    },
}
CODES = {
    "colour": "colour-histogram",
    "texture": "oriented-energy",
    "gradients": "hog",
    "pixel": "pixel-cosine",
}
POOLINGS = ("mean", "ridge", "t-discriminant")
NAMES = [f"{code} {pooling}" for code in ("classical", *CODES) for pooling in POOLINGS]
MEANS = [j for j, name in enumerate(NAMES) if name.endswith(" mean")]


def codes_of(world: World, file: Path | None) -> dict[str, np.ndarray]:
    """Codes of all images by part; kept in `file`."""
    if file is not None and file.is_file():
        with np.load(file) as stored:
            codes = {name: stored[name] for name in CODES}
    else:
        images = [world.trials.images.decode(i) for i in range(len(world.trials.images))]
        codes = {k: np.asarray(load_observer(name).encode(images)) for k, name in CODES.items()}
        if file is not None:
            np.savez(file, **codes)
    flat = {k: c.reshape(len(c), -1).astype(np.float64) for k, c in codes.items()}
    share = {k: w / sum(BALANCED.values()) for k, w in BALANCED.items()}
    whole = np.concatenate([np.sqrt(share[k]) * flat[k] for k in BALANCED], axis=1)
    return {"classical": whole, **flat}


def rows_of(world: World, codes: dict[str, np.ndarray]) -> HeadRows:
    trials, study = world.trials, world.study
    shown = BlindTrials(trials.images, trials.positive, trials.negative, trials.queries)
    told = [decide(c, shown, pooling=p) for c in codes.values() for p in POOLINGS]
    evidence = np.nan_to_num(np.stack([np.where(out_of_scale(d), 0.0, d) for d in told], axis=1))
    z = np.stack([squash(column, robust_scale(column)) for column in evidence.T], axis=1)
    features = np.column_stack([set_features(codes["classical"], shown), agreement(z)])
    answers = np.bincount(study.rows, minlength=len(trials)).astype(float)
    hits = np.bincount(study.rows, study.responses.correct, minlength=len(trials))
    return HeadRows(evidence, features, np.empty((len(trials), 0)), hits, answers)


def bits_by_trial(p: np.ndarray, rows: HeadRows) -> np.ndarray:
    return rows.answers + (
        rows.successes * np.log2(p) + (rows.answers - rows.successes) * np.log2(1 - p)
    )


def gap(one: np.ndarray, other: np.ndarray, rows: HeadRows, units: np.ndarray) -> list[float]:
    """Difference in bits an answer, and its lower 95 % end (t over units, delete-one)."""
    code = np.unique(units.astype(str), return_inverse=True)[1]
    total = np.bincount(code, bits_by_trial(one, rows) - bits_by_trial(other, rows))
    count = np.bincount(code, rows.answers)
    value = total.sum() / count.sum()
    without = (total.sum() - total) / (count.sum() - count)
    n = len(total)
    error = np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum())
    return [float(value), float(value - stats.t.ppf(0.975, n - 1) * error)]


def ece(p: np.ndarray, rows: HeadRows) -> float:
    place = np.searchsorted(np.linspace(0, 1, 11)[1:-1], p, side="left")
    gaps = np.bincount(place, rows.answers * p - rows.successes, minlength=10)
    return float(np.abs(gaps).sum() / rows.answers.sum())


def ece_by_noise(p: np.ndarray, rows: HeadRows, units: np.ndarray, seed: int) -> list[float]:
    """Calibration error that noise alone would give: mean, 97.5 %, share of draws above what is.

    Bins' gaps are drawn by units with replacement, about what they are.
    """
    code = np.unique(units.astype(str), return_inverse=True)[1]
    place = np.searchsorted(np.linspace(0, 1, 11)[1:-1], p, side="left")
    gaps = np.zeros((code.max() + 1, 10))
    np.add.at(gaps, (code, place), rows.answers * p - rows.successes)
    count = len(gaps)
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=2000)
    drawn = np.abs((times - 1) @ gaps).sum(axis=1) / rows.answers.sum()
    return [
        float(drawn.mean()),
        float(np.quantile(drawn, 0.975)),
        float((drawn >= ece(p, rows)).mean()),
    ]


def measure_rows(rows: HeadRows, cells: np.ndarray, column: int) -> HeadRows:
    """One observer, dummies of the cells and the features of the sets as covariates."""
    kinds = sorted(set(cells.tolist()))
    dummies = [np.ones(len(cells)), *((cells == k).astype(float) for k in kinds[1:])]
    covariates = np.column_stack([*dummies, rows.features[:, :4]])
    return HeadRows(
        rows.evidence[:, [column]], rows.features[:, :4], covariates, rows.successes, rows.answers
    )


@lru_cache(maxsize=1)
def made(version: int, seed: int, codes: Path | None) -> tuple[World, HeadRows]:
    world = build(seed=seed, **SIZES[version])
    file = None if codes is None else codes / f"v{version}-{seed}.npz"
    return world, rows_of(world, codes_of(world, file))


def one(version: int, seed: int, by: str, codes: Path | None) -> dict[str, object]:
    world, rows = made(version, seed, codes)
    index = world.trials.index
    units = index.unit_id
    cells = np.array(
        [f"{m}/{d}" for m, d in zip(index.mode, index.difficulty, strict=True)], object
    )
    folds = assign_folds(index, by=by)
    fold = np.array([folds[c] for c in clusters_of(index, by=by)])
    common = {"units": units, "cells": cells, "fold": fold}
    told = out_of_fold(rows, grid=OBSERVER_GRID, baseline=MEANS, **common)
    ruled = np.empty(len(rows.answers))
    for held in range(fold.max() + 1):
        train, test = fold != held, fold == held
        chosen = best_single(rows.take(train), units[train], range(len(NAMES)))
        ruled[test] = chosen.predict(rows.take(test), units[test])
    classical = NAMES.index("classical t-discriminant")
    measure = out_of_fold(
        measure_rows(rows, cells, classical), grid=MEASURE_GRID[:6], intercept=True, **common
    ).learned

    def bits(p: np.ndarray) -> float:
        return float(bits_by_trial(p, rows).sum() / rows.answers.sum())

    return {
        "version": version,
        "seed": seed,
        "by": by,
        "learned": bits(told.learned),
        "equal": bits(told.equal),
        "single": bits(told.single),
        "ruled": bits(ruled),
        "base": bits(told.base),
        "measure": bits(measure),
        "a": gap(told.learned, told.single, rows, units),
        "a_prime": gap(told.learned, ruled, rows, units),
        "b": gap(measure, told.base, rows, units),
        "c": ece(measure, rows),
        "c_noise": ece_by_noise(measure, rows, units, seed),
        "c_bayes": ece(world.truth.predicted(known="covariates"), rows),
        "d": gap(told.learned, told.equal, rows, units),
        "singles": {n: bits(told.singles[:, j]) for j, n in enumerate(NAMES)},
        "bayes": {k: world.truth.bayes(known=k) for k in ("condition", "covariates", "trial")},
        "shuffled": control(rows, units, cells, fold, seed) if version > 1 else None,
        "planted": planted(world, rows, common) if version > 1 else None,
    }


def control(rows, units, cells, fold, seed) -> float:
    """Negative control: the same trials answered by coins."""
    rng = np.random.default_rng(seed)
    coins = rng.binomial(rows.answers.astype(int), 0.5).astype(float)
    guessed = HeadRows(rows.evidence, rows.features, rows.covariates, coins, rows.answers)
    told = out_of_fold(
        guessed, units=units, cells=cells, fold=fold, grid=OBSERVER_GRID[:3], baseline=[0]
    )
    return float(1 + log_likelihood(told.learned, guessed) / np.log(2) / rows.answers.sum())


def planted(world: World, rows: HeadRows, common: dict[str, np.ndarray]) -> float:
    """Positive control: the share of the best score that the planted attributes reach."""
    visible = np.column_stack(list(world.truth.visible.values()))
    known = HeadRows(
        world.truth.by_attribute, visible, rows.covariates, rows.successes, rows.answers
    )
    told = out_of_fold(known, grid=OBSERVER_GRID[2:], baseline=[0], **common)
    best = world.truth.bayes(known="covariates")
    return float((1 + log_likelihood(told.learned, rows) / np.log(2) / rows.answers.sum()) / best)


def outlier(seed: int = 0) -> float:
    """Bits that one decision variable at -30 in 400 costs a calibrated single observer."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0.8, 1.0, (400, 1))
    none = np.empty((400, 0))
    hits = rng.binomial(15, 1 / (1 + np.exp(-1.8 * x[:, 0]))).astype(float)

    def score(evidence: np.ndarray) -> float:
        rows = HeadRows(evidence, none, none, hits, np.full(400, 15.0))
        head = fit_head(rows, shrinkage=Shrinkage(10))
        return float(bits_by_trial(head.probability(rows), rows).sum() / rows.answers.sum())

    spoilt = x.copy()
    spoilt[np.argmax(x)] = -30
    return score(x) - score(np.where(out_of_scale(spoilt), 0.0, spoilt))


def speed() -> dict[str, float]:
    """60,000 answers with 20 columns by unit; and combining decisions that are at hand."""
    from imi_bench.observers.learned import LearnedFit, LearnedObserver

    rng = np.random.default_rng(0)
    trials, answers = 4000, 15
    x = rng.normal(0.5, 1, (trials, 20))
    none = np.empty((trials, 0))
    p = 1 / (1 + np.exp(-x @ np.linspace(0, 0.2, 20)))
    rows = HeadRows(
        x,
        rng.normal(size=(trials, 5)),
        none,
        rng.binomial(answers, p).astype(float),
        np.full(trials, float(answers)),
    )
    units = np.array([f"u{i // 10}" for i in range(trials)], dtype=object)
    fold = (np.arange(trials) // 10) % 10
    cells = np.full(trials, "one", dtype=object)
    started, cpu = time.perf_counter(), time.process_time()
    told = out_of_fold(rows, units=units, cells=cells, fold=fold, grid=OBSERVER_GRID)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    final = plain(told.fits[0].head.to_json())
    whole = object.__new__(LearnedObserver)
    whole.features = ("separation", "spread", "contrast", "query similarity", "agreement")
    whole.fit = LearnedFit.read(final, observers=20, features=5)
    many, seen = np.tile(x, (25, 1)), rng.normal(size=(25 * trials, 4))
    started, own = time.perf_counter(), time.process_time()
    whole.combine(many, seen)
    took, own = time.perf_counter() - started, time.process_time() - own
    return {
        "learning_s": seconds,
        "learning_cpu_s": cpu,
        "decisions_per_s": len(many) / took,
        "decisions_per_cpu_s": len(many) / own,
    }


def joining(images: int, units: int, repeats: int = 3) -> None:
    """Processor time of `mis` by a weighted sum, as one joined embedding and trial by trial."""
    from imi_bench.mis import similarity
    from imi_bench.mis.scores import image_order
    from imi_bench.networks.tasks import find_pools
    from imi_bench.observers.learned import LearnedObserver
    from imi_bench.observers.protocol import fingerprint

    names = ("colour-histogram", "hog")
    final = {"linear": True, "scales": [0.1, 0.2], "weights": [0.4, 0.5], "lapse": 0.02}
    record = {
        "head": "observer",
        "name": "learned",
        "sha256": "0" * 64,
        "fitted_on": {"units": ["net/layer/1"], "networks": ["net"]},
        "features": [],
        "features_from": None,
        "columns": [{"name": n, "fingerprint": fingerprint(load_observer(n))} for n in names],
        "final": {**final, "gamma": [], "centres": [], "spreads": []},
    }
    observer = LearnedObserver(record, load_observer)
    size = observer.encode([np.full((32, 32, 3), 100, np.uint8)]).shape[1]
    rng = np.random.default_rng(0)
    codes = rng.random((images, size), dtype=np.float32)
    values = rng.standard_normal((images, units))
    pools = find_pools(values, size=max(60, images // 50), order=image_order(images))
    options = {"n_tasks": 20, "n_references": 9, "seed": 2, "slope": 1.0}
    similarity._JOINING_PAYS = 0
    joined, ratios, apart = LearnedObserver.joined, [], 0.0
    for _ in range(repeats):
        seconds, margins = [], []
        for way in (joined, lambda self, codes: None):
            LearnedObserver.joined = way
            started = time.process_time()
            told = similarity.score_by(
                observer, codes, pools, units=[str(u) for u in range(units)], **options
            )
            seconds.append(time.process_time() - started)
            margins.append(told.margin)
        ratios.append(seconds[1] / seconds[0])
        apart = max(apart, float(np.nanmax(np.abs(margins[0] - margins[1]))))
    LearnedObserver.joined = joined
    print(
        f"{images} images, {units} units, 20 tasks: trial by trial takes "
        f"{np.median(ratios):.2f} times as long; largest difference {apart:.1e}"
    )


def table(found: list[dict[str, object]]) -> None:
    """Means over seeds with t intervals, and how many worlds are above 0."""
    for version, by in sorted({(f["version"], f["by"]) for f in found}):
        some = [f for f in found if (f["version"], f["by"]) == (version, by)]
        print(f"\nworld {version}, hold-out by {by}: {len(some)} seeds")
        for name in ("learned", "equal", "single", "ruled", "base", "measure", "c"):
            print(f"  {name:10} {np.mean([f[name] for f in some]):.3f}")
        noise = np.array([f["c_noise"] for f in some])
        print(
            f"  c          largest {max(f['c'] for f in some):.4f}; by noise alone "
            f"{noise[:, 0].mean():.3f}, below what is shown in 5 % of draws or fewer in "
            f"{(noise[:, 2] <= 0.05).sum()}; of the best prediction "
            f"{np.mean([f['c_bayes'] for f in some]):.3f}, "
            f"largest {max(f['c_bayes'] for f in some):.4f}"
        )
        for name in ("a", "a_prime", "b", "d"):
            values = np.array([f[name][0] for f in some])
            low = np.array([f[name][1] for f in some])
            half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
            print(
                f"  {name:10} {values.mean():+.4f} ± {half:.4f}, above 0 in {(values > 0).sum()}, "
                f"lower end above 0 in {(low > 0).sum()} of {len(values)}"
            )
        if version > 1:
            print(
                f"  controls   planted {np.mean([f['planted'] for f in some]):.3f} of the best, "
                f"least {min(f['planted'] for f in some):.3f}; coins "
                f"{np.mean([f['shuffled'] for f in some]):+.4f}, "
                f"largest {max(f['shuffled'] for f in some):+.4f}"
            )
        mean = {n: np.mean([f["singles"][n] for f in some]) for n in NAMES}
        for code in ("classical", *CODES):
            print(f"  {code:10} " + "  ".join(f"{p} {mean[f'{code} {p}']:.3f}" for p in POOLINGS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--versions", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--by", nargs="+", default=["unit", "network"])
    parser.add_argument("--codes", type=Path, help="folder to keep codes of images in")
    parser.add_argument("--out", type=Path, help="file of JSON lines, appended to")
    parser.add_argument("--joining", action="store_true", help="only time joined embeddings")
    arguments = parser.parse_args()
    if arguments.joining:
        for images, units in ((10_000, 400), (5_000, 500), (5_000, 4_000)):
            joining(images, units)
        return
    found = []
    for seed in range(arguments.seeds):
        for version in arguments.versions:
            for by in arguments.by:
                found.append(one(version, seed, by, arguments.codes))
                line = json.dumps(found[-1])
                print(line, flush=True)
                if arguments.out is not None:
                    with arguments.out.open("a") as file:
                        file.write(line + "\n")
    table(found)
    print("\noutlier at -30 in 400 costs", round(outlier(), 4), "bits;", speed())


if __name__ == "__main__":
    main()
