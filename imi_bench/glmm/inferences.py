"""Several tests of one fit, as one result: a table that prints, draws and travels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from imi_bench.errors import UnknownNameError
from imi_bench.glmm.inference import Inference
from imi_bench.plots import Interval, forest
from imi_bench.results import Result

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["Inferences"]


@dataclass(frozen=True, repr=False)
class Inferences(Result):
    """Tests in order; one is had by its place or by its name.

    Attributes
    ----------
    about : str
        What all of them are, in one line.
    tests : tuple of Inference

    Examples
    --------
    >>> one = Inference.from_t("depth", estimate=2.0, se=1.0, df=7.0, method="t")
    >>> found = Inferences("One test", (one,))
    >>> len(found), found["depth"] is found[0], [test.name for test in found]
    (1, True, ['depth'])
    """

    about: str
    tests: tuple[Inference, ...]
    shown_columns = ("name", "estimate", "low", "high", "statistic", "df", "p", "method", "reason")

    @property
    def title(self) -> str:
        """What all of them are, and the method if it is one."""
        methods = {test.method for test in self.tests}
        return f"{self.about} ({methods.pop()})" if len(methods) == 1 else self.about

    def __len__(self) -> int:
        return len(self.tests)

    def __iter__(self) -> Iterator[Inference]:
        return iter(self.tests)

    def __getitem__(self, which: int | str) -> Inference:
        if not isinstance(which, str):
            return self.tests[which]
        names = [test.name for test in self.tests]
        UnknownNameError.unless_among(which, names, kind="test")
        return self.tests[names.index(which)]

    def to_frame(self) -> pd.DataFrame:
        """One row a test."""
        import pandas as pd

        return pd.DataFrame(
            [asdict(test) for test in self.tests], columns=[*Inference.__dataclass_fields__]
        )

    def _shown(self) -> pd.DataFrame:
        frame = super()._shown()
        idle = [] if frame["p"].isna().any() else ["reason"]
        idle += [] if frame["low"].notna().any() else ["low", "high"]
        idle += ["method"] if frame["method"].nunique() == 1 else []
        return frame.drop(columns=idle)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the estimates with their intervals; p-values where no test has an interval."""
        if any(math.isfinite(test.low) for test in self.tests):
            rows = [Interval(one.name, one.estimate, one.low, one.high) for one in self.tests]
            return forest(rows, xlabel="estimate", title=self.title, ax=ax)
        rows = [Interval(one.name, one.p) for one in self.tests]
        ax = forest(rows, xlabel="p (these tests have no intervals)", title=self.title, ax=ax)
        ax.set_xlim(-0.02, 1.02)
        return ax
