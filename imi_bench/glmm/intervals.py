"""Intervals of all fixed effects by one method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from imi_bench.arguments import checked, checked_level
from imi_bench.errors import UnknownNameError
from imi_bench.glmm.bootstrap import bootstrap
from imi_bench.glmm.inference import Inference, wald
from imi_bench.glmm.profile import profile, profile_lapse
from imi_bench.glmm.result import GlmmResult
from imi_bench.plots import Interval, forest
from imi_bench.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

METHODS = ("wald", "profile", "bootstrap")


@dataclass(frozen=True, repr=False)
class Intervals(Result):
    """Fixed effects with their intervals by one method.

    Attributes
    ----------
    method : {"wald", "profile", "bootstrap"}
    level : float
    tests : tuple of Inference
    failed : int
        Refits of the bootstrap that did not converge and are left out.
    """

    method: str
    level: float
    tests: tuple[Inference, ...]
    failed: int = 0

    @property
    def title(self) -> str:
        """What this is, in one line."""
        left = f", {self.failed} refits left out that did not converge" if self.failed else ""
        return f"{self.level:.0%} intervals ({self.method}{left})"

    def to_frame(self) -> pd.DataFrame:
        """One row for each effect."""
        import pandas as pd

        return pd.DataFrame([asdict(test) for test in self.tests])

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the effects with their intervals, without the intercept."""
        rows = [
            Interval(one.name, one.estimate, one.low, one.high)
            for one in self.tests
            if one.name != "(Intercept)" or len(self.tests) == 1
        ]
        return forest(rows, xlabel="estimate", title=self.title, reference=0.0, ax=ax)


@checked
def intervals(
    result: GlmmResult,
    *,
    method: str = "profile",
    effects: Sequence[str] | None = None,
    level: float = 0.95,
    n: int = 200,
    seed: int = 0,
) -> Intervals:
    """Intervals of the fixed effects; a profile or bootstrap refits the model many times.

    Parameters
    ----------
    result : GlmmResult
        With its data.
    method : {"profile", "wald", "bootstrap"}
    effects : sequence of str, optional
        Only these; by default all fixed effects, and in a profile an estimated ``lapse``.
    level : float
    n, seed : int
        Refits of the bootstrap, and their seed.

    Raises
    ------
    UnknownNameError
        No such method or effect.

    Examples
    --------
    ``intervals(fit("correct ~ depth + (1|unit)", data), method="wald").to_frame()``
    """
    UnknownNameError.unless_among(method, METHODS, kind="method")
    checked_level(level)
    asked = tuple(effects or result.names)
    with_lapse = method == "profile" and "lapse" in (effects or result.shape_names)
    names = tuple(name for name in asked if not (with_lapse and name == "lapse"))
    for name in names:
        result.index(name)
    if method == "bootstrap":
        drawn = bootstrap(result, n=n, seed=seed)
        tests = tuple(drawn.test(name, level=level) for name in names)
        return Intervals(method, level, tests, drawn.failed)
    one = wald if method == "wald" else profile
    tests = tuple(one(result, name, level=level) for name in names)
    if with_lapse:
        tests = (*tests, profile_lapse(result, level=level))
    return Intervals(method, level, tests)
