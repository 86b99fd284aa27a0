"""The random effects of a fitted model."""

from __future__ import annotations

from dataclasses import dataclass

from imi_bench.arrays import Floats
from imi_bench.results import Brief


@dataclass(frozen=True, eq=False, repr=False)
class RandomEffects(Brief):
    """The random effects of one grouping factor.

    Attributes
    ----------
    group : str
    names : tuple of str
        Name of each random effect, such as ``(Intercept)``.
    blocks : tuple of int
        How many consecutive effects are correlated with each other.
    sd : (r,) float64
    corr : (r, r) float64
        Correlations; NaN where a standard deviation is zero.
    levels : tuple of str
        Label of each level.
    modes : (levels, r) float64
        Conditional modes on the scale of the linear predictor.
    conditional_sd : (levels, r) float64
        Standard deviations of the effects given the data.
    """

    group: str
    names: tuple[str, ...]
    blocks: tuple[int, ...]
    sd: Floats
    corr: Floats
    levels: tuple[str, ...]
    modes: Floats
    conditional_sd: Floats
