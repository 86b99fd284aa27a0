"""A board judged by shares, or on Ray, has the same rows."""

from __future__ import annotations

import json

import pytest
from support.made_submissions import made_board
from support.ray_cluster import cluster
from typer.testing import CliRunner

from imi_bench.errors import InputError
from imi_bench.executors import Ray, Shard, SharesMissingError
from imi_bench.leaderboard import verify as module
from imi_bench.leaderboard.verify import verify

NAMES = ("one", "two", "three")


@pytest.fixture
def board(tmp_path, monkeypatch):
    monkeypatch.setenv("IMI_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_BATCH", 1)
    return made_board(tmp_path, names=NAMES)


def rows(board, **options):
    table, _ = verify(board, **options)
    return json.dumps(table.ordered().to_json(), sort_keys=True, default=str)


def test_shares_give_the_rows_of_one_run(board, tmp_path, monkeypatch):
    with pytest.raises(SharesMissingError, match="2 of 3 pieces done"):
        verify(board, executor=Shard(0, 2))
    shared = rows(board, executor=Shard(1, 2))
    monkeypatch.setenv("IMI_BENCH_CACHE", str(tmp_path / "other"))
    assert rows(board) == shared


def test_fresh_rows_are_not_shared(board):
    with pytest.raises(InputError, match="shared through what is kept"):
        verify(board, fresh=True, executor=Shard(0, 2))


def test_the_verb_says_what_is_missing(board):
    from imi_bench.cli.app import app

    done = CliRunner().invoke(
        app, ["leaderboard", "verify", str(board.folder), "--shard", "0/2", "--json"]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"finished": False}


@pytest.mark.cluster
@pytest.mark.filterwarnings("default")
def test_ray_gives_the_rows_of_one_run(board, tmp_path, monkeypatch):
    pytest.importorskip("ray")
    with cluster():
        shared = rows(board, executor=Ray())
    monkeypatch.setenv("IMI_BENCH_CACHE", str(tmp_path / "other"))
    assert rows(board) == shared
