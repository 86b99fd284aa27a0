"""The page of a learned measure."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from imi_bench.pages.shell import environment
from imi_bench.stats.estimate import bracketed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from imi_bench.measure.result import Learned


@dataclass(frozen=True)
class _Grid:
    """A table of a page: words in the first column, numbers in the others."""

    caption: str
    columns: list[str]
    rows: list[list[str]]


def page(found: Learned) -> str:
    """The page as HTML; loads nothing from elsewhere."""
    from markupsafe import Markup

    shown: dict[str, Any] = {
        "parts": _parts(found),
        "conditions": _conditions(found),
        "log": _log(found),
        "figures": [
            Markup(_svg(axes, f"figure{number}"))
            for number, axes in enumerate((found.plot(), _curves(found)))
            if axes is not None
        ],
    }
    template = environment("imi_bench.measure").get_template("learned.html.j2")
    return str(template.render(found=found, **shown))


def _parts(found: Learned) -> _Grid:
    frame = found.to_frame()
    return _Grid(
        "Bits an answer above chance and weights, value "
        f"[{found.bits.level:.0%} interval]. The weights are those of "
        "the fit to all units; their intervals come from a bootstrap over units. Where there is no "
        "bracket none was computed.",
        ["part", "bits an answer", "weight"],
        [
            [
                str(row["part"]),
                bracketed(row["bits"], row["low"], row["high"]),
                bracketed(row["weight"], row["weight low"], row["weight high"]),
            ]
            for row in frame.to_dict("records")
        ],
    )


def _conditions(found: Learned) -> _Grid:
    names = {"learned": "learned", "equal": "equal weights", "single": "best single"}
    names["base"] = "base rate"
    return _Grid(
        "Bits an answer above chance, out of fold, by condition; without intervals.",
        ["condition", *names.values(), "answers"],
        [
            [
                f"{row['mode']}, {row['difficulty']}",
                *(bracketed(row[name]) for name in names),
                f"{row['answers']:,.0f}",
            ]
            for row in found.conditions.to_dict("records")
        ],
    )


def _log(found: Learned) -> _Grid:
    return _Grid(
        "One row a fold held out. Predictions at all shrinkages are averaged, with shares from the "
        "inner folds. Best: the shrinkage that predicts best there alone; spreads: standard "
        "deviations of its priors of weights and slopes (0 holds them at their centre); bits: of "
        "the inner folds, an answer above chance; dropped: training trials that share pictures "
        "with the fold.",
        [
            "fold",
            "training units",
            "best single",
            "what predicts",
            "spread of weights",
            "spread of slopes",
            "share of the best",
            "bits of the best",
            "bits of the average",
            "dropped",
        ],
        [
            [
                str(one["fold"]),
                str(one["units"]),
                str(one["single"]),
                "boosting" if one["boosted"] else "linear heads",
                bracketed(one["best"]["weights"]),
                bracketed(one["best"]["slope"]),
                bracketed(one["shares"][one["grid"].index(one["best"])]),
                bracketed(one["inner_bits"][one["grid"].index(one["best"])]),
                bracketed(one["stacked_bits"]),
                str(one["dropped"]),
            ]
            for one in found.log
        ],
    )


def _curves(found: Learned) -> Axes | None:
    return None if found.curves is None else found.curves.plot()


def _svg(axes: Axes, name: str) -> str:
    """The figure of some axes, in the page's colours and width; texts stay texts."""
    from matplotlib import rc_context

    axes.set_title("", loc="left")  # the page says it in words
    canvas, out = cast("Figure", axes.figure), io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "imi_bench"}):
        canvas.savefig(
            out, format="svg", metadata={"Date": None}, transparent=True, bbox_inches="tight"
        )
    text = out.getvalue()
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text[text.index("<svg") :])
    text = text.replace("#000000", "var(--ink)").replace("'DejaVu Sans'", "var(--font)")
    return re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", text, count=1)
