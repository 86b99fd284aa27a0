"""Panels 5 and 7: layers and units."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, special, stats

from imi_bench.arrays import Floats
from imi_bench.provenance import generator
from imi_bench.report.paper.data import PaperData
from imi_bench.report.paper.panel import (
    MODE_COLOURS,
    MODE_MARKERS,
    Panel,
    code,
    counted,
    drawing,
    network_label,
)
from imi_bench.report.style import MUTED
from imi_bench.tables import MODES

__all__ = ["beta_binomial", "by_layer", "distribution"]

CHANCE, CEILING = 0.55, 0.95
"""A unit is at chance if its true proportion is below the one, near ceiling above the other."""
_KNOTS = 4


def _easy(data: PaperData) -> pd.DataFrame:
    units = data.units
    return units[units["difficulty"] == "easy"].reset_index(drop=True)


def by_layer(data: PaperData) -> Panel:
    """5: depth and type of layers, and the easiest and hardest units."""
    units = _easy(data)
    modes = [mode for mode in MODES if (units["mode"] == mode).any()]
    curves = {mode: _smooth(units[units["mode"] == mode], data) for mode in modes}
    types = _types(units, data)

    def draw(grid: Any) -> None:
        left, right = grid[0]
        for mode in modes:
            x, middle, low, high, layers = curves[mode]
            colour = MODE_COLOURS[mode]
            left.plot(layers["depth"], layers["p"], ".", color=colour, alpha=0.3, markersize=4)
            left.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
            left.plot(x, middle, color=colour, linewidth=1.6, label=f"{mode} references")
        left.axhline(0.5, color=MUTED, linestyle="--", linewidth=0.8)
        left.set_xlabel("depth of the layer's block (0 first, 1 last)")
        left.set_ylabel("proportion correct")
        left.set_ylim(0.35, 1.02)
        left.legend(frameon=False, loc="lower left", fontsize=8)
        kinds = list(dict.fromkeys(types["type"]))
        for shift, mode in zip(np.linspace(-0.12, 0.12, len(modes)), modes, strict=True):
            part = types[types["mode"] == mode].set_index("type").reindex(kinds)
            right.errorbar(
                part["mean"],
                np.arange(len(kinds)) + shift,
                xerr=[part["mean"] - part["low"], part["high"] - part["mean"]],
                fmt=MODE_MARKERS[mode],
                color=MODE_COLOURS[mode],
                markersize=5,
                linewidth=1.3,
            )
        right.set_yticks(range(len(kinds)), kinds)
        right.set_ylim(len(kinds) - 0.5, -0.5)
        right.set_xlabel("proportion correct, by type")

    plot = drawing(
        data,
        "5-layers",
        "Left: layers (dots) and a natural spline of depth with its 95% band from whole layers "
        "drawn anew within networks. Right: types of layers, 95%, layers drawn anew as well.",
        draw,
        columns=2,
        size=(7.0, 3.2),
    )
    found = data.effects
    keys = [e for e in found.effects if e.topic.startswith("layer")] if found else []
    real = [e for e in keys if e.shown]
    answer = (
        " ".join(e.sentence for e in real)
        if real
        else "No effect of depth or type of layer survives the adjustment for its family."
    )
    notes = [
        "Width of layers is not in the table; effects --columns (a table of layers) takes it.",
        "Exemplars of the units are not shown: the table has no images.",
    ]
    return Panel(
        5,
        "layers",
        "Does it matter where in a network a unit lies?",
        answer,
        counted(data) + f", {units.groupby('network')['layer'].nunique().sum():,} layers",
        (plot,),
        {"types": types, "hardest_and_easiest": extremes(units)},
        code(data, "units", "by_layer"),
        (*notes, *(f"{e.question} {e.sentence}" for e in keys if not e.shown)),
    )


def extremes(units: pd.DataFrame, count: int = 10) -> pd.DataFrame:
    """The hardest and the easiest units with natural references, by their shrunken proportions.

    A unit's proportion is drawn towards the mean by what is noise in it (beta-binomial posterior
    mean): the highest of many raw proportions is mostly luck.
    """
    mode = "natural" if (units["mode"] == "natural").any() else "synthetic"
    part = units[units["mode"] == mode]
    a, b = beta_binomial(part["hits"].to_numpy(float), part["answers"].to_numpy(float))
    shrunk = (part["hits"] + a) / (part["answers"] + a + b)
    table = part.assign(shrunken=shrunk).sort_values("shrunken", kind="stable")
    count = min(count, len(table) // 2)
    both = pd.concat(
        [table.head(count).assign(end="hardest"), table.tail(count).assign(end="easiest")]
    )
    both = both.assign(network=[network_label(str(n)) for n in both["network"]])
    return both[["end", "network", "unit_id", "hits", "answers", "p", "shrunken"]]


def _layers(units: pd.DataFrame) -> pd.DataFrame:
    keys = ["network", "layer", "depth", "type"]
    found = units.groupby(keys, observed=True)[["hits", "answers"]].sum().reset_index()
    return found.assign(p=found["hits"] / found["answers"])


def _redrawn(layers: pd.DataFrame, rng: np.random.Generator, *, times: int = 400) -> Floats:
    """(times, layers): how often each is drawn when layers are drawn anew within networks."""
    weight = np.zeros((times, len(layers)))
    of_network = list(layers.groupby("network", observed=True).indices.values())
    for drawn in weight:
        for rows in of_network:
            drawn[rows] = np.bincount(rng.integers(0, len(rows), len(rows)), minlength=len(rows))
    return weight


def _smooth(units: pd.DataFrame, data: PaperData) -> tuple[Any, ...]:
    """Spline of depth by weighted least squares, with a band from layers drawn anew."""
    layers = _layers(units)
    x = np.linspace(layers["depth"].min(), layers["depth"].max(), 60)
    rng = generator(data.seed, "paper, depth", str(units["mode"].iloc[0]))
    knots = np.unique(np.quantile(layers["depth"], np.linspace(0, 1, _KNOTS)))
    basis, line = _spline(layers["depth"].to_numpy(float), knots), _spline(x, knots)
    weight, y = layers["answers"].to_numpy(float), layers["p"].to_numpy(float)

    def fitted(w: Floats) -> Floats:
        root = np.sqrt(w)[:, None]
        found = np.linalg.lstsq(basis * root, y * root[:, 0], rcond=None)[0]
        return np.asarray(line @ found)

    draws = np.array([fitted(weight * drawn) for drawn in _redrawn(layers, rng)])
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    return x, fitted(weight), low, high, layers


def _spline(x: Floats, knots: Floats) -> Floats:
    """Natural cubic spline basis (Hastie, Tibshirani and Friedman 2009, equation 5.4)."""
    if len(knots) < 3:
        return np.column_stack([np.ones_like(x), x])
    last = knots[-1]

    def part(k: float) -> Floats:
        cubes = np.maximum(x - k, 0) ** 3 - np.maximum(x - last, 0) ** 3
        return np.asarray(cubes / (last - k))

    end = part(float(knots[-2]))
    return np.column_stack([np.ones_like(x), x, *(part(float(k)) - end for k in knots[:-2])])


def _types(units: pd.DataFrame, data: PaperData) -> pd.DataFrame:
    rows = []
    for (mode, kind), part in units.groupby(["mode", "type"], observed=True, sort=False):
        layers = _layers(part)
        rng = generator(data.seed, "paper, types", str(mode), str(kind))
        hits, answers = layers["hits"].to_numpy(float), layers["answers"].to_numpy(float)
        draws = [(w @ hits) / (w @ answers) for w in _redrawn(layers, rng)]
        low, high = np.percentile(draws, [2.5, 97.5])
        rows.append(
            {
                "mode": mode,
                "type": kind,
                "mean": hits.sum() / answers.sum(),
                "low": low,
                "high": high,
                "layers": len(layers),
                "units": part["unit_id"].nunique(),
            }
        )
    return pd.DataFrame(rows)


def beta_binomial(hits: Floats, answers: Floats) -> tuple[float, float]:
    """Parameters a, b of the beta distribution of true proportions, by maximum likelihood.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> hits = rng.binomial(30, rng.beta(8, 2, 5000))
    >>> a, b = beta_binomial(hits.astype(float), np.full(5000, 30.0))
    >>> abs(a - 8) < 0.6, abs(b - 2) < 0.2
    (True, True)
    """
    mean = float(np.clip(hits.sum() / answers.sum(), 0.01, 0.99))

    def cost(theta: Floats) -> float:
        a, b = np.exp(np.clip(theta, -6, 12))
        return -float((special.betaln(hits + a, answers - hits + b) - special.betaln(a, b)).sum())

    start = np.log([8 * mean, 8 * (1 - mean)])
    found = optimize.minimize(cost, start, method="Nelder-Mead", options={"xatol": 1e-4})
    a, b = np.exp(np.clip(found.x, -6, 12))
    return float(a), float(b)


def distribution(data: PaperData) -> Panel:
    """7: how units differ, with the part that is binomial noise taken away."""
    units = _easy(data)
    modes = [mode for mode in MODES if (units["mode"] == mode).any()]
    rows: list[dict[str, Any]] = []
    fits: dict[str, tuple[float, float]] = {}
    for mode in modes:
        part = units[units["mode"] == mode]
        fits[mode] = beta_binomial(part["hits"].to_numpy(float), part["answers"].to_numpy(float))
        rows.append({"mode": mode, "units": len(part), **_shares(part, fits[mode], data, mode)})
    table = pd.DataFrame(rows)

    def draw(grid: Any) -> None:
        x = np.linspace(0.2, 0.999, 300)
        for axes, mode in zip(grid[0], modes, strict=True):
            part = units[units["mode"] == mode]
            bins = np.linspace(0.15, 1.0, 27)
            axes.hist(part["p"], bins, density=True, color=MODE_COLOURS[mode], alpha=0.35)
            axes.plot(x, stats.beta.pdf(x, *fits[mode]), color=MODE_COLOURS[mode], linewidth=1.8)
            axes.axvline(0.5, color=MUTED, linestyle="--", linewidth=0.8)
            axes.set_ylim(0, 7)
            axes.set_xlabel("proportion correct")
            axes.set_title(f"{mode} references", loc="left")
        grid[0, 0].set_ylabel("density over units")

    plot = drawing(
        data,
        "7-units",
        "Bars: units as observed. Line: their true proportions (beta distribution by maximum "
        "likelihood), binomial noise taken away. Dashed: chance.",
        draw,
        columns=len(modes),
        size=(3.2 * len(modes), 2.7),
        sharey=True,
    )
    parts = [
        f"with {r['mode']} references {_percent(r, 'chance')} of units are at chance (true "
        f"proportion below {CHANCE}) and {_percent(r, 'ceiling')} near ceiling (above {CEILING})"
        for r in rows
    ]
    noise = [f"{100 * r['noise']:.0f}% ({r['mode']})" for r in rows]
    text = "; ".join(parts)
    return Panel(
        7,
        "units",
        "How much do units differ, and how many are at chance or near ceiling?",
        f"{text[0].upper()}{text[1:]}.",
        f"{len(units):,} units in {len(modes)} kinds of references",
        (plot,),
        {"shares": table},
        code(data, "units", "distribution"),
        (
            f"Binomial noise makes up {' and '.join(noise)} of the variance of observed "
            "proportions. Intervals: bootstrap over units (percentile, 100). Networks pooled.",
        ),
    )


def _percent(row: dict[str, Any], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{100 * row[name]:.0f}% [{100 * low:.0f}, {100 * high:.0f}]"


def _shares(
    part: pd.DataFrame, fit: tuple[float, float], data: PaperData, mode: str
) -> dict[str, float]:
    hits, answers = part["hits"].to_numpy(float), part["answers"].to_numpy(float)
    rng = generator(data.seed, "paper, units", mode)
    draws = []
    for _ in range(100):
        rows = rng.integers(0, len(hits), len(hits))
        a, b = beta_binomial(hits[rows], answers[rows])
        draws.append((stats.beta.cdf(CHANCE, a, b), stats.beta.sf(CEILING, a, b)))
    low, high = np.percentile(np.array(draws), [2.5, 97.5], axis=0)
    p = hits / answers
    noise = float((p * (1 - p) / np.maximum(answers - 1, 1)).mean())
    return {
        "a": fit[0],
        "b": fit[1],
        "chance": float(stats.beta.cdf(CHANCE, *fit)),
        "chance_low": float(low[0]),
        "chance_high": float(high[0]),
        "ceiling": float(stats.beta.sf(CEILING, *fit)),
        "ceiling_low": float(low[1]),
        "ceiling_high": float(high[1]),
        "noise": noise / float(p.var(ddof=1)),
    }
