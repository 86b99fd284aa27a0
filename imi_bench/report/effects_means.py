"""Figure of means: proportion correct by network, mode and difficulty, raw means behind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from imi_bench.effects.cells import cell_means, unit_means
from imi_bench.effects.effect import Effects
from imi_bench.effects.table import HARDER
from imi_bench.provenance import generator
from imi_bench.report.style import defaults, new_canvas, save
from imi_bench.tables import MODES

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["draw_effect_means"]

_COLOURS = dict(zip(("easy", *HARDER), ("#0173b2", "#029e73", "#de8f05", "#d55e00"), strict=True))


def draw_effect_means(effects: Effects, path: Path) -> Path:
    """Draw the model's means with intervals, raw means as diamonds, and units as dots.

    Parameters
    ----------
    effects : Effects
        Of correct and wrong answers, with its model.
    path : Path
        Of the figure; the suffix chooses PNG, SVG or PDF.

    Returns
    -------
    Path
        `path`.
    """
    import seaborn as sns

    means, units = cell_means(effects), unit_means(effects)
    modes = [mode for mode in MODES if (means["mode"] == mode).any()]
    easy = means[(means["difficulty"] == "easy") & (means["mode"] == modes[0])]
    order = [*easy.sort_values("mean")["network"]]
    order += [name for name in means["network"].unique() if name not in order]
    with defaults(**sns.axes_style("ticks"), **{"svg.hashsalt": "means", "font.size": 9}):
        canvas = new_canvas(figsize=(5.2 * len(modes), 4.6), layout="constrained")
        panels = canvas.subplots(1, len(modes), sharey=True, squeeze=False)[0]
        for axes, mode in zip(panels, modes, strict=True):
            _panel(axes, means[means["mode"] == mode], units[units["mode"] == mode], order)
            axes.set_title(f"{mode} exemplars", fontsize=10)
        panels[0].set_ylabel("proportion correct")
        handles = panels[0].get_legend_handles_labels()
        panels[0].legend(*handles, frameon=False, fontsize=8, loc="lower left")
        made_up = "simulated " if effects.simulated else ""
        canvas.suptitle(
            f"{effects.who}: means over units and people with 95% intervals; diamonds: raw means; "
            f"dots: units ({effects.n:,} {made_up}answers)",
            fontsize=9,
        )
        sns.despine(canvas)
        return save(canvas, path)


def _panel(axes: Axes, means: pd.DataFrame, units: pd.DataFrame, order: list[str]) -> None:
    kinds = [name for name in _COLOURS if (means["difficulty"] == name).any()]
    width, chance = 0.8 / len(kinds), generator(0, "jitter")
    place: dict[tuple[str, str], float] = {}
    for network, shown in means.groupby("network")["difficulty"]:
        own = [name for name in kinds if name in set(shown)]
        for number, kind in enumerate(own):
            shift = (number - 0.5 * (len(own) - 1)) * width
            place[str(network), kind] = order.index(str(network)) + shift
    for kind in kinds:
        part, dots = (one[one["difficulty"] == kind] for one in (means, units))
        where = np.array([place[name, kind] for name in dots["network"]])
        across = where + chance.uniform(-0.3, 0.3, len(where)) * width
        axes.plot(across, dots["raw"], ".", color=_COLOURS[kind], alpha=0.15, markersize=3)
        x = np.array([place[name, kind] for name in part["network"]])
        error = np.stack([part["mean"] - part["low"], part["high"] - part["mean"]])
        axes.errorbar(
            x,
            part["mean"],
            yerr=error,
            fmt="o",
            color=_COLOURS[kind],
            markeredgecolor="white",
            capsize=2,
            label=kind,
            zorder=3,
        )
        axes.plot(x, part["raw"], "D", color="black", fillstyle="none", markersize=4, zorder=4)
    axes.set_xticks(range(len(order)), order, rotation=35, ha="right")
    axes.axhline(0.5, color="0.7", linewidth=0.8, linestyle="--")
