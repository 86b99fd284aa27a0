"""Marginal means and their contrasts, on the scale people read.

The reference grid has every combination of the levels of the model's factors, and each numeric
covariate at its mean; a mean over factors that are not asked for weighs their levels equally (R's
``emmeans``). With ``zero`` the mean is taken on the link's scale and transformed afterwards, as
``emmeans(type = "response")`` does; with ``population`` probabilities are averaged, over the
random effects and over the grid.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from scipy import special, stats

from imi_bench.arguments import checked
from imi_bench.arrays import Floats
from imi_bench.errors import InputError, ModelError, UnknownNameError
from imi_bench.glmm.inference import Inference
from imi_bench.glmm.inferences import Inferences
from imi_bench.glmm.prediction import (
    Averaging,
    Scale,
    bounded_interval,
    bounds_of,
    delta_variance,
    joint_jacobian,
    labels_of,
    parameters_of,
    rows_of,
)
from imi_bench.glmm.result import GlmmResult
from imi_bench.results import Result
from imi_bench.stats.multiplicity import holm
from imi_bench.text import plural

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Adjustment = Literal["holm", "tukey", "bonferroni", "none"]
_MOST_VALUES = 6
_MOST_CELLS = 20_000


@dataclass(frozen=True, eq=False, repr=False)
class MarginalMeans(Result):
    """Means at the levels of some variables, averaged over the others.

    Attributes
    ----------
    names : tuple of str
        The variables asked for.
    cells : tuple of mapping of str to Any
        Their values at each mean.
    estimate, se, low, high : (cells,) float64
    covariance : (cells, cells) float64
        Of the estimates, for contrasts.
    level : float
    over, scale : Averaging and Scale
        How the random effects were treated; the scale.
    held : mapping of str to float
        Covariates held at their mean.
    averaged : tuple of str
        Factors averaged over, each level with the same weight.
    quantity : str
        What is estimated, in words.
    """

    names: tuple[str, ...]
    cells: tuple[Mapping[str, Any], ...]
    estimate: Floats
    se: Floats
    low: Floats
    high: Floats
    covariance: Floats
    level: float
    over: Averaging
    scale: Scale
    held: Mapping[str, float]
    averaged: tuple[str, ...]
    quantity: str

    @property
    def title(self) -> str:
        """One line about the result."""
        how = "averaged over random effects" if self.over == "population" else "typical level"
        by = f" by {', '.join(self.names)}" if self.names else ""
        return f"Marginal means of {self.quantity}{by} ({how})"

    @property
    def labels(self) -> tuple[str, ...]:
        """A label for each mean, such as ``mode=natural``."""
        return tuple(labels_of(cell) for cell in self.cells)

    def contrasts(self, *, by: str | None = None, adjust: Adjustment = "holm") -> Inferences:
        """Return all pairwise differences of means, first minus second.

        Parameters
        ----------
        by : str, optional
            Compare only means that share this variable's value; each value is a family.
        adjust : Adjustment
            How p-values are adjusted for their number within a family: ``holm``,
            ``tukey`` (studentized range, R's default), ``bonferroni`` or ``none``. Intervals are
            simultaneous with ``tukey`` and ``bonferroni``; with ``holm`` and ``none`` each has
            its own level.

        Returns
        -------
        Inferences : Wald z of the difference, on the scale of the means.
        """
        UnknownNameError.unless_among(adjust, get_args(Adjustment), kind="adjustment")
        if by is not None and by not in self.names:
            raise UnknownNameError.among(by, self.names, kind="variable of the means")
        families: dict[Any, list[int]] = {}
        for index, cell in enumerate(self.cells):
            families.setdefault(None if by is None else cell[by], []).append(index)
        each = (self._pairs(members, adjust=adjust) for members in families.values())
        about = f"Differences of {self.title[:1].lower()}{self.title[1:]}"
        return Inferences(about, tuple(itertools.chain.from_iterable(each)))

    def _pairs(self, members: Sequence[int], *, adjust: Adjustment) -> list[Inference]:
        pairs = list(itertools.combinations(members, 2))
        if not pairs:
            return []
        first, second = np.array(pairs).T
        difference = self.estimate[first] - self.estimate[second]
        spread = np.diag(self.covariance)
        variance = spread[first] + spread[second] - 2.0 * self.covariance[first, second]
        se = np.sqrt(np.maximum(variance, 0.0))
        with np.errstate(divide="ignore", invalid="ignore"):
            z = difference / se
        p = 2.0 * special.ndtr(-np.abs(z))
        tail, count = 1.0 - self.level, len(pairs)
        half = float(special.ndtri(1.0 - 0.5 * tail))
        if adjust == "holm":
            p = holm(p)
        elif adjust == "bonferroni":
            p, half = np.minimum(p * count, 1.0), float(special.ndtri(1.0 - 0.5 * tail / count))
        elif adjust == "tukey" and len(members) > 2:
            ranges = stats.studentized_range(len(members), math.inf)
            p = ranges.sf(math.sqrt(2.0) * np.abs(z))
            half = float(ranges.ppf(self.level)) / math.sqrt(2.0)
        together = "simultaneous" if adjust in ("tukey", "bonferroni") else "one by one"
        shown = "" if adjust == "none" else f", p by {adjust} over {count}"
        method = f"Wald z{shown}, intervals {together}"
        return [
            Inference(
                name=f"{self.labels[a]} - {self.labels[b]}",
                method=method,
                estimate=float(difference[k]),
                se=float(se[k]),
                statistic=float(z[k]),
                df=math.inf,
                p=float(p[k]),
                low=float(difference[k] - half * se[k]),
                high=float(difference[k] + half * se[k]),
                level=self.level,
            )
            for k, (a, b) in enumerate(pairs)
        ]

    def to_frame(self) -> pd.DataFrame:
        """One row a mean."""
        import pandas as pd

        numbers = {"estimate": self.estimate, "se": self.se, "low": self.low, "high": self.high}
        return pd.DataFrame(list(self.cells)).assign(**numbers)

    def to_json(self) -> dict[str, Any]:
        """JSON object: every field, and ``means``, the rows of `to_frame`."""
        return {**super().to_json(), "means": self.to_frame().to_dict("records")}

    def plot(self, *, raw: pd.DataFrame | None = None, ax: Axes | None = None) -> Axes:
        """Draw the means with their intervals, raw means of people behind.

        Parameters
        ----------
        raw : DataFrame, optional
            Of `raw_means`.
        ax : Axes, optional
            To draw on; a new figure by default.
        """
        from imi_bench.glmm.means_figure import draw_means

        return draw_means(self, raw=raw, ax=ax)


@checked
def marginal_means(
    result: GlmmResult,
    *names: str,
    at: Mapping[str, Sequence[Any]] | None = None,
    over: Averaging = "population",
    scale: Scale = "response",
    above: str | None = None,
    level: float = 0.95,
) -> MarginalMeans:
    """Return the mean at each combination of some variables, averaged over the others.

    Parameters
    ----------
    result : GlmmResult
        A fit with its design.
    names : str
        Variables of the fixed effects.
    at : mapping of str to sequence of Any, optional
        Values of variables, instead of a factor's levels or a covariate's mean.
    over : Averaging
        ``population`` (averaged over the random effects) or ``zero``.
    scale : Scale
        ``response`` or ``link``.
    above : str, optional
        Of ordered answers: the probability of a higher one than this, instead of the mean
        place of the answer.
    level : float

    Raises
    ------
    UnknownNameError
        If a variable is not in the model.
    InputError
        If a variable asked for is a covariate of many values and `at` does not give some.

    Examples
    --------
    ``marginal_means(model, "mode").contrasts(adjust="tukey")``
    """
    UnknownNameError.unless_among(over, ("population", "zero"), kind="treatment")
    data = _table(result)
    values, held = _grid_values(result, data, names, dict(at or {}))
    averaged = tuple(name for name in values if name not in names)
    order = [*names, *averaged]
    cells = list(itertools.product(*(values[name] for name in order)))
    if len(cells) > _MOST_CELLS:
        raise InputError(
            "the reference grid is too large",
            found=f"{len(cells)} combinations",
            wanted=f"at most {_MOST_CELLS}",
            do="hold variables at one value (at)",
        )
    rows = rows_of(result, _grid(result, data, order, cells, held))
    asked = list(itertools.product(*(values[name] for name in names)))
    weight = np.kron(np.eye(len(asked)), np.full((1, len(cells) // len(asked)), 1.0))
    weight /= weight.sum(axis=1, keepdims=True)
    own = parameters_of(result, above=above)

    def expected(vector: Floats) -> Floats:
        if over == "population":
            return np.asarray(weight @ own.expected(vector, rows, over=over, scale=scale))
        line = weight @ own.line(vector, rows)
        return np.asarray(line if scale == "link" else own.response(vector)(line))

    estimate, jacobian = expected(own.values), joint_jacobian(expected, own.values)
    covariance = jacobian @ np.nan_to_num(result.joint_covariance) @ jacobian.T
    se = np.sqrt(np.maximum(delta_variance(result, jacobian), 0.0))
    low, high = bounded_interval(estimate, se, level=level, bounds=bounds_of(result, scale, above))
    return MarginalMeans(
        names=tuple(names),
        cells=tuple(dict(zip(names, cell, strict=True)) for cell in asked),
        estimate=estimate,
        se=se,
        low=low,
        high=high,
        covariance=covariance,
        level=level,
        over=over,
        scale=scale,
        held=held,
        averaged=averaged,
        quantity=_quantity(result, scale, above),
    )


def _table(result: GlmmResult) -> pd.DataFrame:
    table = result.with_data("no variables").table
    if table is None:
        raise ModelError("no variables", found="a design without its table")
    return table


def _quantity(result: GlmmResult, scale: Scale, above: str | None) -> str:
    if scale == "link":
        return f"linear predictor ({result.link})"
    if result.family == "gaussian":
        return f"mean {result.formula.partition('~')[0].strip()}"
    if result.family == "ordinal":
        return "mean place of the answer" if above is None else f"probability above {above}"
    return "probability"


def _grid_values(
    result: GlmmResult,
    data: pd.DataFrame,
    names: Sequence[str],
    at: dict[str, Sequence[Any]],
) -> tuple[dict[str, list[Any]], dict[str, float]]:
    """Return the values of each variable on the grid, and what covariates are held at."""
    recipe = result.with_data("no variables").recipe
    if recipe is None:
        raise ModelError("no variables", found="a design without its formula")
    for name in (*names, *at):
        UnknownNameError.unless_among(name, recipe.columns, kind="variable of the fixed effects")
    values: dict[str, list[Any]] = {}
    held: dict[str, float] = {}
    for name in recipe.columns:
        levels = recipe.levels(name)
        if name in at:
            values[name] = [str(v) if levels is not None else _value(name, v) for v in at[name]]
        elif levels is not None:
            values[name] = list(levels)
        elif recipe.is_labels(name):
            values[name] = sorted(float(v) for v in data[name].dropna().unique())
        elif name in names:
            distinct = sorted(float(v) for v in data[name].dropna().unique())
            if len(distinct) > _MOST_VALUES:
                raise InputError(
                    "a covariate of many values",
                    where=name,
                    found=f"{plural(len(distinct), 'value')}, {distinct[0]:g} to {distinct[-1]:g}",
                    do="say at which values (at)",
                )
            values[name] = distinct
        else:
            held[name] = float(data[name].mean())
    return values, held


def _value(name: str, given: Any) -> float:
    try:
        return float(given)
    except (TypeError, ValueError):
        raise InputError("not a number", where=name, found=repr(given)) from None


def _grid(
    result: GlmmResult,
    data: pd.DataFrame,
    order: Sequence[str],
    cells: Sequence[tuple[Any, ...]],
    held: Mapping[str, float],
) -> pd.DataFrame:
    import pandas as pd

    grid = pd.DataFrame(cells, columns=list(order)).assign(**held)
    for factor in result.with_data("no variables").factors:
        needed = () if factor.recipe is None or factor.values is None else factor.recipe.columns
        for name in needed:
            if name not in grid:
                grid[name] = data[name].iloc[0]
    return grid


@checked
def raw_means(result: GlmmResult, *names: str, by: str | None) -> pd.DataFrame:
    """Return the raw mean of the response in each cell, for each level of a factor.

    Parameters
    ----------
    result : GlmmResult
        A fit with its design.
    names : str
        Variables of the cells.
    by : str or None
        A grouping factor, such as ``participant``; None for one mean a cell.

    Returns
    -------
    means : the cells' values, the level, and ``mean``: proportion, value, or mean place of an
        ordered answer counted from one.
    """
    design, table = result.with_data("no rows"), _table(result)
    share = design.trials if result.family == "gaussian" else 1.0
    frame = table[list(names)].assign(
        _response=design.response * share + (1.0 if result.family == "ordinal" else 0.0),
        _trials=design.trials,
    )
    keys = list(names)
    if by is not None:
        factor = design.factor(by)
        frame[by] = np.asarray(factor.levels, dtype=object)[factor.codes]
        keys.append(by)
    sums = frame.groupby(keys, observed=True)[["_response", "_trials"]].sum()
    return (sums["_response"] / sums["_trials"]).rename("mean").reset_index()
