"""One thread for the linear algebra of a fit.

The matrices are small, or are factored by LAPACK routines that OpenBLAS runs no faster, and on a
busy machine several times slower, on more threads. Several fits at once is what uses the cores.
"""

from __future__ import annotations

from contextlib import ContextDecorator
from functools import cache

from threadpoolctl import ThreadpoolController

__all__ = ["one_thread"]


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


class one_thread(ContextDecorator):  # noqa: N801 (named as contextlib's own are)
    """A context, and a decorator of functions, in which BLAS runs on one thread."""

    def __enter__(self) -> None:
        self._limits = _controller().limit(limits=1, user_api="blas")
        self._limits.__enter__()

    def __exit__(self, *error: object) -> None:
        self._limits.__exit__(*error)

    def _recreate_cm(self) -> one_thread:
        return one_thread()
