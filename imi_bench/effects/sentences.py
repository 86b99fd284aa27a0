"""An effect in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imi_bench.effects.effect import Effect

__all__ = ["p_text", "sentence"]


def p_text(p: float) -> str:
    """Write a p-value: three decimals, or "p < 0.001".

    Examples
    --------
    >>> p_text(0.04321), p_text(1e-9)
    ('p = 0.043', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def sentence(effect: Effect) -> str:
    """Say what was found, with estimate, interval and test, and what cannot be said."""
    test = effect.test
    if math.isnan(test.p):
        return f"Cannot be answered: {test.reason}."
    shown = "differ" if test.p < 1 - test.level else "are not shown to differ"
    if math.isnan(test.estimate):
        return (
            f"Networks {shown} by {effect.key} "
            f"({test.method} = {test.statistic:.2f}, {p_text(test.p)}, {_count(effect.networks)})."
        )
    numbers = (
        f"{test.estimate:+.3f} log-odds for {effect.step} "
        f"[{test.low:+.3f}, {test.high:+.3f}], {test.method} = {test.statistic:.2f}, "
        f"{p_text(test.p)}, {_count(effect.networks)}"
    )
    verdict = "An effect" if test.p < 1 - test.level else "No effect shown"
    return f"{verdict}: {numbers}.{_equivalence(effect)}"


def _equivalence(effect: Effect) -> str:
    found = effect.equivalence
    if found is None or math.isnan(found.p):
        return ""
    within = f"±{found.bound:.3f}, the smallest effect of interest ({p_text(found.p)})"
    return {
        "equivalent": f" Equivalent to none: it lies within {within}.",
        "trivial": f" Too small to matter: it lies within {within}.",
        "different": f" Not shown to lie within {within}.",
        "inconclusive": f" Nor is it shown to lie within {within}: these networks cannot tell.",
    }.get(found.verdict, "")


def _count(networks: int) -> str:
    return f"{networks} network{'s' * (networks != 1)}"
