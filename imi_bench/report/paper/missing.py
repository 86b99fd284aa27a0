"""Panel 12: every published number, computed again or with the reason why not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from imi_bench.release.assignments import measure
from imi_bench.release.borowski import facts
from imi_bench.release.borowski_results import published_beside
from imi_bench.release.published import published, published_numbers
from imi_bench.release.table import ReleasedTable
from imi_bench.report.paper.data import PaperData
from imi_bench.report.paper.panel import Panel, asks
from imi_bench.text import plural

__all__ = ["every_number", "missing"]

_ELSEWHERE = {
    "top1": "taken as published: a property of the network, not of answers",
    "human_likeness_mean_rank": "taken as published: ranks of another benchmark",
}
_MIS = "needs images and an observer's decisions, not answers (imi-bench mis)"
_IMAGES = "the table names no images: paths were removed before release"


def every_number(data: PaperData) -> pd.DataFrame:
    """Every published number beside the one of this table, or the reason why there is none.

    Returns
    -------
    DataFrame
        `number` (its path in ``published.toml``), `published`, `here`, `reason` (empty where it
        was computed), `where` (which question).
    """
    here = {**_means(data), **_design(data)}
    if data.released is not None:
        here |= _exclusions(data.released)
    rows = [
        {
            "number": name,
            "published": value,
            "here": here.get(name, np.nan),
            "reason": "" if np.isfinite(here.get(name, np.nan)) else _reason(name, data),
            "where": _where(name) if np.isfinite(here.get(name, np.nan)) else "",
        }
        for name, value in published_numbers().items()
    ]
    return pd.DataFrame(rows)


def _where(name: str) -> str:
    if name.startswith("networks."):
        return "question 1"
    return "question 9" if name.startswith("exclusions.") else "this table"


def _reason(name: str, data: PaperData) -> str:
    part, _, rest = name.partition(".")
    if part == "mis":
        return _MIS
    if name == "design.references_per_side":
        return _IMAGES
    if part == "exclusions" or name in ("design.catch_trials", "design.practice_trials"):
        if data.released is None:
            return "this table has no catch trials, practice or criteria"
        return "the columns that it comes from are empty or missing"
    if part == "networks":
        for column, why in _ELSEWHERE.items():
            if rest.endswith(column):
                return why
        network, mode, _ = rest.rsplit(".", 2)
        shown = any((m.condition.network, m.condition.mode) == (network, mode) for m in data.means)
        if shown:
            return "no interval: too few units, or all alike"
        return "this table has no such answers"
    if name == "design.main_trials":
        return "the table does not tell which trials belong to one session"
    return "this table has no answers to count it by"


def _means(data: PaperData) -> dict[str, float]:
    found: dict[str, float] = {}
    for one in data.means:
        c = one.condition
        if c.difficulty == "easy":
            stem = f"networks.{c.network}.{c.mode}"
            ends = (one.mean.value, one.mean.low, one.mean.high)
            found |= dict(zip((f"{stem}.{n}" for n in ("mean", "low", "high")), ends, strict=True))
    return found


def _design(data: PaperData) -> dict[str, float]:
    rows = data.frame
    by = rows.groupby(["network", "mode", "difficulty"], observed=True)
    units = by["unit_id"].nunique()
    hard = units[units.index.get_level_values("difficulty") != "easy"]
    easy = units[units.index.get_level_values("difficulty") == "easy"]
    each = rows.groupby(["unit_id", "mode", "difficulty"], observed=True).size()
    asked = rows["confidence"].dropna()
    found = {
        "dataset.networks": rows["network"].nunique(),
        "dataset.units": rows["unit_id"].nunique(),
        "design.units_per_network": easy.max() if len(easy) else np.nan,
        "design.units_per_hard_experiment": hard.max() if len(hard) else np.nan,
        "design.answers_per_condition": each.median(),
        "design.batches": rows["batch"].nunique() if "batch" in rows else np.nan,
        "design.confidence_levels": asked.nunique() if len(asked) else np.nan,
        "design.participants": by["participant"].nunique().median(),
    }
    table = data.released
    if table is not None:
        frame = table.frame
        demo = frame["is_demo"].to_numpy(bool)
        found["dataset.responses_more_than"] = float(len(frame) - demo.sum())
        session = measure(table).assignment
        main, catch = table.main, frame["catch_trial"].to_numpy(bool) & ~demo
        for name, part in (("main_trials", main), ("catch_trials", catch)):
            if part.any():
                sizes = np.bincount(session[part])
                found[f"design.{name}"] = float(np.median(sizes[sizes > 0]))
        found |= _practice(table, session, demo)
    return {name: float(value) for name, value in found.items()}


def _practice(table: ReleasedTable, session: Any, demo: Any) -> dict[str, float]:
    if not demo.any():
        return {}
    sizes = np.bincount(session[demo], minlength=int(session.max()) + 1).astype(float)
    tries = measure(table).frame["demo_attempts"].to_numpy(float)
    each = sizes[sizes > 0] / tries[: len(sizes)][sizes > 0]
    each = each[np.isfinite(each)]
    return {"design.practice_trials": float(np.median(each))} if len(each) else {}


def _exclusions(table: ReleasedTable) -> dict[str, float]:
    """What the assignments that were kept show of each bound: the most extreme value."""
    frame = measure(table).frame
    kept = frame[frame["released_passed"] & ~frame["multiple"]]
    if kept.empty:
        return {}
    found = {
        "exclusions.catch_ratio_min": kept["catch_ratio"].min(),
        "exclusions.total_time_s.low": kept["total_time"].min(),
        "exclusions.total_time_s.high": kept["total_time"].max(),
        "exclusions.instruction_time_s.low": kept["instruction_time"].min(),
        "exclusions.instruction_time_s.high": kept["instruction_time"].max(),
        "exclusions.row_min": kept["row_min"].min(),
        "exclusions.demo_attempts_max": kept["demo_attempts"].max(),
        "exclusions.drop_multi_participation": 1.0,
    }
    return {name: float(value) for name, value in found.items()}


@asks(12, "missing", "What could we not reproduce?")
def missing(data: PaperData) -> Panel:
    """12: every published number that this page cannot compute again, with the reason."""
    if data.forerunner is not None:
        return _forerunner(data)
    numbers = every_number(data)
    gone = numbers[numbers["reason"] != ""]
    groups = gone.groupby("reason", sort=False)["number"].agg(["size", _few]).reset_index()
    groups = groups.rename(columns={"size": "numbers", "_few": "such as"})
    groups = groups[["such as", "numbers", "reason"]]
    others = pd.DataFrame(_not_kept(), columns=["such as", "reason"]).assign(numbers=np.nan)
    table = pd.concat([groups, others[["such as", "numbers", "reason"]]], ignore_index=True)
    here = len(numbers) - len(gone)
    answer = (
        f"Of {len(numbers)} published numbers kept with this program, {len(gone)} cannot be "
        f"computed from this table, for {plural(len(groups), 'reason')}; {here} stand beside "
        "theirs in the table of all numbers."
    )
    if data.simulated:
        answer = f"These answers are simulated and reproduce nothing. {answer}"
    return Panel(
        answer=answer,
        n=plural(len(numbers), "published number"),
        tables={"missing": table, "every_number": numbers},
        notes=(
            "Bounds of exclusion rules: beside each stands the most extreme value among the "
            "assignments that were kept, which must lie within it.",
            f"Sources: {'; '.join(published().sources.values())}.",
        ),
    )


def _few(names: pd.Series) -> str:
    shown = ", ".join(names[:3])
    return shown + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _not_kept() -> list[tuple[str, str]]:
    """What was published and is not among the numbers kept here."""
    return [
        (
            "means with harder queries",
            "shown in a figure of the paper whose values are not kept here: computed in question "
            "6, compared with nothing",
        ),
        (
            "p-values of the pairs of networks",
            "shown in a figure of the paper: computed in question 2, compared with nothing",
        ),
        (
            "correlations with accuracy, size and human-likeness",
            "no list of them is kept here: computed in question 3, compared with nothing",
        ),
    ]


def _forerunner(data: PaperData) -> Panel:
    """Of the forerunner's numbers those that its tables do not give."""
    again = [] if data.forerunner is None else [data.forerunner]
    beside = published_beside(again)
    own: Mapping[str, Any] = facts()["published"]
    rows = [
        (f"percentages of the abstract: {name}", "they belong to the other experiment's table")
        for name in own
        if not (again and name.split()[0] == again[0].experiment)
    ]
    rows += [
        ("values in figures and appendix", "no list of them was at hand to compare with"),
        ("exemplars and queries", "the table names images that are not in its repository"),
        ("anything about several networks", "InceptionV1 alone was shown"),
    ]
    table = pd.DataFrame(rows, columns=["number", "reason"])
    return Panel(
        f"The {plural(len(beside), 'percentage')} of the abstract that belong to this table come "
        f"out as in question 1 ({int(beside['same'].sum())} the same); "
        f"{plural(len(table), 'other entry', 'other entries')} cannot be compared.",
        plural(len(own), "published percentage"),
        tables={"missing": table, "percentages": beside},
    )
