"""Rows computed before, kept by the hash of everything they depend on.

A row depends on its own files, the rules, the board's trials, people, calibrations and yardsticks,
the code of this package and the numerical libraries; on no other submission. So it is kept under
the hash of all of these, in the cache of whoever computed it, never in the board's folder, where a
stranger could put one. JSON and plain arrays; nothing is unpickled.
"""

from __future__ import annotations

import io
import json
import os
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Self

import numpy as np
from markupsafe import Markup

from imi_bench.arrays import Array, Floats
from imi_bench.leaderboard.archive import Problem, read_files
from imi_bench.leaderboard.board import Board
from imi_bench.leaderboard.rows import Detail, Row, Scored
from imi_bench.places import cache_folder
from imi_bench.provenance import package_versions, sha256_bytes, sha256_json
from imi_bench.stats.estimate import Estimate
from imi_bench.stats.jackknife import Jackknife
from imi_bench.stats.sums import Score, Totals

_ARRAYS = ("without_unit", "without_participant", "without_cell", "stratum")


@cache
def code_hash() -> str:
    """SHA-256 of the package's source and of the versions of the libraries it computes with."""
    root = resources.files("imi_bench")
    with resources.as_file(root) as folder:
        files = {
            path.relative_to(folder).as_posix(): sha256_bytes(path.read_bytes())
            for path in sorted(folder.rglob("*.py"))
        }
    versions = {n: v for n, v in package_versions().items() if n != "imi-bench"}
    return sha256_json({"files": files, "versions": versions})


@dataclass(frozen=True, eq=False)
class Store:
    """A folder of rows by key.

    Attributes
    ----------
    folder : Path
    board : Board
        Gives its part of every key.
    """

    folder: Path
    board: Board

    @classmethod
    def of(cls, board: Board) -> Self:
        """The store of this user: ``$IMI_BENCH_CACHE/rows``, or the platform's cache."""
        return cls(cache_folder() / "rows", board)

    def key(self, path: Path) -> str:
        """Hash of a submission's files and of everything else its row depends on."""
        files, problems = read_files(path)
        return sha256_json(
            {
                "files": {name: sha256_bytes(data) for name, data in files.items()},
                "problems": [str(problem) for problem in problems],
                "board": [self.board.rules_hash, self.board.data_hash],
                "code": code_hash(),
            }
        )

    def get(self, key: str) -> Scored | list[Problem] | None:
        """What was kept; None where nothing is, or where it is damaged."""
        try:
            stream = io.BytesIO(self._file(key).read_bytes())
            with np.load(stream, allow_pickle=False) as archive:
                record = json.loads(archive["record"].tobytes())
                data = archive["data"]
            sizes = record["sizes"]
            ends = np.cumsum([sizes[name] for name in _ARRAYS])
            kept = dict(zip(_ARRAYS, np.split(data, ends[:-1]), strict=True))
            kept["stratum"] = kept["stratum"].astype(np.int64)
            if record["key"] != key:
                return None
            return _read(record, kept)
        except Exception:  # whatever ails a cache, the row is computed again
            return None

    def put(self, key: str, result: Scored | list[Problem] | None) -> None:
        """Keep a result; a disk that is full loses the cache and nothing else."""
        record, kept = _written(result)
        sizes = {name: len(kept[name]) for name in _ARRAYS}
        about = json.dumps({"key": key, "sizes": sizes, **record}).encode()
        text = np.frombuffer(about, dtype=np.uint8)
        data = np.concatenate([kept[name].astype(np.float64) for name in _ARRAYS])
        stream = io.BytesIO()
        np.savez(stream, record=text, data=data, allow_pickle=False)
        path = self._file(key)
        own = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            own.write_bytes(stream.getvalue())
            own.replace(path)
        except OSError:
            own.unlink(missing_ok=True)

    def _file(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.npz"


def _written(result: Scored | list[Problem] | None) -> tuple[dict[str, Any], dict[str, Array]]:
    nothing = dict.fromkeys(_ARRAYS, np.zeros(0))
    if not isinstance(result, Scored):
        listed = [asdict(problem) for problem in result or []]
        return {"problems": listed}, nothing
    found, detail = result.found, asdict(result.detail)
    record = {
        "row": asdict(result.row),
        "detail": detail,
        "value": None if found is None else found.value,
    }
    return record, nothing if found is None else {n: getattr(found, n) for n in _ARRAYS}


def _without_totals(totals: Totals) -> Floats:
    raise NotImplementedError("the totals of a kept score are not kept")


def _read(record: dict[str, Any], kept: dict[str, Array]) -> Scored | list[Problem]:
    if "problems" in record:
        return [Problem(**problem) for problem in record["problems"]]
    row = dict(record["row"])
    for name in ("strata", "more"):
        row[name] = {label: Estimate(**estimate) for label, estimate in row[name].items()}
    row["score"] = Estimate(**row["score"])
    row["share"] = None if row["share"] is None else Estimate(**row["share"])
    detail = dict(record["detail"])
    detail["figures"] = tuple(Markup(figure) for figure in detail["figures"])
    detail["trials"] = tuple(detail["trials"])
    known = {field.name for field in fields(Detail)}
    line = Score("kept", row["score"].unit, _without_totals)
    found = None
    if record["value"] is not None:
        unit, participant, cell, stratum = (kept[name] for name in _ARRAYS)
        found = Jackknife(line, record["value"], unit, participant, cell, stratum)
    return Scored(Row(**row), found, Detail(**{k: v for k, v in detail.items() if k in known}))
