"""The calibrated observers that judge networks, and what they may be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd

from imi_bench.choice.calibration import Calibration
from imi_bench.errors import InputError
from imi_bench.leaderboard.archive import Problem
from imi_bench.leaderboard.board import Board
from imi_bench.leaderboard.leakage import parse_unit, plain
from imi_bench.tables import TrialIndex
from imi_bench.text import plural

_UNREACHABLE = 50.0  # link units: no fit tells such a probability from 0 or 1


@dataclass(frozen=True, eq=False)
class Panel:
    """The panel of a networks board.

    Attributes
    ----------
    calibrations : mapping of str to Calibration
        By observer.
    reach : float
        Largest decision variable allowed, in multiples of the largest its calibration saw.
    """

    calibrations: Mapping[str, Calibration]
    reach: float

    @classmethod
    def of(cls, board: Board) -> Self:
        """Read ``calibrations/`` of a board.

        Raises
        ------
        InputError
            If one is missing or cannot be read.
        """
        folder, rules = board.folder / "calibrations", board.rules
        if not rules.panel:
            raise InputError("the board has no panel", where=board.folder / "board.toml")
        read = {name: Calibration.read(folder / f"{name}.json") for name in rules.panel}
        return cls(read, rules.evidence.reach)

    def problems(self, decisions: pd.DataFrame, index: TrialIndex) -> list[Problem]:
        """Units the panel was calibrated on, and evidence beyond what it can tell."""
        return [*self._seen(index), *self._beyond(decisions)]

    def _seen(self, index: TrialIndex) -> list[Problem]:
        units: set[object] = set()
        networks: set[str] = set()
        for calibration in self.calibrations.values():
            for cluster in calibration.folds:
                unit = parse_unit(cluster)
                if calibration.by == "network" or unit is None:
                    networks.add(plain(cluster))
                else:
                    units.add(unit)
        shown = {
            *zip(index.network.tolist(), index.layer.tolist(), index.unit.tolist(), strict=True)
        }
        seen = [
            f"{n}/{la}/{u}"
            for n, la, u in shown
            if plain(n) in networks or (plain(n), plain(la), int(u)) in units
        ]
        if not seen:
            return []
        why = (
            f"{plural(len(seen), 'unit')} that the panel was calibrated on, such as "
            f"'{min(seen)[:80]}'"
        )
        return [Problem("trials.parquet", "unit", why)]

    def _beyond(self, decisions: pd.DataFrame) -> list[Problem]:
        found = []
        for name, calibration in self.calibrations.items():
            own = decisions["observer"] == name
            size = decisions["decision_variable"].abs()[own].to_numpy(dtype=np.float64)
            limit = self.limit(calibration)
            if (far := int((size > limit).sum())) > 0:
                why = f"{far} of '{name}' beyond {limit:g}, {self.reach:g} times what it ever gave"
                found.append(Problem("decisions.parquet", "decision_variable", why))
        return found

    def limit(self, calibration: Calibration) -> float:
        """Largest decision variable allowed of an observer."""
        if calibration.largest_evidence is not None:
            return self.reach * calibration.largest_evidence
        slopes = [] if calibration.overall is None else calibration.overall.slopes.values()
        steepest = max((abs(s.value) for s in slopes), default=0.0)
        return _UNREACHABLE / steepest if steepest > 0 else float("inf")
