"""What the model expects of other rows: on the link's scale or as people read it.

Three ways to treat the random effects: ``zero`` (a typical level: all effects are zero),
``population`` (averaged over the levels that could have been drawn) and ``conditional`` (the
levels that the data are about). On the scale of probabilities the first two differ: the average
of F(eta + b) is nearer to one half than F(eta).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from scipy import special

from imi_bench.arguments import checked, checked_level
from imi_bench.arrays import Floats
from imi_bench.errors import InputError, ModelError, UnknownNameError
from imi_bench.glmm.families import binomial_link
from imi_bench.glmm.lapse import lapsing
from imi_bench.glmm.ordinal import category_probabilities
from imi_bench.glmm.result import GlmmResult
from imi_bench.plots import BLUE, new_axes
from imi_bench.results import Result
from imi_bench.text import plural

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = [
    "Averaging",
    "Prediction",
    "Rows",
    "Scale",
    "joint_jacobian",
    "new_levels_listed",
    "predict",
    "rows_of",
]

Averaging = Literal["zero", "population", "conditional"]
Scale = Literal["response", "link"]
_NODES = 40
_STEP = 1e-5


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a model, those it was fitted to or others.

    Attributes
    ----------
    fixed : (n, p) float64
    offset : (n,) float64
    random : tuple of ndarray of float64
        For each grouping factor, its columns float64 (n, effects).
    shift : (n,) float64
        The random effects of each row's own levels; zeros where not wanted.
    shift_variance : (n,) float64
        Variance of `shift` given the data.
    unknown : (n,) bool
        Rows with a level that the fit did not see.
    new : mapping of str to tuple of str
        By grouping factor, those levels; ``(missing)`` where a row has none.
    """

    fixed: Floats
    offset: Floats
    random: tuple[Floats, ...]
    shift: Floats
    shift_variance: Floats
    unknown: np.ndarray[Any, np.dtype[np.bool_]]
    new: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def rows_of(
    result: GlmmResult, data: pd.DataFrame | None = None, *, conditional: bool = False
) -> Rows:
    """Return the rows of a table as the model sees them.

    Parameters
    ----------
    result : GlmmResult
        A fit with its design.
    data : DataFrame, optional
        Other rows, with the columns that the formula names; None for the model's own.
    conditional : bool
        Look up the levels of the grouping factors.

    Raises
    ------
    ModelError
        If the result has no data.
    InputError
        If a row misses a value.
    """
    design = result.with_data("no rows")
    if data is None:
        fixed, offset, count = design.fixed, design.offset, design.n
        random = tuple(
            np.ones((count, 1)) if f.values is None else f.values for f in design.factors
        )
    else:
        if design.recipe is None:
            raise ModelError("no formula to make other rows with", found="bare arrays")
        fixed, count = design.fixed_columns(data), len(data)
        offset = design.recipe.offset(data)
        random = tuple(
            np.ones((count, 1)) if f.recipe is None or f.values is None else f.recipe.values(data)
            for f in design.factors
        )
        bad = ~np.isfinite(fixed).all(axis=1) | ~np.isfinite(offset)
        if bad.any():
            raise InputError(
                "rows with a missing value",
                found=f"{int(bad.sum())} of {count}, the first is row {int(np.argmax(bad)) + 1}",
                do="leave them out",
            )
    shift, variance, unknown = np.zeros(count), np.zeros(count), np.zeros(count, dtype=bool)
    unseen: dict[str, tuple[str, ...]] = {}
    if conditional:
        for factor, effect, columns in zip(design.factors, result.random, random, strict=True):
            if data is None:
                codes = factor.codes
            else:
                if factor.recipe is None:
                    raise ModelError("no levels of other rows", found="bare arrays")
                place = {level: index for index, level in enumerate(factor.levels)}
                labels = factor.recipe.labels(data)
                codes = np.array(
                    [-1 if one is None else place.get(one, -1) for one in labels], dtype=np.intp
                )
                if new_here := sorted({one or "(missing)" for one in set(labels) - set(place)}):
                    unseen[factor.group] = tuple(new_here)
            new = codes < 0
            shift += np.where(new, 0.0, (columns * effect.modes[codes]).sum(axis=1))
            spread = ((columns * effect.conditional_sd[codes]) ** 2).sum(axis=1)
            variance += np.where(new, 0.0, spread)
            unknown |= new
    return Rows(fixed, offset, random, shift, variance, unknown, unseen)


@dataclass(frozen=True)
class _Parameters:
    """theta, fixed effects and shape, as one vector that can be moved."""

    result: GlmmResult
    above: int | None

    @property
    def values(self) -> Floats:
        one = self.result
        return np.concatenate([one.theta, one.estimate, one.shape])

    def response(self, vector: Floats) -> Callable[[Floats], Floats]:
        """Return the function from linear predictor to what is read off."""
        result = self.result
        shape = vector[len(result.theta) + len(result.names) :]
        if result.family == "gaussian":
            return lambda eta: eta
        if result.family == "ordinal":
            places = np.arange(1.0, len(result.categories) + 1.0)
            read = places if self.above is None else (places > self.above).astype(float)
            return lambda eta: category_probabilities(result.link, shape, eta) @ read
        lapse = float(shape[0]) if len(shape) else result.lapse
        return lapsing(binomial_link(result.link), max(lapse, 0.0)).probability

    def line(self, vector: Floats, rows: Rows) -> Floats:
        size, count = len(self.result.theta), len(self.result.names)
        return rows.offset + rows.fixed @ vector[size : size + count]

    def spread(self, vector: Floats, rows: Rows) -> Floats:
        """Return the standard deviation of each row's random part."""
        result, design = self.result, self.result.with_data("no random effects")
        scale = result.sigma if result.family == "gaussian" else 1.0
        total = np.zeros(len(rows.fixed))
        factors = design.problem.factors(vector[: len(result.theta)])
        for columns, factor in zip(rows.random, factors, strict=True):
            total += ((columns @ factor) ** 2).sum(axis=1)
        return np.asarray(scale * np.sqrt(total))

    def expected(self, vector: Floats, rows: Rows, *, over: Averaging, scale: Scale) -> Floats:
        """Return what is expected of each row."""
        eta = self.line(vector, rows) + rows.shift
        if scale == "link":
            return eta
        read = self.response(vector)
        if over != "population" or self.result.family == "gaussian":
            return np.asarray(read(eta))
        points, weights = special.roots_hermite(_NODES)
        sd = np.sqrt(2.0) * self.spread(vector, rows)
        total = np.zeros(len(eta))
        for point, weight in zip(points, weights / np.sqrt(np.pi), strict=True):
            total += weight * read(eta + sd * point)
        return total


def joint_jacobian(function: Callable[[Floats], Floats], at: Floats) -> Floats:
    """Return central differences of a vector function, float64 (values, parameters)."""
    columns = []
    for index in range(len(at)):
        move = np.zeros(len(at))
        move[index] = _STEP * max(1.0, abs(float(at[index])))
        columns.append((function(at + move) - function(at - move)) / (2.0 * move[index]))
    return np.stack(columns, axis=1)


def parameters_of(result: GlmmResult, *, above: str | None = None) -> _Parameters:
    """Return the parameters of a fit, and what is read off ordered answers.

    Parameters
    ----------
    result : GlmmResult
        A fit with its design.
    above : str, optional
        An ordered answer: read the probability of a higher one; by default the mean place
        of the answer, counted from one.
    """
    if above is None:
        return _Parameters(result, None)
    if result.family != "ordinal":
        raise InputError("no ordered answers", found=f"family {result.family}")
    below = result.categories[:-1]
    UnknownNameError.unless_among(above, below, kind="answer below another")
    return _Parameters(result, below.index(above) + 1)


@dataclass(frozen=True, eq=False, repr=False)
class Prediction(Result):
    """What a model expects of rows.

    Attributes
    ----------
    estimate, low, high : (n,) float64
    se : (n,) float64
        On the same scale.
    level : float
    over, scale : Averaging and Scale
        How the random effects were treated; the scale.
    unknown : (n,) bool
        Rows with a level the fit had not seen, whose effect is taken as zero.
    new : mapping of str to tuple of str
        Those levels, by grouping factor.
    """

    estimate: Floats
    se: Floats
    low: Floats
    high: Floats
    level: float
    over: Averaging
    scale: Scale
    unknown: np.ndarray[Any, np.dtype[np.bool_]] = field(
        default_factory=lambda: np.zeros(0, dtype=bool)
    )
    new: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """One line about the result."""
        return f"Predictions ({self.over}, {self.scale} scale, {self.level:.0%} intervals)"

    def to_frame(self) -> pd.DataFrame:
        """One row a row."""
        import pandas as pd

        return pd.DataFrame(
            {
                "estimate": self.estimate,
                "se": self.se,
                "low": self.low,
                "high": self.high,
                "new_level": self.unknown,
            }
        )

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw every row with its interval, in the order of the rows."""
        ax = new_axes(ax)
        rows = np.arange(len(self.estimate))
        ax.vlines(rows, self.low, self.high, color="0.7", linewidth=1)
        ax.plot(rows, self.estimate, ".", color=BLUE)
        ax.set(xlabel="row", ylabel=f"expected ({self.scale} scale)", title=self.title)
        return ax

    def to_json(self) -> dict[str, Any]:
        """JSON object: every field, and ``rows``, the rows of `to_frame`."""
        return {**super().to_json(), "rows": self.to_frame().to_dict("records")}


@checked
def predict(
    result: GlmmResult,
    data: pd.DataFrame | None = None,
    *,
    over: Averaging = "population",
    scale: Scale = "response",
    new_levels: Literal["refuse", "zero"] = "refuse",
    above: str | None = None,
    level: float = 0.95,
) -> Prediction:
    """Return what the model expects of rows, with intervals for the expectation.

    Parameters
    ----------
    result : GlmmResult
        A fit with its design.
    data : DataFrame, optional
        Other rows; None for the model's own.
    over : Averaging
        ``population`` averages over the random effects, ``zero`` sets them to zero,
        ``conditional`` takes those of each row's levels.
    scale : Scale
        ``response`` (probability, value, mean place of an ordered answer) or ``link``.
    new_levels : {"refuse", "zero"}
        With ``conditional``, refuse levels that the fit did not see, or take their
        effects as zero.
    above : str, optional
        See `parameters_of`.
    level : float

    Returns
    -------
    prediction : Prediction
        Its intervals carry the uncertainty of all parameters, and with ``conditional`` of the
        random effects given the parameters, added as if independent; they are for the expected
        value, not for a single answer.

    Examples
    --------
    ``predict(model, rows, over="conditional", new_levels="zero").to_frame()``
    """
    _check_words(over, scale)
    treatments = ("refuse", "zero")
    UnknownNameError.unless_among(new_levels, treatments, kind="treatment of new levels")
    rows = rows_of(result, data, conditional=over == "conditional")
    if rows.unknown.any() and new_levels == "refuse":
        raise InputError(
            "levels that the fit did not see",
            where=f"{int(rows.unknown.sum())} of {plural(len(rows.unknown), 'row')}, "
            f"the first is row "
            f"{int(np.argmax(rows.unknown)) + 1}",
            found=new_levels_listed(rows.new),
            do="take their effects as zero (new_levels='zero'), or average over "
            "the levels there could be (over='population')",
        )
    own = parameters_of(result, above=above)
    at = own.values

    def expected(vector: Floats) -> Floats:
        return own.expected(vector, rows, over=over, scale=scale)

    estimate = expected(at)
    variance = delta_variance(result, joint_jacobian(expected, at))
    if over == "conditional":
        further = replace(rows, shift=rows.shift + _STEP)
        moved = own.expected(at, further, over=over, scale=scale) - estimate
        variance = variance + (moved / _STEP) ** 2 * rows.shift_variance
    se = np.sqrt(np.maximum(variance, 0.0))
    low, high = bounded_interval(estimate, se, level=level, bounds=bounds_of(result, scale, above))
    return Prediction(
        estimate=estimate,
        se=se,
        low=low,
        high=high,
        level=level,
        over=over,
        scale=scale,
        unknown=rows.unknown,
        new=rows.new,
    )


def new_levels_listed(new: Mapping[str, tuple[str, ...]], *, most: int = 5) -> str:
    """Name levels that a fit did not see, by factor; of many the first.

    Examples
    --------
    >>> new_levels_listed({"unit": ("u8", "u9"), "person": ("p7", "p8")}, most=1)
    "unit 'u8' and 1 more; person 'p7' and 1 more"
    """
    said = []
    for group, levels in new.items():
        more = f" and {len(levels) - most} more" if len(levels) > most else ""
        said.append(f"{group} {', '.join(map(repr, levels[:most]))}{more}")
    return "; ".join(said)


def _check_words(over: str, scale: str) -> None:
    for word, known, kind in (
        (over, get_args(Averaging), "treatment of random effects"),
        (scale, get_args(Scale), "scale"),
    ):
        UnknownNameError.unless_among(word, known, kind=kind)


def delta_variance(result: GlmmResult, jacobian: Floats) -> Floats:
    """Return the variance of each value; a parameter on its boundary counts as known."""
    covariance = np.nan_to_num(result.joint_covariance)
    return np.asarray(np.einsum("ij,jk,ik->i", jacobian, covariance, jacobian))


def bounds_of(result: GlmmResult, scale: Scale, above: str | None) -> tuple[float, float] | None:
    """Return the ends of what a value can be, None where there are none."""
    if scale == "link" or result.family == "gaussian":
        return None
    if result.family == "ordinal" and above is None:
        return 1.0, float(len(result.categories))
    return 0.0, 1.0


def bounded_interval(
    estimate: Floats, se: Floats, *, level: float, bounds: tuple[float, float] | None
) -> tuple[Floats, Floats]:
    """Return an interval that is symmetric on the logit of where the value stands in its bounds."""
    half = float(special.ndtri(0.5 + 0.5 * checked_level(level)))
    if bounds is None:
        return estimate - half * se, estimate + half * se
    bottom, top = bounds
    share = (estimate - bottom) / (top - bottom)
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = half * se / ((top - bottom) * share * (1.0 - share))
        middle = special.logit(share)
        low, high = special.expit(middle - reach), special.expit(middle + reach)
    return bottom + (top - bottom) * low, bottom + (top - bottom) * high


def labels_of(values: Mapping[str, Any]) -> str:
    """Return ``mode=natural, depth=0.5`` for a mapping."""
    return ", ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in values.items()
    )
