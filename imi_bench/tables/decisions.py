"""An observer's evidence, one number a trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
import pandas as pd

from imi_bench.arrays import Bools, Floats, Strings
from imi_bench.documents import read_json
from imi_bench.errors import InputError
from imi_bench.plots import histogram
from imi_bench.tables.columns import Columns, require_columns
from imi_bench.tables.fitted_on import FittedOn
from imi_bench.tables.parquet import read_parquet
from imi_bench.tables.trials import BlindingKey
from imi_bench.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# new ones at the end: caches hold their places
STATUSES = (
    "ok",
    "tie",
    "refused",
    "unparsed",
    "error",
    "filtered",
    "truncated",
    "option missing",
)
ANSWERED = ("ok", "tie")


def _among(names: Strings, allowed: tuple[str, ...]) -> Bools:
    return pd.Series(names, dtype=object).isin(allowed).to_numpy()


@runtime_checkable
class HasDecisions(Protocol):
    """Anything that carries an observer's evidence, such as a run."""

    @property
    def decisions(self) -> DecisionVariables:
        """The evidence."""
        ...


DecisionsLike: TypeAlias = "str | Path | pd.DataFrame | DecisionVariables | HasDecisions"


@dataclass(frozen=True, eq=False, repr=False)
class DecisionVariables(Columns):
    """An observer's evidence, one float a trial.

    Attributes
    ----------
    observer : str
    trial_id : (T,) str
        Unique.
    decision_variable : (T,) float64
        Positive: "the first query shown is the strongly activating one". Observer's own scale.
        NaN exactly where there is no answer.
    status : (T,) str
        ``ok``; ``tie`` (the variable is exactly 0); NaN with ``refused``, ``unparsed``,
        ``filtered`` (by the provider), ``truncated``, ``option missing`` or ``error``.
    shown_first : (T,) str
        ``positive`` or ``negative``: the kind of query shown first.
    seconds : (T,) float64
        Time spent on the trial; the time of a batch is spread evenly over its trials.
    fitted_on : FittedOn or None
        Of an observer that was fitted to people's answers: to which. Scores refuse those.

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
    fitted_on: FittedOn | None = None

    def __post_init__(self) -> None:
        self._settle(where=f"decisions of '{self.observer}'")
        ids = pd.Index(self.trial_id, dtype=object)
        if not ids.is_unique:
            raise self._bad("repeated trial_id", found=repr(ids[ids.duplicated()].min()))
        for name, allowed in (("status", STATUSES), ("shown_first", ("positive", "negative"))):
            bad = ~_among(getattr(self, name), allowed)
            if bad.any():
                raise self._bad(
                    f"unknown {name}",
                    row=bad,
                    found=repr(getattr(self, name)[bad][0]),
                    wanted=" or ".join(allowed),
                )
        value, status = self.decision_variable, self.status
        if np.isinf(value).any():
            raise self._bad(
                "infinite decision variable", row=np.isinf(value), wanted="a finite number"
            )
        answered = _among(status, ANSWERED)
        if (wrong := answered == np.isnan(value)).any():
            raise self._bad(
                "status and decision variable disagree",
                row=wrong,
                found=f"{value[wrong][0]} with status '{status[wrong][0]}'",
                wanted="a number where the status is ok or tie, NaN elsewhere",
            )
        if (wrong := answered & ((status == "tie") != (value == 0))).any():
            raise self._bad(
                "status and decision variable disagree",
                row=wrong,
                found=f"{value[wrong][0]} with status '{status[wrong][0]}'",
                wanted="status tie exactly where the decision variable is 0",
            )

    def _bad(self, what: str, *, row: Bools | None = None, **facts: object) -> InputError:
        where = f"decisions of '{self.observer}'"
        if row is not None:
            where += f", trial '{self.trial_id[row][0]}' ({plural(row.sum(), 'such row')})"
        return InputError(what, where=where, **facts)

    shown_columns = ("trial_id", "decision_variable", "status", "shown_first")

    @property
    def title(self) -> str:
        """Whose evidence, on how many trials, and how often it was right."""
        missing = int((~self.answered).sum())
        correct = f"{self.credit.mean():.3f}" if len(self) else "-"
        return (
            f"Decision variables of {self.observer}: {plural(len(self), 'trial')}, "
            f"{missing} without an "
            f"answer, proportion correct {correct}"
        )

    @cached_property
    def answered(self) -> Bools:
        """(T,) True where there is an answer, a tie included."""
        return _among(self.status, ANSWERED)

    @cached_property
    def toward_correct(self) -> Floats:
        """(T,) evidence for the strongly activating query, whichever side it was shown on."""
        sign = np.where(self.shown_first == "positive", 1.0, -1.0)
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
        """One row a trial, columns as in ``decisions.parquet``.

        What an observer was fitted on is an attribute of the table, which pandas hands on to most
        tables made of it, and to Parquet files.
        """
        frame = super().to_frame()
        frame.insert(1, "observer", self.observer)
        if self.fitted_on is not None:
            frame.attrs["fitted_on"] = self.fitted_on.to_json()
        return frame

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw how the evidence for the right answer is spread over trials."""
        return histogram(
            self.toward_correct,
            xlabel="decision variable, positive where right",
            ylabel="trials",
            title=self.title,
            reference=0.0,
            ax=ax,
        )

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> Self:
        """Read the rows of one observer.

        Raises
        ------
        InputError
            A missing column, several observers, or anything the constructor refuses.
        """
        wanted = ["trial_id", "observer", *list(cls._KINDS)[1:]]
        require_columns(frame, wanted, where="decisions", do="a run has them in `run.decisions`")
        names = frame["observer"].unique().tolist()
        if len(names) != 1:
            raise InputError(
                "not the decisions of one observer", where="decisions", found=names, wanted="one"
            )
        columns: dict[str, Any] = {name: frame[name].to_numpy() for name in cls._KINDS}
        known = FittedOn.of({"fitted_on": frame.attrs.get("fitted_on")})
        return cls(str(names[0]), **columns, fitted_on=known)

    @classmethod
    def read(cls, source: DecisionsLike) -> DecisionVariables:
        """Take an observer's evidence from wherever it is.

        Parameters
        ----------
        source : str or Path or DataFrame or DecisionVariables
            ``decisions.parquet`` or the folder that holds it; a table as `to_frame` gives it;
            anything with an attribute `decisions`, such as what `imi_bench.answer` gives.

        Raises
        ------
        InputError
            If the file is missing or no Parquet file, or as `from_frame`.
        """
        if isinstance(source, DecisionVariables):
            return source
        if isinstance(source, pd.DataFrame):
            return cls.from_frame(source)
        if isinstance(source, HasDecisions):
            return source.decisions
        if not isinstance(source, str | Path):
            raise InputError(
                "not an observer's answers",
                found=type(source).__name__,
                wanted="a run, its folder, or its decisions",
                do="call imi_bench.answer(observer, trials)",
            )
        path = Path(source)
        path = path / "decisions.parquet" if path.is_dir() else path
        if not path.is_file():
            raise InputError(
                "no decisions", where=path, wanted="decisions.parquet", do="run `imi-bench run`"
            )
        found = cls.from_frame(read_parquet(path))
        told = [one for one in (found.fitted_on, _recorded(path.with_name("run.json"))) if one]
        return replace(found, fitted_on=told[0].joined(told[1:]) if told else None)


def _recorded(record: Path) -> FittedOn | None:
    """What the record of a run says its observer was fitted on; None without a record."""
    if not record.is_file():
        return None
    found = read_json(record)
    observer = found.get("observer") if isinstance(found, dict) else None
    return FittedOn.of(observer.get("description") if isinstance(observer, dict) else None)


def names_apart(
    names: Sequence[str], sources: Sequence[DecisionsLike], *, otherwise: Sequence[str] = ()
) -> list[str]:
    """Versions of one observer get names of their own: ``mine (v1)`` and ``mine (v2)``.

    Parameters
    ----------
    names : sequence of str
        Observers' names, the same ones more than once.
    sources : sequence of DecisionsLike
        Where each comes from; folders name versions.
    otherwise : sequence of str
        What names a version where folders cannot; places in the list by default.

    Examples
    --------
    >>> names_apart(["mine", "mine", "other"], ["runs/v1", "runs/v2", "runs/v1"])
    ['mine (v1)', 'mine (v2)', 'other']
    """
    places = list(otherwise) or [str(k + 1) for k in range(len(names))]
    paths = [Path(one) if isinstance(one, str | Path) else None for one in sources]
    folders = [None if p is None else p.parent if p.suffix else p for p in paths]
    short = [place if p is None else p.name for p, place in zip(folders, places, strict=True)]
    for depth in (2, 3):
        pairs = list(zip(names, short, strict=True))
        short = [
            "/".join(p.parts[-depth:]) if p is not None and pairs.count(pair) > 1 else pair[1]
            for p, pair in zip(folders, pairs, strict=True)
        ]
    if len(set(zip(names, short, strict=True))) < len(names):
        short = places
    return [
        f"{name} ({s})" if list(names).count(name) > 1 else name
        for name, s in zip(names, short, strict=True)
    ]
