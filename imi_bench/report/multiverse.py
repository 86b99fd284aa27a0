"""Figure of a multiverse: each number over all universes, sorted, above the rules in force."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imi_bench.arguments import checked
from imi_bench.errors import UnknownNameError
from imi_bench.release.multiverse import LEVELS, Multiverse
from imi_bench.report.style import defaults, panels, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UNITS = {
    "means": "proportion correct",
    "networks": "proportion correct",
    "scale": "Spearman's rho",
    "kruskal": "Kruskal-Wallis test",
}
_COLOURS = {"stricter": "0.15", "published": "#0173b2", "laxer": "0.75"}


@checked
def draw_multiverse(found: Multiverse, path: Path, *, number: str | None = None) -> Path:
    """Draw one number's specification curve; the suffix of `path` chooses PNG, SVG or PDF.

    Parameters
    ----------
    found : Multiverse
    path : Path
    number : str, optional
        The first of the analysis by default.

    Raises
    ------
    UnknownNameError
        If the analysis has no such number.
    """
    import seaborn as sns

    number = found.numbers[0] if number is None else number
    UnknownNameError.unless_among(number, found.numbers, kind="number")
    ordered = found.frame.sort_values(number, kind="stable").reset_index(drop=True)
    with defaults(**sns.axes_style("ticks"), **{"svg.hashsalt": "multiverse"}):
        figure = {"figsize": (9, 6), "layout": "constrained"}
        canvas, grid = panels(2, 1, figure=figure, sharex=True, height_ratios=(3, 2))
        above, below = grid[:, 0]
        _curve(above, found, ordered, number)
        _levels(below, ordered, found.rules)
        sns.despine(canvas)
        return save(canvas, path)


def _curve(axes: Axes, found: Multiverse, ordered: Any, number: str) -> None:
    at = float(found.published_row()[number])
    published = (ordered[list(found.rules)] == "published").all(axis=1).to_numpy()
    place = np.arange(len(ordered))
    axes.plot(place, ordered[number], ".", color="0.5", markersize=3, label="universe")
    axes.plot(
        place[published],
        ordered.loc[published, number],
        "D",
        color=_COLOURS["published"],
        label=f"published rules: {at:.4g}",
    )
    axes.axhline(at, color=_COLOURS["published"], linewidth=0.8)
    unit = _UNITS.get(found.analysis)
    axes.set_ylabel(number if unit is None else f"{unit}: {number}")
    axes.legend(frameon=False, loc="upper left")
    made_up = ", simulated answers" if found.simulated else ""
    axes.set_title(
        f"{number} under {len(ordered)} combinations of exclusion rules "
        f"({found.distinct} distinct{made_up})",
        loc="left",
        fontsize=11,
    )


def _levels(axes: Axes, ordered: Any, rules: tuple[str, ...]) -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    codes = np.array([[LEVELS.index(level) for level in ordered[rule]] for rule in rules])
    colours = ListedColormap([_COLOURS[level] for level in LEVELS])
    axes.imshow(codes, aspect="auto", cmap=colours, vmin=0, vmax=2, interpolation="nearest")
    for line in range(1, len(rules)):
        axes.axhline(line - 0.5, color="white", linewidth=3)
    axes.set_yticks(range(len(rules)), [rule.replace("_", " ") for rule in rules])
    axes.set_xlabel("universe, sorted by the number above")
    axes.legend(
        handles=[Patch(color=_COLOURS[level], label=level) for level in LEVELS],
        frameon=False,
        ncols=3,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.22),
        handlelength=1.0,
    )
