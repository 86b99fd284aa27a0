"""Profile intervals: where the deviance rises by a chi-squared quantile."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, stats

from imi_bench.arguments import checked_level
from imi_bench.errors import ModelError
from imi_bench.glmm.fitting import fit_design
from imi_bench.glmm.inference import Inference, quick_options, restricted_start
from imi_bench.glmm.lapse import LARGEST_LAPSE
from imi_bench.glmm.result import GlmmResult

_MOST_STEPS = 12
_CLOSE = 1e-3


@dataclass
class _Curve:
    """The signed root of the rise of the deviance, as a function of one fixed effect."""

    result: GlmmResult
    name: str

    def __post_init__(self) -> None:
        self.start = restricted_start(self.result, (self.name,))
        self.options = quick_options(self.result)
        self.top = float(self.result.estimate[self.result.index(self.name)])

    def at(self, value: float) -> float:
        held = self.result.with_data("no profile").fixing({self.name: value})
        fit = fit_design(held, options=self.options, start=self.start)
        if not fit.converged:
            return math.nan
        if fit.warm is not None:
            self.start = replace(
                self.start, theta=fit.theta, fixed=fit.estimate, modes=fit.warm.modes
            )
        return math.copysign(
            math.sqrt(max(fit.deviance - self.result.deviance, 0.0)), value - self.top
        )

    def solve(self, target: float, *, step: float) -> float:
        """Find where the root is `target`: secant steps, for the root is nearly a line."""
        old, old_value = self.top, 0.0
        new = self.top + math.copysign(step, target)
        for _ in range(_MOST_STEPS):
            value = self.at(new)
            if math.isnan(value) or value == old_value:
                return math.nan
            if abs(value - target) < _CLOSE:
                return new
            old, new, old_value = (
                new,
                new + (target - value) * (new - old) / (value - old_value),
                value,
            )
        return math.nan


def profile_lapse(result: GlmmResult, *, level: float = 0.95) -> Inference:
    """Find the profile-likelihood interval of an estimated lapse rate, and test it against zero.

    Parameters
    ----------
    result : GlmmResult
        A converged fit with `lapse="estimate"` and its design.
    level : float

    Returns
    -------
    Inference
        The interval begins at 0 where no lapses at all are inside it. Zero is the end of what is
        possible, so the p-value is half that of a chi-squared (Self & Liang 1987, *J. Am. Stat.
        Assoc.* 82, 605-610).

    Raises
    ------
    ModelError
        If no lapse rate was estimated, or the fit has no data.
    """
    design = result.with_data("no estimated lapse rate")
    if "lapse" not in result.shape_names:
        raise ModelError("no estimated lapse rate", found="none", do="fit with lapse='estimate'")
    if not result.converged:
        why = "fit not converged"
        return Inference.undefined("lapse", method="profile", reason=why, level=level)
    top = result.lapse
    warm = None if result.warm is None else replace(result.warm, shape=None)

    def rise(lapse: float) -> float:
        options = replace(quick_options(result), lapse=lapse)
        fit = fit_design(design, options=options, start=warm)
        return max(fit.deviance - result.deviance, 0.0) if fit.converged else math.nan

    target, none = float(stats.chi2.ppf(checked_level(level), 1)), rise(0.0) if top > 0 else 0.0

    def end(far: float) -> float:
        try:
            return float(optimize.brentq(lambda at: rise(at) - target, top, far, xtol=1e-5))
        except ValueError:
            return math.nan

    step = max(2 * float(np.sqrt(result.shape_covariance[0, 0])), 0.01)
    high = top + (step if math.isfinite(step) else 0.05)
    while high < LARGEST_LAPSE - 1e-3 and rise(high) < target:
        high = min(top + 2 * (high - top), LARGEST_LAPSE - 1e-3)
    low, high = 0.0 if none <= target else end(0.0), end(high)
    missing = math.isnan(low) or math.isnan(high) or math.isnan(none)
    return Inference(
        name="lapse",
        method="profile",
        estimate=top,
        se=math.nan,
        statistic=none,
        df=1.0,
        p=0.5 * float(stats.chi2.sf(none, 1)) if none > 0 else 1.0,
        low=low,
        high=high,
        level=level,
        reason="an end of the interval was not found" if missing else "",
    )


def profile(result: GlmmResult, name: str, *, level: float = 0.95) -> Inference:
    """Find the profile-likelihood interval of one fixed effect, and its likelihood-ratio test.

    Parameters
    ----------
    result : GlmmResult
        A converged maximum-likelihood fit with its design.
    name : str
    level : float

    Raises
    ------
    ModelError
        If the fit is REML or has no data.

    Notes
    -----
    Venzon & Moolgavkar (1988), Appl. Stat. 37, 87-94. Each end takes two to four refits, started
    from the one before. An end that is not found (a refit fails, or the deviance is flat) is NaN,
    with the reason.
    """
    if result.method == "REML":
        raise ModelError("no profile of fixed effects", found="REML", do="fit by ML")
    result.with_data("no profile of fixed effects")
    if not result.converged:
        return Inference.undefined(name, method="profile", reason="fit not converged", level=level)
    index = result.index(name)
    se, estimate = float(result.se[index]), float(result.estimate[index])
    target = float(np.sqrt(stats.chi2.ppf(checked_level(level), 1)))
    low = _Curve(result, name).solve(-target, step=target * se)
    high = _Curve(result, name).solve(target, step=target * se)
    drop = _Curve(result, name).at(0.0) ** 2
    missing = math.isnan(low) or math.isnan(high)
    return Inference(
        name=name,
        method="profile",
        estimate=estimate,
        se=math.nan,
        statistic=drop,
        df=1.0,
        p=float(stats.chi2.sf(drop, 1)),
        low=low,
        high=high,
        level=level,
        reason="an end of the interval was not found" if missing else "",
    )
