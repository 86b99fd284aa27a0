"""Our own table of trials, as Parquet or CSV, with the images beside it.

One row a trial: the columns of `TrialIndex`; image paths relative to the table's folder in
``positive_0 … positive_8``, ``negative_0 … negative_8``, ``query_positive``, ``query_negative``;
optional ``activation_positive``, ``activation_negative`` (the unit's activation on the queries)
and ``simulated``. ``trial_id`` may be left out: it is then built from the other columns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imi_bench.arrays import Floats
from imi_bench.errors import InputError, NotEnoughDataError, TrialError
from imi_bench.provenance import atomic_path, write_table
from imi_bench.stimuli.folders import Findings, path_inside
from imi_bench.tables import TrialIndex, Trials
from imi_bench.tables.csv_files import read_named
from imi_bench.tables.parquet import read_parquet

NAMES = ("trials.parquet", "trials.csv")
_QUERIES = ("query_positive", "query_negative")
_AT_ONCE = 8
"""Images that are written at a time: most of it is waiting until the disk has them."""
_TRUTH = {"true": True, "false": False, "1": True, "0": False}
_ACTIVATIONS = ("activation_positive", "activation_negative")


@dataclass(frozen=True, eq=False)
class TableCells:
    """A table of trials whose images are still paths.

    Attributes
    ----------
    frame : DataFrame
        T rows with the columns of `TrialIndex`.
    paths : (T, 2K + 2) object
        `Path` of positive references, negative references, q+ and q-.
    activations : (T, 2) float64 or None
    simulated : bool
    """

    frame: pd.DataFrame
    paths: NDArray[np.object_]
    activations: Floats | None = None
    simulated: bool = False


def find_table(path: Path) -> Path | None:
    """The table at `path`: the file itself, or the one a folder holds; None if there is none."""
    if path.is_file():
        return path
    return next((path / name for name in NAMES if (path / name).is_file()), None)


def read_table(path: Path, *, image_root: Path | None, findings: Findings) -> TableCells:
    """Read our own table.

    Raises
    ------
    TrialError
        Not a table, columns missing, values of the wrong type, paths that leave `image_root`.
    """
    frame = _read_frame(path)
    positive, negative = _numbered(frame, "positive", path), _numbered(frame, "negative", path)
    wanted = [name for name in TrialIndex._KINDS if name != "trial_id"]
    missing = [name for name in (*wanted, *_QUERIES) if name not in frame.columns]
    if len(positive) != len(negative):
        found = f"{len(positive)} positive and {len(negative)} negative"
        raise TrialError("unequal numbers of references", where=path, found=found, wanted="equal")
    if missing:
        raise TrialError(
            "missing columns",
            where=path,
            found=", ".join(map(str, frame.columns)),
            wanted=", ".join(missing),
        )
    if not len(frame):
        raise NotEnoughDataError("no trials", where=path, found="0 rows", wanted="1 or more")
    _check_types(frame, path)
    if "trial_id" not in frame.columns:
        frame.insert(0, "trial_id", TrialIndex.canonical_ids(frame))
    cells = frame[[*positive, *negative, *_QUERIES]]
    root = (image_root or path.parent).resolve()
    paths, keep = _resolve(cells, frame["trial_id"], path, root, findings)
    known = all(name in frame.columns for name in _ACTIVATIONS)
    return TableCells(
        frame=frame.loc[keep, list(TrialIndex._KINDS)].reset_index(drop=True),
        paths=paths[keep],
        activations=frame.loc[keep, list(_ACTIVATIONS)].to_numpy(np.float64) if known else None,
        simulated="simulated" in frame.columns and bool(frame["simulated"].any()),
    )


TrialsLike: TypeAlias = "str | Path | TrialIndex | Trials"


def read_index(source: TrialsLike) -> TrialIndex:
    """What trials are about, without their images.

    Parameters
    ----------
    source : str, Path, TrialIndex or Trials
        A table of trials, or the folder that holds one; trials in memory.

    Raises
    ------
    InputError
        No table, not a table.
    TrialError
        As `TrialIndex`.
    """
    if isinstance(source, TrialIndex):
        return source
    if isinstance(source, Trials):
        return source.index
    if not isinstance(source, str | PathLike):
        raise InputError(
            "no trials", found=type(source).__name__, wanted="a path, or trials in memory"
        )
    table = find_table(Path(source))
    if table is None:
        raise InputError("no trial table", where=source, wanted=" or ".join(NAMES))
    return TrialIndex.from_frame(_read_frame(table))


def _read_frame(path: Path) -> pd.DataFrame:
    if path.suffix == ".parquet":
        return read_parquet(path, error=TrialError)
    if path.suffix != ".csv":
        raise TrialError(
            "not a table of trials", where=path, found=f"'{path.suffix}'", wanted=".parquet or .csv"
        )
    return read_named(path, error=TrialError)


def _numbered(frame: pd.DataFrame, side: str, path: Path) -> list[str]:
    """``positive_0 …`` in order of their numbers."""
    numbers = sorted(
        int(match[1])
        for name in frame.columns
        if (match := re.fullmatch(rf"{side}_(\d{{1,4}})", str(name)))
    )
    if not numbers or numbers != list(range(len(numbers))):
        raise TrialError(
            f"columns of {side} references",
            where=path,
            found=numbers or "none",
            wanted=f"{side}_0, {side}_1, …: paths of the images (a table without them, such as a "
            "board's, can be scored but not run)",
        )
    return [f"{side}_{number}" for number in numbers]


def _check_types(frame: pd.DataFrame, path: Path) -> None:
    """Refuse what numpy would turn into something else: 'no' into True, 2.5 into 2."""

    def refuse(name: str, bad: pd.Series, wanted: str) -> None:
        if bad.any():
            row = int(np.flatnonzero(bad.to_numpy())[0])
            raise TrialError(
                f"bad value in column '{name}'",
                where=f"{path}, row {row}",
                found=repr(frame[name].iloc[row]),
                wanted=wanted,
            )

    for name in ("unit", "batch"):
        numbers = pd.to_numeric(frame[name], errors="coerce")
        refuse(name, ~(numbers % 1 == 0), "a whole number")
        frame[name] = numbers.astype(np.int64)
    for name in ("catch", "simulated"):
        if name in frame.columns:
            said = frame[name].astype(str).str.lower().map(_TRUTH)
            refuse(name, said.isna(), "True or False")
            frame[name] = said.astype(bool)
    for name in ("trial_id", "network", "layer", "mode", "difficulty"):
        if name in frame.columns:
            refuse(name, frame[name].isna(), "text")
    for name in _ACTIVATIONS:
        if name in frame.columns:
            numbers = pd.to_numeric(frame[name], errors="coerce")
            refuse(name, numbers.isna() & frame[name].notna() | np.isinf(numbers), "a number")
            frame[name] = numbers


def _resolve(
    cells: pd.DataFrame, trial_ids: pd.Series, table: Path, root: Path, findings: Findings
) -> tuple[NDArray[np.object_], NDArray[np.bool_]]:
    codes, distinct = pd.factorize(cells.to_numpy(dtype=object).ravel(), use_na_sentinel=False)
    where = codes.reshape(cells.shape)
    paths = np.empty(len(distinct), dtype=object)
    keep = np.ones(len(cells), dtype=bool)
    for code, name in enumerate(distinct):
        try:
            paths[code] = path_inside(root, name, where=table)
        except InputError as error:
            rows, columns = np.nonzero(where == code)
            place = f"{table}, row {rows[0]}, column '{cells.columns[columns[0]]}'"
            named = TrialError(error.what, where=place, found=error.found, wanted=error.wanted)
            for row in np.unique(rows[keep[rows]]):
                findings.bad(trial_ids.iloc[row], named)
                keep[row] = False
    return paths[where], keep


def to_table(trials: Trials, names: Sequence[str]) -> pd.DataFrame:
    """Our own table of some trials.

    Parameters
    ----------
    trials : Trials
    names : sequence of str
        Relative path of each row of ``trials.images``.
    """
    frame = trials.index.to_frame()
    path_of = np.array(list(names), dtype=object)
    for side in ("positive", "negative"):
        for number, rows in enumerate(getattr(trials, side).T):
            frame[f"{side}_{number}"] = path_of[rows]
    for column, name in enumerate(_QUERIES):
        frame[name] = path_of[trials.queries[:, column]]
    if trials.query_activations is not None:
        for column, name in enumerate(_ACTIVATIONS):
            frame[name] = trials.query_activations[:, column]
    frame["simulated"] = trials.simulated
    return frame


def write_trials(trials: Trials, folder: Path) -> Path:
    """Write trials and copies of their images in our own layout.

    ``folder/images/HASH.png`` (or the suffix of the file it was), then ``folder/trials.parquet``;
    `read_trials` of either gives equal trials with the same hash.

    Returns
    -------
    Path
        The table.

    Raises
    ------
    ImageError
        If an image cannot be read or changed since it was hashed.
    """
    names = [""] * len(trials.images)

    def write(row: int) -> None:
        source = trials.images.sources[row]
        suffix = source.suffix if isinstance(source, Path) else ".png"
        names[row] = f"images/{trials.images.hashes[row]}{suffix}"
        target = folder / names[row]
        if not target.is_file():
            with atomic_path(target) as temporary:
                temporary.write_bytes(trials.images.file_bytes(row))

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(write, trials.image_rows.tolist()):
            pass
    table = folder / NAMES[0]
    write_table(table, to_table(trials, names))
    return table


__all__ = ["NAMES", "TableCells", "find_table", "read_table", "to_table", "write_trials"]
