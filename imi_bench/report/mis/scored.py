"""What ``imi-bench mis`` left in its folder, read for a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from imi_bench.arrays import Pixels
from imi_bench.documents import parse_json, reading
from imi_bench.errors import ImiBenchError, InputError
from imi_bench.networks.activation_record import Activations
from imi_bench.networks.collection import ImageSet, open_images
from imi_bench.replay.output import read_record
from imi_bench.results import Record
from imi_bench.vision.preprocessing import Preprocess, from_settings

__all__ = ["COMMAND", "ScoredUnits"]

COMMAND = "mis"
EXEMPLARS = 9


@dataclass(frozen=True, eq=False, repr=False)
class ScoredUnits(Record):
    """Scores of all units of a network, and the images at the ends of each.

    Attributes
    ----------
    folder : Path
    scores : pandas.DataFrame
        One row a unit, as ``scores.parquet``.
    record : mapping
        The folder's ``run.json``.
    images : ImageSet or None
        In the order of the pass; None where they are not there any more, or are others.
    without_images : str
        Why there are none.
    place : Path
        Where the images were looked for.
    """

    folder: Path
    scores: pd.DataFrame
    record: Mapping[str, Any]
    images: ImageSet | None
    without_images: str = ""
    place: Path = Path()

    def to_json(self) -> dict[str, Any]:
        """JSON object: where the folder and the images are."""
        return {"folder": str(self.folder), "place": str(self.place)}

    @classmethod
    @reading("scored units")
    def from_json(cls, record: str | Mapping[str, Any]) -> Self:
        """Read the folder and the images again that `to_json` names.

        Raises
        ------
        InputError
            As `read`.
        """
        found = parse_json(record) if isinstance(record, str) else record
        return cls.read(found["folder"], images=found["place"])

    @classmethod
    def read(cls, folder: str | Path, *, images: str | Path | None = None) -> Self:
        """Read the folder that ``imi-bench mis`` wrote.

        Parameters
        ----------
        folder : str or Path
        images : str or Path, optional
            Where the images are now, if they were moved.

        Raises
        ------
        InputError
            If it is another folder, or its table is missing or damaged.
        """
        place = Path(folder)
        record = read_record(place) or {}
        if record.get("command") != COMMAND:
            raise InputError(
                "not the folder of machine interpretability scores",
                where=place,
                found=record.get("command", "no run.json"),
                wanted="what `imi-bench mis --out` wrote",
            )
        try:
            scores = pd.read_parquet(place / "scores.parquet")
        except (OSError, ValueError) as error:
            raise InputError(
                "table cannot be read", where=place / "scores.parquet", found=error
            ) from error
        where = Path(images or str(record.get("job", {}).get("images", "")))
        found, why = _images(where, record, _passes(place))
        return cls(place, scores, record, found, why, where)

    @property
    def network(self) -> str:
        """Its name."""
        return str(self.record["network_name"])

    @property
    def random(self) -> bool:
        """Whether the network's weights were drawn from a seed."""
        return self.record.get("network", {}).get("random_seed") is not None

    @property
    def observer_random(self) -> bool:
        """Whether the observer says that its weights were drawn from a seed."""
        said = self.record.get("observer", {}).get("description", {})
        weights = said.get("weights") if isinstance(said, Mapping) else None
        return isinstance(weights, Mapping) and weights.get("source") == "random weights"

    @property
    def measure(self) -> str:
        """Column that units are compared by; the hard score where the slope is another's."""
        return "hard_score" if self.record.get("slope", {}).get("warning") else "score"

    @cached_property
    def passes(self) -> tuple[Activations, ...]:
        """The passes over the images, in order."""
        return tuple(Activations.load(path) for path in _passes(self.folder))

    @property
    def preprocess(self) -> Preprocess:
        """What the network saw of an image."""
        return from_settings(self.record["network"]["preprocess"])

    def ends(self, row: int) -> tuple[list[int], list[int]]:
        """Images that activate the unit of a row of `scores` most, and least, by number."""
        for one in self.passes:
            if row < len(one.top_images):
                return (
                    one.top_images[row, :EXEMPLARS].tolist(),
                    one.bottom_images[row, :EXEMPLARS].tolist(),
                )
            row -= len(one.top_images)
        raise IndexError(row)

    def seen(self, number: int) -> Pixels:
        """What the network saw of an image, (H, W, 3) uint8."""
        if self.images is None:
            raise InputError("no images", where=self.folder, found=self.without_images)
        return np.asarray(self.preprocess.pixels(self.images.read(number)))


def _passes(folder: Path) -> list[Path]:
    whole = folder / "activations" / "activations.npz"
    parts = sorted(folder.glob("activations/pass-*/activations.npz"))
    return [whole] if whole.is_file() else parts


def _images(
    where: Path, record: Mapping[str, Any], passes: list[Path]
) -> tuple[ImageSet | None, str]:
    """The images of the pass, by name and content, or why not."""
    if not passes:
        return None, "the folder holds no activations"
    try:
        opened = open_images(where)
        names = Activations.load(passes[0]).image_names
    except (ImiBenchError, OSError) as error:
        return None, f"they could not be opened ({error})"
    place = {name: number for number, name in enumerate(opened.names.tolist())}
    try:
        ordered = opened.take(np.array([place[name] for name in names.tolist()]))
    except KeyError as missing:
        return None, f"image {missing} is not in {where.name} any more"
    if ordered.fingerprint != record.get("images", {}).get("fingerprint"):
        return None, f"the images in {where.name} are not those of the run"
    return ordered, ""
