"""Partial pooling: slopes of several groups drawn towards their common mean."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from imi_bench.choice.psychometric import PsychometricFit

__all__ = ["partially_pooled"]


def partially_pooled(fit: PsychometricFit) -> PsychometricFit:
    """Shrink the slopes of `fit` towards their mean, as far as their noise explains their spread.

    Model: ``slope_g ~ Normal(mean, tau^2)``, its estimate normal around it with the covariance of
    the fit. tau^2 is DerSimonian and Laird's moment estimate (1986, *Controlled Clinical Trials*
    7, 177-188; `statsmodels.stats.meta_analysis`); the slopes are then the posterior means given
    tau^2 (Efron and Morris 1975). With tau^2 = 0 all slopes agree, as without groups. Bias, lapse
    and the log-likelihood remain those of the unpooled fit.

    A fit with one group, or with a slope that has no standard error, comes back as it is.

    Examples
    --------
    >>> from imi_bench.choice.fitting import fit_psychometric
    >>> x = np.tile([-2.0, -1.0, 1.0, 2.0], 2)
    >>> fit = fit_psychometric(x, successes=[2, 4, 6, 8, 1, 4, 7, 8], trials=np.full(8, 10.0),
    ...                        group=["a"] * 4 + ["b"] * 4, lapse=0.0)
    >>> pooled = partially_pooled(fit)
    >>> pooled.slopes["a"].value == pooled.slopes["b"].value  # tau^2 is 0 here
    True
    """
    count = len(fit.slopes)
    value = np.array([slope.value for slope in fit.slopes.values()])
    covariance = fit.covariance[:count, :count]
    if count < 2 or not np.isfinite(covariance).all():
        return fit
    tau2 = between_groups(value, np.diag(covariance))
    ones = np.ones(count)
    precision = np.linalg.inv(covariance + tau2 * np.eye(count))
    variance_of_mean = 1 / (ones @ precision @ ones)
    mean = variance_of_mean * (ones @ precision @ value)
    kept = tau2 * precision
    shrunk = mean + kept @ (value - mean)
    rest = (np.eye(count) - kept) @ ones
    posterior = tau2 * (np.eye(count) - kept) + variance_of_mean * np.outer(rest, rest)
    slopes = {}
    for row, (group, slope) in enumerate(fit.slopes.items()):
        quantile = float(special.ndtri((1 + slope.level) / 2))
        half = quantile * float(np.sqrt(posterior[row, row]))
        middle = float(shrunk[row])
        method = f"partial pooling of {slope.method}"
        slopes[group] = replace(
            slope, value=middle, low=middle - half, high=middle + half, method=method
        )
    combined = fit.covariance.copy()
    combined[:count, :count] = posterior
    combined[:count, count:] = combined[count:, :count] = np.nan
    return replace(fit, slopes=slopes, covariance=combined)


def between_groups(value: NDArray[np.float64], variance: NDArray[np.float64]) -> float:
    """DerSimonian and Laird's tau^2, cut at 0.

    Written out because `statsmodels.stats.meta_analysis.combine_effects` warns and returns NaN
    errors where the moment estimate is negative, which is common with two groups.
    """
    weight = 1 / variance
    q = weight @ (value - weight @ value / weight.sum()) ** 2
    spread = weight.sum() - (weight @ weight) / weight.sum()
    return max(0.0, float((q - (len(value) - 1)) / spread))
