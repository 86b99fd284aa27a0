"""The page of a learned measure."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from imi_bench.pages.shell import environment

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from imi_bench.measure.learned import Learned

__all__ = ["page"]


def page(found: Learned) -> str:
    """The page as HTML; loads nothing from elsewhere."""
    from markupsafe import Markup

    log = pd.DataFrame(
        [
            {
                "fold": one["fold"],
                "units": one["units"],
                "best single": one["single"],
                "chosen": "boosting" if one["boosted"] else "linear head",
                "spread of weights": one["chosen"]["weights"],
                "spread of slopes": one["chosen"]["slope"],
                "inner bits": max(one["inner_bits"]),
                "dropped": one["dropped"],
            }
            for one in found.log
        ]
    )
    tables = {"parts": found.to_frame(), "conditions": found.conditions, "log": log}
    shown: dict[str, Any] = {
        name: Markup(
            frame.to_html(
                index=False, escape=True, border=0, float_format=lambda v: f"{v:.3f}", na_rep="–"
            )
        )
        for name, frame in tables.items()
    }
    shown["figures"] = [
        Markup(_svg(axes)) for axes in (found.plot(), _curves(found)) if axes is not None
    ]
    template = environment("imi_bench.measure").get_template("learned.html.j2")
    return str(template.render(found=found, **shown))


def _curves(found: Learned) -> Axes | None:
    return None if found.curves is None else found.curves.plot()


def _svg(axes: Axes) -> str:
    """The figure of some axes, to stand in a page; texts stay texts."""
    from matplotlib import rc_context

    canvas, out = cast("Figure", axes.figure), io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "imi_bench"}):
        canvas.savefig(out, format="svg", metadata={"Date": None}, transparent=True)
    text = out.getvalue()
    return text[text.index("<svg") :]
