"""The page of a learned measure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from imi_bench.pages.shell import environment

if TYPE_CHECKING:
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
                "spread of weights": one["chosen"]["weights"],
                "spread of slopes": one["chosen"]["slope"],
                "inner bits": max(one["inner_bits"]),
                "dropped": one["dropped"],
            }
            for one in found.log
        ]
    )
    tables = {"parts": found.to_frame(), "conditions": found.conditions, "log": log}
    shown = {
        name: Markup(
            frame.to_html(
                index=False, escape=True, border=0, float_format=lambda v: f"{v:.3f}", na_rep="–"
            )
        )
        for name, frame in tables.items()
    }
    template = environment("imi_bench.measure").get_template("learned.html.j2")
    return str(template.render(found=found, **shown))
