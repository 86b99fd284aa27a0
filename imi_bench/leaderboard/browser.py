"""What a submission's own page shows: two figures and a browser of trials."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from markupsafe import Markup

from imi_bench.leaderboard.plots import scatter
from imi_bench.leaderboard.rows import Detail
from imi_bench.scores.alignment import AlignedAnswers
from imi_bench.scores.likelihood import reliability_diagram
from imi_bench.stats.proportions import wilson
from imi_bench.tables.parquet import read_parquet

SHOWN = 40
TILE = 64
COLUMNS = 24


@dataclass(frozen=True, eq=False)
class Sheet:
    """Where each trial's images stand on ``stimuli.webp``: tiles of a grid, by rows.

    Attributes
    ----------
    tiles : dict of str to (positive, negative, queries)
        By trial id, tile numbers.
    """

    tiles: dict[str, tuple[list[int], list[int], list[int]]]


@cache
def read_sheet(folder: Path) -> Sheet | None:
    """``stimuli.parquet`` of a board, if it has one and the sheet that it speaks of."""
    path = folder / "stimuli.parquet"
    if not (path.is_file() and (folder / "stimuli.webp").is_file()):
        return None
    frame = read_parquet(path)
    columns = (frame[name].tolist() for name in ("trial_id", "positive", "negative", "queries"))
    return Sheet({t: (list(p), list(n), list(q)) for t, p, n, q in zip(*columns, strict=True)})


def observer_detail(matched: AlignedAnswers, folder: Path, *, simulated: bool) -> Detail:
    """Observer against people by unit, calibration, and trials from easiest to hardest."""
    observer, human = matched.condition_means()
    diagram = reliability_diagram(matched)
    filled = diagram.answers > 0
    ends = wilson((diagram.observed * diagram.answers)[filled], diagram.answers[filled])
    figures = (
        scatter(
            list(zip(observer.tolist(), human.tolist(), strict=True)),
            title="Each unit and condition: predicted and human",
            x_label="predicted proportion correct",
            y_label="human proportion correct",
            caption="A point a condition (unit, mode and difficulty). On the dashed line "
            "prediction and answers agree.",
        ),
        scatter(
            list(zip(diagram.predicted[filled], diagram.observed[filled], strict=True)),
            title="Reliability of the predictions",
            x_label="predicted proportion correct",
            y_label="observed proportion correct",
            bars=list(zip(*(end.tolist() for end in ends), strict=True)),
            caption="Answers in bins of the predicted probability that a person is correct. "
            "Whiskers: Wilson 95% intervals that take answers as independent.",
        ),
    )
    chosen = _spread(matched)
    sheet = read_sheet(folder)
    persons = "simulated people" if simulated else "people"
    trials = tuple(_trial(matched, r, sheet, persons=persons) for r in chosen) if sheet else ()
    return Detail(figures, trials, len(matched.index), TILE * COLUMNS)


def network_figures(points: list[tuple[float, float]]) -> tuple[Markup, ...]:
    """Panel's calibrated probability against its plain proportion correct, a point a unit."""
    return (
        scatter(
            points,
            title="Each unit: the panel's accuracy and what it predicts of people",
            x_label="panel's proportion correct",
            y_label="predicted P(person correct)",
            caption="A point a unit. Dashed: equal.",
        ),
    )


def _spread(matched: AlignedAnswers) -> list[int]:
    """Rows of `SHOWN` trials evenly spaced from those people found easiest to hardest."""
    ease = matched.hits / np.maximum(matched.answers, 1)
    order = np.lexsort((matched.index.trial_id.astype(str), -ease))
    places = np.linspace(0, len(order) - 1, min(SHOWN, len(order))).round().astype(int)
    return [int(order[place]) for place in places]


def _trial(matched: AlignedAnswers, row: int, sheet: Sheet, *, persons: str) -> dict[str, object]:
    trial = str(matched.index.trial_id[row])
    positive, negative, queries = sheet.tiles[trial]
    right, people = int(matched.hits[row]), int(matched.answers[row])
    credit = matched.credit[row]
    strong, weak = "The observer chose this.", ""
    if credit != 1.0:
        strong, weak = (weak, strong) if credit == 0.0 else ["The observer is undecided."] * 2
    return {
        "title": trial,
        "positive": [_position(tile) for tile in positive],
        "negative": [_position(tile) for tile in negative],
        "queries": [
            (_position(queries[1]), f"{people - right} of {people} {persons}. {weak}"),
            (_position(queries[0]), f"{right} of {people} {persons}. {strong}"),
        ],
        "text": f"The observer predicts that {100 * matched.p_correct[row]:.0f}% of {persons} "
        "choose the strong one.",
    }


def _position(tile: int) -> str:
    return f"-{TILE * (tile % COLUMNS)}px -{TILE * (tile // COLUMNS)}px"
