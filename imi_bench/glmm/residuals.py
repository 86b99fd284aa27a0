"""Residuals by simulation, as R's DHARMa makes them, and the usual four figures.

Each answer's residual is where it stands among answers simulated from the fitted model, random
effects drawn anew: uniform on [0, 1] where the model is right, whatever the family (Dunn & Smyth
1996, J. Comput. Graph. Stat. 5, 236; Hartig, DHARMa). Ties are broken at random.

Answers that share a random effect have residuals that hang together, so that the plain tests of
uniformity are wrong for crossed designs. Every test here takes its reference distribution from
the simulations themselves: each simulated data set has residuals against the others, and the
statistic of the real answers is ranked among theirs. The parameters are taken as known, which
makes the tests a little cautious.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from imi_bench.arguments import checked
from imi_bench.arrays import Floats
from imi_bench.errors import InputError
from imi_bench.glmm.inference import Inference
from imi_bench.glmm.result import GlmmResult
from imi_bench.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_BINS = 10


@dataclass(frozen=True, eq=False, repr=False)
class SimulatedResiduals(Result):
    """Residuals on [0, 1], with what is needed to test and draw them.

    Attributes
    ----------
    residual : (n,) float64
    fitted : (n,) float64
        Mean of the simulated answers.
    tests : tuple of Inference
        ``uniformity``, ``dispersion``, ``outliers`` and ``trend``, each ranked among the
        simulations.
    groups : dict of str to dict of str to float
        Mean residual of each level of each grouping factor.
    n : int
        Simulated data sets.
    seed : int
        Of the simulations.
    """

    residual: Floats
    fitted: Floats
    tests: tuple[Inference, ...]
    groups: dict[str, dict[str, float]]
    n: int
    seed: int

    @property
    def title(self) -> str:
        """One line about the result."""
        tests = ", ".join(f"{test.name} p = {test.p:.3f}" for test in self.tests)
        return f"Residuals by {self.n} simulations: {tests}"

    def to_frame(self) -> pd.DataFrame:
        """One row an answer."""
        import pandas as pd

        return pd.DataFrame({"fitted": self.fitted, "residual": self.residual})

    def to_json(self) -> dict[str, Any]:
        """JSON object: every field, the count also as ``simulations``."""
        return {**super().to_json(), "simulations": self.n}

    def plot(self) -> tuple[Axes, ...]:
        """Draw quantiles, against the fitted value, histogram, by group: four axes of a figure."""
        from imi_bench.glmm.residuals_figure import draw_residuals

        return tuple(draw_residuals(self).axes)


@checked
def simulated_residuals(result: GlmmResult, *, n: int = 250, seed: int = 0) -> SimulatedResiduals:
    """Simulate answers from a fit and see where the real ones stand among them.

    Parameters
    ----------
    result : GlmmResult
        A converged fit with its design.
    n : int
        Simulated data sets, at least 50.
    seed : int
        Of the simulations and of the breaking of ties.

    Raises
    ------
    ModelError
        If the fit has no data or did not converge.
    """
    design = result.with_data("no residuals", converged=True)
    if n < 50:
        raise InputError("too few simulations", found=n, wanted="50 or more")
    rng = np.random.default_rng(seed)
    drawn = np.stack([result.simulate(rng) for _ in range(n)])
    pool = np.vstack([design.response, drawn])
    ranks = _ranks(pool, rng)
    mean = pool.mean(axis=0)
    order = np.argsort(mean, kind="stable")
    bins = np.array_split(order, _BINS)
    statistics = {
        "uniformity": [float(stats.kstest(one, "uniform").statistic) for one in ranks],
        "dispersion": ((pool - mean) ** 2).mean(axis=1),
        "outliers": ((ranks < 1.0 / n) | (ranks > 1.0 - 1.0 / n)).mean(axis=1),
        "trend": [max(abs(float(one[part].mean()) - 0.5) for part in bins) for one in ranks],
    }
    tests = [
        _ranked(name, np.asarray(values), two_sided=name == "dispersion")
        for name, values in statistics.items()
    ]
    groups = {
        factor.group: dict(
            zip(
                factor.levels,
                (
                    np.bincount(factor.codes, weights=ranks[0], minlength=len(factor.levels))
                    / np.bincount(factor.codes, minlength=len(factor.levels))
                ).tolist(),
                strict=True,
            )
        )
        for factor in design.factors
    }
    return SimulatedResiduals(ranks[0], mean, tuple(tests), groups, n, seed)


def _ranks(pool: Floats, rng: np.random.Generator) -> Floats:
    """Return where each data set stands among all, answer by answer, float64 (sets, n).

    A residual is uniform on the part of [0, 1] that its ties take up.
    """
    order = np.sort(pool, axis=0)
    ranks = np.empty_like(pool)
    size = len(pool)
    for column in range(pool.shape[1]):
        own, sorted_ = pool[:, column], order[:, column]
        low = np.searchsorted(sorted_, own, side="left")
        high = np.searchsorted(sorted_, own, side="right")
        ranks[:, column] = (low + rng.random(size) * (high - low)) / size
    return ranks


def _ranked(name: str, values: Floats, *, two_sided: bool) -> Inference:
    """Rank the first value among all: a p-value that holds its level exactly."""
    above = float((values >= values[0]).mean())
    below = float((values <= values[0]).mean())
    p = min(1.0, 2.0 * min(above, below)) if two_sided else above
    rest = values[1:]
    return Inference.without_interval(
        name,
        method=f"rank among {len(rest)} simulations",
        estimate=float(values[0] / rest.mean()) if rest.mean() > 0 else math.nan,
        statistic=float(values[0]),
        df=math.nan,
        p=p,
        reason="a test without interval",
    )
