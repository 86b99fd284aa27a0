"""Storage of the border: a block-diagonal matrix as stacks of equally sized dense tiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imi_bench.arrays import Indices
from imi_bench.errors import ModelError
from imi_bench.results import Brief

_MAX_TILE_DOUBLES = 400_000_000


@dataclass(frozen=True, repr=False)
class Tiles(Brief):
    """Layout of a block-diagonal symmetric matrix as stacks of equally sized dense tiles.

    Attributes
    ----------
    stacks : tuple of (int, int, int, int)
        (offset in the matrix store, offset in the vector store, tiles, side) of each stack.
    row_start : (q,) intp
        Where the row of each variable starts in the matrix store.
    local : (q,) intp
        The position of each variable inside its tile; increasing with the
        variable's number within a tile.
    slot : (q,) intp
        The position of each variable in the padded vector store.
    tile, side : (q,) intp
        The number of each variable's tile and the length of its side.
    """

    stacks: tuple[tuple[int, int, int, int], ...]
    row_start: Indices
    local: Indices
    slot: Indices
    tile: Indices
    side: Indices

    @property
    def store_size(self) -> int:
        """Doubles in the matrix store."""
        return sum(tiles * side * side for _, _, tiles, side in self.stacks)

    @property
    def slots(self) -> int:
        """Doubles in the vector store."""
        return sum(tiles * side for _, _, tiles, side in self.stacks)

    def position(self, row: Indices, column: Indices) -> Indices:
        """Where element (row, column) of the lower triangle stands; symmetric in its arguments."""
        high, low = np.maximum(row, column), np.minimum(row, column)
        return np.asarray(self.row_start[high] + self.local[low])


@dataclass(frozen=True, repr=False)
class Sheets(Brief):
    """Layout of the coupling block as stacks of dense (lead effects, border columns) sheets.

    Attributes
    ----------
    stacks : tuple of (int, int, int, int)
        (offset in the store, sheets, rows, columns) of each stack, in the order of tiles.
    cells : (cells, lead width) intp
        Where each cell stands in the store.
    """

    stacks: tuple[tuple[int, int, int, int], ...]
    cells: Indices

    @property
    def store_size(self) -> int:
        """Doubles in the store."""
        return sum(sheets * rows * columns for _, sheets, rows, columns in self.stacks)


def lay_tiles(component: Indices) -> Tiles:
    """Lay the components out as stacks of tiles; sides within a stack differ by under a quarter."""
    size = len(component)
    sides = np.bincount(component) if size else np.empty(0, dtype=np.intp)
    by_side = np.argsort(-sides, kind="stable")
    stacks: list[tuple[int, int, int, int]] = []
    tile_row = np.zeros(len(sides), dtype=np.intp)
    tile_slot = np.zeros(len(sides), dtype=np.intp)
    tile_side = np.zeros(len(sides), dtype=np.intp)
    matrix = vector = done = 0
    while done < len(by_side):
        side = int(sides[by_side[done]])
        tiles = int(np.searchsorted(-sides[by_side[done:]], -0.75 * side, side="right"))
        members = by_side[done : done + tiles]
        tile_row[members] = matrix + np.arange(tiles) * side * side
        tile_slot[members] = vector + np.arange(tiles) * side
        tile_side[members] = side
        stacks.append((matrix, vector, tiles, side))
        matrix, vector, done = matrix + tiles * side * side, vector + tiles * side, done + tiles
    if matrix > _MAX_TILE_DOUBLES:
        raise ModelError(
            "the crossed random effects need too much memory",
            found=f"{8 * matrix / 1e9:.1f} GB for {size} linked effects",
            wanted=f"at most {8 * _MAX_TILE_DOUBLES / 1e9:.1f} GB",
            do="drop a crossed random effect or fit a subset",
        )
    rank = np.empty_like(by_side)
    rank[by_side] = np.arange(len(by_side))
    order = np.lexsort((np.arange(size), component))
    first = np.concatenate([[0], np.cumsum(sides)])[:-1]
    local = np.empty(size, dtype=np.intp)
    local[order] = np.arange(size) - first[component[order]]
    return Tiles(
        stacks=tuple(stacks),
        row_start=tile_row[component] + local * tile_side[component],
        local=local,
        slot=tile_slot[component] + local,
        tile=rank[component],
        side=tile_side[component],
    )
