"""The images of the easiest and hardest units, where stimuli are at hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from imi_bench.arrays import Ints, Pixels
from imi_bench.report.paper.data import PaperData
from imi_bench.report.paper.panel import Plot, drawing
from imi_bench.tables import Trials
from imi_bench.text import plural

__all__ = ["exemplars"]

_SHOWN, _SIDE = 5, 44


def exemplars(data: PaperData, chosen: pd.DataFrame) -> tuple[list[Plot], list[str]]:
    """Strongest and weakest reference images of the chosen units, and what is not shown.

    Parameters
    ----------
    data : PaperData
        With `stimuli`, or nothing is drawn.
    chosen : DataFrame
        Of `imi_bench.report.paper.units.extremes`.
    """
    if data.stimuli is None:
        return [], ["Exemplars of these units need their images (stimuli=, --stimuli)."]
    trials = data.stimuli
    rows = _trial_of(trials, chosen)
    there = chosen[rows >= 0]
    said = []
    if trials.simulated and not data.simulated:
        said.append("The images are simulated, the answers are not: exemplars are left out.")
        there = there.iloc[:0]
    missing = len(chosen) - len(there)
    if missing and not said:
        said.append(
            f"{missing} of {plural(len(chosen), 'unit')} have no images among the stimuli given."
        )
    plots = []
    for end in dict.fromkeys(there["end"]):
        part = there[there["end"] == end]
        at = rows[part.index.to_numpy()]
        plots.append(
            drawing(
                data,
                f"5-{end}",
                f"The {end} units, {part['mode'].iloc[0]} references: images that activate them "
                "strongly (left) and weakly (right); shrunken proportion correct. "
                f"{_SHOWN} of each side's references.",
                lambda grid, part=part, at=at: _draw(grid, trials, part, at),
                rows=len(part),
                columns=1,
                size=(5.6, 0.62 * len(part) + 0.3),
                narrow=False,
            )
        )
    return plots, said


def _trial_of(trials: Trials, chosen: pd.DataFrame) -> Ints:
    """Row of one trial of each unit in its mode; -1 where there is none."""
    index = trials.index
    key = pd.MultiIndex.from_arrays([index.unit_id.astype(str), index.mode.astype(str)])
    first = pd.Series(np.arange(len(index)), key)
    first = first[~first.index.duplicated()]
    wanted = pd.MultiIndex.from_frame(chosen[["unit_id", "mode"]].astype(str))
    return first.reindex(wanted).fillna(-1).to_numpy(np.int64)


def _draw(grid: Any, trials: Trials, part: pd.DataFrame, at: Ints) -> None:
    for axes, (_, unit), row in zip(grid[:, 0], part.iterrows(), at, strict=True):
        axes.imshow(_strip(trials, int(row)), interpolation="nearest", aspect="equal")
        axes.grid(visible=False)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(f"{unit['unit_id']}: {unit['shrunken']:.2f}", loc="left", fontsize=7, pad=2)


def _strip(trials: Trials, row: int) -> Pixels:
    """(side, width, 3) uint8: strong references, a gap, weak references."""
    from PIL import Image

    def small(image: int) -> Pixels:
        picture = Image.fromarray(trials.images.decode(int(image)))
        return np.asarray(picture.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS))

    gap = np.full((_SIDE, 12, 3), 255, dtype=np.uint8)
    strong = [small(image) for image in trials.positive[row][:_SHOWN]]
    weak = [small(image) for image in trials.negative[row][:_SHOWN]]
    return np.concatenate([*strong, gap, *weak], axis=1)
