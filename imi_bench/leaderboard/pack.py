"""Making a submission: from the output of a run to a folder, from a folder to a zip."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import tomli_w

from imi_bench.errors import InputError
from imi_bench.leaderboard.archive import LIMITS, OPTIONAL_LIMITS
from imi_bench.provenance import atomic_path, write_json

_EPOCH = (1980, 1, 1, 0, 0, 0)
_LOCAL = ("cache", "image_root", "path", "folder")
_EVIDENCE = ("trial_id", "observer", "decision_variable", "status", "shown_first", "seconds")


def new(run: Path, *, out: Path, declared: Mapping[str, Any]) -> Path:
    """Write a submission folder from the output folder of ``imi-bench run``.

    Parameters
    ----------
    run : Path
        Holds ``decisions.parquet`` and ``run.json``.
    out : Path
        Must not exist yet.
    declared : mapping
        The fields of ``submission.toml`` (see `imi_bench.leaderboard.submission.Declaration`);
        nested tables as mappings. None values are left out.

    Raises
    ------
    InputError
        If the run is incomplete or `out` exists.
    """
    if out.exists():
        raise InputError("folder exists", where=out, do="choose another --out, or remove it")
    for name in ("decisions.parquet", "run.json"):
        if not (run / name).is_file():
            raise InputError("not the output of a run", where=run, wanted=name)
    frame = pd.read_parquet(run / "decisions.parquet")
    if "observer" in frame and (slug := slugify(str(frame["observer"].iloc[0]))):
        declared = {"name": slug, **declared}
    with atomic_path(out / "decisions.parquet") as temporary:
        kept = [name for name in _EVIDENCE if name in frame.columns]
        frame[kept].to_parquet(temporary, index=False, compression="zstd")
    write_json(out / "run.json", _portable(json.loads((run / "run.json").read_text("utf-8"))))
    with atomic_path(out / "submission.toml") as temporary:
        temporary.write_text(tomli_w.dumps(_without_none({"format": 1, **declared})), "utf-8")
    return out


def pack(folder: Path, *, out: Path | None = None) -> Path:
    """Zip a submission folder; the same files always give the same bytes.

    Raises
    ------
    InputError
        If one of the three files is missing.
    """
    target = out or folder.with_name(folder.name + ".zip")
    names = [n for n in (*LIMITS, *OPTIONAL_LIMITS) if (folder / n).is_file()]
    if missing := [name for name in LIMITS if name not in names]:
        raise InputError("not a submission", where=folder, wanted=", ".join(missing))
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
