"""Two hundred submissions that mean ill, each with the line that refuses it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.hostile import NETWORKS, OBSERVERS, ZIPS
from support.made_networks import network_board, network_files
from support.made_submissions import made_board, write_folder

from imi_bench.leaderboard.archive import Problem
from imi_bench.leaderboard.board import Board
from imi_bench.leaderboard.panel import Panel
from imi_bench.leaderboard.validate import Expected, validate
from imi_bench.leaderboard.verify import Judge, verify


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return made_board(tmp_path_factory.mktemp("boards"), names=())


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return network_board(tmp_path_factory.mktemp("boards"))


@pytest.fixture(scope="module")
def trials(board: Board) -> Expected:
    return Expected.of(board.study().trials, board)


@pytest.fixture(scope="module")
def panel(networks: Board) -> Panel:
    return Panel.of(networks)


def refused(problems: list[Problem], expected: str) -> None:
    lines = [str(problem) for problem in problems]
    assert any(expected in line for line in lines), lines
    assert all(line.isprintable() and len(line) < 2000 for line in lines)


@pytest.mark.parametrize("name", OBSERVERS)
def test_refused_in_one_line(name: str, board: Board, trials: Expected, tmp_path: Path) -> None:
    make, expected = OBSERVERS[name]
    path = write_folder(make(), tmp_path / "s")
    entry, problems = validate(path, board=board, trials=trials)
    assert entry is None
    refused(problems, expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_network_refused_in_one_line(
    name: str, networks: Board, panel: Panel, tmp_path: Path
) -> None:
    make, expected = NETWORKS[name]
    path = write_folder(make(), tmp_path / "s")
    entry, problems = validate(path, board=networks, panel=panel)
    assert entry is None
    refused(problems, expected)


@pytest.mark.parametrize("name", ZIPS)
def test_zip_refused_in_one_line(name: str, board: Board, trials: Expected, tmp_path: Path) -> None:
    make, expected = ZIPS[name]
    path = tmp_path / "s.zip"
    path.write_bytes(make())
    entry, problems = validate(path, board=board, trials=trials)
    assert entry is None
    refused(problems, expected)


def test_the_corpus_is_large() -> None:
    assert len(OBSERVERS) + len(NETWORKS) + len(ZIPS) >= 140  # test_submissions.py has 63 more


def test_a_good_network_is_scored(networks: Board, tmp_path: Path) -> None:
    path = write_folder(network_files(), tmp_path / "net")
    entry, problems = validate(path, board=networks)
    assert not problems
    assert entry is not None
    scored = Judge.of(networks).judge(path)
    assert not isinstance(scored, list)
    assert 0.5 < scored.row.score.value < 1
    assert scored.row.more["beyond calibration"].value >= 0


def test_what_comes_to_a_board_is_used_or_refused(tmp_path: Path, shared: Path) -> None:
    from support.hostile import zipped
    from support.made_submissions import good_files

    board = made_board(tmp_path)
    root = board.folder / "submissions"
    write_folder(good_files(), root / "no-revision")
    write_folder(good_files(), root / "elsewhere" / "1")
    (root / "again.zip").write_bytes(zipped(good_files()))
    (root / "note.txt").write_text("x")
    (root / "linked").symlink_to(root / "some-observer")
    bomb = (shared / "cases" / "submissions" / "dictionary_bomb.parquet").read_bytes()
    write_folder(good_files() | {"decisions.parquet": bomb}, root / "bomb" / "1")
    table, _ = verify(board)
    assert [row.name for row in table.rows if row.kind == "submission"] == ["some-observer"]
    assert {place for place, _ in table.rejected} == {
        "submissions/no-revision",
        "submissions/elsewhere/1",
        "submissions/again.zip",
        "submissions/note.txt",
        "submissions/linked",
        "submissions/bomb/1",
    }
    assert all(reason for _, reason in table.rejected)


def test_a_zip_is_used(tmp_path: Path) -> None:
    from support.hostile import zipped
    from support.made_submissions import good_files

    board = made_board(tmp_path, names=())
    (board.folder / "submissions").mkdir()
    (board.folder / "submissions" / "mine.zip").write_bytes(zipped(good_files()))
    table, _ = verify(board)
    assert [row.name for row in table.rows if row.kind == "submission"] == ["some-observer"]
    assert not table.rejected
