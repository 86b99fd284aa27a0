"""Three hundred submissions that mean ill, each with the line that refuses it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support.hostile import NETWORKS as KNOWN_NETWORKS
from support.hostile import OBSERVERS as KNOWN
from support.hostile import ZIPS, zipped
from support.hostile_fresh import FRESH, FRESH_NETWORKS
from support.made_networks import LAYERS, network_board, network_files, network_trials
from support.made_submissions import made_board, write_folder

from imi_bench.errors import InputError, NotComparableError
from imi_bench.leaderboard.archive import Problem
from imi_bench.leaderboard.board import Board
from imi_bench.leaderboard.panel import Panel
from imi_bench.leaderboard.render import render_pages
from imi_bench.leaderboard.site import build_board
from imi_bench.leaderboard.validate import Expected, validate
from imi_bench.leaderboard.verify import Judge, verify

OBSERVERS, NETWORKS = KNOWN | FRESH, KNOWN_NETWORKS | FRESH_NETWORKS


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
    assert not KNOWN.keys() & FRESH.keys()
    assert not KNOWN_NETWORKS.keys() & FRESH_NETWORKS.keys()
    assert len(OBSERVERS) + len(NETWORKS) + len(ZIPS) >= 240  # test_submissions.py has 63 more


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
    from support.made_submissions import good_files

    board = made_board(tmp_path, names=())
    (board.folder / "submissions").mkdir()
    (board.folder / "submissions" / "mine.zip").write_bytes(zipped(good_files()))
    table, _ = verify(board)
    assert [row.name for row in table.rows if row.kind == "submission"] == ["some-observer"]
    assert not table.rejected


def test_whatever_lies_there_ends_no_build(tmp_path: Path) -> None:
    """Names that are no text, links into the system, pipes; on the board they read alike."""
    board = made_board(tmp_path)
    root = board.folder / "submissions"
    (Path(os.fsdecode(os.fsencode(root) + b"/\xff\xfe")) / "1").mkdir(parents=True)
    (root / "a\n::error::x" / "1").mkdir(parents=True)
    os.mkfifo(root / "pipe")
    for name, target in (("root", "/"), ("zero.zip", "/dev/zero"), ("loop", "loop"), ("no", "/x")):
        (root / name).symlink_to(target)
    (root / "deep").mkdir()
    (root / "deep" / "1").symlink_to(root / "some-observer" / "1")
    build_board(board)
    text = (board.folder / "README.md").read_text()
    assert str(tmp_path) not in text
    assert not any(line.startswith("::") for line in text.splitlines())
    table, details = verify(board)
    assert {why for place, why in table.rejected if place.split("/")[1] in ("root", "loop", "no")}
    assert sum("symbolic link" in why for _, why in table.rejected) == 5
    assert all(page.encode() for page in render_pages(table, details=details).values())


@pytest.mark.parametrize(
    "text",
    [
        '{"version": "9", "rules_hash": "x"}',
        '{"version": null, "rules_hash": null}',
        '{"rows": 5}',
        "<<<<<<< HEAD",
        "\ufeff{}",
    ],
)
def test_a_forged_record_of_a_board_is_refused(text: str, tmp_path: Path) -> None:
    board = made_board(tmp_path)
    rules = board.folder / "board.toml"
    rules.write_text('published = "2026-01-01"\n' + rules.read_text())
    (board.folder / "board.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"board\.json"):
        build_board(Board.read(board.folder))


def test_a_stray_zip_hides_no_missing_evidence(tmp_path: Path) -> None:
    board = made_board(tmp_path, names=("one", "two"))
    build_board(board)
    root = board.folder / "submissions"
    (root / "note.zip").write_bytes(b"PK")
    shutil.rmtree(root / "two")
    with pytest.raises(NotComparableError, match="two/1"):
        build_board(board)
    files = {f.name: f.read_bytes() for f in (root / "one" / "1").iterdir()}
    (root / "one.zip").write_bytes(zipped(files))
    shutil.rmtree(root / "one")
    with pytest.raises(NotComparableError, match="evidence of 1 of 2 rows"):
        build_board(board)


def test_units_left_out_are_guesses(networks: Board, tmp_path: Path) -> None:
    frame = network_trials()
    units = frame["layer"] + "/" + frame["unit"].astype(str)
    gone = sorted(set(units))[:2]
    kept = network_files(
        frame[~units.isin(gone)], sampling={"layers": LAYERS, "left_out": [*gone, gone[0]]}
    )
    judged = Judge.of(networks).judge(write_folder(kept, tmp_path / "s"))
    assert not isinstance(judged, list)
    whole = Judge.of(networks).judge(
        write_folder(network_files(frame[~units.isin(gone)], sampling=None), tmp_path / "w")
    )
    assert isinstance(whole, list)  # left out and not said
    assert judged.row.score.clusters == 12
    assert judged.found is not None
    assert judged.row.facts["units left out"].startswith("2 of 12")
    values = judged.row.more["panel's disagreement"]
    assert values.clusters == 10
