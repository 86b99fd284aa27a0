"""Panels 8 to 10: confidence and time, exclusions, reliability."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from imi_bench.arrays import Floats
from imi_bench.provenance import generator
from imi_bench.release.borowski import BorowskiTable
from imi_bench.release.borowski_rules import borowski_multiverse
from imi_bench.release.exclusions import exclude
from imi_bench.release.multiverse import run_multiverse
from imi_bench.report.paper.data import PaperData
from imi_bench.report.paper.panel import (
    MODE_COLOURS,
    MODE_MARKERS,
    WARNING,
    Panel,
    code,
    counted,
    drawing,
    network_label,
)
from imi_bench.report.style import MUTED
from imi_bench.scores.people import answers_needed, people_ceilings
from imi_bench.stats.estimate import Estimate
from imi_bench.tables import MODES, Study

__all__ = ["confidence", "exclusions", "over_people", "reliability", "type_two"]


def over_people(rows: pd.DataFrame, value: str, by: list[str]) -> pd.DataFrame:
    """Mean of `value` in each group of `by`, with a t interval over people's deviations.

    The ratio of sums over people, linearised: people who gave more answers weigh more.
    """
    found = []
    for key, part in rows.groupby(by, observed=True, sort=True):
        sums = part.groupby("participant")[value].agg(["sum", "size"]).to_numpy(float)
        mean = sums[:, 0].sum() / sums[:, 1].sum()
        count = len(sums)
        se = np.nan
        if count > 1:
            residual = sums[:, 0] - mean * sums[:, 1]
            se = np.sqrt(count / (count - 1) * (residual**2).sum()) / sums[:, 1].sum()
        half = stats.t.ppf(0.975, count - 1) * se if count > 1 else np.nan
        named = dict(zip(by, key if isinstance(key, tuple) else (key,), strict=True))
        found.append(
            {**named, "mean": mean, "low": mean - half, "high": mean + half, "answers": len(part)}
        )
    return pd.DataFrame(found)


def type_two(rows: pd.DataFrame) -> tuple[Floats, Floats, float]:
    """Type-2 ROC: how well confidence tells correct from wrong answers, and the area under it.

    Each person's answers among themselves, pooled by the number of pairs, so that people who
    only use the scale otherwise add nothing.
    """
    pairs = wins = 0.0
    for _, part in rows.groupby("participant"):
        right = part.loc[part["correct"] > 0.5, "confidence"].to_numpy()
        wrong = part.loc[part["correct"] <= 0.5, "confidence"].to_numpy()
        gap = right[:, None] - wrong[None, :]
        pairs += gap.size
        wins += float((gap > 0).sum() + 0.5 * (gap == 0).sum())
    levels = np.array([np.inf, 3, 2, 1])
    sure, correct = rows["confidence"].to_numpy(), rows["correct"].to_numpy() > 0.5
    hit = np.array([(sure[correct] >= c).mean() for c in levels])
    false = np.array([(sure[~correct] >= c).mean() for c in levels])
    return false, hit, wins / pairs if pairs else np.nan


def _area(rows: pd.DataFrame, data: PaperData, mode: str) -> Estimate:
    """Area under the type-2 ROC within people, bootstrap over people."""
    counts = []
    for _, part in rows.groupby("participant"):
        right = np.bincount(part.loc[part["correct"] > 0.5, "confidence"].astype(int), minlength=4)
        wrong = np.bincount(part.loc[part["correct"] <= 0.5, "confidence"].astype(int), minlength=4)
        below = np.cumsum(wrong) - wrong
        counts.append(((right * (below + 0.5 * wrong)).sum(), right.sum() * wrong.sum()))
    table = np.array(counts, dtype=float)
    if table[:, 1].sum() == 0:
        return Estimate.undefined("nobody was both right and wrong", n=len(rows))
    rng = generator(data.seed, "paper, type 2", mode)
    drawn = table[rng.integers(0, len(table), (1000, len(table)))].sum(axis=1)
    low, high = np.nanpercentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    value = float(table[:, 0].sum() / table[:, 1].sum())
    return Estimate(
        value,
        min(float(low), value),
        max(float(high), value),
        method="bootstrap over people (percentile, 1000)",
        n=len(rows),
        clusters=len(table),
    )


def confidence(data: PaperData) -> Panel:
    """8: confidence, response times, learning, sides."""
    question = "Do people know when they are right, and what do time and practice do?"
    rows = data.frame
    if rows["confidence"].isna().all():
        return Panel(
            8, "confidence", question, "Cannot be answered: nobody was asked.", counted(data)
        )
    known = rows.dropna(subset=["confidence"])
    modes = [mode for mode in MODES if (known["mode"] == mode).any()]
    timed = known[known["seconds"] > 0].assign(log=lambda x: np.log(x["seconds"]))
    right = over_people(known, "correct", ["mode", "confidence"])
    areas = {mode: _area(known[known["mode"] == mode], data, mode) for mode in modes}
    plots = [
        drawing(
            data,
            "8-confidence",
            "Left: accuracy by confidence (95%, over people). Right: type-2 ROC, how confidence "
            "tells right from wrong; the area in words is within people.",
            lambda grid: _confidence(grid, known, right, modes),
            columns=2,
            size=(6.2, 2.9),
        )
    ]
    tables = {"accuracy_by_confidence": right}
    if len(timed):
        times = over_people(
            timed.assign(answer=np.where(timed["correct"] > 0.5, "correct", "wrong")),
            "log",
            ["answer", "confidence"],
        )
        times[["mean", "low", "high"]] = np.exp(times[["mean", "low", "high"]])
        tables["seconds"] = times
        plots.append(
            drawing(
                data,
                "8-times",
                "Left: geometric mean of seconds by confidence (95%, over people). Right: accuracy "
                "in fifths of each person's own times.",
                lambda grid: _times(grid, timed, times, modes),
                columns=2,
                size=(6.2, 2.9),
            )
        )
    learned = _learning(rows)
    if learned is not None:
        tables["learning"] = learned[0]
        plots.append(
            drawing(
                data,
                "8-learning",
                "Accuracy and time by place in the session (95%, over people).",
                lambda grid: _session(grid, learned[0], learned[1]),
                columns=2,
                size=(6.2, 2.9),
            )
        )
    parts = [f"{a.value:.2f} [{a.low:.2f}, {a.high:.2f}] ({m})" for m, a in areas.items()]
    answer = (
        f"The area under the type-2 ROC is {' and '.join(parts)}, one half being no insight"
        + _slope_words(learned)
        + "."
    )
    tables["type_two"] = pd.DataFrame([{"mode": m, **a.to_json()} for m, a in areas.items()])
    tables |= {"ordinal": _ordinal(data)} if data.ordinal is not None else {}
    return Panel(
        8,
        "confidence",
        question,
        answer,
        counted(data, known),
        tuple(plots),
        tables,
        code(data, "people", "confidence"),
        (*_sides(rows), *_changed(data)),
    )


def _confidence(grid: Any, known: pd.DataFrame, right: pd.DataFrame, modes: list[str]) -> None:
    left, roc = grid[0]
    for mode in modes:
        part = right[right["mode"] == mode]
        half = [part["mean"] - part["low"], part["high"] - part["mean"]]
        left.errorbar(
            part["confidence"],
            part["mean"],
            yerr=half,
            fmt=MODE_MARKERS[mode] + "-",
            color=MODE_COLOURS[mode],
            markersize=5,
            linewidth=1.3,
            label=f"{mode} references",
        )
        false, hit, _ = type_two(known[known["mode"] == mode])
        roc.plot(false, hit, MODE_MARKERS[mode] + "-", color=MODE_COLOURS[mode], markersize=4)
    left.axhline(0.5, color=MUTED, linestyle="--", linewidth=0.8)
    left.set_xticks((1, 2, 3))
    left.set_xlabel("confidence")
    left.set_ylabel("proportion correct")
    left.legend(frameon=False, fontsize=8, loc="lower right")
    roc.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=0.8)
    roc.set_xlabel("at least so sure, when wrong")
    roc.set_ylabel("at least so sure, when right")


def _times(grid: Any, timed: pd.DataFrame, times: pd.DataFrame, modes: list[str]) -> None:
    left, right = grid[0]
    for answer, colour, marker in (("correct", "#029e73", "o"), ("wrong", WARNING, "v")):
        part = times[times["answer"] == answer]
        half = [part["mean"] - part["low"], part["high"] - part["mean"]]
        left.errorbar(
            part["confidence"],
            part["mean"],
            yerr=half,
            fmt=marker + "-",
            color=colour,
            markersize=5,
            linewidth=1.3,
            label=answer,
        )
    left.set_xticks((1, 2, 3))
    left.set_xlabel("confidence")
    left.set_ylabel("seconds")
    left.legend(frameon=False, fontsize=8)
    place = timed.groupby("participant")["log"].rank(pct=True)
    fifth = np.ceil(5 * place).clip(1, 5)
    table = over_people(timed.assign(fifth=fifth), "correct", ["mode", "fifth"])
    for mode in modes:
        part = table[table["mode"] == mode]
        half = [part["mean"] - part["low"], part["high"] - part["mean"]]
        right.errorbar(
            part["fifth"],
            part["mean"],
            yerr=half,
            fmt=MODE_MARKERS[mode] + "-",
            color=MODE_COLOURS[mode],
            markersize=5,
            linewidth=1.3,
        )
    right.set_xticks(range(1, 6), ["fastest", "2", "3", "4", "slowest"])
    right.set_xlabel("fifth of a person's times")
    right.set_ylabel("proportion correct")


def _learning(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, Estimate] | None:
    """Accuracy and log seconds by place in the session, and the slope of accuracy over it."""
    known = rows.dropna(subset=["order"])
    if known.empty or known["order"].max() < 8:
        return None
    last = float(known["order"].max())
    part = np.ceil(8 * known["order"] / last)
    known = known.assign(part=part * last / 8 - last / 16)
    right = over_people(known, "correct", ["part"])
    timed = known[known["seconds"] > 0].assign(log=lambda x: np.log(x["seconds"]))
    times = over_people(timed, "log", ["part"]) if len(timed) else pd.DataFrame()
    slopes = []
    for _, own in known.groupby("participant"):
        if len(own) > 7 and own["order"].nunique() > 1:
            slopes.append(float(np.polyfit(own["order"] / last, own["correct"], 1)[0]))
    each = np.array(slopes)
    if len(each) < 3:
        return right, times, Estimate.undefined("fewer than three people", n=len(known))
    half = float(stats.t.ppf(0.975, len(each) - 1) * stats.sem(each))
    mean = float(each.mean())
    slope = Estimate(
        mean, mean - half, mean + half, method="t over people", n=len(known), clusters=len(each)
    )
    return right, times, slope


def _slope_words(learned: tuple[pd.DataFrame, pd.DataFrame, Estimate] | None) -> str:
    if learned is None or np.isnan(learned[2].value):
        return ""
    one = learned[2]
    shown = one.low > 0 or one.high < 0
    text = f"{100 * one.value:+.1f} points [{100 * one.low:+.1f}, {100 * one.high:+.1f}]"
    verb = "accuracy changes" if shown else "accuracy is not shown to change"
    return f"; from the first to the last trial {verb} ({text})"


def _session(grid: Any, right: pd.DataFrame, times: pd.DataFrame) -> None:
    left, other = grid[0]
    for axes, table in ((left, right), (other, times)):
        if table.empty:
            continue
        values = table[["mean", "low", "high"]].to_numpy(float)
        values = np.exp(values) if axes is other else values
        axes.fill_between(table["part"], values[:, 1], values[:, 2], color="#0173b2", alpha=0.15)
        axes.plot(table["part"], values[:, 0], "o-", color="#0173b2", markersize=4, linewidth=1.3)
        axes.set_xlabel("place in the session")
    left.set_ylabel("proportion correct")
    other.set_ylabel("seconds")


def _sides(rows: pd.DataFrame) -> list[str]:
    known = rows.dropna(subset=["chose_first"])
    if known.empty:
        return []
    one = over_people(known.assign(all="all"), "chose_first", ["all"]).iloc[0]
    shown = one["low"] > 0.5 or one["high"] < 0.5
    verdict = "a pull to one side" if shown else "no pull to either side is shown"
    return [
        f"The query in the first place was chosen in {100 * one['mean']:.1f}% "
        f"[{100 * one['low']:.1f}, {100 * one['high']:.1f}] of answers: {verdict}."
    ]


def _ordinal(data: PaperData) -> pd.DataFrame:
    """Each question with correct and wrong answers alone, and with confidence."""
    if data.effects is None or data.ordinal is None:
        return pd.DataFrame()
    known = {e.key: e for e in data.ordinal.effects}
    rows = []
    for one in data.effects.effects:
        other = known.get(one.key)
        if other is None or np.isnan(one.p_holm) or np.isnan(other.p_holm):
            continue
        rows.append(
            {
                "effect": one.key,
                "estimate": one.test.estimate,
                "p_holm": one.p_holm,
                "estimate_ordinal": other.test.estimate,
                "p_holm_ordinal": other.p_holm,
                "changes": one.shown != other.shown,
            }
        )
    return pd.DataFrame(rows)


def _changed(data: PaperData) -> list[str]:
    table = _ordinal(data)
    if table.empty:
        return []
    changed = table.loc[table["changes"], "effect"].tolist()
    said = ", ".join(changed) if changed else "none"
    return [
        f"Of {len(table)} questions asked again with six ordered answers (side and confidence), "
        f"the answer changes for: {said}."
    ]


def exclusions(data: PaperData) -> Panel:
    """9: who was left out, and what other rules would have said."""
    question = "Who was left out, and would other rules have said something else?"
    table = data.released
    if data.forerunner is not None:
        return _other_choices(data, data.forerunner, question)
    if table is None:
        why = "this table is not a released one with its rejected assignments"
        return Panel(9, "exclusions", question, f"Cannot be answered: {why}.", counted(data))
    gone = exclude(table)
    counts = gone.to_frame()
    counts = counts[counts["rows"] > 0]
    many = run_multiverse(table, "means")
    summary = many.summary()
    quality = _quality(data)

    def draw(grid: Any) -> None:
        left, right = grid[0]
        shown = counts[~counts["reason"].isin(("catch trial", "practice trial"))]
        left.barh(range(len(shown)), shown["rows"], color="#56b4e9", height=0.6)
        left.barh(range(len(shown)), shown["rows_only"], color="#0173b2", height=0.6)
        left.set_yticks(range(len(shown)), shown["reason"])
        left.invert_yaxis()
        left.set_xlabel("rows dropped (dark: for this alone)")
        for place, name in enumerate(many.numbers):
            values = many.frame[name].to_numpy(float)
            at = float(many.published_row()[name])
            spread = np.linspace(-0.22, 0.22, len(values))
            right.plot(np.sort(values) - at, place + spread, ".", color="#949494", markersize=2.5)
            right.plot(0, place, "D", color="#0173b2", markersize=5)
        right.axvline(0, color=MUTED, linewidth=0.8, linestyle="--")
        right.set_yticks(range(len(many.numbers)), many.numbers)
        right.set_ylim(len(many.numbers) - 0.5, -0.5)
        right.set_xlabel("difference to the published rules")

    plot = drawing(
        data,
        "9-exclusions",
        f"Left: rows that each rule drops. Right: headline means under {len(many.frame)} "
        f"combinations of stricter, published and laxer rules ({many.distinct} distinct).",
        draw,
        columns=2,
        size=(7.4, 2.9),
    )
    moved = summary.iloc[int(summary["by"].abs().to_numpy().argmax())]
    reach = float((summary["highest"] - summary["lowest"]).max())
    answer = (
        f"Under {len(many.frame)} sets of rules no headline mean moves by more than "
        f"{100 * reach:.1f} points between its extremes; {moved['moved_by'].replace('_', ' ')} "
        f"moves {moved['number']} most ({100 * moved['by']:+.2f} points), and no sign changes."
        if (summary["same_sign"] == 1).all()
        else "A headline number changes its sign under some rules: see the table."
    )
    kept = int(gone.kept.sum())
    return Panel(
        9,
        "exclusions",
        question,
        answer,
        f"{len(table.frame):,} rows, {kept:,} kept",
        (plot,),
        {"reasons": counts, "multiverse": summary, "quality": quality},
        code(data, "people", "exclusions"),
        _quality_note(quality),
    )


def _other_choices(data: PaperData, table: BorowskiTable, question: str) -> Panel:
    """The forerunner excluded nobody: which answers count."""
    many = borowski_multiverse(table)
    summary = many.summary()
    gap = summary.set_index("number").loc["natural - synthetic"]

    def draw(grid: Any) -> None:
        axes = grid[0, 0]
        for place, name in enumerate(many.numbers):
            values = np.sort(many.frame[name].to_numpy(float))
            spread = np.linspace(-0.2, 0.2, len(values))
            axes.plot(values, place + spread, ".", color="#949494", markersize=3)
            at = float(many.published_row()[name])
            axes.plot(at, place, "D", color="#0173b2", markersize=5)
        axes.set_yticks(range(len(many.numbers)), many.numbers)
        axes.set_ylim(len(many.numbers) - 0.5, -0.5)
        axes.set_xlabel("proportion correct, mean over people")

    plot = drawing(
        data,
        "9-exclusions",
        f"Each dot: one of {len(many.frame)} choices of what counts (catch trials, fast and slow "
        "answers, hand-picked units, second answers). Diamond: as published.",
        draw,
        size=(5.4, 2.6),
    )
    answer = (
        f"Nobody was left out; over {len(many.frame)} choices of which answers count natural "
        f"references lead by {100 * gap['lowest']:.1f} to {100 * gap['highest']:.1f} points "
        f"({100 * gap['published']:.1f} as published)."
    )
    return Panel(
        9,
        "exclusions",
        question,
        answer,
        f"{len(table.frame):,} rows, {int(table.main.sum()):,} main answers with references",
        (plot,),
        {"multiverse": summary},
        code(data, "people", "exclusions"),
    )


def _quality(data: PaperData) -> pd.DataFrame:
    """Main answers that were kept, and those of assignments that were not."""
    table = data.released
    if table is None:
        return pd.DataFrame()
    rows = table.frame.loc[table.main]
    mode = rows["mode"].astype(str).replace("optimized", "synthetic")
    easy = rows["difficulty"].astype(str) == "easy"
    kind = np.where(table.kept_as_released[table.main], "kept", "left out")
    named = pd.DataFrame(
        {
            "mode": mode,
            "kind": kind,
            "participant": rows["participant_id"].astype(str),
            "correct": rows["correct"].astype(float),
        }
    )[easy.to_numpy()]
    return over_people(named, "correct", ["mode", "kind"])


def _quality_note(quality: pd.DataFrame) -> tuple[str, ...]:
    if quality.empty or quality["kind"].nunique() < 2:
        return ()
    parts = [
        f"{r.mode}, {r.kind}: {r.mean:.3f} [{r.low:.3f}, {r.high:.3f}]"
        for r in quality.itertuples()
    ]
    return ("Proportion correct of answers kept and left out: " + "; ".join(parts) + ".",)


def reliability(data: PaperData) -> Panel:
    """10: how reliable units' proportions are, and how many answers a unit needs."""
    rows = []
    for one in data.means:
        part = _of(data.study, one.condition)
        found = people_ceilings(part, seed=data.seed)
        each = one.mean.n / one.units
        half = found["split_half_reliability"]
        binomial = found["binomial_reliability"]
        rows.append(
            {
                "network": one.condition.network,
                "mode": one.condition.mode,
                "difficulty": one.condition.difficulty,
                "split_half": half.value,
                "low": half.low,
                "high": half.high,
                "binomial": binomial.value,
                "answers_a_unit": each,
                "for_0.8": answers_needed(half.value, answers=each, wanted=0.8),
                "for_0.9": answers_needed(half.value, answers=each, wanted=0.9),
                "consistency": found["human_consistency"].value,
            }
        )
    table = pd.DataFrame(rows)

    def draw(grid: Any) -> None:
        axes = grid[0, 0]
        easy = table[table["difficulty"] == "easy"]
        names = [name for name in data.networks() if name in set(easy["network"])]
        for mode, shift in (("natural", -0.14), ("synthetic", 0.14)):
            part = easy[easy["mode"] == mode].set_index("network").reindex(names)
            place = np.arange(len(names)) + shift
            half = [part["split_half"] - part["low"], part["high"] - part["split_half"]]
            axes.errorbar(
                part["split_half"],
                place,
                xerr=half,
                fmt=MODE_MARKERS[mode],
                color=MODE_COLOURS[mode],
                markersize=5,
                linewidth=1.3,
                label=f"{mode} references",
            )
        axes.set_yticks(range(len(names)), [network_label(name) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel("reliability of units' proportions (split halves, 95%)")
        axes.legend(frameon=False, fontsize=8, loc="lower left")

    plot = drawing(
        data,
        "10-reliability",
        "Correlation of random halves of people, stepped up (Spearman-Brown); jackknife over "
        "units.",
        draw,
        size=(5.2, 1.4 + 0.28 * len(data.networks())),
    )
    parts = []
    for mode in MODES:
        easy = table[(table["mode"] == mode) & (table["difficulty"] == "easy")]
        if len(easy):
            parts.append(
                f"{easy['split_half'].median():.2f} with {mode} references "
                f"(median of {len(easy)} network{'s' * (len(easy) > 1)}; "
                f"{easy['for_0.9'].median():.0f} answers a unit for 0.9)"
            )
    return Panel(
        10,
        "reliability",
        "How reliable is a unit's proportion, and how many answers would it take?",
        f"Reliability is {' and '.join(parts)}.",
        counted(data),
        (plot,),
        {"reliability": table},
        code(data, "people", "reliability"),
    )


def _of(study: Study, condition: Any) -> Study:
    index = study.trials
    same = (
        (index.network.astype(str) == condition.network)
        & (index.mode.astype(str) == condition.mode)
        & (index.difficulty.astype(str) == condition.difficulty)
    )
    return Study(index.take(same), study.responses.take(same[study.rows]))
