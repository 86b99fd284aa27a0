"""Plain functions as observers: a similarity of two images, or an encoder of many.

::

    def similarity(one, other) -> float      larger is more alike; two (H, W, 3) uint8 images
    def encode(images) -> array              one code an image; a list of such images

A decision variable comes from either as `imi_bench.observers.pooling` says, with the mean over
references. Answers are cached under a fingerprint of the function: its source, and all that it
takes from outside (defaults, closures, the globals it names). Where one of these cannot be hashed,
nothing is reused.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imi_bench.arrays import Pixels
from imi_bench.errors import InputError
from imi_bench.observers.embedding import Embedding
from imi_bench.observers.options import parameters_of
from imi_bench.observers.pooling import Compared, Rows, Sides, contrast
from imi_bench.observers.protocol import Codes, Named, Observer
from imi_bench.tables import BlindTrials
from imi_bench.vision.code_identity import identity

__all__ = ["PairwiseSimilarity", "observer_from_function"]

_TRIALS_AT_ONCE = 64
_IMAGES_KEPT = 4096


class PairwiseSimilarity(Named):
    """An observer over a similarity of two images; each pair is compared once in a run.

    Parameters
    ----------
    function : callable
        (image, image) to a number, larger for more alike; the query comes first.
    name : str
    description : mapping
        JSON values: all that can change a similarity.

    Examples
    --------
    >>> def similarity(one, other):
    ...     return -abs(float(one.mean()) - float(other.mean()))
    >>> PairwiseSimilarity(similarity, name="brightness", description={"version": 1}).name
    'brightness'
    """

    batch_size = _TRIALS_AT_ONCE
    symmetric = False
    """Whether both orders of a pair are known to have one value, so that one is compared."""

    def __init__(
        self,
        function: Callable[[Pixels, Pixels], Any],
        *,
        name: str,
        description: Mapping[str, Any],
    ) -> None:
        self.function, self.name, self.description = function, name, description
        self._known: dict[tuple[str, str], float] = {}
        self._images: dict[str, Pixels] = {}

    def describe(self) -> Mapping[str, Any]:
        """The function's fingerprint, and how similarities become a decision variable."""
        comparison = {"pooling": "mean", "similarity": "the observer's own"}
        return {"kind": "similarity function", **self.description, "comparison": comparison}

    def decide(self, trials: BlindTrials, codes: Codes | None = None) -> NDArray[np.float64]:
        """(T,) float64 decision variables, in units of the similarity.

        Raises
        ------
        InputError
            If the function gives anything but a number.
        """
        return contrast(
            trials,
            lambda *rows: self._similarities(trials, *rows),
            pooling="mean",
            temperature=1.0,
            at_once=_TRIALS_AT_ONCE,
        )

    @property
    def compared(self) -> Mapping[tuple[str, str], float]:
        """Similarities so far, by the content hashes of query and reference."""
        return self._known

    def recall(self, values: Mapping[tuple[str, str], float]) -> None:
        """Take over similarities that were computed before, by hashes as in `compared`."""
        self._known.update(values)

    def pair(self, query: str, reference: str) -> tuple[str, str]:
        """The hashes under which a pair is known."""
        one, other = query, reference
        return (other, one) if self.symmetric and other < one else (one, other)

    def explain(self, trials: BlindTrials, codes: Codes | None = None) -> Compared:
        """The similarities behind the decision variables, each and pooled."""
        sides = self._similarities(trials, trials.queries, trials.positive, trials.negative)
        pooled = np.stack([side.mean(axis=-1) for side in sides], axis=-1)
        return Compared(np.concatenate(sides, axis=-1), pooled)

    def _similarities(
        self, trials: BlindTrials, queries: Rows, positive: Rows, negative: Rows
    ) -> Sides:
        one, other = (self._side(trials, queries, side) for side in (positive, negative))
        return one, other

    def _side(self, trials: BlindTrials, queries: Rows, side: Rows) -> NDArray[np.float64]:
        """(T, 2, K) similarities of both queries to the references of a side."""
        pairs = np.stack(np.broadcast_arrays(queries[:, :, None], side[:, None, :]), axis=-1)
        values = [self._of(trials, *pair) for pair in pairs.reshape(-1, 2).tolist()]
        return np.array(values, dtype=np.float64).reshape(pairs.shape[:-1])

    def _of(self, trials: BlindTrials, query: int, reference: int) -> float:
        hashes = trials.images.hashes
        key = self.pair(str(hashes[query]), str(hashes[reference]))
        if key not in self._known:
            rows = (query, reference) if key[0] == str(hashes[query]) else (reference, query)
            found = self._compare(trials, *rows)
            try:
                self._known[key] = float(found)
            except (TypeError, ValueError) as error:
                raise InputError(
                    "the similarity is not a number",
                    where=f"observer '{self.name}'",
                    found=f"{type(found).__name__}",
                    wanted="one float for two images",
                ) from error
        return self._known[key]

    def _compare(self, trials: BlindTrials, one: int, other: int) -> Any:
        """The similarity of two rows of the images."""
        return self.function(self._image(trials, one), self._image(trials, other))

    def _image(self, trials: BlindTrials, row: int) -> Pixels:
        key = str(trials.images.hashes[row])
        if key not in self._images:
            while len(self._images) >= _IMAGES_KEPT:
                self._images.pop(next(iter(self._images)))
            self._images[key] = trials.images.decode(row)
        return self._images[key]


def observer_from_function(
    function: Callable[..., Any],
    *,
    name: str | None = None,
    options: Mapping[str, Any] | None = None,
    ready: frozenset[str] = frozenset(),
) -> Observer | None:
    """Make an observer of a plain function; None if it is a factory, which needs no argument.

    Parameters
    ----------
    function : callable
        With one argument left to fill (images) or two (an image and another).
    name : str, optional
        Of the observer; the function's own by default.
    options : mapping, optional
        Keyword arguments of the function, held at these values.
    ready : set of str
        Names of arguments that somebody else fills.

    Raises
    ------
    InputError
        A function of three or more arguments.
    """
    options = dict(options or {})
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    places = [one for one in parameters_of(function).values() if one.kind in kinds]
    free = [
        one.name
        for one in places
        if one.default is inspect.Parameter.empty and one.name not in {*options, *ready}
    ]
    if not free:
        return None
    before = [one.name for one in places[: max(i for i, p in enumerate(places) if p.name in free)]]
    name = name or str(getattr(function, "__name__", type(function).__name__))
    if taken := [option for option in options if option in before]:
        raise InputError(
            "an option in the place of an image",
            where=name,
            found=taken[0],
            wanted="images first, then what options may set",
        )
    if len(free) > 2:
        raise InputError(
            "not an observer's function",
            where=name,
            found=f"arguments {', '.join(free)}",
            wanted="similarity(image, image) or encode(images)",
        )
    bound = functools.partial(function, **options) if options else function
    description = {
        "function": getattr(function, "__qualname__", name),
        "source": identity(function),
        "options": options,
    }
    if len(free) == 2:
        return PairwiseSimilarity(bound, name=name, description=description)
    return Embedding(bound, name=name, description={"kind": "encoding function", **description})
