"""A board of measures: the board learns, so that nothing scored was seen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tomli_w
from support.made_submissions import (
    BOARD_TOML,
    TRIALS_HASH,
    Files,
    good_frame,
    good_toml,
    parquet,
    sealed,
    small_study,
    write_folder,
)

import imi_bench as imi
from imi_bench.errors import InputError
from imi_bench.leaderboard.board import Board
from imi_bench.leaderboard.pack import new
from imi_bench.leaderboard.site import build_board
from imi_bench.leaderboard.validate import MOST_PARTS, validate
from imi_bench.release.study_files import write_study
from imi_bench.tables import DecisionVariables

RULES = BOARD_TOML | {
    "board": "measures",
    "kind": "measures",
    "study_hash": small_study().hash,
    "ranking": BOARD_TOML["ranking"] | {"score": "gain"},
}


@pytest.fixture
def board(tmp_path: Path) -> Board:
    folder = tmp_path / "measures"
    folder.mkdir()
    write_study(small_study(), folder)
    (folder / "board.toml").write_text(tomli_w.dumps(RULES))
    return Board.read(folder)


def parts(*names: str) -> pd.DataFrame:
    rng, count = np.random.default_rng(5), len(good_frame())
    told = [
        good_frame().assign(observer=n, decision_variable=rng.normal(size=count), seconds=0.0)
        for n in names
    ]
    return pd.concat(told, ignore_index=True)


def record(hash_: str = TRIALS_HASH, **observer: object) -> dict[str, object]:
    return {"trials": {"hash": hash_}, "observer": {"description": observer}}


def files(frame: pd.DataFrame, *, name: str = "whole", run: object = None) -> Files:
    run = {"parts": [record(), record()]} if run is None else run
    toml = good_toml() | {"board": "measures", "name": name}
    return sealed(
        {
            "submission.toml": tomli_w.dumps(toml).encode(),
            "decisions.parquet": parquet(frame),
            "run.json": json.dumps(run).encode(),
        }
    )


@pytest.mark.whole
def test_the_score_is_what_learn_says_of_the_same_observers(board: Board) -> None:
    frame = parts("one", "two")
    write_folder(files(frame), board.folder / "submissions" / "whole" / "1")
    one = files(frame.query("observer == 'one'"), name="one", run=record())
    write_folder(one, board.folder / "submissions" / "one" / "1")
    table = build_board(board)
    rows = {row.name: row for row in table.rows}
    assert not table.rejected
    runs = [DecisionVariables.from_frame(own) for _, own in frame.groupby("observer")]
    found = imi.learn(
        runs, small_study(), head="measure", n_folds=3, n_boot=0, curves=0, boosting=False
    )
    assert rows["whole"].score.value == pytest.approx(found.difference.value, abs=1e-9)
    assert rows["whole"].score.low == pytest.approx(found.difference.low, abs=1e-6)
    assert rows["whole"].facts["learnt from"] == "one, two"
    assert {rows["whole"].rank, rows["one"].rank} == {1, 2}
    assert table.ceiling is not None
    assert table.ceiling.value == pytest.approx(found.ceiling.value - found.base_rate, abs=1e-9)
    assert "Base rate: 0.000" in (board.folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("frame", "run", "problem"),
    [
        (parts("one", "two"), {"parts": [record(), record("cd" * 32)]}, "parts.trials.hash"),
        (parts("one", "two"), {"parts": []}, f"1 to {MOST_PARTS} records"),
        (parts("one", "two"), {"parts": "none"}, f"1 to {MOST_PARTS} records"),
        (parts("one"), record("cd" * 32), "trials.hash"),
        (parts(*(f"o{n}" for n in range(MOST_PARTS + 1))), None, "rows, wanted at most"),
        (
            parts("one", "two"),
            {
                "parts": [
                    record(),
                    record(fitted_on={"units": ["NET/Layer/003"], "networks": ["net"]}),
                ]
            },
            "fitted on 1 unit the board scores",
        ),
    ],
)
def test_what_a_measure_may_not_be_learnt_from(board, tmp_path, frame, run, problem) -> None:
    folder = write_folder(files(frame, run=run), tmp_path / "spoilt")
    entry, problems = validate(folder, board=board)
    assert entry is None
    assert any(problem in str(one) for one in problems), problems


def test_the_ideal_observer_cannot_be_a_part(board: Board) -> None:
    write_folder(files(parts("one", "ideal")), board.folder / "submissions" / "whole" / "1")
    (rejected,) = build_board(board).rejected
    assert "reads the unit's own activations" in rejected[1]


def test_a_submission_is_made_of_several_runs(board: Board, tmp_path: Path) -> None:
    runs = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        parts(name).to_parquet(folder / "decisions.parquet")
        (folder / "run.json").write_text(json.dumps(record()))
        runs.append(folder)
    declared = {k: v for k, v in good_toml().items() if k != "format"} | {"board": "measures"}
    out = new(runs, out=tmp_path / "made", declared=declared)
    entry, problems = validate(out, board=board)
    assert entry is not None, problems
    assert [one.observer for one in entry.decisions] == ["one", "two"]
    del declared["name"]
    with pytest.raises(InputError, match="give name="):
        new(runs, out=tmp_path / "nameless", declared=declared)
    with pytest.raises(InputError, match="several runs for a board of networks"):
        new(runs, out=tmp_path / "networks", declared=declared, with_trials=True)
