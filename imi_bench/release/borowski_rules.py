"""The forerunner's numbers under other choices of what counts.

Nobody was excluded: people sat in a laboratory and were instructed until they knew the task. What
can be chosen otherwise is which answers count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from imi_bench.arguments import checked
from imi_bench.errors import UnknownNameError
from imi_bench.release.borowski import BorowskiTable
from imi_bench.release.borowski_results import conditions
from imi_bench.release.multiverse import Multiverse, combinations

__all__ = ["RULES", "borowski_multiverse"]

FASTEST, SLOWEST, CATCH_SHARE = 0.5, 30.0, 0.9

Kept = Callable[[pd.DataFrame], "pd.Series[bool]"]


def _passed(rows: pd.DataFrame) -> pd.Series[bool]:
    right = rows[rows["catch"]].groupby("participant")["correct"].mean()
    return rows["participant"].map(right) >= CATCH_SHARE


def _not_fast(rows: pd.DataFrame) -> pd.Series[bool]:
    return rows["seconds"] >= FASTEST


def _not_slow(rows: pd.DataFrame) -> pd.Series[bool]:
    return rows["seconds"] <= SLOWEST


def _drawn(rows: pd.DataFrame) -> pd.Series[bool]:
    return ~rows["hand_picked"]


def _main(rows: pd.DataFrame) -> pd.Series[bool]:
    return (rows["kind"] == "main") & ~rows["catch"]


def _main_and_repeated(rows: pd.DataFrame) -> pd.Series[bool]:
    return rows["kind"].isin(("main", "repeated"))


RULES: Mapping[str, Mapping[str, Kept]] = {
    "catch_trials": {"stricter": _passed},
    "fast_answers": {"stricter": _not_fast},
    "slow_answers": {"stricter": _not_slow},
    "hand_picked": {"stricter": _drawn},
    "trials": {"published": _main, "laxer": _main_and_repeated},
}
"""Catch trials: 90% right or no matter; answers under 0.5 s, over 30 s; hand-picked units; and
whether catch trials and second answers count as well. A level that is not named keeps all."""


def _means(rows: pd.DataFrame) -> dict[str, float]:
    each = rows.groupby(["mode", "participant"])["correct"].mean().groupby("mode").mean()
    natural, synthetic = float(each["natural"]), float(each["synthetic"])
    gap = natural - synthetic
    return {"natural": natural, "synthetic": synthetic, "natural - synthetic": gap}


def _references(rows: pd.DataFrame) -> dict[str, float]:
    each = rows.groupby(["condition", "mode", "participant"])["correct"].mean()
    means = each.groupby(["condition", "mode"]).mean()
    table = means.reset_index()
    names = (table["mode"] + " " + table["condition"]).tolist()
    return dict(zip(names, table["correct"].astype(float).tolist(), strict=True))


ANALYSES = {"means": _means, "references": _references}


@checked
def borowski_multiverse(
    table: BorowskiTable, analysis: str = "means", *, rules: tuple[str, ...] = tuple(RULES)
) -> Multiverse:
    """Re-run an analysis under every combination of the rules' levels.

    Parameters
    ----------
    table : BorowskiTable
    analysis : str
        ``means`` over people by kind of references, or ``references``: by their number as well.
    rules : tuple of str
        Of `RULES`; the others stay as published.

    Raises
    ------
    UnknownNameError
        For a name that is no rule or no analysis.
    """
    UnknownNameError.unless_among(analysis, ANALYSES, kind="analysis")
    whole = _shown(table)
    found: list[dict[str, Any]] = []
    distinct: set[bytes] = set()
    for levels in combinations(RULES, rules):
        kept = np.ones(len(whole), dtype=bool)
        for rule, level in levels.items():
            if level in RULES[rule]:
                kept &= RULES[rule][level](whole).to_numpy(dtype=bool)
        distinct.add(kept.tobytes())
        part = whole[kept]
        found.append(
            {
                **levels,
                "answers": float(len(part)),
                "participants": float(part["participant"].nunique()),
                "units": float(part["unit"].nunique()),
                **ANALYSES[analysis](part),
            }
        )
    frame = pd.DataFrame(found)
    counts = {*RULES, "answers", "participants", "units"}
    numbers = tuple(str(name) for name in frame if name not in counts)
    return Multiverse(frame, numbers, len(distinct), analysis, False, tuple(RULES))


def _shown(table: BorowskiTable) -> pd.DataFrame:
    """Every row with references but practice, with its condition."""
    rows = table.frame
    shown = rows[(rows["mode"] != "none") & (rows["kind"] != "practice")]
    known = conditions(table)["condition"].reindex(shown.index)
    number = shown["references"].astype(str)
    return shown.assign(
        condition=known.fillna(number.where(shown["sides"] == "max", number + "+" + number))
    )
