"""What a fitted effect says: Wald, likelihood ratio, equivalence, evidence for a null.

`imi_bench.glmm.between` has the small-sample t for terms that vary only between the levels of a
grouping factor, `profile` and `bootstrap` the intervals that need further fits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from imi_bench.arguments import checked_level
from imi_bench.errors import InputError, ModelError
from imi_bench.glmm.design import Design
from imi_bench.glmm.fitting import fit_design
from imi_bench.glmm.options import Options
from imi_bench.glmm.result import GlmmResult
from imi_bench.glmm.starts import WarmStart
from imi_bench.plots import Interval, forest
from imi_bench.provenance import plain
from imi_bench.results import Brief, Record, Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@dataclass(frozen=True, repr=False)
class Inference(Result):
    """A test of one effect against zero, with its interval.

    Attributes
    ----------
    name : str
        What was tested; several columns of a joint test are joined by ``, ``.
    method : str
        In words, such as ``two-stage t``.
    estimate : float
        On the scale of the linear predictor; NaN for a joint test.
    se : float
        Standard error; NaN where the method has none.
    statistic : float
        Z, t, F or chi-squared.
    df : float
        Degrees of freedom of z (infinite), t, chi-squared, or the denominator of F.
    p : float
        Two-sided.
    low, high : float
        Interval; NaN where the method has none.
    level : float
    reason : str
        Why numbers are NaN; empty otherwise.
    """

    name: str
    method: str
    estimate: float
    se: float
    statistic: float
    df: float
    p: float
    low: float
    high: float
    level: float = 0.95
    reason: str = ""

    def __post_init__(self) -> None:
        checked_level(self.level)

    __repr__ = Brief.__repr__  # one line, since several come in a list

    @property
    def title(self) -> str:
        """What was tested, and how."""
        return f"{self.name}: {self.method}"

    def to_frame(self) -> pd.DataFrame:
        """One row."""
        import pandas as pd

        return pd.DataFrame([asdict(self)])

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the estimate with its interval; a joint test has none and says so."""
        row = Interval(self.name, self.estimate, self.low, self.high)
        return forest([row], xlabel="estimate", title=self.title, reference=0.0, ax=ax)

    @classmethod
    def from_t(
        cls, name: str, *, estimate: float, se: float, df: float, method: str, level: float = 0.95
    ) -> Inference:
        """Make the t-test (z where `df` is infinite) of an estimate and its standard error.

        Examples
        --------
        >>> one = Inference.from_t("x", estimate=2.0, se=1.0, df=7.0, method="t")
        >>> round(one.p, 4), round(one.low, 3)
        (0.0856, -0.365)
        """
        if not (se > 0 and df > 0):
            return cls.undefined(name, method=method, reason="no standard error", level=level)
        spread = stats.norm if math.isinf(df) else stats.t(df)
        half = float(spread.ppf(0.5 + 0.5 * level)) * se
        return cls(
            name=name,
            method=method,
            estimate=estimate,
            se=se,
            statistic=estimate / se,
            df=df,
            p=float(2.0 * spread.sf(abs(estimate / se))),
            low=estimate - half,
            high=estimate + half,
            level=level,
        )

    @classmethod
    def undefined(cls, name: str, *, method: str, reason: str, level: float = 0.95) -> Inference:
        """Say why there is no number."""
        nan = math.nan
        found = cls.without_interval(
            name, method=method, statistic=nan, df=nan, p=nan, reason=reason
        )
        return replace(found, level=level)

    @classmethod
    def without_interval(
        cls,
        name: str,
        *,
        method: str,
        statistic: float,
        df: float,
        p: float,
        reason: str,
        estimate: float = math.nan,
    ) -> Inference:
        """Make a test that gives a p-value, and neither a standard error nor an interval."""
        return cls(
            name=name,
            method=method,
            estimate=estimate,
            se=math.nan,
            statistic=statistic,
            df=df,
            p=p,
            low=math.nan,
            high=math.nan,
            reason=reason,
        )


@dataclass(frozen=True, repr=False)
class Equivalence(Record):
    """Two one-sided tests of whether an effect is smaller than the smallest that matters.

    Attributes
    ----------
    name : str
    bound : float
        Smallest effect of interest, > 0, on the effect's scale.
    alpha : float
        Level of each one-sided test.
    p_low, p_high : float
        Of "effect <= -bound" and of "effect >= bound".
    low, high : float
        The interval of level 1 - 2 alpha; inside (-bound, bound) when equivalent.
    verdict : str
        ``equivalent``, ``different`` (the interval excludes zero and the tests fail) or
        ``inconclusive``; ``trivial`` for an effect that is not zero yet smaller than the bound.
    """

    name: str
    bound: float
    alpha: float
    p_low: float
    p_high: float
    low: float
    high: float
    verdict: str

    @property
    def p(self) -> float:
        """The larger of the two p-values: that of the equivalence test."""
        return max(self.p_low, self.p_high)

    def to_json(self) -> dict[str, Any]:
        """JSON object, with the test's own p-value."""
        return {**super().to_json(), "p": plain(self.p)}


def wald(result: GlmmResult, name: str, *, df: float = math.inf, level: float = 0.95) -> Inference:
    """Test one fixed effect by its estimate over its standard error.

    Parameters
    ----------
    result : GlmmResult
        A converged fit.
    name : str
    df : float
        Infinite for Wald's z; finite for a t with these degrees of freedom.
    level : float

    Raises
    ------
    UnknownNameError
        If there is no such effect.
    InputError
        If there are no degrees of freedom.
    """
    if not df > 0:
        raise InputError("no degrees of freedom", found=df, wanted="more than 0")
    index = result.index(name)
    method = "Wald z" if math.isinf(df) else f"Wald t({df:g})"
    if not result.converged:
        return Inference.undefined(name, method=method, reason="fit not converged", level=level)
    return Inference.from_t(
        name,
        estimate=float(result.estimate[index]),
        se=float(result.se[index]),
        df=df,
        method=method,
        level=level,
    )


def restricted_start(result: GlmmResult, dropped: tuple[str, ...]) -> WarmStart:
    """Return where a fit without some columns can start."""
    kept = [index for index, name in enumerate(result.names) if name not in dropped]
    modes = None if result.warm is None else result.warm.modes
    shape = None if result.warm is None else result.warm.shape
    return WarmStart(theta=result.theta, fixed=result.estimate[kept], modes=modes, shape=shape)


def refit_without(
    result: GlmmResult, design: Design, names: Sequence[str]
) -> tuple[tuple[str, ...], GlmmResult]:
    """Return the columns that terms or columns stand for, and the fit without them."""
    restricted = design.without(*names)
    dropped = tuple(name for name in result.names if name not in restricted.names)
    start = restricted_start(result, dropped)
    return dropped, fit_design(restricted, options=quick_options(result), start=start)


def quick_options(result: GlmmResult) -> Options:
    """Return the result's own link and quadrature, without standard errors."""
    return replace(result.options, hessian=False)


def likelihood_ratio(result: GlmmResult, *names: str) -> Inference:
    """Test terms or columns together by refitting without them.

    Parameters
    ----------
    result : GlmmResult
        A converged maximum-likelihood fit with its design.
    names : str
        Terms of the formula, or columns.

    Raises
    ------
    ModelError
        If the fit is REML (its likelihoods with other fixed effects do not compare), or came
        from JSON without its data.
    """
    if not names:
        raise ModelError("no likelihood ratio", found="no term", wanted="one or more to leave out")
    refused = "no likelihood ratio of fixed effects"
    if result.method == "REML":
        raise ModelError(refused, found="REML", do="fit by ML")
    dropped, other = refit_without(result, result.with_data(refused), names)
    label, method = ", ".join(dropped), "likelihood ratio"
    if not (result.converged and other.converged):
        return Inference.undefined(label, method=method, reason="a fit did not converge")
    drop, df = max(other.deviance - result.deviance, 0.0), float(len(dropped))
    one = len(dropped) == 1
    estimate = float(result.estimate[result.index(dropped[0])]) if one else math.nan
    return Inference.without_interval(
        label,
        method=method,
        estimate=estimate,
        statistic=drop,
        df=df,
        p=float(stats.chi2.sf(drop, df)),
        reason="a likelihood ratio has no interval; use the profile",
    )


def equivalence(test: Inference, *, bound: float, alpha: float = 0.05) -> Equivalence:
    """Two one-sided tests of an estimate against ``-bound`` and ``bound``.

    Schuirmann (1987), J. Pharmacokinet. Biopharm. 15, 657-680.

    Parameters
    ----------
    test : Inference
        A t or z test with estimate, standard error and degrees of freedom.
    bound : float
        Smallest effect of interest, on the estimate's scale.
    alpha : float
        Level of each test.

    Examples
    --------
    >>> flat = Inference.from_t("x", estimate=0.0, se=0.1, df=7.0, method="t")
    >>> equivalence(flat, bound=0.3).verdict, equivalence(flat, bound=0.1).verdict
    ('equivalent', 'inconclusive')
    """
    if not bound > 0 or not 0 < alpha < 0.5:
        raise InputError(
            "no such equivalence test",
            found=f"bound {bound}, alpha {alpha}",
            wanted="bound > 0 and alpha between 0 and 0.5",
        )
    if not test.se > 0:
        nan = math.nan
        return Equivalence(
            name=test.name,
            bound=bound,
            alpha=alpha,
            p_low=nan,
            p_high=nan,
            low=nan,
            high=nan,
            verdict="undefined",
        )
    spread = stats.norm if math.isinf(test.df) else stats.t(test.df)
    p_low = float(spread.sf((test.estimate + bound) / test.se))
    p_high = float(spread.cdf((test.estimate - bound) / test.se))
    half = float(spread.ppf(1.0 - alpha)) * test.se
    inside, nonzero = max(p_low, p_high) < alpha, test.p < alpha
    verdict = (
        ("trivial" if nonzero else "equivalent")
        if inside
        else ("different" if nonzero else "inconclusive")
    )
    return Equivalence(
        name=test.name,
        bound=bound,
        alpha=alpha,
        p_low=p_low,
        p_high=p_high,
        low=test.estimate - half,
        high=test.estimate + half,
        verdict=verdict,
    )


def bayes_factor_null(test: Inference, *, n: int) -> float:
    """Evidence for no effect over some effect: BF01 from a t statistic, by the BIC.

    The prior it implies is one observation's worth of information (unit-information prior):
    Wagenmakers (2007), Psychon. Bull. Rev. 14, 779-804, eq. 10 with R-squared written in t.

    Parameters
    ----------
    test : Inference
        A t-test with finite degrees of freedom.
    n : int
        Independent points behind it, such as 9 networks.

    Examples
    --------
    >>> round(bayes_factor_null(
    ...     Inference.from_t("x", estimate=0.0, se=1.0, df=7.0, method="t"), n=9), 6)
    3.0
    """
    if not math.isfinite(test.df) or math.isnan(test.statistic):
        return math.nan
    return float(np.sqrt(n) * (1.0 + test.statistic**2 / test.df) ** (-n / 2))
