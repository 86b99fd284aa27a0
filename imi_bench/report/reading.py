"""Finding and reading what a report is about.

That is the folder of a whole study, such as that of ``imi-bench demo`` (``study.json``,
``trials.parquet``, ``responses.parquet``, ``runs/*``), or runs: one folder, several, or a folder
that holds some. Answers of people may come from elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from imi_bench.choice.calibrate import calibrate
from imi_bench.choice.calibration import Calibration
from imi_bench.documents import read_json
from imi_bench.errors import InputError, NotComparableError
from imi_bench.observers.reference import Chance, OneSide, ideal
from imi_bench.release.study_files import AnswersLike, read_answers, read_responses_table
from imi_bench.replay.output import read_record, read_run
from imi_bench.replay.run import Run
from imi_bench.report.contents import STUDY_FILE, ObserverRun, ReportData
from imi_bench.stimuli.trial_files import read_trials
from imi_bench.tables import DecisionVariables, Study, Trials
from imi_bench.text import plural

__all__ = ["read_report_data"]

# What else our verbs leave in folders, and which verb reads it.
_OTHERS = (
    ("scores.parquet", "machine interpretability scores", "`imi-bench mis` prints them again"),
    ("submission.toml", "a submission", "`imi-bench submit validate` reads it"),
    ("board.toml", "a leaderboard", "`imi-bench leaderboard build --site DIR` makes its pages"),
    ("effects.json", "effects", "`effects.png` there is their figure"),
    ("responses.parquet", "human answers", "give them as responses= beside runs"),
    ("activations.json", "activations", "`imi-bench stimuli build` reads them"),
    ("trials.parquet", "trials", "`imi-bench run --trials` lets an observer answer them"),
    ("index.json", "trials", "`imi-bench run --trials` lets an observer answer them"),
)


def read_report_data(
    folders: Path | Sequence[Path | Run],
    *,
    responses: AnswersLike | None = None,
    trials: Path | None = None,
    seed: int = 0,
) -> ReportData:
    """Read what a demo or runs left in their folders.

    Parameters
    ----------
    folders : Path or sequence of Path or Run
        A study's folder, runs' folders, or folders that hold runs' folders; or runs in memory.
    responses : optional
        Human answers to these trials, as `imi_bench.release.study_files.read_answers` takes them:
        each observer is then calibrated to them, units held out.
    trials : Path, optional
        Where the trials are now, if they were moved.
    seed : int
        Of folds and resampling.

    Raises
    ------
    InputError
        If a folder holds neither, or a file of it is missing, damaged or changed.
    NotComparableError
        Runs on different trials; answers to none of these trials.
    """
    given: list[Path | Run] = [folders] if isinstance(folders, Path) else list(folders)
    if len(given) == 1 and isinstance(given[0], Path) and (given[0] / STUDY_FILE).is_file():
        data = _read_study(given[0])
        return data if responses is None else _with_answers(data, responses, seed=seed)
    read: list[Run] = []
    places: list[str] = []
    for one in given:
        if isinstance(one, Run):
            read.append(one)
            places.append(f"run {len(read)}")
            continue
        for place in _runs_in(one):
            read.append(read_run(place, trials=trials))
            places.append(place.name)
    own = [ObserverRun(one.decisions, one.record, evidence=one.evidence) for one in read]
    if len({one.name for one in own}) < len(own):
        named = [f"{one.name} ({place})" for one, place in zip(own, places, strict=True)]
        own = [
            replace(one, decisions=replace(one.decisions, observer=name))
            for one, name in zip(own, named, strict=True)
        ]
    known = {one.name for one in own}
    references = _references(read[0].trials, seed=int(read[0].record.get("seed", 0)))
    runs = (*own, *(one for one in references if one.name not in known))
    title = (
        f"The answers of {own[0].name}"
        if len(own) == 1
        else f"{plural(len(own), 'observer')}' answers"
    )
    data = ReportData(title, read[0].trials, runs, seed=seed)
    return data if responses is None else _with_answers(data, responses, seed=seed)


def _runs_in(folder: Path) -> list[Path]:
    """The folder itself, or the runs that it holds."""
    if (read_record(folder) or {}).get("command") == "run" or (
        folder / "decisions.parquet"
    ).exists():
        return [folder]
    inside = sorted(p.parent for p in [*folder.glob("*/run.json"), *folder.glob("runs/*/run.json")])
    if runs := [place for place in inside if (place / "decisions.parquet").is_file()]:
        return runs
    for name, kind, verb in _OTHERS:
        if (folder / name).is_file():
            raise InputError("no run to report on", where=folder, found=f"{kind} ({name})", do=verb)
    raise InputError(
        "nothing to report on",
        where=folder,
        found="no such folder" if not folder.exists() else "no file of ours",
        wanted=f"run.json or {STUDY_FILE}",
        do="give the folder that `imi-bench demo` or `imi-bench run` wrote",
    )


def _with_answers(data: ReportData, responses: AnswersLike, *, seed: int) -> ReportData:
    """The same with people's answers, and each observer calibrated to them, units held out."""
    study = read_answers(responses)
    shared = np.isin(study.responses.trial_id, data.trials.index.trial_id)
    if not shared.any():
        raise NotComparableError(
            "the answers are to other trials",
            found=f"{plural(len(study.responses), 'answer')}, such as to "
            f"'{study.responses.trial_id[0]}'",
            wanted=f"trials such as '{data.trials.index.trial_id[0]}'",
            do="give the answers to the trials that the observers were shown",
        )
    here = np.isin(study.trials.trial_id, data.trials.index.trial_id)
    kept = Study(study.trials.take(here), study.responses.take(shared))
    runs = tuple(
        replace(run, calibration=calibrate(run.decisions, kept, seed=seed)) for run in data.runs
    )
    return replace(data, study=kept, runs=runs, seed=seed)


def _references(trials: Trials, *, seed: int) -> list[ObserverRun]:
    """Chance, one side, and the ideal observer where activations are known, on the same sides."""
    blind = trials.blind(seed=seed)
    if blind.key is None:
        return []
    shown = blind.without_key()
    found = [
        DecisionVariables.from_values(observer.decide(shown), observer=observer.name, key=blind.key)
        for observer in (Chance(), OneSide())
    ]
    if trials.query_activations is not None and np.isfinite(trials.query_activations).all():
        found.append(ideal(trials, blind.key))
    return [ObserverRun(decisions) for decisions in found]


def _read_study(folder: Path) -> ReportData:
    about = read_json(folder / STUDY_FILE)
    trials = read_trials(folder / "trials.parquet")
    try:
        places = [folder / "runs" / name for name in about["runs"]]
        facts = {name: about[name] for name in ("title", "unit_notes", "skipped", "seed")}
    except (KeyError, TypeError) as error:
        raise InputError(
            "not the record of a study", where=folder / STUDY_FILE, found=error
        ) from error
    study = None
    if (folder / "responses.parquet").is_file():
        answers = read_responses_table(folder / "responses.parquet", origin_required=True)
        study = Study(trials.index, answers)
    return ReportData(trials=trials, runs=tuple(map(_read_run, places)), study=study, **facts)


def _read_run(place: Path) -> ObserverRun:
    run, known = read_run(place), place / "calibration.json"
    calibration = Calibration.read(known) if known.is_file() else None
    return ObserverRun(run.decisions, run.record, calibration, run.evidence)
