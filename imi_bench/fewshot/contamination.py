"""Was the answer seen before? Equal and nearly equal pictures across what must be apart.

After Brown et al. (2020, section 4 and appendix C): every score stands beside the same score on the
trials that are clean. Pictures are equal when their pixels are; nearly equal when their perceptual
hashes (pHash, 64 bits, mirrored too) differ in at most eight bits. A crop has another hash: where
an embedding is given, pictures are also close when the cosine of their codes is at least a
threshold; that finds alike pictures too, so it is listed and leaves a trial's cleanness alone. What
a closed model was trained on cannot be checked.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from imi_bench.arrays import Pixels
from imi_bench.errors import InputError
from imi_bench.fewshot.means import draws_of, two_way_mean
from imi_bench.observers.protocol import Encoder
from imi_bench.plots import bars
from imi_bench.progress import progress
from imi_bench.results import Result
from imi_bench.stimuli.likeness import BLOCK, Likeness
from imi_bench.tables import Trials
from imi_bench.tables.image_folders import SUFFIXES, Found, image_files
from imi_bench.tables.images import Images, decode_bytes, read_image_file
from imi_bench.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COSINE = 0.9  # of the codes of two pictures that may be crops of each other
_BATCH = 32


@dataclass(frozen=True, repr=False)
class Contamination(Result):
    """Pairs of pictures that should be apart and are not.

    Attributes
    ----------
    pairs : DataFrame
        ``where`` (``shots and tests``, ``query and references``, ``stimuli and FOLDER``),
        ``trial_id``, ``first``, ``second`` (content hashes, or a file's name), ``kind`` (``equal``,
        ``near``, ``near, mirrored``, ``cosine``), ``bits`` that differ (NaN for ``cosine``),
        ``cosine`` of the codes (NaN for the others); those by ``cosine`` come last, the closest
        first.
    clean : mapping of str to bool
        By trial: no pair but by ``cosine`` concerns it.
    checked : tuple of str
        What was compared.
    """

    pairs: pd.DataFrame
    clean: Mapping[str, bool]
    checked: tuple[str, ...]

    @property
    def title(self) -> str:
        """How many trials are clean."""
        return (
            f"Contamination: {sum(self.clean.values())} of "
            f"{plural(len(self.clean), 'trial')} are clean "
            f"({', '.join(self.checked)})"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row a pair."""
        return self.pairs

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw how many pairs were found, by place and kind."""
        places = zip(self.pairs["where"], self.pairs["kind"], strict=True)
        counted = Counter(f"{where}: {kind}" for where, kind in places)
        return bars(counted, xlabel="pairs of pictures", title=self.title, ax=ax)


def check(
    trials: Trials,
    *,
    pool: Trials | None = None,
    folder: str | Path | None = None,
    embedding: Encoder | None = None,
    cosine: float = COSINE,
) -> Contamination:
    """Compare queries with references, tests with a pool of shots, and stimuli with a folder.

    Parameters
    ----------
    trials : Trials
        What is tested.
    pool : Trials, optional
        Where solved trials come from.
    folder : str or Path, optional
        Pictures that a model was trained on.
    embedding : Encoder, optional
        Also look for crops: an observer that codes an image at a time, such as
        ``efficientnet-lite0``.
    cosine : float
        Least cosine of the codes of two pictures that are listed.

    Raises
    ------
    MissingExtraError
        Without the package ``imagehash`` (extra ``vlm``).
    """
    rows = trials.image_rows
    close = _Close(embedding, cosine)
    seen = _hashes(trials.images, rows, close)
    found: list[dict[str, Any]] = []
    checked = ["queries against their own references"]
    found += _within(trials, seen, close)
    if pool is not None:
        checked.append("shots against tests")
        other = _hashes(pool.images, pool.image_rows, close)
        names = pool.images.hashes
        found += _across(trials, seen, other, names, where="shots and tests", close=close)
    if folder is not None:
        inside, other = _folder(Path(folder), close)
        without = "".join(f", left out: {what}" for what in inside.left_out)
        count = plural(len(inside.images), "picture")
        checked.append(f"stimuli against {Path(folder).name} of {count}{without}")
        names = np.array([file.name for file in inside.images], dtype=object)
        where = f"stimuli and {Path(folder).name}"
        found += _across(trials, seen, other, names, where=where, close=close)
    if embedding is not None:
        checked.append(f"cosine of {embedding.name} at least {cosine:g}, listed apart")
    columns = ["where", "trial_id", "first", "second", "kind", "bits", "cosine"]
    pairs = pd.DataFrame(found, columns=columns).drop_duplicates()
    # what counts first: pictures that are only alike may be very many
    by_code = pairs[pairs["kind"] == "cosine"].sort_values("cosine", ascending=False, kind="stable")
    pairs = pd.concat([pairs[pairs["kind"] != "cosine"], by_code], ignore_index=True)
    touched = set(pairs.loc[pairs["kind"] != "cosine", "trial_id"])
    clean = {str(t): t not in touched for t in trials.index.trial_id}
    return Contamination(pairs, clean, tuple(checked))


@dataclass(frozen=True, eq=False)
class _Hashes:
    """What N pictures are compared by."""

    rows: Any
    likeness: Likeness
    codes: Any = None

    def take(self, places: list[int]) -> _Hashes:
        codes = None if self.codes is None else self.codes[places]
        return _Hashes(self.rows[places], self.likeness.take(places), codes)


@dataclass(frozen=True, eq=False)
class _Close:
    """An embedding, and from which cosine on pictures are close."""

    embedding: Encoder | None
    least: float

    def codes(self, pixels: Sequence[Pixels]) -> Any:
        """(N, D) unit codes of N pictures; None without an embedding."""
        if self.embedding is None:
            return None
        parts = [
            np.asarray(self.embedding.encode(pixels[start : start + _BATCH]), dtype=np.float64)
            for start in range(0, len(pixels), _BATCH)
        ]
        flat = np.concatenate(parts).reshape(len(pixels), -1)
        length = np.linalg.norm(flat, axis=1, keepdims=True)
        return flat / np.where(length == 0, 1.0, length)


def _hashes(images: Images, rows: Any, close: _Close) -> _Hashes:
    # decoded for their codes alone: hashes are known by content
    pixels = [images.decode(int(row)) for row in rows] if close.embedding is not None else []
    return _Hashes(np.asarray(rows), Likeness.of(images, rows), close.codes(pixels))


def _folder(folder: Path, close: _Close) -> tuple[Found, _Hashes]:
    found = image_files(folder) if folder.is_dir() else None
    if found is None or not found.images:
        left_out = [] if found is None else found.left_out
        raise InputError(
            "no pictures", where=folder, found=", ".join(left_out), wanted=", ".join(SUFFIXES)
        )
    files = found.images
    with progress("training images", total=len(files), unit="images") as advance:
        codes = []

        def pictures() -> Iterator[Pixels]:  # one at a time: more than the memory may hold
            for file in files:
                pixels = decode_bytes(read_image_file(file), where=file)
                codes.append(close.codes([pixels]))
                yield pixels
                advance(1)

        likeness = Likeness.of_pixels(pictures())
    coded = None if close.embedding is None else np.concatenate(codes)
    return found, _Hashes(np.arange(len(files)), likeness, coded)


def _pairs(
    first: _Hashes, second: _Hashes, close: _Close
) -> Iterable[tuple[int, int, str, dict[str, float]]]:
    """(place in first, place in second, kind, bits and cosine) of every pair that is close."""
    nan = float("nan")
    for i, j, name, bits in first.likeness.pairs(second.likeness):
        yield i, j, name, {"bits": bits, "cosine": nan}
    if first.codes is not None:
        for start in range(0, len(first.codes), BLOCK):
            alike = first.codes[start : start + BLOCK] @ second.codes.T
            for i, j in zip(*np.nonzero(alike >= close.least), strict=True):
                here, there = start + int(i), int(j)
                if first.likeness.pixels[here] != second.likeness.pixels[there]:
                    yield here, there, "cosine", {"bits": nan, "cosine": float(alike[i, j])}


def _within(trials: Trials, seen: _Hashes, close: _Close) -> list[dict[str, Any]]:
    """Queries that are, or nearly are, among the references of their own trial."""
    place = {int(row): i for i, row in enumerate(seen.rows)}
    hashes = trials.images.hashes
    found = []
    for row, trial in enumerate(trials.index.trial_id):
        queries = trials.queries[row].tolist()
        references = [*trials.positive[row].tolist(), *trials.negative[row].tolist()]
        asked, against = (
            seen.take([place[one] for one in images]) for images in (queries, references)
        )
        known: dict[tuple[int, int], tuple[str, dict[str, float]]] = {}
        for i, j, kind, facts in _pairs(asked, against, close):
            known.setdefault((i, j), (kind, facts))
        for (i, j), (kind, facts) in sorted(known.items()):
            found.append(
                {
                    "where": "query and references",
                    "trial_id": str(trial),
                    "first": str(hashes[queries[i]])[:16],
                    "second": str(hashes[references[j]])[:16],
                    "kind": kind,
                    **facts,
                }
            )
    return found


def _across(
    trials: Trials, seen: _Hashes, other: _Hashes, names: Any, *, where: str, close: _Close
) -> list[dict[str, Any]]:
    users: dict[int, list[str]] = {}
    place = {int(row): i for i, row in enumerate(seen.rows)}
    cells = np.hstack([trials.positive, trials.negative, trials.queries])
    for row, trial in zip(cells, trials.index.trial_id, strict=True):
        for image in set(row.tolist()):
            users.setdefault(place[image], []).append(str(trial))
    hashes = trials.images.hashes
    return [
        {
            "where": where,
            "trial_id": trial,
            "first": str(hashes[int(seen.rows[i])])[:16],
            "second": str(names[int(other.rows[j])])[:64],
            "kind": kind,
            **facts,
        }
        for i, j, kind, facts in _pairs(seen, other, close)
        for trial in users.get(i, ())
    ]


def on_clean(answers: pd.DataFrame, found: Contamination) -> pd.DataFrame:
    """Proportion correct on all trials and on the clean ones, by observer and number of shots.

    Parameters
    ----------
    answers : DataFrame
        As `FewShot.answers`.
    found : Contamination

    Returns
    -------
    DataFrame
        ``observer, shots, ablation, all, clean, low, high, trials, clean_trials``; the interval is
        that of the clean ones, over units and draws.
    """
    clean = answers["trial_id"].map(lambda t: found.clean.get(str(t), True)).astype(bool)
    rows = []
    for keys, own in answers.groupby(["observer", "shots", "ablation"]):
        kept = own[clean.loc[own.index]]
        row = dict(zip(("observer", "shots", "ablation"), keys, strict=True))
        row |= {"all": own["credit"].mean(), "clean": math.nan, "low": math.nan, "high": math.nan}
        if len(kept):
            made = two_way_mean(
                kept["credit"].to_numpy(), kept["unit_id"].to_numpy(), draws_of(kept)
            )
            row |= {"clean": made.value, "low": made.low, "high": made.high}
        rows.append({**row, "trials": len(own), "clean_trials": len(kept)})
    return pd.DataFrame(rows)
