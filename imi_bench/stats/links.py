"""Links: the S-shaped functions that turn evidence into a probability.

In the words of psychophysics the *link* here maps evidence to probability (what generalised
linear models call the inverse link). Two constants, `LOGIT` and `PROBIT`; both are symmetric,
``value(-x) = 1 - value(x)``, which is what lets evidence be turned round with the two queries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from imi_bench.arrays import Floats
from imi_bench.errors import UnknownNameError

__all__ = ["LINKS", "LOGIT", "PROBIT", "Derivatives", "Link", "link_named"]

Function = Callable[[Any], Any]

_SQRT_2PI = np.sqrt(2 * np.pi)


class Derivatives(NamedTuple):
    """Value and derivatives of a link at many points, from as few exponentials as it takes.

    The second derivative is ``first * bend``, the third ``first * (bend**2 + turn)``.

    Attributes
    ----------
    value : ndarray of float64
        Of the shape of the points. Right to rounding in the lower tail.
    first : ndarray of float64
        First derivative.
    bend : ndarray of float64
        Second derivative over the first: the slope of its logarithm.
    turn : ndarray of float64
        Slope of `bend`.
    """

    value: Floats
    first: Floats
    bend: Floats
    turn: Floats


@dataclass(frozen=True, eq=False)
class Link:
    """A symmetric cumulative distribution function with its inverse and derivatives.

    Attributes
    ----------
    name : str
        ``logit`` or ``probit``.
    value : callable
        Evidence (any shape, real) to probability in [0, 1]. Relative error stays at rounding in
        the lower tail; for the upper tail use ``value(-x)``, the probability of the other choice.
    log_value : callable
        Logarithm of `value`, finite where `value` itself underflows.
    inverse : callable
        Probability in [0, 1] to evidence; infinite at 0 and 1, NaN outside.
    first, second : callable
        First and second derivative of `value` by the evidence.
    mills : callable
        ``first / value``, the inverse Mills ratio of the lower tail, finite where both underflow.
    derivatives : callable
        All at once, as `Derivatives`.
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
    mills: Function
    derivatives: Callable[[Floats], Derivatives]

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


def _logit_mills(x: ArrayLike) -> Floats:
    return np.asarray(special.expit(np.negative(x)))


def _logit_derivatives(x: Floats) -> Derivatives:
    small = np.exp(-np.abs(x))
    large = 1.0 / (1.0 + small)
    first = small * large * large
    value = np.where(x >= 0.0, large, small * large)
    bend = np.where(x >= 0.0, small - 1.0, 1.0 - small) * large
    return Derivatives(value, first, bend, -2.0 * first)


def _probit_mills(x: ArrayLike) -> Floats:
    log_density = -0.5 * np.square(x) - 0.5 * np.log(2.0 * np.pi)
    return np.asarray(np.exp(log_density - special.log_ndtr(x)))


def _probit_derivatives(x: Floats) -> Derivatives:
    return Derivatives(special.ndtr(x), _probit_first(x), np.negative(x), np.full_like(x, -1.0))


LOGIT = Link(
    "logit",
    value=special.expit,
    log_value=special.log_expit,
    inverse=special.logit,
    first=_logit_first,
    second=_logit_second,
    mills=_logit_mills,
    derivatives=_logit_derivatives,
)
PROBIT = Link(
    "probit",
    value=special.ndtr,
    log_value=special.log_ndtr,
    inverse=special.ndtri,
    first=_probit_first,
    second=_probit_second,
    mills=_probit_mills,
    derivatives=_probit_derivatives,
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
    UnknownNameError.unless_among(name, LINKS, kind="link")
    return LINKS[name]
