"""Human answers on disk: the released CSV table, or our own Parquet tables.

Ours: ``responses.parquet`` with the columns of `Responses`, ``trials.parquet`` (or ``.csv``) with
those of `TrialIndex` beside it, and ``responses.json`` with ``simulated`` and ``source``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from imi_bench.errors import InputError
from imi_bench.provenance import atomic_path, write_json
from imi_bench.release.table import read_responses
from imi_bench.stimuli.trial_table import find_table
from imi_bench.tables import Responses, Study, TrialIndex

__all__ = ["read_study", "write_study"]


def read_study(path: Path) -> Study:
    """Read a study, whichever of the two forms it has.

    Parameters
    ----------
    path : Path
        A released (or simulated) ``.csv``; ``responses.parquet``; or a folder with it.

    Raises
    ------
    InputError
        Nothing there, not a table, columns missing, or anything the tables refuse.
    ResponseError
        A released table that breaks its schema.
    """
    if path.suffix == ".csv":
        return read_responses(path)
    table = path / "responses.parquet" if path.is_dir() else path
    if not table.is_file():
        raise InputError(
            "no human answers",
            where=path,
            wanted="a released .csv, responses.parquet, or a folder that holds it",
        )
    answers = _read_table(table)
    shown = find_table(table.parent)
    if shown is None:
        raise InputError(
            "answers without their trials", where=table, wanted="trials.parquet beside it"
        )
    missing = [name for name in Responses._KINDS if name not in answers.columns]
    if missing:
        raise InputError(
            "missing columns",
            where=table,
            found=", ".join(map(str, answers.columns)),
            wanted=", ".join(missing),
        )
    about = _about(table)
    responses = Responses(
        **{name: answers[name].to_numpy() for name in Responses._KINDS},
        simulated=bool(about.get("simulated", False)),
        source=str(about.get("source", table)),
    )
    return Study(TrialIndex.from_frame(_read_table(shown)), responses)


def write_study(study: Study, folder: Path) -> None:
    """Write ``trials.parquet``, ``responses.parquet`` and ``responses.json`` into `folder`."""
    tables = {"trials": study.trials.to_frame(), "responses": study.responses.to_frame()}
    for name, frame in tables.items():
        with atomic_path(folder / f"{name}.parquet") as temporary:
            frame.to_parquet(temporary, index=False)
    about = {"simulated": study.responses.simulated, "source": study.responses.source}
    write_json(folder / "responses.json", about)


def _read_table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError("not a table", where=path, found=error) from error


def _about(table: Path) -> dict[str, Any]:
    beside = table.with_suffix(".json")
    if not beside.is_file():
        return {}
    try:
        return dict(json.loads(beside.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError("not a JSON object", where=beside, found=error) from error
