"""What an observer answered, and how that came about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from imi_bench.tables import DecisionVariables, Trials

__all__ = ["Run"]


@dataclass(frozen=True, eq=False)
class Run:
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
    """

    decisions: DecisionVariables
    trials: Trials
    record: dict[str, Any]
    reused: bool = False
