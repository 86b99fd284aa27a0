"""What is asked of people: the trials, how they are cut into tasks, and one person's screens.

A *task* is a fixed set of main trials of one mode, no unit twice in it, given to a few people
(three in the paper, `Plan.assignments`). A *script* is what one person sees: the main trials of the
task in an order of her own, attention checks between them, and the practice trials.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from imi_bench.arguments import checked_fields
from imi_bench.arrays import Ints
from imi_bench.errors import InputError, NotEnoughDataError, UnknownNameError
from imi_bench.provenance import generator, sha256_json
from imi_bench.release.exclusions import Rules
from imi_bench.results import Record
from imi_bench.tables import MODES, Trials
from imi_bench.tables.images import Images
from imi_bench.text import plural

Kind = Literal["choice", "rating", "intruder"]
KINDS: tuple[Kind, ...] = get_args(Kind)
INTRUDER_IMAGES = 5
RATING_LEVELS = 7
_FORMAT = 1
NO_RULES = "no criteria: all who finish are kept, and every verdict in the export reads True"
_KEPT = ("trial_id", "network", "layer", "unit", "mode", "difficulty", "batch")


@checked_fields
@dataclass(frozen=True, kw_only=True, repr=False)
class Plan(Record):
    """How an experiment is run; the defaults are the paper's.

    Attributes
    ----------
    kind : {"choice", "rating", "intruder"}
        Two-alternative forced choice with confidence; how clear the right examples are; or which
        of five images does not belong.
    mode : {"natural", "synthetic"} or None
        Which trials are asked; None: all, each person one mode.
    per_task : int
        Main trials of one person, at most.
    per_unit : int
        Answers wanted for each unit and condition (network, mode, difficulty).
    assignments : int
        People a task is given to.
    catch, practice : int
        Attention checks among the main trials; practice trials in a round.
    feedback : bool
        Whether people are told after each answer if it was right.
    lease_minutes : float
        After so long without an answer, a place may be given to somebody else.
    rules : Rules
        When a person's answers are kept; the paper's by default.
    seed : int
        Of the tasks.
    title, contact : str
        Shown on the consent page.
    completion_code, no_consent_code : str
        Codes of a recruiting platform, shown at the end and where consent is refused.
    """

    kind: Kind = "choice"
    mode: str | None = None
    per_task: int = 40
    per_unit: int = 30
    assignments: int = 3
    catch: int = 5
    practice: int = 5
    feedback: bool = True
    lease_minutes: float = 60.0
    rules: Rules = field(default_factory=Rules.published)
    seed: int = 0
    title: str = "Which image matches?"
    contact: str = ""
    completion_code: str = ""
    no_consent_code: str = ""

    def __post_init__(self) -> None:
        for name in ("per_task", "per_unit", "assignments", "practice"):
            if getattr(self, name) < 1:
                raise InputError("a plan of nothing", where=name, found=getattr(self, name))
        if self.catch < 0 or self.lease_minutes <= 0:
            where = "catch" if self.catch < 0 else "lease_minutes"
            raise InputError("not a plan", where=where, found=getattr(self, where), wanted="> 0")
        UnknownNameError.unless_among(self.kind, KINDS, kind="kind of task")
        if self.mode is not None and self.mode not in MODES:
            raise InputError("unknown mode", found=self.mode, wanted=" or ".join(MODES))


@dataclass(frozen=True)
class Screen:
    """One trial as somebody sees it: rows of the experiment's images, and the key.

    Attributes
    ----------
    trial : int
        Row of the experiment's trials that it is about.
    check : bool
        An attention check: both queries stand among the references.
    left, right : tuple of int
        References as laid out row by row: weakly activating left, strongly activating right; of a
        rating the same, of an intruder task `left` is empty and `right` the images in order.
    upper, lower : int
        The queries; -1 where the task has none.
    answer : int
        1 where the strongly activating query is on top, 0 where below; the place of the intruder;
        -1 where there is no right answer. Never sent to a browser.
    """

    trial: int
    check: bool
    left: tuple[int, ...]
    right: tuple[int, ...]
    upper: int
    lower: int
    answer: int

    def to_json(self) -> list[Any]:
        """As a short JSON list."""
        return [self.trial, self.check, self.left, self.right, self.upper, self.lower, self.answer]

    @classmethod
    def from_json(cls, value: Sequence[Any]) -> Screen:
        """Back from `to_json`."""
        trial, check, left, right, upper, lower, answer = value
        return cls(trial, bool(check), tuple(left), tuple(right), upper, lower, answer)

    def judge(self, button: int) -> bool | None:
        """Whether the answer is right; None where there is no right answer.

        Of a choice, buttons 0 to 2 say that the upper query matches, 3 to 5 the lower one.
        """
        if self.answer < 0:
            return None
        return (button <= 2) == bool(self.answer) if self.upper >= 0 else button == self.answer


@dataclass(frozen=True)
class Task:
    """Main trials (rows of the experiment's trials) given to a few people."""

    number: int
    mode: str
    rows: tuple[int, ...]


@checked_fields
@dataclass(frozen=True, eq=False)
class Experiment:
    """Trials and a plan.

    Attributes
    ----------
    trials : Trials
        Main trials, and attention checks of one's own where flagged `catch`.
    plan : Plan
    practice : Trials or None
        Practice trials of one's own; None: made from references, as attention checks are.

    Raises
    ------
    NotEnoughDataError
        No trial of the mode, or too few units to make attention checks from.
    """

    trials: Trials
    plan: Plan
    practice: Trials | None = None

    def __post_init__(self) -> None:
        if not self.tasks:
            wanted = self.plan.mode or "some mode"
            raise NotEnoughDataError(
                "no trials to ask",
                found=plural(len(self.trials), "trial"),
                wanted=f"main, of {wanted}",
            )
        if self.practice is not None and not len(self.practice):
            raise InputError("no practice trials", found=0, wanted="at least one")

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over trials, plan and practice trials: tells one experiment from another."""
        own = None if self.practice is None else self.practice.hash
        return sha256_json([_FORMAT, self.trials.hash, self.plan.to_json(), own])

    @cached_property
    def images(self) -> Images:
        """Images of the trials, then those of the practice trials that are not among them."""
        if self.practice is None:
            return self.trials.images
        return self._joined[0]

    @cached_property
    def _joined(self) -> tuple[Images, Ints]:
        first = self.trials.images
        if self.practice is None:
            return first, np.arange(0)
        second = self.practice.images
        images, rows = Images.from_hashes(
            [*first.sources, *second.sources], [*first.hashes, *second.hashes]
        )
        return images, rows[len(first) :]

    @cached_property
    def main_rows(self) -> Ints:
        """Rows of the trials that are asked and count."""
        index = self.trials.index
        wanted = ~index.catch
        if self.plan.mode is not None:
            wanted &= index.mode.astype(str) == self.plan.mode
        return np.flatnonzero(wanted)

    @cached_property
    def modes(self) -> tuple[str, ...]:
        """Modes that are asked, as the tasks name them."""
        return tuple(dict.fromkeys(task.mode for task in self.tasks))

    @cached_property
    def answers_per_condition(self) -> int:
        """Answers that each unit and condition gets when all tasks are done."""
        return -(-self.plan.per_unit // self.plan.assignments) * self.plan.assignments

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """All tasks, mode by mode; each condition stands in equally many."""
        made: list[Task] = []
        index = self.trials.index
        for mode in MODES:
            rows = self.main_rows[index.mode[self.main_rows].astype(str) == mode]
            if not len(rows):
                continue
            rounds = -(-self.plan.per_unit // self.plan.assignments)
            rng = generator(self.plan.seed, "tasks", mode)
            queue = _rounds(self.trials, rows, rounds=rounds, rng=rng)
            for part in _cut(queue, index.unit_id, size=self.plan.per_task):
                made.append(Task(len(made) + 1, mode, tuple(part)))
        return tuple(made)

    def describe(self) -> dict[str, Any]:
        """What a database of answers keeps of the experiment: everything but pixels."""
        index = self.trials.index
        frame = {name: getattr(index, name).tolist() for name in _KEPT}
        return {
            "fingerprint": self.fingerprint,
            "plan": self.plan.to_json(),
            "simulated": self.trials.simulated,
            "conditions": {
                **frame,
                "main": self.main_rows.tolist(),
                "wanted": [self.answers_per_condition],
                "tasks": [[task.number, task.mode, len(task.rows)] for task in self.tasks],
            },
        }

    def notes(self) -> tuple[str, ...]:
        """What the plan cannot do, or does otherwise than asked: one line each."""
        plan, said = self.plan, []
        if self.answers_per_condition != plan.per_unit:
            said.append(
                f"each condition gets {self.answers_per_condition} answers (asked "
                f"{plan.per_unit}): tasks go to {plan.assignments} people each"
            )
        longest = max(len(task.rows) for task in self.tasks)
        if longest < plan.per_task:
            said.append(f"{longest} main trials a person (asked {plan.per_task}): no more units")
        row_min = plan.rules.row_min
        if plan.kind == "choice" and row_min and longest + plan.catch < 2 * row_min:
            said.append(
                f"{longest + plan.catch} trials a person, but the rule on rows wants "
                f"{row_min:g} of each: nobody can pass; give more trials or rules='none'"
            )
        if plan.rules == Rules():
            said.append(NO_RULES)
        if not self.trials.index.catch.any() and plan.catch:
            said.append("attention checks are made from references: queries that stand among them")
        if self.practice is None:
            said.append("practice trials are made from references in the same way")
        if self.trials.simulated:
            said.append("these trials are SIMULATED: made-up images or units")
        return tuple(said)

    def script(self, task: Task, *, seed: int) -> tuple[Screen, ...]:
        """Main trials of a task in an order drawn from `seed`, attention checks between them."""
        rng = generator(seed, "script")
        main = [self._screen(int(row), rng) for row in rng.permutation(np.array(task.rows))]
        checks = self._checks(task, rng) if self.plan.kind != "rating" else []
        # one check in each stretch of main trials, never first
        stretches = np.array_split(np.arange(len(main)), max(len(checks), 1))
        shown: list[Screen] = []
        for number, stretch in enumerate(stretches):
            part = [main[i] for i in stretch]
            if number < len(checks):
                place = int(rng.integers(1, len(part) + 1)) if part else 0
                part.insert(place, checks[number])
            shown += part
        return tuple(shown)

    def practice_round(self, task: Task, *, seed: int, attempt: int) -> tuple[Screen, ...]:
        """The practice trials of one round; the same ones in each, laid out anew."""
        draw, lay = generator(seed, "practice"), generator(seed, "practice", attempt)
        if self.practice is None:
            rows = self._others(task, draw, self.plan.practice)
            return tuple(self._screen(row, lay, easy=True) for row in rows)
        own = self.practice
        rows = draw.permutation(len(own))[: self.plan.practice].tolist()
        place = self._joined[1]
        moved = replace(
            own,
            images=self.images,
            positive=place[own.positive],
            negative=place[own.negative],
            queries=place[own.queries],
        )
        return tuple(_lay_out(moved, row, lay, kind=self.plan.kind) for row in rows)

    def _screen(self, row: int, rng: np.random.Generator, *, easy: bool = False) -> Screen:
        return _lay_out(self.trials, row, rng, kind=self.plan.kind, easy=easy)

    def _checks(self, task: Task, rng: np.random.Generator) -> list[Screen]:
        index = self.trials.index
        own = np.flatnonzero(index.catch)
        same = own[index.mode[own].astype(str) == task.mode]
        if len(own):
            pool = same if len(same) else own
            rows = rng.permutation(pool)[: self.plan.catch]
            return [replace(self._screen(int(row), rng), check=True) for row in rows]
        others = self._others(task, rng, self.plan.catch)
        return [replace(self._screen(row, rng, easy=True), check=True) for row in others]

    def _others(self, task: Task, rng: np.random.Generator, count: int) -> list[int]:
        """Rows of the mode from units outside the task where there are any, else from it."""
        index = self.trials.index
        rows = self.main_rows[index.mode[self.main_rows].astype(str) == task.mode]
        asked = set(index.unit_id[list(task.rows)].tolist())
        outside = np.array([unit not in asked for unit in index.unit_id[rows]], dtype=bool)
        pool = rng.permutation(rows[outside]) if outside.any() else rng.permutation(rows)
        return [int(pool[i % len(pool)]) for i in range(count)]


def _lay_out(
    trials: Trials, row: int, rng: np.random.Generator, *, kind: Kind, easy: bool = False
) -> Screen:
    """First reference of each side first, the others shuffled; sides of the queries drawn."""
    positive, negative = trials.positive[row].tolist(), trials.negative[row].tolist()
    strong, weak = trials.queries[row].tolist()
    if easy:
        pairs = [(p, n) for p, n in zip(positive, negative, strict=True) if p != n]
        strong, weak = pairs[int(rng.integers(len(pairs)))] if pairs else (strong, weak)
    first = int(rng.integers(2))
    right = (positive[0], *rng.permutation(positive[1:]).tolist())
    left = (negative[0], *rng.permutation(negative[1:]).tolist())
    if kind == "rating":
        return Screen(row, False, left, right, -1, -1, -1)
    if kind == "intruder":
        place = int(rng.integers(INTRUDER_IMAGES))
        shown = rng.permutation(positive)[: INTRUDER_IMAGES - 1].tolist()
        shown.insert(place, weak)
        return Screen(row, False, (), tuple(shown), -1, -1, place)
    upper, lower = (strong, weak) if first else (weak, strong)
    return Screen(row, False, left, right, upper, lower, first)


def _rounds(trials: Trials, rows: Ints, *, rounds: int, rng: np.random.Generator) -> list[int]:
    """A queue of rows in which each condition comes once a round, its batches in turn."""
    conditions: dict[str, list[int]] = {}
    for row in rows.tolist():
        conditions.setdefault(trials.index.condition_id[row], []).append(row)
    batches = [rng.permutation(listed).tolist() for listed in conditions.values()]
    queue: list[int] = []
    for number in range(rounds):
        order = rng.permutation(len(batches))
        queue += [batches[i][number % len(batches[i])] for i in order]
    return queue


def _cut(queue: list[int], unit_id: Any, *, size: int) -> list[list[int]]:
    """Cut a queue into tasks of nearly equal size with no unit twice in one.

    A row whose unit stands in the task already waits for the next one.
    """
    units = len({unit_id[row] for row in queue})
    size = min(size, units)
    count = -(-len(queue) // size)
    sizes = [len(part) for part in np.array_split(np.arange(len(queue)), count)]
    waiting = list(queue)
    tasks: list[list[int]] = []
    while waiting:
        wanted = sizes[len(tasks)] if len(tasks) < len(sizes) else size
        part: list[int] = []
        seen: set[str] = set()
        rest: list[int] = []
        for row in waiting:
            if len(part) < wanted and unit_id[row] not in seen:
                part.append(row)
                seen.add(unit_id[row])
            else:
                rest.append(row)
        tasks.append(part)
        waiting = rest
    return tasks
