"""Panel 10: how reliable units' proportions are, and how many answers a unit needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from imi_bench.release.published import Condition
from imi_bench.report.paper.data import PaperData
from imi_bench.report.paper.panel import (
    MODE_COLOURS,
    MODE_MARKERS,
    Panel,
    asks,
    beside_truth,
    counted,
    drawing,
    network_label,
    whiskers,
)
from imi_bench.scores.people import answers_needed, people_ceilings
from imi_bench.tables import MODES, Study
from imi_bench.text import plural

__all__ = ["reliability"]


@asks(10, "reliability", "How reliable is a unit's proportion, and how many answers would it take?")
def reliability(data: PaperData) -> Panel | str:
    """10: how reliable units' proportions are, and how many answers a unit needs."""
    rows = []
    for one in data.means:
        found = people_ceilings(_of(data.study, one.condition), seed=data.seed)
        each = one.mean.n / one.units
        half = found["split_half_reliability"]
        truth = np.nan if data.true is None else data.true.reliability(one.condition, each)
        needed = {
            f"for_0.9{end}": _needed(value, each)
            for end, value in (("", half.value), ("_low", half.high), ("_high", half.low))
        }
        rows.append(
            {
                "network": one.condition.network,
                "mode": one.condition.mode,
                "difficulty": one.condition.difficulty,
                "split_half": half.value,
                "low": half.low,
                "high": np.minimum(half.high, 1.0),
                "truth": truth,
                "binomial": found["binomial_reliability"].value,
                "answers_a_unit": each,
                "for_0.8": answers_needed(half.value, answers=each, wanted=0.8),
                **needed,
                "consistency": found["human_consistency"].value,
                "reason": half.reason,
            }
        )
    table = pd.DataFrame(rows)
    easy = table[table["difficulty"] == "easy"]
    if not np.isfinite(easy["split_half"].to_numpy(float)).any():
        reasons = sorted(set(easy["reason"])) or ["no unit was shown with the easiest queries"]
        return "; ".join(reasons)
    plot = drawing(
        data,
        "10-reliability",
        "Correlation of random halves of people, stepped up (Spearman-Brown); jackknife over "
        "units." + beside_truth(data),
        lambda grid: _draw(grid[0, 0], data, easy),
        size=(5.2, 1.4 + 0.28 * len(data.networks())),
    )
    return Panel(
        answer=f"Reliability is {' and '.join(_parts(easy))}.",
        n=counted(data),
        plots=(plot,),
        tables={"reliability": table},
        notes=(
            "Answers needed by Spearman and Brown's formula, with the interval of the reliability "
            "they come from (its upper end kept at 1, where no answers are needed); no upper end "
            "where that interval holds 0.",
            *_without(easy),
        ),
    )


def _needed(reliability: float, answers: float) -> float:
    """Answers for 0.9: none at a reliability of 1 or above, NaN at 0 or below."""
    return 0.0 if reliability >= 1 else answers_needed(reliability, answers=answers, wanted=0.9)


def _without(easy: pd.DataFrame) -> list[str]:
    """Which networks have no reliability, and why."""
    lost = easy[~np.isfinite(easy["split_half"].to_numpy(float))]
    parts = [f"{network_label(str(r.network))}, {r.mode}: {r.reason}" for r in lost.itertuples()]
    return [f"Without a reliability: {'; '.join(parts)}."] if parts else []


def _parts(easy: pd.DataFrame) -> list[str]:
    parts = []
    for mode in MODES:
        part = easy[(easy["mode"] == mode) & np.isfinite(easy["split_half"])]
        if part.empty:
            continue
        low, high = part["split_half"].min(), part["split_half"].max()
        if len(part) == 1:
            one = part.iloc[0]
            text = f"{one['split_half']:.2f} [{one['low']:.2f}, {one['high']:.2f}]"
            among = f" with {mode} references"
        else:
            text = f"{part['split_half'].median():.2f}"
            among = f" with {mode} references (median of {plural(len(part), 'network')}, "
            among += f"{low:.2f} to {high:.2f})"
        # Not the median of the answers needed: networks at 0 or below need more than any number.
        wanted = _needed(float(part["split_half"].median()), float(part["answers_a_unit"].median()))
        more = (
            f", which takes {wanted:.0f} answers a unit for 0.9"
            if np.isfinite(wanted)
            else ", from which answers needed for 0.9 cannot be told"
        )
        parts.append(text + among + more)
    return parts


def _draw(axes: Any, data: PaperData, easy: pd.DataFrame) -> None:
    names = [name for name in data.networks() if name in set(easy["network"])]
    for mode, shift in (("natural", -0.14), ("synthetic", 0.14)):
        part = easy[easy["mode"] == mode].set_index("network").reindex(names)
        if part["split_half"].isna().all():
            continue
        place = np.arange(len(names)) + shift
        look, label = (MODE_MARKERS[mode], MODE_COLOURS[mode]), f"{mode} references"
        whiskers(
            axes, place, part, look=look, aside=0.12, label=label, value="split_half", across=True
        )
    axes.set_yticks(range(len(names)), [network_label(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("reliability of units' proportions (split halves, 95%)")
    axes.legend(
        frameon=False,
        fontsize=8,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        handletextpad=0.4,
        borderaxespad=0.0,
    )


def _of(study: Study, condition: Condition) -> Study:
    index = study.trials
    same = (
        (index.network.astype(str) == condition.network)
        & (index.mode.astype(str) == condition.mode)
        & (index.difficulty.astype(str) == condition.difficulty)
    )
    return Study(index.take(same), study.responses.take(same[study.rows]))
