"""What the fit would say without one level of a grouping factor, such as one network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from imi_bench.arguments import checked
from imi_bench.arrays import Floats, Indices
from imi_bench.documents import parse_json, reading
from imi_bench.errors import ImiBenchError, SmallModelError, UnknownNameError
from imi_bench.formulas.syntax import Name
from imi_bench.glmm.design import Design, RandomFactor
from imi_bench.glmm.fitting import fit_design
from imi_bench.glmm.inference import quick_options
from imi_bench.glmm.levels import joint_levels
from imi_bench.glmm.result import GlmmResult
from imi_bench.glmm.starts import WarmStart
from imi_bench.plots import bars
from imi_bench.provenance import from_null
from imi_bench.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False, repr=False)
class Influence(Result):
    """Estimates without each level of a grouping factor.

    Attributes
    ----------
    group : str
    levels : tuple of str
        Left out, one at a time.
    names : tuple of str
    estimate : (levels, p) float64
        Estimates without the level; NaN where that has none.
    change : (levels, p) float64
        Those less the fit's own estimates, in its standard errors:
        above zero where leaving the level out raises them. (R's ``dfbetas`` has the other sign.)
    distance : (levels,) float64
        Cook's distance: change' covariance^-1 change / p.
    reasons : tuple of str
        Why a row is NaN; empty otherwise.
    """

    group: str
    levels: tuple[str, ...]
    names: tuple[str, ...]
    estimate: Floats
    change: Floats
    distance: Floats
    reasons: tuple[str, ...]

    @property
    def title(self) -> str:
        """One line about the result."""
        return f"Without each {self.group}: distance, and changes in standard errors"

    def to_frame(self) -> pd.DataFrame:
        """One row a level, the most influential first: distance, then changes in SE."""
        import pandas as pd

        frame = pd.DataFrame(self.change, columns=list(self.names))
        frame.insert(0, "distance", self.distance)
        frame.insert(0, self.group, list(self.levels))
        return frame.sort_values("distance", ascending=False, ignore_index=True)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the distance of each level, the most influential on top."""
        frame = self.to_frame()
        distance = dict(zip(frame[self.group].astype(str), frame["distance"], strict=True))
        xlabel = f"Cook's distance without a {self.group}"
        return bars(distance, xlabel=xlabel, title=self.title, ax=ax)

    def to_json(self) -> dict[str, Any]:
        """JSON object."""
        return {
            "group": self.group,
            "levels": [
                {
                    "level": level,
                    "distance": float(distance),
                    "reason": reason,
                    "estimate": dict(zip(self.names, map(float, estimate), strict=True)),
                    "change": dict(zip(self.names, map(float, change), strict=True)),
                }
                for level, distance, reason, estimate, change in zip(
                    self.levels,
                    self.distance,
                    self.reasons,
                    self.estimate,
                    self.change,
                    strict=True,
                )
            ],
        }

    @classmethod
    @reading("influence")
    def from_json(cls, record: str | Mapping[str, Any]) -> Influence:
        """Read back what `to_json` gave.

        Raises
        ------
        InputError
            If it is no such record.
        """
        found = parse_json(record) if isinstance(record, str) else record
        rows = found["levels"]
        names = tuple(rows[0]["change"])
        estimate, change = (
            np.array([[from_null(row[key][name]) for name in names] for row in rows])
            for key in ("estimate", "change")
        )
        return cls(
            group=str(found["group"]),
            levels=tuple(str(row["level"]) for row in rows),
            names=names,
            estimate=estimate,
            change=change,
            distance=np.array([from_null(row["distance"]) for row in rows]),
            reasons=tuple(str(row["reason"]) for row in rows),
        )


def rows_kept(design: Design, keep: np.ndarray[Any, np.dtype[np.bool_]]) -> Design:
    """Return the design on some of its rows; levels without a row are gone.

    Raises
    ------
    SmallModelError
        If a factor keeps one level, or fixed columns become dependent.
    """
    factors = tuple(_factor_kept(factor, keep) for factor in design.factors)
    return replace(
        design,
        response=design.response[keep],
        trials=design.trials[keep],
        offset=design.offset[keep],
        fixed=design.fixed[keep],
        factors=tuple(sorted(factors, key=lambda factor: -len(factor.levels))),
        table=None if design.table is None else design.table[keep].reset_index(drop=True),
        _pattern=None,
    )


def _factor_kept(factor: RandomFactor, keep: np.ndarray[Any, np.dtype[np.bool_]]) -> RandomFactor:
    present, codes = np.unique(factor.codes[keep], return_inverse=True)
    if len(present) < 2:
        raise SmallModelError("a grouping factor with one level cannot vary", where=factor.group)
    return replace(
        factor,
        codes=codes.astype(np.intp),
        levels=tuple(factor.levels[k] for k in present),
        values=None if factor.values is None else factor.values[keep],
    )


@checked
def influence(result: GlmmResult, group: str, *, levels: Iterable[str] | None = None) -> Influence:
    """Fit the model again without each level of a grouping factor.

    Parameters
    ----------
    result : GlmmResult
        A converged fit with its design.
    group : str
        A grouping factor, or a column of the model's table such as ``network``.
    levels : iterable of str, optional
        Only these; all by default.

    Raises
    ------
    UnknownNameError
        If there is no such factor or level.
    """
    design = result.with_data("cannot fit again")
    names, codes = _levels(design, group)
    wanted = list(names) if levels is None else [str(level) for level in levels]
    for level in wanted:
        UnknownNameError.unless_among(level, names, kind=f"level of {group}")
    estimates = np.full((len(wanted), len(result.names)), np.nan)
    reasons = []
    for index, level in enumerate(wanted):
        reason = ""
        try:
            part = rows_kept(design, codes != names.index(level))
            start = _start(result, part)
            again = fit_design(part, options=quick_options(result), start=start)
            reason = "" if again.converged else again.reason
            if again.converged:
                estimates[index] = again.estimate
        except ImiBenchError as error:
            reason = str(error)
        reasons.append(reason)
    change = (estimates - result.estimate) / result.se
    precision = np.linalg.pinv(result.covariance, hermitian=True)
    moved = result.estimate - estimates
    distance = np.einsum("la,ab,lb->l", moved, precision, moved) / max(len(result.names), 1)
    return Influence(
        group, tuple(wanted), result.names, estimates, change, distance, tuple(reasons)
    )


def _levels(design: Design, group: str) -> tuple[tuple[str, ...], Indices]:
    for factor in design.factors:
        if factor.group == group:
            return factor.levels, factor.codes
    table = design.table
    known = [factor.group for factor in design.factors]
    if table is None or group not in table.columns:
        columns = [] if table is None else list(map(str, table.columns))
        names = dict.fromkeys([*known, *columns])
        raise UnknownNameError.among(group, names, kind="grouping factor or column")
    codes, found = joint_levels((Name(group),), table)
    return found, codes


def _start(result: GlmmResult, part: Design) -> WarmStart:
    """Return where to begin; theta follows the order of the part's factors."""
    own = dict(zip(result.theta_names, result.theta, strict=True))
    shape = None if result.warm is None else result.warm.shape
    theta = np.array([own[name] for name in part.theta_names])
    return WarmStart(theta=theta, fixed=result.estimate, shape=shape)
