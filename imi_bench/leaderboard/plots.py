"""Small inline SVG figures: no plotting library, so that hundreds of pages render in seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from imi_bench.stats.estimate import Estimate
from imi_bench.text import html

_AXIS = Markup(
    '<svg class="interval axis" viewBox="0 0 200 26" role="img" aria-label="axis of the intervals: '
    '{unit}"><line x1="4" x2="196" y1="22" y2="22"/>{ticks}</svg>'
)
_TICK = Markup(
    '<line x1="{x}" x2="{x}" y1="18" y2="26"/><text x="{x}" y="13" '
    'text-anchor="{anchor}">{label}</text>'
)


def interval_axis(axis: tuple[float, float], *, unit: str) -> Markup:
    """The axis that `interval` draws on: round numbers, for a table's heading."""
    from matplotlib.ticker import MaxNLocator

    inside = [x for x in MaxNLocator(4).tick_values(*axis) if axis[0] <= x <= axis[1]]
    ticks = Markup("")
    for number, value in enumerate(inside):
        anchor = "middle"
        share = (value - axis[0]) / (axis[1] - axis[0])
        if number == 0 and share < 0.05:
            anchor = "start"
        elif number == len(inside) - 1 and share > 0.95:
            anchor = "end"
        ticks += _TICK.format(x=f"{4 + 192 * share:.2f}", anchor=anchor, label=f"{value:g}")
    return _AXIS.format(unit=unit, ticks=ticks)


def interval(
    estimate: Estimate, *, axis: tuple[float, float], chance: float, ceiling: float | None
) -> Markup:
    """A dot with its interval on a common axis, with marks for chance and ceiling."""

    def x(value: float) -> str:
        clipped = min(max(value, axis[0]), axis[1])
        return f"{4 + 192 * (clipped - axis[0]) / (axis[1] - axis[0]):.2f}"

    defined = not math.isnan(estimate.value)
    value = estimate.value if defined else axis[0]
    low = value if math.isnan(estimate.low) else estimate.low
    high = value if math.isnan(estimate.high) else estimate.high
    guess, visible = x(chance), "visible" if defined else "hidden"
    top = ""
    if ceiling is not None:
        top = f'<line class="ceiling" x1="{x(ceiling)}" x2="{x(ceiling)}" y1="1" y2="19"/>'
    # Numbers, and one text that is escaped: plain formatting is ten times faster than Markup's.
    return Markup(
        f'<svg class="interval" viewBox="0 0 200 20" role="img" aria-label="{html(str(estimate))}"'
        f' style="visibility:{visible}"><line class="chance" x1="{guess}" x2="{guess}" y1="1"'
        f' y2="19"/>{top}<line class="bar" x1="{x(low)}" x2="{x(high)}" y1="10" y2="10"/>'
        f'<circle class="dot" cx="{x(value)}" cy="10" r="4"/></svg>'
    )


_FIGURE = Markup(
    '<figure class="plot"><h3>{title}</h3>'
    '<svg class="figure" viewBox="0 0 306 276" role="img" aria-label="{title}">'
    '<rect class="frame" x="58" y="8" width="240" height="210"/>'
    "{ticks}{guide}{marks}"
    '<text x="178" y="266" text-anchor="middle">{x_label}</text>'
    '<text transform="translate(13 113) rotate(-90)" text-anchor="middle">{y_label}</text></svg>'
    "<figcaption>{caption}</figcaption></figure>"
)


def scatter(
    points: Sequence[tuple[float, float]],
    *,
    title: str,
    x_label: str,
    y_label: str,
    caption: str,
    bars: Sequence[tuple[float, float]] = (),
) -> Markup:
    """Points in the unit square with the diagonal; `bars` are vertical intervals, one a point."""

    def at(x: float, y: float) -> tuple[str, str]:
        return f"{58 + 240 * x:.1f}", f"{218 - 210 * y:.1f}"

    # Numbers only, so nothing to escape: formatted as plain text, which is ten times faster.
    marks = ""
    for (x, _), (low, high) in zip(points, bars, strict=False):
        (x1, y1), (_, y2) = at(x, low), at(x, high)
        marks += f'<line class="bar" x1="{x1}" x2="{x1}" y1="{y1}" y2="{y2}"/>'
    for x, y in points:
        cx, cy = at(x, y)
        marks += f'<circle class="point" cx="{cx}" cy="{cy}" r="3.5"/>'
    ticks = Markup("")
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        left, top = at(tick, tick)
        label = f"{tick:g}"
        ticks += Markup('<text x="{}" y="236" text-anchor="middle">{}</text>').format(left, label)
        ticks += Markup('<text x="52" y="{}" text-anchor="end" dy="4">{}</text>').format(top, label)
    (x1, y1), (x2, y2) = at(0, 0), at(1, 1)
    guide = Markup('<line class="guide" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(x1, y1, x2, y2)
    return _FIGURE.format(
        title=title,
        ticks=ticks,
        guide=guide,
        marks=Markup(marks),
        caption=caption,
        x_label=x_label,
        y_label=y_label,
    )
