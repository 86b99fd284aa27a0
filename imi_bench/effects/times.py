"""How long people took: log response time by a Gaussian mixed model.

One model of all answers: the conditions of the trial, whether the answer is correct, and its
confidence, with units and participants as random effects. A coefficient is a difference of log
seconds; `ratio` is how many times as long.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from imi_bench.arguments import checked
from imi_bench.effects.draws_left import draws_left
from imi_bench.effects.table import AnswerTable, depths_by_name, people_table
from imi_bench.errors import InputError, NotEnoughDataError
from imi_bench.glmm import GlmmResult, fit
from imi_bench.glmm.inference import Inference, wald
from imi_bench.glmm.tables import read_table
from imi_bench.plots import Interval, forest
from imi_bench.release.study_files import AnswersLike, read_answers
from imi_bench.results import Result
from imi_bench.stats.multiplicity import holm
from imi_bench.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ResponseTimes", "response_times"]


@dataclass(frozen=True, eq=False, repr=False)
class ResponseTimes(Result):
    """Response times and what goes with them.

    Attributes
    ----------
    tests : tuple of Inference
        Log seconds of each fixed effect: Wald t on as many draws (units, layers) as it rests on,
        Wald z of what varies from answer to answer.
    medians : mapping of str to float
        Median seconds of correct and wrong answers, and by confidence where it was asked.
    formula : str
    n : int
        Answers in the model.
    excluded : mapping of str to int
        Answers left out, by reason.
    simulated : bool
    notes : tuple of str
        What else a reader must know, such as where the depth of layers is from.
    fit : GlmmResult
    """

    tests: tuple[Inference, ...]
    medians: Mapping[str, float]
    formula: str
    n: int
    excluded: Mapping[str, int]
    simulated: bool
    fit: GlmmResult
    notes: tuple[str, ...] = ()

    shown_columns = ("effect", "ratio", "low", "high", "p", "p_holm")

    @property
    def title(self) -> str:
        """Whose times, and what was left out."""
        made_up = ", simulated" if self.simulated else ""
        gone = "; ".join(f"{count} {reason}" for reason, count in self.excluded.items() if count)
        return f"Response times ({plural(self.n, 'answer')}{made_up}; excluded: {gone or 'none'})"

    def to_frame(self) -> pd.DataFrame:
        """One row an effect: difference of log seconds, and how many times as long."""
        adjusted = holm([test.p for test in self.tests])
        return pd.DataFrame(
            [
                {
                    "effect": test.name,
                    "log_seconds": test.estimate,
                    "se": test.se,
                    "ratio": np.exp(test.estimate),
                    "low": np.exp(test.low),
                    "high": np.exp(test.high),
                    "method": test.method,
                    "p": test.p,
                    "p_holm": p,
                }
                for test, p in zip(self.tests, adjusted, strict=True)
            ]
        )

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw how many times as long each effect makes an answer, but for the intercept."""
        frame = self.to_frame()
        rows = [
            Interval(str(r["effect"]), r["ratio"], r["low"], r["high"])
            for r in frame.to_dict("records")
            if r["effect"] != "(Intercept)"
        ]
        return forest(rows, xlabel="times as long", title=self.title, reference=1.0, ax=ax)


@checked
def response_times(
    answers: AnswersLike,
    *,
    columns: str | Path | pd.DataFrame | None = None,
    slowest: float | None = None,
    level: float = 0.95,
) -> ResponseTimes:
    """Ask what makes people slow.

    Parameters
    ----------
    answers : AnswersLike
        Study, or what `imi_bench.release.study_files.read_answers` takes.
    columns : path or DataFrame, optional
        Depth, type and width of one's own layers; see `imi_bench.effects.table.people_table`.
    slowest : float, optional
        Leave out answers that took longer, in seconds; none by default.
    level : float

    Returns
    -------
    times : ResponseTimes
        It names how many answers were left out, and why.

    Raises
    ------
    NotEnoughDataError
        If no answer has a response time, or all are of one person or to one unit.

    Examples
    --------
    ``response_times("responses_main.csv", slowest=60.0).to_frame()``
    """
    layers = None if columns is None else read_table(columns)
    table = people_table(read_answers(answers), columns=layers)
    found = times_of(table, slowest=slowest, level=level)
    return replace(found, notes=depths_by_name(table.frame["network"].unique(), columns=layers))


def times_of(
    table: AnswerTable, *, slowest: float | None = None, level: float = 0.95
) -> ResponseTimes:
    """Ask what makes people slow, of a table; see `response_times`."""
    table.refuse_one_person()
    frame = table.frame
    if "seconds" not in frame or frame["seconds"].notna().sum() == 0:
        raise NotEnoughDataError("no response time", where=table.who, found="0 answers with one")
    if slowest is not None and not slowest > 0:
        raise InputError("no longest time", found=slowest, wanted="seconds above 0")
    seconds = frame["seconds"]
    reasons = {
        "without a time": ~np.isfinite(seconds),
        "of zero or negative time": np.isfinite(seconds) & (seconds <= 0),
        f"slower than {slowest:g} s" if slowest else "too slow": np.isfinite(seconds)
        & (seconds > (slowest or np.inf)),
    }
    keep = ~np.logical_or.reduce(list(reasons.values()))
    kept = frame[keep].assign(log_seconds=np.log(seconds[keep]))
    fixed = [name for name in (*table.within, "correct", "confidence") if _varies(kept, name)]
    networks = ["network"] if kept["network"].nunique() > 1 else []
    bars = [f"(1 | {name})" for name in (*table.random, *networks)]
    formula = f"log_seconds ~ {' + '.join((*fixed, *bars))}"
    known = kept.dropna(subset=fixed)
    counts = {reason: int(rows.sum()) for reason, rows in reasons.items()}
    counts["without a confidence"] = len(kept) - len(known)
    model = fit(formula, known, family="gaussian", method="REML")
    return ResponseTimes(
        tests=tuple(
            wald(model, name, df=_draws(known, name, table), level=level) for name in fixed
        ),
        medians=_medians(known),
        formula=formula,
        n=len(known),
        excluded=counts,
        simulated=table.simulated,
        fit=model,
    )


def _draws(frame: pd.DataFrame, name: str, table: AnswerTable) -> float:
    """How many units or layers an effect rests on; infinite for what varies between answers."""
    if name in table.of_layers:
        group = "layer" if "layer" in table.random else "unit"
        taken = frame["network"].nunique() + len(table.of_layers)
        return float(max(frame[group].nunique() - taken, 1))
    return np.inf if name in ("correct", "confidence") else draws_left(frame, name)


def _varies(frame: pd.DataFrame, name: str) -> bool:
    return name in frame and frame[name].nunique() > 1


def _medians(frame: pd.DataFrame) -> dict[str, float]:
    right = frame["correct"] > 0.5
    found = {
        "correct": float(frame.loc[right, "seconds"].median()),
        "wrong": float(frame.loc[~right, "seconds"].median()),
    }
    by_confidence = frame.groupby("confidence")["seconds"].median()
    return found | {f"confidence {key:g}": float(value) for key, value in by_confidence.items()}
