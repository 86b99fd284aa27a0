"""Figures of the report: inline SVG in one style, the same bytes for the same numbers.

Every figure draws intervals, labels its axes with units and marks chance. Text and lines take the
page's own colours (CSS variables), so that a figure follows a dark or a light page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imi_bench.report.style import INK, LINE, MARKERS, MUTED, PALETTE, as_svg, panels, styled
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.scales import Z95

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

PANEL = "panel"
PUBLISHED = "published"
MOST_OBSERVERS = len(PALETTE)
# Inches; narrow, so that text stays legible on a phone.
_WIDTH = 4.4
# Sides of square panes, by how many stand in a row: a figure is never narrower than its column,
# in which it would be enlarged with its text.
_PANE_SIDES = {1: 2.4, 2: 1.9, 3: 1.38}


@dataclass(frozen=True)
class Figure:
    """A finished figure.

    Attributes
    ----------
    name : str
        Unique in a page; prefix of the SVG's ids.
    title, caption : str
        The caption says what is drawn, what the intervals are, and how many answers stand behind.
    alt : str
        What it shows in a sentence, for those who cannot see it; the numbers are in `table`.
    svg : str
    header : tuple of str
    table : tuple of tuple of str
        The numbers drawn; empty where they stand elsewhere on the page.
    """

    name: str
    title: str
    caption: str
    alt: str
    svg: str
    header: tuple[str, ...] = ()
    table: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Dot:
    """One estimate and where it stands.

    Attributes
    ----------
    series : str
        Whose estimate: an observer, `PANEL` or `PUBLISHED`.
    row : str
        Position on the vertical axis: a network, a difficulty, an observer.
    facet : str
        Which of the panes.
    estimate : Estimate
    """

    series: str
    row: str
    facet: str
    estimate: Estimate


@dataclass(frozen=True, eq=False)
class Pairs:
    """One pane of points against points.

    Attributes
    ----------
    title : str
        Whose pane: an observer.
    x, y : (N,) float64
    low, high : (N,) float64 or None
        Ends of the interval of `y`.
    note : str
        Stands under the title.
    """

    title: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    low: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None
    note: str = ""


def looks_of(names: Sequence[str]) -> Mapping[str, tuple[str, str]]:
    """Colour and marker of each observer, the same in all figures of a page."""
    looks = {
        name: (PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(names)
    }
    return looks | {PANEL: (INK, "D"), PUBLISHED: (MUTED, "d")}


def dots(
    points: Sequence[Dot],
    *,
    name: str,
    title: str,
    caption: str,
    alt: str,
    axis: str,
    labels: Mapping[str, str],
    looks: Mapping[str, tuple[str, str]],
    reference: float | None = 0.5,
    band: Mapping[str, tuple[float, float]] | None = None,
    limits: tuple[float, float] | None = None,
    legend: bool = True,
) -> Figure:
    """Dots with whiskers: one line a series within each row, one pane a facet.

    Parameters
    ----------
    points : sequence of Dot
        Rows, facets and series come in the order in which they first appear.
    axis : str
        Label of the horizontal axis, with its unit.
    labels : mapping
        What to print for a row, facet or series; itself where missing.
    looks : mapping
        Colour and marker of each series (see `looks_of`).
    reference : float, optional
        Where the line of chance stands.
    alt : str
        What is seen, in a sentence.
    band : mapping of str to (float, float), optional
        A shaded range, such as the interval of the human ceiling.
    """
    rows, facets, series = (
        list(dict.fromkeys(getattr(point, part) for point in points))
        for part in ("row", "facet", "series")
    )
    crowd = 1 if set(series) == set(rows) else len(series)
    height = (
        0.95
        + (0.17 * math.ceil(len(series) / 2) + 0.1) * legend
        + len(rows) * (0.16 * crowd + 0.14)
    )
    with styled(PALETTE):
        figure = {"figsize": (_WIDTH, height), "layout": "constrained"}
        canvas, axes = panels(1, len(facets), figure=figure, sharey=True)
        canvas.get_layout_engine().set(wspace=0.12)
        for axes_of_facet, facet in zip(axes[0], facets, strict=True):
            if band and facet in band:
                axes_of_facet.axvspan(*band[facet], color=MUTED, alpha=0.22, lw=0)
            if reference is not None:
                axes_of_facet.axvline(reference, color=MUTED, lw=1, ls=(0, (4, 3)), zorder=1)
            here = [point for point in points if point.facet == facet]
            _whiskers(axes_of_facet, here, rows=rows, series=series, crowd=crowd, looks=looks)
            axes_of_facet.set(title=labels.get(facet, facet), xlabel=axis, xlim=limits)
            for edge in range(1, len(rows)):
                axes_of_facet.axhline(edge - 0.5, color=LINE, lw=0.8, zorder=0)
        axes[0][0].set_yticks(range(len(rows)), [_short(labels.get(row, row)) for row in rows])
        axes[0][0].set_ylim(len(rows) - 0.5, -0.5)
        if legend:
            _legend(canvas, series, looks, labels)
        return Figure(
            name, title, caption, alt, as_svg(canvas, name), *_numbers(points, labels, axis)
        )


def _whiskers(
    axes: Axes,
    points: Sequence[Dot],
    *,
    rows: Sequence[str],
    series: Sequence[str],
    crowd: int,
    looks: Mapping[str, tuple[str, str]],
) -> None:
    for point in points:
        estimate = point.estimate
        if math.isnan(estimate.value):
            continue
        colour, marker = looks[point.series]
        shift = 0.0
        if crowd > 1:
            shift = 0.78 * ((series.index(point.series) + 0.5) / crowd - 0.5)
        height = rows.index(point.row) + shift
        if not math.isnan(estimate.low):
            axes.plot([estimate.low, estimate.high], [height] * 2, color=colour, lw=1.6, zorder=2)
        axes.plot(estimate.value, height, marker, color=colour, ms=5, mew=0, zorder=3)


def _legend(
    canvas: Canvas,
    series: Sequence[str],
    looks: Mapping[str, tuple[str, str]],
    labels: Mapping[str, str],
) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            color=looks[s][0],
            marker=looks[s][1],
            ms=5,
            lw=1.6,
            label=_short(labels.get(s, s)),
        )
        for s in series
    ]
    canvas.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)


def scatter(
    panes: Sequence[Pairs],
    *,
    name: str,
    title: str,
    caption: str,
    alt: str,
    axes_labels: tuple[str, str],
    looks: Mapping[str, tuple[str, str]],
    labels: Mapping[str, str],
    joined: bool = False,
    answers: float | None = None,
) -> Figure:
    """Small panes of points around the line of equality.

    Parameters
    ----------
    panes : sequence of Pairs
    axes_labels : (str, str)
        With units.
    looks : mapping
        Colour and marker of each pane's observer (see `looks_of`).
    joined : bool
        Join the points, as in a reliability diagram.
    answers : float, optional
        Answers behind each value of the horizontal axis: a band then shows where 95% of such
        values would fall by sampling alone.
    """
    columns = min(3, len(panes))
    depth = math.ceil(len(panes) / columns)
    with styled(PALETTE):
        size = (_WIDTH, (_PANE_SIDES[columns] + 0.28) * depth + 0.34)
        figure = {"figsize": size, "layout": "constrained"}
        canvas, grid = panels(depth, columns, figure=figure, sharex=True, sharey=True)
        for number, axes in enumerate(grid.ravel()):
            if number >= len(panes):
                axes.set_visible(False)
                continue
            _equality(axes, answers)
            _points(axes, panes[number], look=looks[panes[number].title], joined=joined)
            heading = _short(labels.get(panes[number].title, panes[number].title), most=20)
            axes.set_title(f"{heading}\n{panes[number].note}", fontsize=9)
            axes.tick_params(labelbottom=number + columns >= len(panes))
        canvas.supxlabel(axes_labels[0], fontsize=10)
        canvas.supylabel(axes_labels[1], fontsize=10)
        rows = tuple((labels.get(p.title, p.title), p.note, f"{len(p.x):,}") for p in panes)
        header = ("observer", "summary", "points")
        return Figure(name, title, caption, alt, as_svg(canvas, name), header, rows)


def _equality(axes: Axes, answers: float | None) -> None:
    """Square axes from 0 to 1 with the line on which both agree."""
    line = np.linspace(0, 1, 101)
    axes.plot(line, line, color=MUTED, lw=1, ls=(0, (4, 3)), zorder=1)
    if answers:
        half = Z95 * np.sqrt(line * (1 - line) / answers)
        axes.fill_between(line, line - half, line + half, color=MUTED, alpha=0.18, lw=0, zorder=0)
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.grid(visible=True, axis="both")
    axes.set_aspect("equal")


def _points(axes: Axes, pane: Pairs, *, look: tuple[str, str], joined: bool) -> None:
    colour, marker = look
    if pane.low is not None and pane.high is not None:
        axes.vlines(pane.x, pane.low, pane.high, color=colour, lw=1.4, zorder=2)
    if joined:
        axes.plot(pane.x, pane.y, color=colour, lw=1.4, zorder=2)
    axes.scatter(pane.x, pane.y, s=18, marker=marker, color=colour, alpha=0.8, lw=0, zorder=3)


def _short(text: str, *, most: int = 36) -> str:
    """A name that fits a figure: a long one loses its middle; the table has it whole."""
    return text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-(most // 2) :]}"


def _numbers(
    points: Sequence[Dot], labels: Mapping[str, str], axis: str
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Header and rows of the table behind a figure of dots."""
    facets = any(point.facet for point in points)
    same = all(point.series == point.row for point in points)

    def named(point: Dot) -> tuple[str, ...]:
        places = (
            ((point.facet,) if facets else ())
            + (point.row,)
            + ((point.series,) if not same else ())
        )
        return tuple(labels.get(place, place) for place in places)

    header = (("pane",) if facets else ()) + ("row",) + (("observer",) if not same else ())
    rows = tuple(
        (*named(p), str(p.estimate), f"{p.estimate.n:,}", f"{p.estimate.clusters:,}")
        for p in points
    )
    return (*header, f"{axis} [95% interval]", "n", "clusters"), rows
