"""Panel 9: who was left out, and what other rules would have said."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from imi_bench.arrays import Floats
from imi_bench.release.assignments import measure
from imi_bench.release.borowski import BorowskiTable
from imi_bench.release.borowski_rules import borowski_multiverse
from imi_bench.release.exclusions import exclude
from imi_bench.release.multiverse import CHOICES, Multiverse, run_multiverse, universes
from imi_bench.release.published import published
from imi_bench.release.table import ReleasedTable
from imi_bench.report.paper.clusters import clustered_means
from imi_bench.report.paper.data import PaperData
from imi_bench.report.paper.panel import (
    BLUE,
    GHOST,
    Panel,
    asks,
    beside_truth,
    drawing,
    listed,
)
from imi_bench.report.style import INK, MUTED
from imi_bench.tables import DIFFICULTIES, MODES
from imi_bench.text import plural

__all__ = ["exclusions", "headlines", "together"]


@asks(9, "exclusions", "Who was left out, and would other rules have said something else?")
def exclusions(data: PaperData) -> Panel | str:
    """9: who was left out, and what other rules would have said."""
    table = data.released
    if data.forerunner is not None:
        return _other_choices(data, data.forerunner)
    if table is None:
        return "this table is not a released one with its rejected assignments"
    rejected = bool((~table.kept_as_released[table.main]).any())
    if data.lower is not None:
        table, rejected = together(table, data.lower), True
    gone = exclude(table)
    counts = gone.to_frame()
    counts = counts[counts["rows"] > 0]
    untried = _untried(table)
    among = tuple(
        one for one in universes() if not any(one.levels[rule] == "laxer" for rule in untried)
    )
    many = run_multiverse(table, headlines, among=among)
    summary = many.to_frame().dropna(subset=["published"]).reset_index(drop=True)
    quality = _quality(data, table)
    truth = _true_headlines(data)
    summary = summary.assign(truth=summary["number"].map(truth).astype(float))
    all_untried = len(untried) == len(many.rules)
    kinds = "published and stricter" if all_untried else "stricter, published and laxer"
    plot = drawing(
        data,
        "9-exclusions",
        f"Left: rows that each rule drops. Others: headline numbers under {len(many.frame)} "
        f"combinations of {kinds} rules ({many.distinct} distinct), less those under the "
        "published ones (diamond); right: rank correlation with ImageNet accuracy."
        + beside_truth(data),
        lambda grid: _draw(grid[0], many, counts, summary),
        columns=3,
        size=(9.4, 3.0),
    )
    kept = int(gone.kept.sum())
    source = " (with responses_lower_quality.csv beside it)" if data.lower is not None else ""
    return Panel(
        answer=_answer(many, summary, untried),
        n=f"{plural(len(table.frame), 'row')}{source}, {kept:,} kept",
        plots=(plot,),
        tables={"reasons": counts, "multiverse": summary, "quality": quality},
        notes=(*_quality_note(quality, rejected), *_undefined(summary, len(many.frame))),
    )


def _untried(table: ReleasedTable) -> tuple[str, ...]:
    """Rules whose laxer level lets no answer back: what they reject is not in the table."""
    own = measure(table)
    published_kept = exclude(table, measures=own).kept
    only = {
        next(rule for rule, level in one.levels.items() if level == "laxer"): one
        for one in universes()
        if sorted(one.levels.values()).count("laxer") == 1
        and set(one.levels.values()) == {"laxer", "published"}
    }
    kept = {rule: exclude(table, one.rules, measures=own).kept for rule, one in only.items()}
    known = [rule for rule in CHOICES if rule in kept]
    return tuple(rule for rule in known if (kept[rule] == published_kept).all())


def _undefined(summary: pd.DataFrame, universes: int) -> tuple[str, ...]:
    """Which numbers some sets of rules leave without answers."""
    lost = summary[summary["undefined"] > 0]
    if lost.empty:
        return ()
    parts = [f"{r.number} under {r.undefined}" for r in lost.itertuples()]
    return (
        f"Of {universes} sets of rules some leave no answers to compute a number from, and count "
        f"for nothing in it: {listed(parts)}.",
    )


def headlines(answers: pd.DataFrame) -> dict[str, float]:
    """The numbers that other rules could change: means, the fall with difficulty, scale.

    As `imi_bench.release.multiverse.means` and `scale`, and ``easy - hard95`` and the like: what
    natural references lose, mean over the networks that were shown both.
    """
    mean = _condition_means(answers)
    natural, synthetic = mean["natural", "easy"], mean["synthetic", "easy"]
    found = {
        "natural": _mean(natural),
        "synthetic": _mean(synthetic),
        "natural - synthetic": _mean(natural - synthetic),
    }
    names = [str(name) for name in answers["network"].cat.categories]
    known = published().networks
    top1 = np.array([known[n].top1 if n in known else np.nan for n in names])
    for mode, values in (("natural", natural), ("synthetic", synthetic)):
        both = np.isfinite(values) & np.isfinite(top1)
        rho = stats.spearmanr(top1[both], values[both]).statistic if both.sum() >= 3 else np.nan
        found[f"spearman(top1, {mode})"] = float(rho)
    for hard in DIFFICULTIES[1:]:
        found[f"easy - {hard}"] = _mean(natural - mean["natural", hard])
    return found


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan


def _condition_means(answers: pd.DataFrame) -> dict[tuple[str, str], Floats]:
    """Mean over units of every network (in the order of its categories), by mode, difficulty."""
    network = answers["network"].cat.codes.to_numpy(np.int64)
    count = len(answers["network"].cat.categories)
    unit = answers["unit_id"].to_numpy(np.int64)
    correct = answers["correct"].to_numpy(float)
    of_unit = np.zeros(int(unit.max()) + 1 if len(unit) else 0, dtype=np.int64)
    of_unit[unit] = network
    found = {}
    for mode in MODES:
        of_mode = (answers["mode"] == mode).to_numpy()
        for hard in DIFFICULTIES:
            rows = of_mode & (answers["difficulty"] == hard).to_numpy()
            size = np.bincount(unit[rows], minlength=len(of_unit))
            hits = np.bincount(unit[rows], correct[rows], minlength=len(of_unit))
            shown = size > 0
            sums = np.bincount(of_unit[shown], hits[shown] / size[shown], minlength=count)
            units = np.bincount(of_unit[shown], minlength=count)
            found[mode, hard] = np.where(units > 0, sums / np.maximum(units, 1), np.nan)
    return found


def together(kept: ReleasedTable, lower: ReleasedTable) -> ReleasedTable:
    """One table of the answers that were kept and of those that were not."""
    frames = [one.frame for one in (kept, lower)]
    names = [n for n in frames[0] if n in frames[1]]
    words = [n for n in names if isinstance(frames[0][n].dtype, pd.CategoricalDtype)]
    plain = [frame[names].astype(dict.fromkeys(words, object)) for frame in frames]
    frame = pd.concat(plain, ignore_index=True).astype(dict.fromkeys(words, "category"))
    return replace(kept, frame=frame, skipped=kept.skipped + lower.skipped)


def _true_headlines(data: PaperData) -> dict[str, float]:
    if data.true is None:
        return {}
    rows = [
        {"network": c.network, "mode": c.mode, "difficulty": c.difficulty, "correct": value}
        for c, value in data.truth.items()
    ]
    frame = pd.DataFrame(rows).astype({"network": "category"})
    return headlines(frame.assign(unit_id=frame["network"].cat.codes))


def _answer(many: Multiverse, summary: pd.DataFrame, untried: tuple[str, ...]) -> str:
    of_means = summary[~summary["number"].str.startswith("spearman")]
    if many.distinct < 2 or of_means["by"].isna().all():
        return "No other set of rules keeps other answers: nothing can be said of other choices."
    moved = of_means.iloc[int(np.nanargmax(of_means["by"].abs().to_numpy(float)))]
    reach = float((of_means["highest"] - of_means["lowest"]).max())
    turned = summary.loc[summary["same_sign"] < 1, "number"].tolist()
    verb = "changes" if len(turned) == 1 else "change"
    signs = f"{listed(turned)} {verb} sign" if turned else "no sign changes"
    rules = [rule.replace("_", " ") for rule in untried]
    limits = ""
    if len(untried) == len(many.rules):
        limits = (
            " The rejected assignments are not in this table: only stricter rules could be tried."
        )
    elif untried:
        limits = (
            f" What a laxer rule on {listed(rules, 5)} would let back is not in this table, and "
            "was not tried."
        )
    by = str(moved["moved_by"]).replace("_", " ")
    return (
        f"Under {len(many.frame)} sets of rules no headline mean or gap moves by more than "
        f"{100 * reach:.1f} points between its extremes; {by} moves {moved['number']} most "
        f"({100 * moved['by']:+.2f} points), and {signs}.{limits}"
    )


def _draw(axes: Any, many: Multiverse, counts: pd.DataFrame, summary: pd.DataFrame) -> None:
    left, middle, right = axes
    shown = counts[~counts["reason"].isin(("catch trial", "practice trial"))]
    left.barh(range(len(shown)), shown["rows"], color="#56b4e9", height=0.6)
    left.barh(range(len(shown)), shown["rows_only"], color=BLUE, height=0.6)
    left.set_yticks(range(len(shown)), shown["reason"])
    left.invert_yaxis()
    left.set_xlabel("rows dropped (dark: for this alone)")
    if shown.empty:
        left.text(0.5, 0.5, "none", transform=left.transAxes, ha="center", color=MUTED)
    ranks = summary["number"].str.startswith("spearman")
    words = ((middle, summary[~ranks], "points"), (right, summary[ranks], "rank correlation"))
    for one, part, unit in words:
        factor = 100.0 if unit == "points" else 1.0
        numbers = part[["published", "truth"]].to_numpy(float)
        for place, name in enumerate(part["number"].astype(str)):
            published_at, true = numbers[place]
            values = np.sort(many.frame[name].to_numpy(float))
            spread = np.linspace(-0.22, 0.22, len(values))
            one.plot(
                factor * (values - published_at), place + spread, ".", color=GHOST, markersize=2.5
            )
            one.plot(0, place, "D", color=BLUE, markersize=5)
            one.plot(factor * (true - published_at), place + 0.3, "x", color=INK, ms=5)
        one.axvline(0, color=MUTED, linewidth=0.8, linestyle="--")
        names = [re.sub(r"spearman\(top1, (\w+)\)", r"accuracy, \1", n) for n in part["number"]]
        one.set_yticks(range(len(part)), names)
        one.set_ylim(max(len(part), 1) - 0.5, -0.5)
        one.set_xlabel(f"{unit}, less\nunder published rules")
        if part.empty:
            one.text(0.5, 0.5, "too few networks", transform=one.transAxes, ha="center")


def _other_choices(data: PaperData, table: BorowskiTable) -> Panel:
    """The forerunner excluded nobody: which answers count."""
    many = borowski_multiverse(table)
    summary = many.to_frame()
    gap = summary.set_index("number").loc["natural - synthetic"]

    def draw(grid: Any) -> None:
        axes = grid[0, 0]
        for place, name in enumerate(many.numbers):
            values = np.sort(many.frame[name].to_numpy(float))
            spread = np.linspace(-0.2, 0.2, len(values))
            axes.plot(values, place + spread, ".", color=GHOST, markersize=3)
            at = float(many.published_row()[name])
            axes.plot(at, place, "D", color=BLUE, markersize=5)
        axes.set_yticks(range(len(many.numbers)), many.numbers)
        axes.set_ylim(len(many.numbers) - 0.5, -0.5)
        axes.set_xlabel("proportion correct, mean over people")

    plot = drawing(
        data,
        "9-exclusions",
        f"Each dot: one of {len(many.frame)} choices of what counts (catch trials, fast and slow "
        "answers, hand-picked units, second answers). Diamond: what the authors count.",
        draw,
        size=(5.4, 2.6),
    )
    answer = (
        f"Nobody was left out; over {len(many.frame)} choices of which answers count natural "
        f"references lead by {100 * gap['lowest']:.1f} to {100 * gap['highest']:.1f} points "
        f"({100 * gap['published']:.1f} with the answers that the authors count)."
    )
    return Panel(
        answer=answer,
        n=f"{plural(len(table.frame), 'row')}, "
        f"{plural(int(table.main.sum()), 'main answer')} with references",
        plots=(plot,),
        tables={"multiverse": summary},
    )


def _quality(data: PaperData, table: ReleasedTable) -> pd.DataFrame:
    """Main answers that were kept, and those of assignments that were not."""
    rows = table.frame.loc[table.main]
    easy = (rows["difficulty"].astype(str) == "easy").to_numpy()
    unit = rows["layer"].astype(str) + "/" + rows["channel"].astype(str)
    named = pd.DataFrame(
        {
            "mode": rows["mode"].astype(str).replace("optimized", "synthetic"),
            "kind": np.where(table.kept_as_released[table.main], "kept", "left out"),
            "participant": rows["participant_id"].astype(str),
            "network": rows["network"].astype(str),
            "difficulty": "easy",
            "unit_id": rows["network"].astype(str) + "/" + unit,
            "correct": rows["correct"].astype(float),
        }
    )[easy].reset_index(drop=True)
    if named.empty:
        return pd.DataFrame(columns=["mode", "kind", "mean", "low", "high"])
    found = clustered_means(named, "correct", ["mode", "kind"])
    return found.assign(
        truth=[
            _true_quality(data, mode, kind)
            for mode, kind in zip(found["mode"], found["kind"], strict=True)
        ]
    )


def _true_quality(data: PaperData, mode: str, kind: str) -> float:
    if data.true is None:
        return float("nan")
    if kind == "left out":
        return data.true.left_out(mode)
    return float(
        np.mean([v for c, v in data.truth.items() if c.difficulty == "easy" and c.mode == mode])
    )


def _quality_note(quality: pd.DataFrame, rejected: bool) -> tuple[str, ...]:
    if quality.empty or quality["kind"].nunique() < 2:
        why = "" if rejected else ": put responses_lower_quality.csv beside this table"
        return (f"Answers that were left out cannot be shown beside those kept{why}.",)
    parts = [
        f"{r.mode}, {r.kind}: {r.mean:.3f} "
        + (
            f"[{r.low:.3f}, {r.high:.3f}]"
            if np.isfinite(low)
            else "(no interval: too few people or units)"
        )
        + (f", truly {true:.3f}" if np.isfinite(true) else "")
        for r, true, low in zip(
            quality.itertuples(), *quality[["truth", "low"]].to_numpy(float).T, strict=True
        )
    ]
    return (
        "Proportion correct of answers kept and left out (easiest queries): "
        + "; ".join(parts)
        + ".",
    )
