"""A figure of marginal means, with what people answered behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from imi_bench.glmm.prediction import labels_of
from imi_bench.plots import new_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from imi_bench.glmm.means import MarginalMeans

_COLOURS = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#56b4e9")


def draw_means(
    means: MarginalMeans, *, raw: pd.DataFrame | None = None, ax: Axes | None = None
) -> Axes:
    """Draw means along the first variable, one colour for each cell of the others.

    Parameters
    ----------
    means : MarginalMeans
        Of `imi_bench.glmm.means.marginal_means`.
    raw : DataFrame, optional
        Of `imi_bench.glmm.means.raw_means`, drawn as dots behind.
    ax : Axes, optional
        To draw on.
    """
    ax = new_axes(ax, width=6.5)
    first, others = (means.names or ("",))[0], means.names[1:]
    places = list(dict.fromkeys(cell.get(first, "all") for cell in means.cells))
    groups: dict[str, list[int]] = {}
    for index, cell in enumerate(means.cells):
        groups.setdefault(labels_of({n: cell[n] for n in others}), []).append(index)
    width = 0.6 / max(len(groups), 1)
    chance = np.random.default_rng(0)
    for number, (label, members) in enumerate(groups.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        shift = (number - 0.5 * (len(groups) - 1)) * width
        x = np.array([places.index(means.cells[i].get(first, "all")) for i in members]) + shift
        if raw is not None:
            for index, place in zip(members, x, strict=True):
                seen = _within(raw, means.cells[index])
                across = place + chance.uniform(-0.3, 0.3, len(seen)) * width
                ax.plot(across, seen, ".", color=colour, alpha=0.25, markersize=4, zorder=1)
        estimate = means.estimate[members]
        below, above = estimate - means.low[members], means.high[members] - estimate
        ax.errorbar(
            x,
            estimate,
            yerr=np.stack([below, above]),
            fmt="o",
            color=colour,
            markeredgecolor="white",
            capsize=3,
            label=label or None,
            zorder=3,
        )
    turned = len(places) > 5 or max(len(str(p)) for p in places) > 10
    ax.set_xticks(range(len(places)), [_tick(p) for p in places], rotation=30 if turned else 0)
    if turned:
        for tick in ax.get_xticklabels():
            tick.set_horizontalalignment("right")
    ax.set_xlabel(first)
    averaged = "averaged over random effects" if means.over == "population" else "typical level"
    ax.set_ylabel(f"{means.quantity}\n({averaged}, {means.level:.0%} interval)")
    if others:
        ax.legend(title=None, frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _tick(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _within(raw: pd.DataFrame, cell: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    rows = np.ones(len(raw), dtype=bool)
    for name, value in cell.items():
        column = raw[name].astype(str) if isinstance(value, str) else raw[name]
        rows &= (column == value).to_numpy()
    return raw.loc[rows, "mean"].to_numpy(dtype=float)
