"""What a model gives back for one prompt, and how it becomes evidence.

A model is any callable ``prompt -> Scored`` (or a mapping of option to log-likelihood). Evidence of
one order is ``l(A) - l(B)``; of a trial half the difference of the two orders, so that whatever a
model says for a letter as such cancels.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

from imi_bench.documents import reading
from imi_bench.errors import InputError
from imi_bench.observers.incontext.prompt import OPTIONS, Prompt
from imi_bench.text import plural

Outcome = Literal["ok", "refused", "filtered", "unparsed", "truncated", "option missing", "error"]
Evidence = Literal["likelihood", "sampled"]
# what vLLM and others write for "not computed"
_NOT_COMPUTED = -9000.0
_ROUNDED = 0.01  # by which probabilities may sum to more than one
_LEFT = 1e-4  # least that listed tokens leave for the rest: servers round
_SPACES = str.maketrans(
    {"\u2581": " ", "\u0120": " ", "\u010a": " ", "\n": " ", "\t": " ", "\r": " "}
)


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
        Probability of the two options together; NaN where it is not known, or where a model's
        likelihoods are no probabilities.
    bounded : bool
        One option was not among the listed tokens: its value is an upper bound, the smallest
        listed, so that the evidence is a lower bound in magnitude.
    evidence : {"likelihood", "sampled"}
    text : str
        What was said, shortened.
    served : str
        What the server says it is: the model's name and its ``system_fingerprint``.
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
    served: str = ""
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
    mass = math.exp(min(first, 1.0)) + math.exp(min(second, 1.0))
    return Scored(first, second, mass=mass if mass <= 1 + _ROUNDED else math.nan)


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


def plain(token: str) -> str:
    """A token without the marks of spaces, invisible characters and punctuation around it.

    Case is kept: "a" is a word of its own, not the letter that was asked for.

    Examples
    --------
    >>> plain("\ufeff A."), plain("\u2581(B"), plain(" a"), plain("\u200b")
    ('A', 'B', 'a', '')
    """
    spaced = token.translate(_SPACES)
    visible = "".join(c for c in spaced if unicodedata.category(c) not in ("Cf", "Cc"))
    return visible.strip(" *\"'`().:[]{}_#")


def from_top_tokens(
    tokens: Sequence[tuple[str, float]], *, text: str = "", usage: Mapping[str, float] | None = None
) -> Scored:
    """Options among the likeliest tokens that a server lists for one place.

    Tokens that differ by spaces, invisible characters or punctuation around the letter stand for
    one option; their probabilities add up. An option that is not listed has at most the smallest
    probability listed, and at most what the listed ones leave.

    Parameters
    ----------
    tokens : sequence of (str, float)
        Token text and log-probability; values that mean "not computed" are dropped.
    text : str
    usage : mapping, optional

    Raises
    ------
    InputError
        Values that are no log-probabilities of one distribution.

    Examples
    --------
    >>> found = from_top_tokens([("A", -0.1), ("B", -9999.0)])
    >>> found.bounded, round(found.second, 3)
    (True, -2.352)
    """
    listed = [(token, lp) for token, lp in tokens if lp > _NOT_COMPUTED and math.isfinite(lp)]
    if not listed:
        return Scored.none("option missing", text=text, usage=usage or {})
    whole = math.fsum(math.exp(min(lp, 1.0)) for _, lp in listed)
    if whole > 1 + _ROUNDED or any(lp > _ROUNDED for _, lp in listed):
        raise InputError(
            "what the server calls log-probabilities are none",
            found=f"{plural(len(listed), 'token')} with probabilities that sum to {whole:.4g}",
            wanted="natural logarithms of probabilities that sum to at most 1",
            do="ask for sampled answers: samples=8",
        )
    sums = {option: 0.0 for option in OPTIONS}
    for token, lp in listed:
        if (said := plain(token)) in sums:
            sums[said] += math.exp(lp)
    missing = [option for option, p in sums.items() if p == 0]
    if len(missing) == len(OPTIONS):
        return Scored.none("option missing", text=text, usage=usage or {})
    least = min(min(lp for _, lp in listed), math.log(max(1 - whole, _LEFT)))
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

    A letter alone counts in either case; within words only as a capital, and A only where it cannot
    be the article: at the end, before punctuation, or after "image", "option" or "answer".

    Examples
    --------
    >>> parsed(" (B)."), parsed("b"), parsed("Image A fits"), parsed("A or B?")
    ('B', 'B', 'A', None)
    >>> parsed("a dog"), parsed("A dog"), parsed("It is a cat."), parsed("Apples")
    (None, None, None, None)
    """
    said = text or ""
    alone = plain(said).strip().upper()
    if alone in OPTIONS:
        return alone
    named = {found for pattern in _NAMED for found in pattern.findall(said)}
    return named.pop() if len(named) == 1 else None


_NAMED = (
    re.compile(r"(?i:image|option|answer|answer is|answer:)\W*([AB])(?![A-Za-z'])"),
    re.compile(r"(?<![A-Za-z])(A)(?=\W*$|[.,:;)!\]*\n]|\s+(?:or|and)\b)"),
    re.compile(r"(?<![A-Za-z])(B)(?![A-Za-z'])"),
)
