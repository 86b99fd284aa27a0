"""Maximum-likelihood fit of the psychometric function to aggregated answers.

The function itself is in `imi_bench.choice.psychometric`, its likelihood in
`imi_bench.choice.likelihood`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from imi_bench.arrays import Floats
from imi_bench.choice import likelihood
from imi_bench.choice.likelihood import BinomialRows
from imi_bench.choice.maximise import LAPSE_MAX, STEEPEST, climb
from imi_bench.choice.psychometric import (
    PsychometricFit,
    PsychometricParameters,
    State,
    choice_probability,
)
from imi_bench.choice.scoring import Maximum
from imi_bench.errors import InputError, NotEnoughDataError
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.links import Link, link_named

__all__ = [
    "PsychometricFit",
    "PsychometricParameters",
    "choice_probability",
    "fit_psychometric",
]


def fit_psychometric(
    evidence: ArrayLike,
    *,
    successes: ArrayLike,
    trials: ArrayLike | None = None,
    group: ArrayLike | None = None,
    cluster: ArrayLike | None = None,
    link: str = "logit",
    bias: bool = False,
    lapse: float | None = None,
    level: float = 0.95,
) -> PsychometricFit:
    """Fit slope (one a group), bias and lapse by maximum likelihood.

    Parameters
    ----------
    evidence : (R,) float
        Signed so that positive evidence speaks for a success; finite.
    successes : (R,) float
        Successes among `trials`: choices of the first query if `evidence` is oriented to the order
        the person saw, correct answers if it is oriented to the correct query.
    trials : (R,) float, optional
        Answers in each row; 1 by default. Rows of equal evidence may be aggregated at will: the
        estimates do not change.
    group : (R,) str, optional
        Each group (such as a mode) gets a slope of its own; bias and lapse stay common.
    cluster : (R,) str, optional
        Rows of one cluster (a unit) are not independent; intervals are then robust to that.
    link : str
        ``logit`` or ``probit``.
    bias : bool
        Estimate a bias. Only meaningful with `evidence` oriented to the order shown.
    lapse : float, optional
        Hold the lapse at this value; estimated by default.
    level : float

    Returns
    -------
    PsychometricFit

    Raises
    ------
    InputError
        Rows of unequal length, evidence that is not finite, counts that are not.
    NotEnoughDataError
        No answer at all.

    Notes
    -----
    Without `cluster` the covariance is the inverse observed information. With it, the sandwich
    ``H^-1 (G/(G-1) sum_g s_g s_g') H^-1`` with s_g the score of cluster g and H the observed
    information, and t quantiles with G - 1 degrees of freedom (Cameron and Miller 2015, *Journal
    of Human Resources* 50, 317-372). The slope is then the population's: where units differ beyond
    the evidence, it is flatter than that within any unit (for unit effects see
    `imi_bench.choice.unit_effects`). The interval of the lapse is symmetric on the logit scale.

    Examples
    --------
    >>> fit = fit_psychometric([-1, 1, -2, 2], successes=[3, 7, 1, 9], trials=[10] * 4, lapse=0.0)
    >>> round(fit.slopes["all"].value, 3), fit.state
    (1.012, 'interior')
    """
    rows, groups, clusters = _rows(evidence, successes, trials, group, cluster, bias)
    n = round(rows.trials.sum())
    if n == 0:
        raise NotEnoughDataError("no answers to fit a psychometric function to")
    chosen = link_named(link)
    scale = _scale(rows, groups)
    scaled = BinomialRows(rows.design / scale, rows.successes, rows.trials)
    best, state = _best(scaled, chosen, groups=len(groups), lapse=lapse, level=level)
    lapse_free = lapse is None and state not in ("flat", "weak", "one size")
    covariance, singular = _covariance(best, scaled, chosen, clusters, lapse_free=lapse_free)
    if singular:
        state = "unidentified"
    spread = np.append(scale, 1.0)
    return _assemble(
        replace(best, theta=best.theta / spread),
        covariance / np.outer(spread, spread),
        groups=groups,
        bias=bias,
        lapse_free=lapse_free,
        link=link,
        state=state,
        n=n,
        clusters=n if clusters is None else int(clusters.max()) + 1,
        level=level,
        robust=clusters is not None,
    )


def _rows(
    evidence: ArrayLike,
    successes: ArrayLike,
    trials: ArrayLike | None,
    group: ArrayLike | None,
    cluster: ArrayLike | None,
    bias: bool,
) -> tuple[BinomialRows, list[str], NDArray[np.int64] | None]:
    x = np.asarray(evidence, dtype=np.float64)
    k = np.asarray(successes, dtype=np.float64)
    n = np.ones_like(x) if trials is None else np.asarray(trials, dtype=np.float64)
    names = np.full(len(x), "all") if group is None else np.asarray(group).astype(str)
    lengths = {"evidence": len(x), "successes": len(k), "trials": len(n), "group": len(names)}
    if cluster is not None:
        lengths["cluster"] = len(np.asarray(cluster))
    if len(set(lengths.values())) != 1:
        raise InputError("rows of unequal length", where="fit_psychometric", found=lengths)
    if not np.isfinite(x).all():
        raise InputError(
            "evidence is not finite",
            where="fit_psychometric",
            found=f"{(~np.isfinite(x)).sum()} such rows",
            do="leave unanswered trials out",
        )
    if not ((k >= 0) & (k <= n)).all():
        raise InputError(
            "counts are not possible",
            where="fit_psychometric",
            wanted="0 <= successes <= trials in every row",
        )
    used = n > 0
    groups = np.unique(names[used]).tolist()
    columns = [np.where(names == name, x, 0.0) for name in groups]
    if bias:
        columns.append(np.ones_like(x))
    design = np.column_stack(columns)[used] if groups else np.zeros((0, 1))
    clusters = None
    if cluster is not None:
        clusters = pd.factorize(np.asarray(cluster)[used])[0]
    return BinomialRows(design, k[used], n[used]), groups, clusters


def _scale(rows: BinomialRows, groups: list[str]) -> Floats:
    """(q,) factors that make evidence of root mean square 1; the bias column stays."""
    weights = rows.trials[:, None] * (rows.design != 0)
    mean_square = (weights * rows.design**2).sum(axis=0) / np.maximum(weights.sum(axis=0), 1)
    scale = np.sqrt(mean_square)
    scale[len(groups) :] = 1.0
    return np.where(scale > 0, scale, 1.0)


def _one_size(evidence: Floats) -> bool:
    """True where each group's evidence (a column) has one absolute size, zeros aside."""
    size = np.abs(evidence)
    return bool(np.all((size == 0) | np.isclose(size, size.max(axis=0), rtol=1e-9)))


def _best(
    rows: BinomialRows,
    link: Link,
    *,
    groups: int,
    lapse: float | None,
    level: float,
) -> tuple[Maximum, State]:
    """Find the maximum, and say what kind of maximum it is."""
    evidence = rows.design[:, :groups]
    steepest = STEEPEST / link.first_peak
    if not np.any(evidence):
        return climb(rows, link, groups=groups, steepest=0.0, lapse=lapse or 0.0), "flat"
    if lapse is None and _one_size(evidence):
        return climb(rows, link, groups=groups, steepest=steepest, lapse=0.0), "one size"
    best = climb(rows, link, groups=groups, steepest=steepest, lapse=lapse)
    if lapse is None:
        null = climb(rows, link, groups=groups, steepest=0.0, lapse=0.0)
        if 2 * (best.value - null.value) < special.chdtri(groups, 1 - level):
            return climb(rows, link, groups=groups, steepest=steepest, lapse=0.0), "weak"
    if best.at_bound[:groups].any():
        return best, "separated"
    if lapse is None and best.at_bound[-1]:
        return best, "lapse at 0" if best.theta[-1] == 0 else "lapse at maximum"
    return best, "interior" if best.converged else "unidentified"


def _covariance(
    best: Maximum,
    rows: BinomialRows,
    link: Link,
    clusters: NDArray[np.int64] | None,
    *,
    lapse_free: bool,
) -> tuple[Floats, bool]:
    """(q + 1, q + 1) covariance, NaN for parameters at a bound, and whether it is singular."""
    size = len(best.theta)
    covariance = np.full((size, size), np.nan)
    free = ~best.at_bound
    free[-1] &= lapse_free
    if not free.any():
        return covariance, False
    block = np.ix_(free, free)
    information = likelihood.observed_information(best.theta, rows, link)[block]
    diagonal = np.diag(information)
    if (diagonal <= 0).any():
        return covariance, True
    eigenvalues = np.linalg.eigvalsh(information / np.sqrt(np.outer(diagonal, diagonal)))
    if eigenvalues[0] < 1e-8:
        return covariance, True
    inverse = np.linalg.inv(information)
    if clusters is None:
        covariance[block] = inverse
        return covariance, False
    count = int(clusters.max()) + 1
    if count < 2:
        return covariance, True
    scores = likelihood.row_scores(best.theta, rows, link)[:, free]
    by_cluster = np.column_stack(
        [np.bincount(clusters, column, minlength=count) for column in scores.T]
    )
    meat = by_cluster.T @ by_cluster * (count / (count - 1))
    covariance[block] = inverse @ meat @ inverse
    return covariance, False


_WHY: dict[State, str] = {
    "interior": "at the end of its range",
    "lapse at 0": "the likelihood is highest at lapse 0, the end of its range",
    "lapse at maximum": f"the likelihood is highest at the largest lapse allowed, {LAPSE_MAX}",
    "separated": "evidence separates the choices: the likelihood rises with the slope without end",
    "weak": "held at 0: choices do not move with the evidence, any lapse fits alike",
    "one size": "held at 0: evidence of one size cannot tell slope from lapse",
    "flat": "all evidence is zero",
    "unidentified": "slope, bias and lapse cannot be told apart on these data",
}


@dataclass(frozen=True)
class _Wald:
    """Makes intervals from standard errors."""

    quantile: float
    facts: dict[str, Any]
    why: str

    def real(self, value: float, error: float, *, unit: str) -> Estimate:
        if math.isnan(error):
            return Estimate(value, reason=self.why, unit=unit, **self.facts)
        half = self.quantile * error
        return Estimate(value, value - half, value + half, unit=unit, **self.facts)

    def share(self, value: float, error: float) -> Estimate:
        if math.isnan(error):
            return Estimate(value, reason=self.why, **self.facts)
        half = self.quantile * error / (value * (1 - value))
        low, high = special.expit(special.logit(value) + np.array([-half, half])).tolist()
        facts = {**self.facts, "method": self.facts["method"] + ", logit scale"}
        return Estimate(value, low, high, **facts)

    def held(self, value: float, *, why: str, unit: str) -> Estimate:
        return Estimate(value, reason=why, unit=unit, **{**self.facts, "method": "held"})


def _assemble(
    best: Maximum,
    covariance: Floats,
    *,
    groups: list[str],
    bias: bool,
    lapse_free: bool,
    link: str,
    state: State,
    n: int,
    clusters: int,
    level: float,
    robust: bool,
) -> PsychometricFit:
    method = "Wald, cluster-robust" if robust else "Wald, observed information"
    facts = {"level": level, "n": n, "clusters": clusters, "method": method}
    quantile = special.stdtrit(max(clusters - 1, 1), (1 + level) / 2)
    wald = _Wald(float(quantile), facts, _WHY[state])
    theta, errors = best.theta.tolist(), np.sqrt(np.diag(covariance)).tolist()
    slopes = {
        name: wald.real(theta[row], errors[row], unit=f"{link}/evidence")
        for row, name in enumerate(groups)
    }
    held_lapse = _WHY[state] if state in ("weak", "one size", "flat") else "held by the caller"
    keep = [*range(len(groups) + bias), *([len(theta) - 1] if lapse_free else [])]
    names = [f"slope[{name}]" for name in groups] + ["bias"] * bias + ["lapse"] * lapse_free
    return PsychometricFit(
        link=link,
        slopes=slopes,
        bias=wald.real(theta[-2], errors[-2], unit=link)
        if bias
        else wald.held(0.0, why="held at 0", unit=link),
        lapse=wald.share(theta[-1], errors[-1])
        if lapse_free
        else wald.held(theta[-1], why=held_lapse, unit="proportion"),
        log_likelihood=best.value,
        n=n,
        clusters=clusters,
        state=state,
        covariance=covariance[np.ix_(keep, keep)],
        names=tuple(names),
    )
