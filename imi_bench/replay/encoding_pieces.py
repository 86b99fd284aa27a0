"""Encoding in pieces: shares of the images that any process can encode, on any machine.

A piece is some of the plan's batches, cut by the content of all its images alone, so that every
image is encoded beside the same others whoever does it, and the codes are the same bytes. Before a
piece is encoded, the code of the plan's first image is compared with that which the first process
has left in the store: pieces of two instances of an observer never mix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from imi_bench.arrays import Ints
from imi_bench.executors import Piece
from imi_bench.observers.instances import Recipe, refuse_another_instance
from imi_bench.observers.protocol import Encoder
from imi_bench.provenance import atomic_path
from imi_bench.replay.cache import Store
from imi_bench.replay.encoding import encode_batches
from imi_bench.replay.plan import Plan
from imi_bench.tables.images import Images

__all__ = ["EncodingPiece", "encoding_pieces"]

_PIECES = 64
_LEAST_BATCHES = 4


@dataclass(frozen=True)
class EncodingPiece(Piece):
    """Some batches of images; finished once the store has a code of each."""

    keys: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether every image of it has a code on disk."""
        return bool(Store(self.file, self.keys).known.all())


def encoding_pieces(
    plan: Plan, recipe: Recipe, folder: Path, *, stored: str | None = None
) -> list[EncodingPiece]:
    """Cut a plan's images into pieces; about 64, of four batches or more.

    Parameters
    ----------
    plan : Plan
    recipe : Recipe
    folder : Path
        Of the store of codes; seen by all that work on them.
    stored : str, optional
        As in `imi_bench.replay.cache.Store`.
    """
    everything = list(plan.batches(np.ones(len(plan.images), dtype=bool)))
    size = max(_LEAST_BATCHES, -(-len(everything) // _PIECES))
    found = []
    for start in range(0, len(everything), size):
        batches = everything[start : start + size]
        rows = np.concatenate(batches)
        images = plan.images.part(np.concatenate([[0], rows]))
        cuts = np.cumsum([len(batch) for batch in batches])[:-1]
        local: list[Ints] = np.split(np.arange(1, len(rows) + 1), cuts)
        found.append(
            EncodingPiece(
                f"images {start * plan.batch_size}",
                folder,
                partial(_encode_piece, recipe, images, tuple(local), folder, stored),
                keys=tuple(plan.images.hashes[rows].tolist()),
            )
        )
    return found


def _encode_piece(
    recipe: Recipe,
    images: Images,
    batches: Sequence[Ints],
    folder: Path,
    stored: str | None,
) -> None:
    """Encode the images from the second on that have no code; the first shows the instance."""
    observer = recipe.open()
    if not isinstance(observer, Encoder):
        raise TypeError(observer)
    _same_instance(observer, images, folder)
    codes = Store(folder, images.hashes.tolist(), about=observer.describe(), stored=stored)
    todo = [rows[~codes.known[rows]] for rows in batches]
    encode_batches(observer, images, [rows for rows in todo if len(rows)], codes)


def _same_instance(observer: Encoder, images: Images, folder: Path) -> None:
    path = folder / "instances" / f"{images.hashes[0]}.npy"
    image = images.decode(0)
    if path.is_file():
        before = np.load(path, allow_pickle=False)
        refuse_another_instance(observer, image, before, where=path)
        return
    code = np.asarray(observer.encode([image.copy()]))[0]
    with atomic_path(path) as temporary:
        np.save(temporary, code, allow_pickle=False)
