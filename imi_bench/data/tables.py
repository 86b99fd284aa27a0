"""The tables that travel between the steps; each is valid or does not exist.

::

    Trials --blind(seed)--> BlindTrials --observer--> DecisionVariables --calibrate/score--> …
                                                        Responses (what people answered) --^

`TrialIndex` says what a trial is about, `Images` holds what is to be seen, `Trials` joins the
two. Field names are those of the released human table where the meaning is the same.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imi_bench.data.images import Images
from imi_bench.errors import InputError, TrialError
from imi_bench.provenance import sha256_columns, sha256_json

Strings = NDArray[np.object_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MODES = ("natural", "synthetic")
DIFFICULTIES = ("easy", "hard99", "hard95", "hard85")
STATUSES = ("ok", "tie", "refused", "unparsed", "error")
ANSWERED = ("ok", "tie")
Side = Literal["positive", "negative"]


def split_difficulty(network: str) -> tuple[str, str]:
    """Split the released `model` name into base network and difficulty.

    Examples
    --------
    >>> split_difficulty("clip-resnet50_hard95"), split_difficulty("resnet50")
    (('clip-resnet50', 'hard95'), ('resnet50', 'easy'))
    """
    match = re.fullmatch(r"(.+)_(hard\d+)", network)
    return (match[1], match[2]) if match else (network, "easy")


def shown_first_is_positive(trial_ids: Iterable[str], *, seed: int) -> Bools:
    """Whether the strongly activating query is shown first: (T,) bool, one fair bit a trial.

    The bit is drawn from SHA-256 of seed and trial id, so it depends on neither the order of
    trials nor on which other trials are in the table, and anyone can check it.
    """
    prefix = hashlib.sha256(f"sides|{seed}|".encode())
    bits = []
    for trial in trial_ids:
        digest = prefix.copy()
        digest.update(trial.encode())
        bits.append(digest.digest()[0] & 1 == 1)
    return np.array(bits, dtype=bool)


def _column(values: object, kind: type) -> NDArray[Any]:
    """A read-only copy of a kind; refused where the conversion would change a value."""
    array = np.asarray(values)
    if kind is str:
        column = np.array([str(v) for v in array.tolist()], dtype=object)
    else:
        try:
            with np.errstate(invalid="ignore"):
                column = array.astype(kind)
            same = kind is np.float64 or np.array_equal(column, array)
        except (TypeError, ValueError):
            same = False
        if not same:
            raise InputError(
                "column of another type", found=f"{array.dtype}: {array.ravel()[:3].tolist()} …",
                wanted=kind.__name__,
            )  # fmt: skip
    column.setflags(write=False)
    return column


def codes(names: Strings) -> Ints:
    """Number each distinct name from 0, in sorted order: (n,) int64.

    Examples
    --------
    >>> codes(np.array(["b", "a", "b"], dtype=object)).tolist()
    [1, 0, 1]
    """
    return np.asarray(pd.factorize(names, sort=True)[0], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class TrialIndex:
    """What each trial is about, without its images.

    Attributes
    ----------
    trial_id : (T,) str
        Unique. See `TrialIndex.canonical_ids` for the form the project's own readers give.
    network : (T,) str
        Base name, such as ``clip-resnet50``, without a difficulty suffix.
    layer : (T,) str
        Module path joined by underscores, as released.
    unit : (T,) int64
        Channel in its layer (`channel` in the released table).
    mode : (T,) str
        ``natural`` or ``synthetic`` (`optimized` in the released table).
    difficulty : (T,) str
        ``easy``, ``hard99``, ``hard95`` or ``hard85``.
    batch : (T,) int64
        Which batch of the unit's images; 0 for catch trials built from the authors' layout.
    catch : (T,) bool
        Attention check rather than a main trial.

    Raises
    ------
    TrialError
        Columns of unequal length, a repeated id, an unknown mode or difficulty.
    """

    trial_id: Strings
    network: Strings
    layer: Strings
    unit: Ints
    mode: Strings
    difficulty: Strings
    batch: Ints
    catch: Bools

    _KINDS = {  # noqa: RUF012 - read only
        "trial_id": str, "network": str, "layer": str, "unit": np.int64,
        "mode": str, "difficulty": str, "batch": np.int64, "catch": np.bool_,
    }  # fmt: skip

    def __post_init__(self) -> None:
        for name, kind in self._KINDS.items():
            object.__setattr__(self, name, _column(getattr(self, name), kind))
        lengths = {name: len(getattr(self, name)) for name in self._KINDS}
        if len(set(lengths.values())) != 1:
            raise TrialError("columns of unequal length", where="trial table", found=lengths)
        ids, counts = np.unique(self.trial_id.astype(str), return_counts=True)
        if len(ids) != len(self):
            raise TrialError(
                "trial_id is not unique",
                where=f"'{ids[counts > 1][0]}'",
                found=f"{counts.max()} rows",
                wanted="1 row",
            )
        for name, allowed in (("mode", MODES), ("difficulty", DIFFICULTIES)):
            bad = ~np.isin(getattr(self, name).astype(str), allowed)
            if bad.any():
                row = int(np.flatnonzero(bad)[0])
                raise TrialError(
                    f"unknown {name}",
                    where=f"trial '{self.trial_id[row]}' (row {row}; {bad.sum()} such rows)",
                    found=repr(getattr(self, name)[row]),
                    wanted=" or ".join(allowed),
                )

    def __len__(self) -> int:
        return len(self.trial_id)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> Self:
        """Build from a data frame that has at least these columns.

        Raises
        ------
        TrialError
            If a column is missing; also all that the constructor raises.
        """
        missing = [name for name in cls._KINDS if name not in frame.columns]
        if missing:
            raise TrialError(
                "missing columns",
                where="trial table",
                found=", ".join(map(str, frame.columns)),
                wanted=", ".join(missing),
            )
        return cls(**{name: frame[name].to_numpy() for name in cls._KINDS})

    def to_frame(self) -> pd.DataFrame:
        """One row a trial."""
        return pd.DataFrame({name: getattr(self, name) for name in self._KINDS})

    def take(self, rows: NDArray[Any]) -> TrialIndex:
        """The chosen rows (integer positions or a mask), in that order."""
        everything = np.arange(len(self))
        rows = everything[rows]
        if np.array_equal(rows, everything):
            return self
        columns = {name: getattr(self, name)[rows] for name in self._KINDS}
        if len(np.unique(rows)) < len(rows):
            return TrialIndex(**columns)  # which names the repeated trial
        taken = object.__new__(TrialIndex)  # rows of a table that was checked
        for name, column in columns.items():
            column.setflags(write=False)
            object.__setattr__(taken, name, column)
        return taken

    @cached_property
    def unit_id(self) -> Strings:
        """(T,) ``network/layer/unit``: the cluster of every bootstrap over units."""
        return _column(
            [f"{n}/{la}/{u}" for n, la, u in zip(self.network, self.layer, self.unit, strict=True)],
            str,
        )

    @cached_property
    def unit_code(self) -> Ints:
        """(T,) number of each trial's unit, counted from 0 in the order of their names."""
        return codes(self.unit_id)

    @cached_property
    def condition_code(self) -> Ints:
        """(T,) number of each trial's condition, counted from 0 in the order of their names."""
        return codes(self.condition_id)

    @cached_property
    def condition_id(self) -> Strings:
        """(T,) ``network/layer/unit/mode/difficulty``: what about 30 people answered."""
        parts = zip(self.unit_id, self.mode, self.difficulty, strict=True)
        return _column([f"{u}/{m}/{d}" for u, m, d in parts], str)

    @staticmethod
    def canonical_ids(frame: pd.DataFrame) -> Strings:
        """Ids of the form ``network/layer/unit/mode/difficulty/batch`` (``…/catch`` appended)."""
        parts = zip(
            frame["network"], frame["layer"], frame["unit"], frame["mode"],
            frame["difficulty"], frame["batch"], frame["catch"], strict=True,
        )  # fmt: skip
        return _column(
            [
                f"{n}/{la}/{u}/{m}/{d}/{b}" + ("/catch" if c else "")
                for n, la, u, m, d, b, c in parts
            ],
            str,
        )


@dataclass(frozen=True, eq=False)
class Trials:
    """Trials with their images and the answer.

    Attributes
    ----------
    index : TrialIndex
        T rows.
    images : Images
        N distinct images.
    positive, negative : (T, K) int64
        References: rows of `images` that activate the unit, and that do not. K is nine in the
        paper.
    queries : (T, 2) int64
        Column 0 the strongly activating query q+, column 1 the other one, q-.
    query_activations : (T, 2) float64
        The unit's activation on the two queries, in the unit's own scale; NaN where unknown.
        Only the ideal observer reads it.
    simulated : bool
        True where the images or units are made up; carried into every report.

    Raises
    ------
    TrialError
        Wrong shapes, image rows out of range, or q+ and q- the same image.
    """

    index: TrialIndex
    images: Images
    positive: Ints
    negative: Ints
    queries: Ints
    query_activations: Floats | None = None
    simulated: bool = False

    def __post_init__(self) -> None:
        count = len(self.index)
        for name in ("positive", "negative", "queries"):
            object.__setattr__(self, name, _column(getattr(self, name), np.int64))
        shapes = {n: getattr(self, n).shape for n in ("positive", "negative", "queries")}
        references = self.positive.shape[-1] if self.positive.ndim == 2 else 0
        wanted = {
            "positive": (count, references), "negative": (count, references), "queries": (count, 2),
        }  # fmt: skip
        if shapes != wanted or references < 1:
            raise TrialError("wrong shapes", where="trials", found=shapes, wanted=wanted)
        rows = np.concatenate([self.positive.ravel(), self.negative.ravel(), self.queries.ravel()])
        if rows.size and not (rows.min() >= 0 and rows.max() < len(self.images)):
            raise TrialError(
                "image row out of range", where="trials", found=f"{rows.min()} to {rows.max()}",
                wanted=f"0 to {len(self.images) - 1}",
            )  # fmt: skip
        same = np.flatnonzero(self.queries[:, 0] == self.queries[:, 1])
        if same.size:
            raise TrialError(
                "the two queries are the same image",
                where=f"trial '{self.index.trial_id[same[0]]}' ({same.size} such trials)",
                wanted="two different images",
            )
        activations = self.query_activations
        if activations is None:
            activations = np.full((count, 2), np.nan)
        if np.shape(activations) != (count, 2):
            raise TrialError(
                "wrong shape", where="query_activations", found=np.shape(activations),
                wanted=(count, 2),
            )  # fmt: skip
        object.__setattr__(self, "query_activations", _column(activations, np.float64))

    def __len__(self) -> int:
        return len(self.index)

    def take(self, rows: NDArray[Any]) -> Trials:
        """The chosen trials; the images stay shared."""
        known = self.query_activations
        return Trials(
            index=self.index.take(rows),
            images=self.images,
            positive=self.positive[rows],
            negative=self.negative[rows],
            queries=self.queries[rows],
            query_activations=None if known is None else known[rows],
            simulated=self.simulated,
        )

    @cached_property
    def image_rows(self) -> Ints:
        """(n,) rows of `images` that some trial uses, rising."""
        cells = (self.positive.ravel(), self.negative.ravel(), self.queries.ravel())
        return np.unique(np.concatenate(cells))

    @cached_property
    def hash(self) -> str:
        """SHA-256 of every trial and the content of its images, whatever the order of rows."""
        digests = np.array([list(bytes.fromhex(h)) for h in self.images.hashes], dtype=np.uint8)
        order = np.argsort(self.index.trial_id.astype(str), kind="stable")
        ordered = self.index.take(order)
        facts = ((name, getattr(ordered, name)) for name in TrialIndex._KINDS)
        shown = (
            (name, digests[getattr(self, name)[order]])
            for name in ("positive", "negative", "queries")
        )
        return sha256_columns(chain(facts, shown))

    def blind(self, *, seed: int) -> BlindTrials:
        """Hide everything but the pixels, and shuffle the sides.

        See `shown_first_is_positive` for the sides. Image rows are renumbered by content hash, so
        that their order tells nothing.
        """
        first_is_positive = shown_first_is_positive(self.index.trial_id, seed=seed)
        order = np.argsort(self.images.hashes.astype(str), kind="stable")
        row_of = np.empty(len(order), dtype=np.int64)
        row_of[order] = np.arange(len(order))
        shown = np.where(first_is_positive[:, None], self.queries, self.queries[:, ::-1])
        return BlindTrials(
            images=self.images.anonymous(order),
            positive=row_of[self.positive],
            negative=row_of[self.negative],
            queries=row_of[shown],
            key=BlindingKey(self.index, first_is_positive, seed),
        )


@dataclass(frozen=True, eq=False)
class BlindingKey:
    """What the observer must not know: kept by the runner, needed to read its answers.

    Attributes
    ----------
    index : TrialIndex
    first_is_positive : (T,) bool
        True where the strongly activating query was shown first.
    seed : int
    """

    index: TrialIndex
    first_is_positive: Bools
    seed: int

    @cached_property
    def shown_first(self) -> Strings:
        """(T,) ``positive`` or ``negative``: the kind of query shown first."""
        return _column(np.where(self.first_is_positive, "positive", "negative"), str)


@dataclass(frozen=True, eq=False)
class BlindTrials:
    """Trials as an observer sees them: images, and which of them stand where.

    Attributes
    ----------
    images : Images
        N distinct images, anonymous.
    positive, negative : (T, K) int64
        References: rows of `images`.
    queries : (T, 2) int64
        Column 0 the query shown first, column 1 the one shown second.
    key : BlindingKey or None
        None in what an observer receives (see `without_key`).
    """

    images: Images
    positive: Ints
    negative: Ints
    queries: Ints
    key: BlindingKey | None = None

    def __len__(self) -> int:
        return len(self.queries)

    def without_key(self, rows: NDArray[Any] | slice = slice(None)) -> BlindTrials:
        """The chosen trials without the answer: this is what goes to the observer."""
        return BlindTrials(
            self.images, self.positive[rows], self.negative[rows], self.queries[rows]
        )


@dataclass(frozen=True, eq=False)
class DecisionVariables:
    """An observer's evidence, one float a trial.

    Attributes
    ----------
    observer : str
        Name of the observer.
    trial_id : (T,) str
        Unique.
    decision_variable : (T,) float64
        Positive: "the first query shown is the strongly activating one". Observer's own scale.
        NaN exactly where there is no answer.
    status : (T,) str
        ``ok``; ``tie`` (the variable is exactly 0); ``refused``, ``unparsed``, ``error`` (NaN).
    shown_first : (T,) str
        ``positive`` or ``negative``: the kind of query shown first.
    seconds : (T,) float64
        Time spent on the trial; the time of a batch is spread evenly over its trials.

    Raises
    ------
    InputError
        Columns of unequal length, repeated trials, unknown status or side, an infinite value, a
        number where the status says there is none, or the reverse.
    """

    observer: str
    trial_id: Strings
    decision_variable: Floats
    status: Strings
    shown_first: Strings
    seconds: Floats

    _KINDS = {  # noqa: RUF012 - read only
        "trial_id": str, "decision_variable": np.float64, "status": str, "shown_first": str,
        "seconds": np.float64,
    }  # fmt: skip

    def __post_init__(self) -> None:
        for name, kind in self._KINDS.items():
            object.__setattr__(self, name, _column(getattr(self, name), kind))
        lengths = {name: len(getattr(self, name)) for name in self._KINDS}
        if len(set(lengths.values())) != 1:
            raise self._bad("columns of unequal length", found=lengths)
        ids = self.trial_id.astype(str)
        if len(np.unique(ids)) != len(ids):
            values, counts = np.unique(ids, return_counts=True)
            raise self._bad("repeated trial_id", found=repr(values[counts > 1][0]))
        for name, allowed in (("status", STATUSES), ("shown_first", ("positive", "negative"))):
            bad = ~np.isin(getattr(self, name).astype(str), allowed)
            if bad.any():
                raise self._bad(
                    f"unknown {name}",
                    row=bad,
                    found=repr(getattr(self, name)[bad][0]),
                    wanted=" or ".join(allowed),
                )
        value, status = self.decision_variable, self.status.astype(str)
        if np.isinf(value).any():
            raise self._bad(
                "infinite decision variable", row=np.isinf(value), wanted="a finite number"
            )
        answered = np.isin(status, ANSWERED)
        if (wrong := answered == np.isnan(value)).any():
            raise self._bad(
                "status and decision variable disagree", row=wrong,
                found=f"{value[wrong][0]} with status '{status[wrong][0]}'",
                wanted="a number where the status is ok or tie, NaN elsewhere",
            )  # fmt: skip
        if (wrong := answered & ((status == "tie") != (value == 0))).any():
            raise self._bad(
                "status and decision variable disagree", row=wrong,
                found=f"{value[wrong][0]} with status '{status[wrong][0]}'",
                wanted="status tie exactly where the decision variable is 0",
            )  # fmt: skip

    def _bad(self, what: str, *, row: Bools | None = None, **facts: object) -> InputError:
        where = f"decisions of '{self.observer}'"
        if row is not None:
            where += f", trial '{self.trial_id[row][0]}' ({row.sum()} such rows)"
        return InputError(what, where=where, **facts)

    def __len__(self) -> int:
        return len(self.trial_id)

    @cached_property
    def answered(self) -> Bools:
        """(T,) True where there is an answer, a tie included."""
        return np.isin(self.status.astype(str), ANSWERED)

    @cached_property
    def toward_correct(self) -> Floats:
        """(T,) evidence for the strongly activating query, whichever side it was shown on."""
        sign = np.where(self.shown_first.astype(str) == "positive", 1.0, -1.0)
        return sign * self.decision_variable

    @cached_property
    def credit(self) -> Floats:
        """(T,) 1 for a correct answer, 0 for a wrong one, one half for a tie or no answer.

        One half is what a guess earns, so refusing trials can neither raise nor lower a score
        in expectation; every report states the coverage beside it.
        """
        credit = np.full(len(self), 0.5)
        value = self.toward_correct
        credit[value > 0], credit[value < 0] = 1.0, 0.0
        return credit

    @classmethod
    def from_values(
        cls, values: Floats, *, observer: str, key: BlindingKey, seconds: Floats | None = None
    ) -> Self:
        """Join an observer's bare numbers with the key: NaN becomes ``error``, 0 a ``tie``."""
        values = np.asarray(values, dtype=np.float64)
        status = np.select([np.isnan(values), values == 0], ["error", "tie"], "ok")
        return cls(
            observer=observer,
            trial_id=key.index.trial_id,
            decision_variable=values,
            status=status,
            shown_first=key.shown_first,
            seconds=np.zeros(len(values)) if seconds is None else seconds,
        )

    def to_frame(self) -> pd.DataFrame:
        """One row a trial, columns as in ``decisions.parquet``."""
        frame = pd.DataFrame({name: getattr(self, name) for name in self._KINDS})
        frame.insert(1, "observer", self.observer)
        return frame

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> Self:
        """Read the rows of one observer.

        Raises
        ------
        InputError
            A missing column, several observers, or anything the constructor refuses.
        """
        wanted = ["trial_id", "observer", *list(cls._KINDS)[1:]]
        if missing := [name for name in wanted if name not in frame.columns]:
            raise InputError(
                "missing columns", where="decisions", found=", ".join(map(str, frame.columns)),
                wanted=", ".join(missing),
            )  # fmt: skip
        names = frame["observer"].unique().tolist()
        if len(names) != 1:
            raise InputError(
                "not the decisions of one observer", where="decisions", found=names, wanted="one"
            )
        return cls(str(names[0]), **{name: frame[name].to_numpy() for name in cls._KINDS})

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read ``decisions.parquet`` (or the folder that holds it).

        Raises
        ------
        InputError
            If the file is missing or no Parquet file, or as `from_frame`.
        """
        path = path / "decisions.parquet" if path.is_dir() else path
        if not path.is_file():
            raise InputError(
                "no decisions", where=path, wanted="decisions.parquet", do="run `imi-bench run`"
            )
        try:
            frame = pd.read_parquet(path)
        except Exception as error:
            raise InputError("not a Parquet file", where=path, found=error) from error
        return cls.from_frame(frame)


@dataclass(frozen=True, eq=False)
class Responses:
    """What people (or simulated participants) answered; one row an answer.

    Attributes
    ----------
    trial_id : (R,) str
        The trial answered; many answers a trial.
    participant : (R,) str
    correct : (R,) bool
        True where the strongly activating query was chosen.
    chose_first : (R,) float64
        1 where the query shown first was chosen, 0 where the second, NaN where unknown.
    confidence : (R,) float64
        1 to 3, NaN where not asked.
    seconds : (R,) float64
        Response time in seconds, NaN where unknown.
    simulated : bool
        True for simulated participants; carried into every report.
    source : str
        Where the answers come from, for reports.

    Raises
    ------
    InputError
        Columns of unequal length or a participant who answered the same trial twice.
    """

    trial_id: Strings
    participant: Strings
    correct: Bools
    chose_first: Floats
    confidence: Floats
    seconds: Floats
    simulated: bool
    source: str

    _KINDS = {  # noqa: RUF012 - read only
        "trial_id": str, "participant": str, "correct": np.bool_, "chose_first": np.float64,
        "confidence": np.float64, "seconds": np.float64,
    }  # fmt: skip

    def __post_init__(self) -> None:
        for name, kind in self._KINDS.items():
            object.__setattr__(self, name, _column(getattr(self, name), kind))
        lengths = {name: len(getattr(self, name)) for name in self._KINDS}
        if len(set(lengths.values())) != 1:
            raise InputError("columns of unequal length", where="responses", found=lengths)
        twice = pd.DataFrame({"t": self.trial_id, "p": self.participant}).duplicated()
        if twice.any():
            row = int(np.flatnonzero(twice)[0])
            raise InputError(
                "duplicate answer",
                where=f"responses, row {row} ({twice.sum()} such rows)",
                found=f"participant '{self.participant[row]}' twice on '{self.trial_id[row]}'",
                wanted="one answer a participant and trial",
            )

    def __len__(self) -> int:
        return len(self.trial_id)

    def take(self, rows: NDArray[Any]) -> Responses:
        """The chosen answers (integer positions or a mask)."""
        columns = {name: getattr(self, name)[rows] for name in self._KINDS}
        return Responses(**columns, simulated=self.simulated, source=self.source)

    @cached_property
    def participant_code(self) -> Ints:
        """(R,) number of each participant, counted from 0 in the order of their names."""
        return codes(self.participant)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of all answers, whatever the order of rows: the fingerprint of the humans."""
        frame = self.to_frame().sort_values(["trial_id", "participant"], kind="stable")
        return sha256_columns({name: frame[name].to_numpy() for name in self._KINDS})

    def to_frame(self) -> pd.DataFrame:
        """One row an answer."""
        return pd.DataFrame({name: getattr(self, name) for name in self._KINDS})


@dataclass(frozen=True, eq=False)
class Study:
    """What was shown and what was answered: every response's trial is in `trials`.

    Attributes
    ----------
    trials : TrialIndex
    responses : Responses
    """

    trials: TrialIndex
    responses: Responses

    def __post_init__(self) -> None:
        unknown = set(self.responses.trial_id.tolist()) - set(self.trials.trial_id.tolist())
        if unknown:
            raise InputError(
                "answers to trials that are not in the study",
                found=f"{len(unknown)} trials, such as '{min(unknown)}'",
                wanted="a row of the trial table for each",
            )

    @cached_property
    def hash(self) -> str:
        """SHA-256 of trials and responses."""
        frame = self.trials.to_frame().sort_values("trial_id")
        trials = sha256_columns({str(name): frame[name].to_numpy() for name in frame})
        return sha256_json([trials, self.responses.hash])

    @cached_property
    def rows(self) -> Ints:
        """(R,) the row of `trials` that each response answers."""
        order = pd.Index(self.trials.trial_id)
        return order.get_indexer(pd.Index(self.responses.trial_id)).astype(np.int64)

    def to_frame(self) -> pd.DataFrame:
        """One row an answer with all columns of its trial and `unit_id`."""
        shown = self.trials.to_frame().assign(unit_id=self.trials.unit_id)
        shown = shown.drop(columns="trial_id").iloc[self.rows].reset_index(drop=True)
        return pd.concat([self.responses.to_frame(), shown], axis=1)
