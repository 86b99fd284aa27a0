"""The trial browser's data: thumbnails, the order of trials, who chose what."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imi_bench.arrays import Pixels
from imi_bench.provenance import plain
from imi_bench.replay.evidence import Evidence
from imi_bench.report.contents import ObserverRun, ReportData
from imi_bench.stats.proportions import wilson
from imi_bench.tables.align import in_use
from imi_bench.tables.images import Images

THUMBNAIL = 96
# The page should stay under 8 MB: figures and text take about 1 MB, base64 costs a third.
_IMAGE_BUDGET_BYTES = 5_000_000
_QUALITIES = (82, 65, 45)
MOST_TRIALS = 600
_CREDIT_CODES = {1.0: "1", 0.0: "0", 0.5: "t"}


@dataclass(frozen=True)
class Browser:
    """What the page's script needs.

    Attributes
    ----------
    payload : dict
        JSON object: images, observers, trials (easiest first).
    shown, total : int
        Trials in the browser and in the run.
    order : str
        What "easiest" means, for readers.
    """

    payload: dict[str, Any]
    shown: int
    total: int
    order: str


Encode = Callable[[Images, NDArray[np.int64]], list[str]]


def make_browser(exhibit: ReportData, *, encode: Encode | None = None) -> Browser:
    """Order the trials from easiest to hardest and gather what is shown of each.

    Parameters
    ----------
    exhibit : ReportData
    encode : callable, optional
        What gives the pictures, as `thumbnails` does: perhaps made already, by another process.
    """
    ease, meaning = ease_of(exhibit)
    order = np.argsort(-ease, kind="stable")
    if len(order) > MOST_TRIALS:
        order = order[np.linspace(0, len(order) - 1, MOST_TRIALS).round().astype(int)]
    trials = exhibit.trials
    used, parts = in_use(trials.positive[order], trials.negative[order], trials.queries[order])
    positive, negative, queries = (part.tolist() for part in parts)
    shown = {trials.images.hashes[row]: place for place, row in enumerate(used.tolist())}
    correct, answers = exhibit.panel_counts
    index = trials.index
    rows = [
        {
            "id": index.trial_id[t],
            "network": index.network[t],
            "layer": index.layer[t],
            "unit": int(index.unit[t]),
            "catch": bool(index.catch[t]),
            "mode": index.mode[t],
            "difficulty": index.difficulty[t],
            "note": exhibit.unit_notes.get(index.unit_id[t], ""),
            "positive": positive[k],
            "negative": negative[k],
            "queries": queries[k],
            "panel": _split(int(correct[t]), int(answers[t])),
        }
        for k, t in enumerate(order.tolist())
    ]
    payload = {
        "images": (encode or thumbnails)(trials.images, used),
        "panel": exhibit.panel_name,
        "who": "people" if exhibit.panel_name == "Human panel" else "simulated people",
        "observers": [
            _answers(exhibit, run, order, shown) for run in (*exhibit.machines, *exhibit.references)
        ],
        "trials": rows,
    }
    return Browser(payload, len(order), len(trials), meaning)


def ease_of(exhibit: ReportData) -> tuple[NDArray[np.float64], str]:
    """(T,) larger for easier trials, and in words what it is.

    The panel's proportion correct where a panel answered; else the mean rank, over machine
    observers, of the evidence for the correct query. The mean rank also breaks the panel's ties.
    """
    runs = exhibit.machines or exhibit.runs
    ranks = np.zeros(len(exhibit.trials))
    for run in runs:
        toward = run.decisions.toward_correct[exhibit.rows_of(run)]
        toward = np.where(np.isnan(toward), -np.inf, toward)
        ranks += np.searchsorted(np.sort(toward), toward, side="left") / len(toward) / len(runs)
    correct, answers = exhibit.panel_counts
    if not answers.any():
        meaning = "the evidence for the correct query" + (
            ", as a mean rank over the observers" if len(runs) > 1 else ""
        )
        return ranks, meaning
    share = np.where(answers > 0, correct / np.maximum(answers, 1), 0.5)
    return share + 1e-3 * ranks, f"the share of the {exhibit.panel_name.lower()} that was correct"


def thumbnails(images: Images, rows: NDArray[np.int64]) -> list[str]:
    """Data URIs of some images, no side over 96 pixels, within the page's budget of bytes."""
    for quality in _QUALITIES:
        encoded = [_webp(images.decode(int(row)), quality) for row in rows]
        if sum(map(len, encoded)) <= _IMAGE_BUDGET_BYTES:
            break
    return ["data:image/webp;base64," + base64.b64encode(data).decode() for data in encoded]


def _webp(pixels: Pixels, quality: int) -> bytes:
    picture = Image.fromarray(pixels)
    picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, format="WEBP", quality=quality, method=4)
    return stream.getvalue()


def _split(correct: int, answers: int) -> list[float] | None:
    """Correct answers, answers, and the Wilson 95% interval of the proportion."""
    if not answers:
        return None
    low, high = wilson(correct, answers)
    return [correct, answers, round(float(low), 3), round(float(high), 3)]


def _answers(
    exhibit: ReportData, run: ObserverRun, order: NDArray[np.int64], shown: dict[str, int]
) -> dict[str, Any]:
    decisions, rows = run.decisions, exhibit.rows_of(run)[order]
    answered = decisions.answered[rows]
    marks = [
        _CREDIT_CODES[credit] if known else "-"
        for credit, known in zip(decisions.credit[rows].tolist(), answered.tolist(), strict=True)
    ]
    toward = decisions.toward_correct[rows].tolist()
    first = (decisions.shown_first[rows].astype(str) == "positive").tolist()
    answer: dict[str, Any] = {
        "name": exhibit.labels[run.name],
        "reference": run.is_reference,
        "marks": "".join(marks),
        "first": "".join("1" if positive else "0" for positive in first),
        "evidence": plain([float(f"{v:.3g}") for v in toward]),
    }
    if run.calibration is not None and exhibit.study is not None:
        predicted = run.calibration.predict(decisions, exhibit.trials.index).p_correct
        answer["predicted"] = [float(f"{p:.3f}") for p in predicted[order].tolist()]
    if run.evidence is not None:
        answer |= _why(run.evidence, rows, shown)
    return answer


def _why(evidence: Evidence, rows: NDArray[np.int64], shown: dict[str, int]) -> dict[str, Any]:
    """Similarities of q+ and q- to each reference, and pooled; neighbours that the page shows."""
    place = np.array([shown.get(name, -1) for name in evidence.images.tolist()], dtype=np.int64)
    nearest = place[evidence.neighbours[rows]]
    return {
        "each": [_digits(row) for row in evidence.each[rows].reshape(len(rows), -1).tolist()],
        "pooled": [_digits(row) for row in evidence.pooled[rows].reshape(len(rows), -1).tolist()],
        "near": [
            [[image for image in images if image >= 0] for images in trial]
            for trial in nearest.tolist()
        ],
    }


def _digits(values: list[float]) -> list[float | None]:
    return [None if value != value else float(f"{value:.3g}") for value in values]
