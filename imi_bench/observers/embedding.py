"""Observers over any image encoder: pooled features, compared by a similarity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imi_bench.arrays import Pixels
from imi_bench.errors import InputError
from imi_bench.observers.pooling import (
    TEMPERATURE,
    Compared,
    Pooling,
    alike,
    check_options,
    compared,
    decide,
)
from imi_bench.observers.protocol import Codes, Named
from imi_bench.tables import BlindTrials


class Embedding(Named):
    """Any function from images to vectors, as an observer.

    Parameters
    ----------
    encoder : callable
        Takes a sequence of B images, each (H, W, 3) uint8 RGB of its own size, and gives a
        (B, ...) array; the code of an image must not depend on the rest of the batch.
    name : str
        Stands in tables and reports.
    description : mapping, optional
        JSON values: all that can change a code. Codes are cached under its hash, so change it
        (a ``version``, say) whenever the encoder changes. By default ``encoder.describe()``.
    pooling, similarity, temperature
        As in `imi_bench.observers.pooling.decide`.

    Raises
    ------
    InputError
        If there is no description, or the options are not those of `decide`.

    Examples
    --------
    >>> brightness = Embedding(
    ...     lambda images: [[image.mean(), 1.0] for image in images],
    ...     name="brightness", description={"version": 1}, similarity="l2",
    ... )
    >>> brightness.encode([np.zeros((2, 2, 3), np.uint8)]).tolist()
    [[0.0, 1.0]]
    """

    def __init__(
        self,
        encoder: Callable[[Sequence[Pixels]], Any],
        *,
        name: str,
        description: Mapping[str, Any] | None = None,
        pooling: Pooling = "mean",
        similarity: str = "cosine",
        temperature: float = TEMPERATURE,
    ) -> None:
        check_options(pooling, similarity, temperature)
        if description is None and not hasattr(encoder, "describe"):
            raise InputError(
                "an encoder without a description",
                where=name,
                wanted="description={...} with all that can change a code",
            )
        self.name, self.encoder, self.description = name, encoder, description
        self.pooling, self.similarity, self.temperature = pooling, similarity, temperature

    @property
    def device(self) -> str:
        """Where the encoder computes; decides the batch size of a replay."""
        return str(getattr(self.encoder, "device", "cpu"))

    @property
    def dtype(self) -> str | None:
        """Precision of the encoder; None where it does not say."""
        dtype = getattr(self.encoder, "dtype", None)
        return None if dtype is None else str(dtype)

    def describe(self) -> Mapping[str, Any]:
        """Description of the encoder, and how codes become a decision variable."""
        encoder = self.encoder
        description = encoder.describe() if self.description is None else self.description  # type: ignore[attr-defined]
        comparison: dict[str, Any] = {"pooling": self.pooling, "similarity": self.similarity}
        if self.pooling == "softmax":
            comparison["temperature"] = self.temperature
        return {**description, "comparison": comparison}

    def encode(self, images: Sequence[Pixels]) -> Codes:
        """(len(images), ...) codes.

        Raises
        ------
        InputError
            If the encoder gives anything but one code an image.
        """
        return self._one_an_image(self.encoder(images), len(images))

    @property
    def preprocess(self) -> Any:
        """What makes the pixels that `encode_pixels` takes, where the encoder says it; or None."""
        return getattr(self.encoder, "preprocess", None)

    def encode_pixels(self, pixels: Pixels) -> Codes:
        """As `encode`, of (B, height, width, 3) uint8 pixels that `preprocess` has made."""
        encoder: Any = self.encoder
        return self._one_an_image(encoder.of_pixels(pixels), len(pixels))

    def _one_an_image(self, given: Any, count: int) -> Codes:
        codes = np.asarray(given)
        if codes.ndim < 2 or len(codes) != count:
            raise InputError(
                "the encoder gave no code an image",
                where=self.name,
                found=f"shape {codes.shape}",
                wanted=f"({count}, ...)",
            )
        return codes

    def decide(self, trials: BlindTrials, codes: Codes | None) -> NDArray[np.float64]:
        """(T,) decision variables, in units of the similarity.

        Raises
        ------
        InputError
            Without codes, or with codes that do not fit the images.
        """
        if codes is None:
            raise InputError("no codes", where=self.name, do="call encode first")
        return decide(
            codes,
            trials,
            pooling=self.pooling,
            similarity=self.similarity,
            temperature=self.temperature,
        )

    def explain(self, trials: BlindTrials, codes: Codes) -> Compared:
        """The similarities behind the decision variables, each and pooled."""
        return compared(
            codes,
            trials,
            pooling=self.pooling,
            similarity=self.similarity,
            temperature=self.temperature,
        )

    def alike(self, one: Codes, other: Codes) -> NDArray[np.float64]:
        """(A, B) similarities of A codes to B codes."""
        return alike(one, other, similarity=self.similarity)
