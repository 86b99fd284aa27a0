"""The whole study as one list of named steps. Start reading here.

::

    trials -> blind -> decide -> learn -> calibrate -> score -> report

Each step is a function from the study so far to the study with one part more; `STEPS` lists them
in order and `run_study` walks the list. ``imi-bench demo`` is this list on the embedded
mini-benchmark. What travels between the steps are the frozen tables of `imi_bench.tables`:
read that file next. Where `Plan.processes` is 2, some observers answer, and the measure is
learnt, in a second process while this one goes on (`imi_bench.beside`); no number depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from imi_bench.beside import Beside, Due, beside
from imi_bench.choice.calibrate import calibrate
from imi_bench.choice.folds import FoldsBy
from imi_bench.errors import InputError, MissingExtraError
from imi_bench.measure.learned import learn
from imi_bench.measure.result import Learned
from imi_bench.observers.card import cards
from imi_bench.observers.catalogue import load_observer
from imi_bench.observers.reference import ideal
from imi_bench.provenance import git_state, package_versions, sha256_json
from imi_bench.replay.output import folder_name, write_run
from imi_bench.replay.runner import replay
from imi_bench.report.browser import thumbnails
from imi_bench.report.contents import ObserverRun, ReportData, write_report_data
from imi_bench.report.page import write_page
from imi_bench.report.summary import Summary, summarise
from imi_bench.simulation.world import build
from imi_bench.stimuli.trial_files import read_trials, write_trials
from imi_bench.stimuli.trial_table import NAMES as TRIALS
from imi_bench.tables import BlindingKey, Study, Trials
from imi_bench.tables.images import Images

PARTS = ("colour-histogram", "oriented-energy", "hog")
"""Observers that a measure is learnt of."""
ALONE = ("ssim", "pixel-cosine", "pixel-l2", "chance", "one-side")
"""Observers that share no work with others, the longest work first: they may answer elsewhere."""
TITLE = "Machine observers on the mini-benchmark"
Part = TypeVar("Part")


@dataclass(frozen=True)
class Plan:
    """What to study.

    Attributes
    ----------
    folder : Path
        Everything is written here.
    observers : tuple of str
        Names as in `imi_bench.observers.catalogue.load_observer`. One that needs a package that
        is not installed is skipped, and the report says so.
    seed : int
        Of the mini-benchmark, the sides, random weights, the folds and the resampling.
    world : mapping of str to int
        Arguments of `imi_bench.simulation.world.build`, such as a smaller number of networks.
    force : bool
        Replace other runs in the folder.
    processes : int
        1 or 2; the results are the same.
    """

    folder: Path
    observers: tuple[str, ...]
    seed: int = 0
    world: Mapping[str, int] = field(default_factory=dict)
    force: bool = False
    processes: int = 1


@dataclass(frozen=True, eq=False)
class StudySoFar:
    """What the steps have made; a part is None (or empty) until its step is done.

    Attributes
    ----------
    plan : Plan
    trials : Trials
        What is shown; images are files in the plan's folder.
    answers : Study
        What the panel answered.
    unit_notes : mapping of str to str
        What is planted in each unit, by `unit_id`.
    key : BlindingKey
        Which query is shown first on each trial; no observer sees it.
    runs : tuple of ObserverRun
        Every observer's decision variables, and later its calibration.
    skipped : mapping of str to str
        Observers that could not run, and why.
    summary : Summary
        All numbers of the report.
    learning : Due
        The measure that is being learnt.
    learned : Learned
        It, once the report is written; None with too few observers.
    page : Path
        The report.
    other : Beside
        Takes work off this process.
    """

    plan: Plan
    trials: Trials | None = None
    answers: Study | None = None
    unit_notes: Mapping[str, str] = field(default_factory=dict)
    key: BlindingKey | None = None
    runs: tuple[ObserverRun, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    summary: Summary | None = None
    learning: Due[Learned | None] | None = None
    pictures: Due[list[str]] | None = None
    learned: Learned | None = None
    page: Path | None = None
    other: Beside = field(default_factory=Beside)

    @property
    def exhibit(self) -> ReportData:
        """What the report shows."""
        return ReportData(
            TITLE,
            made(self.trials),
            self.runs,
            self.answers,
            self.unit_notes,
            self.skipped,
            self.plan.seed,
        )

    def told(self) -> dict[str, Any]:
        """What ``--json`` prints: each observer's scores beside the ceilings."""
        scores, learned = made(self.summary).scores, None
        if self.learned is not None:
            told = self.learned.to_json()
            gains = ("bits", "best_single", "difference", "against_equal")
            learned = {name: told[name] for name in gains}
        return {
            "report": self.page,
            "simulated": True,
            "seed": self.plan.seed,
            "skipped": dict(self.skipped),
            "observers": {name: report.to_json()["scores"] for name, report in scores.items()},
            "learned": learned,
            "ceilings": {
                name: found.to_json()
                for name, found in next(iter(scores.values())).ceilings.items()
            },
        }


class Step(NamedTuple):
    """A named step: what it is called, what it does, and one line about it."""

    name: str
    function: Callable[[StudySoFar], StudySoFar]
    doc: str


def make_trials(study: StudySoFar) -> StudySoFar:
    """Make the mini-benchmark, write its trials, and read them back as any trials are read."""
    plan = study.plan
    world = build(seed=plan.seed, **plan.world)
    table = plan.folder / TRIALS[0]
    if table.is_file() and not plan.force and read_trials(table).hash != world.trials.hash:
        raise InputError(
            "the folder holds another run",
            where=plan.folder,
            found="different trials",
            do="choose another out=, or replace it with force=True",
        )
    write_trials(world.trials, plan.folder)
    notes = {unit.unit_id: f"planted {unit.kind}: {unit.likes}" for unit in world.truth.units}
    trials = read_trials(table)
    return replace(study, trials=trials, answers=world.study, unit_notes=notes)


def blind(study: StudySoFar) -> StudySoFar:
    """Draw from the seed which query is shown first; the key stays here."""
    return replace(study, key=made(study.trials).blind(seed=study.plan.seed).key)


def decide(study: StudySoFar) -> StudySoFar:
    """Let every observer answer every trial, blind; the ideal one alone reads activations."""
    plan, trials = study.plan, made(study.trials)
    runs, skipped = [_ideal_run(study)], dict(study.skipped)
    alone = [name for name in ALONE if name in plan.observers]
    due = {name: study.other.start(_answered, name, plan, trials) for name in alone}
    # one thread: sums in one order whatever the machine, so that the page has the same bytes
    with threadpool_limits(limits=1):
        here = {name: _answered(name, plan, trials) for name in plan.observers if name not in due}
    for name in plan.observers:
        run = due[name].result() if name in due else here[name]
        if isinstance(run, ObserverRun):
            runs.append(run)
        else:
            skipped[name] = run
    return replace(study, runs=tuple(runs), skipped=skipped)


def _answered(name: str, plan: Plan, trials: Trials) -> ObserverRun | str:
    """An observer's run, or why it could not run."""
    try:
        observer = load_observer(name, device="cpu", seed=plan.seed)
    except MissingExtraError as error:
        return str(error)
    done = replay(
        observer,
        trials,
        seed=plan.seed,
        out=_place(plan, folder_name(observer.name)),
        cache=plan.folder / "cache",
        force=plan.force,
    )
    return ObserverRun(done.decisions, done.record, evidence=done.evidence)


def learn_parts(study: StudySoFar) -> StudySoFar:
    """Learn from the panel how much colour, texture and gradients count, and write the measure."""
    parts = [_place(study.plan, run.folder) for run in study.runs if run.name in PARTS]
    trials = made(study.trials)
    if len(parts) > 1:
        given = (parts, made(study.answers), trials, study.plan.folder / "learned")
        study = replace(study, learning=study.other.start(_learnt, *given))
    # the page's pictures wait for no score: they are made where the measure is learnt
    pictures = study.other.start(thumbnails, trials.images, trials.image_rows)
    return replace(study, pictures=pictures)


def _learnt(parts: list[Path], answers: Study, trials: Trials, place: Path) -> Learned:
    by: FoldsBy = "network" if len(set(answers.trials.network)) > 1 else "unit"
    found = learn(parts, answers, by=by, trials=trials, n_boot=0, curves=0)
    found.write(place)
    return found


def calibrate_all(study: StudySoFar) -> StudySoFar:
    """Fit each observer's choice model to the panel, in folds that hold whole units out."""
    answers, seed = made(study.answers), study.plan.seed
    return replace(
        study,
        runs=tuple(
            replace(run, calibration=calibrate(run.decisions, answers, by="unit", seed=seed))
            for run in study.runs
        ),
    )


def score_all(study: StudySoFar) -> StudySoFar:
    """Score predictions on held-out units against the panel and its ceiling."""
    return replace(study, summary=summarise(study.exhibit))


def report(study: StudySoFar) -> StudySoFar:
    """Write the answers and calibrations beside the runs, and the page."""
    folder = study.plan.folder
    write_report_data(study.exhibit, folder)
    trials, pictures = made(study.trials), made(study.pictures)

    def encode(images: Images, rows: NDArray[np.int64]) -> list[str]:
        whole = np.array_equal(rows, trials.image_rows)
        return pictures.result() if whole else thumbnails(images, rows)

    page = write_page(
        study.exhibit, folder / "report.html", summary=made(study.summary), encode=encode
    )
    learned = None if study.learning is None else study.learning.result()
    return replace(study, page=page, learned=learned)


STEPS = (
    Step("trials", make_trials, "make the mini-benchmark and write it to disk"),
    Step("blind", blind, "hide names and answers, draw the sides"),
    Step("decide", decide, "let every observer answer every trial"),
    Step("learn", learn_parts, "learn from the panel how much each part counts"),
    Step("calibrate", calibrate_all, "fit choice models to the panel, units held out"),
    Step("score", score_all, "compare predictions with answers and ceilings"),
    Step("report", report, "draw the figures and write the page"),
)


def run_study(plan: Plan, *, tell: Callable[[Step], None] = lambda step: None) -> StudySoFar:
    """Walk through `STEPS`.

    Parameters
    ----------
    plan : Plan
    tell : callable
        Called with each step before it starts.

    Returns
    -------
    StudySoFar
        With every part filled.

    Raises
    ------
    InputError
        An unknown observer, or a folder that holds other runs.

    Examples
    --------
    >>> [step.name for step in STEPS]
    ['trials', 'blind', 'decide', 'learn', 'calibrate', 'score', 'report']
    """
    with beside(processes=plan.processes) as other:
        study = StudySoFar(plan, other=other)
        if plan.processes > 1:
            other.start(light_observers)  # its imports are done by the time it is needed
        for step in STEPS:
            tell(step)
            study = step.function(study)
    return replace(study, other=Beside())


def light_observers() -> tuple[str, ...]:
    """Names of all observers of this package that need no extra.

    Examples
    --------
    >>> "ssim" in light_observers()
    True
    """
    return tuple(name for name, card in cards().items() if card.extra is None)


def made(part: Part | None) -> Part:
    """A part of the study that an earlier step has made.

    Raises
    ------
    InputError
        If it has not.
    """
    if part is None:
        raise InputError("a step before this one is missing", do="walk through STEPS in order")
    return part


def _ideal_run(study: StudySoFar) -> ObserverRun:
    """The ideal observer's answers, written as any run's."""
    trials, key = made(study.trials), made(study.key)
    described = {"kind": "reference", "rule": "ideal", "version": 1}
    record = {
        "command": "demo",
        "observer": {
            "name": "ideal",
            "description": described,
            "fingerprint": sha256_json(described),
        },
        "trials": {"hash": trials.hash, "count": len(trials)},
        "seed": study.plan.seed,
        "versions": package_versions(),
        "git": git_state(),
        "simulated": trials.simulated,
    }
    decisions = ideal(trials, key)
    written = write_run(_place(study.plan, "ideal"), trials, decisions, record)
    return ObserverRun(decisions, written)


def _place(plan: Plan, name: str) -> Path:
    return plan.folder / "runs" / name
