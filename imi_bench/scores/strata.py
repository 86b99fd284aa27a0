"""Splitting trials by mode, difficulty, network, or anything known of their layer or unit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from imi_bench.errors import InputError, UnknownNameError
from imi_bench.tables import DIFFICULTIES, MODES, TrialIndex
from imi_bench.tables.columns import whole_units
from imi_bench.tables.csv_files import read_named
from imi_bench.tables.parquet import read_parquet
from imi_bench.text import padded_twins

__all__ = ["DEPTHS", "levels", "read_columns", "stratum_labels"]

BUILT_IN = ("mode", "difficulty", "network")
DEPTHS = ("first third", "second third", "last third")
_KEYS = ("network", "layer", "unit")


def read_columns(columns: str | Path | pd.DataFrame) -> pd.DataFrame:
    """A table of what is known of layers or units, as it is or from a CSV or Parquet file.

    Names of networks and layers stay text, even where they look like numbers; missing are ``NA``
    and the empty field alone.

    Raises
    ------
    InputError
        If the file is no such table.
    """
    if isinstance(columns, pd.DataFrame):
        return columns
    if Path(columns).suffix.lower() == ".parquet":
        return read_parquet(Path(columns))
    return read_named(columns)


def stratum_labels(
    index: TrialIndex, by: str, *, columns: pd.DataFrame | None = None
) -> NDArray[np.object_]:
    """(T,) label of each trial.

    Parameters
    ----------
    index : TrialIndex
    by : str
        ``mode``, ``difficulty``, ``network``, or the name of a column.
    columns : DataFrame, optional
        One row a layer (or unit): keys ``network, layer`` (and ``unit``), and any columns, such as
        ``type`` or ``depth``. Numbers are cut into thirds of their range among these trials
        (`DEPTHS`); trials without an entry get the label ``unknown``.

    Raises
    ------
    UnknownNameError
        No such column.
    InputError
        Keys missing from `columns`, not unique in it, or of none of these trials.
    """
    if by in BUILT_IN:
        return np.asarray(getattr(index, by), dtype=object)
    known = [] if columns is None else [c for c in columns.columns if c not in _KEYS]
    if columns is None or by not in known:
        raise UnknownNameError.among(by, [*BUILT_IN, *map(str, known)], kind="stratum")
    keys = [key for key in _KEYS if key in columns.columns]
    if keys[:2] != ["network", "layer"]:
        raise InputError(
            "columns by layer without their keys",
            found=", ".join(map(str, columns.columns)),
            wanted="network and layer",
        )
    columns = whole_units(columns)
    if columns.duplicated(keys).any():
        raise InputError("columns by layer with a repeated key", found=", ".join(keys))
    values = _joined(index, columns, keys, by)
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(columns[by]):
        return _thirds(values.to_numpy(dtype=np.float64))
    if (twins := padded_twins(values.to_list())) is not None:
        raise InputError(
            "values that only spaces tell apart",
            where=f"column '{by}'",
            found=" and ".join(map(repr, twins)),
            wanted="one value",
        )
    labels = [
        "unknown" if missing else str(value)
        for value, missing in zip(values, values.isna(), strict=True)
    ]
    return np.array(labels, dtype=object)


def _joined(index: TrialIndex, columns: pd.DataFrame, keys: list[str], by: str) -> pd.Series[Any]:
    """Each trial's value, missing where the table has none for it; refused if it has none."""
    shown = index.to_frame()[keys]
    try:
        found = shown.merge(columns[[*keys, by]], on=keys, how="left", indicator=True)
    except ValueError as error:
        kinds = ", ".join(f"{key}: {columns[key].dtype}" for key in keys)
        raise InputError(
            "columns by layer with keys of another type",
            found=kinds,
            wanted="text for network and layer, whole numbers for unit",
        ) from error
    if len(shown) and not (found["_merge"] == "both").any():
        raise InputError(
            "columns of other layers",
            found=f"{' '.join(map(str, columns[keys].iloc[0]))} and others"
            if len(columns)
            else "no row",
            wanted=f"those of the trials, such as {' '.join(map(str, shown.iloc[0]))}",
        )
    return found[by]


def _thirds(values: NDArray[np.float64]) -> NDArray[np.object_]:
    labels = np.full(len(values), "unknown", dtype=object)
    known = np.isfinite(values)
    if known.any():
        edges = np.linspace(values[known].min(), values[known].max(), 4)[1:-1]
        labels[known] = np.array(DEPTHS, dtype=object)[np.searchsorted(edges, values[known])]
    return labels


def levels(labels: NDArray[np.object_]) -> Iterator[str]:
    """Distinct labels in the order people expect: as the study names them, else by alphabet."""
    order: Sequence[str] = (*MODES, *DIFFICULTIES, *DEPTHS)
    place = {name: row for row, name in enumerate(order)}
    found = {str(label) for label in pd.unique(labels)}
    yield from sorted(found, key=lambda name: (place.get(name, len(order)), name))
