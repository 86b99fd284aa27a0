"""What a few-shot study asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from imi_bench.arguments import checked_fields
from imi_bench.errors import InputError, NotEnoughDataError
from imi_bench.observers.incontext.pools import (
    Group,
    Near,
    ShotsFrom,
    groups,
    set_aside,
)
from imi_bench.observers.incontext.shots import Ablation
from imi_bench.results import Brief, Record
from imi_bench.tables import Trials

SHOTS = (0, 1, 2, 4, 8, 16)


@dataclass(frozen=True, eq=False, repr=False)
class Apart(Brief):
    """What is shown solved, and what is tested.

    Attributes
    ----------
    pool, tests : Trials
    dropped : tuple of str
        Ids of trials that share a picture with the pool.
    shots_from : str
    """

    pool: Trials
    tests: Trials
    dropped: tuple[str, ...]
    shots_from: ShotsFrom

    def groups(self, count: int, tests: Trials | None = None) -> list[Group]:
        """The tests (or some of them) by their pool; all together where no trial is shown."""
        asked = self.tests if tests is None else tests
        return groups(self.pool, asked, shots_from=self.shots_from if count else "any")

    @property
    def units(self) -> int:
        """Units set aside."""
        return len(np.unique(self.pool.index.unit_id.astype(str)))


@checked_fields
@dataclass(frozen=True, eq=False, repr=False)
class Design(Record):
    """What is asked.

    Attributes
    ----------
    shots : tuple of int
        Numbers of solved trials; 0 is asked once, every other number once a draw.
    draws : int
    pool_units : int
        Units set aside for solved trials (of each network or layer where `shots_from` asks it); at
        least the largest number of them.
    ablations : tuple of str
        Beside ``none``: ``labels``, ``images``.
    repeats : int
        Trials that are asked twice for a flip rate, with the most solved trials of the first draw.
    seed : int
        Of the pool, the draws, the sides of the queries, and which trials are asked twice.
    shots_from : {"any", "same-network", "same-layer"}
        Solved trials are the same for all tests, or for all of a network or of a layer.
    near : {"drop", "keep"}
        Tests that show a picture nearly equal to one of the pool: see `pools.set_aside`.

    Raises
    ------
    InputError, NotEnoughDataError
        No study; a pool too small.
    """

    shots: tuple[int, ...] = SHOTS
    draws: int = 5
    pool_units: int = 16
    ablations: tuple[Ablation, ...] = ()
    repeats: int = 50
    seed: int = 0
    shots_from: ShotsFrom = "any"
    near: Near = "drop"

    def __post_init__(self) -> None:
        if not self.shots or self.draws < 1:
            raise InputError(
                "no study",
                found=f"shots {self.shots}, {self.draws} draws, {self.repeats} repeats",
                wanted="a number of shots or more of them, 1 draw or more",
            )
        if self.pool_units < max(self.shots):
            raise NotEnoughDataError(
                "the pool is too small",
                found=f"{self.pool_units} units",
                wanted=f"{max(self.shots)}, one a solved trial",
                do="give a larger pool_units= or fewer shots=",
            )

    def apart(self, trials: Trials, pool: Trials | None) -> Apart:
        """Pool, tests and dropped trials; see `pools.set_aside`."""
        made = set_aside(
            trials,
            units=self.pool_units,
            seed=self.seed,
            pool=pool,
            shots_from=self.shots_from,
            near=self.near,
        )
        return Apart(*made, shots_from=self.shots_from)

    def cells(self) -> Iterator[tuple[int, int, Ablation]]:
        """Every (shots, draw, ablation) that is asked."""
        ablations: dict[Ablation, None] = dict.fromkeys(("none", *self.ablations))
        for ablation in ablations:
            for count in sorted(set(self.shots)):
                if count == 0:
                    if ablation == "none":
                        yield 0, 0, "none"
                    continue
                for draw in range(self.draws):
                    yield count, draw, ablation
