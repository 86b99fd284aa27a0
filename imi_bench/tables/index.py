"""What each trial is about: network, layer, unit, mode, difficulty."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imi_bench.arrays import Bools, Ints, Strings
from imi_bench.errors import TrialError
from imi_bench.plots import bars
from imi_bench.tables.columns import Columns, codes, column, require_columns
from imi_bench.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MODES = ("natural", "synthetic")
DIFFICULTIES = ("easy", "hard99", "hard95", "hard85")


def split_difficulty(network: str) -> tuple[str, str]:
    """Split the released `model` name into base network and difficulty.

    Examples
    --------
    >>> split_difficulty("clip-resnet50_hard95"), split_difficulty("resnet50")
    (('clip-resnet50', 'hard95'), ('resnet50', 'easy'))
    """
    match = re.fullmatch(r"(.+)_(hard\d+)", network)
    return (match[1], match[2]) if match else (network, "easy")


@dataclass(frozen=True, eq=False, repr=False)
class TrialIndex(Columns):
    """What each trial is about, without its images.

    Attributes
    ----------
    trial_id : (T,) str
        Unique. See `TrialIndex.canonical_ids` for the form the project's own readers give.
    network : (T,) str
        Base name, such as ``clip-resnet50``, without a difficulty suffix.
    layer : (T,) str
        Module path joined by underscores, as released.
    unit : (T,) int64
        Channel in its layer (`channel` in the released table).
    mode : (T,) str
        ``natural`` or ``synthetic`` (`optimized` in the released table).
    difficulty : (T,) str
        ``easy``, ``hard99``, ``hard95`` or ``hard85``.
    batch : (T,) int64
        Which batch of the unit's images; 0 for catch trials built from the authors' layout.
    catch : (T,) bool
        Attention check rather than a main trial.

    Raises
    ------
    TrialError
        Columns of unequal length, a repeated id, an unknown mode or difficulty.
    """

    trial_id: Strings
    network: Strings
    layer: Strings
    unit: Ints
    mode: Strings
    difficulty: Strings
    batch: Ints
    catch: Bools

    def __post_init__(self) -> None:
        self._settle(where="trial table", error=TrialError)
        ids, counts = np.unique(self.trial_id.astype(str), return_counts=True)
        if len(ids) != len(self):
            raise TrialError(
                "trial_id is not unique",
                where=f"'{ids[counts > 1][0]}'",
                found=plural(counts.max(), "row"),
                wanted="1 row",
            )
        for name, allowed in (("mode", MODES), ("difficulty", DIFFICULTIES)):
            bad = ~np.isin(getattr(self, name).astype(str), allowed)
            if bad.any():
                row = int(np.flatnonzero(bad)[0])
                raise TrialError(
                    f"unknown {name}",
                    where=f"trial '{self.trial_id[row]}' (row {row}; "
                    f"{plural(bad.sum(), 'such row')})",
                    found=repr(getattr(self, name)[row]),
                    wanted=" or ".join(allowed),
                )

    shown_columns = ("network", "layer", "unit", "mode", "difficulty", "batch")

    @property
    def title(self) -> str:
        """How many trials of how many units."""
        return f"{len(self)} trials of {plural(len(set(self.unit_id)), 'unit')}"

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw how many trials there are of each network, mode and difficulty."""
        names = zip(self.network, self.mode, self.difficulty, strict=True)
        counts = Counter(map(", ".join, names))
        return bars(counts, xlabel="trials", title=self.title, ax=ax)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> Self:
        """Build from a data frame that has at least these columns.

        Raises
        ------
        TrialError
            If a column is missing; also all that the constructor raises.
        """
        require_columns(frame, cls._KINDS, where="trial table", error=TrialError)
        return cls(**{name: frame[name].to_numpy() for name in cls._KINDS})

    def take(self, rows: NDArray[Any]) -> TrialIndex:
        """The chosen rows (integer positions or a mask), in that order."""
        everything = np.arange(len(self))
        rows = everything[rows]
        if np.array_equal(rows, everything):
            return self
        columns = {name: getattr(self, name)[rows] for name in self._KINDS}
        if len(np.unique(rows)) < len(rows):
            return TrialIndex(**columns)  # which names the repeated trial
        taken = object.__new__(TrialIndex)  # rows of a table that was checked
        for name, values in columns.items():
            values.setflags(write=False)
            object.__setattr__(taken, name, values)
        return taken

    @cached_property
    def unit_id(self) -> Strings:
        """(T,) ``network/layer/unit``: the cluster of every bootstrap over units."""
        return column(
            [f"{n}/{la}/{u}" for n, la, u in zip(self.network, self.layer, self.unit, strict=True)],
            str,
        )

    @cached_property
    def unit_code(self) -> Ints:
        """(T,) number of each trial's unit, counted from 0 in the order of their names."""
        return codes(self.unit_id)

    @cached_property
    def condition_code(self) -> Ints:
        """(T,) number of each trial's condition, counted from 0 in the order of their names."""
        return codes(self.condition_id)

    @cached_property
    def network_condition_code(self) -> Ints:
        """(T,) number of each trial's network, mode and difficulty, in the order of their names."""
        parts = zip(self.network, self.mode, self.difficulty, strict=True)
        return codes(column(["/".join(part) for part in parts], str))

    @cached_property
    def condition_id(self) -> Strings:
        """(T,) ``network/layer/unit/mode/difficulty``: what about 30 people answered."""
        parts = zip(self.unit_id, self.mode, self.difficulty, strict=True)
        return column([f"{u}/{m}/{d}" for u, m, d in parts], str)

    @staticmethod
    def canonical_ids(frame: pd.DataFrame) -> Strings:
        """Ids of the form ``network/layer/unit/mode/difficulty/batch`` (``…/catch`` appended)."""
        names = ("network", "layer", "unit", "mode", "difficulty", "batch")
        parts = zip(*(frame[name] for name in names), strict=True)
        ids = ["/".join(map(str, part)) for part in parts]
        ends = ("/catch" if catch else "" for catch in frame["catch"])
        return column([one + end for one, end in zip(ids, ends, strict=True)], str)
