"""What ``stimuli build`` left in its folder, read for a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imi_bench.documents import parse_json, reading
from imi_bench.errors import InputError
from imi_bench.networks.activation_record import Activations
from imi_bench.networks.units import Unit
from imi_bench.replay.output import read_record
from imi_bench.results import Record
from imi_bench.stimuli.trial_files import read_trials
from imi_bench.tables import Trials
from imi_bench.tables.parquet import read_parquet

__all__ = ["BuiltUnits"]

COMMAND = "stimuli build"


@dataclass(frozen=True, eq=False, repr=False)
class BuiltUnits(Record):
    """Trials of a network's units, and what the pass over the images found.

    Attributes
    ----------
    trials : Trials
    record : mapping
        The folder's ``run.json``.
    units : pandas.DataFrame
        One row a sampled unit: layer, unit, type, depth, width, spread, sparsity, silent, contrast.
    activations : Activations
        Every activation of the sampled units.
    visualisations : pandas.DataFrame or None
        One row a unit and direction: how far feature visualisation drove it; None without them.
    folder : Path
    """

    trials: Trials
    record: Mapping[str, Any]
    units: pd.DataFrame
    activations: Activations
    visualisations: pd.DataFrame | None = None
    folder: Path = Path()

    def to_json(self) -> dict[str, Any]:
        """JSON object: where the folder is."""
        return {"folder": str(self.folder)}

    @classmethod
    @reading("built units")
    def from_json(cls, record: str | Mapping[str, Any]) -> Self:
        """Read the folder again that `to_json` names.

        Raises
        ------
        InputError
            As `read`.
        """
        found = parse_json(record) if isinstance(record, str) else record
        return cls.read(found["folder"])

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """Read the folder that ``imi-bench stimuli build`` wrote.

        Raises
        ------
        InputError
            If it is another folder, or a file of it is missing or damaged.
        """
        place = Path(folder)
        record = read_record(place) or {}
        if record.get("command") != COMMAND:
            raise InputError(
                "not the folder of built trials",
                where=place,
                found=record.get("command", "no run.json"),
                wanted="what `imi-bench stimuli build` wrote",
            )
        drawn = place / "visualisations.parquet"
        return cls(
            read_trials(place / "trials.parquet"),
            record,
            _table(place / "units.parquet"),
            Activations.load(place / "activations" / "activations.npz"),
            _table(drawn) if drawn.is_file() else None,
            place,
        )

    @property
    def network(self) -> str:
        """Its name."""
        return self.activations.network

    @property
    def random(self) -> bool:
        """Whether the weights were drawn from a seed."""
        return self.record.get("network", {}).get("random_seed") is not None

    def share_below(self, row: int) -> tuple[float, float]:
        """Share of the images that activate a trial's unit less than its q+ and its q- do."""
        known = self.trials.query_activations
        index = self.trials.index
        unit = Unit(str(index.layer[row]), int(index.unit[row]))
        if known is None or unit not in self.activations.sampled:
            return float("nan"), float("nan")
        values: NDArray[np.float32] = self.activations.of(unit)
        strong, weak = ((values < value).mean().item() for value in known[row])
        return strong, weak


def _table(path: Path) -> pd.DataFrame:
    return read_parquet(path)
