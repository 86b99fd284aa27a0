"""Similarities of pairs of images, kept on disk for observers that compare two images at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from imi_bench.observers.protocol import Observer
from imi_bench.provenance import sha256_bytes
from imi_bench.replay.cache import Store
from imi_bench.replay.plan import Plan

__all__ = ["PairObserver", "Pairs"]


@runtime_checkable
class PairObserver(Observer, Protocol):
    """An observer that compares pairs of images and remembers what it found."""

    compared: dict[tuple[str, str], float]

    def recall(self, values: dict[tuple[str, str], float]) -> None:
        """Take over similarities that were computed before."""
        ...

    def pair(self, query: str, reference: str) -> tuple[str, str]:
        """The content hashes under which a pair is known."""
        ...


class Pairs:
    """The pairs of a plan: those on disk are recalled, new ones are kept.

    Parameters
    ----------
    observer : PairObserver
    plan : Plan
    folder : Path
        Of this observer's similarities.

    Attributes
    ----------
    recalled : int
        Pairs that came from disk.
    """

    def __init__(self, observer: PairObserver, plan: Plan, folder: Path) -> None:
        self._observer = observer
        self._rows = {pair: row for row, pair in enumerate(_pairs(observer, plan))}
        keys = [sha256_bytes(f"{one} {other}".encode()) for one, other in self._rows]
        self._store = Store(folder, keys, about=observer.describe())
        known = np.flatnonzero(self._store.known)
        self.recalled = len(known)
        if self.recalled:
            values = self._store.take(known)[:, 0].tolist()
            pairs = list(self._rows)
            observer.recall({pairs[row]: value for row, value in zip(known, values, strict=True)})
        self._kept = set(known.tolist())

    @property
    def damaged(self) -> list[str]:
        """Files of earlier similarities that could not be trusted."""
        return self._store.damaged

    def save(self) -> None:
        """Keep what was compared since the last call."""
        compared = self._observer.compared
        new = [
            (row, compared[pair])
            for pair, row in self._rows.items()
            if row not in self._kept and pair in compared
        ]
        if new:
            rows, values = zip(*new, strict=True)
            self._store.add(np.array(rows), np.array(values, dtype=np.float64)[:, None])
            self._kept.update(rows)

    def close(self) -> None:
        """Write what is waiting."""
        self._store.flush()


def _pairs(observer: PairObserver, plan: Plan) -> list[tuple[str, str]]:
    """Every pair that the plan's trials ask for, once."""
    hashes = [str(one) for one in plan.images.hashes]
    found: dict[tuple[str, str], None] = {}
    blind = plan.trials
    for queries, positive, negative in zip(
        blind.queries.tolist(), blind.positive.tolist(), blind.negative.tolist(), strict=True
    ):
        for query in queries:
            for reference in (*positive, *negative):
                found.setdefault(observer.pair(hashes[query], hashes[reference]))
    return list(found)
