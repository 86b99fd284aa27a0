"""Solved trials for a prompt: nested draws from a pool that shares nothing with what is tested."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from imi_bench.arrays import Ints
from imi_bench.errors import InputError, LeakageError, NotEnoughDataError
from imi_bench.observers.incontext.prompt import OPTIONS, Layout, Shown, lay_out
from imi_bench.provenance import generator, sha256_json
from imi_bench.tables import Trials

Ablation = Literal["none", "labels", "images"]
ABLATIONS: tuple[Ablation, ...] = get_args(Ablation)


@dataclass(frozen=True, eq=False)
class Shots:
    """K solved trials; the first K of a draw are those of any larger K.

    Attributes
    ----------
    pool : Trials
        Where they come from; catch trials are never used.
    count : int
        K.
    draw : int
        Which draw; each is a random effect.
    seed : int
    layout : {"sheets", "separate"}
    side : int
        Pixels of an image's side.
    ablation : {"none", "labels", "images"}
        ``labels``: answers drawn at random; ``images``: the references of each shot are another
        shot's, so that its answer follows from nothing.

    Raises
    ------
    NotEnoughDataError
        Fewer usable trials than K, one a unit.
    """

    pool: Trials
    count: int
    draw: int = 0
    seed: int = 0
    layout: Layout = "sheets"
    side: int = 224
    ablation: Ablation = "none"

    def __post_init__(self) -> None:
        if self.ablation not in ABLATIONS:
            raise InputError("unknown ablation", found=self.ablation, wanted=" or ".join(ABLATIONS))
        if self.count < 0:
            raise InputError("a number of shots", found=self.count, wanted="0 or more")
        if len(self._order) < self.count:
            raise NotEnoughDataError(
                "too few solved trials for the prompt",
                found=f"{len(self._order)} units in the pool",
                wanted=f"{self.count}, one trial of a unit each",
            )

    @cached_property
    def _order(self) -> Ints:
        """Rows of the pool in the order of this draw: one trial of each unit, no catch trials."""
        rng = generator(self.seed, "shots", self.draw)
        rows = rng.permutation(np.flatnonzero(~self.pool.index.catch))
        units = self.pool.index.unit_code[rows]
        _, first = np.unique(units, return_index=True)
        return rows[np.sort(first)]

    @cached_property
    def rows(self) -> Ints:
        """Rows of the pool that are shown."""
        return self._order[: self.count]

    @cached_property
    def answers(self) -> tuple[str, ...]:
        """The letter of each shot: balanced in every pair, so that K = 4 holds two of each."""
        rng = generator(self.seed, "answers", self.draw)
        letters: list[str] = []
        while len(letters) < self.count:
            letters += rng.permutation(OPTIONS).tolist()
        return tuple(letters[: self.count])

    @cached_property
    def shown(self) -> tuple[Shown, ...]:
        """The solved trials, laid out."""
        rng = generator(self.seed, "ablation", self.draw)
        wrong = [OPTIONS[i] for i in rng.integers(0, len(OPTIONS), max(self.count, 1))]
        made = []
        for place, (row, answer) in enumerate(zip(self.rows.tolist(), self.answers, strict=True)):
            source = row
            if self.ablation == "images":
                source = int(self._order[(place + 1) % max(len(self._order), 1)])
            strong, weak = (self._pixels(i) for i in self.pool.queries[row])
            pair = (strong, weak) if answer == OPTIONS[0] else (weak, strong)
            said = wrong[place] if self.ablation == "labels" else answer
            made.append(
                lay_out(
                    [self._pixels(i) for i in self._by_content(self.pool.positive[source])],
                    [self._pixels(i) for i in self._by_content(self.pool.negative[source])],
                    pair,
                    layout=self.layout,
                    side=self.side,
                    answer=said,
                )
            )
        return tuple(made)

    @cached_property
    def image_hashes(self) -> frozenset[str]:
        """Content hashes of every image that is shown."""
        rows = self.rows
        if self.ablation == "images" and len(self._order):
            rows = np.append(rows, self._order[self.count % len(self._order)])
        used = np.concatenate(
            [
                part[rows].ravel()
                for part in (self.pool.positive, self.pool.negative, self.pool.queries)
            ]
        )
        return (
            frozenset(self.pool.images.hashes[np.unique(used)].tolist())
            if len(rows)
            else (frozenset())
        )

    def describe(self) -> dict[str, Any]:
        """What can change an answer, as a JSON object."""
        ids = self.pool.index.trial_id[self.rows].tolist()
        return {
            "count": self.count,
            "draw": self.draw,
            "seed": self.seed,
            "layout": self.layout,
            "side": self.side,
            "ablation": self.ablation,
            "shown": sha256_json([ids, list(self.answers), sorted(self.image_hashes)]),
        }

    def require_disjoint(self, image_hashes: Iterable[str]) -> None:
        """Refuse tests that show a picture of the prompt.

        Raises
        ------
        LeakageError
            If any image is among those of the shots.
        """
        shared = self.image_hashes & set(image_hashes)
        if shared:
            raise LeakageError(
                "images of the prompt's solved trials are among those tested",
                found=f"{len(shared)} images (such as {min(shared)[:12]})",
                wanted="none",
                do="draw the shots from other units, or drop the trials that share images",
            )

    def _pixels(self, row: int) -> Any:
        return self.pool.images.decode(int(row))

    def _by_content(self, rows: Ints) -> list[int]:
        return sorted(map(int, rows), key=lambda row: str(self.pool.images.hashes[row]))


def set_aside(
    trials: Trials, *, units: int, seed: int = 0, pool: Trials | None = None
) -> tuple[Trials, Trials, tuple[str, ...]]:
    """Split trials into a pool of some units for shots and the rest for tests.

    Parameters
    ----------
    trials : Trials
    units : int
        Units of the pool, drawn by the seed.
    seed : int
    pool : Trials, optional
        Where solved trials come from instead; then all of `trials` are to be tested.

    Returns
    -------
    pool, tests : Trials
        No unit and no picture stands in both: trials of the tests that show a picture of the pool
        (or are about a unit of the one given) are dropped.
    dropped : tuple of str
        Their ids.

    Raises
    ------
    NotEnoughDataError
        Nothing is left to test.
    """
    index = trials.index
    known = np.unique((index if pool is None else pool.index).unit_id.astype(str))
    enough = units < len(known) if pool is None else units <= len(known)
    if not enough:
        raise NotEnoughDataError(
            "too few units to set some aside", found=f"{len(known)} units", wanted=f"> {units}"
        )
    rng = generator(seed, "pool")
    chosen = set(rng.permutation(known)[:units].tolist())
    source = trials if pool is None else pool
    inside = np.array([unit in chosen for unit in source.index.unit_id], dtype=bool)
    made = source.take(np.flatnonzero(inside & ~source.index.catch))
    shown = made.images.hashes[made.image_rows].tolist()
    hashes = np.isin(trials.images.hashes.astype(str), np.array(shown, dtype=str))
    cells = np.hstack([trials.positive, trials.negative, trials.queries])
    touched = hashes[cells].any(axis=1)
    rest = ~index.catch
    same = np.array([unit in chosen for unit in index.unit_id], dtype=bool)
    if pool is None:
        rest &= ~same
    else:
        touched |= same
    tests = np.flatnonzero(rest & ~touched)
    if not len(tests):
        raise NotEnoughDataError(
            "every other trial shares a picture with the shots",
            found=f"{int(rest.sum())} trials",
            do="give the shots from other units and images with --pool",
        )
    return made, trials.take(tests), tuple(index.trial_id[rest & touched].tolist())
