"""One analysis under every combination of stricter, published and laxer exclusion rules.

How much a headline number depends on the rules is the question; the analysis is any function from
a frame of answers to named numbers, and some are named here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from imi_bench.arguments import checked
from imi_bench.errors import InputError, UnknownNameError
from imi_bench.plots import Interval, forest
from imi_bench.progress import progress
from imi_bench.provenance import plain, sha256_bytes
from imi_bench.release.assignments import measure
from imi_bench.release.checks import MODE_OF
from imi_bench.release.exclusions import Rules, exclude
from imi_bench.release.published import published
from imi_bench.release.table import ReleasedTable
from imi_bench.results import Result
from imi_bench.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Analysis = Callable[[pd.DataFrame], Mapping[str, float]]

LEVELS = ("stricter", "published", "laxer")

# Around the published bounds: stricter ones that still keep most people, laxer ones that only
# catch the plainly absent. Multiple participation is dropped or it is not: no stricter level.
CHOICES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "catch_ratio": {"stricter": 1.0, "laxer": 0.6},
        "row_min": {"stricter": 10, "laxer": 1},
        "total_time": {"stricter": (200.0, 1800.0), "laxer": (60.0, None)},
        "instruction_time": {"stricter": (25.0, 120.0), "laxer": (5.0, None)},
        "demo_attempts": {"stricter": 2, "laxer": None},
        "drop_multiple": {"laxer": False},
    }
)


@dataclass(frozen=True)
class Universe:
    """One combination of levels and the rules it stands for."""

    levels: Mapping[str, str]
    rules: Rules


@dataclass(frozen=True, eq=False, repr=False)
class Multiverse(Result):
    """The analysis in every universe.

    Attributes
    ----------
    frame : DataFrame
        One row a universe: the level of each rule, `answers`, `participants`, `units`, and the
        analysis' numbers.
    numbers : tuple of str
        Names of the analysis' numbers.
    distinct : int
        How many different sets of kept rows the universes come down to.
    analysis : str
    simulated : bool
    rules : tuple of str
        Names of the rules, which are columns of `frame`.
    """

    frame: pd.DataFrame
    numbers: tuple[str, ...]
    distinct: int
    analysis: str
    simulated: bool
    rules: tuple[str, ...] = tuple(CHOICES)

    def published_row(self) -> pd.Series[Any]:
        """The universe with every rule as published."""
        same = (self.frame[list(self.rules)] == "published").all(axis=1)
        return self.frame.loc[same].iloc[0]

    @property
    def title(self) -> str:
        """How many universes, of what analysis."""
        made_up = ", simulated" if self.simulated else ""
        return (
            f"{self.analysis} in {plural(len(self.frame), 'universe')} of exclusion rules, "
            f"{self.distinct} of them distinct{made_up}"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row a number: published, lowest, median, highest, and the rule that moves it most.

        `same_sign` is the share of universes where it has the sign it has with the published
        rules, among those where it is defined (NaN where the published rules give no number),
        `undefined` the number of the others; `moved_by` (empty where none does) the rule whose
        laxest level changes it most against its strictest (the mean over all other choices), and
        `by` that change.
        """
        rows = []
        for name in self.numbers:
            values, at = self.frame[name], float(self.published_row()[name])
            known = values.notna()
            effects = self._effects(name)
            rule = effects.abs().idxmax() if effects.abs().gt(0).any() else ""
            rows.append(
                {
                    "number": name,
                    "published": at,
                    "lowest": values.min(),
                    "median": values.median(),
                    "highest": values.max(),
                    "same_sign": float((np.sign(values[known]) == np.sign(at)).mean())
                    if known.any() and not np.isnan(at)
                    else np.nan,
                    "undefined": int((~known).sum()),
                    "moved_by": rule,
                    "by": effects.get(rule, np.nan),
                }
            )
        return pd.DataFrame(rows)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw each number as published, and from the lowest to the highest of all universes."""
        rows = [
            Interval(row["number"], row["published"], row["lowest"], row["highest"])
            for row in self.to_frame().to_dict("records")
        ]
        xlabel = "as published; line: all universes"
        return forest(rows, xlabel=xlabel, title=self.title, reference=0.0, ax=ax)

    def to_json(self) -> dict[str, Any]:
        """JSON object of the universes in `frame` and of the table of numbers, ``summary``."""
        return {
            **super().to_json(),
            "universes": len(self.frame),
            "summary": plain(self.to_frame().to_dict("records")),
        }

    def _effects(self, name: str) -> pd.Series[float]:
        changes = {}
        for rule in self.rules:
            means = self.frame.groupby(rule)[name].mean()
            levels = [level for level in LEVELS if level in means]
            changes[rule] = means[levels[-1]] - means[levels[0]] if len(levels) > 1 else np.nan
        return pd.Series(changes, dtype=float)


@checked
def universes(rules: tuple[str, ...] = tuple(CHOICES)) -> tuple[Universe, ...]:
    """Every combination of levels of the named rules; the others stay as published.

    Raises
    ------
    UnknownNameError
        For a name that is no rule.

    Examples
    --------
    >>> len(universes()), len(universes(("catch_ratio", "drop_multiple")))
    (486, 6)
    """
    start = Rules.published()
    found = []
    for levels in combinations(CHOICES, rules):
        changes = {
            rule: CHOICES[rule][level] for rule, level in levels.items() if level != "published"
        }
        found.append(Universe(MappingProxyType(levels), start.with_(**changes)))
    return tuple(found)


def combinations(
    choices: Mapping[str, Mapping[str, Any]], rules: tuple[str, ...]
) -> list[dict[str, str]]:
    """A level of each rule of `choices`, in every combination; those not in `rules` as published.

    Raises
    ------
    UnknownNameError
        For a name that is no rule.
    """
    for rule in rules:
        UnknownNameError.unless_among(rule, choices, kind="exclusion rule")
    options = [
        [level for level in LEVELS if level == "published" or (rule in rules and level in known)]
        for rule, known in choices.items()
    ]
    return [dict(zip(choices, levels, strict=True)) for levels in product(*options)]


@checked
def run_multiverse(
    table: ReleasedTable,
    analysis: str | Analysis,
    *,
    among: tuple[Universe, ...] | None = None,
) -> Multiverse:
    """Re-run the analysis in every universe; universes that keep the same rows share one run.

    Parameters
    ----------
    table : ReleasedTable
        With the rejected assignments in it: ``responses_all.csv``.
    analysis : str or callable
        A name of `ANALYSES`, or a function of a frame of answers with the columns `participant`,
        `unit_id`, `network`, `mode`, `difficulty`, `correct`, that returns named numbers.
    among : tuple of Universe, optional
        All combinations by default.

    Raises
    ------
    UnknownNameError
        For an analysis of another name.
    InputError
        If the universes leave out the published one.
    """
    chosen = universes() if among is None else among
    if not any(set(universe.levels.values()) == {"published"} for universe in chosen):
        raise InputError("the published universe is missing", wanted="it, to compare with")
    name = analysis if isinstance(analysis, str) else analysis.__name__
    function = _named(analysis) if isinstance(analysis, str) else analysis
    measures, answers = measure(table), _answers(table)
    known: dict[str, dict[str, float]] = {}
    rows = []
    with progress("universes", total=len(chosen), unit="universes") as advance:
        for universe in chosen:
            kept = exclude(table, universe.rules, measures=measures).kept
            key = sha256_bytes(np.packbits(kept).tobytes())
            if key not in known:
                known[key] = _run(function, answers.loc[kept[table.main]])
            rows.append({**universe.levels, **known[key]})
            advance(1)
    counts = ("answers", "participants", "units")
    numbers = tuple(column for column in known[key] if column not in counts)
    return Multiverse(pd.DataFrame(rows), numbers, len(known), name, table.simulated)


def _named(name: str) -> Analysis:
    UnknownNameError.unless_among(name, ANALYSES, kind="analysis")
    return ANALYSES[name]


def _run(analysis: Analysis, answers: pd.DataFrame) -> dict[str, float]:
    counts = {
        "answers": float(len(answers)),
        "participants": float(answers["participant"].nunique()),
        "units": float(answers["unit_id"].nunique()),
    }
    return {**counts, **{name: float(value) for name, value in analysis(answers).items()}}


def _answers(table: ReleasedTable) -> pd.DataFrame:
    rows = table.frame.loc[table.main]
    key = ["network", "layer", "channel"]
    unit = rows.groupby(key, observed=True, sort=False).ngroup()
    return pd.DataFrame(
        {
            "participant": rows["participant_id"],
            "unit_id": unit,
            "network": rows["network"].cat.remove_unused_categories(),
            "mode": rows["mode"].astype(object).map(MODE_OF).astype("category"),
            "difficulty": rows["difficulty"].cat.remove_unused_categories(),
            "correct": rows["correct"].astype(float),
        }
    ).reset_index(drop=True)


def unit_proportions(answers: pd.DataFrame) -> pd.DataFrame:
    """Proportion correct of each unit in each of its conditions."""
    key = ["network", "mode", "difficulty", "unit_id"]
    return answers.groupby(key, observed=True)["correct"].mean().reset_index()


def means(answers: pd.DataFrame) -> dict[str, float]:
    """Means over units, then networks, of the easy conditions, and the gap between modes."""
    table = _network_means(answers)
    both = table.dropna()
    return {
        "natural": _value(table, "natural").mean(),
        "synthetic": _value(table, "synthetic").mean(),
        "natural - synthetic": float((_value(both, "natural") - _value(both, "synthetic")).mean()),
    }


def networks(answers: pd.DataFrame) -> dict[str, float]:
    """Mean over units of every easy condition."""
    table = _network_means(answers)
    return {
        f"{network} {mode}": value
        for mode in table
        for network, value in table[mode].dropna().items()
    }


def scale(answers: pd.DataFrame) -> dict[str, float]:
    """Spearman correlation of networks' ImageNet accuracy with how well people read them."""
    table = _network_means(answers)
    known = [name for name in table.index if name in published().networks]
    top1 = np.array([published().networks[name].top1 for name in known])
    found = {}
    for mode in ("natural", "synthetic"):
        mean = _value(table.loc[known], mode).to_numpy()
        shown = ~np.isnan(mean)
        enough = shown.sum() >= 3
        rho = stats.spearmanr(top1[shown], mean[shown]).statistic if enough else np.nan
        found[f"spearman(top1, {mode})"] = float(rho)
    return found


def kruskal(answers: pd.DataFrame) -> dict[str, float]:
    """Kruskal-Wallis across networks on per-unit proportions, as in the paper."""
    units = unit_proportions(answers).query("difficulty == 'easy'")
    found = {}
    for mode in ("natural", "synthetic"):
        part = units[units["mode"] == mode]
        groups = [
            group["correct"].to_numpy() for _, group in part.groupby("network", observed=True)
        ]
        test = stats.kruskal(*groups) if len(groups) > 1 else None
        found[f"H {mode}"] = float(test.statistic) if test else np.nan
        found[f"log10 p {mode}"] = _log10(test.pvalue) if test else np.nan
    return found


def _log10(p: float) -> float:
    return float(np.log10(max(p, np.finfo(float).tiny)))


def _network_means(answers: pd.DataFrame) -> pd.DataFrame:
    units = unit_proportions(answers).query("difficulty == 'easy'")
    return units.pivot_table(
        index="network", columns="mode", values="correct", aggfunc="mean", observed=True
    ).rename_axis(columns=None)


def _value(table: pd.DataFrame, mode: str) -> pd.Series[float]:
    return table[mode] if mode in table else pd.Series(np.nan, index=table.index)


ANALYSES: Mapping[str, Analysis] = MappingProxyType(
    {"means": means, "networks": networks, "scale": scale, "kruskal": kruskal}
)
