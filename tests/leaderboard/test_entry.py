"""From a run to a place on a board, rows kept by hash, and boards that lack their evidence."""

from __future__ import annotations

import fnmatch
import json
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from support.made_submissions import (
    good_files,
    good_frame,
    made_board,
    write_folder,
)
from typer.testing import CliRunner

from imi_bench.cli.app import app
from imi_bench.errors import InputError, NotComparableError, SubmissionError
from imi_bench.leaderboard import store as rows_kept
from imi_bench.leaderboard.board import Board, find, listed
from imi_bench.leaderboard.entry import add, place
from imi_bench.leaderboard.pack import pack, seal
from imi_bench.leaderboard.rows import Scored
from imi_bench.leaderboard.site import build_board
from imi_bench.leaderboard.verify import Judge, verify

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ("--title", "--author", "--licence", "--preprocessing", "--weights")


@pytest.fixture
def board(tmp_path: Path) -> Board:
    (tmp_path / "boards").mkdir()
    return made_board(tmp_path / "boards", names=("some-observer", "other-observer"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    frame = good_frame().assign(seconds=0.1, observer="mine")
    frame["decision_variable"] *= -1
    frame.to_parquet(folder / "decisions.parquet", index=False)
    (folder / "run.json").write_bytes(good_files()["run.json"])
    return folder


def test_everything_missing_is_named_at_once(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = ["submit", "new", str(run), "--out", str(out), "--board", "observers-mini"]
    result = CliRunner().invoke(app, asked, input="")
    assert isinstance(result.exception, InputError)
    assert all(flag in str(result.exception) for flag in FLAGS)
    assert not out.exists()


def test_from_a_run_to_a_pull_request(run: Path, board: Board, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    where = ["--board", "tiny", "--boards", str(board.folder.parent)]
    told = [part for flag in FLAGS for part in (flag, "Mine")]
    made = CliRunner().invoke(app, ["submit", "new", str(run), "--out", str(out), *where, *told])
    assert made.exit_code == 0, made.output
    assert "mine/1 on tiny (simulated): rank " in made.output
    checked = CliRunner().invoke(app, ["submit", "validate", str(out), *where])
    assert checked.exit_code == 0, checked.output
    build_board(board)
    text = tmp_path / "pull.md"
    opened = CliRunner().invoke(app, ["submit", "pr", str(out), *where, "--text", str(text)])
    assert opened.exit_code == 0, opened.output
    assert "# tiny: mine, revision 1" in text.read_text()
    assert "imi-bench leaderboard check tiny" in text.read_text()
    result = CliRunner().invoke(
        app, ["leaderboard", "check", "tiny", "--boards", str(board.folder.parent)]
    )
    assert result.exit_code == 0, result.output
    rows = json.loads((board.folder / "board.json").read_text())["rows"]
    assert "mine" in {row["name"] for row in rows}
    with pytest.raises(InputError, match="has this revision already"):
        add(out, board=board)


def test_the_place_is_that_on_the_board(run: Path, board: Board, tmp_path: Path) -> None:
    files = write_folder(good_files(), tmp_path / "s")
    tried = place(files, board=board)
    before = {p: p.read_bytes() for p in board.folder.rglob("*") if p.is_file()}
    assert tried.row.rank == 1
    assert before == {p: p.read_bytes() for p in board.folder.rglob("*") if p.is_file()}
    spoilt = write_folder(good_files() | {"run.json": b"{}"}, tmp_path / "bad")
    with pytest.raises(SubmissionError):
        place(spoilt, board=board)


@pytest.mark.whole
def test_rows_are_kept_and_forgotten_with_what_they_depend_on(
    board: Board, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IMI_BENCH_CACHE", str(tmp_path / "cache"))
    judged: list[Path] = []
    real = Judge._judged

    def counted(self: Judge, path: Path, **how: object) -> object:
        judged.append(path)
        return real(self, path, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(Judge, "_judged", counted)

    def again(*, fresh: bool = False) -> int:
        judged.clear()
        return_to = Board.read(board.folder)
        tables.append(verify(return_to, fresh=fresh)[0].ordered().to_json())
        return len(judged)

    tables: list[object] = []
    assert again() == 2
    assert again() == 0
    assert again(fresh=True) == 2
    assert tables[0] == tables[1] == tables[2]
    folder = board.folder / "submissions" / "some-observer" / "1"
    text = (folder / "submission.toml").read_text()
    (folder / "submission.toml").write_text(text.replace("Some observer", "Another title"))
    assert again() == 1
    rules = board.folder / "board.toml"
    rules.write_text(rules.read_text().replace("By score.", "By the score."))
    assert again() == 2
    monkeypatch.setattr(rows_kept, "code_hash", lambda: "another")
    assert again() == 2
    for file in (tmp_path / "cache").rglob("*.npz"):
        file.write_bytes(file.read_bytes()[:100])
    assert again() == 2


def test_a_kept_row_is_the_row(
    board: Board, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IMI_BENCH_CACHE", str(tmp_path / "cache"))
    kept = rows_kept.Store.of(board)
    path = board.submissions()[0]
    found = Judge.of(board).judge(path)
    kept.put(kept.key(path), found)
    back = kept.get(kept.key(path))
    assert isinstance(found, Scored)
    assert isinstance(back, Scored)
    np.testing.assert_equal(asdict(back.row), asdict(found.row))
    assert back.detail == found.detail


def test_a_board_without_its_evidence_is_not_built(board: Board) -> None:
    build_board(board)
    shutil.rmtree(board.folder / "submissions" / "other-observer")
    with pytest.raises(NotComparableError, match="evidence of 1 of 2 rows is missing"):
        build_board(board)
    assert len(build_board(board, withdrawn=["other-observer/1"]).rows) == 2


def test_a_board_of_an_installation_is_not_built(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = str(board.folder.parent)
    monkeypatch.setattr(
        "imi_bench.leaderboard.board.sysconfig.get_paths",
        lambda: {"purelib": inside, "platlib": inside},
    )
    with pytest.raises(InputError, match="belongs to an installed package"):
        build_board(board)


def test_a_renamed_copy_says_what_to_do(board: Board) -> None:
    copy = board.folder.with_name("copy")
    shutil.copytree(board.folder, copy)
    with pytest.raises(InputError, match=r'rename the folder to tiny.* write board = "copy"'):
        find(str(copy))


def test_boards_of_a_folder(board: Board) -> None:
    assert [one.rules.board for one in listed(board.folder.parent)] == ["tiny"]
    assert find("tiny", boards=board.folder.parent).folder == board.folder.resolve()


def test_a_changed_file_is_not_packed_unless_meant(board: Board, tmp_path: Path) -> None:
    folder = write_folder(good_files(), tmp_path / "s")
    (folder / "run.json").write_text("{}")
    with pytest.raises(InputError, match="not those the submission was made with"):
        pack(folder)
    assert pack(folder, reseal=True).is_file()
    assert seal(folder) == folder


def test_every_file_of_a_board_is_in_the_package() -> None:
    """The evidence lies five levels deep."""
    about = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = about["tool"]["setuptools"]["package-data"]["imi_bench.leaderboard.boards"]
    root = ROOT / "leaderboards"
    files = [p.relative_to(root) for p in root.rglob("*") if p.is_file() and p.suffix != ".py"]
    assert any(len(file.parts) == 5 for file in files)
    for file in files:
        if "__pycache__" in file.parts or len(file.parts) == 1:
            continue
        fits = [p for p in patterns if p.count("/") == len(file.parts) - 1]
        assert any(fnmatch.fnmatch(file.as_posix(), pattern) for pattern in fits), file


LIMITED = """
import resource, sys
sys.dont_write_bytecode = True  # or halves of it stay behind for everybody
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
sys.argv = ["imi-bench", *sys.argv[1:]]
from imi_bench.cli.app import main
main()
"""


@pytest.mark.whole
@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
def test_a_limit_on_file_size_is_one_line(board: Board) -> None:
    command = ["leaderboard", "build", str(board.folder)]
    result = subprocess.run(
        [sys.executable, "-c", LIMITED, *command], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2, result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("error")]
    assert len(lines) == 1
    assert "File too large" in lines[0]
    assert "board.json" in lines[0]
    assert "Traceback" not in result.stderr
    assert not [p for p in board.folder.iterdir() if p.name.startswith(".")]
    assert not (board.folder / "board.json").exists()
