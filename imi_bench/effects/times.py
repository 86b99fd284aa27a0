"""How long people took: log response time by a Gaussian mixed model.

One model of all answers: the conditions of the trial, whether the answer is correct, and its
confidence, with units and participants as random effects. A coefficient is a difference of log
seconds; `ratio` is how many times as long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from imi_bench.effects.table import AnswerTable, people_table
from imi_bench.errors import InputError, NotEnoughDataError
from imi_bench.glmm import GlmmResult, fit
from imi_bench.glmm.inference import Inference, wald
from imi_bench.release.study_files import AnswersLike, read_answers
from imi_bench.results import Result

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ResponseTimes", "response_times"]


@dataclass(frozen=True, eq=False, repr=False)
class ResponseTimes(Result):
    """Response times and what goes with them.

    Attributes
    ----------
    tests : tuple of Inference
        Log seconds, Wald t or z of each fixed effect.
    medians : mapping of str to float
        Median seconds of correct and wrong answers, and by confidence where it was asked.
    formula : str
        Of the model.
    n : int
        Answers in the model.
    excluded : mapping of str to int
        Answers left out, by reason.
    simulated : bool
        Whether the answers are made up.
    fit : GlmmResult
        The model.
    """

    tests: tuple[Inference, ...]
    medians: Mapping[str, float]
    formula: str
    n: int
    excluded: Mapping[str, int]
    simulated: bool
    fit: GlmmResult

    shown_columns = ("effect", "ratio", "low", "high", "p")

    @property
    def title(self) -> str:
        """Whose times, and what was left out."""
        made_up = ", simulated" if self.simulated else ""
        gone = "; ".join(f"{count} {reason}" for reason, count in self.excluded.items() if count)
        return f"Response times ({self.n:,} answers{made_up}; excluded: {gone or 'none'})"

    def to_frame(self) -> pd.DataFrame:
        """One row an effect: difference of log seconds, and how many times as long."""
        return pd.DataFrame(
            [
                {
                    "effect": test.name,
                    "log_seconds": test.estimate,
                    "se": test.se,
                    "ratio": np.exp(test.estimate),
                    "low": np.exp(test.low),
                    "high": np.exp(test.high),
                    "p": test.p,
                }
                for test in self.tests
            ]
        )


def response_times(
    answers: AnswersLike, *, slowest: float | None = None, level: float = 0.95
) -> ResponseTimes:
    """Ask what makes people slow.

    Parameters
    ----------
    answers : AnswersLike
        Study, or what `imi_bench.release.study_files.read_answers` takes.
    slowest : float, optional
        Leave out answers that took longer, in seconds; none by default.
    level : float
        Of the intervals.

    Returns
    -------
    times : ResponseTimes
        It names how many answers were left out, and why.

    Raises
    ------
    NotEnoughDataError
        If no answer has a response time.

    Examples
    --------
    ``response_times("responses_main.csv", slowest=60.0).to_frame()``
    """
    study = read_answers(answers)
    return times_of(people_table(study), slowest=slowest, level=level)


def times_of(
    table: AnswerTable, *, slowest: float | None = None, level: float = 0.95
) -> ResponseTimes:
    """Ask what makes people slow, of a table; see `response_times`."""
    frame = table.frame
    if "seconds" not in frame or frame["seconds"].notna().sum() == 0:
        raise NotEnoughDataError("no response time", where=table.who, found="0 answers with one")
    if slowest is not None and not slowest > 0:
        raise InputError("no longest time", found=slowest, wanted="seconds above 0")
    seconds = frame["seconds"]
    reasons = {
        "without a time": seconds.isna(),
        "of zero or negative time": seconds <= 0,
        f"slower than {slowest:g} s" if slowest else "too slow": seconds > (slowest or np.inf),
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
        tests=tuple(wald(model, name, level=level) for name in fixed),
        medians=_medians(known),
        formula=formula,
        n=len(known),
        excluded=counts,
        simulated=table.simulated,
        fit=model,
    )


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
