"""The questions in words, by the short name of the coefficient they are about."""

from __future__ import annotations

from dataclasses import dataclass

from imi_bench.effects.table import HARDER, RATING, AnswerTable
from imi_bench.glmm.between import INTERCEPT
from imi_bench.text import plural

ON_SYNTHETIC = "synthetic exemplars"
"""Name of the networks' levels on synthetic exemplars, beside those on natural ones."""

PERCENTILES = {name: f"{name.removeprefix('hard')}th-percentile queries" for name in HARDER}
_BASES = {
    "synthetic": "the effect of synthetic exemplars",
    "depth": "the effect of depth",
    **{name: f"the effect of {said}" for name, said in PERCENTILES.items()},
}


def outcome(formula: str) -> str:
    """What a model's log-odds are log-odds of, in words.

    Examples
    --------
    >>> outcome("correct ~ depth + (1 | unit)"), outcome("rating ~ depth + (1 | unit)")
    ('a correct answer', 'a better one of six ordered answers')
    """
    ordered = formula.startswith(f"{RATING} ~")
    return "a better one of six ordered answers" if ordered else "a correct answer"


@dataclass(frozen=True)
class Wording:
    """How a question is asked.

    Attributes
    ----------
    topic : str
        What it is about.
    question : str
        In words.
    step : str
        What the estimate is the effect of.
    """

    topic: str
    question: str
    step: str


def of_property(base: str, label: str, step: str, *, table: AnswerTable) -> Wording:
    """Whether a coefficient of the networks changes with one of their properties."""
    topic = "scale" if base in (INTERCEPT, ON_SYNTHETIC) else "interaction with scale"
    exemplars = "synthetic" if base == ON_SYNTHETIC else table.modes[0]
    own = f"the log-odds of {outcome(table.formula)} with {exemplars} exemplars"
    return Wording(topic, f"Does {_BASES.get(base, own)} change with {label}?", step)


def of_mean(name: str) -> Wording:
    """Whether a coefficient, the networks' mean or one they share, differs from zero."""
    if name == "synthetic":
        return Wording(
            "mode",
            "Do synthetic exemplars differ from natural ones?",
            "synthetic against natural exemplars",
        )
    if name == "depth":
        return Wording(
            "layer depth",
            "Do deeper layers differ from shallower ones?",
            "the last against the first block",
        )
    if name in HARDER:
        step = f"{PERCENTILES[name]} against the most extreme"
        return Wording("difficulty", f"Does difficulty matter: {step}?", step)
    if name.startswith("synthetic_"):
        step = f"{PERCENTILES[name.removeprefix('synthetic_')]}, synthetic against natural"
        return Wording(
            "difficulty", f"Does difficulty matter otherwise for synthetic exemplars: {step}?", step
        )
    if name == "width":
        step = "a tenfold wider layer"
        return Wording("layer width", f"Does layer width matter: {step}?", step)
    if name == "type":
        return Wording("layer type", "Does layer type matter?", "one type of layer against another")
    step = f"{name.removeprefix('type_')} against convolution layers"
    return Wording("layer type", f"Does layer type matter: {step}?", step)


def too_few_networks(count: int, wanted: int) -> str:
    """Say why networks are too few to compare.

    Examples
    --------
    >>> too_few_networks(2, 3)
    '2 networks can be compared; at least 3 are needed'
    """
    return f"{plural(count, 'network')} can be compared; at least {wanted} are needed"
