"""How much of the variation is where: intraclass correlations, Nakagawa's R2, correlations.

Everything is on the scale of the linear predictor, where an answer's own variation is pi^2/3
under the logit, 1 under the probit link, and sigma squared in a Gaussian model (Nakagawa,
Johnson & Schielzeth 2017, J. R. Soc. Interface 14: 20170213, table 2). A factor with slopes
counts with its mean variance over the rows (Johnson 2014, Methods Ecol. Evol. 5, 944).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from imi_bench.arguments import checked
from imi_bench.arrays import Floats
from imi_bench.glmm.result import GlmmResult
from imi_bench.plots import bars
from imi_bench.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False, repr=False)
class Variation(Result):
    """Where the variation of the linear predictor is.

    Attributes
    ----------
    fixed : float
        Variance of the fixed effects' part over the rows.
    groups : dict of str to float
        Mean variance of each grouping factor's part.
    residual : float
        An answer's own variance.
    """

    fixed: float
    groups: dict[str, float]
    residual: float

    @property
    def title(self) -> str:
        """One line about the result."""
        return "Variance on the scale of the linear predictor"

    @property
    def intraclass(self) -> dict[str, float]:
        """Each factor's share of the variance that is not the fixed effects'."""
        rest = sum(self.groups.values()) + self.residual
        return {group: value / rest for group, value in self.groups.items()}

    @property
    def marginal_r2(self) -> float:
        """Share of the fixed effects in all variance."""
        return self.fixed / self._total

    @property
    def conditional_r2(self) -> float:
        """Share of fixed and random effects in all variance."""
        return (self.fixed + sum(self.groups.values())) / self._total

    @property
    def _total(self) -> float:
        return self.fixed + sum(self.groups.values()) + self.residual

    def to_frame(self) -> pd.DataFrame:
        """One row a part: variance, intraclass correlation."""
        import pandas as pd

        rows = [("fixed effects", self.fixed, math.nan)]
        rows += [(group, value, self.intraclass[group]) for group, value in self.groups.items()]
        rows.append(("an answer's own", self.residual, math.nan))
        return pd.DataFrame(rows, columns=["part", "variance", "intraclass"])

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the variance of each part."""
        frame = self.to_frame()
        parts = dict(zip(frame["part"].astype(str), frame["variance"], strict=True))
        return bars(parts, xlabel="variance", title=self.title, ax=ax)

    def to_json(self) -> dict[str, Any]:
        """JSON object."""
        return {
            "fixed": self.fixed,
            "groups": self.groups,
            "residual": self.residual,
            "intraclass": self.intraclass,
            "marginal_r2": self.marginal_r2,
            "conditional_r2": self.conditional_r2,
        }


def random_variances(result: GlmmResult, rows: tuple[Floats | None, ...]) -> list[Floats]:
    """Return each grouping factor's variance of the linear predictor in each of some rows.

    Parameters
    ----------
    result : GlmmResult
    rows : tuple of ndarray of float64 or None
        For each factor, its columns float64 (rows, effects); None for a lone intercept.

    Returns
    -------
    variances : for each factor float64 (rows,), or (1,) for a lone intercept.
    """
    found = []
    for effect, values in zip(result.random, rows, strict=True):
        corr = np.where(np.isnan(effect.corr), np.eye(len(effect.sd)), effect.corr)
        covariance = corr * np.outer(effect.sd, effect.sd)
        columns = np.ones((1, 1)) if values is None else values
        found.append(np.einsum("na,ab,nb->n", columns, covariance, columns))
    return found


@checked
def variation(result: GlmmResult) -> Variation:
    """Split the variance of the linear predictor.

    Parameters
    ----------
    result : GlmmResult
        A fit with its design.

    Raises
    ------
    ModelError
        If the result has no data.
    """
    design = result.with_data("no variance to split")
    spread = random_variances(result, tuple(factor.values for factor in design.factors))
    own = {"logit": math.pi**2 / 3.0, "probit": 1.0}
    line = design.fixed @ result.estimate
    return Variation(
        fixed=float(line.var(ddof=1)),
        groups={f.group: float(v.mean()) for f, v in zip(design.factors, spread, strict=True)},
        residual=own.get(result.link, 1.0) if result.family != "gaussian" else result.sigma**2,
    )


@checked
def fixed_correlation(result: GlmmResult) -> pd.DataFrame:
    """Return the correlations of the fixed effects' estimates, named both ways."""
    import pandas as pd

    scale = np.outer(result.se, result.se)
    names = list(result.names)
    return pd.DataFrame(result.covariance / scale, index=names, columns=names)
