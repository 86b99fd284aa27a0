"""Solved trials for a prompt: nested draws from a pool that shares nothing with what is tested."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from imi_bench.arrays import Ints
from imi_bench.errors import InputError, LeakageError, NotEnoughDataError, UnknownNameError
from imi_bench.observers.incontext.pools import NEAR, Near
from imi_bench.observers.incontext.prompt import OPTIONS, Layout, Shown, lay_out
from imi_bench.provenance import generator, sha256_json
from imi_bench.stimuli.likeness import Likeness
from imi_bench.tables import Trials
from imi_bench.tables.images import Images
from imi_bench.text import plural

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
    near : {"drop", "keep"}
        Whether tests that show a picture nearly equal to one of these are refused.
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
    near: Near = "drop"

    def __post_init__(self) -> None:
        UnknownNameError.unless_among(self.ablation, ABLATIONS, kind="ablation")
        UnknownNameError.unless_among(self.near, NEAR, kind="way with near pictures")
        if self.count < 0:
            raise InputError("a number of shots", found=self.count, wanted="0 or more")
        if len(self._order) < self.count:
            raise NotEnoughDataError(
                "too few solved trials for the prompt",
                found=f"{plural(len(self._order), 'unit')} in the pool",
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
    def image_rows(self) -> Ints:
        """Rows of the pool's images that are shown."""
        rows = self.rows
        if self.ablation == "images" and len(self._order):
            rows = np.append(rows, self._order[self.count % len(self._order)])
        parts = (self.pool.positive, self.pool.negative, self.pool.queries)
        return np.unique(np.concatenate([part[rows].ravel() for part in parts]))

    @cached_property
    def image_hashes(self) -> frozenset[str]:
        """Content hashes of every image that is shown."""
        return frozenset(self.pool.images.hashes[self.image_rows].tolist())

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

    def require_disjoint(self, images: Images, rows: Ints) -> None:
        """Refuse tests that show a picture of the prompt, or (unless kept) one nearly equal.

        Raises
        ------
        LeakageError
            If any image is, or is near, one of the shots.
        """
        if not self.count:
            return
        names = images.hashes[rows].astype(str)
        shared = sorted(self.image_hashes & set(names.tolist()))
        said = "are"
        if not shared:
            mine = Likeness.of(self.pool.images, self.image_rows)
            alike = Likeness.of(images, rows).alike(mine, near=self.near == "drop")
            shared = sorted(names[alike].tolist())
            said = "are, or nearly are,"
        if shared:
            raise LeakageError(
                f"images of the prompt's solved trials {said} among those tested",
                found=f"{plural(len(shared), 'image')} (such as {shared[0][:12]})",
                wanted="none",
                do="draw the shots from other units, or drop the trials that share images"
                + ("" if said == "are" else "; near=keep allows nearly equal ones"),
            )

    def _pixels(self, row: int) -> Any:
        return self.pool.images.decode(int(row))

    def _by_content(self, rows: Ints) -> list[int]:
        return sorted(map(int, rows), key=lambda row: str(self.pool.images.hashes[row]))
