"""All pictures of a world that may be shown: natural scenes in pools, and exaggerated ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from imi_bench.arrays import Pixels
from imi_bench.provenance import generator
from imi_bench.simulation.scenes import ATTRIBUTES, VARIED, Scenes, exaggerated

_EXAGGERATED_PER_VALUE = 9


@dataclass(frozen=True, eq=False)
class Gallery:
    """Pictures by row, drawn when first asked for; the natural ones of all pools come first.

    Attributes
    ----------
    pools : tuple of Scenes
        Natural scenes; networks that share a pool share pictures.
    seed : int
    size : int
        Side of the pictures in pixels.
    """

    pools: tuple[Scenes, ...]
    seed: int
    size: int

    @classmethod
    def drawn(cls, n_scenes: int, *, pools: int, seed: int, size: int) -> Gallery:
        """Draw `n_scenes` scenes for each pool; the first pool is the same however many follow."""
        names = [("world", "scenes", *([str(k)] if k else [])) for k in range(pools)]
        scenes = tuple(Scenes.draw(n_scenes, rng=generator(seed, *name)) for name in names)
        return cls(scenes, seed, size)

    @cached_property
    def values(self) -> list[tuple[str, str]]:
        """Attribute and value of each exaggerated picture of one pool."""
        return [
            (name, value)
            for name, known in ATTRIBUTES.items()
            for value in known
            for _ in range(_EXAGGERATED_PER_VALUE)
        ]

    @cached_property
    def n_natural(self) -> int:
        """Natural pictures in all pools."""
        return sum(map(len, self.pools))

    @cached_property
    def scenes(self) -> Scenes:
        """Attributes of all pictures, row by row."""
        codes = np.full((len(self.values), len(ATTRIBUTES)), VARIED, dtype=np.int64)
        names = list(ATTRIBUTES)
        for row, (attribute, value) in enumerate(self.values):
            codes[row, names.index(attribute)] = ATTRIBUTES[attribute].index(value)
        return Scenes(
            np.concatenate([*(pool.codes for pool in self.pools), *[codes] * len(self.pools)]),
            np.concatenate(
                [
                    *(pool.vividness for pool in self.pools),
                    np.ones(len(codes) * len(self.pools)),
                ]
            ),
        )

    def natural(self, pool: int) -> tuple[Scenes, int]:
        """Scenes of a pool, and the row of the first of them."""
        return self.pools[pool], sum(len(one) for one in self.pools[:pool])

    def exaggerated(self, attribute: str, value: str, *, pool: int) -> list[int]:
        """Rows of a pool's pictures of one value."""
        offset = self.n_natural + pool * len(self.values)
        first = self.values.index((attribute, value)) + offset
        return list(range(first, first + _EXAGGERATED_PER_VALUE))

    def draw(self, row: int) -> Pixels:
        """(size, size, 3) uint8 picture."""
        rng = generator(self.seed, "world", "picture", row)
        start = 0
        for pool in self.pools:
            if row < start + len(pool):
                return pool.picture(row - start, size=self.size, rng=rng)
            start += len(pool)
        attribute, value = self.values[(row - start) % len(self.values)]
        return exaggerated(attribute, value, size=self.size, rng=rng)
