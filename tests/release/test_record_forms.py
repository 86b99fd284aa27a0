"""The record's forms as its repository documents them, lines to paste, and the bug report."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from imi_bench.cli.app import app
from imi_bench.errors import DownloadError
from imi_bench.release.bug_report import bug_report
from imi_bench.release.cells import REQUIRED
from imi_bench.release.fetch import Fetched, checksum_lines, parse_record

API = "https://zenodo.org/api/records/8131197"
CONTENT = f"{API}/files/responses_main.csv/content"
ENTRY = {"key": "responses_main.csv", "size": 12, "checksum": "md5:" + "a" * 32}


@pytest.mark.parametrize(
    "record",
    [
        {"files": [{**ENTRY, "links": {"self": CONTENT}}]},
        {"files": [{**ENTRY, "links": {"self": CONTENT.removesuffix("/content")}}]},
        {"links": {"self": API}, "files": {"entries": {"responses_main.csv": ENTRY}}},
        {
            "links": {"self": API},
            "files": {"entries": {"responses_main.csv": {**ENTRY, "links": {}}}},
        },
        {
            "entries": [
                {**ENTRY, "links": {"self": CONTENT.removesuffix("/content"), "content": CONTENT}}
            ]
        },
        {
            "files": [
                {
                    "filename": "responses_main.csv",
                    "filesize": 12,
                    "checksum": "a" * 32,
                    "links": {"download": CONTENT},
                }
            ]
        },
    ],
)
def test_every_form_of_the_record_gives_the_same(record: dict[str, object]) -> None:
    (file,) = parse_record(record, where="record")
    assert (file.name, file.url, file.size) == ("responses_main.csv", CONTENT, 12)
    assert (file.algorithm, file.digest) == ("md5", "a" * 32)


def test_a_bucket_address_stays_as_it_is() -> None:
    url = "https://zenodo.org/api/files/bucket/responses_main.csv"
    (file,) = parse_record({"files": [{**ENTRY, "links": {"self": url}}]}, where="record")
    assert file.url == url


@pytest.mark.parametrize("record", [{}, {"files": {}}, {"files": {"entries": {"a.csv": {}}}}, []])
def test_no_record_is_refused_in_one_line(record: object) -> None:
    with pytest.raises(DownloadError, match=r"not understood|no CSV table"):
        parse_record(record, where="record")


@pytest.mark.parametrize(
    "spoiled",
    [
        {"checksum": None},
        {"checksum": ""},
        {"checksum": "md5:abc"},
        {"checksum": "md5:" + "g" * 32},
        {"checksum": "crc32:" + "a" * 8},
        {"size": -5},
        {"size": 0},
        {"size": None},
        {"key": "..\\responses_main.csv"},
        {"key": ".responses_main.csv"},
        {"links": {"self": "file:///etc/hosts"}},
    ],
)
def test_a_spoiled_entry_is_refused_before_anything_is_downloaded(
    spoiled: dict[str, object],
) -> None:
    record = {"files": [{**ENTRY, "links": {"self": CONTENT}, **spoiled}]}
    with pytest.raises(DownloadError, match="not understood"):
        parse_record(record, where="record")


def test_two_files_of_one_name_are_refused() -> None:
    one = {**ENTRY, "links": {"self": CONTENT}}
    with pytest.raises(DownloadError, match=r"more than one file called responses_main\.csv"):
        parse_record({"files": [one, {**one, "key": "old/responses_main.csv"}]}, where="record")


def test_lines_to_paste(tmp_path: Path) -> None:
    path = tmp_path / "responses_main.csv"
    path.write_bytes(b"abc")
    lines = checksum_lines((Fetched(path, 3, "ok", "copied"),))
    assert hashlib.sha256(b"abc").hexdigest() in lines
    assert lines.startswith("[dataset.files]")


def test_the_bug_report_holds_no_answers(tmp_path: Path) -> None:
    path = tmp_path / "responses_main.csv"
    columns = [*(name for name in REQUIRED if name != "rt"), "comment"]
    cells = {name: f"SECRET{place}" for place, name in enumerate(columns)}
    path.write_text(",".join(columns) + "\n" + ",".join(cells.values()) + "\n")
    page = bug_report(path)
    assert "SECRET" not in page
    assert "Missing: rt." in page
    assert "| comment | not read |" in page
    whole = tmp_path / "whole.csv"
    whole.write_text(",".join(REQUIRED) + "\n" + ",".join(["SECRET"] * len(REQUIRED)) + "\n")
    page = bug_report(whole)
    assert "SECRET" not in page
    assert "not a boolean" in page
    out = tmp_path / "report.md"
    done = CliRunner().invoke(app, ["data", "verify", str(whole), "--report", str(out)])
    assert done.exit_code == 0
    assert "SECRET" not in out.read_text()


def test_a_row_of_answers_for_a_header_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "bare.csv"
    path.write_text("SECRET1,SECRET2\nSECRET3,SECRET4\n")
    page = bug_report(path)
    assert "SECRET" not in page
    assert "column 2" in page


def test_the_bug_report_on_no_table(tmp_path: Path) -> None:
    assert "no such file" in bug_report(tmp_path / "none.csv")
    path = tmp_path / "bad.csv"
    path.write_bytes(b"\xff\xfe\x00")
    assert "refuses it" in bug_report(path)
