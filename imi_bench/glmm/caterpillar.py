"""Random effects with their intervals given the data, as a table and as a caterpillar plot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from imi_bench.arguments import checked, checked_level
from imi_bench.errors import UnknownNameError
from imi_bench.glmm.result import GlmmResult, RandomEffects
from imi_bench.text import plural

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BLUE, _GREY = "#0173b2", "#999999"
_MOST_LABELS = 60


@checked
def conditional_effects(
    result: GlmmResult, *, group: str | None = None, level: float = 0.95
) -> pd.DataFrame:
    """Return each level's effects with the interval of the effect given the data.

    Parameters
    ----------
    result : GlmmResult
    group : str, optional
        Only this grouping factor.
    level : float
        Of the intervals; the parameters are taken as known, as R's ``ranef(condVar=TRUE)``.

    Returns
    -------
    table : group, level, name, mode, conditional_sd, low, high.
    """
    _chosen(result, group)
    half = float(special.ndtri(0.5 + 0.5 * checked_level(level)))
    frame = result.modes_frame()
    if group is not None:
        frame = frame[frame["group"] == group].reset_index(drop=True)
    reach = half * frame["conditional_sd"]
    return frame.assign(low=frame["mode"] - reach, high=frame["mode"] + reach)


def _chosen(result: GlmmResult, group: str | None) -> list[RandomEffects]:
    known = {effect.group: effect for effect in result.random}
    if group is None:
        return list(known.values())
    UnknownNameError.unless_among(group, known, kind="grouping factor")
    return [known[group]]


@checked
def draw_caterpillar(
    result: GlmmResult, *, group: str | None = None, level: float = 0.95
) -> Figure:
    """Draw the effects of every level in order of size, one panel for each random effect."""
    from matplotlib.figure import Figure

    chosen = _chosen(result, group)
    panels = [(effect, index) for effect in chosen for index in range(len(effect.names))]
    tallest = max(min(len(effect.levels), _MOST_LABELS) for effect in chosen)
    size = (1.0 + 3.2 * len(panels), 1.4 + 0.14 * tallest)
    canvas = Figure(figsize=size, layout="constrained")
    axes = canvas.subplots(1, len(panels), squeeze=False)
    half = float(special.ndtri(0.5 + 0.5 * level))
    for ax, (effect, index) in zip(axes[0], panels, strict=True):
        _panel(ax, effect, index, half)
    canvas.supxlabel(
        f"effect on the linear predictor\n({level:.0%} interval given the data)", fontsize=9
    )
    return canvas


def _panel(ax: Axes, effect: RandomEffects, index: int, half: float) -> None:
    order = np.argsort(effect.modes[:, index], kind="stable")
    mode, sd = effect.modes[order, index], effect.conditional_sd[order, index]
    place = np.arange(len(order))
    ax.hlines(place, mode - half * sd, mode + half * sd, color=_GREY, linewidth=0.8)
    ax.plot(mode, place, "o", color=_BLUE, markersize=3)
    ax.axvline(0.0, color=_GREY, linestyle="--", linewidth=0.8)
    if len(order) <= _MOST_LABELS:
        ax.set_yticks(place, [effect.levels[k] for k in order], fontsize=6)
    else:
        ax.set_yticks([])
        ax.set_ylabel(plural(len(order), "level"))
    ax.set_ylim(-1, len(order))
    ax.set_title(f"{effect.group}: {effect.names[index]}", fontsize=9)
    ax.spines[["top", "right"]].set_visible(False)
