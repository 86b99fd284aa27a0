"""An observer under examination: the trials it is shown, and how its answers are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from imi_bench.arrays import Floats, Pixels
from imi_bench.errors import InputError
from imi_bench.observers.instances import DEFAULT_TOLERANCE, Recipe
from imi_bench.observers.protocol import (
    Codes,
    Encoder,
    Observer,
    decision_values,
    exits_are_faults,
)
from imi_bench.provenance import generator
from imi_bench.tables import BlindTrials, Trials
from imi_bench.tables.align import in_use
from imi_bench.text import plural

LARGEST_TOLERANCE = 0.1


class BrokenError(Exception):
    """A property does not hold."""


class ExemptError(Exception):
    """A property cannot be tried."""


@dataclass(frozen=True)
class Probe:
    """An observer with the trials it is shown."""

    observer: Observer
    trials: BlindTrials
    pixels: tuple[Pixels, ...]
    seed: int
    tolerance: float
    recipe: Recipe | None = None

    @classmethod
    def of(
        cls,
        observer: Observer,
        trials: Trials,
        *,
        seed: int,
        tolerance: float | None,
        recipe: Recipe | None = None,
    ) -> Self:
        """Blind the trials, decode their images, settle the tolerance."""
        if tolerance is None:
            described = observer.describe()
            tolerance = float(described.get("tolerance", DEFAULT_TOLERANCE))
        if not 0 < tolerance <= LARGEST_TOLERANCE:
            raise InputError(
                "bad tolerance",
                where=observer.name,
                found=tolerance,
                wanted=f"above 0, at most {LARGEST_TOLERANCE}",
            )
        blind = trials.blind(seed=seed)
        used, (positive, negative, queries) = in_use(blind.positive, blind.negative, blind.queries)
        blind = BlindTrials(blind.images.anonymous(used), positive, negative, queries)
        pixels = tuple(blind.images.decode(row).copy() for row in range(len(blind.images)))
        return cls(observer, blind, pixels, seed, tolerance, recipe)

    @property
    def encodes(self) -> bool:
        """Whether the observer looks at one image at a time."""
        return isinstance(self.observer, Encoder)

    def draw(self, *stream: str) -> np.random.Generator:
        """Generator of one named stream of the seed."""
        return generator(self.seed, "contract", *stream)

    def encode(self, images: Sequence[Pixels]) -> Codes:
        """Codes of one batch."""
        if not isinstance(self.observer, Encoder):
            raise TypeError("the observer has no encode(images)")
        with exits_are_faults(self.observer):
            return np.asarray(self.observer.encode(list(images)))

    @cached_property
    def codes(self) -> Codes | None:
        """Codes of all images in one batch, computed once; None without `encode`."""
        return self.encode(copies_of(self.pixels)) if self.encodes else None

    @cached_property
    def answers(self) -> Floats:
        """Decision variables of all trials, computed once."""
        return self.decide(self.trials, self.codes)

    def decide(self, trials: BlindTrials, codes: Codes | None) -> Floats:
        """Bare decision variables, whichever form the observer gives them in.

        The observer gets copies: what it writes to one must not reach the next question.
        """
        shown = BlindTrials(trials.images, **columns_of(trials), key=None)
        with exits_are_faults(self.observer):
            given = self.observer.decide(shown, None if codes is None else codes.copy())
        return decision_values(given, len(trials), where=f"decide of '{self.observer.name}'")

    def changed(self, **columns: NDArray[Any]) -> Floats:
        """Answers to the same trials with some columns replaced."""
        changed = BlindTrials(
            self.trials.images, **{**columns_of(self.trials), **columns}, key=None
        )
        return self.decide(changed, self.codes)

    def agree(self, one: Floats, other: Floats) -> str:
        """Raise unless two runs of decision variables agree; say by how much they differ."""
        if one.shape != other.shape:
            raise BrokenError(f"{one.shape} answers against {other.shape}")
        if (lost := np.isnan(one) != np.isnan(other)).any():
            raise BrokenError(
                f"{lost.sum()} of {plural(len(one), 'trial')} answered in one run only"
            )
        difference = np.nan_to_num(np.abs(one - other)).max(initial=0)
        scale = np.nan_to_num(np.abs(one)).max(initial=0)
        return self._within(float(difference), float(scale), "decision variables")

    def agree_codes(self, one: Codes, other: Codes) -> str:
        """Raise unless two codings of the same images agree; say by how much they differ."""
        if one.shape != other.shape or one.dtype != other.dtype:
            raise BrokenError(f"codes {one.dtype} {one.shape} against {other.dtype} {other.shape}")
        one, other = (c.reshape(len(c), -1).astype(np.float64) for c in (one, other))
        difference = np.linalg.norm(one - other, axis=1).max(initial=0)
        return self._within(float(difference), float(np.linalg.norm(one, axis=1).max()), "codes")

    def _within(self, difference: float, scale: float, what: str) -> str:
        relative = difference / scale if scale > 0 else difference
        if not relative <= self.tolerance:
            raise BrokenError(
                f"{what} differ by {relative:.2g} of the largest, tolerance {self.tolerance:.2g}"
            )
        return f"{what} differ by {relative:.2g} of the largest"


def columns_of(trials: BlindTrials) -> dict[str, NDArray[np.int64]]:
    """Copies of the trials' columns of image rows."""
    names = "positive", "negative", "queries"
    return {name: getattr(trials, name).copy() for name in names}


def copies_of(images: Sequence[Pixels]) -> list[Pixels]:
    """Copies of images, writable and in row order."""
    return [image.copy() for image in images]
