"""One-sided tests of a mean over trials that come in units: what a run may be said to show.

Two errors are guarded at once, and a claim needs both:

* **The clustered t test.** The variance of a mean over units is CR2, with Bell and McCaffrey's
  degrees of freedom, both for independent trials and for trials that are all alike within their
  unit; the harsher counts. Where the claim is "no worse than the margin" the variance is also
  taken about the margin (a score test), is never less than that of rare losses alone,
  ``m (1 - m) / N``, and the skewness of the units' sums beyond that of rare
  losses enters by its Edgeworth term.
* **The exact tail of rare changes.** Losses and gains are counts; the probability of a net count
  as small as the one seen is that of a difference of two Poisson counts (Skellam) whose rates are
  the most likely ones with the drop at the margin. With no change at all this is the rule of
  three: N trials bound the drop by ``3 / N``. Changes that fall together in units count as fewer:
  they are divided by the design effect, which is estimated and never below that of an intraclass
  correlation of `UNSEEN_CORRELATION`, since of changes not seen no correlation can be estimated.

Sources: Bell & McCaffrey, Survey Methodology 28:169 (2002); Pustejovsky & Tipton, JBES 36:672
(2018); Tango, Statistics in Medicine 17:891 (1998), for the restricted rates; Hall, JRSS B 54:221
(1992), for the skewness. The error rates are simulated in ``benchmarks/gate_characteristics.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import optimize, special

from imi_bench.arrays import Floats

__all__ = ["UNSEEN_CORRELATION", "UnitSums", "interval", "p_at_least", "p_at_most"]

UNSEEN_CORRELATION = 0.04
"""Intraclass correlation taken for changes that the data do not show: the median over all pairs of
observers of the board ``observers-mini`` (`benchmarks/gate_characteristics.py` measures it)."""
_MANY_CHANGES = 500.0  # expected; from here on the normal law is as good
_NO_CHANGE = 1e-6
_ROOT_2_PI = 2.5066282746310002
_NORMAL_95 = 1.6448536269514722


@dataclass(frozen=True, eq=False)
class UnitSums:
    """Sums of a number over the trials of each unit; leading axes are data sets.

    Attributes
    ----------
    size : (…, U) float64
        Trials of each unit.
    net, gross : (…, U) float64
        Sum of the number, and of its absolute value. (…, U) for many data sets at once.
    largest : float
        Largest absolute value that a trial can have.
    signed : bool
        Whether the number can be negative (a difference); otherwise it is a share of `largest`.

    Examples
    --------
    >>> sums = UnitSums.of(np.array([1.0, 0.0, 0.0, -1.0]), np.array([0, 0, 1, 1]))
    >>> sums.net.tolist(), float(sums.mean), float(sums.trials)
    ([1.0, -1.0], 0.0, 4.0)
    """

    size: Floats
    net: Floats
    gross: Floats
    largest: float = 1.0
    signed: bool = True

    @classmethod
    def of(
        cls, values: Floats, unit: np.ndarray, *, largest: float = 1.0, signed: bool = True
    ) -> UnitSums:
        """Sums of `values` (T,) over the units whose codes 0 … U - 1 are `unit` (T,)."""
        size = np.bincount(unit).astype(np.float64)
        net, gross = (
            np.asarray(np.bincount(unit, one, minlength=len(size)), dtype=np.float64)
            for one in (values, np.abs(values))
        )
        return cls(size, net, gross, largest, signed)

    @property
    def units(self) -> int:
        """U."""
        return self.net.shape[-1]

    @cached_property
    def trials(self) -> Floats:
        """(…) N."""
        return np.broadcast_to(self.size, self.net.shape).sum(axis=-1)

    @cached_property
    def mean(self) -> Floats:
        """(…) mean over trials."""
        return np.asarray(self.net.sum(axis=-1) / self.trials)

    @cached_property
    def moments(self) -> Moments:
        """What both tests are computed from."""
        size = np.broadcast_to(self.size, self.net.shape).astype(np.float64)
        left = self.net - size * self.mean[..., None]
        share = size / self.trials[..., None]
        raw = (left**2 / (1 - share)).sum(axis=-1) / self.trials**2
        alone = _satterthwaite(size, size)
        together = _satterthwaite(size, size**2)
        inflation = np.maximum(1.0, (size**2).sum(axis=-1) / together[1])
        power = (left**2).sum(axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            skew = np.where(power > 0, (left**3).sum(axis=-1) / power**1.5, 0.0)
        return Moments(
            trials=self.trials,
            mean=self.mean,
            gross=self.gross.sum(axis=-1),
            variance=raw * inflation,
            spread=(size**2).sum(axis=-1) / self.trials**2,
            freedom=np.minimum(alone[0], together[0]),
            skew=skew,
            largest=self.largest,
            signed=self.signed,
        )

    def flipped(self, top: float = 0.0) -> UnitSums:
        """Sums of ``top`` minus the number: losses become gains, correct answers errors."""
        net = top * self.size - self.net
        return UnitSums(
            self.size, net, self.gross if self.signed else net, self.largest, self.signed
        )


@dataclass(frozen=True, eq=False)
class Moments:
    """Summary of `UnitSums`, each of shape (…).

    Attributes
    ----------
    trials, mean, gross : ndarray of float64
        N, mean, and the sum of absolute values.
    variance : ndarray of float64
        CR2 variance of the mean.
    spread : ndarray of float64
        ``sum(n_u ** 2) / N ** 2``.
    freedom : ndarray of float64
        Degrees of freedom of `variance`.
    skew : ndarray of float64
        Third moment of the units' residual sums over the 1.5th power of the second.
    """

    trials: Floats
    mean: Floats
    gross: Floats
    variance: Floats
    spread: Floats
    freedom: Floats
    skew: Floats
    largest: float
    signed: bool

    def grown(self, factor: float, *, shift: float) -> Moments:
        """The summary expected of `factor` times as many units, with the mean moved by `shift`."""
        mean = self.mean + shift
        return Moments(
            trials=self.trials * factor,
            mean=mean,
            gross=np.maximum(self.gross + abs(shift) * self.trials, 0.0) * factor,
            variance=self.variance / factor,
            spread=self.spread / factor,
            freedom=self.freedom * factor,
            skew=self.skew / np.sqrt(factor),
            largest=self.largest,
            signed=self.signed,
        )


def p_at_least(data: UnitSums | Moments, value: float) -> Floats:
    """P value of "the true mean is at least `value`"; small where it is shown to be less.

    The test behind "pass": the number is the drop, `value` the margin.

    Parameters
    ----------
    data : UnitSums or Moments
    value : float
        0 or more.

    Returns
    -------
    (…) float64

    Examples
    --------
    >>> none = np.zeros(40)  # 40 trials of 20 units, no answer changed
    >>> float(p_at_least(UnitSums(np.full(20, 2.0), none[:20], none[:20]), 0.01).round(2))
    0.68
    """
    m = data.moments if isinstance(data, UnitSums) else data
    about_value = m.variance + m.spread * (m.mean - value) ** 2
    least = abs(value) * max(m.largest - abs(value), 0.0) / m.trials
    error = np.sqrt(np.maximum(about_value, least))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(error > 0, (value - m.mean) / error, np.sign(value - m.mean) * np.inf)
    t = np.nan_to_num(t, nan=0.0, posinf=1e9, neginf=-1e9)
    skew = np.maximum(m.skew - _poisson_skew(m), 0.0)
    edgeworth = skew * (2 * t**2 + 1) / 6 * np.exp(-(t**2) / 2) / _ROOT_2_PI
    return np.asarray(np.maximum(special.stdtr(m.freedom, -t) + edgeworth, _rare(m, value)))


def p_at_most(data: UnitSums | Moments, value: float) -> Floats:
    """P value of "the true mean is at most `value`"; small where it is shown to be more.

    The test behind "worse". Data without any spread between units have the design effect of
    `UNSEEN_CORRELATION`.

    Returns
    -------
    (…) float64
    """
    m = data.moments if isinstance(data, UnitSums) else data
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(m.variance > 0, (m.mean - value) / np.sqrt(m.variance), np.nan)
    clustered = np.where(
        m.variance > 0, special.stdtr(m.freedom, -t), np.where(m.mean > value, 0.0, 1.0)
    )
    effect = np.where(m.variance > 0, 1.0, _unseen(m))
    return np.asarray(np.maximum(clustered, _many(m, value, effect)))


def interval(sums: UnitSums, alpha: float) -> tuple[float, float]:
    """The two one-sided 1 - alpha bounds of the mean: values that neither test refuses.

    Parameters
    ----------
    sums : UnitSums
        Of one data set.
    alpha : float
        Error rate of each bound.
    """
    lowest = -sums.largest if sums.signed else 0.0
    m = sums.moments
    mean = float(m.mean)

    def edge(refused: float, test: Callable[[Moments, float], Floats]) -> float:
        """The bound between the mean and a value that is refused; that value if it is not."""
        if float(test(m, refused)) > alpha:
            return refused
        return float(optimize.brentq(lambda v: float(test(m, v)) - alpha, refused, mean, xtol=1e-7))

    return min(edge(lowest, p_at_most), mean), max(edge(sums.largest, p_at_least), mean)


def _poisson_skew(m: Moments) -> Floats:
    """The part of `Moments.skew` that the exact tail of rare changes has already."""
    gross = np.maximum(m.gross / m.largest, 1.0)
    return np.asarray(m.mean * m.trials / m.largest / gross**1.5)


def _unseen(m: Moments) -> Floats:
    """Design effect of `UNSEEN_CORRELATION`."""
    return 1 + np.maximum(m.spread * m.trials - 1, 0.0) * UNSEEN_CORRELATION


def _rare(m: Moments, value: float) -> Floats:
    """Probability of so small a net count where the mean is `value`."""
    gross, net, target = m.gross / m.largest, m.mean * m.trials / m.largest, value / m.largest
    losses = (gross + net) / 2
    gains = gross - losses if m.signed else np.zeros_like(losses)
    with np.errstate(divide="ignore", invalid="ignore"):
        seen = np.where(
            gross > 0, m.variance * (m.trials / m.largest) ** 2 / np.maximum(gross, 1e-12), 1.0
        )
        expected = m.trials * (abs(target) + 2 * _gains(losses, gains, m.trials, target))
        growth = np.where(gross > 0, np.maximum(1.0, expected / np.maximum(gross, 1e-12)), 1.0)
    few = (special.stdtrit(m.freedom, 0.95) / _NORMAL_95) ** 2
    effect = np.maximum(_unseen(m), 1 + (seen - 1) * growth * few)
    losses, gains, trials = losses / effect, gains / effect, m.trials / effect
    if not m.signed:
        return np.asarray(
            special.betaincc(losses + 1, np.maximum(trials - losses, 1e-9), np.clip(target, 0, 1))
        )
    rate = _gains(losses, gains, trials, target)
    return _skellam(losses - gains, trials * (rate + target), trials * rate)


def _many(m: Moments, value: float, effect: Floats) -> Floats:
    """Probability of so large a net count where the mean is `value`."""
    gross, net, target = m.gross / m.largest, m.mean * m.trials / m.largest, value / m.largest
    losses = (gross + net) / 2 / effect
    trials = m.trials / effect
    if not m.signed:
        return np.asarray(
            special.betainc(
                np.maximum(losses, 1e-9), np.maximum(trials - losses, 0) + 1, np.clip(target, 0, 1)
            )
        )
    gains = gross / effect - losses
    rate = _gains(losses, gains, trials, target)
    return 1 - _skellam(losses - gains - 1, trials * (rate + target), trials * rate)


def _gains(losses: Floats, gains: Floats, trials: Floats, drop: float) -> Floats:
    """Most likely rate of gains where the rate of losses exceeds it by `drop` (Poisson counts)."""
    b = 2 * trials * drop - losses - gains
    root = np.sqrt(np.maximum(b**2 + 8 * trials * gains * drop, 0.0))
    return np.maximum((root - b) / (4 * trials), max(0.0, -drop))


def _skellam(k: Floats, first: Floats, second: Floats) -> Floats:
    """P(Poisson(first) - Poisson(second) <= k), for k between whole numbers too."""
    k, first, second = (np.array(a, dtype=float) for a in np.broadcast_arrays(k, first, second))
    p = np.empty(k.shape)
    many = first + second > _MANY_CHANGES
    alone = ~many & (second < _NO_CHANGE)
    only = ~many & ~alone & (first < _NO_CHANGE)
    both = ~many & ~alone & ~only
    up, down = both & (k >= 0), both & (k < 0)
    spread = np.sqrt(np.maximum(first + second, _NO_CHANGE))
    p[many] = special.ndtr(((k + 0.5 - first + second) / spread)[many])
    p[alone] = np.where(k < 0, 0.0, special.gammaincc(np.maximum(k, 0) + 1, first))[alone]
    p[only] = np.where(k >= 0, 1.0, special.gammainc(np.maximum(-k, 1e-9), second))[only]
    p[up] = 1 - special.chndtr(2 * first[up], 2 * (k[up] + 1), 2 * second[up])
    p[down] = special.chndtr(2 * second[down], -2 * k[down], 2 * first[down])
    return p


def _satterthwaite(size: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """Degrees of freedom of the CR2 variance, and its expectation times N squared.

    The units' sums have variances `variance` (…, U). With P = I - n 1'/N and A the CR2 weights,
    the quadratic form is Q = A P diag(v) P' A; the degrees of freedom are tr(Q)^2 / tr(Q^2) and
    Q is diagonal plus a matrix of rank two, so no U x U matrix is made.
    """
    trials = size.sum(axis=-1, keepdims=True)
    weight = 1 / np.sqrt(1 - size / trials)
    x, y = weight * variance, weight * size
    c = variance.sum(axis=-1, keepdims=True) / trials**2
    diagonal = weight**2 * variance
    low_rank = -2 * x * y / trials + c * y**2
    trace = (diagonal + low_rank).sum(axis=-1)
    xx, yy, xy = ((a * b).sum(axis=-1) for a, b in ((x, x), (y, y), (x, y)))
    n, c = trials[..., 0], c[..., 0]
    square = (2 * xx * yy + 2 * xy**2) / n**2 - 4 * c * xy * yy / n + (c * yy) ** 2
    square += (diagonal**2 + 2 * diagonal * low_rank).sum(axis=-1)
    return trace**2 / square, trace
