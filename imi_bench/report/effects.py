"""Figure of the effects: network coefficients against each property, and a forest of effects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from imi_bench.arguments import checked
from imi_bench.arrays import Floats
from imi_bench.effects.cells import cell_means
from imi_bench.effects.effect import Effect, Effects
from imi_bench.effects.export import export
from imi_bench.effects.questions import outcome
from imi_bench.effects.scale import PROPERTIES
from imi_bench.glmm.between import INTERCEPT
from imi_bench.provenance import plain, write_json, write_table
from imi_bench.report.effects_means import draw_effect_means
from imi_bench.report.style import defaults, new_canvas, save
from imi_bench.stats.scales import Z95
from imi_bench.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLUE, _ORANGE = "#0173b2", "#de8f05"
_COLOURS = (_BLUE, _ORANGE, "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#949494", "#56b4e9")
_MARKERS = ("o", "s", "D", "^", "v")  # five and eight: forty pairs
_AXES = {
    "parameters": "parameters",
    "training_images": "training images",
    "top1": "ImageNet accuracy",
    "year": "year",
}


def draw_effects(effects: Effects, path: Path) -> Path:
    """Draw the answers; the suffix of `path` chooses PNG, SVG or PDF.

    Parameters
    ----------
    effects : Effects
        Of `imi_bench.effects.analysis.analyse`.
    path : Path
        Of the figure.

    Returns
    -------
    Path
        `path`.
    """
    import seaborn as sns

    shown = [e for e in effects.effects if np.isfinite(e.test.estimate)]
    known = [one.name for one in PROPERTIES if effects.properties[one.name].notna().any()]
    above_in, below_in = 3.0 if known else 0.0, 0.8 + 0.27 * len(shown)
    with defaults(**sns.axes_style("ticks"), **{"svg.hashsalt": "effects", "font.size": 9}):
        canvas = new_canvas(figsize=(10, above_in + below_in), layout="constrained")
        parts = canvas.subfigures(
            2 if known else 1,
            1,
            height_ratios=(above_in, below_in) if known else None,
            squeeze=False,
        )[:, 0]
        if known:
            panels = parts[0].subplots(1, len(known), sharey=True, squeeze=False)[0]
            for place, (axes, name) in enumerate(zip(panels, known, strict=True)):
                _against(axes, effects, name, first=place == 0)
        forest = parts[-1].subplots()
        _forest(forest, shown)
        _legend(forest, list(map(str, effects.stages[INTERCEPT].levels)) if known else [])
        made_up = "simulated " if effects.simulated else ""
        canvas.suptitle(
            f"Effects on the log-odds of {outcome(effects.formula)}: {effects.who} "
            f"({effects.n:,} {made_up}answers, {plural(len(effects.properties), 'network')})",
            x=0.01,
            ha="left",
            fontsize=11,
        )
        sns.despine(canvas)
        return save(canvas, path)


@checked
def write_effects(effects: Effects, out: Path) -> Path:
    """Write everything about effects into a folder: CSV, LaTeX, R script, JSON and figures.

    Observers get a folder each, with their differences from people.
    """
    export(effects, out)
    draw_effects(effects, out / "effects.png")
    if effects.table is not None and not effects.table.ordinal:
        draw_effect_means(effects, out / "means.png")
        write_table(out / "means.csv", cell_means(effects))
    for one in effects.observers:
        folder = out / one.effects.who
        export(one.effects, folder)
        draw_effects(one.effects, folder / "effects.png")
        write_json(folder / "differences.json", plain(one.differences))
    return out


def _against(axes: Axes, effects: Effects, name: str, *, first: bool) -> None:
    stage = effects.stages[INTERCEPT]
    x = effects.properties[name].reindex(list(stage.levels)).to_numpy(dtype=float)
    half = Z95 * np.sqrt(np.diag(stage.covariance))
    for row, (colour, marker) in enumerate(_looks(len(x))):
        axes.errorbar(
            x[row],
            stage.estimate[row],
            yerr=half[row],
            fmt=marker,
            color=colour,
            markersize=5,
            linewidth=1,
            label=str(stage.levels[row]),
        )
    _fitted(axes, effects, name, x)
    axes.set_xlabel(_AXES[name])
    if name in ("parameters", "training_images"):
        axes.set_xscale("log")
    if name == "year":
        axes.locator_params(axis="x", integer=True)
    if first:
        axes.set_ylabel(
            "log-odds, natural exemplars\n(whiskers: 95%; line: the\ntested slope)", fontsize=8
        )
    test = effects[name].test
    p = "undefined" if np.isnan(test.p) else f"t({test.df:.0f}), p = {test.p:.3f}"
    axes.set_title(p, loc="left", fontsize=9)


def _looks(count: int) -> list[tuple[str, str]]:
    """Colour and marker of each network; forty differ."""
    return [(_COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)]) for i in range(count)]


def _legend(axes: Axes, networks: list[str]) -> None:
    """The forest's marks, and which mark above is which network."""
    from matplotlib.lines import Line2D

    handles, labels = axes.get_legend_handles_labels()
    if networks:
        handles.append(Line2D([], [], linestyle="none"))
        labels.append("networks above:")
    for name, (colour, marker) in zip(networks, _looks(len(networks)), strict=True):
        handles.append(Line2D([], [], color=colour, marker=marker, lw=1, ms=5))
        labels.append(name)
    axes.legend(
        handles, labels, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8
    )


def _fitted(axes: Axes, effects: Effects, name: str, x: Floats) -> None:
    """The slope that is tested, through the mean of the networks; straight on the model's scale."""
    test, stage = effects[name].test, effects.stages[INTERCEPT]
    known = np.isfinite(x)
    if not np.isfinite(test.estimate) or known.sum() < 2:
        return
    (found,) = (one for one in PROPERTIES if one.name == name)
    scaled = found.transformed(x[known])
    ends = [int(scaled.argmin()), int(scaled.argmax())]
    line = np.mean(stage.estimate[known]) + test.estimate * (scaled[ends] - scaled.mean())
    axes.plot(x[known][ends], line, color="0.45", lw=1, zorder=0)


def _forest(axes: Axes, shown: list[Effect]) -> None:
    rows = np.arange(len(shown))[::-1]
    value = np.array([e.test.estimate for e in shown])
    low, high = (np.array([getattr(e.test, end) for e in shown]) for end in ("low", "high"))
    for row, effect in zip(rows, shown, strict=True):
        if effect.equivalence is not None:
            bound = effect.equivalence.bound
            axes.fill_between([-bound, bound], row - 0.36, row + 0.36, color="0.88", linewidth=0)
    axes.axvline(0, color="0.5", linewidth=0.8)
    axes.errorbar(
        value,
        rows,
        xerr=[value - low, high - value],
        fmt="o",
        color=_BLUE,
        markersize=4,
        linewidth=1.2,
        label="estimate, 95% interval",
    )
    true = np.array([e.truth for e in shown])
    if np.isfinite(true).any():
        axes.plot(true, rows, "x", color=_ORANGE, markersize=6, label="true value (simulation)")
    if any(e.equivalence is not None for e in shown):
        axes.fill_between(
            [], [], [], color="0.88", label="smaller than the smallest\neffect of interest"
        )
    axes.set_yticks(rows, [f"{e.label} ({e.networks})" for e in shown])
    axes.set_ylim(-0.7, len(shown) - 0.3)
    axes.set_xlabel("log-odds (number of networks in brackets)")
