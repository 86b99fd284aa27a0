"""Axes to draw on, and the kinds of plot that most results need.

Nothing here touches `matplotlib.pyplot`: no backend is chosen, no figure of the caller's is closed
or made current. Without axes of the caller's a figure of its own is made; ``ax.figure`` shows it
in a notebook, ``ax.figure.savefig(path)`` writes it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Interval", "bars", "broken", "forest", "histogram", "new_axes"]

BLUE = "#0173b2"
_TITLE = 46  # characters that fit beside long labels
_LABEL = 38  # characters of a label that leave room for the intervals


class Interval(NamedTuple):
    """A row of a forest plot; NaN are left out. Grey goes from -bound to bound."""

    label: str
    value: float
    low: float = math.nan
    high: float = math.nan
    bound: float = math.nan


def new_axes(ax: Axes | None = None, *, width: float = 6.4, height: float = 4.0) -> Axes:
    """The caller's axes, or those of a new figure of `width` x `height` inches."""
    if ax is not None:
        return ax
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained").subplots()


def forest(
    rows: Iterable[Interval],
    *,
    xlabel: str,
    title: str = "",
    reference: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw values with their intervals, the first row on top.

    Parameters
    ----------
    rows : iterable of Interval
    xlabel, title : str
    reference : float, optional
        Where a line is drawn, such as 0 for differences.
    ax : Axes, optional
        Matplotlib Axes, optional.

    Examples
    --------
    >>> forest([Interval("a", 1.0, 0.5, 1.5)], xlabel="bits").get_xlabel()
    'bits'
    """
    listed = list(rows)
    labels = [broken(row.label) for row in listed]
    lines = max((label.count("\n") + 1 for label in labels), default=1)
    ax = new_axes(ax, height=1.2 + (0.1 + 0.2 * lines) * len(listed))
    places = range(len(listed))
    for place, row in zip(places, listed, strict=True):
        if math.isnan(row.value):
            ax.text(0.02, place, "undefined", transform=ax.get_yaxis_transform(), va="center")
            continue
        if not math.isnan(row.bound):
            ax.fill_between(
                [-row.bound, row.bound], place - 0.36, place + 0.36, color="0.88", linewidth=0
            )
        if not math.isnan(row.low):
            ax.plot([row.low, row.high], [place, place], color=BLUE, linewidth=1.2)
        ax.plot([row.value], [place], "o", color=BLUE, markersize=4)
    if reference is not None:
        ax.axvline(reference, color="0.5", linewidth=0.8, zorder=0)
    return _listed(ax, labels, xlabel, title)


def bars(
    values: Mapping[str, float],
    *,
    xlabel: str,
    title: str = "",
    wanted: Mapping[str, float] | None = None,
    most: int = 40,
    ax: Axes | None = None,
) -> Axes:
    """Draw a number for each label, the first one on top.

    Parameters
    ----------
    values : mapping of str to float
        NaN are left out, and say so.
    xlabel, title : str
    wanted : mapping of str to float, optional
        What each should reach: a tick.
    most : int
        So many are drawn; how many more there are stands below the last.
    ax : Axes, optional
        Matplotlib Axes, optional.

    Examples
    --------
    >>> len(bars({"a": 1.0, "b": 2.0}, xlabel="rows").patches)
    2
    """
    listed = list(values.items())[:most]
    labels = [broken(name) for name, _ in listed]
    more = len(values) - len(listed)
    lines = max((label.count("\n") + 1 for label in labels), default=1)
    ax = new_axes(ax, height=1.2 + (0.1 + 0.2 * lines) * len(listed))
    for place, (name, value) in enumerate(listed):
        if math.isnan(value):
            ax.text(0.02, place, "undefined", transform=ax.get_yaxis_transform(), va="center")
        else:
            ax.barh(place, value, height=0.6, color=BLUE)
        if wanted is not None:
            ax.plot([wanted[name]], [place], "|", color="0.3", markersize=12)
    return _listed(ax, labels, f"{xlabel} ({more} more not drawn)" if more > 0 else xlabel, title)


def histogram(
    values: Sequence[float] | Any,
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    within: tuple[float, float] | None = None,
    reference: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how numbers are spread; how many are missing is said below.

    Parameters
    ----------
    values : (n,) float
    xlabel, ylabel, title : str
    within : (float, float), optional
        Ends of the axis; those of the numbers by default.
    reference : float, optional
        Where a line is drawn.
    ax : Axes, optional
        Matplotlib Axes, optional.

    Examples
    --------
    >>> histogram([0.1, 0.2, float("nan")], xlabel="score", ylabel="units").get_xlabel()
    'score (1 undefined)'
    """
    known = [float(one) for one in values if math.isfinite(one)]
    gone = len(values) - len(known)
    ax = new_axes(ax)
    if known:
        ax.hist(known, bins=40, range=within, color=BLUE)
    if reference is not None:
        ax.axvline(reference, color="0.5", linewidth=0.8)
    ax.set(xlabel=f"{xlabel} ({gone} undefined)" if gone else xlabel, ylabel=ylabel)
    return _dressed(ax, title)


def _listed(ax: Axes, labels: Sequence[str], xlabel: str, title: str) -> Axes:
    """A row a label, from the top."""
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(max(len(labels), 1) - 0.5, -0.5)
    ax.set_xlabel(xlabel)
    return _dressed(ax, title)


def _dressed(ax: Axes, title: str) -> Axes:
    ax.set_title(fill(title, _TITLE), loc="left", fontsize="small")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def broken(label: str, most: int = _LABEL) -> str:
    r"""A label in lines of at most so many characters, broken behind what is no letter.

    Examples
    --------
    >>> broken("a_long_name.of-an-observer", 12)
    'a_long_name.\nof-an-\nobserver'
    """
    lines = [""]
    for part in re.findall(rf"[^\W_]{{1,{most - 1}}}[\W_]?|[\W_]", label):
        if len(lines[-1]) + len(part) > most:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.strip() for line in lines)
