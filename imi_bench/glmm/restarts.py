"""Does the fit depend on where it began? The same model from several other places.

lme4's ``allFit`` runs other optimisers for the same purpose; here the optimiser has exact
gradients, and it is the start that is varied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from imi_bench.arguments import checked
from imi_bench.arrays import Floats
from imi_bench.errors import ImiBenchError, InputError
from imi_bench.glmm.fitting import fit_design
from imi_bench.glmm.inference import quick_options
from imi_bench.glmm.result import GlmmResult
from imi_bench.glmm.starts import WarmStart
from imi_bench.plots import BLUE, new_axes
from imi_bench.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_SAME = 1e-3


@dataclass(frozen=True, eq=False, repr=False)
class Restarts(Result):
    """The same model fitted from several places.

    Attributes
    ----------
    log_likelihood : (starts,) float64
        NaN where a fit did not converge.
    distance : (starts,) float64
        The largest difference of a fixed effect from the fit's own, in
        its standard errors.
    original : float
        The fit's own log-likelihood.
    """

    log_likelihood: Floats
    distance: Floats
    original: float

    @property
    def title(self) -> str:
        """One line about the result."""
        return f"Restarts: {self.sentence}"

    @property
    def best(self) -> float:
        """The highest log-likelihood found anywhere."""
        return float(np.nanmax(np.append(self.log_likelihood, self.original)))

    @property
    def trustworthy(self) -> bool:
        """Whether no start did better, and all that converged to it agree."""
        there = np.abs(self.log_likelihood - self.original) < _SAME
        agree = self.distance[there] < 0.01
        return bool(self.best < self.original + _SAME and there.any() and agree.all())

    @property
    def sentence(self) -> str:
        """What was found, in one sentence."""
        count, failed = len(self.log_likelihood), int(np.isnan(self.log_likelihood).sum())
        there = int((np.abs(self.log_likelihood - self.original) < _SAME).sum())
        if self.best >= self.original + _SAME:
            rise = self.best - self.original
            return f"a better optimum exists: the log-likelihood is {rise:.3g} higher from there"
        return (
            f"{there} of {count} starts end at the fit's own optimum; "
            f"{count - there - failed} end lower, {failed} did not converge"
        )

    def to_json(self) -> dict[str, Any]:
        """JSON object."""
        return {
            "original": self.original,
            "log_likelihood": self.log_likelihood.tolist(),
            "distance": self.distance.tolist(),
            "trustworthy": self.trustworthy,
            "sentence": self.sentence,
        }

    def to_frame(self) -> pd.DataFrame:
        """One row a start."""
        import pandas as pd

        return pd.DataFrame(
            {
                "log_likelihood": self.log_likelihood,
                "below": self.original - self.log_likelihood,
                "distance": self.distance,
            }
        )

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw where each start ended: how much lower, and how far in standard errors."""
        ax = new_axes(ax)
        ax.plot(self.original - self.log_likelihood, self.distance, "o", color=BLUE)
        failed = int(np.isnan(self.log_likelihood).sum())
        below = "log-likelihood below the fit's own" + (f" ({failed} failed)" if failed else "")
        ax.set(xlabel=below, ylabel="largest difference in standard errors")
        ax.set_title(self.title, loc="left", fontsize="small", wrap=True)
        return ax


@checked
def restarts(result: GlmmResult, *, n: int = 8, seed: int = 0) -> Restarts:
    """Fit the model again from `n` scattered places.

    Standard deviations start between a tenth and ten times one on the link's scale, fixed effects
    within five standard errors of the estimates, correlations at zero.

    Parameters
    ----------
    result : GlmmResult
        A fit with its design.
    n : int
        Number of starts.
    seed : int
        Of the places.
    """
    design = result.with_data("cannot fit again")
    if n < 1:
        raise InputError("no start", found=f"n={n}", wanted="n >= 1")
    rng = np.random.default_rng(seed)
    values, distances = np.full((2, n), np.nan)
    for index in range(n):
        theta = 10.0 ** rng.uniform(-1.0, 1.0, len(result.theta))
        theta = np.where(design.problem.theta_diagonal, theta, 0.0)
        fixed = result.estimate + rng.uniform(-5.0, 5.0, len(result.names)) * result.se
        start = WarmStart(theta=theta, fixed=np.where(np.isfinite(fixed), fixed, 0.0))
        try:
            again = fit_design(design, options=quick_options(result), start=start)
        except ImiBenchError:
            continue
        if again.converged:
            values[index] = again.log_likelihood
            moved = np.abs(again.estimate - result.estimate) / result.se
            distances[index] = float(moved.max(initial=0.0))
    return Restarts(values, distances, result.log_likelihood)
