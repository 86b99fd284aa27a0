"""Figures of a network's units: depth and spread, where queries lie, how far images were driven."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imi_bench.report.figures import Figure
from imi_bench.report.style import MARKERS, MUTED, PALETTE, as_svg, logarithmic, new_canvas, styled
from imi_bench.report.units.built import BuiltUnits
from imi_bench.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_figures", "histogram"]

_SIZE = (4.4, 3.1)
_NO_WHISKERS = "No whiskers: every mark is one unit as measured, nothing is estimated."


def draw_figures(built: BuiltUnits) -> list[Figure]:
    """The figures that the folder has the numbers for."""
    units = built.units
    made = [
        _by_depth(
            units,
            "spread",
            title="Spread of activations",
            axis="largest minus smallest (log scale)",
            caption="Largest minus smallest activation over all images, in the unit's own scale, "
            f"against the depth of its layer. {_NO_WHISKERS}",
            log=True,
        ),
        _by_depth(
            units,
            "sparsity",
            title="Sparsity",
            axis="share of positions at or below 0",
            caption="Mean over images of the share of positions whose activation is 0 or less, "
            f"against the depth of the unit's layer. {_NO_WHISKERS}",
        ),
    ]
    if built.trials.query_activations is not None:
        made.append(_queries(built))
    if built.visualisations is not None and len(built.visualisations):
        made.append(_driven(built.visualisations))
    return made


def _by_depth(
    units: pd.DataFrame, column: str, *, title: str, axis: str, caption: str, log: bool = False
) -> Figure:
    with styled(PALETTE):
        canvas = new_canvas(figsize=_SIZE, layout="constrained")
        ax = canvas.subplots()
        for number, (kind, part) in enumerate(units.groupby("type", sort=True)):
            ax.scatter(
                part["depth"],
                part[column],
                marker=MARKERS[number % len(MARKERS)],
                s=26,
                alpha=0.85,
                lw=0,
                label=str(kind),
            )
        if log and (units[column] > 0).all():
            logarithmic(ax, "y")
        ax.set(xlabel="depth of the layer (0 first, 1 last)", ylabel=axis, xlim=(-0.05, 1.05))
        ax.grid(visible=True, axis="both")
        _legend(ax)
        svg = as_svg(canvas, column)
    rows = tuple(
        (f"{row.layer} / {row.unit}", str(row.type), f"{row.depth:.3f}", f"{value:.4g}")
        for row, value in zip(units.itertuples(index=False), units[column], strict=True)
    )
    alt = f"{title} of {plural(len(units), 'unit')} against depth, a colour a type of layer"
    return Figure(column, title, caption, alt, svg, ("unit", "type", "depth", axis), rows)


def _queries(built: BuiltUnits) -> Figure:
    """Where the queries lie among all images, one row a difficulty."""
    index = built.trials.index
    main = np.flatnonzero(~index.catch & (index.mode == "natural"))
    share = np.array([built.share_below(int(row)) for row in main]).reshape(-1, 2)
    levels = list(dict.fromkeys(index.difficulty[main].tolist()))
    rows = []
    with styled(PALETTE):
        canvas = new_canvas(figsize=(4.4, 1.5 + 0.55 * len(levels)), layout="constrained")
        ax = canvas.subplots()
        for place, level in enumerate(levels):
            here = share[index.difficulty[main] == level]
            for side, (colour, name) in enumerate(
                ((PALETTE[2], "strong query, q+"), (PALETTE[1], "weak query, q-"))
            ):
                low, middle, high = np.nanpercentile(100 * here[:, side], [0, 50, 100])
                height = place + 0.12 * (2 * side - 1)
                ax.plot([low, high], [height] * 2, color=colour, lw=1.6)
                mark = "os"[side]
                ax.plot(middle, height, mark, color=colour, ms=6, label=name if not place else None)
                rows.append((level, name, f"{middle:.2f}", f"{low:.2f} to {high:.2f}"))
        ax.set_yticks(range(len(levels)), levels)
        ax.set(
            xlabel="images that activate the unit less, %",
            ylim=(len(levels) - 0.5, -0.5),
            xlim=(-3, 103),
        )
        canvas.legend(loc="outside lower center", ncols=2, frameon=False)
        svg = as_svg(canvas, "queries")
    caption = (
        "Share of all images that activate a trial's unit less than its queries do, over the "
        f"{plural(len(main), 'main trial')} with natural references. Marks: medians "
        f"over trials; whiskers: "
        "smallest to largest trial (a range, no interval of confidence)."
    )
    alt = "Where strong and weak queries lie among all images, by difficulty"
    header = ("difficulty", "query", "median, %", "range, %")
    return Figure("queries", "Where the queries lie", caption, alt, svg, header, tuple(rows))


def _driven(table: pd.DataFrame) -> Figure:
    with styled(PALETTE):
        canvas = new_canvas(figsize=_SIZE, layout="constrained")
        ax = canvas.subplots()
        both = np.r_[table["limit"], table["activation"]].astype(np.float64)
        ends = [float(both.min()), float(both.max())]
        ax.plot(ends, ends, color=MUTED, lw=1, ls=(0, (4, 3)))
        for number, (direction, part) in enumerate(table.groupby("direction", sort=True)):
            ax.scatter(
                part["limit"],
                part["activation"],
                marker=MARKERS[number],
                s=26,
                alpha=0.85,
                lw=0,
                label=f"towards {direction}",
            )
        ax.set(xlabel="natural images", ylabel="visualisations")
        ax.grid(visible=True, axis="both")
        _legend(ax)
        svg = as_svg(canvas, "driven")
    rows = tuple(
        (
            f"{row.layer} / {row.unit}",
            str(row.direction),
            f"{row.limit:.4g}",
            f"{row.activation:.4g}",
            "yes" if row.beyond else "level" if row.level else "no",
        )
        for row in table.itertuples(index=False)
    )
    caption = (
        "Mean activation of a unit's feature visualisations against the extreme percentile of its "
        "natural images, in the unit's own scale. Dashed: equal; towards max, marks above it were "
        f"driven beyond natural images, towards min those below. {_NO_WHISKERS}"
    )
    return Figure(
        "driven",
        "How far visualisations drive units",
        caption,
        "Activation of visualisations against that of natural images, a mark a unit",
        svg,
        ("unit", "direction", "natural", "visualisations", "beyond"),
        rows,
    )


def _legend(ax: Axes) -> None:
    ax.figure.legend(loc="outside lower center", ncols=2, frameon=False)


def histogram(values: NDArray[np.float32], marks: Iterable[tuple[float, str]]) -> str:
    """An SVG strip: how all images activate a unit, and where some of them lie.

    Parameters
    ----------
    values : (N,) float32
        One activation an image.
    marks : iterable of (float, str)
        Activations to mark, and the class of each mark in the page's style.

    Returns
    -------
    str
        Without text: what it shows is said beside it.

    Examples
    --------
    >>> histogram(np.float32([0, 0, 1]), [(1.0, "strong")]).count("<line")
    2
    """
    width, height, bins = 240.0, 44.0, 48
    low, high = float(values.min()), float(values.max())
    span = (high - low) or 1.0
    counts, _ = np.histogram(values, bins=bins, range=(low, low + span))
    tall = np.sqrt(counts / max(counts.max(), 1)) * (height - 6)
    step = width / bins
    bars = "".join(
        f"M{i * step:.1f} {height:.0f}v-{tall[i]:.1f}h{step - 0.8:.1f}v{tall[i]:.1f}z"
        for i in np.flatnonzero(counts)
    )
    lines = "".join(
        f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height:.0f}"/>'
        for value, kind in marks
        for x in [min(max((value - low) / span, 0.0), 1.0) * width]
    )
    floor = f'<line class="floor" x1="0" x2="{width:.0f}" y1="{height:.0f}" y2="{height:.0f}"/>'
    return (
        f'<svg class="strip" viewBox="-2 0 {width + 4:.0f} {height + 1:.0f}" aria-hidden="true" '
        f'focusable="false"><path d="{bars}"/>{floor}{lines}</svg>'
    )
