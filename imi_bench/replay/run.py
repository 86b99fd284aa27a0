"""What an observer answered, and how that came about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from imi_bench.plots import Interval, forest
from imi_bench.replay.evidence import Evidence
from imi_bench.replay.summary import accuracy_table
from imi_bench.results import Result
from imi_bench.stats.estimate import Estimate
from imi_bench.tables import DecisionVariables, Trials
from imi_bench.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Run"]


@dataclass(frozen=True, eq=False, repr=False)
class Run(Result):
    """An observer's answers to trials and how they came about.

    Attributes
    ----------
    decisions : DecisionVariables
        In the order of the trials.
    trials : Trials
    record : dict
        What ``run.json`` holds.
    reused : bool
        The output folder held this very run already; nothing was computed.
    evidence : Evidence or None
        The similarities behind the decisions, where the observer can say.
    """

    decisions: DecisionVariables
    trials: Trials
    record: dict[str, Any]
    reused: bool = False
    evidence: Evidence | None = None

    shown_columns = ("group", "of", "value", "low", "high", "n")

    @property
    def accuracy(self) -> dict[str, dict[str, Estimate]]:
        """Proportion correct, by mode and difficulty; see `accuracy_table`."""
        return accuracy_table(self.decisions, self.trials.index)

    @property
    def title(self) -> str:
        """Whose answers, to how many trials, how many of which kind."""
        made_up = "simulated " if self.trials.simulated else ""
        status = pd.Series(self.decisions.status).value_counts()
        counts = ", ".join(f"{count} {name}" for name, count in status.items())
        return (
            f"{self.decisions.observer}: proportion correct of "
            f"{plural(len(self.trials), f'{made_up}trial')} "
            f"({counts})"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row a group of trials: group, of, value, low, high, n, method."""
        return pd.DataFrame(
            [
                {
                    "group": name,
                    "of": group,
                    "value": found.value,
                    "low": found.low,
                    "high": found.high,
                    "n": found.n,
                    "method": found.method,
                }
                for group, parts in self.accuracy.items()
                for name, found in parts.items()
            ]
        )

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the proportions correct with their intervals, chance as a line."""
        rows = [
            Interval(name, found.value, found.low, found.high)
            for parts in self.accuracy.values()
            for name, found in parts.items()
        ]
        xlabel = "proportion correct"
        return forest(rows, xlabel=xlabel, title=self.title, reference=0.5, ax=ax)
