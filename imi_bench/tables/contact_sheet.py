"""A picture of trials: references on both sides, the two queries in the middle."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from imi_bench.arrays import Pixels
from imi_bench.errors import NotEnoughDataError

if TYPE_CHECKING:
    from imi_bench.tables import Trials

_GAP, _MARGIN, _TITLE, _HEADING, _LINE = 3, 12, 22, 17, 16
_POSITIVE, _NEGATIVE, _INK = (38, 110, 72), (150, 60, 50), (40, 40, 40)


def contact_sheet(trials: Trials, *, tile: int = 72) -> Pixels:
    """Draw trials one below the other.

    Parameters
    ----------
    trials : Trials
        The answer is shown: references with a weak response stand left, with a strong one right,
        each under its name; between them the two queries.
    tile : int
        Side of one image in pixels.

    Returns
    -------
    (height, width, 3) uint8 array

    Raises
    ------
    NotEnoughDataError
        Without any trial.

    Examples
    --------
    >>> from imi_bench.simulation.world import build
    >>> contact_sheet(build(seed=0).trials.take(np.arange(2)), tile=24).shape[2]
    3
    """
    if not len(trials):
        raise NotEnoughDataError("no such trial", found="0 trials", wanted="one or more to draw")
    side = math.ceil(math.sqrt(trials.positive.shape[1]))
    panel = side * (tile + _GAP) - _GAP
    big = panel // 2
    width = 2 * panel + 2 * big + 5 * _MARGIN
    font = ImageFont.load_default(size=13)
    titles = [
        _lines(_title(trials, number), width - 2 * _MARGIN, font) for number in range(len(trials))
    ]
    title = _TITLE + _LINE * (max(map(len, titles)) - 1)
    row = panel + title + _HEADING + _MARGIN
    sheet = Image.new("RGB", (width, row * len(trials) + _MARGIN), "white")
    pen = ImageDraw.Draw(sheet)
    for number in range(len(trials)):
        top = _MARGIN + number * row
        for line, words in enumerate(titles[number]):
            pen.text((_MARGIN, top + line * _LINE), words, fill=_INK, font=font)
        top += title + _HEADING
        left = _MARGIN
        pen.text((left, top - _HEADING), "weak response", fill=_NEGATIVE, font=font)
        _grid(sheet, trials, trials.negative[number], (left, top), side, tile)
        left += panel + _MARGIN
        for column, colour, name in ((1, _NEGATIVE, "weak"), (0, _POSITIVE, "strong")):
            picture = _tile(trials, int(trials.queries[number, column]), big)
            middle = top + (panel - big) // 2
            pen.rectangle((left - 3, middle - 3, left + big + 2, middle + big + 2), fill=colour)
            sheet.paste(picture, (left, middle))
            pen.text((left, middle + big + 5), f"{name} query", fill=colour, font=font)
            left += big + _MARGIN
        pen.text((left, top - _HEADING), "strong response", fill=_POSITIVE, font=font)
        _grid(sheet, trials, trials.positive[number], (left, top), side, tile)
    return np.asarray(sheet)


def _title(trials: Trials, number: int) -> list[str]:
    title = [str(trials.index.trial_id[number])]
    if trials.query_activations is not None and not np.isnan(trials.query_activations[number, 0]):
        strong, weak = trials.query_activations[number]
        title.append(f"q- {weak:.3g}, q+ {strong:.3g}")
    return title + (["(simulated)"] if trials.simulated else [])


def _lines(
    parts: list[str], width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont
) -> list[str]:
    """Join parts into lines that are no wider; a part that is wider than a line is broken."""
    lines: list[str] = []
    for part in parts:
        if lines and font.getlength(joined := f"{lines[-1]}    {part}") <= width:
            lines[-1] = joined
            continue
        lines.append("")
        for character in part:
            if lines[-1] and font.getlength(lines[-1] + character) > width:
                lines.append("")
            lines[-1] += character
    return lines


def _grid(
    sheet: Image.Image,
    trials: Trials,
    rows: NDArray[np.int64],
    corner: tuple[int, int],
    side: int,
    tile: int,
) -> None:
    for position, row in enumerate(rows.tolist()):
        down, across = divmod(position, side)
        place = (corner[0] + across * (tile + _GAP), corner[1] + down * (tile + _GAP))
        sheet.paste(_tile(trials, row, tile), place)


def _tile(trials: Trials, row: int, side: int) -> Image.Image:
    picture = Image.fromarray(trials.images.decode(row))
    small = max(picture.size) < side
    return picture.resize(
        (side, side), Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
    )
