"""The four figures of residuals by simulation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from imi_bench.glmm.residuals import SimulatedResiduals

_BLUE, _ORANGE, _GREY = "#0173b2", "#de8f05", "#777777"


def draw_residuals(found: SimulatedResiduals) -> Figure:
    """Draw quantiles, residuals against fitted values, a histogram, and means by group."""
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(9.0, 7.0), layout="constrained")
    axes = canvas.subplots(2, 2)
    tests = {test.name: test for test in found.tests}
    _quantiles(axes[0, 0], found)
    axes[0, 0].set_title(
        f"uniformity: p = {tests['uniformity'].p:.3f}; dispersion: p = {tests['dispersion'].p:.3f}"
    )
    _against_fitted(axes[0, 1], found)
    axes[0, 1].set_title(f"trend: p = {tests['trend'].p:.3f}")
    axes[1, 0].hist(found.residual, bins=20, range=(0.0, 1.0), color=_BLUE, edgecolor="white")
    axes[1, 0].axhline(len(found.residual) / 20, color=_ORANGE)
    axes[1, 0].set(xlabel="residual", ylabel="answers")
    axes[1, 0].set_title(f"outliers: p = {tests['outliers'].p:.3f}")
    _by_group(axes[1, 1], found)
    for one in axes.flat:
        one.spines[["top", "right"]].set_visible(False)
        one.title.set_fontsize(10)
    return canvas


def _quantiles(ax: Axes, found: SimulatedResiduals) -> None:
    rising = np.sort(found.residual)
    expected = (np.arange(len(rising)) + 0.5) / len(rising)
    ax.plot([0, 1], [0, 1], color=_ORANGE)
    ax.plot(expected, rising, ".", color=_BLUE, markersize=3)
    ax.set(xlabel="expected, if the model is right", ylabel="residual")


def _against_fitted(ax: Axes, found: SimulatedResiduals) -> None:
    rank = np.argsort(np.argsort(found.fitted, kind="stable"), kind="stable")
    place = (rank + 0.5) / len(rank)
    dots = slice(None, None, max(1, len(rank) // 4_000))
    ax.plot(place[dots], found.residual[dots], ".", color=_GREY, alpha=0.3, markersize=2)
    parts = np.array_split(np.argsort(found.fitted, kind="stable"), 20)
    middle = [float(place[part].mean()) for part in parts]
    for quantile in (0.25, 0.5, 0.75):
        values = [float(np.quantile(found.residual[part], quantile)) for part in parts]
        ax.plot(middle, values, color=_BLUE)
        ax.axhline(quantile, color=_ORANGE, linestyle="--", linewidth=0.8)
    ax.set(xlabel="fitted value (rank)", ylabel="residual and its quartiles")


def _by_group(ax: Axes, found: SimulatedResiduals) -> None:
    names = list(found.groups)
    data = [list(found.groups[name].values()) for name in names]
    ax.boxplot(data, widths=0.5, medianprops={"color": _BLUE})
    ax.set_xticks(
        range(1, len(names) + 1), [f"{n} ({len(d)})" for n, d in zip(names, data, strict=True)]
    )
    ax.axhline(0.5, color=_ORANGE)
    ax.set(ylabel="mean residual of a level")
    ax.set_title("by grouping factor (levels)")
