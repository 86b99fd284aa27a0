"""`Estimate`: an uncertain number."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from numbers import Real
from textwrap import shorten
from typing import Any, Self

from imi_bench.arguments import checked_level
from imi_bench.errors import InputError
from imi_bench.results import Record


def too_few_draws(draws: int, level: float) -> str:
    """Why so few draws say nothing of an interval's ends; empty where they are enough.

    Each end needs a draw beyond it: ``draws + 1`` at least ``2 / (1 - level)``, 39 draws for 95 %.

    Examples
    --------
    >>> too_few_draws(38, 0.95), too_few_draws(39, 0.95)
    ('38 draws are too few for an interval of 95%: 39 or more', '')
    """
    wanted = math.ceil(2 / (1 - level) - 1 - 1e-9)
    if draws >= wanted:
        return ""
    return f"{draws} draws are too few for an interval of {level:.0%}: {wanted} or more"


def bracketed(value: float, low: float = math.nan, high: float = math.nan) -> str:
    """A number and its interval, each left out where there is none.

    Examples
    --------
    >>> bracketed(0.1234, 0.05, 0.2), bracketed(0.1234), bracketed(math.nan)
    ('0.123 [0.050, 0.200]', '0.123', '')
    """
    if math.isnan(value):
        return ""
    return f"{value:z.3f}" + ("" if math.isnan(low) else f" [{low:z.3f}, {high:z.3f}]")


@dataclass(frozen=True, repr=False)
class Estimate(Record):
    """A number with its interval, and how both came about.

    Attributes
    ----------
    value : float
        NaN where undefined; then `reason` says why.
    low, high : float
        Ends of the interval; NaN where there is none.
    level : float
        Nominal coverage of the interval, such as 0.95.
    method : str
        How the interval was made, such as ``cluster bootstrap (percentile, 2000)``.
    n : int
        Number of answers or trials behind the number.
    clusters : int
        Number of independent clusters (units, participants) behind it.
    unit : str
        Unit of the number: ``proportion``, ``bits/answer``, ``r`` …
    reason : str
        Why the value or the interval is NaN; empty otherwise.

    Raises
    ------
    InputError
        If low > high, the level is not in (0, 1), or NaN comes without a reason.

    Examples
    --------
    >>> print(Estimate(0.8123, 0.79, 0.83, n=1000, clusters=84, method="bootstrap"))
    0.812 [0.790, 0.830]
    >>> print(Estimate.undefined("only one unit", n=30, clusters=1))
    undefined (only one unit)
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    level: float = 0.95
    method: str = ""
    n: int = 0
    clusters: int = 0
    unit: str = "proportion"
    reason: str = ""

    def __post_init__(self) -> None:
        ends = (self.value, self.low, self.high)
        if not all(isinstance(one, Real) for one in ends) or not isinstance(self.reason, str):
            found = shorten(repr((*ends, self.reason)), 80)
            raise InputError("not a number with an interval", found=found)
        if self.low > self.high:
            raise InputError("interval upside down", found=f"[{self.low}, {self.high}]")
        checked_level(self.level)
        if not self.reason and any(map(math.isnan, ends)):
            raise InputError("an undefined number needs a reason", found=asdict(self))

    @classmethod
    def undefined(cls, reason: str, *, n: int = 0, clusters: int = 0, **facts: Any) -> Self:
        """A number that cannot be computed, and why."""
        return cls(math.nan, n=n, clusters=clusters, reason=reason, **facts)

    def __str__(self) -> str:
        if math.isnan(self.value):
            return f"undefined ({self.reason})"
        if math.isnan(self.low):
            return f"{self.value:z.3f} (no interval: {self.reason})"
        return bracketed(self.value, self.low, self.high)
