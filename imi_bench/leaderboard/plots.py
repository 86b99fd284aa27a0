"""Small inline SVG figures: no plotting library, so that hundreds of pages render in seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from imi_bench.stats.estimate import Estimate

_INTERVAL = Markup(
    '<svg class="interval" viewBox="0 0 200 20" role="img" aria-label="{label}" style="visibility:'
    '{visible}"><line class="chance" x1="{chance}" x2="{chance}" y1="1" y2="19"/>{ceiling}'
    '<line class="bar" x1="{low}" x2="{high}" y1="10" y2="10"/>'
    '<circle class="dot" cx="{value}" cy="10" r="4"/></svg>'
)
_CEILING = Markup('<line class="ceiling" x1="{x}" x2="{x}" y1="1" y2="19"/>')


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
    return _INTERVAL.format(
        label=str(estimate),
        visible="visible" if defined else "hidden",
        chance=x(chance),
        ceiling=_CEILING.format(x=x(ceiling)) if ceiling is not None else "",
        low=x(low),
        high=x(high),
        value=x(value),
    )


_FIGURE = Markup(
    '<svg class="figure" viewBox="0 0 300 280" role="img" aria-label="{title}">'
    '<text x="42" y="14">{title}</text><rect class="frame" x="42" y="24" width="240" height="210"/>'
    "{ticks}{guide}{marks}"
    '<text x="162" y="274" text-anchor="middle">{x_label}</text>'
    '<text transform="translate(11 129) rotate(-90)" text-anchor="middle">{y_label}</text></svg>'
)


def scatter(
    points: Sequence[tuple[float, float]],
    *,
    title: str,
    x_label: str,
    y_label: str,
    bars: Sequence[tuple[float, float]] = (),
) -> Markup:
    """Points in the unit square with the diagonal; `bars` are vertical intervals, one a point."""

    def at(x: float, y: float) -> tuple[str, str]:
        return f"{42 + 240 * x:.1f}", f"{234 - 210 * y:.1f}"

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
        ticks += Markup('<text x="{}" y="250" text-anchor="middle">{}</text>').format(left, label)
        ticks += Markup('<text x="37" y="{}" text-anchor="end" dy="4">{}</text>').format(top, label)
    (x1, y1), (x2, y2) = at(0, 0), at(1, 1)
    guide = Markup('<line class="guide" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(x1, y1, x2, y2)
    return _FIGURE.format(
        title=title,
        ticks=ticks,
        guide=guide,
        marks=Markup(marks),
        x_label=x_label,
        y_label=y_label,
    )
