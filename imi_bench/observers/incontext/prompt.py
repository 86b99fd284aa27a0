"""A trial as a prompt: images and people's words, nothing else.

File names, unit names, layers and words such as "maximal" never stand in a prompt. References are
in the order of their content, so that an answer cannot depend on the order they came in.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from imi_bench.arrays import Pixels
from imi_bench.errors import UnknownNameError

OPTIONS = ("A", "B")
Layout = Literal["sheets", "separate"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
GAP, GREY = 10, 0x74  # between the images of a sheet, and its colour, as people saw them
QUESTION = "Which image at the center matches the Right Examples better?"
WORDING_VERSION = 1


@dataclass(frozen=True, eq=False)
class Shown:
    """One trial as laid out: what is asked, and what is answered where it is a solved one.

    Attributes
    ----------
    parts : tuple of str or (H, W, 3) uint8
        Text and images in order.
    answer : str or None
        ``A`` or ``B`` for a solved trial.
    """

    parts: tuple[str | Pixels, ...]
    answer: str | None = None

    @property
    def images(self) -> list[Pixels]:
        """The images in order."""
        return [part for part in self.parts if not isinstance(part, str)]


@dataclass(frozen=True, eq=False)
class Prompt:
    """Solved trials, then the one to answer.

    Attributes
    ----------
    shots : tuple of Shown
    question : Shown
    repeat : int
        How often it was asked before: a model that samples must not sample the same again.
    """

    shots: tuple[Shown, ...]
    question: Shown
    repeat: int = 0

    def __iter__(self) -> Iterator[Shown]:
        yield from self.shots
        yield self.question

    @property
    def images(self) -> list[Pixels]:
        """All images in order."""
        return [image for shown in self for image in shown.images]

    def key(self) -> str:
        """SHA-256 over every word, pixel and place; the same whenever it is asked."""
        digest = hashlib.sha256()
        for shown in self:
            for part in (*shown.parts, shown.answer or ""):
                if isinstance(part, str):
                    digest.update(b"t" + part.encode() + b"\0")
                else:
                    digest.update(b"i" + repr(part.shape).encode() + part.tobytes())
        return digest.hexdigest()


def messages(shown: Iterable[Shown], image: Callable[[Pixels], object]) -> list[dict[str, Any]]:
    """As a chat: a user's turn for each trial, an assistant's for each answer.

    Parameters
    ----------
    shown : iterable of Shown
        Such as a `Prompt`.
    image : callable
        From the pixels of an image to the part of a turn, each back end's own.
    """
    turns: list[dict[str, Any]] = []
    for one in shown:
        content = [
            {"type": "text", "text": part} if isinstance(part, str) else image(part)
            for part in one.parts
        ]
        turns.append({"role": "user", "content": content})
        if one.answer is not None:
            answer = [{"type": "text", "text": one.answer}]
            turns.append({"role": "assistant", "content": answer})
    return turns


def lay_out(
    positive: Sequence[Pixels],
    negative: Sequence[Pixels],
    queries: tuple[Pixels, Pixels],
    *,
    layout: Layout = "sheets",
    side: int = 224,
    answer: str | None = None,
) -> Shown:
    """One trial: weak examples left, strong examples right, then the queries as A and B.

    Parameters
    ----------
    positive, negative : sequence of ndarray of uint8
        Sequences of (H, W, 3) uint8
        References, in the order they are to stand.
    queries : (A, B)
    layout : {"sheets", "separate"}
        Two sheets of 3 x 3 and two queries: four images; or every image by itself.
    side : int
        Pixels of one image's side.
    answer : str, optional
    """
    UnknownNameError.unless_among(layout, LAYOUTS, kind="layout")
    parts: list[str | Pixels] = []
    for name, references in (("Left Examples", negative), ("Right Examples", positive)):
        parts.append(f"{name}:")
        squares = [square(image, side=side) for image in references]
        parts += [sheet(squares)] if layout == "sheets" else squares
    for option, query in zip(OPTIONS, queries, strict=True):
        parts += [f"Image {option}:", square(query, side=side)]
    parts.append(f"{QUESTION} Answer with {OPTIONS[0]} or {OPTIONS[1]}.")
    return Shown(tuple(parts), answer)


def square(image: Pixels, *, side: int) -> Pixels:
    """The image at `side` pixels, whole, on grey where it is not square."""
    picture = Image.fromarray(image)
    if picture.size == (side, side):
        return image
    scale = side / max(picture.size)
    size = tuple(max(1, round(length * scale)) for length in picture.size)
    small = picture.resize((size[0], size[1]), Image.Resampling.BICUBIC)
    if small.size == (side, side):
        return np.asarray(small)
    canvas = Image.new("RGB", (side, side), (GREY, GREY, GREY))
    canvas.paste(small, ((side - size[0]) // 2, (side - size[1]) // 2))
    return np.asarray(canvas)


def sheet(images: Sequence[Pixels]) -> Pixels:
    """Images of one size on a square sheet with the gap that people saw.

    Examples
    --------
    >>> sheet([np.zeros((4, 4, 3), np.uint8)] * 9).shape
    (32, 32, 3)
    """
    across = math.ceil(math.sqrt(len(images)))
    down = math.ceil(len(images) / across)
    side = images[0].shape[0]
    height, width = (n * side + (n - 1) * GAP for n in (down, across))
    made = np.full((height, width, 3), GREY, dtype=np.uint8)
    for place, image in enumerate(images):
        top, left = ((side + GAP) * n for n in divmod(place, across))
        made[top : top + side, left : left + side] = image
    return made


def content_free(prompt: Prompt) -> Prompt:
    """The same prompt with grey for every image of the question: what a model says for a letter."""
    parts = tuple(
        part if isinstance(part, str) else np.full_like(part, GREY)
        for part in prompt.question.parts
    )
    return Prompt(prompt.shots, Shown(parts))


def unconditional() -> Prompt:
    """The words that ask for an answer, and nothing to answer about."""
    return Prompt((), Shown((f"Answer with {OPTIONS[0]} or {OPTIONS[1]}.",)))
