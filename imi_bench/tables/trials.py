"""Trials with their images, and as an observer sees them: without the answer."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from imi_bench.arrays import Bools, Floats, Ints, Strings
from imi_bench.errors import TrialError, UnknownNameError
from imi_bench.plots import new_axes
from imi_bench.provenance import sha256_columns
from imi_bench.results import Brief, Result
from imi_bench.tables.columns import column, having
from imi_bench.tables.images import Images
from imi_bench.tables.index import TrialIndex
from imi_bench.text import plural

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from PIL.Image import Image


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


@dataclass(frozen=True)
class Skipped:
    """A trial, folder, file or unit that was left out.

    Attributes
    ----------
    where : str
        What was left out.
    reason : str
        Why: the error it would have been.
    """

    where: str
    reason: str


@dataclass(frozen=True, eq=False, repr=False)
class Trials(Result):
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
    skipped : tuple of Skipped
        What was left out when the trials were read or built, and why.
    notes : tuple of str
        What was ignored or guessed then, one line each.
    source : mapping
        Where they come from, as a JSON object; goes into the record of every run.

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
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kind in (("index", TrialIndex), ("images", Images)):
            if not isinstance(getattr(self, name), kind):
                found = type(getattr(self, name)).__name__
                raise TrialError("not trials", where=name, found=found, wanted=kind.__name__)
        count = len(self.index)
        for name in ("positive", "negative", "queries"):
            object.__setattr__(self, name, column(getattr(self, name), np.int64, name=name))
        shapes = {n: getattr(self, n).shape for n in ("positive", "negative", "queries")}
        references = self.positive.shape[-1] if self.positive.ndim == 2 else 0
        wanted = {
            "positive": (count, references),
            "negative": (count, references),
            "queries": (count, 2),
        }
        if shapes != wanted or references < 1:
            raise TrialError("wrong shapes", where="trials", found=shapes, wanted=wanted)
        rows = np.concatenate([self.positive.ravel(), self.negative.ravel(), self.queries.ravel()])
        if rows.size and not (rows.min() >= 0 and rows.max() < len(self.images)):
            raise TrialError(
                "image row out of range",
                where="trials",
                found=f"{rows.min()} to {rows.max()}",
                wanted=f"0 to {len(self.images) - 1}",
            )
        same = np.flatnonzero(self.queries[:, 0] == self.queries[:, 1])
        if same.size:
            raise TrialError(
                "the two queries are the same image",
                where=f"trial '{self.index.trial_id[same[0]]}' ({plural(same.size, 'such trial')})",
                wanted="two different images",
            )
        activations = self.query_activations
        if activations is None:
            activations = np.full((count, 2), np.nan)
        if np.shape(activations) != (count, 2):
            raise TrialError(
                "wrong shape",
                where="query_activations",
                found=np.shape(activations),
                wanted=(count, 2),
            )
        object.__setattr__(self, "query_activations", column(activations, np.float64))

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: int | str | slice | Sequence[int] | NDArray[Any]) -> Trials:
        """One trial, or some: ``trials[3]``, ``trials[-5:]``, ``trials[mask]``, ``trials[id]``.

        Raises
        ------
        UnknownNameError
            A trial id that is not here.
        IndexError
            Anything else that chooses no trial.
        """
        if isinstance(rows, str):
            found = np.flatnonzero(self.index.trial_id == rows)
            if not found.size:
                raise UnknownNameError.among(rows, self.index.trial_id.tolist(), kind="trial")
            return self.take(found)
        try:
            if rows is None or isinstance(rows, bool | np.bool_):
                raise IndexError
            return self.take(np.atleast_1d(np.arange(len(self))[rows]))
        except IndexError as error:
            raise IndexError(
                f"no such trial: found {rows!r:.60}, wanted a number below {len(self)}, a slice, "
                "a mask, or a trial id"
            ) from error

    def query(self, expression: str) -> Trials:
        """The trials for which an expression over the columns of the index holds.

        Parameters
        ----------
        expression : str
            As `pandas.DataFrame.eval` reads it, such as ``mode == 'natural' and unit < 9``; over
            the columns of `index.to_frame` and `unit_id`.

        Raises
        ------
        TrialError
            If the expression cannot be evaluated.
        """
        frame = self.index.to_frame().assign(unit_id=self.index.unit_id)
        try:
            _refuse_no_truth(expression, frame)
            holds = np.asarray(frame.eval(expression))
            if holds.dtype != np.bool_:
                raise TypeError(f"{holds.dtype}, not true or false")
            rows = np.flatnonzero(np.broadcast_to(holds, len(frame)))
        except Exception as error:
            raise TrialError(
                "expression cannot be evaluated",
                where=repr(expression),
                found=error,
                wanted=f"a condition on {', '.join(frame.columns)}",
            ) from error
        return self.take(rows)

    def where(self, **columns: object) -> Trials:
        """The trials that have these values: ``trials.where(mode="natural", unit=[7, 8])``.

        Values are compared as they are written, so that ``unit="8"`` is unit 8. No trial may have
        them all, although each occurs: then there are none.

        Raises
        ------
        UnknownNameError
            For a column that the index does not have, or a value that no trial has there.
        """
        frame = self.index.to_frame().assign(unit_id=self.index.unit_id)
        keep = np.ones(len(self), dtype=bool)
        for name, value in columns.items():
            if name not in frame:
                raise UnknownNameError.among(name, map(str, frame), kind="column of trials")
            wanted: list[object] = [value]
            if isinstance(value, list | tuple | set | frozenset | range | np.ndarray):
                wanted = list(value)
            keep &= having(frame[name].to_numpy(), wanted, kind=f"{name} of these trials")
        return self.take(np.flatnonzero(keep))

    def spread(self, count: int) -> Trials:
        """At most `count` trials, evenly spaced over these.

        Raises
        ------
        TrialError
            A count below 1.
        """
        if count < 1:
            raise TrialError("bad number of trials", found=count, wanted="1 or more")
        places = np.linspace(0, len(self) - 1, min(count, len(self))).round().astype(np.int64)
        return self.take(np.unique(places))

    def over_units(self, count: int) -> NDArray[np.int64]:
        """Rows of at most `count` trials that cover as many units as they can.

        Returns
        -------
        (at most count,) int64
            Ascending: the first trial of each unit, or of units evenly spaced where there are more
            than `count`, then the second of each, and so on.
        """
        units = self.index.unit_code
        order = np.argsort(units, kind="stable")
        turn = np.empty(len(units), dtype=np.int64)
        starts = np.flatnonzero(np.diff(units[order], prepend=-1))
        turn[order] = np.arange(len(units)) - np.repeat(starts, np.diff([*starts, len(units)]))
        first = np.flatnonzero(turn == 0)
        if len(first) > count:
            return first[np.linspace(0, len(first) - 1, count).round().astype(np.int64)]
        return np.sort(np.lexsort((np.arange(len(units)), turn))[:count])

    def show(
        self, rows: int | str | slice | Sequence[int] | Ints | None = None, *, tile: int = 72
    ) -> Image:
        """Draw trials, the answer included; the picture shows itself in a notebook.

        Parameters
        ----------
        rows : int or str or slice or sequence of int or ndarray of int64, optional
            Which, as in ``trials[rows]``; eight that cover as many units as they can by default.
        tile : int
            Side of one image in pixels.

        Raises
        ------
        NotEnoughDataError
            If there is none.
        """
        from PIL import Image

        from imi_bench.tables.contact_sheet import contact_sheet

        chosen = self.over_units(8) if rows is None else rows
        return Image.fromarray(contact_sheet(self[chosen], tile=tile))

    shown_columns = ("network", "layer", "unit", "mode", "difficulty", "batch")

    @property
    def title(self) -> str:
        """How many trials of what, and whether they are made up."""
        units, networks = len(set(self.index.unit_id)), len(set(self.index.network))
        lost = f", {len(self.skipped)} left out (see skipped)" if self.skipped else ""
        made_up = "simulated " if self.simulated else ""
        noted = f", {len(self.notes)} notes (see notes)" if self.notes else ""
        return (
            f"{plural(len(self), f'{made_up}trial')} of {plural(units, 'unit')} of "
            f"{plural(networks, 'network')}, "
            f"{self.positive.shape[1]} references a side, "
            f"{plural(len(self.image_rows), 'image')}"
            f"{lost}{noted}"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row a trial: the columns of the index."""
        return self.index.to_frame()

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw some trials, the answer included, as `show` does."""
        ax = new_axes(ax, width=9.6, height=6.0)
        if len(self):
            ax.imshow(np.asarray(self.show()))
        ax.set_axis_off()
        ax.set_title(self.title, loc="left", fontsize="small", wrap=True)
        return ax

    def take(self, rows: NDArray[Any]) -> Trials:
        """The chosen trials; the images stay shared."""
        known = self.query_activations
        return replace(
            self,
            index=self.index.take(rows),
            positive=self.positive[rows],
            negative=self.negative[rows],
            queries=self.queries[rows],
            query_activations=None if known is None else known[rows],
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


@dataclass(frozen=True, eq=False, repr=False)
class BlindingKey(Brief):
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
        return column(np.where(self.first_is_positive, "positive", "negative"), str)


@dataclass(frozen=True, eq=False, repr=False)
class BlindTrials(Brief):
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


def _refuse_no_truth(expression: str, frame: pd.DataFrame) -> None:
    """Refuse ``unit > 3 and mode``: pandas takes the text of a column for true."""
    try:
        # pandas reads & and | so, and binds them as loosely
        words = expression.replace("&", " and ").replace("|", " or ")
        tree = ast.parse(words.strip(), mode="eval")
    except SyntaxError:
        return  # of pandas' own language, or of none
    for node in ast.walk(tree):
        parts: list[ast.expr] = []
        if isinstance(node, ast.BoolOp):
            parts = node.values
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert):
            parts = [node.operand]
        for part in parts:
            named = isinstance(part, ast.Name) and part.id in frame
            if named and frame[ast.unparse(part)].dtype != np.bool_:
                raise TypeError(f"{ast.unparse(part)}, not true or false")
