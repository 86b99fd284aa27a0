"""What each doubling of solved trials gains, and what tenfold parameters: a mixed model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from imi_bench.errors import NotComparableError, NotEnoughDataError
from imi_bench.fewshot.means import draws_of
from imi_bench.text import plural

if TYPE_CHECKING:
    from imi_bench.glmm.result import GlmmResult

_SAID = {
    "doublings": "each doubling of the solved trials",
    "tenfold": "tenfold parameters, at one solved trial,",
    "doublings:tenfold": "tenfold parameters, for the gain of each doubling,",
}


def gain(answers: pd.DataFrame, parameters: Mapping[str, float]) -> GlmmResult:
    """Gain per doubling of solved trials, and per tenfold parameters.

    ``correct ~ log2(shots) [* log10(parameters)] + (1|unit) + (1|draw) + (1|prompt) [+
    (1|answerer)]`` over trials with an answer and at least one solved trial; ties and missing
    answers are left out. A prompt is one number of solved trials in one draw: all trials share its
    luck, as those of a draw share some of it at every number; ``answerer`` is one observer's luck
    with one prompt, where there are several observers. With one draw none is known, and the
    interval is without it. The interaction asks whether larger models gain more from context, as
    Brown et al. (2020) report.

    Parameters
    ----------
    answers : DataFrame
        As `FewShot.answers`.
    parameters : mapping of str to float
        Of each observer; used where all are known and they differ.

    Raises
    ------
    NotEnoughDataError
        Fewer than two numbers of solved trials above zero, or answers that are all alike.
    NotComparableError
        Sampled answers of one observer, likelihoods of another.
    """
    from imi_bench.glmm import fit

    rows = answers[(answers["shots"] > 0) & (answers["ablation"] == "none")]
    require_one_evidence(rows)
    rows = rows[rows["credit"] != 0.5]
    if rows["shots"].nunique() < 2:
        raise NotEnoughDataError(
            "no curve to fit",
            found=f"{rows['shots'].nunique()} numbers of solved trials above zero",
            wanted="2 or more",
        )
    if rows["credit"].nunique() < 2:
        raise NotEnoughDataError(
            "no curve to fit",
            found=f"{plural(len(rows), 'answer')}, all alike",
            wanted="some of each",
        )
    data = rows.assign(
        correct=rows["credit"].astype(int),
        doublings=np.log2(rows["shots"]),
        draw=np.asarray(draws_of(rows)),
        prompt=rows["shots"].astype(str) + ", " + draws_of(rows),
        unit=rows["unit_id"],
    )
    data["answerer"] = data["observer"] + ", " + data["prompt"]
    fixed = "doublings"
    known = all(name in parameters for name in rows["observer"].unique())
    if known and len({parameters[name] for name in rows["observer"].unique()}) > 1:
        size = np.log10([parameters[name] for name in rows["observer"]])
        data["tenfold"] = size - size.mean()
        fixed = "doublings * tenfold"
    elif rows["observer"].nunique() > 1:
        fixed = "doublings + observer"
    grouping = ""
    if data["draw"].nunique() > 1:
        grouping = " + (1|draw) + (1|prompt)"
        grouping += " + (1|answerer)" if data["observer"].nunique() > 1 else ""
    return fit(f"correct ~ {fixed} + (1|unit){grouping}", data)


def require_one_evidence(answers: pd.DataFrame) -> None:
    """Refuse sampled answers beside likelihoods: their noise differs, and so their accuracy.

    Parameters
    ----------
    answers : DataFrame
        As `FewShot.answers`.

    Raises
    ------
    NotComparableError
        Both kinds of evidence.
    """
    if "evidence" not in answers or answers["evidence"].nunique() < 2:
        return
    kinds = answers.groupby("observer", sort=False)["evidence"].first()
    raise NotComparableError(
        "sampled answers and likelihoods in one model",
        found=", ".join(f"{name} {kind}" for name, kind in kinds.items()),
        wanted="one kind of evidence",
        do="give all observers samples=, or none",
    )


def sentences(fitted: GlmmResult) -> list[str]:
    """The model in words: one sentence for each effect of shots and size."""
    table = fitted.to_frame().set_index("term")
    said = []
    for term, subject in _SAID.items():
        if term not in table.index:
            continue
        row = table.loc[[term]].to_dict("records")[0]
        verb = "multiplies" if term == "doublings" else "multiply"
        odds, low, high = (math.exp(row[name]) for name in ("estimate", "low", "high"))
        verdict = "a gain" if low > 1 else "a loss" if high < 1 else "no difference shown"
        said.append(
            f"{subject[0].upper()}{subject[1:]} {verb} the odds of a right answer by "
            f"{odds:.2f} [{low:.2f}, {high:.2f}]: {verdict}."
        )
    if "doublings:tenfold" in table.index:
        said[-1] = said[-1].replace("the odds of a right answer", "that factor")
    return said + [f"Warning of the fit: {line}" for line in fitted.warnings]
