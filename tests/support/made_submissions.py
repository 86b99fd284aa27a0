"""Submissions that are good in every respect, for tests to spoil."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import tomli_w

from imi_bench.documents import parse_toml
from imi_bench.leaderboard.archive import hashes
from imi_bench.leaderboard.board import Board
from imi_bench.release.study_files import write_study
from imi_bench.tables import Responses, Study, TrialIndex, shown_first_is_positive

TRIALS_HASH = "ab" * 32


@cache
def small_study() -> Study:
    frame = pd.DataFrame(
        {
            "network": "net",
            "layer": "layer",
            "unit": np.repeat(np.arange(6), 4),
            "mode": np.tile(["natural", "synthetic"], 12),
            "difficulty": "easy",
            "batch": np.tile(np.arange(4), 6),
            "catch": False,
        }
    )
    index = TrialIndex.from_frame(frame.assign(trial_id=TrialIndex.canonical_ids(frame)))
    rng = np.random.default_rng(0)
    people = 5
    rows = len(index) * people
    return Study(
        index,
        Responses(
            trial_id=np.tile(index.trial_id, people),
            participant=np.repeat([f"p{i}" for i in range(people)], len(index)),
            correct=rng.random(rows) < 0.7,
            chose_first=np.full(rows, np.nan),
            confidence=np.full(rows, np.nan),
            seconds=np.full(rows, np.nan),
            simulated=True,
            source="test",
        ),
    )


BOARD_TOML = {
    "format": 1,
    "board": "tiny",
    "version": 1,
    "kind": "observers",
    "title": "Tiny",
    "question": "Does it work?",
    "about": "A board of this test.",
    "simulated": True,
    "trials_hash": TRIALS_HASH,
    "sides_seed": 3,
    "ranking": {"score": "bits", "rule": "By score.", "n_folds": 3, "n_resamples": 200},
}


def good_toml() -> dict[str, object]:
    return {
        "format": 1,
        "board": "tiny",
        "name": "some-observer",
        "revision": "1",
        "title": "Some observer",
        "authors": ["A. Author"],
        "licence": "Apache-2.0",
        "link": "https://example.org/paper",
        "preprocessing": "none",
        "parameters": 10,
        "weights": {"source": "none"},
        "training": {"data": ["ImageNet-1k"], "imi": False},
        "claims": {"accuracy": 0.99},
    }


def good_frame() -> pd.DataFrame:
    index = small_study().trials
    first = shown_first_is_positive(index.trial_id, seed=3)
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "trial_id": index.trial_id,
            "observer": "some-observer",
            "decision_variable": rng.normal(size=len(index)),
            "status": "ok",
            "shown_first": np.where(first, "positive", "negative"),
        }
    )


def parquet(frame: pd.DataFrame) -> bytes:
    stream = io.BytesIO()
    frame.to_parquet(stream, index=False)
    return stream.getvalue()


Files = dict[str, bytes]


def sealed(files: Files) -> Files:
    """With the hashes of the other files in submission.toml, where that can be read."""
    try:
        table = parse_toml(files["submission.toml"].decode())
        if "format" not in table:
            return files
        return files | {"submission.toml": tomli_w.dumps(table | {"files": hashes(files)}).encode()}
    except (KeyError, ValueError, RecursionError):
        return files


def good_files() -> Files:
    """Each time a dictionary of its own."""
    return dict(_good_files())


@cache
def _good_files() -> Files:
    return sealed(
        {
            "submission.toml": tomli_w.dumps(good_toml()).encode(),
            "decisions.parquet": parquet(good_frame()),
            "run.json": json.dumps({"trials": {"hash": TRIALS_HASH}}).encode(),
        }
    )


def write_folder(files: Files, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def made_board(parent: Path, *, names: Iterable[str] = ("some-observer",)) -> Board:
    """A board of `small_study` in ``parent/tiny``, with one good submission a name."""
    folder = parent / "tiny"
    folder.mkdir()
    study = small_study()
    write_study(study, folder)
    (folder / "board.toml").write_text(tomli_w.dumps({**BOARD_TOML, "study_hash": study.hash}))
    for name in names:
        toml = tomli_w.dumps({**good_toml(), "name": name}).encode()
        files = sealed(good_files() | {"submission.toml": toml})
        write_folder(files, folder / "submissions" / name / "1")
    return Board.read(folder)
