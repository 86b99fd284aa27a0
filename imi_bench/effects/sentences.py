"""An effect in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from imi_bench.effects.questions import outcome
from imi_bench.text import plural

if TYPE_CHECKING:
    from imi_bench.effects.effect import Effect
    from imi_bench.effects.table import AnswerTable
    from imi_bench.glmm import GlmmResult


def p_text(p: float) -> str:
    """Write a p-value: three decimals, or "p < 0.001".

    Examples
    --------
    >>> p_text(0.04321), p_text(1e-9)
    ('p = 0.043', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def sentence(effect: Effect) -> str:
    """Say what was found, with estimate, interval and test, and what cannot be said.

    It claims an effect, or that there is none of interest, only where that survives the adjustment
    for all questions of the report.
    """
    test = effect.test
    if math.isnan(test.p):
        return f"Cannot be answered: {test.reason}."
    p = f"{p_text(test.p)}, adjusted {p_text(effect.p_holm)}"
    tested = f"{test.method} = {test.statistic:.2f}, {p}, {plural(effect.networks, 'network')}"
    if effect.model:
        tested += f"; {effect.model}"
    about = f" with {effect.exemplars} exemplars" if effect.exemplars else ""
    if math.isnan(test.estimate):
        shown = "differ" if effect.shown else "are not shown to differ"
        return f"Networks {shown} by {effect.key}{about} ({tested})."
    interval = f"[{test.low:+z.3f}, {test.high:+z.3f}]"
    numbers = f"{test.estimate:+z.3f} log-odds for {effect.step}{about} {interval}"
    verdict = "An effect" if effect.shown else "No effect shown"
    return f"{verdict}: {numbers}, {tested}.{_equivalence(effect)}"


def beyond_logit(table: AnswerTable, fit: GlmmResult) -> str:
    """Say what the model has beyond a plain logit."""
    if table.ordinal:
        return f"log-odds of {outcome(table.formula)}"
    if table.firth:
        return "bias-reduced estimates (Firth)"
    if table.lapse == "estimate":
        return f"with a lapse rate, estimated at {fit.lapse:.3f}, in the link"
    return f"with a lapse rate of {table.lapse:g} in the link" if table.lapse else ""


def _equivalence(effect: Effect) -> str:
    found = effect.equivalence
    if found is None or math.isnan(found.p):
        return ""
    adjusted = p_text(effect.equivalence_p_holm)
    within = f"±{found.bound:.3f}, the smallest effect of interest (adjusted {adjusted})"
    if effect.bounded:
        said = "Too small to matter" if effect.shown else "Equivalent to none"
        return f" {said}: it lies within {within}."
    if effect.shown:
        return f" Not shown to lie within {within}."
    return f" Nor is it shown to lie within {within}: these networks cannot tell."
