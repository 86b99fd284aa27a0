"""Making a submission: from the output of a run to a folder, from a folder to a zip."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import tomli_w

from imi_bench.arguments import checked
from imi_bench.documents import read_json, read_toml
from imi_bench.errors import InputError
from imi_bench.leaderboard.archive import LIMITS, OPTIONAL_LIMITS, hashes, read_files
from imi_bench.provenance import atomic_path, write_json, write_text
from imi_bench.tables import TrialIndex
from imi_bench.tables.fitted_on import FittedOn
from imi_bench.tables.parquet import read_parquet
from imi_bench.text import plural

_EPOCH = (1980, 1, 1, 0, 0, 0)
_LOCAL = ("cache", "image_root", "path", "folder")
_EVIDENCE = ("trial_id", "observer", "decision_variable", "status", "shown_first", "seconds")


def new(
    run: Path | Sequence[Path], *, out: Path, declared: Mapping[str, Any], with_trials: bool = False
) -> Path:
    """Write a submission folder from the output folder of ``imi-bench run``.

    Parameters
    ----------
    run : Path, or sequence of Path
        Holds ``decisions.parquet`` and ``run.json``. Several for a board of measures: a run of
        each observer that is learnt from.
    out : Path
        Must not exist yet.
    declared : mapping
        The fields of ``submission.toml`` (see `imi_bench.leaderboard.submission.Declaration`);
        nested tables as mappings. None values are left out.
    with_trials : bool
        Also take what the run's ``trials.parquet`` says of its trials (boards of networks).

    Raises
    ------
    InputError
        If the run is incomplete or `out` exists.
    """
    if out.exists():
        raise InputError("folder exists", where=out, do="choose another out=, or remove it")
    runs = [run] if isinstance(run, Path) else list(run)
    if with_trials and len(runs) > 1:
        raise InputError("several runs for a board of networks", wanted="one folder of the panel")
    needed = ["decisions.parquet", "run.json", *(["trials.parquet"] if with_trials else [])]
    for folder in runs:
        for name in needed:
            if not (folder / name).is_file():
                raise InputError("not the output of a run", where=folder, wanted=name)
    read = [_evidence_of(folder) for folder in runs]
    frame = pd.concat([one for one, _ in read], ignore_index=True)
    if "observer" in frame and len(runs) == 1:
        if slug := slugify(str(frame["observer"].iloc[0])):
            declared = {"name": slug, **declared}
    elif "name" not in declared:
        raise InputError("a measure of several observers has no name", do="give name=")
    with atomic_path(out / "decisions.parquet") as temporary:
        frame.to_parquet(temporary, index=False, compression="zstd")
    if with_trials:
        index = TrialIndex.from_frame(read_parquet(runs[0] / "trials.parquet")).to_frame()
        with atomic_path(out / "trials.parquet") as temporary:
            index.to_parquet(temporary, index=False, compression="zstd")
    records = [_portable(record) for _, record in read]
    write_json(out / "run.json", records[0] if len(runs) == 1 else {"parts": records})
    write_text(out / "submission.toml", tomli_w.dumps(_without_none({"format": 1, **declared})))
    return seal(out)


def _evidence_of(run: Path) -> tuple[pd.DataFrame, Any]:
    frame = read_parquet(run / "decisions.parquet")
    record = read_json(run / "run.json")
    _require_statement(frame, record, where=run)
    frame = frame[[name for name in _EVIDENCE if name in frame.columns]]
    frame.attrs = {}  # the record says it
    return frame, record


def _require_statement(frame: pd.DataFrame, record: object, *, where: Path) -> None:
    """Refuse decisions of a fitted observer beside the record of another run."""
    known = FittedOn.of({"fitted_on": frame.attrs.get("fitted_on")})
    if known is None:
        return
    told = FittedOn.of(record)
    if told is None or not known.units <= told.units:
        raise InputError(
            "run.json is not of these decisions",
            where=where,
            found=f"decisions fitted on {plural(len(known.units), 'unit')} that the "
            f"record does not name",
            do="take both files from one run",
        )


def seal(folder: Path) -> Path:
    """Write the hash of every file of a submission into its ``submission.toml``."""
    path = folder / "submission.toml"
    table = read_toml(path)
    table["files"] = hashes(read_files(folder)[0])
    write_text(path, tomli_w.dumps(table))
    return folder


@checked
def pack(folder: Path, *, out: Path | None = None, reseal: bool = False) -> Path:
    """Zip a submission folder; the same files always give the same bytes.

    Parameters
    ----------
    folder : Path
    out : Path, optional
        By default beside the folder.
    reseal : bool
        Take the files as they are, where they are not those whose hashes the submission holds.

    Raises
    ------
    InputError
        If one of the three files is missing, or is another than the one that was sealed.
    """
    target = out or folder.with_name(folder.name + ".zip")
    names = [n for n in (*LIMITS, *OPTIONAL_LIMITS) if (folder / n).is_file()]
    if missing := [name for name in LIMITS if name not in names]:
        raise InputError("not a submission", where=folder, wanted=", ".join(missing))
    sealed = read_toml(folder / "submission.toml").get("files")
    if sealed is None or reseal:
        seal(folder)
    elif sealed != hashes(read_files(folder)[0]):
        raise InputError(
            "files are not those the submission was made with",
            where=folder,
            do="make it again by `imi-bench submit new`, or give reseal=True if it is meant",
        )
    with (
        atomic_path(target) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name in names:
            entry = zipfile.ZipInfo(f"{slugify(folder.name) or 'submission'}/{name}", _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, (folder / name).read_bytes())
    return target


def slugify(text: str) -> str:
    """Lower case letters, digits, dot, dash and underscore only, at most 64.

    Examples
    --------
    >>> slugify("timm:test_resnet?checkpoint=a b")
    'timm-test_resnet-checkpoint-a-b'
    """
    return re.sub(r"[^a-z0-9._]+", "-", text.lower()).strip("-._")[:64]


def _portable(record: Any) -> Any:
    """Provenance without the folders of the machine it was made on."""
    if isinstance(record, list):
        return [_portable(part) for part in record]
    if not isinstance(record, dict):
        return record
    return {name: _portable(part) for name, part in record.items() if name not in _LOCAL}


def _without_none(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_none(value) if isinstance(value, Mapping) else value
        for name, value in table.items()
        if value is not None
    }
