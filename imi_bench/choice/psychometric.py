"""The psychometric function and the record of its fit.

::

    P(choose first) = lapse/2 + (1 - lapse) * link(slope * evidence + bias)

A person who lapses picks a side by the toss of a coin. Wichmann and Hill (2001), *Perception &
Psychophysics* 63, 1293-1313, equation 1, with guess rate and lapse rate tied to lapse/2 each, as
the symmetry of a two-alternative choice demands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from imi_bench.arguments import checked_fields
from imi_bench.arrays import Floats
from imi_bench.errors import InputError
from imi_bench.results import Record
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.links import link_named

State = Literal[
    "interior",
    "lapse at 0",
    "lapse at least",
    "lapse at maximum",
    "separated",
    "weak",
    "one size",
    "flat",
    "unidentified",
]


@checked_fields
@dataclass(frozen=True, repr=False)
class PsychometricParameters(Record):
    """Parameters of one psychometric function.

    Attributes
    ----------
    slope : float
        Per unit of evidence; positive where people lean the way the evidence does.
    bias : float
        Pull towards the query shown first, in link units; 0 for none.
    lapse : float
        Share of answers given whatever is shown, in [0, 1].
    link : str
        ``logit`` or ``probit``.

    Raises
    ------
    InputError
        For a number that is not finite, or a lapse outside [0, 1].
    """

    slope: float
    bias: float = 0.0
    lapse: float = 0.0
    link: str = "logit"

    def __post_init__(self) -> None:
        link_named(self.link)
        if not (math.isfinite(self.slope) and math.isfinite(self.bias) and 0 <= self.lapse <= 1):
            raise InputError(
                "not the parameters of a psychometric function",
                found=asdict(self),
                wanted="finite slope and bias, lapse between 0 and 1",
            )


def choice_probability(evidence: ArrayLike, parameters: PsychometricParameters) -> Floats:
    """Probability of choosing the query that positive evidence speaks for.

    Parameters
    ----------
    evidence : array_like of float
        Positive = "the first query is the strongly activating one"; NaN stays NaN.
    parameters : PsychometricParameters

    Returns
    -------
    float64 array of the shape of `evidence`

    Examples
    --------
    >>> p = choice_probability([0.0, 1e9], PsychometricParameters(2.0, lapse=0.1))
    >>> [round(float(v), 3) for v in p]
    [0.5, 0.95]
    """
    link = link_named(parameters.link)
    eta = parameters.slope * np.asarray(evidence, dtype=np.float64) + parameters.bias
    p = parameters.lapse / 2 + (1 - parameters.lapse) * link.value(eta)
    return np.asarray(p, dtype=np.float64)


@dataclass(frozen=True, eq=False, repr=False)
class PsychometricFit(Record):
    """A fitted psychometric function.

    Attributes
    ----------
    link : str
    slopes : mapping of str to Estimate
        One slope a group; the key is ``all`` without groups. Link units per unit of evidence.
    bias, lapse : Estimate
        Fixed ones have no interval and say so.
    log_likelihood : float
        Nats, without binomial coefficients.
    n, clusters : int
        Answers, and the independent clusters they come in (answers themselves if not told).
    state : str
        ``interior``: a maximum inside the range of all parameters.
        ``lapse at 0``, ``lapse at least`` (the least that the fit allowed), ``lapse at maximum``:
        the lapse stands at the end of its range; it has no
        standard error there, and the other intervals hold it fixed.
        ``separated``: evidence tells the choices apart (almost) without error up to the lapses, so
        that the likelihood rises without end with the slope; the slope stands at its limit and has
        no interval.
        ``weak``: choices do not move with the evidence (likelihood-ratio test of all slopes at
        the level of the intervals), so that any lapse fits as well; the lapse is held at its least.
        ``one size``: all evidence has one absolute size, so that slope and lapse explain the
        choices alike; the lapse is held at its least.
        ``flat``: all evidence is zero; slope 0, nothing is identified.
        ``unidentified``: the information is singular, or there is one cluster; no intervals.
    covariance : (q, q) float64
        Of ``(*slopes, [bias], [lapse])`` as `names` lists them; NaN where undefined.
    names : tuple of str
        The estimated parameters.
    """

    link: str
    slopes: Mapping[str, Estimate]
    bias: Estimate
    lapse: Estimate
    log_likelihood: float
    n: int
    clusters: int
    state: State
    covariance: Floats
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        link_named(self.link)
        if self.covariance.ndim != 2:
            found = f"{self.covariance.ndim} axes"
            raise InputError("not a covariance", found=found, wanted="a square of numbers")

    def parameters(self, group: str = "all") -> PsychometricParameters:
        """The parameters for one group.

        A group without a slope of its own gets the mean slope of the others.
        """
        own = [self.slopes[group]] if group in self.slopes else self.slopes.values()
        slope = float(np.mean([one.value for one in own]))
        return PsychometricParameters(slope, self.bias.value, self.lapse.value, self.link)
