"""The paper's exclusion rules, recomputed from the table, and the reason for each dropped row.

What an assignment is judged on, and from which columns, is in `measures`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from imi_bench.arguments import checked_fields
from imi_bench.arrays import Bools, Floats, Strings
from imi_bench.documents import reading
from imi_bench.errors import InputError, ResponseError
from imi_bench.plots import bars
from imi_bench.release.assignments import Measures, measure
from imi_bench.release.cells import CRITERION_IN_RELEASE
from imi_bench.release.published import published
from imi_bench.release.table import ReleasedTable
from imi_bench.results import Result
from imi_bench.text import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Range = tuple[float | None, float | None]

NOT_MAIN = ("catch trial", "practice trial")


@checked_fields
@dataclass(frozen=True)
class Rules:
    """Bounds an assignment must keep to; None where a side is not bounded.

    Attributes
    ----------
    catch_ratio : float or None
        Least share of catch trials answered correctly.
    row_min : float or None
        Least number of answers with the less used row of buttons.
    total_time, instruction_time : (low, high)
        Seconds.
    demo_attempts : float or None
        Most attempts at the practice trials.
    drop_multiple : bool
        Whether people who took part in several experiments are dropped.

    Examples
    --------
    >>> Rules.published().total_time
    (135.0, 2500.0)
    """

    catch_ratio: float | None = None
    row_min: float | None = None
    total_time: Range = (None, None)
    instruction_time: Range = (None, None)
    demo_attempts: float | None = None
    drop_multiple: bool = False

    @classmethod
    def published(cls) -> Self:
        """The paper's rules."""
        facts = published().exclusions
        return cls(
            catch_ratio=facts["catch_ratio_min"],
            row_min=facts["row_min"],
            total_time=tuple(facts["total_time_s"]),
            instruction_time=tuple(facts["instruction_time_s"]),
            demo_attempts=facts["demo_attempts_max"],
            drop_multiple=facts["drop_multi_participation"],
        )

    def bounds(self, criterion: str) -> Range:
        """Lowest and highest allowed value of a criterion."""
        bound: Any = getattr(self, criterion)
        if isinstance(bound, tuple):
            return bound
        return (None, bound) if criterion == "demo_attempts" else (bound, None)

    def failed(self, criterion: str, values: Floats) -> Bools:
        """(A,) values outside the bounds; one that cannot be told (NaN) is not."""
        low, high = self.bounds(criterion)
        below = values < (-np.inf if low is None else low)
        return np.asarray(below | (values > (np.inf if high is None else high)))

    def with_(self, **changes: Any) -> Self:
        """The same rules with some bounds changed.

        Raises
        ------
        InputError
            For a name that is no rule.
        """
        if unknown := set(changes) - {f.name for f in fields(self)}:
            raise InputError("unknown rule", found=", ".join(sorted(unknown)))
        return replace(self, **changes)

    def to_json(self) -> dict[str, Any]:
        """JSON object of the bounds."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    @reading("list of exclusions")
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Back from `to_json`, as JSON keeps it.

        Raises
        ------
        InputError
            For a name that is no rule.
        """
        return cls().with_(
            **{name: tuple(b) if isinstance(b, list) else b for name, b in value.items()}
        )


@dataclass(frozen=True, eq=False, repr=False)
class Exclusion(Result):
    """Which rows stay, and why each other one goes; the two together are the whole table.

    Attributes
    ----------
    rules : Rules
    kept : (R,) bool
    reasons : tuple of str
        Names of the reasons: ``catch trial``, ``practice trial``, the criteria,
        ``multiple participation``, ``… unknown``, ``repeated answer``.
    why : (R, len(reasons)) bool
        A dropped row has at least one True, a kept one none.
    participants : (R,) str
    """

    rules: Rules
    kept: Bools
    reasons: tuple[str, ...]
    why: Bools
    participants: Strings

    def reasons_of(self, row: int) -> tuple[str, ...]:
        """Every reason for dropping a row (position in the table); empty where it is kept."""
        return tuple(np.array(self.reasons, dtype=object)[self.why[row]].tolist())

    @property
    def title(self) -> str:
        """How many rows stay."""
        return f"Exclusions: {int(self.kept.sum())} of {plural(len(self.kept), 'row')} stay"

    def to_frame(self) -> pd.DataFrame:
        """One row a reason: rows it drops, those it alone drops, and participants concerned."""
        alone = self.why.sum(axis=1) == 1
        people = self.participants
        return pd.DataFrame(
            {
                "reason": self.reasons,
                "rows": self.why.sum(axis=0),
                "rows_only": (self.why & alone[:, None]).sum(axis=0),
                "participants": [len(set(people[column].tolist())) for column in self.why.T],
            }
        )

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw how many rows each reason drops."""
        frame = self.to_frame()
        rows = dict(zip(frame["reason"].astype(str), frame["rows"].astype(float), strict=True))
        return bars(rows, xlabel="rows dropped", title=self.title, ax=ax)


def exclude(
    table: ReleasedTable, rules: Rules | None = None, *, measures: Measures | None = None
) -> Exclusion:
    """Apply the rules to every row of the table.

    An assignment whose catch ratio cannot be told, having no catch trial, passes, as in the
    authors' code; any other value that a rule needs and that is missing drops it as unknown.
    A person's second answer to the same trial is dropped whatever the rules.

    Parameters
    ----------
    rules : Rules, optional
        The published ones by default.
    measures : Measures, optional
        Of the same table, where they are at hand.

    Raises
    ------
    ResponseError
        If a rule needs a value that the table gives for no assignment at all.
    """
    rules = Rules.published() if rules is None else rules
    measures = measure(table) if measures is None else measures
    rows = table.frame
    demo = rows["is_demo"].to_numpy(dtype=bool)
    why: dict[str, Bools] = {
        "catch trial": rows["catch_trial"].to_numpy(dtype=bool) & ~demo,
        "practice trial": demo,
    }
    for criterion in CRITERION_IN_RELEASE:
        for reason, failed in _judge(table, measures, rules, criterion):
            why[reason] = failed[measures.assignment]
    if rules.drop_multiple:
        why["multiple participation"] = measures.frame["multiple"].to_numpy()[measures.assignment]
    stays = ~np.logical_or.reduce(list(why.values()))
    repeated = np.zeros(len(rows), dtype=bool)
    repeated[stays] = pd.Series(measures.answer[stays]).duplicated().to_numpy()
    why["repeated answer"] = repeated
    return Exclusion(
        rules=rules,
        kept=stays & ~repeated,
        reasons=tuple(why),
        why=np.column_stack(list(why.values())),
        participants=rows["participant_id"].to_numpy(dtype=object),
    )


def _judge(
    table: ReleasedTable, measures: Measures, rules: Rules, criterion: str
) -> list[tuple[str, Bools]]:
    """Reason and (A,) verdict of one criterion; nothing where the rule sets no bound."""
    if rules.bounds(criterion) == (None, None):
        return []
    values = measures.frame[criterion].to_numpy(dtype=float)
    unknown = np.isnan(values)
    if unknown.all() and criterion != "catch_ratio" and len(values):
        raise ResponseError(
            f"the rule on {criterion} cannot be judged",
            where=table.path,
            found="no assignment with that value",
            wanted=f"the column {CRITERION_IN_RELEASE[criterion]}_details",
            do="leave this rule out (bound None)",
        )
    verdicts = [(criterion.replace("_", " "), rules.failed(criterion, values))]
    if criterion != "catch_ratio" and unknown.any():
        verdicts.append((f"{criterion.replace('_', ' ')} unknown", unknown))
    return verdicts


@dataclass(frozen=True)
class Agreement:
    """How a recomputed verdict agrees with the released one.

    Attributes
    ----------
    criterion : str
        A criterion, or ``passed_checks`` for all of them.
    both_pass, both_fail, only_released, only_recomputed, unknown : int
        Assignments; `only_released` pass in the release alone.
    """

    criterion: str
    both_pass: int
    both_fail: int
    only_released: int
    only_recomputed: int
    unknown: int

    @property
    def disagree(self) -> int:
        """Assignments judged differently."""
        return self.only_released + self.only_recomputed


def agreement(measures: Measures, *, rules: Rules | None = None) -> tuple[Agreement, ...]:
    """Compare each recomputed criterion with the released verdict, and all together.

    Criteria without a released verdict are left out of the comparison.
    """
    rules = Rules.published() if rules is None else rules
    found, passed = [], np.ones(len(measures.frame), dtype=bool)
    some_unknown = np.zeros(len(measures.frame), dtype=bool)
    for criterion in CRITERION_IN_RELEASE:
        values = measures.frame[criterion].to_numpy(dtype=float)
        unknown, passes = np.isnan(values), ~rules.failed(criterion, values)
        passed, some_unknown = passed & passes, some_unknown | unknown
        if f"released_{criterion}" in measures.frame:
            released = measures.frame[f"released_{criterion}"].to_numpy(dtype=bool)
            found.append(_compare(criterion, released, passes, unknown))
    released = measures.frame["released_passed"].to_numpy(dtype=bool)
    return (*found, _compare("passed_checks", released, passed, some_unknown))


def _compare(criterion: str, released: Bools, passes: Bools, unknown: Bools) -> Agreement:
    count: Callable[[Bools], int] = lambda rows: int((rows & ~unknown).sum())  # noqa: E731
    return Agreement(
        criterion=criterion,
        both_pass=count(released & passes),
        both_fail=count(~released & ~passes),
        only_released=count(released & ~passes),
        only_recomputed=count(~released & passes),
        unknown=int(unknown.sum()),
    )
