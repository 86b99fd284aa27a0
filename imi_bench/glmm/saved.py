"""A fitted model on disk, and the same model with its data again.

The file holds every number of the fit and says which table it was fitted to: where, and the
table's SHA-256. What needs the data again reads that table, refuses one that has changed, and
rebuilds the design; nothing is fitted anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from imi_bench.arguments import checked
from imi_bench.errors import InputError
from imi_bench.glmm.fitting import build
from imi_bench.glmm.result import GlmmResult
from imi_bench.glmm.starts import WarmStart
from imi_bench.provenance import check_name, plain, sha256_file, write_text
from imi_bench.text import plural

_SOURCE = "source"


def save_model(
    result: GlmmResult,
    path: Path,
    *,
    data: Path,
    levels: Sequence[str] | None = None,
    weights: str | None = None,
) -> dict[str, Any]:
    """Write a fit, and which table it was fitted to.

    Parameters
    ----------
    result : GlmmResult
    path : Path
        Of the JSON file.
    data : Path
    levels, weights : sequence of str, optional and str, optional
        As they were given to `imi_bench.glmm.fit`.

    Returns
    -------
    record : what was written.

    Raises
    ------
    InputError
        A name that does not end in ``.json``.
    """
    check_name(path, ".json", what="model")
    record = {
        **result.to_json(),
        "warm_shape": [] if result.warm is None else plain(result.warm.shape),
        _SOURCE: {
            "data": os.path.relpath(data.resolve(), path.resolve().parent),
            "sha256": sha256_file(data),
            "levels": None if levels is None else list(levels),
            "weights": weights,
        },
    }
    write_text(path, json.dumps(plain(record)))
    return record


@checked
def load_model(path: Path, *, data: Path | None = None) -> GlmmResult:
    """Read a saved fit and rebuild its design from its table.

    Parameters
    ----------
    path : Path
        Of the JSON file.
    data : Path, optional
        Where the table is now; by default where it was.

    Raises
    ------
    InputError
        If the file is not a saved model, or its table is missing or another.
    """
    from imi_bench.glmm.tables import read_table

    record = _read(path)
    source = record[_SOURCE]
    table = data if data is not None else path.parent / source["data"]
    if not table.is_file():
        raise InputError(
            "the model's table is gone", where=path, found=f"no file {table}", do="name it (data=)"
        )
    if (found := sha256_file(table)) != source["sha256"]:
        raise InputError(
            "the model's table has changed since the fit",
            where=table,
            found=f"SHA-256 {found[:12]}",
            wanted=source["sha256"][:12],
            do="fit again",
        )
    result = GlmmResult.from_json(record)
    design = build(
        result.formula,
        read_table(table),
        family=result.family,
        levels=source["levels"],
        weights=source["weights"],
    )
    if design.names != result.names or design.n != result.n:
        raise InputError(
            "the table no longer gives the model's columns",
            where=table,
            found=f"{plural(design.n, 'row')}, {', '.join(design.names)}",
            wanted=f"{plural(result.n, 'row')}, {', '.join(result.names)}",
            do="fit again",
        )
    warm = WarmStart(
        theta=result.theta,
        fixed=result.estimate,
        modes=None,
        shape=np.asarray(record["warm_shape"], dtype=float) if record["warm_shape"] else None,
    )
    return replace(result, design=design, warm=warm)


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise InputError("no such file", where=path)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError("not a saved model", where=path, found=str(error)) from error
    if not isinstance(record, dict) or _SOURCE not in record:
        raise InputError(
            "not a saved model",
            where=path,
            found="no source",
            wanted="a file of `imi-bench fit --save`",
        )
    return record
