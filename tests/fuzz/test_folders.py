"""Spoil one file of a folder that a verb reads: it is read, refused in one line, or made again."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.bright_trials import bright_trials
from support.escapes import KEPT, Reader, escapes, from_file, kept
from support.made_trials import make_index, make_trials
from support.mutations import damaged, spoiled
from support.small_study import COUNTS

import imi_bench as imi
from imi_bench.collect import Experiment, Plan, Store, export
from imi_bench.collect.static import read_static, write_static
from imi_bench.gate.verdict import GateResult
from imi_bench.observers.incontext.ledger import Ledger
from imi_bench.observers.incontext.scoring import Scored
from imi_bench.observers.learned import LearnedObserver, read_record
from imi_bench.provenance import sha256_json
from imi_bench.release.borowski import read_borowski
from imi_bench.release.exclusions import Rules
from imi_bench.release.study_files import read_study, write_study
from imi_bench.release.table import read_release
from imi_bench.replay.output import read_run
from imi_bench.scores.strata import read_columns
from imi_bench.simulation.release import ReleaseParameters, simulate_release, write_release
from imi_bench.tables import Responses, Study

Made = Callable[[Path], None]


def made_run(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    imi.answer("pixel-l2", make_trials(8), out=folder / "run", cache=folder / "cache")


def made_study(folder: Path) -> None:
    index = make_index(8)
    count = 16
    answers = Responses(
        trial_id=np.repeat(index.trial_id, 2),
        participant=[f"p{i % 2}" for i in range(count)],
        correct=np.arange(count) % 3 > 0,
        chose_first=np.full(count, np.nan),
        confidence=np.full(count, 2.0),
        seconds=np.ones(count),
        simulated=True,
        source="made",
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_study(Study(index, answers), folder)


def made_release(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    parameters = ReleaseParameters.from_json({"study": COUNTS})
    write_release(simulate_release(parameters, seed=0), folder / "responses_main.csv")


def made_static(folder: Path) -> None:
    plan = Plan(per_task=6, per_unit=3, catch=2, practice=2, rules=Rules())
    write_static(Experiment(bright_trials(8), plan), folder / "static")
    key = json.loads((folder / "static.key.json").read_text())
    answers = [
        {"block": "main", "number": n, "button": 0 if s[6] else 3, "rt": 700, "received": 100.0 + n}
        for n, s in enumerate(key["blocks"]["main"])
    ]
    result = {"own": "a", "begun": 50.0, "instruction_seconds": 20.0, "answers": answers}
    (folder / "result.json").write_text(json.dumps(result))
    store, _ = read_static(
        [folder / "result.json"], key=folder / "static.key.json", db=folder / "kept.db"
    )
    store.close()


def made_ledger(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Ledger(folder / "ledger.db")
    with sqlite3.connect(folder / "ledger.db") as db:
        db.execute(
            "INSERT INTO answers VALUES ('k', ?)",
            (json.dumps(Scored(-1.0, -2.0, mass=0.5).to_json()),),
        )
    db.close()


def import_results(folder: Path) -> None:
    db = folder / "again.db"
    for stale in folder.glob("again*"):
        stale.unlink()
    store, _ = read_static([folder / "result.json"], key=folder / "static.key.json", db=db)
    store.close()


def read_store(folder: Path) -> None:
    store = Store(folder / "kept.db")
    try:
        export(store)
    finally:
        store.close()


def read_ledger(folder: Path) -> None:
    Ledger(folder / "ledger.db").known("k")


def read_table(name: str, folder: Path) -> None:
    read_release(folder / name, skip_bad=False)


FOLDERS: dict[str, tuple[Made, str, Callable[[Path], object]]] = {
    "run record": (made_run, "run/run.json", lambda f: read_run(f / "run")),
    "run decisions": (made_run, "run/decisions.parquet", lambda f: read_run(f / "run")),
    "run trials": (made_run, "run/trials.parquet", lambda f: read_run(f / "run")),
    "study trials": (made_study, "trials.parquet", read_study),
    "study responses": (made_study, "responses.parquet", read_study),
    "release": (made_release, "responses_main.csv", partial(read_table, "responses_main.csv")),
    "static key": (made_static, "static.key.json", import_results),
    "static result": (made_static, "result.json", import_results),
    "collect database": (made_static, "kept.db", read_store),
    "ledger": (made_ledger, "ledger.db", read_ledger),
}


@cache
def made(make: Made, root: str) -> Path:
    folder = Path(root) / make.__name__
    make(folder)
    return folder


def of_folder(name: str, root: Path) -> Reader:
    make, file, read = FOLDERS[name]
    folder = made(make, str(root))
    path = folder / file
    good = path.read_bytes()
    parsed = json.loads(good) if path.suffix == ".json" else None

    def spoil(_: object, draw: random.Random) -> bytes:
        if parsed is not None and draw.random() < 0.8:
            return json.dumps(spoiled(parsed, draw)).encode("utf-8", "surrogatepass")
        return damaged(good, draw)

    def reader(data: bytes) -> object:
        for beside in ("-wal", "-shm"):
            path.with_name(path.name + beside).unlink(missing_ok=True)
        path.write_bytes(data)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return read(folder)
        finally:
            path.write_bytes(good)

    return Reader(lambda: good, spoil, reader)


def learned() -> Any:
    final = {
        "linear": False,
        "scales": [1.0],
        "weights": [0.5],
        "gamma": [0.1],
        "beta": [],
        "centres": [0.0],
        "spreads": [1.0],
        "lapse": 0.01,
    }
    record = {
        "format": 1,
        "name": "learned",
        "head": "observer",
        "by": "unit",
        "final": final,
        "features": ["gap"],
        "features_from": None,
        "fitted_on": {"units": ["n/l/1"], "networks": ["n"]},
        "columns": [{"name": "pixel-l2", "fingerprint": "x", "kind": "decision"}],
    }
    return record


def forge(record: Any) -> bytes:
    """A record with the hash that its contents have."""
    if isinstance(record, dict):
        record = {k: v for k, v in record.items() if k != "sha256"}
        try:
            record["sha256"] = sha256_json(record)
        except (TypeError, ValueError):
            record["sha256"] = "0"
    return json.dumps(record).encode("utf-8", "surrogatepass")


def load_learned(path: Path) -> None:
    LearnedObserver(read_record(path), imi.load_observer)


def borowski_bytes() -> bytes:
    shared = Path(os.environ.get("IMI_BENCH_SHARED", Path(__file__).parents[3] / "shared"))
    table = sorted((shared / "people" / "borowski2021").rglob("*.csv"))[0]
    return b"\n".join(table.read_bytes().split(b"\n")[:30]) + b"\n"


def checkpoint() -> bytes:
    from safetensors.torch import save
    from torch import zeros

    return bytes(save({"weight": zeros(2, 3), "bias": zeros(2)}))


def load_weights(path: Path) -> None:
    from torch.nn import Linear

    from imi_bench.vision.weights import load_checkpoint

    load_checkpoint(Linear(3, 2), path)


def columns_csv() -> bytes:
    frame = pd.DataFrame({"trial_id": [f"t{i}" for i in range(8)], "kind": list("abababab")})
    return frame.to_csv(index=False).encode()


def strata(path: Path) -> None:
    read_columns(path)


@cache
def gate() -> Any:
    trials = make_trials(40)
    runs = [imi.answer(name, trials) for name in ("pixel-l2", "chance")]
    made = imi.gate(runs[0], against=runs[1], max_drop=0.2)
    return json.loads(json.dumps(made.to_json()))


def others(folder: Path) -> dict[str, Reader]:
    def forged(record: Any, draw: random.Random) -> bytes:
        return forge(spoiled(record, draw))

    rules = json.loads(json.dumps(Rules.published().to_json()))
    return {
        "learned": Reader(learned, forged, from_file("learned.json", load_learned, folder)),
        "borowski": Reader(borowski_bytes, damaged, from_file("b.csv", read_borowski, folder)),
        "checkpoint": Reader(checkpoint, damaged, from_file("w.safetensors", load_weights, folder)),
        "torch file": Reader(checkpoint, damaged, from_file("w.pt", load_weights, folder)),
        "columns": Reader(columns_csv, damaged, from_file("columns.csv", strata, folder)),
        "rules": Reader(lambda: rules, spoiled, Rules.from_json),
        "scored": Reader(lambda: Scored(-1.0, -2.0, mass=0.5).to_json(), spoiled, Scored.from_json),
        "gate": Reader(gate, spoiled, GateResult.from_json),
    }


OF_TORCH = ("checkpoint", "torch file")
OTHERS = ("learned", "borowski", "columns", "rules", "scored", "gate")
READERS = [*FOLDERS, *OTHERS, *(pytest.param(one, marks=pytest.mark.vision) for one in OF_TORCH)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("folders")


def reader_of(name: str, root: Path) -> Reader:
    return of_folder(name, root) if name in FOLDERS else others(root)[name]


@pytest.mark.parametrize("name", READERS)
def test_a_spoiled_file_of_a_folder_is_read_or_refused(name: str, root: Path) -> None:
    assert not escapes(reader_of(name, root), [*kept(name), *range(6)])


@pytest.mark.fuzz
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", READERS)
def test_no_spoiled_file_escapes(name: str, root: Path) -> None:
    count = int(os.environ.get("IMI_BENCH_FUZZ", "100000"))
    first = int(os.environ.get("IMI_BENCH_FUZZ_FIRST", "1000"))
    found = escapes(reader_of(name, root), range(first, first + count))
    assert not found, f"keep in {KEPT.name}: {name}: {found[:20]}"


def test_a_forged_measure_runs_no_code(tmp_path: Path) -> None:
    """The record's hash is right, and the file it names lies beside it."""
    code = "from pathlib import Path\nPath(__file__).with_name('ran').touch()\nclass X: pass\n"
    (tmp_path / "evil.py").write_text(code)
    record = learned()
    for name in (f"{tmp_path}/evil.py:X", f"{tmp_path}/evil.py:X?a=1"):
        record["columns"] = [{**record["columns"][0], "name": name}]
        (tmp_path / "learned.json").write_bytes(forge(record))
        with pytest.raises(imi.InputError, match="may not name code"):
            imi.load_observer(str(tmp_path))
    assert not (tmp_path / "ran").exists()
