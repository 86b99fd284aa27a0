"""What a study leaves in its folder; ``run.json`` is written last and says that it is whole.

``answers.parquet`` one row an answered trial, ``points.csv``, ``gaps.csv``, ``variants.csv``,
``letters.csv``, ``contamination.csv``, ``fewshot.json`` the whole result, ``ledger.db`` every
answer of a model with its cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imi_bench.documents import read_json
from imi_bench.errors import InputError
from imi_bench.fewshot.curves import FewShot
from imi_bench.fewshot.design import Design
from imi_bench.observers.incontext.observer import InContext
from imi_bench.provenance import (
    git_state,
    package_versions,
    plain,
    sha256_file,
    sha256_json,
    write_json,
    write_table,
)
from imi_bench.tables import Trials

RECORD = "run.json"
_KIND = "few-shot study"


def claim(
    out: str | Path | None,
    family: Mapping[str, InContext],
    trials: Trials,
    *,
    design: Design,
    pool: Trials | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """What the study is, for its record; refuses a folder that holds another.

    Raises
    ------
    InputError
        `out` holds another study, or another kind of run.
    """
    facts: dict[str, Any] = {
        "kind": _KIND,
        "observers": {name: plain(one.describe()) for name, one in family.items()},
        "design": plain(vars(design)),
        "trials": {"hash": trials.hash, "count": len(trials)},
        "pool": None if pool is None else {"hash": pool.hash, "count": len(pool)},
        "simulated": trials.simulated,
    }
    facts["fingerprint"] = sha256_json(facts)
    if out is None:
        return facts
    record = Path(out) / RECORD
    if record.is_file() and not force:
        known = read_json(record)
        if not isinstance(known, dict) or known.get("fingerprint") != facts["fingerprint"]:
            raise InputError(
                "the folder holds another run",
                where=out,
                do="choose another out=, or replace it with force=True",
            )
    return facts


def write(found: FewShot, out: Path, facts: Mapping[str, Any]) -> None:
    """Write tables, result and record, each whole or not at all."""
    tables = {
        "points": found.to_frame(),
        "gaps": found.gaps(),
        "variants": found.variants(),
        "unanswered": found.unanswered(),
        "letters": found.letters,
        "flips": found.flips,
    }
    if found.contamination is not None:
        tables["contamination"] = found.contamination.pairs
    (out / RECORD).unlink(missing_ok=True)
    for name, table in tables.items():
        write_table(out / f"{name}.csv", table)
    write_table(out / "answers.parquet", found.answers)
    write_json(out / "fewshot.json", found.to_json())
    record = {
        **facts,
        "tested": {"trials": found.trials, "units": found.units, "pool_units": found.pool_units},
        "dropped": list(found.dropped),
        "parameters": dict(found.parameters),
        "flips": plain(found.flips.to_dict("records")),
        "letters": plain(found.letters.to_dict("records")),
        "clean_trials": None
        if found.contamination is None
        else sum(found.contamination.clean.values()),
        "statuses": {
            str(k): int(v) for k, v in found.answers["status"].value_counts().to_dict().items()
        },
        "answers_sha256": sha256_file(out / "answers.parquet"),
        "versions": package_versions(),
        "git": git_state(),
    }
    write_json(out / RECORD, plain(record))


def read_study(folder: str | Path) -> FewShot:
    """Read back what `write` left.

    Raises
    ------
    InputError
        No finished study.
    """
    place = Path(folder)
    if not (place / RECORD).is_file() or not (place / "fewshot.json").is_file():
        raise InputError(
            "no finished few-shot study", where=place, wanted=f"{RECORD}, fewshot.json"
        )
    return FewShot.from_json((place / "fewshot.json").read_text(encoding="utf-8"))
