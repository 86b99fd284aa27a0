"""Parametric bootstrap: simulate from the fitted model, refit from the old optimum, all cores."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imi_bench.arguments import checked_level
from imi_bench.arrays import Floats
from imi_bench.errors import InputError, UnknownNameError
from imi_bench.glmm.design import Design
from imi_bench.glmm.fitting import fit_design
from imi_bench.glmm.inference import Inference, quick_options, refit_without
from imi_bench.glmm.result import GlmmResult
from imi_bench.plots import Interval, forest
from imi_bench.results import Result
from imi_bench.stats.estimate import too_few_draws

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False, repr=False)
class Bootstrap(Result):
    """Refits of responses simulated from a fitted model.

    Attributes
    ----------
    names, theta_names : tuple of str
        As in the fit.
    estimate : (B, p) float64
        Fixed effects of each refit; NaN where it did not converge.
    theta : (B, k) float64
    original : (p,) float64
        The fit's own estimates.
    failed : int
        Refits that did not converge.
    seed : int
        Of the whole bootstrap.
    """

    names: tuple[str, ...]
    theta_names: tuple[str, ...]
    estimate: Floats
    theta: Floats
    original: Floats
    failed: int
    seed: int

    @property
    def title(self) -> str:
        """How many refits, and how many of them failed."""
        return f"Bootstrap of {len(self.estimate)} refits, {self.failed} did not converge"

    def to_frame(self, *, level: float = 0.95) -> pd.DataFrame:
        """One row a fixed effect: estimate, standard error, percentile interval, p."""
        import pandas as pd

        tests = [self.test(name, level=level).to_frame() for name in self.names]
        kept = ["name", "estimate", "se", "low", "high", "p", "level", "method", "reason"]
        return pd.concat(tests, ignore_index=True)[kept]

    shown_columns = ("name", "estimate", "se", "low", "high", "p", "reason")

    def plot(self, *, level: float = 0.95, ax: Axes | None = None) -> Axes:
        """Draw each fixed effect but the intercept with its percentile interval."""
        rows = [
            Interval(one.name, one.estimate, one.low, one.high)
            for one in (self.test(name, level=level) for name in self.names)
            if one.name != "(Intercept)"
        ]
        label = f"effect, {level:.0%} interval of refits"
        return forest(rows, xlabel=label, title=self.title, reference=0.0, ax=ax)

    def test(self, name: str, *, level: float = 0.95) -> Inference:
        """Percentile interval of a fixed effect; p from the share of refits beyond zero.

        The p-value is twice the smaller tail, with one added above and below so that it is never
        zero: Davison & Hinkley (1997), eq. 4.11.
        """
        UnknownNameError.unless_among(name, self.names, kind="fixed effect")
        index = self.names.index(name)
        drawn = self.estimate[:, index]
        drawn = drawn[np.isfinite(drawn)]
        method = f"parametric bootstrap ({len(drawn)})"
        if len(drawn) < 2:
            return Inference.undefined(
                name, method=method, reason="no refit converged", level=level
            )
        low = high = math.nan
        if not (why := too_few_draws(len(drawn), checked_level(level))):
            low, high = np.quantile(drawn, [0.5 - 0.5 * level, 0.5 + 0.5 * level])
        tail = 1 + min((drawn <= 0).sum(), (drawn >= 0).sum())
        p = min(1.0, 2.0 * tail / (len(drawn) + 1))
        return Inference(
            name=name,
            method=method,
            estimate=float(self.original[index]),
            se=float(drawn.std(ddof=1)),
            statistic=math.nan,
            df=math.nan,
            p=float(p),
            low=float(low),
            high=float(high),
            level=level,
            reason=why,
        )


def bootstrap(
    result: GlmmResult, *, n: int = 200, seed: int = 0, workers: int | None = None
) -> Bootstrap:
    """Refit the model to `n` responses simulated from it.

    Parameters
    ----------
    result : GlmmResult
        A converged fit with its design.
    n : int
        Number of refits.
    seed : int
        Refit b draws from the b-th child of this seed, so the numbers do not depend on
        `workers`.
    workers : int, optional
        Processes; all cores by default, 1 stays in this process.

    Raises
    ------
    ModelError
        If the result has no data or did not converge.
    """
    _checked(result, n)
    rows = _spread(_Refit(result), n=n, seed=seed, workers=workers)
    p = len(result.names)
    return Bootstrap(
        result.names,
        result.theta_names,
        rows[:, :p],
        rows[:, p:],
        result.estimate,
        int(np.isnan(rows[:, 0]).sum()),
        seed,
    )


def bootstrap_likelihood_ratio(
    result: GlmmResult, *names: str, n: int = 200, seed: int = 0, workers: int | None = None
) -> Inference:
    """Test terms by the likelihood ratio's distribution under the fitted null model.

    Parameters
    ----------
    result : GlmmResult
        A converged maximum-likelihood fit with its design.
    names : str
        Terms or columns that are zero under the null.
    n, seed, workers : int and int, optional
        As `bootstrap`.
    """
    dropped, null = refit_without(result, _checked(result, n), names)
    label, method = ", ".join(dropped), f"bootstrap likelihood ratio ({n})"
    if not null.converged:
        return Inference.undefined(label, method=method, reason="the null fit did not converge")
    drop = max(null.deviance - result.deviance, 0.0)
    drawn = _spread(_Drop(result, null), n=n, seed=seed, workers=workers)[:, 0]
    drawn = drawn[np.isfinite(drawn)]
    p = (1 + (drawn >= drop).sum()) / (1 + len(drawn))
    return Inference.without_interval(
        label,
        method=method,
        statistic=drop,
        df=float(len(dropped)),
        p=float(p),
        reason="a test without interval",
    )


def _checked(result: GlmmResult, n: int) -> Design:
    if n < 1:
        raise InputError("no bootstrap", found=f"n={n}", wanted="n >= 1")
    return result.with_data("cannot simulate and refit", converged=True)


def _refit(model: GlmmResult, response: Floats) -> GlmmResult:
    design = model.with_data("cannot refit").with_response(response)
    return fit_design(design, options=quick_options(model), start=model)


@dataclass(frozen=True)
class _Refit:
    """One refit: fixed effects, then theta; NaN where it does not converge."""

    result: GlmmResult

    def __call__(self, rng: np.random.Generator) -> Floats:
        fit = _refit(self.result, self.result.simulate(rng))
        found = np.concatenate([fit.estimate, fit.theta])
        return found if fit.converged else np.full_like(found, np.nan)


@dataclass(frozen=True)
class _Drop:
    """One likelihood-ratio statistic of a response drawn from the null."""

    result: GlmmResult
    null: GlmmResult

    def __call__(self, rng: np.random.Generator) -> Floats:
        response = self.null.simulate(rng)
        fits = [_refit(model, response) for model in (self.null, self.result)]
        if not all(fit.converged for fit in fits):
            return np.array([math.nan])
        return np.array([max(fits[0].deviance - fits[1].deviance, 0.0)])


def _rows(
    task: Callable[[np.random.Generator], Floats], children: Sequence[np.random.SeedSequence]
) -> list[Floats]:
    return [task(np.random.default_rng(child)) for child in children]


def _spread(
    task: Callable[[np.random.Generator], Floats], *, n: int, seed: int, workers: int | None
) -> NDArray[np.float64]:
    """Run a task on `n` child seeds over processes; rows in the order of the seeds."""
    import joblib

    children = np.random.SeedSequence(seed).spawn(n)
    workers = min(n, workers or joblib.cpu_count())
    if workers == 1:
        return np.array(_rows(task, children))
    # the data travel once a share, so a share holds many refits
    shares = [children[start :: 4 * workers] for start in range(min(n, 4 * workers))]
    done = joblib.Parallel(n_jobs=workers)(joblib.delayed(_rows)(task, one) for one in shares)
    found = np.empty((n, len(done[0][0])))
    for start, rows in enumerate(done):
        found[start :: 4 * workers] = rows
    return found
