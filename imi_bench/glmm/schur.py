"""The numerical half of the sparse algebra: factor A, solve with it, read its inverse.

A = I + Lambda' Z' W Z Lambda is kept as one dense block per meeting of two factors
(`imi_bench.glmm.pattern`). The led-out factor is eliminated level by level; its Schur complement
on the border is factored tile by tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from threading import Lock

import numpy as np
from scipy import sparse
from scipy.linalg import lapack

from imi_bench.arrays import Floats
from imi_bench.errors import ModelError
from imi_bench.glmm.large_tiles import LARGE_SIDE, hands, invert, take_root
from imi_bench.glmm.pattern import Pattern

_LARGE_TILE = 40
_PAIR_CHUNK = 250_000


def sandwich(pattern: Pattern, outer: Sequence[Floats], blocks: Sequence[Floats]) -> list[Floats]:
    """Return M K M' for block-diagonal M, one (width, width) block for each factor."""
    return [
        float(outer[m.first][0, 0] * outer[m.second][0, 0]) * block
        if block.shape[1] == block.shape[2] == 1
        else np.matmul(outer[m.first], np.matmul(block, outer[m.second].T))
        for m, block in zip(pattern.meetings, blocks, strict=True)
    ]


class Factorisation:
    """A Cholesky factorisation of A = I + Lambda' G Lambda.

    Parameters
    ----------
    pattern : Pattern
    gram : sequence of ndarray of float64
        Z' W Z, one block for each meeting.
    factors : sequence of ndarray of float64
        Lambda of each grouping factor.

    Raises
    ------
    ModelError
        If A is not positive definite to working precision.
    """

    def __init__(self, pattern: Pattern, gram: Sequence[Floats], factors: Sequence[Floats]) -> None:
        self.pattern = pattern
        scaled = sandwich(pattern, [factor.T for factor in factors], gram)
        lead = scaled[0] + np.eye(pattern.widths[0])
        if not np.isfinite(lead).all() or (lead.diagonal(axis1=1, axis2=2) <= 0.0).any():
            raise _not_positive()
        chol = np.sqrt(lead) if pattern.widths[0] == 1 else _root(lead)
        self.lead_root = 1.0 / chol if pattern.widths[0] == 1 else np.linalg.inv(chol)
        self.log_determinant = 2.0 * float(np.log(np.diagonal(chol, axis1=1, axis2=2)).sum())
        self.coupling = self._coupling(scaled)
        self.tiles = self._factor_border(self._border(scaled))

    def _coupling(self, scaled: Sequence[Floats]) -> Floats:
        """Return L11^-1 A12, one row of lead effects for each cell."""
        width = self.pattern.widths[0]
        parts = [np.empty((0, width))]
        for meeting, block in zip(self.pattern.meetings, scaled, strict=True):
            if meeting.first == 0 and meeting.second > 0:
                parts.append(block.transpose(0, 2, 1).reshape(-1, width))
        cells = np.concatenate(parts)[self.pattern.cell_order]
        root = self.lead_root[self.pattern.cell_level]
        if width == 1:
            return np.asarray(cells * root[:, :, 0])
        return np.asarray(np.einsum("cab,cb->ca", root, cells))

    @cached_property
    def coupling_matrix(self) -> sparse.csr_array:
        """L11^-1 A12 as a sparse matrix (lead effects, border columns)."""
        width, pattern = self.pattern.widths[0], self.pattern
        shape = (pattern.lead_size, pattern.border_size)
        if width == 1:
            return sparse.csr_array(
                (self.coupling[:, 0], pattern.cell_column, pattern.cell_bounds), shape=shape
            )
        rows = pattern.cell_level[:, None] * width + np.arange(width)
        columns = np.repeat(pattern.cell_column, width)
        return sparse.coo_array((self.coupling.ravel(), (rows.ravel(), columns)), shape).tocsr()

    def _border(self, scaled: Sequence[Floats]) -> Floats:
        """Return the lower triangle of the Schur complement in its store."""
        pattern = self.pattern
        store = np.zeros(pattern.tiles.store_size)
        for offset, _, tiles, side in pattern.tiles.stacks:
            stack = store[offset : offset + tiles * side * side].reshape(tiles, side, side)
            stack[:, np.arange(side), np.arange(side)] = 1.0
        for meeting, block, position in zip(
            pattern.meetings, scaled, pattern.border_positions, strict=True
        ):
            if position is None:
                continue
            if meeting.first == meeting.second:
                lower = np.tril_indices(block.shape[1])
                store[position[:, *lower]] += block[:, *lower]
            else:
                store[position.ravel()] += block.ravel()
        self._eliminate(store)
        return store

    def _sheets(self) -> list[Floats]:
        """Return L11^-1 A12 as stacks of dense sheets."""
        layout = self.pattern.sheets
        if layout is None:
            return []
        store = np.zeros(layout.store_size)
        store[layout.cells] = self.coupling
        return [
            store[offset : offset + sheets * rows * columns].reshape(sheets, rows, columns)
            for offset, sheets, rows, columns in layout.stacks
        ]

    def _eliminate(self, store: Floats) -> None:
        """Subtract A21 A11^-1 A12 from the border, in place."""
        pattern = self.pattern
        if not pattern.border_size:
            return
        if pattern.sheets is not None:
            for (offset, _, tiles, side), sheet in zip(
                pattern.tiles.stacks, self._sheets(), strict=True
            ):
                stack = store[offset : offset + tiles * side * side].reshape(tiles, side, side)
                stack -= sheet.transpose(0, 2, 1) @ sheet
            return
        later, earlier, position = pattern.pairs
        columns = [np.ascontiguousarray(column) for column in self.coupling.T]
        chunks = [slice(start, start + _PAIR_CHUNK) for start in range(0, len(later), _PAIR_CHUNK)]
        lock = Lock()

        def subtract(part: slice) -> None:
            after, before = later[part], earlier[part]
            product = columns[0].take(after)
            product *= columns[0].take(before)
            for column in columns[1:]:
                product += column.take(after) * column.take(before)
            with lock:
                np.subtract.at(store, position[part], product)

        with hands(threads=_threads(len(chunks))) as together:
            together(partial(subtract, part) for part in chunks)

    def _factor_border(self, store: Floats) -> list[Floats]:
        """Factor the tiles; a stack of small ones becomes inverse roots, a large one its root."""
        factored: list[Floats] = []
        for offset, _, tiles, side in self.pattern.tiles.stacks:
            stack = store[offset : offset + tiles * side * side].reshape(tiles, side, side)
            if side > _LARGE_TILE:
                with hands(threads=_threads(side // LARGE_SIDE)) as together:
                    for tile in stack:
                        if not take_root(tile, together):
                            raise _not_positive()
                diagonal = np.diagonal(stack, axis1=1, axis2=2)
                factored.append(stack)
            else:
                root = _root(stack)
                diagonal = np.diagonal(root, axis1=1, axis2=2)
                factored.append(np.asarray(np.linalg.inv(root), dtype=np.float64))
            self.log_determinant += 2.0 * float(np.log(diagonal).sum())
        return factored

    def solve(self, right: Floats) -> Floats:
        """Solve A x = b for b of shape (q,) or (q, k)."""
        flat = right[:, None] if right.ndim == 1 else right
        pattern, width = self.pattern, self.pattern.widths[0]
        lead = flat[: pattern.lead_size].reshape(pattern.levels[0], width, -1)
        forward = (self.lead_root @ lead).reshape(pattern.lead_size, -1)
        border = self._solve_border(flat[pattern.lead_size :] - self.coupling_matrix.T @ forward)
        back = (forward - self.coupling_matrix @ border).reshape(lead.shape)
        lead = (self.lead_root.transpose(0, 2, 1) @ back).reshape(pattern.lead_size, -1)
        return np.concatenate([lead, border]).reshape(right.shape)

    def _solve_border(self, right: Floats) -> Floats:
        if not self.pattern.border_size:
            return right
        tiles_layout = self.pattern.tiles
        padded = np.zeros((tiles_layout.slots, right.shape[1]))
        padded[tiles_layout.slot] = right
        for (_, offset, tiles, side), stack in zip(tiles_layout.stacks, self.tiles, strict=True):
            part = padded[offset : offset + tiles * side].reshape(tiles, side, -1)
            if side > _LARGE_TILE:
                for tile, rows in zip(stack, part, strict=True):
                    rows[:] = lapack.dpotrs(tile.T, rows, lower=0)[0]
            else:
                part[:] = stack.transpose(0, 2, 1) @ (stack @ part)
        return np.asarray(padded[tiles_layout.slot])

    def _border_inverse(self) -> Floats:
        """Return the inverse of the border in its store, lower triangles valid."""
        store = np.empty(self.pattern.tiles.store_size)
        for (offset, _, tiles, side), stack in zip(
            self.pattern.tiles.stacks, self.tiles, strict=True
        ):
            out = store[offset : offset + tiles * side * side].reshape(tiles, side, side)
            if side > _LARGE_TILE:
                out[:] = stack
                with hands(threads=_threads(side // LARGE_SIDE)) as together:
                    for tile in out:
                        invert(tile, together)
            else:
                np.matmul(stack.transpose(0, 2, 1), stack, out=out)
        return store

    @cached_property
    def inverse_blocks(self) -> list[Floats]:
        """A^-1 on the pattern of A: one (pairs, width, width) array for each meeting."""
        pattern, width = self.pattern, self.pattern.widths[0]
        inverse = self._border_inverse()
        cells = self._couple_inverse(inverse)
        spread = np.zeros((pattern.levels[0], width, width))
        for a in range(width):
            for b in range(a, width):
                spread[:, a, b] = spread[:, b, a] = np.bincount(
                    pattern.cell_level,
                    weights=cells[:, a] * self.coupling[:, b],
                    minlength=pattern.levels[0],
                )
        root = self.lead_root
        lead = root.transpose(0, 2, 1) @ (spread + np.eye(width)) @ root
        cross = np.empty_like(cells)
        cross[pattern.cell_order] = -np.einsum("cba,cb->ca", root[pattern.cell_level], cells)
        blocks, start = [], 0
        for meeting, position in zip(pattern.meetings, pattern.border_positions, strict=True):
            if position is not None:
                blocks.append(inverse[position])
            elif meeting.second == 0:
                blocks.append(lead)
            else:
                high = pattern.widths[meeting.second]
                part = cross[start : start + meeting.size * high]
                blocks.append(part.reshape(meeting.size, high, width).transpose(0, 2, 1))
                start += meeting.size * high
        return blocks

    def _couple_inverse(self, inverse: Floats) -> Floats:
        """Return (L11^-1 A12) S^-1 on the cells, S the Schur complement."""
        pattern = self.pattern
        result = np.zeros_like(self.coupling)
        if not pattern.border_size:
            return result
        if pattern.sheets is not None:
            products = []
            for (offset, _, tiles, side), sheet in zip(
                pattern.tiles.stacks, self._sheets(), strict=True
            ):
                stack = inverse[offset : offset + tiles * side * side].reshape(tiles, side, side)
                full = np.tril(stack) + np.tril(stack, -1).transpose(0, 2, 1)
                products.append((sheet @ full).ravel())
            return np.concatenate(products)[pattern.sheets.cells]
        later, earlier, position = pattern.pairs
        begins = pattern.pair_begins
        columns = [np.ascontiguousarray(column) for column in self.coupling.T]

        def couple(cells: slice) -> None:
            part = slice(begins[cells.start], begins[cells.stop])
            first, second = later[part] - cells.start, earlier[part] - cells.start
            values = inverse.take(position[part])
            values[begins[cells.start + 1 : cells.stop + 1] - 1 - part.start] *= 0.5
            runs = begins[cells] - part.start
            for row, column in enumerate(columns):
                here = column[cells]
                result[cells, row] += np.add.reduceat(values * here.take(second), runs)
                result[cells, row] += np.bincount(
                    second, weights=values * here.take(first), minlength=len(here)
                )

        chunks = list(pattern.cell_chunks(_PAIR_CHUNK))
        with hands(threads=_threads(len(chunks))) as together:
            together(partial(couple, cells) for cells in chunks)
        return result


def _threads(parts: int) -> int | None:
    """As many as there are cores where there are several parts, else one."""
    return None if parts > 1 else 1


def _root(blocks: Floats) -> Floats:
    try:
        return np.asarray(np.linalg.cholesky(blocks), dtype=np.float64)
    except np.linalg.LinAlgError as error:
        raise _not_positive() from error


def _not_positive() -> ModelError:
    return ModelError(
        "the random-effects system is not positive definite",
        do="check for infinite or extreme values in the covariates",
    )
