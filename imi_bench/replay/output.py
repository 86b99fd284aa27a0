"""The folder a replay leaves: ``decisions.parquet``, ``trials.parquet``, ``run.json``.

``run.json`` is written last: a folder without it holds an unfinished run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imi_bench.documents import read_json
from imi_bench.errors import ImageError, InputError
from imi_bench.provenance import sha256_file, write_json, write_table
from imi_bench.replay.evidence import FILE as EVIDENCE_FILE
from imi_bench.replay.evidence import Evidence, read_evidence
from imi_bench.replay.run import Run
from imi_bench.stimuli.trial_files import read_trials, write_trials
from imi_bench.stimuli.trial_table import to_table
from imi_bench.tables import DecisionVariables, Trials
from imi_bench.tables.align import rows_of
from imi_bench.text import plural


def write_run(
    out: Path,
    trials: Trials,
    decisions: DecisionVariables,
    record: dict[str, Any],
    *,
    evidence: Evidence | None = None,
) -> dict[str, Any]:
    """Write a finished run; images that are files stay where they are, others are written too.

    Returns
    -------
    dict
        The record as written: with the hash of ``decisions.parquet`` and the folder that the
        image paths of ``trials.parquet`` are relative to.
    """
    refuse_foreign(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / _UNFINISHED).touch()
    image_root = _write_table(out, trials)
    (out / "run.json").unlink(missing_ok=True)
    write_table(out / "decisions.parquet", decisions.to_frame())
    (out / EVIDENCE_FILE).unlink(missing_ok=True)
    if evidence is not None:
        evidence.write(out)
    record = {
        **record,
        "trials": {
            **record["trials"],
            "image_root": image_root,
            "image_root_from_here": os.path.relpath(out / image_root, out.resolve()),
        },
        "decisions_sha256": sha256_file(out / "decisions.parquet"),
    }
    write_json(out / "run.json", record)
    (out / _UNFINISHED).unlink(missing_ok=True)
    return record


def folder_name(observer: str) -> str:
    """An observer's name as a folder's.

    Examples
    --------
    >>> folder_name("timm:resnet18?pretrained=false")
    'timm-resnet18-pretrained-false'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", observer)


_UNFINISHED = "run.unfinished"


def refuse_foreign(out: Path) -> None:
    """Refuse a folder with decisions or a trial table that no run of ours has left.

    Raises
    ------
    InputError
    """
    foreign = [n for n in ("trials.parquet", "decisions.parquet") if (out / n).exists()]
    if not foreign or (out / _UNFINISHED).is_file():
        return
    if "decisions_sha256" not in (read_record(out) or {}):
        raise InputError(
            "the folder holds files that no run has written",
            where=out,
            found=" and ".join(foreign),
            do="choose another out=: they would be overwritten",
        )


def _write_table(out: Path, trials: Trials) -> str:
    rows = trials.image_rows.tolist()
    sources = [trials.images.sources[row] for row in rows]
    files = _resolved([source for source in sources if isinstance(source, Path)])
    if not files or len(files) < len(sources):
        write_trials(trials, out)
        return "."
    folders = {file.parent for file in files}
    root = os.path.commonpath(folders)
    within = {folder: folder.relative_to(root) for folder in folders}
    names = [""] * len(trials.images)
    for row, file in zip(rows, files, strict=True):
        names[row] = (within[file.parent] / file.name).as_posix()
    write_table(out / "trials.parquet", to_table(trials, names))
    return root


def _resolved(files: Sequence[Path]) -> list[Path]:
    """The files without links on their ways; a folder is looked at once, not for each."""
    folders = {folder: folder.resolve() for folder in {file.parent for file in files}}
    places = [folders[file.parent] / file.name for file in files]
    return [place.resolve() if place.is_symlink() else place for place in places]


def read_run(out: Path, *, trials: Path | None = None) -> Run:
    """Read a finished run: all that a report needs.

    Parameters
    ----------
    out : Path
    trials : Path, optional
        Where its trials are now, as `imi_bench.stimuli.trial_files.read_trials` takes them. Without
        it their images are looked for where they were, and where they now are if run and trials
        were moved together.

    Raises
    ------
    InputError
        No finished run; a file that changed since; images that are gone or changed.
    """
    record = read_record(out)
    if record is None:
        raise InputError(
            "no finished run", where=out, wanted="run.json", do="run `imi-bench run --out` there"
        )
    try:
        about = record["trials"]
        root, trials_hash = _probed(out, about["image_root"]), about["hash"]
    except (KeyError, TypeError) as error:
        raise InputError(
            "not the record of a run", where=out / "run.json", found=error, wanted="trials"
        ) from error
    moved = _probed(out, str(about.get("image_root_from_here", "."))).resolve()
    decisions = _read_decisions(out, record)
    shown = _moved(trials, decisions) if trials is not None else _shown(out, root, moved)
    if shown.hash != trials_hash:
        raise InputError(
            "trials or images changed since the run",
            where=trials or out / "trials.parquet",
            found=shown.hash[:12],
            wanted=str(trials_hash)[:12],
            do="run again with force=True",
        )
    evidence = read_evidence(out, count=len(decisions))
    return Run(decisions, shown, record, evidence=evidence)


def _probed(out: Path, name: str) -> Path:
    """A folder that a record names, if the file system can be asked for it."""
    path = out / name
    try:
        path.is_dir()
        path.resolve()
    except (OSError, ValueError) as error:  # longer than any name, or of no encoding
        raise InputError(
            "not the record of a run",
            where=out / "run.json",
            found=f"folder {name[:40]!r}",
            wanted="a path",
        ) from error
    return path


def _shown(out: Path, root: Path, moved: Path) -> Trials:
    """The trials of a run, from the first place at which there are images."""
    table = out / "trials.parquet"
    if not root.is_dir() and not moved.is_dir():
        raise InputError(
            "the images of the run are gone",
            where=out,
            found=f"no folder {root}",
            do="say where the trials are now with trials=",
        )
    try:
        return read_trials(table, image_root=root if root.is_dir() else moved)
    except ImageError as error:
        if root.is_dir() and moved.is_dir() and moved != root.resolve():
            return read_trials(table, image_root=moved)
        raise ImageError(f"{error}; if they were moved, say where with trials=") from error


def _moved(path: Path, decisions: DecisionVariables) -> Trials:
    """The decided trials among those at another place."""
    found = read_trials(path)
    rows = rows_of(decisions.trial_id, among=found.index.trial_id)
    if (rows < 0).any():
        raise InputError(
            "not the trials of this run",
            where=path,
            found=f"no trial '{decisions.trial_id[int(np.argmin(rows))]}'",
            wanted=f"the {plural(len(rows), 'trial')} that the run answered",
        )
    return found.take(rows)


def find_finished(
    out: Path, identity: dict[str, Any], *, force: bool
) -> tuple[DecisionVariables, dict[str, Any]] | None:
    """The same run finished before, or None.

    Parameters
    ----------
    out : Path
    identity : dict
        Observer's fingerprint, hash of the trials, seed, and how codes are stored.
    force : bool
        Do not look.

    Raises
    ------
    InputError
        If the folder holds another run, or one that was changed.
    """
    if force or (record := read_record(out)) is None:
        return None
    try:
        before = {
            "observer": record["observer"]["fingerprint"],
            "trials": record["trials"]["hash"],
            "seed": record["seed"],
            "stored": record.get("stored", "as they come"),
        }
    except (KeyError, TypeError):
        before = {}
    if before != identity:
        other = [name for name in identity if before.get(name) != identity[name]]
        raise InputError(
            "the folder holds another run",
            where=out,
            found=f"different {', '.join(other)}",
            do="choose another out=, or replace it with force=True",
        )
    return _read_decisions(out, record), record


def recorded_decisions(out: Path) -> DecisionVariables:
    """Read the decisions of a folder, held against its ``run.json`` where it has one.

    Raises
    ------
    InputError
        As `DecisionVariables.read`, or if the file is not the one that the record speaks of.
    """
    record = read_record(out)
    return DecisionVariables.read(out) if record is None else _read_decisions(out, record)


def read_record(out: Path) -> dict[str, Any] | None:
    """Read ``run.json``; None where there is none.

    Raises
    ------
    InputError
        If it is no JSON object.
    """
    path = out / "run.json"
    if not path.is_file():
        return None
    try:
        record = read_json(path)
    except (OSError, ValueError) as error:
        raise InputError(
            "record cannot be read",
            where=path,
            found=error,
            wanted="JSON",
            do="choose another out=, or replace it with force=True",
        ) from error
    if not isinstance(record, dict):
        raise InputError("record cannot be read", where=path, wanted="a JSON object")
    return record


def _read_decisions(out: Path, record: dict[str, Any]) -> DecisionVariables:
    decisions = DecisionVariables.read(out)
    if sha256_file(out / "decisions.parquet") != record.get("decisions_sha256"):
        raise InputError(
            "decisions changed since the run",
            where=out / "decisions.parquet",
            wanted="the file that run.json speaks of",
            do="run again with force=True",
        )
    return decisions
