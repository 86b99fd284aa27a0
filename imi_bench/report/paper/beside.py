"""An observer in every panel: the same question asked of it, and its difference from people.

Differences are of numbers that both have, with an interval from units drawn anew within networks,
the same for both (paired). People's answers to a unit, and the observer's, come along with it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from imi_bench.arrays import Floats, Ints
from imi_bench.effects.analysis import analyse
from imi_bench.effects.effect import Effects
from imi_bench.effects.groups import compare_networks
from imi_bench.effects.table import observer_table
from imi_bench.errors import ImiBenchError
from imi_bench.provenance import generator
from imi_bench.report.paper.confidence import type_two_area
from imi_bench.report.paper.data import PaperData, observed
from imi_bench.report.paper.layers import by_layer
from imi_bench.report.paper.means import by_difficulty, by_network
from imi_bench.report.paper.modes import by_mode
from imi_bench.report.paper.pairs import STAGE, pairs
from imi_bench.report.paper.panel import Beside, Panel, network_label
from imi_bench.report.paper.scale import by_scale
from imi_bench.report.paper.units import distribution
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.scales import Z95
from imi_bench.tables import DecisionVariables

__all__ = ["machine_columns", "observers_of", "paired_units"]

_DRAWS = 400
_SAME: dict[str, Callable[[PaperData], Panel]] = {
    "networks": by_network,
    "pairs": pairs,
    "scale": by_scale,
    "modes": by_mode,
    "layers": by_layer,
    "difficulty": by_difficulty,
    "units": distribution,
}


def observers_of(data: PaperData) -> list[PaperData]:
    """The study as each observer answers it, with its own effects where they can be had."""
    found = []
    fitted = {} if data.effects is None else {o.effects.who: o for o in data.effects.observers}
    for one in data.decisions:
        own = fitted.get(one.observer)
        effects = _effects(one, data, None if own is None else own.effects)
        found.append(observed(data, one, effects))
    return found


def _effects(one: DecisionVariables, data: PaperData, known: Effects | None) -> Effects | None:
    """The observer's own model, fitted alone where it could not be compared with people's."""
    try:
        table = observer_table(one, data.study.trials, simulated=data.simulated)
        effects = known or analyse(table)
        return replace(effects, groups=compare_networks(table, seed=data.seed, n_resamples=1000))
    except ImiBenchError:
        return None  # each panel that needs the model says so


def machine_columns(panel: Panel, data: PaperData, machines: list[PaperData]) -> Panel:
    """The panel with a column for each observer."""
    if not machines or panel.key in ("machines", "missing"):
        return panel
    columns = [_column(panel, data, one, k) for k, one in enumerate(machines, start=1)]
    named = {f"observer_{k}": one.difference for k, one in enumerate(columns, start=1)}
    tables = {**panel.tables, **{k: v for k, v in named.items() if len(v)}}
    return replace(panel, beside=tuple(columns), tables=tables)


def _column(panel: Panel, data: PaperData, machine: PaperData, place: int) -> Beside:
    if panel.key == "exclusions":
        none = "An observer has no assignments that could be left out."
        return Beside(machine.who, none, (), pd.DataFrame())
    plots: tuple[Any, ...] = ()
    said = ""
    if panel.key in _SAME:
        try:
            own = _SAME[panel.key](machine)
        except ImiBenchError as error:
            return Beside(machine.who, f"Cannot be answered: {error}.", (), pd.DataFrame())
        plots = tuple(
            replace(
                one,
                name=f"{one.name}-observer-{place}",
                svg=one.svg.replace(f"{one.name}-", f"{one.name}-observer-{place}-"),
                narrow=one.narrow.replace(f"{one.name}-", f"{one.name}-observer-{place}-"),
                caption=f"{machine.who}, not people. {one.caption}",
            )
            for one in own.plots
            if "hardest" not in one.name and "easiest" not in one.name
        )
        said = own.answer
    table = _difference(panel.key, data, machine)
    return Beside(machine.who, f"{said} {_gap_words(table)}".strip(), plots, table)


def _gap_words(table: pd.DataFrame) -> str:
    if table.empty:
        return ""
    if "difference" not in table:
        return (
            "; ".join(
                f"{r.number} {r.machine:.2f} [{r.low:.2f}, {r.high:.2f}]"
                for r in table.dropna(subset=["low"]).itertuples()
            )
            + "."
        )
    known = table.dropna(subset=["low", "high"])
    if known.empty:
        return ""
    real = known[(known["low"] > 0) | (known["high"] < 0)]
    names = [f"{r.number} ({r.difference:+.3f})" for r in real.itertuples()]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"Different from people (95%, each by itself) in {len(real)} of {len(known)} numbers" + (
        f": {shown}." if names else "."
    )


def _difference(key: str, data: PaperData, machine: PaperData) -> pd.DataFrame:
    if key in ("pairs", "scale"):
        return _of_effects(key, data, machine)
    if key == "confidence":
        return _of_confidence(data, machine)
    both = paired_units(data, machine)
    if both.empty:
        return pd.DataFrame()
    numbers = {
        "networks": _means,
        "modes": _modes,
        "layers": _layers,
        "difficulty": _difficulties,
        "units": _spreads,
        "reliability": _agreement,
    }[key]
    if key == "reliability":
        return _resampled(both, numbers, data, alone=True)
    return _resampled(both, numbers, data)


def paired_units(data: PaperData, machine: PaperData) -> pd.DataFrame:
    """Units in a condition that both people and the observer answered."""
    keys = ["network", "unit_id", "mode", "difficulty"]
    mine = machine.units[[*keys, "hits", "answers", "p"]]
    both = data.units.merge(mine, on=keys, suffixes=("", "_machine"))
    return both.reset_index(drop=True)


Numbers: TypeAlias = Callable[[str, Floats], dict[str, float]]
"""Numbers of a column of proportions when units count by some weights."""


def _resampled(
    both: pd.DataFrame,
    prepare: Callable[[pd.DataFrame], Numbers],
    data: PaperData,
    *,
    alone: bool = False,
) -> pd.DataFrame:
    """Numbers of people and of the observer, and their difference over units drawn anew."""
    unit, _ = pd.factorize(both["unit_id"].astype(str))
    first = np.unique(unit, return_index=True)[1]
    network, _ = pd.factorize(both["network"].astype(str))
    groups = [np.flatnonzero(network[first] == k) for k in range(network.max() + 1)]
    rng = generator(data.seed, "paper, beside", prepare.__name__)
    numbers = prepare(both)
    ones = np.ones(len(both))
    people = {} if alone else numbers("p", ones)
    machine = numbers("p_machine", ones)
    draws = []
    for _ in range(_DRAWS):
        count = np.zeros(len(first))
        for group in groups:
            count[group] = np.bincount(
                rng.integers(0, len(group), len(group)), minlength=len(group)
            )
        weight = count[unit]
        one = numbers("p_machine", weight)
        two = {} if alone else numbers("p", weight)
        draws.append([one[name] - two.get(name, 0.0) for name in machine])
    with warnings.catch_warnings():  # a number that is never defined has no interval
        warnings.simplefilter("ignore", RuntimeWarning)
        low, high = np.nanpercentile(np.array(draws), [2.5, 97.5], axis=0)
    rows = [
        {
            "number": name,
            "people": people.get(name, np.nan),
            "machine": value,
            "difference": value - people.get(name, 0.0),
            "low": low[place],
            "high": high[place],
        }
        for place, (name, value) in enumerate(machine.items())
    ]
    table = pd.DataFrame(rows)
    few = both.groupby("network", observed=True)["unit_id"].nunique().min() < 2
    if few:
        table[["low", "high"]] = np.nan
    return table.drop(columns=["people", "difference"]) if alone else table


def _easy(both: pd.DataFrame, mode: str | None = None) -> Floats:
    """1 for the easiest queries (of a mode), 0 otherwise."""
    found = both["difficulty"] == "easy"
    found = found if mode is None else found & (both["mode"] == mode)
    return np.asarray(found, dtype=np.float64)


def _mean(values: Floats, weight: Floats) -> float:
    total = float(weight.sum())
    return float(values @ weight) / total if total > 0 else np.nan


class _Within:
    """Deviations from networks' means when units count by some weights."""

    def __init__(self, both: pd.DataFrame) -> None:
        self.network, _ = pd.factorize(both["network"].astype(str))

    def __call__(self, values: Floats, weight: Floats) -> Floats:
        size = np.maximum(np.bincount(self.network, weight), 1e-12)
        return np.asarray(
            values - (np.bincount(self.network, weight * values) / size)[self.network]
        )


def _columns(both: pd.DataFrame) -> dict[str, Floats]:
    return {name: both[name].to_numpy(float) for name in ("p", "p_machine")}


def _groups(both: pd.DataFrame) -> list[tuple[str, str, Ints]]:
    names = both["network"].astype(str) + "/" + both["mode"].astype(str)
    found = []
    for name in dict.fromkeys(names):
        network, mode = str(name).rsplit("/", 1)
        found.append((network, mode, np.flatnonzero((names == name).to_numpy())))
    return found


def _means(both: pd.DataFrame) -> Numbers:
    p, easy = _columns(both), _easy(both)
    groups = [(n, m, at[easy[at] > 0]) for n, m, at in _groups(both)]
    named = [(f"{network_label(n)}, {m}", at) for n, m, at in groups if len(at)]
    return lambda value, weight: {name: _mean(p[value][at], weight[at]) for name, at in named}


def _modes(both: pd.DataFrame) -> Numbers:
    easy = both[both["difficulty"] == "easy"].assign(row=lambda x: x.index)
    rows = easy.pivot(index=["network", "unit_id"], columns="mode", values="row").dropna()
    if rows.shape[1] < 2 or len(rows) < 5:
        return lambda value, weight: {}
    one, two = (rows[mode].to_numpy(np.int64) for mode in ("natural", "synthetic"))
    inside, p = _Within(both.iloc[one]), _columns(both)

    def numbers(value: str, weight: Floats) -> dict[str, float]:
        w, x, y = weight[one], p[value][one], p[value][two]
        a, b = inside(x, w), inside(y, w)
        spread = float(w @ a**2) * float(w @ b**2)
        r = float(w @ (a * b)) / np.sqrt(spread) if spread > 0 else np.nan
        return {"natural - synthetic": _mean(x - y, w), "correlation within networks": r}

    return numbers


def _layers(both: pd.DataFrame) -> Numbers:
    inside, p = _Within(both), _columns(both)
    depth = both["depth"].to_numpy(float)
    known, depth = np.isfinite(depth).astype(float), np.nan_to_num(depth)
    parts = {mode: _easy(both, mode) * known for mode in dict.fromkeys(both["mode"])}

    def numbers(value: str, weight: Floats) -> dict[str, float]:
        found = {}
        for mode, part in parts.items():
            w = weight * part
            x, y = inside(depth, w), inside(p[value], w)
            spread = float(w @ x**2)
            rise = float(w @ (x * y)) / spread if spread > 0 else np.nan
            found[f"first to last layer, {mode}"] = rise
        return found

    return numbers


def _difficulties(both: pd.DataFrame) -> Numbers:
    p, kind = _columns(both), both["difficulty"].to_numpy(dtype=str)
    named = []
    for network, mode, at in _groups(both):
        easy = at[kind[at] == "easy"]
        for hard in [h for h in dict.fromkeys(kind[at]) if h != "easy" and len(easy)]:
            name = f"easy - {hard}, {network_label(network)}, {mode}"
            named.append((name, easy, at[kind[at] == hard]))
    return lambda value, weight: {
        name: _mean(p[value][a], weight[a]) - _mean(p[value][b], weight[b]) for name, a, b in named
    }


def _spreads(both: pd.DataFrame) -> Numbers:
    """Standard deviation of units' true proportions within networks, binomial noise taken out."""
    inside, p = _Within(both), _columns(both)
    count = {"p": both["answers"], "p_machine": both["answers_machine"]}
    parts = {mode: _easy(both, mode) for mode in dict.fromkeys(both["mode"])}
    noise = {
        name: x * (1 - x) / np.maximum(count[name].to_numpy(float) - 1, 1) for name, x in p.items()
    }

    def numbers(value: str, weight: Floats) -> dict[str, float]:
        found = {}
        for mode, part in parts.items():
            w = weight * part
            total = float(w @ inside(p[value], w) ** 2 - w @ noise[value])
            deviation = np.sqrt(max(total / float(w.sum()), 0.0)) if w.any() else np.nan
            found[f"deviation of units beyond noise, {mode}"] = float(deviation)
        return found

    return numbers


def _agreement(both: pd.DataFrame) -> Numbers:
    """Correlation of the observer's with people's units, and over people's reliability."""
    inside, p = _Within(both), _columns(both)
    noise = p["p"] * (1 - p["p"]) / np.maximum(both["answers"].to_numpy(float) - 1, 1)
    parts = {mode: _easy(both, mode) for mode in dict.fromkeys(both["mode"])}

    def numbers(value: str, weight: Floats) -> dict[str, float]:
        found = {}
        for mode, part in parts.items():
            w = weight * part
            x, y = inside(p["p"], w), inside(p[value], w)
            a, b = float(w @ x**2), float(w @ y**2)
            r = float(w @ (x * y)) / np.sqrt(a * b) if a * b > 0 else np.nan
            kept = 1 - float(w @ noise) / a if a > 0 else 0.0
            found[f"correlation with people's units, {mode}"] = r
            found[f"the same over people's reliability, {mode}"] = (
                r / np.sqrt(kept) if kept > 0 else np.nan
            )
        return found

    return numbers


def _of_confidence(data: PaperData, machine: PaperData) -> pd.DataFrame:
    """Area under the type-2 ROC; the observer's confidence is the size of its evidence."""
    rows = []
    people = data.frame.dropna(subset=["confidence"])
    for mode in dict.fromkeys(people["mode"].astype(str)):
        one = type_two_area(people[people["mode"] == mode])
        mine = machine.frame[machine.frame["mode"].astype(str) == mode]
        # Alike within a condition: an observer answers all of them.
        mine = mine.assign(
            participant=mine["network"].astype(str) + "/" + mine["difficulty"].astype(str)
        )
        two = _over_units(mine)
        half = np.hypot((one.high - one.low) / 2, (two.high - two.low) / 2)
        rows.append(_row(f"type-2 area, {mode}", one.value, two.value, half))
    return pd.DataFrame(rows)


def _row(number: str, people: float, machine: float, half: float) -> dict[str, object]:
    gap = machine - people
    row = {"number": number, "people": people, "machine": machine, "difference": gap}
    return {**row, "low": gap - half, "high": gap + half}


def _over_units(rows: pd.DataFrame) -> Estimate:
    """The area within conditions, its interval over units alone."""
    unit = rows["unit_id"].astype(str)
    value = type_two_area(rows.drop(columns="unit_id")).value
    if not np.isfinite(value):
        return Estimate.undefined("never both right and wrong", n=len(rows))
    names = np.unique(unit.to_numpy(dtype=str))
    if len(names) < 3:
        return Estimate(value, reason="too few units", n=len(rows))
    blocks = np.array_split(np.random.default_rng(0).permutation(names), min(len(names), 40))
    left = np.array(
        [type_two_area(rows[~unit.isin(block)].drop(columns="unit_id")).value for block in blocks]
    )
    count = len(blocks)
    se = np.sqrt((count - 1) / count * np.nansum((left - np.nanmean(left)) ** 2))
    low, high = max(value - Z95 * se, 0.0), min(value + Z95 * se, 1.0)
    return Estimate(value, low, high, method="jackknife over 40 blocks of units", n=len(rows))


def _of_effects(key: str, data: PaperData, machine: PaperData) -> pd.DataFrame:
    """Levels of networks (pairs), or effects of scale, as the two mixed models have them."""
    people, own = data.effects, machine.effects
    if people is None or own is None:
        return pd.DataFrame()
    if key == "scale":
        found = next((o for o in people.observers if o.effects.who == machine.who), None)
        topics = {e.key for e in people.effects if e.topic == "scale"}
        rows = [
            {
                "number": d.key,
                "people": d.people,
                "machine": d.observer,
                "difference": d.test.estimate,
                "low": d.test.low,
                "high": d.test.high,
                "p_holm": d.p_holm,
            }
            for d in (found.differences if found else ())
            if d.key in topics
        ]
        return pd.DataFrame(rows)
    rows = []
    for mode, stage in STAGE.items():
        if stage not in people.stages or stage not in own.stages:
            continue
        one, two = people.stages[stage], own.stages[stage]
        for name in [n for n in one.levels if n in two.levels]:
            i, j = one.levels.index(name), two.levels.index(name)
            half = Z95 * float(np.sqrt(one.covariance[i, i] + two.covariance[j, j]))
            named = f"level of {network_label(name)}, {mode} (log-odds)"
            rows.append(_row(named, float(one.estimate[i]), float(two.estimate[j]), half))
    return pd.DataFrame(rows)
