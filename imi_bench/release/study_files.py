"""Human answers on disk: the released CSV table, or our own Parquet tables.

Ours: ``responses.parquet`` with the columns of `Responses`, ``trials.parquet`` (or ``.csv``) with
those of `TrialIndex` beside it, and ``responses.json`` with ``simulated`` and ``source``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from imi_bench.arguments import checked
from imi_bench.documents import read_json
from imi_bench.errors import InputError, NotEnoughDataError
from imi_bench.provenance import write_json, write_table
from imi_bench.release.borowski import is_borowski, read_borowski
from imi_bench.release.fetch import stored
from imi_bench.release.pinned import BOROWSKI, table_path
from imi_bench.release.table import read_responses
from imi_bench.stimuli.trial_table import find_table
from imi_bench.tables import Responses, Study, TrialIndex
from imi_bench.tables.columns import column, require_columns
from imi_bench.tables.csv_files import read_named
from imi_bench.tables.parquet import read_parquet

__all__ = [
    "AnswersLike",
    "answers_path",
    "read_answers",
    "read_responses_table",
    "read_study",
    "write_responses",
    "write_study",
]

AnswersLike: TypeAlias = "str | Path | pd.DataFrame | Study"
FETCHED = "imi"

_SLOWEST_HALF = 300.0
"""Seconds: nobody looks at half of all trials for five minutes."""


def read_answers(answers: AnswersLike) -> Study:
    """Take human answers from wherever they are.

    Parameters
    ----------
    answers : str, Path, DataFrame or Study
        ``"imi"`` for the fetched tables; ``"borowski2021"`` or ``"borowski2021-II"`` for the
        fetched forerunner's; a released (or simulated) ``.csv``;
        ``responses.parquet`` or a folder that holds it; a table with one row an answer and the
        columns of `Study.to_frame` (`chose_first`, `confidence` and `seconds` may be missing; a
        column `simulated` says that answers are made up).

    Raises
    ------
    InputError
        If there are none, or a table lacks a column.
    ResponseError
        A released table that breaks its schema.

    Examples
    --------
    >>> from imi_bench.simulation.demo import demo_data
    >>> _, people = demo_data(n_networks=1, n_batches=1, n_scenes=200, size=16)
    >>> read_answers(people.to_frame()).hash == people.hash
    True
    """
    if isinstance(answers, Study):
        return answers
    if isinstance(answers, pd.DataFrame):
        return _from_frame(answers)
    if not isinstance(answers, str | Path):
        raise InputError(
            "not human answers",
            found=type(answers).__name__,
            wanted="a path, `imi` for the fetched ones, a table, or a Study",
        )
    return read_study(answers_path(answers))


@checked
def answers_path(answers: str | Path) -> Path:
    """The file or folder meant; ``imi`` is the fetched table of all answers, or the largest.

    ``borowski2021`` is the fetched table of the forerunner's experiment I, ``borowski2021-II`` of
    its experiment II.

    Raises
    ------
    InputError
        If there is none.
    """
    if str(answers) == FETCHED:
        tables = [one.path for one in stored()]
        return max(tables, key=lambda one: ("all" in one.name, one.stat().st_size))
    if str(answers) in (BOROWSKI, f"{BOROWSKI}-II"):
        return table_path(str(answers))[0]
    path = Path(answers)
    if not path.exists():
        raise InputError(
            "no such file", where=path, wanted=f"human answers, or `{FETCHED}` for the fetched ones"
        )
    return path


def _one_of(path: Path) -> str:
    """Which tables a folder holds, one of which may be meant."""
    tables = sorted(one.name for one in path.glob("*.csv")) if path.is_dir() else []
    return f"give one of its tables: {', '.join(tables)}" if tables else ""


def _from_frame(frame: pd.DataFrame) -> Study:
    optional = ("chose_first", "confidence", "seconds")
    needed = [name for name in Responses._KINDS if name not in optional]
    given = [name for name in (*optional, "simulated") if name in frame]
    require_columns(frame, (*TrialIndex._KINDS, *needed, *given), where="answers")
    columns = {name: frame[name].to_numpy() for name in needed}
    columns |= {
        name: frame[name].to_numpy() if name in frame else np.full(len(frame), np.nan)
        for name in optional
    }
    if frame.empty:
        raise NotEnoughDataError("no answers", found="a table without rows")
    told = frame["simulated"].to_numpy() if "simulated" in frame else np.zeros(1, dtype=bool)
    simulated = bool(column(told, np.bool_, name="simulated").any())
    shown = {
        name: column(frame[name].to_numpy(), kind, name=name)
        for name, kind in TrialIndex._KINDS.items()
    }
    _in_seconds(columns["seconds"], where="answers")
    index = TrialIndex.from_frame(pd.DataFrame(shown).drop_duplicates())
    made_up = "simulated answers" if simulated else "answers"
    responses = Responses(**columns, simulated=simulated, source=f"{made_up} of a table in memory")
    return Study(index, responses)


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
        return read_borowski(path).study() if is_borowski(path) else read_responses(path)
    table = path / "responses.parquet" if path.is_dir() else path
    if not table.is_file():
        raise InputError(
            "no human answers",
            where=path,
            wanted="a released .csv, responses.parquet, or a folder that holds the latter",
            do=_one_of(path),
        )
    shown = find_table(table.parent)
    if shown is None:
        raise InputError(
            "answers without their trials", where=table, wanted="trials.parquet beside it"
        )
    responses = read_responses_table(table)
    return Study(TrialIndex.from_frame(_read_table(shown)), responses)


def read_responses_table(table: Path, *, origin_required: bool = False) -> Responses:
    """Read ``responses.parquet`` and, beside it, ``responses.json``, which says where from.

    Parameters
    ----------
    table : Path
        The Parquet file.
    origin_required : bool
        Refuse answers of which nothing says whether they are simulated: for folders that we wrote
        ourselves. Elsewhere they count as people's, and their `source` says that nothing said so.

    Raises
    ------
    InputError
        Not a table, columns missing, no JSON object beside it.
    """
    answers, about = _read_table(table), _about(table)
    require_columns(answers, Responses._KINDS, where=table)
    if origin_required and not about.keys() >= {"simulated", "source"}:
        raise InputError(
            "answers of unknown origin",
            where=table.with_suffix(".json"),
            found=", ".join(about) or "nothing",
            wanted="simulated, source",
        )
    _in_seconds(answers["seconds"].to_numpy(), where=table)
    unsaid = f"{table} (nothing beside it says whether people gave them)"
    return Responses(
        **{name: answers[name].to_numpy() for name in Responses._KINDS},
        simulated=bool(about.get("simulated", False)),
        source=str(about.get("source", table if "simulated" in about else unsaid)),
    )


def write_responses(responses: Responses, folder: Path) -> None:
    """Write ``responses.parquet`` and ``responses.json`` into `folder`."""
    write_table(folder / "responses.parquet", responses.to_frame())
    about = {"simulated": responses.simulated, "source": responses.source}
    write_json(folder / "responses.json", about)


def write_study(study: Study, folder: Path) -> None:
    """Write ``trials.parquet``, ``responses.parquet`` and ``responses.json`` into `folder`."""
    write_table(folder / "trials.parquet", study.trials.to_frame())
    write_responses(study.responses, folder)


def _read_table(path: Path) -> pd.DataFrame:
    return read_named(path) if path.suffix == ".csv" else read_parquet(path)


def _in_seconds(values: object, *, where: object) -> None:
    """Refuse a whole table's times where half of them are above `_SLOWEST_HALF`."""
    seconds = column(values, np.float64, name="seconds")
    given = seconds[~np.isnan(seconds)]
    if len(given) and (half := float(np.median(given))) > _SLOWEST_HALF:
        raise InputError(
            "times that can only be milliseconds",
            where=f"{where}, column 'seconds'",
            found=f"half of them above {half:,.0f}",
            wanted="seconds",
            do="divide them by 1,000",
        )


def _about(table: Path) -> dict[str, Any]:
    beside = table.with_suffix(".json")
    if not beside.is_file():
        return {}
    try:
        return dict(read_json(beside))
    except (ValueError, TypeError) as error:
        raise InputError("not a JSON object", where=beside, found=error) from error
