"""Which random effects meet in the data: the symbolic half of the sparse algebra.

The system to factor is A = I + Lambda' Z' W Z Lambda. Its blocks follow the grouping factors:
the factor with the most levels is *led out*, block by block; what remains is the *border*, the
Schur complement over all other factors, which splits into connected components (units that no
participant links), stored as equally sized dense tiles. Everything here depends on the design
alone and is computed once for any number of fits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from imi_bench.arrays import Indices
from imi_bench.errors import ModelError
from imi_bench.glmm.dense_blocks import Sheets, Tiles, lay_tiles
from imi_bench.glmm.row_sums import Route, lay_routes
from imi_bench.results import Brief

_HEAVY_SIDE = 2_000
_MAX_SHEET_DOUBLES = 100_000_000
_MAX_LISTED_PAIRS = 60_000_000


@dataclass(frozen=True, repr=False)
class Meeting(Brief):
    """The pairs of levels of two factors that share a row of the data.

    Attributes
    ----------
    first, second : int
        Positions of the two factors, first <= second.
    first_level, second_level : (pairs,) intp
        The levels that meet.
    of_row : (n,) intp
        Which pair each row of the data belongs to.
    """

    first: int
    second: int
    first_level: Indices
    second_level: Indices
    of_row: Indices

    @property
    def size(self) -> int:
        """Number of distinct pairs."""
        return len(self.first_level)


@dataclass(frozen=True, repr=False)
class Pattern(Brief):
    """The symbolic structure of A.

    Attributes
    ----------
    codes : tuple of ndarray of intp
        Level of each row in each factor, the led-out factor first.
    levels, widths : tuple of int
        Number of levels and of random effects per level of each factor.
    meetings : tuple of Meeting
        All pairs of factors, each with itself and with the later ones.
    border_start : tuple of int
        First border column of each factor; 0 for the led-out factor, which has none.
    tiles : Tiles
        Layout of the border.
    cell_level, cell_column : ndarray of intp
        Led-out level and border column of each non-zero of the coupling
        block, sorted by level, then column.
    cell_order : ndarray of intp
        Permutation from the order of `meetings` to the sorted order of cells.
    """

    codes: tuple[Indices, ...]
    levels: tuple[int, ...]
    widths: tuple[int, ...]
    meetings: tuple[Meeting, ...]
    border_start: tuple[int, ...]
    tiles: Tiles
    cell_level: Indices
    cell_column: Indices
    cell_order: Indices

    @property
    def border_size(self) -> int:
        """Number of border columns."""
        return len(self.tiles.slot)

    @property
    def lead_size(self) -> int:
        """Number of led-out random effects."""
        return self.levels[0] * self.widths[0]

    @property
    def size(self) -> int:
        """Number of random effects."""
        return self.lead_size + self.border_size

    @property
    def heavy(self) -> bool:
        """Whether a factorisation costs seconds, so that it pays to save some."""
        return any(side > _HEAVY_SIDE for _, _, _, side in self.tiles.stacks)

    @cached_property
    def routes(self) -> tuple[Route, ...]:
        """How rows are summed over the pairs of each meeting."""
        return lay_routes([(meeting.of_row, meeting.size) for meeting in self.meetings])

    @cached_property
    def own(self) -> tuple[int, ...]:
        """Position of each factor's meeting with itself."""
        where = {m.first: k for k, m in enumerate(self.meetings) if m.first == m.second}
        return tuple(where[factor] for factor in range(len(self.codes)))

    @cached_property
    def cell_bounds(self) -> Indices:
        """Where the cells of each led-out level begin, shape (levels + 1,)."""
        return np.searchsorted(self.cell_level, np.arange(self.levels[0] + 1))

    @cached_property
    def fill_pairs(self) -> int:
        """Number of border elements touched when the lead is eliminated, with repetition."""
        counts = np.diff(self.cell_bounds).astype(np.int64)
        return int((counts * (counts + 1) // 2).sum())

    @cached_property
    def sheets(self) -> Sheets | None:
        """Dense layout of the coupling block, where it is cheaper than going pair by pair.

        One listed pair costs as much as some 200 multiply-adds inside a matrix product.
        """
        if not self.border_size:
            return None
        first = self.cell_column[np.minimum(self.cell_bounds[:-1], len(self.cell_column) - 1)]
        tile = self.tiles.tile[first]
        counts = np.bincount(tile)
        order = np.argsort(tile, kind="stable")
        local = np.empty_like(tile)
        local[order] = np.arange(len(tile)) - (np.cumsum(counts) - counts)[tile[order]]
        width, starts, stacks, size, work, done = self.widths[0], [], [], 0, 0.0, 0
        for _, _, tiles, side in self.tiles.stacks:
            rows = int(counts[done : done + tiles].max()) * width
            stacks.append((size, tiles, rows, side))
            starts.append(size + np.arange(tiles) * rows * side)
            size, work = size + tiles * rows * side, work + tiles * rows * float(side) ** 2
            done += tiles
        if size > _MAX_SHEET_DOUBLES or work > 200.0 * self.fill_pairs:
            return None
        level, side_of = self.cell_level, self.tiles.side[self.cell_column]
        begin = np.concatenate(starts)[tile[level]] + self.tiles.local[self.cell_column]
        rows_of = local[level][:, None] * width + np.arange(width)
        return Sheets(tuple(stacks), begin[:, None] + rows_of * side_of[:, None])

    @cached_property
    def pairs(self) -> tuple[Indices, Indices, Indices]:
        """Later cell, earlier cell and border position of every fill pair."""
        if self.fill_pairs > _MAX_LISTED_PAIRS:
            raise ModelError(
                "the crossing of the grouping factors is too rich for this machine",
                found=f"{self.fill_pairs} pairs of levels that share a level",
                wanted=f"at most {_MAX_LISTED_PAIRS}",
                do="drop a crossed random effect or fit a subset",
            )
        within = np.arange(len(self.cell_level)) - self.cell_bounds[self.cell_level]
        later = np.repeat(np.arange(len(within)), within + 1)
        shift = self.pair_begins[:-1] - self.cell_bounds[self.cell_level]
        earlier = np.arange(len(later)) - np.repeat(shift, within + 1)
        position = (
            self.tiles.row_start[self.cell_column[later]]
            + self.tiles.local[self.cell_column[earlier]]
        )
        return later, earlier, position

    @cached_property
    def pair_begins(self) -> Indices:
        """Where the fill pairs of each cell begin; the last of its pairs is with itself."""
        within = np.arange(len(self.cell_level)) - self.cell_bounds[self.cell_level]
        return np.concatenate([[0], np.cumsum(within + 1)])

    def cell_chunks(self, pairs: int) -> Iterator[slice]:
        """Cut the cells, between levels, into slices with about so many fill pairs each."""
        bounds, begins = self.cell_bounds, self.pair_begins
        first = 0
        while first < len(bounds) - 1:
            limit = begins[bounds[first]] + pairs
            last = int(np.searchsorted(begins[bounds], limit, side="right")) - 1
            last = max(last, first + 1)
            if bounds[last] > bounds[first]:
                yield slice(int(bounds[first]), int(bounds[last]))
            first = last

    @cached_property
    def border_positions(self) -> tuple[Indices | None, ...]:
        """Where each meeting of two border factors lands, shape (pairs, width, width)."""
        return tuple(self._border_position(meeting) for meeting in self.meetings)

    def _border_position(self, meeting: Meeting) -> Indices | None:
        if meeting.first == 0:
            return None
        rows, columns = (
            self.border_start[k] + level[:, None] * self.widths[k] + np.arange(self.widths[k])
            for k, level in (
                (meeting.first, meeting.first_level),
                (meeting.second, meeting.second_level),
            )
        )
        return self.tiles.position(rows[:, :, None], columns[:, None, :])


def analyse(codes: Sequence[Indices], levels: Sequence[int], widths: Sequence[int]) -> Pattern:
    """Find the structure of A from the factors' codes, the led-out factor first.

    Parameters
    ----------
    codes : sequence of ndarray of intp
        For each factor, intp (n,) with values in 0 .. levels - 1.
    levels, widths : sequence of int
        Number of levels and of random effects per level.

    Raises
    ------
    ModelError
        If the border cannot be held in memory.

    Examples
    --------
    >>> import numpy as np
    >>> lead, unit = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    >>> analyse([lead, unit], [2, 2], [1, 1]).border_size
    2
    """
    meetings = tuple(
        _meet(first, second, codes, levels)
        for first in range(len(codes))
        for second in range(first, len(codes))
    )
    starts, total = [0], 0
    for count, width in zip(levels[1:], widths[1:], strict=True):
        starts.append(total)
        total += count * width
    cell_level, cell_column, order = _cells(meetings, starts, widths)
    return Pattern(
        codes=tuple(codes),
        levels=tuple(levels),
        widths=tuple(widths),
        meetings=meetings,
        border_start=tuple(starts),
        tiles=lay_tiles(_components(meetings, starts, widths, total)),
        cell_level=cell_level,
        cell_column=cell_column,
        cell_order=order,
    )


def _meet(first: int, second: int, codes: Sequence[Indices], levels: Sequence[int]) -> Meeting:
    if first == second:
        every = np.arange(levels[first])
        return Meeting(first, second, every, every, codes[first])
    joint = codes[first].astype(np.int64) * levels[second] + codes[second]
    pairs, of_row = np.unique(joint, return_inverse=True)
    return Meeting(first, second, pairs // levels[second], pairs % levels[second], of_row)


def _cells(
    meetings: Sequence[Meeting], starts: Sequence[int], widths: Sequence[int]
) -> tuple[Indices, Indices, Indices]:
    """Return level, column and order of the cells that couple the lead to the border."""
    rows, columns = [np.empty(0, dtype=np.intp)], [np.empty(0, dtype=np.intp)]
    for meeting in meetings:
        if meeting.first == 0 and meeting.second > 0:
            width = widths[meeting.second]
            start = starts[meeting.second] + meeting.second_level * width
            rows.append(np.repeat(meeting.first_level, width))
            columns.append((start[:, None] + np.arange(width)).ravel())
    level, column = np.concatenate(rows), np.concatenate(columns)
    order = np.lexsort((column, level))
    return level[order], column[order], order


def _components(
    meetings: Sequence[Meeting], starts: Sequence[int], widths: Sequence[int], size: int
) -> Indices:
    """Return the connected component of each border column, with lead levels as links."""
    lead = meetings[0].size
    rows, columns = [np.empty(0, dtype=np.intp)], [np.empty(0, dtype=np.intp)]
    for meeting in meetings:
        if meeting.second == 0:
            continue
        target = lead + starts[meeting.second] + meeting.second_level * widths[meeting.second]
        if meeting.first == 0:
            source = meeting.first_level
        else:
            source = lead + starts[meeting.first] + meeting.first_level * widths[meeting.first]
        for shift in range(widths[meeting.second]):
            rows.append(source)
            columns.append(target + shift)
    links = sparse.coo_array(
        (
            np.ones(sum(map(len, rows)), dtype=np.int8),
            (np.concatenate(rows), np.concatenate(columns)),
        ),
        shape=(lead + size, lead + size),
    )
    _, component = sparse.csgraph.connected_components(links, directed=False)
    return np.unique(component[lead:], return_inverse=True)[1]
