"""Figures of machine interpretability scores: distribution, depth, width, type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from imi_bench.report.figures import Figure
from imi_bench.report.mis.scored import ScoredUnits
from imi_bench.report.style import MARKERS, MUTED, PALETTE, as_svg, logarithmic, new_canvas, styled
from imi_bench.stats.scales import Z95
from imi_bench.text import plural

__all__ = ["by_layer", "draw_figures"]

_SIZE = (4.4, 3.1)
_BINS = 40
_MOST_MARKS = 4000
NAMES = {"score": "MIS", "hard_score": "hard score"}


def by_layer(scored: ScoredUnits) -> pd.DataFrame:
    """One row a layer: layer, type, depth, width, scored, mean, low, high, worst, best.

    Intervals are 95 % of the mean over the layer's units (normal).
    """
    keys = ["layer", "type", "depth", "width"]
    column = scored.scores.groupby(keys, sort=False, dropna=False)[scored.measure]
    table = pd.DataFrame(
        {
            "scored": column.count(),
            "mean": column.mean(),
            "half": Z95 * column.std() / column.count() ** 0.5,
            "worst": column.min(),
            "best": column.max(),
        }
    ).reset_index()
    return table


def draw_figures(scored: ScoredUnits) -> list[Figure]:
    """Distribution over all units, and layers' means against depth and width."""
    layers = by_layer(scored)
    return [
        _distribution(scored),
        _against(scored, layers, "depth"),
        _against(scored, layers, "width"),
    ]


def _distribution(scored: ScoredUnits) -> Figure:
    """A histogram a type of layer, one above another."""
    name, units = NAMES[scored.measure], scored.scores.dropna(subset=[scored.measure])
    groups = list(units.groupby("type", sort=True)[scored.measure])
    tasks = int(units["n_tasks"].max()) if scored.measure == "hard_score" else _BINS
    half = 0.5 / tasks if scored.measure == "hard_score" else 0.0  # shares of tasks are few values
    edges = np.arange(tasks + 1 + (half > 0)) / tasks - half
    rows = []
    with styled(PALETTE):
        canvas = new_canvas(figsize=(4.4, 0.7 + 1.2 * len(groups)), layout="constrained")
        axes = np.atleast_1d(canvas.subplots(len(groups), sharex=True))
        for number, (ax, (kind, values)) in enumerate(zip(axes, groups, strict=True)):
            ax.hist(values, bins=edges, color=PALETTE[number % len(PALETTE)])
            ax.axvline(0.5, color=MUTED, lw=1, ls=(0, (4, 3)))
            ax.axvline(values.mean(), color="0.2", lw=1.2)
            ax.set_title(f"{kind}, {plural(len(values), 'unit')}", loc="left", fontsize="medium")
            ax.set_yticks([])
            quarter = values.quantile([0.05, 0.25, 0.5, 0.75, 0.95])
            rows.append((str(kind), f"{len(values):,}", *(f"{q:.3f}" for q in quarter)))
        axes[-1].set(xlabel=name, xlim=(min(0.45, float(units[scored.measure].min())), 1.0))
        svg = as_svg(canvas, "distribution")
    caption = (
        f"Number of units by their {name}, a panel a type of layer. Dashed: 0.5, what guessing "
        "earns; solid: the mean. No whiskers: every unit is counted as scored."
    )
    header = ("type", "units", "5 %", "25 %", "median", "75 %", "95 %")
    alt = f"Histograms of the {name} of {plural(len(units), 'unit')} by type of layer"
    return Figure("distribution", "Distribution", caption, alt, svg, header, tuple(rows))


def _against(scored: ScoredUnits, layers: pd.DataFrame, column: str) -> Figure:
    name, units = NAMES[scored.measure], scored.scores.dropna(subset=[scored.measure])
    shown = units.iloc[np.linspace(0, len(units) - 1, min(len(units), _MOST_MARKS)).astype(int)]
    with styled(PALETTE):
        canvas = new_canvas(figsize=_SIZE, layout="constrained")
        ax = canvas.subplots()
        ax.scatter(shown[column], shown[scored.measure], s=3, lw=0, color=MUTED, alpha=0.25)
        for number, (kind, part) in enumerate(layers.groupby("type", sort=True)):
            ax.errorbar(
                part[column],
                part["mean"],
                part["half"].fillna(0),
                fmt=MARKERS[number % len(MARKERS)],
                ms=4,
                lw=1,
                label=str(kind),
            )
        ax.axhline(0.5, color=MUTED, lw=1, ls=(0, (4, 3)))
        if column == "width":
            logarithmic(ax, "x")
        said = {
            "depth": "depth of the layer (0 first, 1 last)",
            "width": "units in the layer",
        }
        ax.set(xlabel=said[column], ylabel=name)
        ax.grid(visible=True, axis="both")
        ax.figure.legend(loc="outside lower center", ncols=2, frameon=False)
        svg = as_svg(canvas, column)
    some = "" if len(shown) == len(units) else f" ({len(shown):,} of {len(units):,}, evenly spaced)"
    caption = (
        f"Layers' {name} against {column}: means with 95% intervals over the layer's units; "
        f"dots are units{some}. Whiskers take the images and the observer as given. Dashed: 0.5."
    )
    rows = tuple(
        (str(r.layer), str(r.type), f"{r.depth:.3f}", str(r.width), f"{r.mean:.3f}", _half(r.half))
        for r in layers.sort_values([column, "depth"], kind="stable").itertuples(index=False)
    )
    alt = f"Mean {name} of {plural(len(layers), 'layer')} against their {column}"
    header = ("layer", "type", "depth", "units", name, "± 95 %")
    return Figure(column, f"Against {column}", caption, alt, svg, header, rows)


def _half(value: Any) -> str:
    return "–" if np.isnan(value) else f"{value:.3f}"
