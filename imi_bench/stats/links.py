"""Links: the S-shaped functions that turn evidence into a probability.

In the words of psychophysics the *link* here maps evidence to probability (what generalised
linear models call the inverse link). Two constants, `LOGIT` and `PROBIT`; both are symmetric,
``value(-x) = 1 - value(x)``, which is what lets evidence be turned round with the two queries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from imi_bench.arrays import Floats
from imi_bench.errors import UnknownNameError

__all__ = ["LINKS", "LOGIT", "PROBIT", "Link", "link_named"]

Function = Callable[[Any], Any]

_SQRT_2PI = np.sqrt(2 * np.pi)


@dataclass(frozen=True, eq=False)
class Link:
    """A symmetric cumulative distribution function with its inverse and derivatives.

    Attributes
    ----------
    name : str
    value : callable
        Evidence (any shape, real) to probability in [0, 1]. Relative error stays at rounding in
        the lower tail; for the upper tail use ``value(-x)``, the probability of the other choice.
    log_value : callable
        Logarithm of `value`, finite where `value` itself underflows.
    inverse : callable
        Probability in [0, 1] to evidence; infinite at 0 and 1, NaN outside.
    first, second : callable
        First and second derivative of `value` by the evidence.
    first_peak : float
        ``first(0)``, the steepest ascent, which sets the scale between links.

    Notes
    -----
    Every function takes an array (or number) and gives a float64 array of the same shape.

    Examples
    --------
    >>> float(LOGIT.value(0.0)), float(PROBIT.inverse(0.5))
    (0.5, 0.0)
    >>> bool(LOGIT.log_value(-800.0) == -800.0)
    True
    """

    name: str
    value: Function
    log_value: Function
    inverse: Function
    first: Function
    second: Function

    @property
    def first_peak(self) -> float:
        """Slope of the link at zero evidence: 1/4 for logit, 0.399 for probit."""
        return float(self.first(0.0))

    def __repr__(self) -> str:
        return f"Link({self.name!r})"


def _logit_first(x: ArrayLike) -> Floats:
    evidence = np.asarray(x, dtype=np.float64)
    return np.asarray(special.expit(evidence) * special.expit(-evidence))


def _logit_second(x: ArrayLike) -> Floats:
    return np.asarray(-np.tanh(np.multiply(0.5, x)) * _logit_first(x))


def _probit_first(x: ArrayLike) -> Floats:
    return np.asarray(np.exp(-0.5 * np.square(x)) / _SQRT_2PI)


def _probit_second(x: ArrayLike) -> Floats:
    return np.asarray(np.negative(x) * _probit_first(x))


LOGIT = Link("logit", special.expit, special.log_expit, special.logit, _logit_first, _logit_second)
PROBIT = Link(
    "probit", special.ndtr, special.log_ndtr, special.ndtri, _probit_first, _probit_second
)
LINKS = {link.name: link for link in (LOGIT, PROBIT)}


def link_named(name: str) -> Link:
    """Find a link by its name.

    Raises
    ------
    UnknownNameError
        If it is neither ``logit`` nor ``probit``.

    Examples
    --------
    >>> link_named("probit")
    Link('probit')
    """
    try:
        return LINKS[name]
    except KeyError:
        raise UnknownNameError.among(name, LINKS, kind="link") from None
