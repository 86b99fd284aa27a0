"""Running independent pieces of work: here, one share of them, or on a Ray cluster.

A plan is a list of pieces; what a piece computes knows nothing of who runs it. A piece is
finished once its file is there, whole (written aside and moved), so that a killed run goes on,
shares may be run in any order on any machine that sees the folder, and the result is the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any, Protocol

from imi_bench.arguments import refuse_idle
from imi_bench.errors import CheckFailedError, ImiBenchError, InputError
from imi_bench.extras import require
from imi_bench.progress import progress

RETRIES = 3


@dataclass(frozen=True)
class Piece:
    """One piece of work.

    Attributes
    ----------
    name : str
    file : Path
        Where its result goes; there and whole once the piece is finished.
    run : callable
        Computes and writes the file. Can be pickled: a partial of a module's function. May give
        back a future of the file instead, and let the next piece begin.
    also : tuple of Path
        More files that it writes.
    """

    name: str
    file: Path
    run: Callable[[], object]
    also: tuple[Path, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether its files are there."""
        return self.file.is_file() and all(path.is_file() for path in self.also)


class SharesMissingError(ImiBenchError):
    """One share of the work is done, and others are missing: nothing is wrong."""

    exit_code = 0


def require_finished(pieces: Sequence[Piece], *, where: object) -> None:
    """Go on only where every piece is finished.

    Raises
    ------
    SharesMissingError
    """
    missing = [piece for piece in pieces if not piece.finished]
    if missing:
        raise SharesMissingError(
            "shares are missing",
            where=where,
            found=f"{len(pieces) - len(missing)} of {len(pieces)} pieces done",
            do="run the other shares; then the same command, without shard= or with it, finishes",
        )


class Executor(Protocol):
    """Anything that gets pieces done."""

    def run(self, pieces: Sequence[Piece], *, label: str) -> None:
        """Run the unfinished pieces; raise the error of the first that fails."""
        ...


@dataclass(frozen=True)
class Local:
    """One piece after another, in this process."""

    def run(self, pieces: Sequence[Piece], *, label: str) -> None:
        """Run the unfinished pieces."""
        with progress(label, total=len(pieces), unit="pieces") as advance:
            late: object = None
            for piece in pieces:
                if not piece.finished:
                    begun = piece.run()
                    settle(late)
                    late = begun
                advance(1)
            settle(late)


@dataclass(frozen=True)
class Shard:
    """One share of the pieces: every `count`-th, from `index` on.

    Attributes
    ----------
    index, count : int
        0 <= index < count.

    Examples
    --------
    >>> Shard.parse("2/8")
    Shard(index=2, count=8)
    """

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``i/n``, counted from 0 as job arrays are.

        Raises
        ------
        InputError
            For anything else.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        if match is None or int(match[1]) >= int(match[2]):
            raise InputError("bad shard", found=repr(text), wanted="i/n with i from 0 to n - 1")
        return cls(int(match[1]), int(match[2]))

    def run(self, pieces: Sequence[Piece], *, label: str) -> None:
        """Run the unfinished pieces of this share."""
        # which pieces are a share's must not depend on what is finished when it starts
        share = pieces[self.index :: self.count]
        Local().run(share, label=f"{label} ({self.index}/{self.count})")


@dataclass(frozen=True)
class Ray:
    """Pieces as tasks of a Ray cluster whose machines see the same folders.

    Attributes
    ----------
    address : str or None
        Of a running cluster; None starts one on this machine, or takes ``RAY_ADDRESS``.
    gpus : float
        GPUs a piece needs; less than 1 lets pieces share one.
    retries : int
        How often a piece is run again after its worker died.
    """

    address: str | None = None
    gpus: float = 0.0
    retries: int = RETRIES

    def run(self, pieces: Sequence[Piece], *, label: str) -> None:
        """Run the unfinished pieces; leave a cluster running that was there before.

        Raises
        ------
        CheckFailedError
            If a piece's worker died more often than it may be retried.
        """
        ray = require("ray", for_="running on a Ray cluster")
        started = not ray.is_initialized()
        if started:
            try:
                ray.init(address=self.address, log_to_driver=False, include_dashboard=False)
            except Exception as error:  # a start that takes too long is a plain Exception of Ray's
                slow = "timed out" in str(error)
                raise InputError(
                    "Ray does not start",
                    where=self.address or "this machine",
                    found=f"{type(error).__name__}: {shorten(str(error), 160)}",
                    do=f"{'try again when it is less busy' if slow else 'check the address'}, "
                    "or run with executor='local'",
                ) from error
        try:
            self._run(ray, [piece for piece in pieces if not piece.finished], label)
        finally:
            if started:
                ray.shutdown()

    def _run(self, ray: Any, pieces: Sequence[Piece], label: str) -> None:
        options = {"num_gpus": self.gpus, "max_retries": self.retries, "retry_exceptions": False}
        task = ray.remote(**options)(_run_piece)
        waiting = {task.options(name=piece.name).remote(piece): piece for piece in pieces}
        with progress(label, total=len(pieces), unit="pieces") as advance:
            try:
                while waiting:
                    done, _ = ray.wait(list(waiting))
                    for reference in done:
                        self._collect(ray, reference, waiting.pop(reference))
                        advance(1)
            finally:
                for reference in waiting:
                    ray.cancel(reference)

    def _collect(self, ray: Any, reference: Any, piece: Piece) -> None:
        try:
            ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, ImiBenchError):
                raise error.cause from None
            raise
        except ray.exceptions.WorkerCrashedError as error:
            raise CheckFailedError(
                "worker died",
                where=piece.name,
                found=f"{self.retries + 1} attempts",
                do="run the command again: finished pieces are kept",
            ) from error


def _run_piece(piece: Piece) -> None:
    if not piece.finished:
        settle(piece.run())


def settle(begun: object) -> None:
    """Wait for what a piece has left to be done; raises what that raises."""
    if isinstance(begun, Future):
        begun.result()


def chosen(executor: str | Executor) -> Executor:
    """An executor by name or as an object.

    Examples
    --------
    >>> chosen("local")
    Local()
    """
    return choose(executor) if isinstance(executor, str) else executor


def choose(executor: str, *, shard: str | None = None, gpus: float = 0.0) -> Executor:
    """The executor that the command line names.

    Parameters
    ----------
    executor : str
        ``local``, ``ray`` or ``ray:ADDRESS``.
    shard : str, optional
        ``i/n``; only with ``local``.
    gpus : float
        GPUs a piece needs on a Ray cluster.

    Raises
    ------
    InputError
        For an unknown name, or a shard of a Ray run.

    Examples
    --------
    >>> choose("ray:10.0.0.1:6379").address
    '10.0.0.1:6379'
    """
    name, _, address = executor.partition(":")
    if name not in ("local", "ray") or (name == "local" and address):
        raise InputError(
            "unknown executor", found=repr(executor), wanted="local, ray or ray:ADDRESS"
        )
    refuse_idle("gpus", gpus, free=0.0, unless=name == "ray", do="add executor='ray'")
    if name == "ray" and shard is not None:
        raise InputError("a Ray run shards itself", found=f"shard={shard}", do="leave one out")
    if shard is not None:
        return Shard.parse(shard)
    return Local() if name == "local" else Ray(address or None, gpus)
