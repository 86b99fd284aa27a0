"""What a model gives back for one prompt, and how it becomes evidence.

A model is any callable ``prompt -> Scored`` (or a mapping of option to log-likelihood). Evidence of
one order is ``l(A) - l(B)``; of a trial half the difference of the two orders, so that whatever a
model says for a letter as such cancels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from imi_bench.documents import reading
from imi_bench.errors import InputError
from imi_bench.observers.incontext.prompt import OPTIONS, Prompt

Outcome = Literal["ok", "refused", "filtered", "unparsed", "truncated", "option missing", "error"]
Evidence = Literal["likelihood", "sampled"]
# what vLLM and others write for "not computed"
_NOT_COMPUTED = -9000.0


@dataclass(frozen=True)
class Scored:
    """A model's answer to one prompt.

    Attributes
    ----------
    first, second : float
        Log-likelihood (natural) of the two options; NaN where `outcome` is not ``ok``.
    outcome : str
        ``ok``, or why there is no answer.
    mass : float
        Probability of the two options together; NaN where it is not known.
    bounded : bool
        One option was not among the listed tokens: its value is an upper bound, the smallest
        listed, so that the evidence is a lower bound in magnitude.
    evidence : {"likelihood", "sampled"}
    text : str
        What was said, shortened.
    usage : mapping
        ``input_tokens``, ``output_tokens``, ``cost`` where known.
    """

    first: float
    second: float
    outcome: Outcome = "ok"
    mass: float = math.nan
    bounded: bool = False
    evidence: Evidence = "likelihood"
    text: str = ""
    usage: Mapping[str, float] = field(default_factory=dict)

    @property
    def difference(self) -> float:
        """``l(first) - l(second)``; NaN without an answer."""
        return self.first - self.second if self.outcome == "ok" else math.nan

    @classmethod
    def none(cls, outcome: Outcome, *, text: str = "", **facts: Any) -> Self:
        """No answer, for a reason."""
        return cls(math.nan, math.nan, outcome, text=text[:400], **facts)

    def to_json(self) -> dict[str, Any]:
        """JSON object; NaN is null."""
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    @reading("answer of a model")
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Back from `to_json`.

        Raises
        ------
        InputError
            If it is no such record.
        """
        filled = {
            name: math.nan if value[name] is None else value[name]
            for name in ("first", "second", "mass")
        }
        return cls(**{**value, **filled})


Model = Callable[[Prompt], "Scored | Mapping[str, float]"]


def scored(given: Scored | Mapping[str, float], *, where: str) -> Scored:
    """What a model gave, as `Scored`.

    Raises
    ------
    InputError
        A mapping without both options, or with an infinite value.
    """
    if isinstance(given, Scored):
        return given
    if not isinstance(given, Mapping) or not set(OPTIONS) <= set(given):
        raise InputError(
            "a model must give a log-likelihood for each option",
            where=where,
            found=sorted(given) if isinstance(given, Mapping) else type(given).__name__,
            wanted=f"a mapping with {' and '.join(OPTIONS)}",
        )
    first, second = (float(given[option]) for option in OPTIONS)
    if math.isnan(first) or math.isnan(second):
        return Scored.none("option missing")
    if math.isinf(first) or math.isinf(second):
        raise InputError("an infinite log-likelihood", where=where, found=dict(given))
    return Scored(first, second, mass=math.exp(first) + math.exp(second))


def of_trial(first_order: Scored, second_order: Scored) -> tuple[float, str]:
    """Decision variable and status of a trial from both orders.

    Parameters
    ----------
    first_order : Scored
        With the query shown first as option A.
    second_order : Scored
        With it as option B.

    Returns
    -------
    value : float
        ``((lA - lB | first) - (lA - lB | second)) / 2``, in nats; NaN without an answer in either.
    status : str
        As in `imi_bench.tables.DecisionVariables`.

    Examples
    --------
    >>> always_a = Scored(-0.1, -3.0)
    >>> of_trial(always_a, always_a)
    (0.0, 'tie')
    """
    for one in (first_order, second_order):
        if one.outcome != "ok":
            return math.nan, one.outcome
    value = (first_order.difference - second_order.difference) / 2
    return value, "tie" if value == 0 else "ok"


def from_top_tokens(
    tokens: Sequence[tuple[str, float]], *, text: str = "", usage: Mapping[str, float] | None = None
) -> Scored:
    """Options among the likeliest first tokens that a server lists.

    Tokens that differ by space or case stand for one option; their probabilities add up.

    Parameters
    ----------
    tokens : sequence of (str, float)
        Token text and log-probability; values that mean "not computed" are dropped.
    text : str
    usage : mapping, optional
    """
    listed = [(token, lp) for token, lp in tokens if lp > _NOT_COMPUTED and math.isfinite(lp)]
    if not listed:
        return Scored.none("option missing", text=text, usage=usage or {})
    least = min(lp for _, lp in listed)
    sums = {option: 0.0 for option in OPTIONS}
    for token, lp in listed:
        plain = token.replace("▁", " ").replace("Ġ", " ").strip(" \n\t*\"'().:").upper()
        if plain in sums:
            sums[plain] += math.exp(lp)
    missing = [option for option, p in sums.items() if p == 0]
    if len(missing) == len(OPTIONS):
        return Scored.none("option missing", text=text, usage=usage or {})
    first, second = (math.log(sums[o]) if sums[o] else least for o in OPTIONS)
    return Scored(
        first,
        second,
        mass=sum(sums.values()),
        bounded=bool(missing),
        text=text[:400],
        usage=usage or {},
    )


def from_samples(said: Sequence[str | None], *, usage: Mapping[str, float] | None = None) -> Scored:
    """Evidence from sampled answers: ``log((a + 1/2) / (b + 1/2))``, recorded as ``sampled``.

    An answer that names neither option counts for none; without any that does, the trial is
    unparsed.

    Examples
    --------
    >>> round(from_samples(["A", "A", "B"]).difference, 3)
    0.511
    """
    counts = {option: sum(parsed(text) == option for text in said) for option in OPTIONS}
    text = " | ".join(str(one)[:60] for one in said)
    if not any(counts.values()):
        return Scored.none("unparsed", text=text, evidence="sampled", usage=usage or {})
    total = sum(counts.values()) + 1
    first, second = (math.log((counts[option] + 0.5) / total) for option in OPTIONS)
    return Scored(
        first,
        second,
        mass=sum(counts.values()) / len(said),
        evidence="sampled",
        text=text[:400],
        usage=usage or {},
    )


def parsed(text: str | None) -> str | None:
    """The option that a short answer names; None where it names none or both.

    Examples
    --------
    >>> parsed(" (B)."), parsed("Image A"), parsed("A or B?"), parsed("Apples")
    ('B', 'A', None, None)
    """
    words = "".join(c if c.isalnum() else " " for c in (text or "")).upper().split()
    named = {option for option in OPTIONS if option in words}
    return named.pop() if len(named) == 1 else None
