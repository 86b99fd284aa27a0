"""One thread for the linear algebra of a fit.

The matrices are small, or are factored by LAPACK routines that OpenBLAS runs no faster, and on a
busy machine several times slower, on more threads. Several fits at once is what uses the cores.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

__all__ = ["one_thread"]


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def one_thread() -> Iterator[None]:
    """A context, and a decorator of functions, in which BLAS runs on one thread."""
    with _controller().limit(limits=1, user_api="blas"):
        yield
