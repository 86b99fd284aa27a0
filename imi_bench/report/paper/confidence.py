"""Panel 8: confidence, response times, learning, sides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from imi_bench.arrays import Floats
from imi_bench.report.paper.clusters import clustered_means, clustered_variance
from imi_bench.report.paper.data import PaperData
from imi_bench.report.paper.learning import CONDITION, learning_slope, mixed
from imi_bench.report.paper.panel import (
    BLUE,
    MODE_COLOURS,
    MODE_MARKERS,
    WARNING,
    Panel,
    asks,
    beside_truth,
    counted,
    drawing,
    whiskers,
)
from imi_bench.report.paper.truth import TrueValues
from imi_bench.report.style import INK, MUTED
from imi_bench.stats.estimate import Estimate
from imi_bench.tables import MODES
from imi_bench.text import plural

__all__ = ["confidence", "type_two", "type_two_area"]

RIGHT = "#029e73"


def type_two(rows: pd.DataFrame) -> tuple[Floats, Floats]:
    """Type-2 ROC: shares at least so sure, when wrong and when right, from the highest level."""
    sure, correct = rows["confidence"].to_numpy(), rows["correct"].to_numpy() > 0.5
    if correct.all() or not correct.any():
        return np.full(4, np.nan), np.full(4, np.nan)
    levels = np.array([np.inf, 3, 2, 1])
    hit = np.array([(sure[correct] >= c).mean() for c in levels])
    false = np.array([(sure[~correct] >= c).mean() for c in levels])
    return false, hit


def type_two_area(rows: pd.DataFrame) -> Estimate:
    """Area under the type-2 ROC within people: how well confidence tells correct from wrong.

    Each person's right and wrong answers are compared among themselves, all pairs counted alike,
    so that people who only use the scale otherwise add nothing. The interval counts people and
    units (Hoeffding's projection of the share of pairs, two-way clustered as in
    `imi_bench.report.paper.clusters`).

    Parameters
    ----------
    rows : DataFrame
        `participant`, `confidence` (any number), `correct`; `unit_id` and what else
        `clustered_variance` takes.
    """
    rows = rows.reset_index(drop=True)
    count = len(rows)
    gain = np.zeros(count)
    won = pairs = 0.0
    sizes = np.ones(count)
    of_person = np.zeros(count)
    for at in rows.groupby("participant", observed=True).indices.values():
        sure = rows["confidence"].to_numpy(float)[at]
        right = rows["correct"].to_numpy(float)[at] > 0.5
        sizes[at] = len(at)
        if right.all() or not right.any():
            continue
        above = (sure[right][:, None] > sure[~right]) + 0.5 * (sure[right][:, None] == sure[~right])
        mine = np.zeros(len(at))
        mine[right], mine[~right] = above.sum(axis=1), above.sum(axis=0)
        other = np.where(right, (~right).sum(), right.sum())
        won, pairs = won + float(above.sum()), pairs + above.size
        gain[at], of_person[at] = mine, other
    if pairs == 0:
        return Estimate.undefined("nobody was both right and wrong", n=count)
    value = won / pairs
    each = (gain - value * of_person) / pairs
    # A pair is counted at both its answers; what a person adds beyond them is counted once.
    person = pd.factorize(rows["participant"])[0]
    mean = (np.bincount(person, each) / np.bincount(person))[person]
    variance, df = clustered_variance(each - mean / 2, rows)
    facts: dict[str, Any] = {"n": count, "clusters": rows["participant"].nunique()}
    if df < 1 or not 0 < value < 1 or variance <= 0:
        return Estimate(value, reason="too few people or units", **facts)
    half = stats.t.ppf(0.975, df) * np.sqrt(variance) / (value * (1 - value))
    odds = np.log(value / (1 - value))
    low, high = (float(1 / (1 + np.exp(-end))) for end in (odds - half, odds + half))
    return Estimate(value, low, high, method="t on the logit, over people and units", **facts)


@asks(8, "confidence", "Do people know when they are right, and what do time and practice do?")
def confidence(data: PaperData) -> Panel | str:
    """8: confidence, response times, learning, sides."""
    rows = data.frame
    known = rows.dropna(subset=["confidence"]).reset_index(drop=True)
    if known.empty:
        return "nobody was asked how sure they are"
    true = data.true
    modes = [mode for mode in MODES if (known["mode"] == mode).any()]
    right = clustered_means(known, "correct", ["mode", "confidence"])
    right = _with_truth(right, None if true is None else true.by_confidence(), "correct")
    areas = {mode: type_two_area(known[known["mode"] == mode]) for mode in modes}
    plots = [
        drawing(
            data,
            "8-confidence",
            "Left: accuracy by confidence (95%, over people and units). Right: type-2 ROC, how "
            "confidence tells right from wrong, all people together; the area in words is within "
            "people, every pair of a right and a wrong answer alike." + beside_truth(data),
            lambda grid: _confidence(grid, known, right, modes),
            columns=2,
            size=(6.2, 2.9),
        )
    ]
    tables = {"accuracy_by_confidence": right}
    plots += _timed_plots(data, known, true, modes, tables)
    slope = _session_plots(data, rows, true, tables, plots)
    tables["type_two"] = pd.DataFrame(
        [
            {"mode": m, **a.to_json(), "truth": np.nan if true is None else true.insight(m)}
            for m, a in areas.items()
        ]
    )
    tables["type_two_by_network"] = _by_network(data, known)
    tables |= {"ordinal": _ordinal(data)} if data.ordinal is not None else {}
    return Panel(
        answer=_answer(areas, slope),
        n=counted(data, known),
        plots=tuple(plots),
        tables=tables,
        notes=(*_uncounted(rows), *_sides(data, rows), *_speed(known), *_changed(data)),
    )


def _answer(areas: dict[str, Estimate], slope: Estimate | None) -> str:
    shown = [
        f"{a.value:.2f} [{a.low:.2f}, {a.high:.2f}] ({m})"
        for m, a in areas.items()
        if np.isfinite(a.low)
    ]
    if not shown:
        reasons = sorted({a.reason for a in areas.values()})
        text = f"Whether confidence tells right from wrong cannot be said: {', '.join(reasons)}"
    else:
        real = all(a.low > 0.5 for a in areas.values() if np.isfinite(a.low))
        verdict = "" if real else "; where the interval holds one half no insight is shown"
        text = (
            f"The area under the type-2 ROC is {' and '.join(shown)}, one half being no "
            f"insight{verdict}"
        )
    return text + _slope_words(slope) + "."


def _by_network(data: PaperData, known: pd.DataFrame) -> pd.DataFrame:
    """The area, and accuracy and time at hand, for each network and mode."""
    rows = []
    for network in data.networks():
        for mode in MODES:
            part = known[(known["network"].astype(str) == network) & (known["mode"] == mode)]
            if part.empty:
                continue
            one = type_two_area(part)
            timed = part.loc[part["seconds"] > 0, "seconds"]
            rows.append(
                {
                    "network": network,
                    "mode": mode,
                    "area": one.value,
                    "low": one.low,
                    "high": one.high,
                    "mean_confidence": part["confidence"].mean(),
                    "median_seconds": timed.median() if len(timed) else np.nan,
                    "answers": len(part),
                    "reason": one.reason,
                }
            )
    return pd.DataFrame(rows)


def _with_truth(table: pd.DataFrame, true: pd.DataFrame | None, value: str) -> pd.DataFrame:
    """The table with the truth of each of its rows: the mean of all that fall into it."""
    if true is None:
        return table.assign(truth=np.nan)
    keys = [n for n in table if n in ("mode", "confidence", "answer", "fifth", "part")]
    known = true.groupby(keys, observed=True)[value].mean().rename("truth").reset_index()
    return table.astype({"mode": str} if "mode" in keys else {}).merge(known, how="left", on=keys)


def _named(rows: pd.DataFrame) -> pd.DataFrame:
    """Answers with a time, and the fifth it lies in of a person's times in a condition.

    Within conditions, or whoever answered easy and hard ones would be right more often when fast
    for that alone.
    """
    timed = rows[rows["seconds"] > 0].reset_index(drop=True)
    timed = timed.assign(
        log=np.log(timed["seconds"]), answer=np.where(timed["correct"] > 0.5, "correct", "wrong")
    )
    alike = ["participant", *(name for name in CONDITION if name in timed)]
    place = timed.groupby(alike, observed=True, dropna=False)["log"].rank(pct=True)
    return timed.assign(fifth=np.ceil(5 * place).clip(1, 5))


def _timed_plots(
    data: PaperData,
    known: pd.DataFrame,
    true: TrueValues | None,
    modes: list[str],
    tables: dict[str, pd.DataFrame],
) -> list[Any]:
    timed = _named(known)
    if timed.empty:
        return []
    really = None if true is None else _named(true.people)
    times = _with_truth(clustered_means(timed, "log", ["answer", "confidence"]), really, "log")
    numbers = ["mean", "low", "high", "truth"]
    times[numbers] = np.exp(times[numbers])
    fifths = _with_truth(clustered_means(timed, "correct", ["mode", "fifth"]), really, "correct")
    tables["seconds"] = times
    tables["speed_and_accuracy"] = fifths
    return [
        drawing(
            data,
            "8-times",
            "Left: geometric mean of seconds by confidence (95%, over people and units). Right: "
            "accuracy in fifths of each person's own times"
            + (" in a condition" if mixed(timed) else "")
            + "."
            + beside_truth(data),
            lambda grid: _times(grid, times, fifths, modes),
            columns=2,
            size=(6.2, 2.9),
        )
    ]


def _session_plots(
    data: PaperData,
    rows: pd.DataFrame,
    true: TrueValues | None,
    tables: dict[str, pd.DataFrame],
    plots: list[Any],
) -> Estimate | None:
    known = rows.dropna(subset=["order"]).reset_index(drop=True)
    if known.empty or known["order"].max() < 8:
        return None
    last = float(known["order"].max())

    def placed(frame: pd.DataFrame) -> pd.DataFrame:
        longest = float(frame["order"].max())
        part = np.ceil(8 * frame["order"] / longest)
        return frame.assign(part=part * last / 8 - last / 16)

    known = placed(known)
    really = None if true is None else placed(true.expected)
    right = _with_truth(clustered_means(known, "correct", ["part"]), really, "correct")
    timed = _named(known)
    times = pd.DataFrame()
    if len(timed):
        times = clustered_means(timed, "log", ["part"])
        drawn = None if true is None else _named(placed(true.people))
        times = _with_truth(times, drawn, "log")
    tables["learning"] = right
    slope = learning_slope(known)
    plots.append(
        drawing(
            data,
            "8-learning",
            "Accuracy and time by place in the session (95%, over people and units)."
            + beside_truth(data),
            lambda grid: _session(grid, right, times),
            columns=2,
            size=(6.2, 2.9),
        )
    )
    truth = np.nan if true is None else learning_slope(true.expected).value
    tables["learning_slope"] = pd.DataFrame([{**slope.to_json(), "truth": truth}])
    return slope


def _slope_words(one: Estimate | None) -> str:
    if one is None or np.isnan(one.value):
        return ""
    shown = one.low > 0 or one.high < 0
    text = f"{100 * one.value:+.1f} points [{100 * one.low:+.1f}, {100 * one.high:+.1f}]"
    verb = "accuracy changes" if shown else "accuracy is not shown to change"
    return f"; from the first to the last trial {verb} ({text})"


def _uncounted(rows: pd.DataFrame) -> list[str]:
    said = []
    untold = int(rows["confidence"].isna().sum())
    if untold:
        said.append(f"{plural(untold, 'answer')} without a confidence are in no number of it.")
    times = rows["seconds"]
    wrong, none = int((times <= 0).sum()), int(times.isna().sum())
    if wrong or none:
        said.append(
            f"{plural(wrong, 'answer')} with a time of zero or less and {none:,} without one are "
            "in no number of times."
        )
    if rows["order"].isna().all():
        said.append("The table does not tell the order of trials: nothing is said of learning.")
    return said


def _speed(known: pd.DataFrame) -> list[str]:
    """How accuracy differs between a person's fastest and slowest fifth of answers."""
    timed = _named(known)
    ends = timed[timed["fifth"].isin((1.0, 5.0))].reset_index(drop=True)
    if ends["fifth"].nunique() < 2:
        return []
    fast = (ends["fifth"] == 1.0).to_numpy()
    y = ends["correct"].to_numpy(float)
    one, two = y[fast].mean(), y[~fast].mean()
    influence = np.where(fast, (y - one) / fast.sum(), -(y - two) / (~fast).sum())
    variance, df = clustered_variance(influence, ends)
    if df < 1:
        return []
    half = stats.t.ppf(0.975, df) * np.sqrt(variance)
    gap = one - two
    shown = abs(gap) > half
    return [
        "A person's fastest fifth of answers is "
        + ("" if shown else "not shown to be ")
        + ("more" if gap > 0 else "less" if shown else "more or less")
        + f" often correct than the slowest ({100 * gap:+.1f} points [{100 * (gap - half):+.1f}, "
        f"{100 * (gap + half):+.1f}])."
    ]


def _confidence(grid: Any, known: pd.DataFrame, right: pd.DataFrame, modes: list[str]) -> None:
    left, roc = grid[0]
    for mode in modes:
        part = right[right["mode"] == mode]
        shown = (f"{MODE_MARKERS[mode]}-", MODE_COLOURS[mode])
        at, label = part["confidence"], f"{mode} references"
        whiskers(left, at, part, look=shown, aside=0.08, label=label)
        false, hit = type_two(known[known["mode"] == mode])
        roc.plot(false, hit, MODE_MARKERS[mode] + "-", color=MODE_COLOURS[mode], markersize=4)
    left.axhline(0.5, color=MUTED, linestyle="--", linewidth=0.8)
    left.set_xticks((1, 2, 3))
    left.set_xlabel("confidence")
    left.set_ylabel("proportion correct")
    left.legend(frameon=False, fontsize=8, loc="lower right")
    roc.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=0.8)
    roc.set_xlabel("at least so sure, when wrong")
    roc.set_ylabel("at least so sure, when right")


def _times(grid: Any, times: pd.DataFrame, fifths: pd.DataFrame, modes: list[str]) -> None:
    left, right = grid[0]
    for answer, colour, marker in (("correct", RIGHT, "o"), ("wrong", WARNING, "v")):
        part = times[times["answer"] == answer]
        look = (f"{marker}-", colour)
        whiskers(left, part["confidence"], part, look=look, aside=0.08, label=answer)
    left.set_xticks((1, 2, 3))
    left.set_xlabel("confidence")
    left.set_ylabel("seconds")
    left.legend(frameon=False, fontsize=8)
    for mode in modes:
        part = fifths[fifths["mode"] == mode]
        look = (f"{MODE_MARKERS[mode]}-", MODE_COLOURS[mode])
        whiskers(right, part["fifth"], part, look=look, aside=0.12)
    right.set_xticks(range(1, 6), ["fastest", "2", "3", "4", "slowest"])
    right.set_xlabel("fifth of a person's times")
    right.set_ylabel("proportion correct")


def _session(grid: Any, right: pd.DataFrame, times: pd.DataFrame) -> None:
    left, other = grid[0]
    for axes, table in ((left, right), (other, times)):
        if table.empty:
            continue
        values = table[["mean", "low", "high", "truth"]].to_numpy(float)
        values = np.exp(values) if axes is other else values
        axes.fill_between(table["part"], values[:, 1], values[:, 2], color=BLUE, alpha=0.15)
        axes.plot(table["part"], values[:, 0], "o-", color=BLUE, markersize=4, linewidth=1.3)
        axes.plot(table["part"], values[:, 3], "x", color=INK, markersize=4.5)
        axes.set_xlabel("place in the session")
    left.set_ylabel("proportion correct")
    other.set_ylabel("seconds")


def _sides(data: PaperData, rows: pd.DataFrame) -> list[str]:
    known = rows.dropna(subset=["chose_first"]).reset_index(drop=True)
    if known.empty:
        return []
    one = clustered_means(known.assign(all="all"), "chose_first", ["all"]).iloc[0]
    if np.isnan(one["low"]):
        return []
    shown = one["low"] > 0.5 or one["high"] < 0.5
    verdict = "a pull to one side" if shown else "no pull to either side is shown"
    true = (
        ""
        if data.true is None
        else (f" (truly {100 * data.true.expected['chose_first'].mean():.1f}%)")
    )
    return [
        f"The query in the first place was chosen in {100 * one['mean']:.1f}% "
        f"[{100 * one['low']:.1f}, {100 * one['high']:.1f}] of answers{true}: {verdict}."
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
    if data.unrated:
        return [f"The model of six ordered answers (side and confidence): {data.unrated}."]
    table = _ordinal(data)
    if table.empty:
        return []
    changed = table.loc[table["changes"], "effect"].tolist()
    said = ", ".join(changed) if changed else "none"
    return [
        f"Of {plural(len(table), 'question')} asked again with six ordered answers "
        f"(side and confidence), "
        f"the answer changes for: {said}."
    ]
