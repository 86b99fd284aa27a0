"""Submissions come from strangers: good ones pass, and each hostile one gets its line."""

from __future__ import annotations

import io
import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.made_submissions import (
    Files,
    good_files,
    good_frame,
    good_toml,
    made_board,
    parquet,
    sealed,
    write_folder,
)
from typer.testing import CliRunner

from imi_bench.cli.app import app
from imi_bench.errors import InputError, SubmissionError
from imi_bench.leaderboard.board import Board
from imi_bench.leaderboard.pack import new, pack
from imi_bench.leaderboard.submission import json_schema
from imi_bench.leaderboard.validate import require_valid, validate


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return made_board(tmp_path_factory.mktemp("boards"), names=())


def test_a_good_submission_passes_as_folder_and_as_zip(board: Board, tmp_path: Path) -> None:
    folder = write_folder(good_files(), tmp_path / "good")
    entry, problems = validate(folder, board=board)
    assert not problems
    assert entry is not None
    assert entry.coverage == 1
    packed = pack(folder)
    zipped, problems = validate(packed, board=board)
    assert not problems
    assert zipped is not None
    assert zipped.decisions[0].to_frame().equals(entry.decisions[0].to_frame())
    first = packed.read_bytes()
    assert pack(folder, out=tmp_path / "again.zip").read_bytes() == first


def test_missing_trials_are_counted_not_dropped(board: Board, tmp_path: Path) -> None:
    files = sealed(good_files() | {"decisions.parquet": parquet(good_frame().iloc[:18])})
    entry = require_valid(write_folder(files, tmp_path / "few"), board=board)
    assert entry.coverage == 18 / 24
    assert len(entry.decisions[0]) == 24
    assert (entry.decisions[0].status[18:] == "error").all()
    assert (entry.decisions[0].credit[18:] == 0.5).all()


def test_every_problem_at_once(board: Board, tmp_path: Path) -> None:
    toml = good_toml() | {"name": "Not A Slug", "licence": "", "extra": 1}
    frame = good_frame().drop(columns="status").assign(observer=3)
    files = good_files() | {
        "submission.toml": tomli_w.dumps(toml).encode(),
        "decisions.parquet": parquet(frame),
    }
    _, problems = validate(write_folder(sealed(files), tmp_path / "bad"), board=board)
    found = {(p.file, p.field) for p in problems}
    assert found == {
        ("submission.toml", "name"),
        ("submission.toml", "licence"),
        ("submission.toml", "extra"),
        ("decisions.parquet", "status"),
        ("decisions.parquet", "observer"),
    }
    with pytest.raises(SubmissionError, match="5 problems"):
        require_valid(tmp_path / "bad", board=board)


def toml(**changes: object) -> Callable[[], Files]:
    def make() -> Files:
        table = good_toml() | changes
        return good_files() | {
            "submission.toml": tomli_w.dumps(
                {k: v for k, v in table.items() if v is not None}
            ).encode()
        }

    return make


def table(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[], Files]:
    return lambda: good_files() | {"decisions.parquet": parquet(change(good_frame()))}


def set_first(column: str, value: object) -> Callable[[], Files]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.astype({column: object}) if isinstance(value, str) else frame
        frame.loc[0, column] = value
        return frame

    return table(change)


def raw(name: str, data: bytes) -> Callable[[], Files]:
    return lambda: good_files() | {name: data}


def without(name: str) -> Callable[[], Files]:
    return lambda: {k: v for k, v in good_files().items() if k != name}


def swap_sides(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(shown_first="positive", decision_variable=1.0)


def dictionary_bomb() -> Files:
    huge = pa.table({"trial_id": pa.array(["x"]).take(pa.array(np.zeros(3_000_000, int)))})
    stream = io.BytesIO()
    pq.write_table(huge, stream, compression="zstd")
    return good_files() | {"decisions.parquet": stream.getvalue()}


HOSTILE: dict[str, tuple[Callable[[], Files], str]] = {
    "no toml": (without("submission.toml"), "submission.toml: missing"),
    "no decisions": (without("decisions.parquet"), "decisions.parquet: missing"),
    "no run": (without("run.json"), "run.json: missing"),
    "executable file": (raw("setup.py", b"print(1)"), "setup.py: unexpected"),
    "pickle": (raw("decisions.pkl", b"\x80\x04."), "decisions.pkl: unexpected"),
    "toml not utf-8": (raw("submission.toml", b"\xff\xfe"), "not UTF-8"),
    "toml broken": (raw("submission.toml", b"a = ["), "not TOML"),
    "toml too large": (raw("submission.toml", b"#" * 70_000), "wanted at most 65,536"),
    "toml deep": (raw("submission.toml", b"a = " + b"[" * 5000 + b"]" * 5000), "submission.toml"),
    "script in the name": (toml(name="<script>alert(1)</script>"), "submission.toml: name"),
    "path in the name": (toml(name="../../etc"), "submission.toml: name"),
    "path in the revision": (toml(revision="a/b"), "submission.toml: revision"),
    "javascript link": (toml(link="javascript:alert(1)"), "submission.toml: link"),
    "data link": (toml(link="data:text/html,x"), "submission.toml: link"),
    "file link": (toml(link="file:///etc/passwd"), "submission.toml: link"),
    "newline in the title": (toml(title="a\nb"), "submission.toml: title"),
    "control character": (toml(title="a\x1b[31mb"), "submission.toml: title"),
    "endless title": (toml(title="a" * 301), "submission.toml: title"),
    "no authors": (toml(authors=[]), "submission.toml: authors"),
    "unknown field": (toml(run="rm -rf"), "submission.toml: run"),
    "wrong board": (toml(board="other"), "submission.toml: board"),
    "number as text": (toml(parameters="many"), "submission.toml: parameters"),
    "negative parameters": (toml(parameters=-1), "submission.toml: parameters"),
    "NaN claim": (toml(claims={"accuracy": float("nan")}), "submission.toml: claims.accuracy"),
    "bad sha256": (toml(weights={"source": "x", "sha256": "xyz"}), "weights.sha256"),
    "fitted on scored units": (toml(calibration={"units": ["net/layer/2"]}), "fitted on 1 unit"),
    "trained on the answers": (toml(training={"imi": True}), "calibration.units"),
    "run not json": (raw("run.json", b"{"), "run.json: not JSON"),
    "run a list": (raw("run.json", b"[]"), "run.json: found list"),
    "run deep": (raw("run.json", b"[" * 100_000), "run.json: not JSON"),
    "other trials": (raw("run.json", b'{"trials": {"hash": "cd"}}'), "run.json: trials.hash"),
    "not parquet": (raw("decisions.parquet", b"PAR1junkPAR1"), "not a readable Parquet"),
    "empty file": (raw("decisions.parquet", b""), "not a readable Parquet"),
    "pickle as parquet": (raw("decisions.parquet", b"\x80\x04cos\nsystem\n."), "not a readable"),
    "no rows": (table(lambda f: f.iloc[:0]), "decisions.parquet"),
    "too many rows": (dictionary_bomb, "3,000,000 rows"),
    "column gone": (table(lambda f: f.drop(columns="shown_first")), "shown_first: missing column"),
    "numbers as text": (table(lambda f: f.astype({"decision_variable": str})), "decision_variable"),
    "infinite": (set_first("decision_variable", np.inf), "wanted a finite number"),
    "NaN that claims ok": (set_first("decision_variable", np.nan), "wanted a number"),
    "number that claims refused": (set_first("status", "refused"), "wanted none"),
    "made-up status": (set_first("status", "great"), "decisions.parquet: status"),
    "zero that is no tie": (set_first("decision_variable", 0.0), "tie exactly"),
    "unknown trial": (set_first("trial_id", "net/layer/99/x"), "a trial of the board"),
    "trial twice": (table(lambda f: pd.concat([f, f.iloc[:1]])), "each trial once"),
    "two observers": (set_first("observer", "another"), "found 2 observers"),
    "all on one side": (table(swap_sides), "the side drawn from seed 3"),
    "empty cells": (set_first("shown_first", None), "shown_first"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_submission_gets_its_line(name: str, board: Board, tmp_path: Path) -> None:
    make, expected = HOSTILE[name]
    entry, problems = validate(write_folder(sealed(make()), tmp_path / "s"), board=board)
    assert entry is None
    lines = [str(problem) for problem in problems]
    assert any(expected in line for line in lines), lines
    assert all("\n" not in line and "\x1b" not in line for line in lines)


def zip_with(*entries: tuple[zipfile.ZipInfo | str, bytes], good: bool = True) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in good_files().items() if good else ():
            archive.writestr(name, data)
        for entry, data in entries:
            archive.writestr(entry, data)
    return stream.getvalue()


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


def lying_size() -> bytes:
    """A header that claims one byte for a megabyte of zeros."""
    name = "run.json"
    data = zip_with((name, b"0" * (5 << 20)), good=False)
    at = data.rfind(b"PK\x01\x02")
    return data[: at + 24] + (1).to_bytes(4, "little") + data[at + 28 :]


HOSTILE_ZIPS: dict[str, tuple[Callable[[], bytes], str]] = {
    "climbs out": (lambda: zip_with(("../evil.txt", b"x")), "unsafe path"),
    "absolute": (lambda: zip_with(("/etc/cron.d/x", b"x")), "unsafe path"),
    "drive letter": (lambda: zip_with(("C:/x.txt", b"x")), "unsafe path"),
    "backslash": (lambda: zip_with(("a\\..\\b", b"x")), "unsafe path"),
    "deep": (lambda: zip_with(("a/b/run.json", b"{}")), "nested too deep"),
    "symlink": (lambda: zip_with((link("trials.parquet"), b"/etc/passwd")), "symbolic link"),
    "bomb": (lambda: zip_with(("trials.parquet", b"\0" * (8 << 20))), "zip bomb"),
    "too large": (lambda: zip_with(("trials.parquet", b"\0" * (17 << 20))), "wanted at most"),
    "lying header": (lying_size, "run.json"),
    "crowd": (lambda: zip_with(*((f"f{i}", b"") for i in range(20))), "at most 16"),
    "twice": (lambda: zip_with(("a/run.json", b"{}")), "twice"),
    "two folders": (lambda: zip_with(("a/trials.parquet", b"PAR1")), "several folders"),
    "no zip": (lambda: b"not a zip", "not a readable zip"),
    "cut": (lambda: zip_with()[:-200], "not a readable zip"),
    "empty": (lambda: zip_with(good=False), "submission.toml: missing"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", HOSTILE_ZIPS)
def test_hostile_zip_gets_its_line(name: str, board: Board, tmp_path: Path) -> None:
    make, expected = HOSTILE_ZIPS[name]
    path = tmp_path / "inside" / "s.zip"
    path.parent.mkdir()
    path.write_bytes(make())
    entry, problems = validate(path, board=board)
    assert entry is None
    assert any(expected in str(problem) for problem in problems), list(map(str, problems))
    assert [p.name for p in tmp_path.iterdir()] == ["inside"]
    assert [p.name for p in path.parent.iterdir()] == ["s.zip"]


def test_links_in_folders_are_refused(board: Board, tmp_path: Path) -> None:
    folder = write_folder(good_files(), tmp_path / "s")
    (folder / "run.json").unlink()
    (folder / "run.json").symlink_to("/etc/hostname")
    _, problems = validate(folder, board=board)
    assert any("symbolic link" in str(problem) for problem in problems)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["submission.toml", "decisions.parquet", "run.json"]),
    cut=st.integers(0, 4000),
    junk=st.binary(max_size=40),
)
def test_damaged_files_never_raise(
    name: str, cut: int, junk: bytes, board: Board, tmp_path: Path
) -> None:
    files = good_files()
    data = files[name]
    cut = min(cut, len(data))
    files[name] = data[:cut] + junk + data[cut + len(junk) :]
    _, problems = validate(write_folder(files, tmp_path / "s"), board=board)
    assert all(len(str(problem)) < 2000 for problem in problems)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 6000), junk=st.binary(max_size=20))
def test_damaged_zips_never_raise(cut: int, junk: bytes, board: Board, tmp_path: Path) -> None:
    data = zip_with()
    cut = min(cut, len(data))
    path = tmp_path / "s.zip"
    path.write_bytes(data[:cut] + junk + data[cut + len(junk) :])
    validate(path, board=board)


def test_a_zip_of_a_later_version_is_one_line(board: Board, tmp_path: Path) -> None:
    data = bytearray(zip_with())
    data[data.index(b"PK\x01\x02") + 6] = 99  # version needed to extract, in the directory
    path = tmp_path / "s.zip"
    path.write_bytes(data)
    _, problems = validate(path, board=board)
    assert [str(problem) for problem in problems if "not a readable zip file" in str(problem)]


def test_a_question_nobody_answers_is_one_line(tmp_path: Path) -> None:
    """In a pipeline there is nobody to ask."""
    out = tmp_path / "out"
    asked = ["submit", "new", str(tmp_path), "--out", str(out), "--board", "observers-mini"]
    result = CliRunner().invoke(app, [*asked, "--title", "A title"], input="")
    assert isinstance(result.exception, InputError)
    assert "give --author" in str(result.exception)
    assert not out.exists()


def test_validate_without_a_submission_is_bad_input_not_a_failed_check(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    result = CliRunner().invoke(app, ["submit", "validate", nowhere, "--board", "observers-mini"])
    assert isinstance(result.exception, InputError)
    assert result.exception.exit_code == 2


def test_schema_is_exported() -> None:
    schema = json_schema()
    assert schema["additionalProperties"] is False
    assert {"board", "name", "training", "weights"} <= set(schema["properties"])


def test_new_writes_what_validates(board: Board, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    good_frame().assign(seconds=0.1).to_parquet(run / "decisions.parquet", index=False)
    (run / "run.json").write_bytes(good_files()["run.json"])
    declared = {k: v for k, v in good_toml().items() if k not in ("format", "name")}
    folder = new(run, out=tmp_path / "s", declared=declared)
    entry = require_valid(folder, board=board)
    assert entry.declaration.name == "some-observer"


@pytest.mark.parametrize("seen", ["units", "pictures", "a part's units", "another spelling"])
def test_a_run_of_what_was_fitted_to_the_board_is_refused(
    board: Board, tmp_path: Path, seen: str
) -> None:
    """The run's record says what its observer has seen: units or pictures of the board."""
    index = board.study().trials
    units = index.unit_id[:2].tolist()
    fitted: dict[str, object] = {"study": "", "units": units, "networks": [index.network[0]]}
    if seen == "another spelling":
        fitted["units"] = [unit.upper().replace("/", "_HARD95/", 1) for unit in units]
    if seen == "pictures":
        fitted |= {"units": [], "networks": [], "trials": index.trial_id[:1].tolist()}
    described: dict[str, object] = {"kind": "learned", "fitted_on": fitted}
    if seen == "a part's units":
        described = {"kind": "learned", "parts": [{"kind": "pixel"}, described]}
    run = json.loads(good_files()["run.json"]) | {"observer": {"description": described}}
    files = sealed(good_files() | {"run.json": json.dumps(run).encode()})
    _, problems = validate(write_folder(files, tmp_path / "fitted"), board=board)
    assert [p for p in problems if p.file == "run.json" and "fitted on" in p.message]
