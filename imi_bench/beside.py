"""One process beside this one, for work that need not wait: same results, sooner."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import cache
from typing import Any, Generic, NamedTuple, TypeVar

from threadpoolctl import threadpool_limits

__all__ = ["Beside", "Due", "beside", "cores"]

Result = TypeVar("Result")


@cache
def cores() -> int:
    """Cores that this process may use."""
    import joblib

    return int(joblib.cpu_count())


class _Told(NamedTuple):
    result: Any
    said: str


class Due(Generic[Result]):
    """What a piece of work will have given; its notes are printed when it is asked for."""

    def __init__(self, future: Future[_Told]) -> None:
        self._future = future

    def result(self) -> Result:
        """Wait for it; raises what the work raised."""
        told = self._future.result()
        sys.stderr.write(told.said)
        result: Result = told.result
        return result


class Beside:
    """Takes work: in the second process, or, without one, at once and here."""

    def __init__(self, executor: Any = None) -> None:
        self._executor = executor

    def start(self, work: Callable[..., Result], *given: Any) -> Due[Result]:
        """Start a function of a module; what is given to it, and its result, can be pickled."""
        if self._executor is not None:
            return Due(self._executor.submit(_run, work, *given))
        future: Future[_Told] = Future()
        with threadpool_limits(limits=1):
            future.set_result(_Told(work(*given), ""))
        return Due(future)


@contextlib.contextmanager
def beside(*, processes: int) -> Iterator[Beside]:
    """A second process while the block runs, if `processes` is more than 1.

    Parameters
    ----------
    processes : int
        This one included; no more than two are used.

    Examples
    --------
    >>> with beside(processes=1) as other:
    ...     other.start(max, 2, 3).result()
    3
    """
    if processes < 2:
        yield Beside()
        return
    from joblib.externals.loky import ProcessPoolExecutor

    executor = ProcessPoolExecutor(max_workers=1)
    try:
        yield Beside(executor)
    except BaseException:
        executor.shutdown(wait=True, kill_workers=True)
        raise
    executor.shutdown(wait=True)


def _run(work: Callable[..., Any], *given: Any) -> _Told:
    """Run on one thread; progress bars of two processes would overwrite one another."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), threadpool_limits(limits=1):
        result = work(*given)
    return _Told(result, said.getvalue())
