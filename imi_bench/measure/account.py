"""What a learned measure says of itself: its scores, its predictions, its notes, its record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from imi_bench.arrays import Floats, Ints
from imi_bench.measure.head import fit_head
from imi_bench.measure.intervals import error_by_noise
from imi_bench.measure.mixture import Mixture
from imi_bench.measure.nested import EQUAL, OutOfFold, base_rates, best_single
from imi_bench.measure.result import Learned
from imi_bench.measure.table import Table
from imi_bench.measure.transfer import WHOLE, gains
from imi_bench.provenance import plain, sha256_json
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.intervals import estimate
from imi_bench.stats.jackknife import Jackknife
from imi_bench.tables import Study
from imi_bench.tables.fitted_on import FittedOn
from imi_bench.text import plural


def learned_result(
    *,
    name: str,
    head: str,
    by: str,
    names: list[str],
    table: Table,
    told: OutOfFold,
    scored: Mapping[str, Mapping[str, Jackknife]],
    weights: Mapping[str, Estimate],
    record: dict[str, Any],
    study: Study,
    fold: Ints,
    level: float,
) -> Learned:
    """Scores, weights and predictions in one result; its record gains scores and a hash."""
    facts = table.facts(level)
    chosen = pd.Series([names[one["single"][0]] for one in told.log]).mode()[0]
    frame = _predictions(table, told, fold)
    result = Learned(
        **gains(scored, str(chosen), head=head, facts=facts),
        name=name,
        head=head,
        by=by,
        observers=tuple(names),
        ece=estimate(scored["learned"]["ece"], **facts),
        ece_by_noise=error_by_noise(told.learned, table, level=level, seed=record["seed"]),
        singles={n: _bits(table, told.singles[:, j]) for j, n in enumerate(names)},
        base_rate=scored["base"]["bits"].value,
        weights=weights,
        predictions=frame,
        conditions=_conditions(frame),
        log=[{**one, "single": names[one["single"][0]]} for one in told.log],
        record=record,
        simulated=study.responses.simulated,
        notes=_notes(table, told),
    )
    scores = {"bits": result.bits, "difference": result.difference, "ece": result.ece}
    record["scores"] = plain({k: v.to_json() for k, v in scores.items()})
    record["sha256"] = sha256_json(record)
    return result


def _bits(table: Table, p: Floats) -> float:
    k, n = table.rows.successes, table.rows.answers
    return float(1 + (k @ np.log2(p) + (n - k) @ np.log2(1 - p)) / n.sum())


def _predictions(table: Table, told: OutOfFold, fold: Ints) -> pd.DataFrame:
    index = table.index
    return pd.DataFrame(
        {
            "trial_id": index.trial_id,
            "unit_id": index.unit_id,
            "network": index.network,
            "mode": index.mode,
            "difficulty": index.difficulty,
            "fold": fold,
            "answers": table.rows.answers,
            "correct": table.rows.successes,
            **{f"p_{part}": getattr(told, part) for part in WHOLE},
        }
    )


def _conditions(frame: pd.DataFrame) -> pd.DataFrame:
    answers = frame["answers"]
    told = {}
    for part in WHOLE:
        p = frame[f"p_{part}"]
        miss = answers - frame["correct"]
        told[part] = frame["correct"] * np.log2(p) + miss * np.log2(1 - p)
    sums = (
        pd.DataFrame({**told, "answers": answers})
        .groupby([frame["mode"], frame["difficulty"]])
        .sum()
    )
    for part in WHOLE:
        sums[part] = 1 + sums[part] / sums["answers"]
    return sums.reset_index()


def _notes(table: Table, told: OutOfFold) -> tuple[str, ...]:
    notes: list[str] = []
    for name, lost in table.silent.items():
        notes.append(
            f"{name} gave no answer on {lost} of {plural(len(table.index), 'trial')}: "
            f"it says nothing"
        )
    if table.out_of_scale:
        notes.append(f"{table.out_of_scale} decision variables out of scale: they say nothing")
    if table.left_out:
        notes.append(
            f"{plural(table.left_out, 'trial')} with answers that not every observer was shown"
        )
    boosted = sum(bool(one["boosted"]) for one in told.log)
    if boosted:
        notes.append(
            f"gradient boosting predicts {boosted} of {plural(len(told.log), 'fold')}: "
            f"it is scored, "
            "learned.json holds the linear head"
        )
    if table.pictures is None:
        notes.append("trials without pictures: whether folds share pictures is not known")
        return tuple(notes)
    dropped = sum(int(one["dropped"]) for one in told.log)
    if dropped:
        notes.append(f"{dropped} training trials dropped for pictures shared with their test fold")
        return tuple(notes)
    shared = sum(
        int((table.shared(told.fold == k) & (told.fold != k)).any()) for k in range(len(told.log))
    )
    if shared:
        notes.append(
            f"{shared} of {plural(len(told.log), 'fold')} share pictures with their training units"
        )
    return tuple(notes)


def yardsticks(table: Table, baseline: list[int] | None) -> dict[str, Any]:
    """What the fit to all units is compared with on other studies."""
    rows, units = table.rows, table.index.unit_id
    everyone = range(rows.evidence.shape[1])
    single = best_single(rows, units, everyone if baseline is None else baseline)
    equal = fit_head(rows.columns(list(everyone)), shrinkage=EQUAL)
    cells = table.cells
    rates = base_rates(rows.successes, rows.answers, cells, np.ones(len(cells), dtype=bool))
    return {
        "single": {"column": (single.columns or (0,))[0], "head": vars(single.head)},
        "equal": vars(equal),
        "base": dict(zip(cells.tolist(), rates.tolist(), strict=True)),
    }


def learned_record(
    *,
    name: str,
    head: str,
    by: str,
    table: Table,
    abouts: list[dict[str, Any]],
    seer: dict[str, Any] | None,
    told: OutOfFold,
    final: Mixture,
    study: Study,
    seed: int,
) -> dict[str, Any]:
    """What ``learned.json`` holds: the fits, and what they were made of and on."""
    images: set[str] = set().union(*table.pictures) if table.pictures is not None else set()
    return plain(
        {
            "format": 2,
            "name": name,
            "head": head,
            "by": by,
            "seed": seed,
            "columns": abouts,
            "features": list(table.features),
            "features_from": seer,
            "covariates": list(table.covariates),
            "final": final.to_json(),
            "folds": [
                one.head.to_json() if isinstance(one.head, Mixture) else {"boosted": True}
                for one in told.fits
            ],
            "fitted_on": FittedOn(
                study=study.hash,
                units=frozenset(table.index.unit_id.tolist()),
                networks=frozenset(table.index.network.tolist()),
                images=frozenset(one[:16] for one in images),
            ).to_json(),
            "simulated": study.responses.simulated,
        }
    )
