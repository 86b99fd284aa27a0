"""Root and inverse of large dense matrices on two cores.

Halves are worked on by two threads that run one BLAS thread each. OpenBLAS's own threads wait by
spinning: on a busy machine its Cholesky factorisation on two of them took twenty times the
processor time of one, and these take none while they wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import pairwise

import numpy as np
from scipy.linalg import blas, lapack

from imi_bench.arrays import Floats
from imi_bench.beside import cores

LARGE_SIDE = 1_500
"""Matrices below this side are left to LAPACK."""
_STRIPS, _MIRRORED = 4, 256

Together = Callable[[Iterable[Callable[[], None]]], None]


@contextmanager
def hands(*, threads: int | None = None) -> Iterator[Together]:
    """Give what runs tasks, two at a time where there are two cores, and waits for all.

    Parameters
    ----------
    threads : int, optional
        1 runs them in turn, in this thread.
    """
    if (threads or cores()) < 2:
        yield _in_turn
        return
    with ThreadPoolExecutor(2) as pool:

        def together(tasks: Iterable[Callable[[], None]]) -> None:
            for done in [pool.submit(task) for task in tasks]:
                done.result()

        yield together


def _in_turn(tasks: Iterable[Callable[[], None]]) -> None:
    for task in tasks:
        task()


def take_root(matrix: Floats, together: Together) -> bool:
    """Replace a symmetric matrix, given by its lower triangle, by its Cholesky root.

    Parameters
    ----------
    matrix : (n, n) float64
        C order; overwritten below and on its diagonal.
    together : callable
        Of `hands`.

    Returns
    -------
    definite : bool
        False if the matrix is not positive definite; it then holds nothing.

    Examples
    --------
    >>> import numpy as np
    >>> matrix = np.array([[4.0, 0.0], [2.0, 5.0]])
    >>> with hands() as together:
    ...     take_root(matrix, together)
    True
    >>> matrix[1].tolist()
    [1.0, 2.0]
    """
    side = len(matrix)
    if side < LARGE_SIDE:
        return lapack.dpotrf(matrix.T, lower=0, clean=0, overwrite_a=1)[1] == 0
    half = side // 2
    first, last = matrix[:half, :half].copy(), matrix[half:, half:].copy()
    if not take_root(first, together):
        return False
    below = matrix[half:, :half].copy()
    middle = len(below) // 2
    upper, lower = below[:middle], below[middle:]
    together(partial(_solve, first, part, transposed=True) for part in (upper, lower))
    together(
        [
            partial(_subtract, last[middle:, :middle], lower, upper),
            partial(_subtract, last[:middle, :middle], upper, upper),
            partial(_subtract, last[middle:, middle:], lower, lower),
        ]
    )
    if not take_root(last, together):
        return False
    matrix[:half, :half], matrix[half:, :half], matrix[half:, half:] = first, below, last
    return True


def invert(matrix: Floats, together: Together) -> None:
    """Replace a Cholesky root by the lower triangle of its matrix's inverse.

    With the root's blocks K, J below it and L, and W = J K^-1, the inverse has (L L')^-1 last,
    -(L L')^-1 W below, and (K K')^-1 + W' (L L')^-1 W first.

    Parameters
    ----------
    matrix : (n, n) float64
        C order, lower triangle; overwritten below and on its diagonal.
    together : callable
        Of `hands`.
    """
    side = len(matrix)
    if side < LARGE_SIDE:
        lapack.dpotri(matrix.T, lower=0, overwrite_c=1)
        return
    half = side // 2
    first, last = matrix[:half, :half].copy(), matrix[half:, half:].copy()
    below = matrix[half:, :half].copy()
    middle = len(below) // 2
    parts = (slice(0, middle), slice(middle, None))
    together(partial(_solve, first, below[part], transposed=False) for part in parts)
    together(partial(_invert_alone, part) for part in (first, last))
    product = np.empty_like(below)
    together(partial(np.matmul, last[part], below, out=product[part]) for part in parts)
    ends = np.linspace(0, half, _STRIPS + 1).astype(int)
    strips = list(pairwise(ends))[::-1]
    together(partial(_add, first, below, product, start, stop) for start, stop in strips)
    np.negative(product, out=product)
    matrix[:half, :half], matrix[half:, :half], matrix[half:, half:] = first, product, last


def _solve(lower: Floats, rows: Floats, *, transposed: bool) -> None:
    """Multiply rows from the right by the inverse of a lower root, or of its transpose."""
    blas.dtrsm(1.0, lower.T, rows.T, lower=0, trans_a=int(transposed), overwrite_b=1)


def _subtract(block: Floats, left: Floats, right: Floats) -> None:
    block -= left @ right.T


def _add(block: Floats, left: Floats, right: Floats, start: int, stop: int) -> None:
    block[start:stop, :stop] += left[:, start:stop].T @ right[:, :stop]


def _invert_alone(lower: Floats) -> None:
    """Replace a root by the whole inverse."""
    lapack.dpotri(lower.T, lower=0, overwrite_c=1)
    for start in range(0, len(lower), _MIRRORED):
        stop = start + _MIRRORED
        square = np.tril(lower[start:stop, start:stop])
        lower[start:stop, start:stop] = square + np.tril(square, -1).T
        lower[start:stop, stop:] = lower[stop:, start:stop].T
