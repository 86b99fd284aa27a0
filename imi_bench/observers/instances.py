"""Two instances of one observer must be one observer: the same codes in any process.

Weights drawn anew when an observer is built, numbers fitted to the images it meets first, sets
walked in the order of their hashes: within one process nothing of that shows. So the contract check
builds the observer a second time in a second process, shows it the images in another order and
other batches, and compares; and a run that goes on with codes from disk first compares one image.

Run as a module (``python -m imi_bench.observers.instances FOLDER``) this is that second process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imi_bench.arrays import Floats, Pixels
from imi_bench.errors import InputError
from imi_bench.observers.protocol import Codes, Encoder, Observer, decision_values
from imi_bench.tables import BlindTrials
from imi_bench.tables.images import Images

DEFAULT_TOLERANCE = 1e-6
BATCH = 3
"""Images a batch in the second process."""
_HASH_SEED = "20230711"
_LIMIT_SECONDS = 600


@dataclass(frozen=True)
class Recipe:
    """How another process opens an observer: by name, or the object itself if it can be sent.

    Attributes
    ----------
    observer : str or Observer
    device, dtype : str
    seed : int
        As in `imi_bench.observers.catalogue.load_observer`.
    """

    observer: str | Observer
    device: str = "auto"
    dtype: str = "float32"
    seed: int = 0

    def open(self) -> Observer:
        """The observer, built once in a process."""
        return _built(self) if isinstance(self.observer, str) else self.observer


@lru_cache(maxsize=1)
def _built(recipe: Recipe) -> Observer:
    from imi_bench.observers.catalogue import load_observer

    return load_observer(
        recipe.observer, device=recipe.device, dtype=recipe.dtype, seed=recipe.seed
    )


@dataclass(frozen=True, eq=False)
class Second:
    """What the second instance gave, in the order of the first.

    Attributes
    ----------
    codes : (N, …) array or None
    answers : (T,) float64
    """

    codes: Codes | None
    answers: Floats


def second_instance(
    recipe: Recipe,
    pixels: Sequence[Pixels],
    hashes: NDArray[np.object_],
    columns: dict[str, NDArray[np.int64]],
) -> Second:
    """Build the observer in another process and let it answer the same trials.

    Parameters
    ----------
    recipe : Recipe
    pixels : sequence of ndarray of uint8
        Sequence of (H, W, 3) uint8 arrays.
    hashes : (N,) str
        Content hashes of the images.
    columns : mapping
        Rows of `pixels`: ``positive``, ``negative``, ``queries``.

    Raises
    ------
    InputError
        If it fails there.
    """
    with tempfile.TemporaryDirectory(prefix="imi-bench-") as name:
        folder = Path(name)
        (folder / "recipe.json").write_text(json.dumps(asdict(recipe)), encoding="utf-8")
        shown: dict[str, NDArray[Any]] = {
            f"image_{number:06d}": image for number, image in enumerate(pixels)
        }
        shown["hashes"] = hashes.astype(str)
        np.savez(folder / "shown.npz", allow_pickle=False, **shown, **columns)
        done = subprocess.run(
            [sys.executable, "-m", "imi_bench.observers.instances", str(folder)],
            capture_output=True,
            text=True,
            check=False,
            timeout=_LIMIT_SECONDS,
            env={**os.environ, "PYTHONHASHSEED": _HASH_SEED},
        )
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise InputError("observer fails in a second process", found=last[:300])
        with np.load(folder / "given.npz", allow_pickle=False) as given:
            return Second(given.get("codes"), given["answers"])


def _answer(folder: Path) -> None:
    """The second process: the images from the last to the first, `BATCH` at a time."""
    recipe = Recipe(**json.loads((folder / "recipe.json").read_text(encoding="utf-8")))
    with np.load(folder / "shown.npz", allow_pickle=False) as shown:
        columns = {name: shown[name] for name in ("positive", "negative", "queries")}
        hashes = shown["hashes"].astype(object)
        pixels = [shown[name] for name in sorted(shown) if name.startswith("image_")]
    observer = recipe.open()
    given: dict[str, NDArray[np.generic]] = {}
    codes: Codes | None = None
    if isinstance(observer, Encoder):
        backwards = pixels[::-1]
        parts = [
            np.asarray(observer.encode([image.copy() for image in backwards[i : i + BATCH]]))
            for i in range(0, len(backwards), BATCH)
        ]
        codes = given["codes"] = np.concatenate(parts)[::-1]
    images = Images(tuple(pixels), hashes)
    order = slice(None, None, -1)
    trials = BlindTrials(images, **{n: rows[order].copy() for n, rows in columns.items()}, key=None)
    values = decision_values(observer.decide(trials, codes), len(trials), where=observer.name)
    given["answers"] = values[order]
    np.savez(folder / "given.npz", allow_pickle=False, **given)


def tolerance_of(observer: Encoder) -> float:
    """Within which an observer's codes of one image agree, relative to their length."""
    return float(observer.describe().get("tolerance", DEFAULT_TOLERANCE))


def refuse_another_instance(
    observer: Encoder, image: Pixels, kept: Codes, *, where: object
) -> None:
    """Compare the code of one image with what an earlier process kept of it.

    Parameters
    ----------
    observer : Encoder
    image : (H, W, 3) uint8 array
    kept : array
        Its code from disk.
    where : object
        Where that lies, for the message.

    Raises
    ------
    InputError
        If they differ by more than the observer's tolerance.
    """
    code = np.asarray(observer.encode([image.copy()]))[0].astype(np.float64)
    before = np.asarray(kept, dtype=np.float64)
    length = float(np.linalg.norm(before))
    same_form = code.shape == before.shape
    difference = float(np.linalg.norm(code - before)) / (length or 1.0) if same_form else np.inf
    if not difference <= tolerance_of(observer):
        raise InputError(
            "codes on disk are another instance's",
            where=where,
            found=f"an image whose code differs by {difference:.2g} of its length",
            wanted=f"at most {tolerance_of(observer):.2g}: one observer, one code an image",
            do="see `imi-bench doctor`; describe() must tell apart what answers differently",
        )


if __name__ == "__main__":
    _answer(Path(sys.argv[1]))
