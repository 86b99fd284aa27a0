"""A measure learnt from people, as an observer: ``--observer learned/`` (a folder).

It joins the codes of its observers, lets each decide, and adds up what they say as
``learned.json`` prescribes (written by `imi_bench.measure.learn`); its decision variable is the
logit of a person's choice. It knows nothing of a trial's unit, mode or difficulty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imi_bench.arrays import Floats, Pixels
from imi_bench.documents import read_json, reading
from imi_bench.errors import InputError
from imi_bench.observers.protocol import (
    Codes,
    Encoder,
    Named,
    Observer,
    decision_values,
    fingerprint,
)
from imi_bench.provenance import sha256_file, sha256_json
from imi_bench.stats.squash import squash
from imi_bench.tables import BlindTrials
from imi_bench.tables.fitted_on import FittedOn

__all__ = [
    "FILE",
    "SET_FEATURES",
    "LearnedFit",
    "LearnedObserver",
    "agreement",
    "is_learned",
    "read_record",
    "set_features",
]

FILE = "learned.json"
SET_FEATURES = ("separation", "spread", "standardised separation", "query similarity")
_TRIALS_AT_ONCE = 256
_MOST_FEATURE = 3.0


def set_features(codes: NDArray[Any], trials: BlindTrials) -> Floats:
    """What the references of a trial look like, from one code an image.

    Parameters
    ----------
    codes : (N, ...) array
    trials : BlindTrials

    Returns
    -------
    (T, 4) float64
        Columns as `SET_FEATURES`: mean cosine within the sets less that between them; 1 less the
        mean cosine within; the first over the standard deviation of all these cosines; cosine of
        the two queries. Each stays the same when queries, sides or references change places.
    """
    flat = np.asarray(codes).reshape(len(codes), -1)
    found = np.empty((len(trials.queries), len(SET_FEATURES)))
    for start in range(0, len(found), _TRIALS_AT_ONCE):
        part = slice(start, start + _TRIALS_AT_ONCE)
        sides = np.stack(
            [np.sort(trials.positive[part], axis=1), np.sort(trials.negative[part], axis=1)], axis=1
        )
        shown = np.concatenate([np.sort(trials.queries[part], axis=1), *sides.swapaxes(0, 1)], 1)
        vectors = flat[shown].astype(np.float64)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
        found[part] = _of_grams(vectors @ vectors.transpose(0, 2, 1), sides.shape[2])
    return found


def _of_grams(gram: Floats, k: int) -> Floats:
    queries, gram = gram[:, 0, 1], gram[:, 2:, 2:]
    upper = np.triu_indices(k, 1)
    sides = [gram[:, :k, :k][:, *upper], gram[:, k:, k:][:, *upper]]
    between = gram[:, :k, k:].reshape(len(gram), -1)
    if k > 1:
        own = (sides[0].mean(axis=1) + sides[1].mean(axis=1)) / 2
        squares = [((side - own[:, None]) ** 2).mean(axis=1) for side in sides]
        within = (squares[0] + squares[1]) / 2
    else:
        own, within = np.ones(len(gram)), np.zeros(len(gram))
    gap = own - between.mean(axis=1)
    spread = np.sqrt((within + between.var(axis=1)) / 2)
    return np.stack([gap, 1 - own, gap / np.maximum(spread, 1e-6), queries], axis=1)


def agreement(standardised: Floats) -> Floats:
    """(T,) how far observers agree: 1 where all lean one way, 0 where they cancel."""
    if not standardised.shape[1]:
        return np.zeros(len(standardised))
    return np.abs(np.tanh(standardised).mean(axis=1))


def is_learned(name: str) -> bool:
    """Whether a name is a folder of a learned measure, or its file."""
    path = Path(name)
    return path.name == FILE or (path / FILE).is_file()


def read_record(source: str | Path) -> dict[str, Any]:
    """Read ``learned.json`` and check its hash.

    Raises
    ------
    InputError
        No such file, not that record, or changed since it was written.
    """
    path = Path(source)
    path = path if path.name == FILE else path / FILE
    record = read_json(path)
    if not isinstance(record, dict) or "sha256" not in record:
        raise InputError("not a learned measure", where=path, wanted="what `learn --out` writes")
    told = record["sha256"]
    if told != sha256_json({k: v for k, v in record.items() if k != "sha256"}):
        raise InputError(
            "learned measure was changed after it was written",
            where=path,
            wanted=f"contents of SHA-256 {str(told)[:12]}…",
            do="learn it again",
        )
    return record


class LearnedObserver(Named):
    """The observer head of a learned measure.

    Parameters
    ----------
    record : mapping
        What `read_record` gave.
    load : callable
        From an observer's name to the observer (`imi_bench.observers.catalogue.load_observer`).
    beside : path
        Where ``learned.json`` lies: a checkpoint that is no more where it was may lie there.

    Raises
    ------
    InputError
        A measure head, which is told each trial's condition; an observer that sees whole trials;
        one that is not the observer that was learnt from.
    """

    def __init__(
        self,
        record: Mapping[str, Any],
        load: Callable[[str], Observer],
        *,
        beside: str | Path = ".",
    ) -> None:
        with reading("learned measure"):
            self._read(record, load, Path(beside))

    def _read(
        self, record: Mapping[str, Any], load: Callable[[str], Observer], beside: Path
    ) -> None:
        if record["head"] != "observer":
            raise InputError(
                "not an observer",
                where=FILE,
                found=f"a {record['head']} head, which is told each trial's condition",
                wanted="an observer head",
                do="learn with head='observer'",
            )
        self.name = str(record["name"])
        self.record = record
        known = FittedOn.of({"fitted_on": record["fitted_on"]})
        if known is None or not known.units:
            raise InputError(
                "a learned measure that says it was fitted to nobody",
                where=FILE,
                wanted="fitted_on: the units whose answers it has seen",
                do="learn it again",
            )
        self.features = tuple(record["features"])
        told = record["columns"]
        self.fit = LearnedFit.read(
            record["final"], observers=len(told), features=len(self.features)
        )
        self.parts = [_loaded(column, load, beside) for column in told]
        about = record["features_from"]
        self.seer = None if about is None else _loaded(about, load, beside)
        self.lengths: dict[str, tuple[int, ...]] = {}

    @property
    def encoders(self) -> dict[str, Encoder]:
        """The distinct encoders by what they see, whatever they do with their codes."""
        seers = [*self.parts, *([] if self.seer is None else [self.seer])]
        return {_sees(one): one for one in reversed(seers)}

    def describe(self) -> Mapping[str, Any]:
        """Hash of the record, the observers it is made of, and what it was fitted on."""
        return {
            "kind": "learned",
            "sha256": self.record["sha256"],
            "parts": [dict(part.describe()) for part in self.parts],
            "comparison": {"pooling": "learned", "similarity": "the observer's own"},
            "fitted_on": self.record["fitted_on"],
        }

    def encode(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """(len(images), D) float32: the codes of all encoders side by side."""
        codes = []
        for key, encoder in self.encoders.items():
            code = np.asarray(encoder.encode(images))
            self.lengths[key] = code.shape[1:]
            codes.append(code.reshape(len(images), -1).astype(np.float32))
        return np.concatenate(codes, axis=1)

    def _split(self, codes: Codes) -> dict[str, Codes]:
        if not self.lengths:
            self.encode([np.zeros((8, 8, 3), np.uint8)])
        sizes = [int(np.prod(self.lengths[key])) for key in self.encoders]
        parts = np.split(np.asarray(codes), np.cumsum(sizes)[:-1], axis=1)
        return {
            key: part.reshape(len(part), *self.lengths[key])
            for key, part in zip(self.encoders, parts, strict=True)
        }

    def decide(self, trials: BlindTrials, codes: Codes | None) -> Floats:
        """(T,) logit of a person's choosing the first query; NaN where no observer answers."""
        if codes is None:
            raise InputError("no codes", where=self.name, do="call encode first")
        split = self._split(codes)
        told = [
            decision_values(part.decide(trials, split[_sees(part)]), len(trials), where=part.name)
            for part in self.parts
        ]
        seen = None if self.seer is None else set_features(split[_sees(self.seer)], trials)
        return self.combine(np.stack(told, axis=1), seen)

    def joined(self, codes: Codes) -> tuple[Floats, float] | None:
        """One embedding whose mean cosines are this observer's decision variables.

        Of a weighted sum of observers that pool by the mean of cosines: each code at length one,
        times the root of its weight. None for every other measure, and where a code of zeros has
        no cosine.

        Parameters
        ----------
        codes : (N, D) array
            What `encode` gave.

        Returns
        -------
        embedding : (N, D') float64
            Every row of the same length.
        scale : float
            Decision variable over the contrast of mean cosines: the square of that length.
        """
        plain = {"pooling": "mean", "similarity": "cosine"}
        told = [dict(part.describe().get("comparison", {})) for part in self.parts]
        if not self.fit.linear or any({k: t.get(k) for k in plain} != plain for t in told):
            return None
        split, blocks = self._split(codes), []
        weights = self.fit.weights[0] / self.fit.scales
        for part, weight in zip(self.parts, weights, strict=True):
            code = np.asarray(split[_sees(part)], dtype=np.float64).reshape(len(codes), -1)
            length = np.linalg.norm(code, axis=1, keepdims=True)
            if not (np.isfinite(length).all() and length.all()):
                return None
            if weight > 0:
                blocks.append(np.sqrt(weight) * code / length)
        if not blocks:
            return None
        return np.concatenate(blocks, axis=1), float(weights.sum())

    def combine(self, evidence: Floats, seen: Floats | None) -> Floats:
        """Decision variables of the whole from those of the parts.

        Parameters
        ----------
        evidence : (T, J) float64
            Decision variables of the observers; NaN counts as nothing said.
        seen : (T, 4) float64, optional
            `set_features` of the trials.
        """
        silent = np.isnan(evidence).all(axis=1)
        z = self.fit.standardised(np.nan_to_num(evidence, nan=0.0))
        columns = [] if seen is None else [seen]
        if "agreement" in self.features:
            columns.append(agreement(z)[:, None])
        empty = np.empty((len(z), 0))
        return np.where(silent, np.nan, self.fit.logit(z, np.concatenate([empty, *columns], 1)))


@dataclass(frozen=True, eq=False)
class LearnedFit:
    """Numbers of ``final``: K heads over J observers and M features, and their shares.

    One head is a weighted sum, and its decision variable that sum. Several are averaged as
    probabilities, each with its lapse; the decision variable is the logit of the average.
    """

    linear: bool
    scales: Floats
    weights: Floats
    gamma: Floats
    centres: Floats
    spreads: Floats
    lapse: Floats
    shares: Floats

    @classmethod
    def read(cls, final: Mapping[str, Any], *, observers: int, features: int) -> LearnedFit:
        """Numbers of the shapes, signs and sizes that `learn` writes; refuses others."""
        flat = {n: np.array(final[n], dtype=np.float64) for n in ("scales", "centres", "spreads")}
        shares = np.atleast_1d(np.array(final.get("shares", 1.0), dtype=np.float64))
        heads = len(shares)
        rows = {
            "weights": np.array(final["weights"], dtype=np.float64).reshape(heads, observers),
            "gamma": np.array(final["gamma"], dtype=np.float64).reshape(heads, features),
            "lapse": np.array(final["lapse"], dtype=np.float64).reshape(heads),
        }
        found = cls(linear=final["linear"] is True, shares=shares, **flat, **rows)
        sizes = {"scales": observers, "centres": features, "spreads": features}
        fine = (
            all(flat[name].shape == (size,) for name, size in sizes.items())
            and all(np.isfinite(one).all() for one in (*flat.values(), *rows.values(), shares))
            and (found.scales > 0).all()
            and (found.spreads > 0).all()
            and (found.weights >= 0).all()
            and (found.shares >= 0).all()
            and abs(found.shares.sum() - 1) < 1e-6
            and ((found.lapse >= 0) & (found.lapse < 1)).all()
            and isinstance(final["linear"], bool)
        )
        if not fine:
            raise InputError(
                "numbers that no fit gives",
                where=FILE,
                found="final",
                wanted="finite numbers: scales and spreads above 0, weights and shares not below, "
                "shares that add up to 1, lapses from 0 to below 1",
                do="learn it again",
            )
        return found

    def standardised(self, evidence: Floats) -> Floats:
        """(T, J) evidence on a common scale."""
        return evidence / self.scales if self.linear else squash(evidence, self.scales)

    def logit(self, z: Floats, features: Floats) -> Floats:
        """(T,) of a person's choosing the first query; odd in z."""
        eta = z @ self.weights.T
        if self.gamma.shape[1]:
            s = (features - self.centres) / self.spreads
            eta = eta * np.exp(np.clip(s, -_MOST_FEATURE, _MOST_FEATURE) @ self.gamma.T)
        if len(self.shares) == 1:
            return np.asarray(eta[:, 0])
        return 2 * np.arctanh(np.tanh(eta / 2) @ (self.shares * (1 - self.lapse)))


def _sees(observer: Observer) -> str:
    """Hash of what an observer encodes, whatever it does with the codes."""
    described = {k: v for k, v in observer.describe().items() if k not in ("comparison", "pooling")}
    return sha256_json(described)


def _weights_of(column: Mapping[str, Any], beside: Path) -> Path | None:
    """The local file of a part: where it lay, beside ``learned.json`` or here; by its hash."""
    file = column.get("local_file")
    if file is None:
        return None
    named = re.search(r"(?<=checkpoint=)[^&]*", str(column["name"]))
    told = Path(str(file.get("path", named[0] if named else "")))
    wanted, seen = str(file["sha256"]), []
    for place in (told, beside / told.name, Path(told.name)):
        with suppress(OSError):  # a name longer than any file's
            if place.is_file() and sha256_file(place) == wanted:
                return place
            seen += [str(place)] if place.is_file() else []
    raise InputError(
        "not the checkpoint that was learnt from" if seen else "a checkpoint that is not there",
        where=str(column["name"]),
        found=f"another file: {seen[0]}" if seen else f"no {told}",
        wanted=f"a file of SHA-256 {wanted[:12]}…",
        do=f"put it there, or beside {FILE}",
    )


def _loaded(column: Mapping[str, Any], load: Callable[[str], Observer], beside: Path) -> Encoder:
    name = str(column["name"])
    if ".py:" in name:  # a record is data, and may come from anybody
        raise InputError(
            "a learned measure may not name code to run",
            where=FILE,
            found=name[:80],
            wanted="observers that are installed",
            do="install it as a plug-in, and learn from its runs",
        )
    weights = _weights_of(column, beside)
    if weights is not None:
        name = re.sub(r"(?<=checkpoint=)[^&]*", lambda _: str(weights), name)
    observer = load(name)
    if not isinstance(observer, Encoder):
        raise InputError(
            "a learned measure cannot run this observer",
            where=observer.name,
            found="an observer of whole trials",
            wanted="observers that encode images",
        )
    if not column["fingerprint"]:
        raise InputError(
            "a measure that was learnt from answers alone cannot run",
            where=observer.name,
            found="no record of the observer that gave them",
            do="learn again from the folders of runs; its own answers are in predictions.parquet",
        )
    if fingerprint(observer) != column["fingerprint"]:
        raise InputError(
            "not the observer that was learnt from",
            where=observer.name,
            found=f"fingerprint {fingerprint(observer)[:12]}…",
            wanted=f"{str(column['fingerprint'])[:12]}…",
            do="learn again from runs of this version",
        )
    return observer
